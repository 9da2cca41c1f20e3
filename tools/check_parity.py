"""Compare MuJoCo Warp with MuJoCo on a robot: `python tools/check_parity.py`.

Exit code 0 if all tolerances hold, 1 if one does not, 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.physics.engines import make_physics, resolve_engine
from envs.physics.parity import Difference, open_loop, single_step
from envs.reality.disturbances import PushConfig
from envs.recorder import zero_policy
from envs.robot.model import ROBOT_DIRECTORY, load_robot
from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import Parser, positive
from wildrobot_torch.evaluation.parity import KINDS, draw_states, environments
from wildrobot_torch.evaluation.report import table
from wildrobot_torch.files import atomic_write
from wildrobot_torch.ppo.policy_file import load_policy

WITHOUT_POLICY = ("standing", "fallen")
"""Kinds of states that need no walking policy."""


def measure(options: argparse.Namespace) -> list[Difference]:
    """All differences between native physics and the other engine."""
    num = options.states
    name = resolve_engine(options.physics)
    if name == "native":
        raise UserError(
            "--physics is native, with which the other engine is compared; use warp on a machine "
            "with a CUDA device, or warp-cpu"
        )
    policy = None if options.policy is None else load_policy(options.policy)
    task = LocomotionConfig() if policy is None else policy.task
    task = replace(task, terrain=options.terrain, push=PushConfig(), support=None, auto_reset=True)
    loaded = load_robot(options.robot, task.terrain, task.sim_dt)
    act = policy or zero_policy(loaded.robot.num_joints)

    first, second = (make_physics(engine, loaded, num, None) for engine in ("native", name))
    differences = []
    for kind in KINDS if policy else WITHOUT_POLICY:
        states = draw_states(kind, act, loaded, task, num)
        differences += single_step(first, second, states, kind)
        differences.append(open_loop(first, second, states, kind))
    pair = [
        LocomotionEnv(task, num, physics=engine, robot_dir=options.robot)
        for engine in ("native", name)
    ]
    what = "walking" if policy else "standing"
    return differences + environments(pair[0], pair[1], act, 100, what)


def markdown(differences: list[Difference], physics: str) -> str:
    """Table of the differences with their tolerances, whose reasons are beside `TOLERANCES`."""
    head = ("quantity", "states", "median", "largest", "within", "exceptions", "limit", "needed")
    rows = [
        (d.quantity, d.kind, f"{d.median:.1e}", f"{d.largest:.1e}", f"{d.share:.1%}",
         f"{d.exceptions}, {d.unexplained} unexplained",
         f"{d.tolerance.limit:g} {d.tolerance.unit}", f"{d.tolerance.share:.1%}",
         "pass" if d.passed else "FAIL")
        for d in differences
    ]  # fmt: skip
    return "\n".join([f"native against {physics}", "", *table((*head, ""), rows)])


def main(words: list[str]) -> int:
    """0 when every tolerance holds, 1 when one does not."""
    parser = Parser("check_parity", "Compare the physics of MuJoCo Warp with that of MuJoCo.")
    add = parser.add_argument
    add("--physics", default="auto", help="engine to check: warp, warp-cpu or auto")
    add("--policy", type=Path, help="walking policy, .ckpt or .onnx; adds walking, pushed robots")
    add("--robot", type=Path, default=ROBOT_DIRECTORY, help="the robot's folder")
    add("--terrain", default="flat", help="the ground")
    add("--states", type=positive, default=256, help="states of each kind")
    add("--out", type=Path, default=Path("runs/parity.md"), help="file to write")
    options = parser.parse_args(words)
    differences = measure(options)
    report = markdown(differences, options.physics)
    with atomic_write(options.out) as file:
        file.write(f"{report}\n".encode())
    print(f"{report}\n\nwrote {options.out}")
    return 0 if all(difference.passed for difference in differences) else 1


if __name__ == "__main__":
    sys.exit(run(main))

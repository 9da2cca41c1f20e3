"""Does MuJoCo Warp simulate this robot as MuJoCo does? `python tools/check_parity.py`.

Exit code 0 when every tolerance holds, 1 when one does not, 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.physics.base import PhysicsError
from envs.physics.engines import make_physics, resolve_engine
from envs.physics.parity import TOLERANCES, Difference, open_loop, single_step
from envs.reality.disturbances import PushConfig
from envs.recorder import PolicyFunction
from envs.robot.model import ROBOT_DIRECTORY, load_robot
from wildrobot_torch.evaluation.parity import KINDS, draw_states, environments
from wildrobot_torch.ppo.policy_file import load_policy

WITHOUT_POLICY = ("standing", "fallen")
"""Kinds of states that need no policy that walks."""


def stand(observation: torch.Tensor, joints: int) -> torch.Tensor:
    """Action (E, joints) of the home pose for observations (E, O)."""
    return observation.new_zeros(observation.shape[0], joints)


def measure(options: argparse.Namespace) -> list[Difference]:
    """All differences between native physics and the other engine.

    Raises:
        ValueError: an option, the robot or the policy cannot be used.
        PhysicsError: the engine cannot run here.
    """
    if options.states < 1:
        raise ValueError(f"--states is {options.states}; it must be positive")
    name = resolve_engine(options.physics)
    if name == "native":
        raise ValueError(
            "--physics is native here, which is what the other engine is held against; "
            "use warp on a machine with a CUDA device, or warp-cpu"
        )
    task, kinds, policy = LocomotionConfig(), WITHOUT_POLICY, None
    if options.policy is not None:
        policy = load_policy(options.policy)
        task, kinds = policy.task, KINDS
    task = replace(task, push=PushConfig(), support=None, auto_reset=True)
    loaded = load_robot(options.robot, options.scene, task.sim_dt)
    act: PolicyFunction = policy or partial(stand, joints=loaded.robot.num_joints)

    num = options.states
    first = make_physics("native", loaded, num, None)
    second = make_physics(name, loaded, num, None)
    differences = []
    for kind in kinds:
        states = draw_states(kind, act, loaded, task, num)
        differences += single_step(first, second, states, kind)
        differences.append(open_loop(first, second, states, kind))
    place = {"robot_dir": options.robot, "scene": options.scene}
    pair = [LocomotionEnv(task, num, physics=engine, **place) for engine in ("native", name)]
    what = "standing" if policy is None else "walking"
    return differences + environments(pair[0], pair[1], act, 100, what)


def markdown(differences: list[Difference], physics: str) -> str:
    """Table of what was measured, with tolerances and reasons."""
    lines = [
        f"native against {physics}",
        "",
        "| quantity | states | median | largest | within | exceptions | limit | needed | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for d in differences:
        limit = d.tolerance
        lines.append(
            f"| {d.quantity} | {d.kind} | {d.median:.1e} | {d.largest:.1e} | {d.share:.1%} | "
            f"{d.exceptions}, {d.unexplained} unexplained | {limit.limit:g} {limit.unit} | "
            f"{limit.share:.1%} | {'pass' if d.passed else 'FAIL'} |"
        )
    lines += ["", "| quantity | limit | reason |", "|---|---|---|"]
    lines += [f"| {name} | {t.limit:g} {t.unit} | {t.reason} |" for name, t in TOLERANCES.items()]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="check_parity", description="Hold MuJoCo Warp's physics against MuJoCo's."
    )
    parser.add_argument(
        "--physics",
        default="auto",
        help="engine to check: warp, warp-cpu or auto (default: auto)",
    )
    parser.add_argument(
        "--policy",
        type=Path,
        help="policy that walks, .ckpt or .onnx, for states of walking and pushed robots",
    )
    parser.add_argument(
        "--robot", type=Path, default=ROBOT_DIRECTORY, help="the robot's folder (default: ours)"
    )
    parser.add_argument("--scene", default="flat", help="scene of the robot (default: flat)")
    parser.add_argument(
        "--states", type=int, default=256, help="states of each kind (default: 256)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/parity.md"),
        help="file to write (default: runs/parity.md)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the tool; nothing is written when it is 2."""
    options = parser().parse_args(arguments)
    try:
        differences = measure(options)
        report = markdown(differences, options.physics)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(report + "\n")
    except (ValueError, OSError, PhysicsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if isinstance(error, PhysicsError) else 2
    print(report)
    print(f"\nwrote {options.out}")
    return 0 if all(difference.passed for difference in differences) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Walks through the runtime against the environment: `python tools/runtime_walks.py [POLICY.onnx]`.

The policy walks on the simulated robot in its own process, in lock-step, by the runtime's contract
and through its safety layer, and in the environment with the same faults (the scenario
`simulated`). Prints falls with exact 95 % intervals and the error of the mean speed with its
interval. Exit code 0 when each pair of intervals meets, 1 when one does not, 2 for bad input.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from envs.locomotion import LocomotionEnv
from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import Parser
from wildrobot_torch.contract import Controller, read
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.remote import RemoteRobot
from wildrobot_torch.deploy.runtime.safety import SafeRobot
from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.evaluation.evaluate import run as episodes_of
from wildrobot_torch.evaluation.report import table
from wildrobot_torch.evaluation.statistics import Estimate, mean, rate
from wildrobot_torch.files import WALKING_POLICY
from wildrobot_torch.ppo.policy_file import load_policy

WAIT_S = 10.0
"""Longest time until the robot drives itself: start gate, blend, check [s]."""


@dataclass(frozen=True)
class Walks:
    """What E walks were like."""

    fallen: Tensor
    """(E,) bool: it fell, or the safety layer let it go."""
    speed: Tensor
    """(E,) [m/s]: mean along x after the first seconds; NaN of a walk that fell."""
    command: Tensor
    """(E,) [m/s]."""

    def estimates(self) -> tuple[Estimate, Estimate]:
        """Share of falls, and mean error of the speed [m/s], with their intervals."""
        falls = rate(int(self.fallen.sum()), len(self.fallen))
        return falls, mean((self.speed - self.command).abs())


def parser() -> Parser:
    """The command line of this tool."""
    parser = Parser(
        "runtime_walks",
        "Hold walks through the runtime against the environment's.",
        "python tools/runtime_walks.py wildrobot_torch/assets/walking.onnx",
    )
    add = parser.add_argument
    add("policy", type=Path, nargs="?", default=WALKING_POLICY, help="exported policy (.onnx)")
    add("--walks", type=int, default=50, help="through the runtime (default: 50)")
    return parser


def main(words: list[str]) -> int:
    """Exit code; nothing is written."""
    options = parser().parse_args(words)
    scenario = load_scenario("simulated")
    policy = load_policy(options.policy)
    env = LocomotionEnv(scenario.task(policy.task), scenario.episodes, seed=scenario.seed)
    recording = episodes_of(policy, env, scenario)
    settled = round(scenario.settle_s / recording.ctrl_dt)
    way = recording.qpos[-1, :, 0] - recording.qpos[settled, :, 0]
    speed = way / (scenario.seconds - scenario.settle_s)
    fallen = recording.terminated
    theirs = Walks(fallen, speed.masked_fill(fallen, torch.nan), recording.command)
    forward = [scenario.commands[k % len(scenario.commands)] for k in range(options.walks)]
    walks = [
        walk(options.policy, command, k, scenario.seconds) for k, command in enumerate(forward)
    ]
    begun = [(*done, command) for done, command in zip(walks, forward, strict=True) if done]
    fell, speeds, commands = zip(*begun, strict=True) if begun else ((), (), ())
    ours = Walks(torch.tensor(fell), torch.tensor(speeds), torch.tensor(commands))
    rows, meet = [], True
    for what, one, other in zip(
        ("falls", "error of the mean speed [m/s]"), ours.estimates(), theirs.estimates(),
        strict=True,
    ):  # fmt: skip
        meets = one.low <= other.high and other.low <= one.high
        meet = meet and meets
        rows.append([what, one, other, "meet" if meets else "**apart**"])
    head = ["", f"runtime, {len(begun)} walks", f"environment, {scenario.episodes}", "intervals"]
    print("\n".join(table(head, rows)))
    if refused := len(walks) - len(begun):
        print(f"\n{refused} robots more were not fit for a start: the start gate stayed closed.")
    return 0 if meet else 1


def walk(policy: Path, forward: float, seed: int, seconds: float) -> tuple[bool, float] | None:
    """Whether a walk of so many seconds fell, and its mean speed [m/s] after the first two.

    None where the start gate did not let it start.
    """
    contract, network = read(policy)
    options = {"start": "holding", "seed": seed, "zero_error": 2.0, "imu_tilt": 2.0}
    command, walked, begun = np.array([forward, 0.0, 0.0]), 0.0, np.nan
    with RemoteRobot.start(options, lockstep=True) as robot:
        calibration = Calibration.identity(contract.joint_names, robot.description["plates"])
        safe = SafeRobot(robot, calibration, contract, SafetyLimits.load())
        controller = Controller(contract, network)
        while walked < seconds:
            robot.sleep(contract.ctrl_dt)
            readings = safe.read()
            if safe.state == "off" and not safe.not_ready:
                safe.arm()
            targets = contract.home
            if safe.state == "running":
                if walked == 0.0:
                    controller.begin(contract.home, readings.heading)
                targets = controller.act(readings, command)
                walked += contract.ctrl_dt
                if np.isnan(begun) and walked >= 2.0:
                    begun = robot.truth().qpos[0]
            elif walked > 0.0:
                return True, np.nan  # released
            elif robot.clock() > WAIT_S:
                return None
            safe.apply(targets, robot.clock())
        return False, float(robot.truth().qpos[0] - begun) / (seconds - 2.0)


if __name__ == "__main__":
    sys.exit(run(main))

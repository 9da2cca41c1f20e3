"""`wildrobot replay --simulate`: a log's targets, sent to the simulated robot, joint by joint."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np

from envs.errors import UserError
from wildrobot_torch.contract import Array
from wildrobot_torch.deploy.runtime import main as runtime
from wildrobot_torch.deploy.runtime.log import Log, read_log
from wildrobot_torch.deploy.simulated.options import RobotOptions
from wildrobot_torch.deploy.simulated.robot import SimulatedRobot


@dataclass(frozen=True)
class Comparison:
    """The run in the log against the simulated robot, tick by tick; J joints of the contract."""

    joint_names: tuple[str, ...]
    joints: Array
    """(T, J) [rad]: logged reading minus that of the simulated robot."""
    tilts: Array
    """(T, 2) [rad]: angle between gravity and the root's downward axis, logged and simulated."""
    seconds: float
    """From the first target to the last one."""


def resimulate(log: Log) -> Comparison:
    """Send what was sent, when it was sent, to a simulated robot without noise.

    The simulated robot hangs at home until its servos are driven and is then lowered, so the run
    should have begun near home. Nothing corrects it: errors of balance grow as they do without
    feedback, and after a while the two are different walks.

    Raises:
        UserError: nothing was sent in the log, or its joints are not the simulated robot's.
    """
    ticks = log.ticks[np.isfinite(log.ticks["applied"]).all(-1)]
    ticks = ticks[ticks["state"] != b"damped"]
    if not len(ticks):
        raise UserError("nothing was sent in this run, so there is nothing to simulate")
    quiet = dict.fromkeys(
        ("joint_lost", "imu_stale", "orientation_noise", "gyro_noise", "gyro_bias",
         "heading_drift", "switch_drop"), 0.0)  # fmt: skip
    named = str(log.header.get("robot", RobotOptions.robot))
    robot = SimulatedRobot(RobotOptions(robot=named, **quiet))
    names = tuple(log.header["joint_names"])
    if set(names) != set(robot.joint_names):
        raise UserError(
            f"the log is of joints {', '.join(names)}, the simulated robot has "
            f"{', '.join(robot.joint_names)}"
        )
    to_servo = [names.index(name) for name in robot.joint_names]
    to_joint = [robot.joint_names.index(name) for name in names]
    begin = float(ticks["began"][0])
    while np.isnan(robot.read().position).any():
        robot.step()
    offset = robot.steps
    joints, tilts = [], []
    for tick in ticks:
        due = offset + round((float(tick["began"]) - begin) / robot.dt)
        while robot.steps < due:
            robot.step()
        sample = robot.read()
        joints.append(tick["sensed_joint_pos"] - sample.position[to_joint])
        _, x, y, _ = sample.quat / np.linalg.norm(sample.quat)
        upright = 1.0 - 2.0 * (x * x + y * y)
        tilts.append([_angle(-tick["sensed_gravity"][2]), _angle(upright)])
        robot.write(tick["applied"][to_servo])
    seconds = float(ticks["began"][-1]) - begin
    return Comparison(names, np.array(joints), np.array(tilts), seconds)


def _angle(cosine: float) -> float:
    return math.acos(min(1.0, max(-1.0, float(cosine))))


def main(options: argparse.Namespace) -> int:
    """Replay, then simulate; the exit code is the replay's."""
    code = runtime.replay(argparse.Namespace(**vars(options) | {"simulate": False}))
    found = resimulate(read_log(options.log))
    print(
        f"\nthe same targets on the simulated robot, {found.seconds:.1f} s, logged minus simulated"
    )
    print(f"{'joint':20s} {'RMS':>7s} {'most':>7s} [deg]")
    for name, error in zip(found.joint_names, np.degrees(found.joints).T, strict=True):
        print(f"{name:20s} {np.sqrt(np.mean(error**2)):7.2f} {np.abs(error).max():7.2f}")
    logged, simulated = np.degrees(found.tilts.max(0))
    print(f"largest tilt {logged:.1f} deg in the log, {simulated:.1f} deg in the simulation")
    return code

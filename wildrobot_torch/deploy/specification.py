"""The contract of an exported policy, as it is written into its ONNX file: `policy_spec`, JSON.

docs/bundle.md lists every entry. An entry that is not known is left out: its absence says nothing.
`wildrobot_torch.contract` carries the contract out, `deploy.runtime.checks` holds it against
itself.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from envs.config import LocomotionConfig
from envs.reality.randomization import TERMS
from envs.reality.servo import UPDATES_PER_STEP
from envs.robot.spec import RobotSpec
from envs.task.actions import action_map
from wildrobot_torch.deploy.runtime.checks import FORMAT
from wildrobot_torch.deploy.trained import Training
from wildrobot_torch.ppo.policy_file import ActorCheckpoint

FRAMES = {
    "body": "axes of the root body: x forward, y left, z up",
    "imu": "the same axes, as the IMU reports them once its mounting is calibrated",
    "world": "z up; yaw counts to the left",
    "heading": "the world's z, x along the root's heading",
    "joint": "each joint's own axis, in the order of joint_names",
    "policy": "the action's own values, in the order of joint_names",
    "plate": "left toe, left heel, right toe, right heel",
    "foot": "left, right",
}
"""Frame named by a field of the observation -> what it is."""

FORMULAS = {
    "imu_gravity": "-(third row of the rotation matrix from body to world): (0, 0, -1) upright",
    "imu_angvel": "the gyro's reading",
    "imu_heading_error": "reading of yaw - heading to hold, wrapped to [-pi, pi]; the heading to "
    "hold is that of the start, turned by command[2] * time",
    "encoder_pos": "(2 q - low - high) / (high - low) with joint_range [low, high]",
    "encoder_vel": "clip((q - q of the reading before) / (time between the two) / "
    "joint_max_velocity, -1, 1); 0 at the first reading",
    "switch_reading": "1 where a foot switch is closed",
    "prev_action": "the filtered action of the step before; before the first that of the start",
    "command": "forward, left [m/s], turn to the left [rad/s]",
    "velocity_command": "forward [m/s]",
}
"""Field of the observation -> how it is made from readings."""

ACTION_FORMULA = (
    "filtered = filter * filtered + (1 - filter) * clip(actions, -1, 1); "
    "target = clip(offset + gain * filtered, joint_range); "
    "at the start filtered = clip((target held - offset) / gain, -1, 1)"
)
HISTORY_FORMULA = (
    "NAME_history holds the last `steps` values of NAME before the present one, newest first; "
    "before the first step the robot has always been where it starts"
)
DELAYS = ("action_delay", "bus_delay", "imu_age", "joint_age", "joint_period")
"""Randomisation terms that are times [ms]."""


def specification(
    found: ActorCheckpoint, robot: RobotSpec, task: LocomotionConfig, training: Training, opset: int
) -> dict[str, Any]:
    """Everything that `policy_spec` says, as plain containers.

    Args:
        found: the checkpoint.
        robot: the robot it is for.
        task: the policy's.
        training: what is known of its training.
        opset: ONNX operator set of the file.
    """
    offset, gain = action_map(robot, task.action)
    layout = found.policy.layout
    names = {field.name for field in layout.fields}
    spec: dict[str, Any] = {
        "format": FORMAT,
        "robot": robot.name,
        "robot_digest": robot.digest,
        "env_steps": found.policy.env_steps,
        "checkpoint": found.policy.path.name,
        "ctrl_dt": task.ctrl_dt,
        "joint_names": list(robot.joint_names),
        "kp": robot.kp.tolist(),
        "kv": robot.kv.tolist(),
        "default_joint_pos": robot.joint_home.tolist(),
        "joint_range": robot.joint_range.tolist(),
        "joint_max_velocity": robot.joint_max_velocity.tolist(),
        "torque_limit": robot.torque_limit.tolist(),
        "action": {
            "mapping": task.action.mapping,
            "scale": task.action.scale,
            "filter": task.action.filter,
            "offset": offset.tolist(),
            "gain": gain.tolist(),
            "formula": ACTION_FORMULA,
        },
        "foot_switch_threshold": task.observation.foot_switch_threshold,
        "observation_layout": layout.to_dict(),
        "frames": {f.frame: FRAMES[f.frame] for f in layout.fields if f.frame in FRAMES},
        "formulas": {name: text for name, text in FORMULAS.items() if name in names},
        "env_config": found.policy.env_config,
        "metrics": found.metrics,
        "servo": servo(robot, task),
        "envelope": envelope(task, training),
        "opset": opset,
        "provenance": training.provenance,
    }
    if task.observation.past:
        spec["history"] = {
            "steps": task.observation.past,
            "fields": list(task.observation.remembered),
            "formula": HISTORY_FORMULA,
        }
    if training.task is not None:
        spec["delays_ms"] = {
            name: [round(bound, 6) for bound in draw.bounds(TERMS[name].neutral)]
            for name, draw in training.task.randomization.active().items()
            if name in DELAYS
        }
    return spec


def servo(robot: RobotSpec, task: LocomotionConfig) -> dict[str, Any]:
    """The servo that the policy is for; what it is simulated by."""
    chosen, description = task.servo.of(robot.servo), asdict(robot.servo)
    kept = {k: v for k, v in description.items() if v is not None}
    return {
        **kept,
        **asdict(chosen),
        "updates_per_step": UPDATES_PER_STEP,
        "law": "target rounded to counts -> not sent within the deadband of the last one sent -> "
        "reached at even speed within travel_time -> torque = kp (target - q) - kv qd, within "
        "+-min(torque_limit, stall_torque (1 - speed / no_load_speed)); units rad, s, N m, V",
    }


def envelope(task: LocomotionConfig, training: Training) -> dict[str, Any]:
    """What the policy has met in training; commands beyond it are not trained."""
    command = task.command
    found: dict[str, Any] = {
        "commands": {
            "forward": [command.velocity_min, command.velocity_max],
            "left": [0.0 - command.lateral_max, command.lateral_max],
            "turn": [0.0 - command.yaw_rate_max, command.yaw_rate_max],
            "standing": command.standing_probability > 0.0,
            "turning_in_place": command.turning_probability > 0.0,
            "units": ["m/s", "m/s", "rad/s"],
            "resampled_s": command.resample_s,
        }
    }
    if (trained := training.task) is None:
        return found
    found["terrain"] = trained.terrain
    found["randomization"] = {}
    for name, draw in trained.randomization.active().items():
        term = TERMS[name]
        low, high = draw.bounds(term.neutral)
        found["randomization"][name] = {
            "low": low,
            "high": high,
            **({} if draw.sd is None else {"sd": draw.sd}),
            "unit": term.unit,
            "operation": term.operation,
            "per": term.per,
            "meaning": term.meaning,
        }
    push = trained.push
    if push.impulse_max > 0.0:
        found["push"] = {
            "impulse": [push.impulse_min, push.impulse_max],
            "duration": push.duration_s,
            "interval": push.interval_s,
            "units": ["N s", "s", "s"],
        }
    faults = trained.faults
    found["faults"] = asdict(faults) if faults.active else {}
    return found

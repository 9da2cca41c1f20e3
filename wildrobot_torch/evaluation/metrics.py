"""The metrics of an evaluation by name, and the score that ranks checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.thresholds import LOADED, MOVING, SATURATED
from wildrobot_torch.motion import effort, gait, tracking

BEST_SCORE = 2.5
"""The most that `score` can be."""
STEPPING = 4
"""Touchdowns an episode must have to count as stepping."""


@dataclass(frozen=True)
class Metric:
    """What a number of an evaluation is."""

    unit: str
    meaning: str


METRICS: dict[str, Metric] = {
    "fall_rate": Metric("1", "share of episodes that end in a fall"),
    "survival": Metric("1", "time before the fall over the episode's time, mean"),
    "velocity_error": Metric("m/s", "mean |v_x - command| over all steps after settling"),
    "velocity_error_1s": Metric("m/s", "mean |v_x averaged over 1 s - command|"),
    "velocity_error_episode": Metric("m/s", "mean |v_x averaged over an episode - command|"),
    "velocity_rmse": Metric("m/s", "root mean square of v_x - command"),
    "velocity": Metric("m/s", "mean v_x, heading frame"),
    "alternation": Metric("1", "touchdowns followed by one of the other foot; moving commands"),
    "stepping": Metric("1", f"share of moving episodes with >= {STEPPING} touchdowns"),
    "stride_frequency": Metric("1/s", "strides per second"),
    "stride_length": Metric("m", "way of the root in a stride"),
    "duty_factor": Metric("1", "share of a stride its foot stands"),
    "single_support": Metric("1", "share of steps on one foot"),
    "double_support": Metric("1", "share of steps on both feet"),
    "flight": Metric("1", "share of steps on no foot"),
    "phase_offset": Metric("1", "right touchdown within the left stride, 0.5 is even"),
    "symmetry_step_time": Metric("%", "symmetry index of step time"),
    "symmetry_duty": Metric("%", "symmetry index of duty factor"),
    "symmetry_knee": Metric("%", "symmetry index of the knee's range of motion"),
    "symmetry_hip": Metric("%", "symmetry index of the hip's range of motion"),
    "knee_rom": Metric("deg", "range of motion of the knee in a stride"),
    "hip_rom": Metric("deg", "range of motion of the hip's pitch in a stride"),
    "clearance": Metric("m", "rise of the sole under the ankle in a stride"),
    "foot_slip": Metric("m/s", "speed of the sole over the floor in stance"),
    "heading_drift": Metric("deg", "turn over an episode, mean of its size"),
    "lateral_drift": Metric("m", "way to the side over an episode, mean of its size"),
    "torque_p95": Metric("1", "torque over its limit, 95th percentile"),
    "torque_saturation": Metric("1", f"share of torques at >= {SATURATED} of the limit"),
    "action_rate": Metric("1", "mean ||a_t - a_(t-1)||^2"),
    "jerk": Metric("1", "log of the joints' dimensionless jerk, smoother is less"),
    "cost_of_transport": Metric("1", "positive joint work over weight and way"),
    "froude": Metric("1", "v^2 / (g L) at the mean velocity"),
    "impact_p95": Metric("m g", "peak foot force after a touchdown, 95th percentile"),
}
"""Every metric by name; NaN where an evaluation leaves it undefined."""


def measure(recording: Recording, robot: RobotSpec, settle_s: float) -> dict[str, float]:
    """Every metric of `METRICS`, pooled over the episodes.

    Falls, survival, alternation and stepping are taken over whole episodes, everything else after
    `settle_s`. A robot that falls before that has a part in the former alone.
    """
    settled = recording.settled(settle_s)
    velocity = recording.velocity
    mean_velocities = tracking.mean_velocities(velocity, settled)
    known = mean_velocities[~mean_velocities.isnan()]
    mean_velocity = float(known.mean())
    command = recording.command
    window = round(1.0 / recording.ctrl_dt)
    torque, limit = recording.torque, robot.torque_limit
    costs = effort.transport_costs(
        torque, recording.joint_vel(robot), velocity, settled, recording.ctrl_dt, robot.weight
    )
    drift = tracking.heading_drifts(recording.yaw, settled)
    lateral = tracking.lateral_drifts(recording.qpos[..., :3], recording.yaw, settled)
    values = {
        "fall_rate": float(recording.terminated.double().mean()),
        "survival": float(recording.valid.double().mean()),
        "velocity_error": tracking.velocity_error(velocity, command, settled),
        "velocity_error_1s": tracking.smoothed_velocity_error(velocity, command, settled, window),
        "velocity_error_episode": float((mean_velocities - command).abs().nanmean()),
        "velocity_rmse": tracking.velocity_rmse(velocity, command, settled),
        "velocity": mean_velocity,
        "heading_drift": float(drift.abs().nanmean()),
        "lateral_drift": float(lateral.abs().nanmean()),
        "torque_p95": effort.torque_p95(torque, limit, settled),
        "torque_saturation": effort.saturation_share(torque, limit, settled),
        "action_rate": effort.action_rate(recording.action, settled),
        "jerk": effort.log_jerk(recording.joint_vel(robot), settled, recording.ctrl_dt),
        "cost_of_transport": float(costs.nanmean()),
        "froude": effort.froude_number(mean_velocity, robot.leg.leg_length, robot.gravity),
        **_gait(recording, robot, settled),
    }
    return {name: values[name] for name in METRICS}


def _gait(recording: Recording, robot: RobotSpec, settled: torch.Tensor) -> dict[str, float]:
    valid, ctrl_dt = recording.valid, recording.ctrl_dt
    contact = recording.foot_force > LOADED * robot.weight
    standing = gait.stance(contact, valid)
    touchdown = gait.touchdowns(standing, valid)
    moving = recording.command.abs() >= MOVING
    steps = touchdown[:, moving].sum((0, 2))

    # A stride counts when all of it lies after settling.
    late = touchdown & settled[..., None]
    stands = standing & settled[..., None]
    strides = gait.find_strides(late)
    support = gait.support_shares(standing, settled)
    duty = gait.duty_factors(strides, standing)
    joints = recording.joint_pos(robot)
    ranges = {
        name: gait.stride_ranges(strides, torch.rad2deg(joints[..., _pair(robot, joint)]))
        for name, joint in (("knee", "knee_pitch"), ("hip", "hip_pitch"))
    }
    clearance = gait.stride_ranges(strides, recording.sole_pos_w[..., 2])

    def symmetry(per_stride: torch.Tensor) -> float:
        return gait.symmetry_index(gait.per_foot_mean(per_stride, strides))

    return {
        "alternation": gait.alternation(touchdown[:, moving]),
        "stepping": float((steps >= STEPPING).double().mean()),
        "stride_frequency": gait.stride_frequency(strides, ctrl_dt),
        "stride_length": gait.stride_length(strides, recording.qpos[..., :3]),
        "duty_factor": float(duty.mean()),
        "single_support": support["single"],
        "double_support": support["double"],
        "flight": support["flight"],
        "phase_offset": gait.circular_mean(gait.phases(strides, late)),
        "symmetry_step_time": gait.symmetry_index(gait.step_times(late, ctrl_dt)),
        "symmetry_duty": symmetry(duty),
        "symmetry_knee": symmetry(ranges["knee"]),
        "symmetry_hip": symmetry(ranges["hip"]),
        "knee_rom": float(ranges["knee"].double().mean()),
        "hip_rom": float(ranges["hip"].double().mean()),
        "clearance": float(clearance.double().mean()),
        "foot_slip": gait.slip_speed(recording.sole_linvel_w, stands),
        "impact_p95": effort.impact_p95(recording.foot_force, late, settled, robot.weight),
    }


def _pair(robot: RobotSpec, joint: str) -> list[int]:
    """Positions of a joint of the left and the right leg among the robot's joints."""
    return [robot.joint_names.index(f"{side}_{joint}") for side in ("left", "right")]


def score(metrics: dict[str, float], commands: tuple[float, ...]) -> float:
    """One number that ranks policies, bigger is better, at most `BEST_SCORE`.

    score = (1 - fall_rate) + survival - velocity_error / 0.2 m/s + alternation / 2. An undefined
    velocity error (all fell before settling) counts as that of standing still, an undefined
    alternation as 0. Falls weigh twice, once as such and once by the time they cost, so that
    early in training, when all fall, those that fall later rank higher.
    """
    error = metrics["velocity_error"]
    if math.isnan(error):
        error = sum(abs(command) for command in commands) / len(commands)
    alternation = metrics["alternation"]
    if math.isnan(alternation):
        alternation = 0.0
    return (1.0 - metrics["fall_rate"]) + metrics["survival"] - error / 0.2 + alternation / 2.0

"""What a stretch of recorded motion measures: load, support, slip, heading, gait, tracking.

A metric is one number over a stretch of frames. Metrics judge nothing; gates do (gates.py). A
stretch that holds a non-finite number measures NaN in every metric, because comparisons would
otherwise turn a NaN into "not slipping" or "not tilted".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.thresholds import SATURATED

UNLOADED = 0.60
"""A frame whose feet carry less than this share of the weight is unloaded."""
SLIPPING = 0.10
"""A loaded foot whose sole moves faster over the floor is slipping [m/s]."""
JOINT_STOP = 0.02
"""A joint closer to its range's end is on its stop [rad]."""
SWING_S = 0.1
"""A foot that is unloaded for shorter has not swung [s]."""


@dataclass(frozen=True)
class Metric:
    """One number over a stretch of frames, with its unit and meaning."""

    unit: str
    meaning: str
    compute: Callable[[Recording, RobotSpec], Tensor | float]


def measure(recording: Recording, robot: RobotSpec) -> dict[str, float]:
    """Every metric of `METRICS` over a stretch of frames, by name.

    A metric that is undefined for the stretch (alternation of a single step) is NaN. So is every
    metric when a recorded number is not finite, or when there are fewer than two frames.
    """
    if recording.num_steps < 2 or not recording.finite():
        return dict.fromkeys(METRICS, math.nan)
    return {name: float(metric.compute(recording, robot)) for name, metric in METRICS.items()}


def travel_ratio(frames: Recording) -> float:
    """Distance walked ahead over net displacement: 1 straight ahead, -1 straight backwards.

    Distance ahead is the mean heading-frame v_x times the duration, so that a robot that faces
    one way and is dragged another does not reach 1.
    """
    net = float(torch.linalg.vector_norm((frames.root_pos_w[-1] - frames.root_pos_w[0])[0, :2]))
    if net == 0.0:
        return math.nan
    duration = (frames.num_steps - 1) * frames.ctrl_dt
    velocity = frames.velocity[:, 0].double()
    ahead = float((velocity[1:] + velocity[:-1]).mean() / 2 * duration)
    return ahead / net


def touchdowns(frames: Recording, robot: RobotSpec) -> list[tuple[int, int]]:
    """(frame, foot) of every landing after a swing, in order; foot 0 is left.

    A swing is at least `SWING_S` unloaded: a foot that rocks as the weight shifts, or is tapped by
    the floor, takes no step.
    """
    loaded = frames.loaded(robot)[:, 0].tolist()
    shortest = SWING_S / frames.ctrl_dt - 1e-6
    landings, since = [], [0, 0]
    for frame, feet in enumerate(loaded):
        for foot in (0, 1):
            if feet[foot]:
                if frame - since[foot] >= shortest:
                    landings.append((frame, foot))
                since[foot] = frame + 1
    return landings


def alternation(frames: Recording, robot: RobotSpec) -> float:
    """Share of landings that follow one of the other foot; NaN with fewer than two landings."""
    feet = [foot for _, foot in touchdowns(frames, robot)]
    if len(feet) < 2:
        return math.nan
    return sum(a != b for a, b in pairwise(feet)) / (len(feet) - 1)


def _percentile(x: Tensor, percent: float) -> Tensor:
    return torch.quantile(x.double().flatten(), percent / 100)


def _degrees_p95(angle: Tensor) -> Tensor:
    return torch.rad2deg(_percentile(angle.abs(), 95))


def _slip_share(frames: Recording, robot: RobotSpec) -> Tensor:
    # 0/0 is NaN: a stretch in which no foot is ever loaded proves nothing about slip.
    loaded = frames.loaded(robot)
    return (loaded & (frames.sole_speed > SLIPPING)).sum() / loaded.sum()


def _slip_speed(frames: Recording, robot: RobotSpec) -> Tensor:
    return frames.sole_speed[frames.loaded(robot)].double().mean()


def _slip_speed_p95(frames: Recording, robot: RobotSpec) -> Tensor | float:
    speed = frames.sole_speed[frames.loaded(robot)]
    return _percentile(speed, 95) if len(speed) else math.nan


def _support(number: int) -> Callable[[Recording, RobotSpec], Tensor]:
    return lambda f, r: (f.loaded(r).sum(-1) == number).double().mean()


def _saturation_share(frames: Recording, robot: RobotSpec) -> Tensor:
    limit = SATURATED * robot.torque_limit
    assert frames.torque is not None
    return (frames.torque.abs() >= limit).double().mean()


def _joint_stop_share(frames: Recording, robot: RobotSpec) -> Tensor:
    low, high = robot.joint_range.unbind(-1)
    q = frames.joint_pos(robot)
    return ((q < low + JOINT_STOP) | (q > high - JOINT_STOP)).double().mean((0, 1)).max()


def _capped(frames: Recording, column: int) -> Tensor | float:
    capped = frames.support_saturated
    return 0.0 if capped is None else capped[..., column].double().mean()


def _penetration(frames: Recording) -> Tensor:
    assert frames.sole_height is not None
    return (-frames.sole_height).max().clamp(min=0)


def _tracking_rms(frames: Recording, robot: RobotSpec) -> Tensor:
    return frames.joint_error(robot).double().square().mean().sqrt()


def _froude(frames: Recording, robot: RobotSpec) -> Tensor:
    return frames.velocity.double().mean() / math.sqrt(robot.gravity * robot.leg.leg_length)


METRICS: dict[str, Metric] = {
    "load_mean": Metric("m g", "mean weight on the feet", lambda f, r: f.load(r).double().mean()),
    "load_p10": Metric(
        "m g", "weight on the feet, 10th percentile", lambda f, r: _percentile(f.load(r), 10)
    ),
    "unloaded_share": Metric(
        "1",
        f"frames with less than {UNLOADED} m g on the feet",
        lambda f, r: (f.load(r) < UNLOADED).double().mean(),
    ),
    "force_share_p90": Metric(
        "m g", "harness force, 90th percentile", lambda f, r: _percentile(f.support_force(r), 90)
    ),
    "force_share_p95": Metric(
        "m g", "harness force, 95th percentile", lambda f, r: _percentile(f.support_force(r), 95)
    ),
    "torque_share_p95": Metric(
        "m g h",
        "harness torque, 95th percentile",
        lambda f, r: _percentile(f.support_torque(r), 95),
    ),
    "force_saturated_share": Metric(
        "1",
        "frames in which the cap cut the harness force",
        lambda f, r: _capped(f, 0),
    ),
    "torque_saturated_share": Metric(
        "1",
        "frames in which the cap cut the harness torque",
        lambda f, r: _capped(f, 1),
    ),
    "tilt_max": Metric(
        "deg",
        "largest roll or pitch",
        lambda f, r: torch.rad2deg(torch.stack(f.roll_pitch).abs().max()),
    ),
    "pitch_p95": Metric(
        "deg", "|pitch|, 95th percentile", lambda f, r: _degrees_p95(f.roll_pitch[1])
    ),
    "roll_p95": Metric(
        "deg", "|roll|, 95th percentile", lambda f, r: _degrees_p95(f.roll_pitch[0])
    ),
    "slip_share": Metric("1", f"loaded-foot frames faster than {SLIPPING} m/s", _slip_share),
    "slip_speed": Metric("m/s", "mean sole speed while loaded", _slip_speed),
    "slip_speed_p95": Metric("m/s", "sole speed while loaded, 95th percentile", _slip_speed_p95),
    "forward_velocity": Metric(
        "m/s", "mean heading-frame v_x", lambda f, r: f.velocity.double().mean()
    ),
    "travel_ratio": Metric(
        "1", "distance ahead over net displacement", lambda f, r: travel_ratio(f)
    ),
    "contact_left": Metric(
        "1",
        "share of frames, left foot loaded",
        lambda f, r: f.loaded(r)[..., 0].double().mean(),
    ),
    "contact_right": Metric(
        "1",
        "share of frames, right foot loaded",
        lambda f, r: f.loaded(r)[..., 1].double().mean(),
    ),
    "single_share": Metric("1", "frames on one foot", _support(1)),
    "double_share": Metric("1", "frames on both feet", _support(2)),
    "flight_share": Metric("1", "frames on no foot", _support(0)),
    "alternation": Metric("1", "landings that follow one of the other foot", alternation),
    "yaw_rate_std": Metric(
        "rad/s",
        "standard deviation of the yaw rate",
        lambda f, r: f.yaw_rate.double().std(correction=0),
    ),
    "saturation_share": Metric(
        "1",
        f"servo readings of at least {SATURATED} of the torque limit, all joints",
        _saturation_share,
    ),
    "joint_stop_share": Metric(
        "1", f"frames within {JOINT_STOP} rad of a stop, worst joint", _joint_stop_share
    ),
    "joint_speed_p99": Metric(
        "rad/s",
        "|joint velocity|, 99th percentile",
        lambda f, r: _percentile(f.joint_vel(r).abs(), 99),
    ),
    "foot_separation_p05": Metric(
        "m",
        "lateral distance of the soles, 5th percentile",
        lambda f, r: _percentile(f.foot_separation, 5),
    ),
    "penetration": Metric("m", "deepest sole point below the floor", lambda f, r: _penetration(f)),
    "tracking_rms": Metric(
        "rad", "joint error against the clip, RMS; none without one", _tracking_rms
    ),
    "froude": Metric("1", "v / sqrt(g L), L the leg's length", _froude),
}
"""Every metric by name: what gates.yaml may refer to."""

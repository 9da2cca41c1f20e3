"""What a stretch of recorded motion measures: load, support, slip, heading, gait, tracking.

A metric is one number over a stretch of frames. Metrics judge nothing; gates do (gates.py). A
stretch that holds a non-finite number measures NaN in every metric, because comparisons would
otherwise turn a NaN into "not slipping" or "not tilted".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from torch import Tensor

from envs.robot.spec import RobotSpec
from envs.thresholds import LOADED, SATURATED

UNLOADED = 0.60
"""A frame whose feet carry less than this share of the weight is unloaded."""
SLIPPING = 0.10
"""A loaded foot whose sole moves faster over the floor is slipping [m/s]."""
JOINT_STOP = 0.02
"""A joint closer to its range's end is on its stop [rad]."""
SWING_S = 0.1
"""A foot that is unloaded for shorter has not swung [s]."""


@dataclass(frozen=True)
class Frames:
    """What one rollout recorded, frame by frame; T frames, tensors on the CPU."""

    ctrl_dt: float
    """Time between frames [s]."""
    root_pos_w: Tensor
    """(T, 3) [m]."""
    root_linvel_h: Tensor
    """(T, 3) [m/s]: heading frame."""
    roll: Tensor
    """(T,) [rad]."""
    pitch: Tensor
    """(T,) [rad]."""
    yaw: Tensor
    """(T,) [rad]."""
    yaw_rate: Tensor
    """(T,) [rad/s]."""
    com_height: Tensor
    """(T,) [m]: centre of mass above the floor."""
    joint_pos: Tensor
    """(T, J) [rad]."""
    joint_vel: Tensor
    """(T, J) [rad/s]."""
    torque: Tensor
    """(T, J) [N m]: of the servos."""
    foot_force: Tensor
    """(T, 2) [N]: normal force of the floor on the left and right foot."""
    foot_pos_w: Tensor
    """(T, 2, 3) [m]: sole centres under the ankles."""
    foot_linvel_w: Tensor
    """(T, 2, 3) [m/s]: of the same points."""
    sole_height: Tensor
    """(T, 2) [m]: lowest point of each sole above the floor."""
    harness_force: Tensor
    """(T, 3) [N]: external force on the robot, world."""
    harness_torque: Tensor
    """(T, 3) [N m]: external torque on the robot, world."""
    harness_saturated: Tensor
    """(T, 2) bool: harness force, torque were cut by their caps at some time in the step."""
    joint_target: Tensor | None = None
    """(T, J) [rad]: joints of the clip at the frame; None where there was no clip to follow."""

    @property
    def num_frames(self) -> int:
        """T."""
        return self.root_pos_w.shape[0]

    def cut(self, start: int, stop: int) -> Frames:
        """Frames start..stop-1 of the same rollout, as views."""
        return replace(self, **{name: x[start:stop] for name, x in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """All recorded quantities by name."""
        named = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in named if isinstance(value, Tensor)}

    def finite(self) -> bool:
        """Whether every recorded number is finite."""
        return all(bool(torch.isfinite(x).all()) for x in self.tensors().values())


@dataclass(frozen=True)
class Metric:
    """One number over a stretch of frames, with its unit and meaning."""

    unit: str
    meaning: str
    compute: Callable[[Frames, RobotSpec], Tensor | float]


def measure(frames: Frames, robot: RobotSpec) -> dict[str, float]:
    """Every metric of `METRICS` over a stretch of frames, by name.

    A metric that is undefined for the stretch (alternation of a single step) is NaN. So is every
    metric when a recorded number is not finite, or when there are fewer than two frames.
    """
    if frames.num_frames < 2 or not frames.finite():
        return dict.fromkeys(METRICS, math.nan)
    exact = replace(frames, **{name: x.double() for name, x in frames.tensors().items()})
    return {name: float(metric.compute(exact, robot)) for name, metric in METRICS.items()}


def load(frames: Frames, robot: RobotSpec) -> Tensor:
    """Weight carried by both feet (T,), as a share of m g."""
    return frames.foot_force.sum(-1) / robot.weight


def loaded_feet(frames: Frames, robot: RobotSpec) -> Tensor:
    """Whether each foot is loaded (T, 2)."""
    return frames.foot_force > LOADED * robot.weight


def force_share(frames: Frames, robot: RobotSpec) -> Tensor:
    """Harness force (T,), as a share of m g."""
    return torch.linalg.vector_norm(frames.harness_force, dim=-1) / robot.weight


def torque_share(frames: Frames, robot: RobotSpec) -> Tensor:
    """Harness torque (T,), as a share of m g h_com, the torque that topples the robot."""
    moment = robot.weight * frames.com_height.clamp(min=1e-6)
    return torch.linalg.vector_norm(frames.harness_torque, dim=-1) / moment


def sole_speed(frames: Frames) -> Tensor:
    """Speed of each sole over the floor (T, 2) [m/s]."""
    return torch.linalg.vector_norm(frames.foot_linvel_w[..., :2], dim=-1)


def joint_error(frames: Frames) -> Tensor:
    """Joints minus those of the clip (T, J) [rad]; NaN where there was no clip to follow."""
    if frames.joint_target is None:
        return torch.full_like(frames.joint_pos, math.nan)
    return frames.joint_pos - frames.joint_target


def foot_separation(frames: Frames) -> Tensor:
    """Left sole centre minus right one, to the robot's left (T,) [m]; negative when crossed."""
    x, y = (frames.foot_pos_w[:, 0, :2] - frames.foot_pos_w[:, 1, :2]).unbind(-1)
    return -torch.sin(frames.yaw) * x + torch.cos(frames.yaw) * y


def travel_ratio(frames: Frames) -> float:
    """Distance walked ahead over net displacement: 1 straight ahead, -1 straight backwards.

    Distance ahead is the mean heading-frame v_x times the duration, so that a robot that faces
    one way and is dragged another does not reach 1.
    """
    net = float(torch.linalg.vector_norm(frames.root_pos_w[-1, :2] - frames.root_pos_w[0, :2]))
    if net == 0.0:
        return math.nan
    duration = (frames.num_frames - 1) * frames.ctrl_dt
    velocity = frames.root_linvel_h[:, 0]
    ahead = float((velocity[1:] + velocity[:-1]).mean() / 2 * duration)
    return ahead / net


def touchdowns(frames: Frames, robot: RobotSpec) -> list[tuple[int, int]]:
    """(frame, foot) of every landing after a swing, in order; foot 0 is left.

    A swing is at least `SWING_S` unloaded: a foot that rocks as the weight shifts, or is tapped by
    the floor, takes no step.
    """
    loaded = loaded_feet(frames, robot).tolist()
    shortest = SWING_S / frames.ctrl_dt - 1e-6
    landings, since = [], [0, 0]
    for frame, feet in enumerate(loaded):
        for foot in (0, 1):
            if feet[foot]:
                if frame - since[foot] >= shortest:
                    landings.append((frame, foot))
                since[foot] = frame + 1
    return landings


def alternation(frames: Frames, robot: RobotSpec) -> float:
    """Share of landings that follow one of the other foot; NaN with fewer than two landings."""
    feet = [foot for _, foot in touchdowns(frames, robot)]
    if len(feet) < 2:
        return math.nan
    return sum(a != b for a, b in pairwise(feet)) / (len(feet) - 1)


def _percentile(x: Tensor, percent: float) -> Tensor:
    return torch.quantile(x, percent / 100)


def _degrees_p95(angle: Tensor) -> Tensor:
    return torch.rad2deg(_percentile(angle.abs(), 95))


def _slip_share(frames: Frames, robot: RobotSpec) -> Tensor:
    # 0/0 is NaN: a stretch in which no foot is ever loaded proves nothing about slip.
    loaded = loaded_feet(frames, robot)
    return (loaded & (sole_speed(frames) > SLIPPING)).sum() / loaded.sum()


def _slip_speed(frames: Frames, robot: RobotSpec) -> Tensor:
    return sole_speed(frames)[loaded_feet(frames, robot)].mean()


def _slip_speed_p95(frames: Frames, robot: RobotSpec) -> Tensor | float:
    speed = sole_speed(frames)[loaded_feet(frames, robot)]
    return _percentile(speed, 95) if len(speed) else math.nan


def _support(number: int) -> Callable[[Frames, RobotSpec], Tensor]:
    return lambda f, r: (loaded_feet(f, r).sum(-1) == number).double().mean()


def _saturation_share(frames: Frames, robot: RobotSpec) -> Tensor:
    limit = SATURATED * robot.torque_limit.double()
    return (frames.torque.abs() >= limit).double().mean()


def _joint_stop_share(frames: Frames, robot: RobotSpec) -> Tensor:
    low, high = robot.joint_range.double().unbind(-1)
    q = frames.joint_pos
    return ((q < low + JOINT_STOP) | (q > high - JOINT_STOP)).double().mean(0).max()


def _tracking_rms(frames: Frames, robot: RobotSpec) -> Tensor:
    return joint_error(frames).square().mean().sqrt()


def _froude(frames: Frames, robot: RobotSpec) -> Tensor:
    return frames.root_linvel_h[:, 0].mean() / math.sqrt(robot.gravity * robot.leg.leg_length)


METRICS: dict[str, Metric] = {
    "load_mean": Metric("m g", "mean weight on the feet", lambda f, r: load(f, r).mean()),
    "load_p10": Metric(
        "m g", "weight on the feet, 10th percentile", lambda f, r: _percentile(load(f, r), 10)
    ),
    "unloaded_share": Metric(
        "1",
        f"frames with less than {UNLOADED} m g on the feet",
        lambda f, r: (load(f, r) < UNLOADED).double().mean(),
    ),
    "force_share_p90": Metric(
        "m g", "harness force, 90th percentile", lambda f, r: _percentile(force_share(f, r), 90)
    ),
    "force_share_p95": Metric(
        "m g", "harness force, 95th percentile", lambda f, r: _percentile(force_share(f, r), 95)
    ),
    "torque_share_p95": Metric(
        "m g h", "harness torque, 95th percentile", lambda f, r: _percentile(torque_share(f, r), 95)
    ),
    "force_saturated_share": Metric(
        "1",
        "frames in which the cap cut the harness force",
        lambda f, r: f.harness_saturated[:, 0].double().mean(),
    ),
    "torque_saturated_share": Metric(
        "1",
        "frames in which the cap cut the harness torque",
        lambda f, r: f.harness_saturated[:, 1].double().mean(),
    ),
    "tilt_max": Metric(
        "deg",
        "largest roll or pitch",
        lambda f, r: torch.rad2deg(torch.maximum(f.roll.abs(), f.pitch.abs()).max()),
    ),
    "pitch_p95": Metric("deg", "|pitch|, 95th percentile", lambda f, r: _degrees_p95(f.pitch)),
    "roll_p95": Metric("deg", "|roll|, 95th percentile", lambda f, r: _degrees_p95(f.roll)),
    "slip_share": Metric("1", f"loaded-foot frames faster than {SLIPPING} m/s", _slip_share),
    "slip_speed": Metric("m/s", "mean sole speed while loaded", _slip_speed),
    "slip_speed_p95": Metric("m/s", "sole speed while loaded, 95th percentile", _slip_speed_p95),
    "forward_velocity": Metric(
        "m/s", "mean heading-frame v_x", lambda f, r: f.root_linvel_h[:, 0].mean()
    ),
    "travel_ratio": Metric(
        "1", "distance ahead over net displacement", lambda f, r: travel_ratio(f)
    ),
    "contact_left": Metric(
        "1",
        "share of frames, left foot loaded",
        lambda f, r: loaded_feet(f, r)[:, 0].double().mean(),
    ),
    "contact_right": Metric(
        "1",
        "share of frames, right foot loaded",
        lambda f, r: loaded_feet(f, r)[:, 1].double().mean(),
    ),
    "single_share": Metric("1", "frames on one foot", _support(1)),
    "double_share": Metric("1", "frames on both feet", _support(2)),
    "flight_share": Metric("1", "frames on no foot", _support(0)),
    "alternation": Metric("1", "landings that follow one of the other foot", alternation),
    "yaw_rate_std": Metric(
        "rad/s", "standard deviation of the yaw rate", lambda f, r: f.yaw_rate.std(correction=0)
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
        lambda f, r: _percentile(f.joint_vel.abs(), 99),
    ),
    "foot_separation_p05": Metric(
        "m",
        "lateral distance of the soles, 5th percentile",
        lambda f, r: _percentile(foot_separation(f), 5),
    ),
    "penetration": Metric(
        "m", "deepest sole point below the floor", lambda f, r: (-f.sole_height).max().clamp(min=0)
    ),
    "tracking_rms": Metric(
        "rad", "joint error against the clip, RMS; none without one", _tracking_rms
    ),
    "froude": Metric("1", "v / sqrt(g L), L the leg's length", _froude),
}
"""Every metric by name: what gates.yaml may refer to."""

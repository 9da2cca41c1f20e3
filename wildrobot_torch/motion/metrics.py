"""The metrics of recorded motion: one table of names, for gates, evaluations and reports alike.

A metric is one number over the episodes of a recording. Metrics judge nothing; limits do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from envs.errors import UserError
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.thresholds import MOVING, SATURATED
from wildrobot_torch.motion import effort, gait, tracking

UNLOADED = 0.60
"""A step in which the feet carry less than this share of the weight is unloaded."""
SLIPPING = 0.10
"""A loaded foot whose sole moves faster over the floor slips [m/s]."""
JOINT_STOP = 0.02
"""A joint closer to an end of its range is on its stop [rad]."""
STEPPING = 4
"""Touchdowns an episode must have to count as stepping."""


class UndefinedError(Exception):
    """A metric needs a quantity that was not recorded, or a joint that the robot does not have."""


@dataclass(frozen=True)
class Episodes:
    """Recorded episodes, with what several metrics share; T steps, E episodes."""

    recording: Recording
    robot: RobotSpec
    settle_s: float
    """Time at the start of an episode that most metrics leave out [s]."""

    @property
    def dt(self) -> float:
        """Control step [s]."""
        return self.recording.ctrl_dt

    @property
    def command(self) -> Tensor:
        """(E,) [m/s]."""
        return self.recording.command

    @cached_property
    def counted(self) -> Tensor:
        """(T, E) bool: steps that most metrics are taken over."""
        return self.recording.settled(self.settle_s)

    @cached_property
    def moving(self) -> Tensor:
        """(E,) bool: the robot is commanded to walk."""
        return self.command.abs() >= MOVING

    @cached_property
    def velocity(self) -> Tensor:
        """(T, E) [m/s]: forward, heading frame."""
        return self.recording.velocity

    @cached_property
    def mean_velocities(self) -> Tensor:
        """(E,) [m/s]; NaN where no step counts."""
        return tracking.mean_velocities(self.velocity, self.counted)

    @cached_property
    def standing(self) -> Tensor:
        """(T, E, 2) bool: the foot stands, chatter of its contact removed."""
        r = self.recording
        return gait.stance(r.loaded(self.robot), r.valid, r.ctrl_dt)

    @cached_property
    def touchdown(self) -> Tensor:
        """(T, E, 2) bool, of whole episodes."""
        return gait.touchdowns(self.standing, self.recording.valid)

    @cached_property
    def counted_touchdown(self) -> Tensor:
        """(T, E, 2) bool: those in steps that count."""
        return self.touchdown & self.counted[..., None]

    @cached_property
    def strides(self) -> gait.Strides:
        """Strides all of whose steps count."""
        return gait.find_strides(self.counted_touchdown)

    @cached_property
    def duty_factors(self) -> Tensor:
        """(S,) [1] of the strides."""
        return gait.duty_factors(self.strides, self.standing)

    @cached_property
    def slip_speeds(self) -> Tensor:
        """(N,) [m/s]: horizontal speeds of soles of loaded feet, in steps that count."""
        return self.recording.sole_speed[
            self.recording.loaded(self.robot) & self.counted[..., None]
        ]

    @cached_property
    def load(self) -> Tensor:
        """(N,) [m g]: weight on the feet, in steps that count."""
        return self.recording.load(self.robot)[self.counted]

    def ranges_of_motion(self, joint: str) -> Tensor:
        """(S,) [deg]: how far the joint of the stride's own leg moves in each stride."""
        names = [f"{side}_{joint}" for side in ("left", "right")]
        if not set(names) <= set(self.robot.joint_names):
            raise UndefinedError(joint)
        index = [self.robot.joint_names.index(name) for name in names]
        angle = torch.rad2deg(self.recording.joint_pos(self.robot)[..., index])
        return gait.stride_ranges(self.strides, angle)

    def symmetry(self, per_stride: Tensor) -> float:
        """Symmetry index [%] of values (S,) of the strides."""
        return gait.symmetry_index(gait.per_foot_mean(per_stride, self.strides))

    def recorded(self, name: str) -> Tensor:
        """An optional quantity of the recording.

        Raises:
            UndefinedError: it was not recorded.
        """
        value = getattr(self.recording, name)
        if value is None:
            raise UndefinedError(name)
        return value


@dataclass(frozen=True)
class Metric:
    """One number over recorded episodes."""

    unit: str
    meaning: str
    compute: Callable[[Episodes], Tensor | float]


def measure(
    recording: Recording,
    robot: RobotSpec,
    settle_s: float = 0.0,
    names: Iterable[str] | None = None,
) -> dict[str, float]:
    """Metrics of the recorded episodes, by name.

    Falls, survival, alternation and stepping are taken over whole episodes, all others over the
    steps after `settle_s`. A metric is NaN where it is undefined (alternation of a single step) and
    where it needs what was not recorded, or a joint that the robot does not have. Every metric is
    NaN when a recorded number is not finite, because comparisons would turn a NaN into "does not
    slip", and when there are fewer than two steps.

    Args:
        recording: on the CPU.
        robot: the robot, likewise.
        settle_s: time left out at the start of each episode [s].
        names: metrics of `METRICS`; None for all.
    """
    names = METRICS if names is None else names
    if recording.num_steps < 2 or not recording.finite():
        return dict.fromkeys(names, math.nan)
    episodes = Episodes(recording, robot, settle_s)
    return {name: _value(METRICS[name], episodes) for name in names}


def _value(metric: Metric, episodes: Episodes) -> float:
    try:
        return float(metric.compute(episodes))
    except UndefinedError:
        return math.nan


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Lowest and highest value of a metric that passes; None is no bound."""

    min: float | None = None
    max: float | None = None

    @classmethod
    def parse(cls, content: Any, where: str) -> Limit:
        """A limit from {min: value}, {max: value} or both.

        Raises:
            UserError: anything else, a value that is not a finite number, or min above max.
        """
        if not isinstance(content, dict) or not content or set(content) - {"min", "max"}:
            raise UserError(f"{where} is {content!r}; it must be {{min: value, max: value}} or one")
        for key, value in content.items():
            require_number(value, f"{where}.{key}")
        if len(content) == 2 and content["min"] > content["max"]:
            raise UserError(f"{where}: min {content['min']} exceeds max {content['max']}")
        return cls(**content)

    def violation(self, value: float, unit: str = "1") -> str | None:
        """How a value misses the limit, in words; None where it holds. Undefined values miss it."""
        unit = "" if unit == "1" else f" {unit}"
        if not math.isfinite(value):
            return f"is not measured ({value})"
        if self.min is not None and value < self.min:
            return f"{value:.4g} < {self.min:g}{unit}"
        if self.max is not None and value > self.max:
            return f"{value:.4g} > {self.max:g}{unit}"
        return None

    def holds(self, value: float) -> bool:
        """Whether a value is within the limit; one that is undefined (NaN) never is."""
        return self.violation(value) is None

    def __str__(self) -> str:
        if self.min is not None and self.max is not None:
            return f"{self.min:.4g} to {self.max:.4g}"
        return f"<= {self.max:.4g}" if self.min is None else f">= {self.min:.4g}"


def require_number(value: Any, where: str) -> float:
    """The value, which must be a finite number.

    Raises:
        UserError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{where} is {value!r}; it must be a finite number")
    return float(value)


def _p(values: Tensor, percent: float) -> float:
    return effort.percentile(values.flatten(), percent)


def _share(flags: Tensor) -> Tensor:
    """Share of True; NaN of none."""
    return flags.double().mean()


def _mean_size(per_episode: Tensor) -> Tensor:
    """Mean absolute value over the episodes that have one."""
    return per_episode.abs().nanmean()


def _std(values: Tensor) -> Tensor:
    """Population standard deviation; NaN of none."""
    return (values - values.mean()).square().mean().sqrt()


def _largest(values: Tensor) -> Tensor | float:
    return values.max() if values.numel() else math.nan


def _support(e: Episodes, percent: float, quantity: str) -> float:
    if quantity == "torque" and e.recording.support is not None:
        e.recorded("com_height")
    return _p(getattr(e.recording, f"support_{quantity}")(e.robot)[e.counted], percent)


def _support_saturation(e: Episodes, column: int) -> Tensor | float:
    if e.recording.support is None:
        return 0.0
    return _share(e.recorded("support_saturated")[e.counted][:, column])


def _feet(e: Episodes, number: int) -> Tensor:
    return _share(e.standing.sum(-1)[e.counted] == number)


def _tilt(e: Episodes) -> Tensor:
    """|roll|, |pitch| (2, N) [deg]."""
    return torch.rad2deg(torch.stack(e.recording.roll_pitch)[:, e.counted].abs())


def _joint_stop_share(e: Episodes) -> Tensor:
    low, high = e.robot.joint_range.unbind(-1)
    joints = e.recording.joint_pos(e.robot)[e.counted]
    return ((joints < low + JOINT_STOP) | (joints > high - JOINT_STOP)).double().mean(0).max()


def _joint_error(e: Episodes) -> Tensor:
    e.recorded("joint_target")
    return e.recording.joint_error(e.robot)[e.counted].double().square().mean().sqrt()


def _froude(e: Episodes) -> float:
    velocity = float(e.mean_velocities.nanmean())
    return effort.froude_number(velocity, e.robot.leg.leg_length, e.robot.gravity)


def _cost_of_transport(e: Episodes) -> Tensor:
    joint_vel = e.recording.joint_vel(e.robot)
    return effort.transport_costs(
        e.recorded("torque"), joint_vel, e.velocity, e.counted, e.dt, e.robot.weight
    ).nanmean()


def _impact(e: Episodes) -> float:
    force, weight = e.recording.foot_force, e.robot.weight
    return effort.impact_p95(force, e.counted_touchdown, e.counted, weight, e.dt)


# Two lines for a metric, as a table: the formatter would spread each over four.
# fmt: off
SUPPORT_METRICS: dict[str, Metric] = {
    "support_force_p90": Metric("m g", "support force, 90th percentile",
        lambda e: _support(e, 90, "force")),
    "support_force_p95": Metric("m g", "support force, 95th percentile",
        lambda e: _support(e, 95, "force")),
    "support_torque_p95": Metric("m g h", "support torque, 95th percentile",
        lambda e: _support(e, 95, "torque")),
    "support_force_saturation": Metric("1", "share of steps in which the cap limits the force",
        lambda e: _support_saturation(e, 0)),
    "support_torque_saturation": Metric("1", "share of steps in which the cap limits the torque",
        lambda e: _support_saturation(e, 1)),
    "joint_error": Metric("rad", "joints minus those of the clip, RMS", _joint_error),
}
"""Metrics of robots that follow a clip, maybe with support."""

EPISODE_METRICS: dict[str, Metric] = {
    # Episodes and commands
    "fall_rate": Metric("1", "share of episodes that end in a fall",
        lambda e: _share(e.recording.terminated)),
    "survival": Metric("1", "time before the fall over the episode's time, mean",
        lambda e: _share(e.recording.valid)),
    "velocity_error": Metric("m/s", "mean |v_x - command| over all steps after settling",
        lambda e: tracking.velocity_error(e.velocity, e.command, e.counted)),
    "velocity_error_1s": Metric("m/s", "mean |v_x averaged over 1 s - command|",
        lambda e: tracking.smoothed_velocity_error(
            e.velocity, e.command, e.counted, round(1.0 / e.dt))),
    "velocity_error_episode": Metric("m/s", "mean |v_x averaged over an episode - command|",
        lambda e: _mean_size(e.mean_velocities - e.command)),
    "velocity_rmse": Metric("m/s", "root mean square of v_x - command",
        lambda e: tracking.velocity_rmse(e.velocity, e.command, e.counted)),
    "velocity": Metric("m/s", "mean v_x, heading frame",
        lambda e: e.mean_velocities.nanmean()),
    # Gait
    "alternation": Metric("1", "touchdowns followed by one of the other foot; moving commands",
        lambda e: gait.alternation(e.touchdown[:, e.moving], e.dt)),
    "stepping": Metric("1", f"share of moving episodes with >= {STEPPING} touchdowns",
        lambda e: _share(e.touchdown[:, e.moving].sum((0, 2)) >= STEPPING)),
    "stride_frequency": Metric("1/s", "strides per second",
        lambda e: gait.stride_frequency(e.strides, e.dt)),
    "stride_length": Metric("m", "horizontal distance of the root in a stride",
        lambda e: gait.stride_length(e.strides, e.recording.root_pos_w)),
    "duty_factor": Metric("1", "share of a stride its foot stands",
        lambda e: e.duty_factors.mean()),
    "single_support": Metric("1", "share of steps on one foot", lambda e: _feet(e, 1)),
    "double_support": Metric("1", "share of steps on both feet", lambda e: _feet(e, 2)),
    "flight": Metric("1", "share of steps on no foot", lambda e: _feet(e, 0)),
    "stance_left": Metric("1", "share of steps the left foot stands",
        lambda e: _share(e.standing[..., 0][e.counted])),
    "stance_right": Metric("1", "share of steps the right foot stands",
        lambda e: _share(e.standing[..., 1][e.counted])),
    "phase_offset": Metric("1", "right touchdown within the left stride, 0.5 is even",
        lambda e: gait.circular_mean(gait.phases(e.strides, e.counted_touchdown))),
    "symmetry_step_time": Metric("%", "symmetry index of step time",
        lambda e: gait.symmetry_index(gait.step_times(e.counted_touchdown, e.dt))),
    "symmetry_duty": Metric("%", "symmetry index of duty factor",
        lambda e: e.symmetry(e.duty_factors)),
    "symmetry_knee": Metric("%", "symmetry index of the knee's range of motion",
        lambda e: e.symmetry(e.ranges_of_motion("knee_pitch"))),
    "symmetry_hip": Metric("%", "symmetry index of the hip's range of motion",
        lambda e: e.symmetry(e.ranges_of_motion("hip_pitch"))),
    "knee_rom": Metric("deg", "range of motion of the knee in a stride",
        lambda e: e.ranges_of_motion("knee_pitch").double().mean()),
    "hip_rom": Metric("deg", "range of motion of the hip's pitch in a stride",
        lambda e: e.ranges_of_motion("hip_pitch").double().mean()),
    # Feet
    "clearance": Metric("m", "rise of the sole under the ankle in a stride",
        lambda e: gait.stride_ranges(e.strides, e.recording.sole_pos_w[..., 2]).double().mean()),
    "foot_slip": Metric("m/s", "speed of loaded soles over the floor, mean",
        lambda e: e.slip_speeds.double().mean()),
    "foot_slip_p95": Metric("m/s", "speed of loaded soles over the floor, 95th percentile",
        lambda e: _p(e.slip_speeds, 95)),
    "slip_share": Metric("1",
        f"share of steps of loaded feet whose sole is faster than {SLIPPING} m/s",
        lambda e: _share(e.slip_speeds > SLIPPING)),
    "foot_separation_p05": Metric("m", "lateral distance of the soles, 5th percentile",
        lambda e: _p(e.recording.foot_separation[e.counted], 5)),
    "penetration": Metric("m", "deepest sole point below the floor",
        lambda e: _largest((-e.recorded("sole_height")[e.counted]).clamp(min=0.0))),
    "impact_p95": Metric("m g", "peak foot force after a touchdown, 95th percentile", _impact),
    "load_mean": Metric("m g", "weight on the feet, mean", lambda e: e.load.double().mean()),
    "load_p10": Metric("m g", "weight on the feet, 10th percentile", lambda e: _p(e.load, 10)),
    "unloaded_share": Metric("1", f"share of steps with less than {UNLOADED} m g on the feet",
        lambda e: _share(e.load < UNLOADED)),
    # Posture and path
    "tilt_max": Metric("deg", "largest roll or pitch", lambda e: _largest(_tilt(e))),
    "roll_p95": Metric("deg", "|roll|, 95th percentile", lambda e: _p(_tilt(e)[0], 95)),
    "pitch_p95": Metric("deg", "|pitch|, 95th percentile", lambda e: _p(_tilt(e)[1], 95)),
    "yaw_rate_std": Metric("rad/s", "standard deviation of the yaw rate",
        lambda e: _std(e.recording.yaw_rate[e.counted].double())),
    "heading_drift": Metric("deg", "turn over an episode, mean of its size",
        lambda e: _mean_size(tracking.heading_drifts(e.recording.yaw, e.counted))),
    "lateral_drift": Metric("m", "sideways distance over an episode, mean of its size",
        lambda e: _mean_size(
            tracking.lateral_drifts(e.recording.root_pos_w, e.recording.yaw, e.counted))),
    "travel_ratio": Metric("1", "distance ahead over net displacement, mean over episodes",
        lambda e: tracking.travel_ratios(
            e.recording.root_pos_w, e.velocity, e.counted, e.dt).nanmean()),
    # Joints and effort
    "torque_p95": Metric("1", "torque over its limit, 95th percentile",
        lambda e: effort.torque_p95(e.recorded("torque"), e.robot.torque_limit, e.counted)),
    "torque_saturation": Metric("1", f"share of torques at >= {SATURATED} of the limit",
        lambda e: effort.saturation_share(e.recorded("torque"), e.robot.torque_limit, e.counted)),
    "joint_stop_share": Metric("1",
        f"share of steps within {JOINT_STOP} rad of a stop, worst joint", _joint_stop_share),
    "joint_speed_p99": Metric("rad/s", "|joint velocity|, 99th percentile",
        lambda e: _p(e.recording.joint_vel(e.robot)[e.counted].abs(), 99)),
    "action_rate": Metric("1", "mean ||a_t - a_(t-1)||^2",
        lambda e: effort.action_rate(e.recorded("action"), e.counted)),
    "jerk": Metric("1", "log of the joints' dimensionless jerk, smoother is less",
        lambda e: effort.log_jerk(e.recording.joint_vel(e.robot), e.counted, e.dt)),
    "cost_of_transport": Metric("1", "positive joint work over weight and distance",
        _cost_of_transport),
    "froude": Metric("1", "v^2 / (g L) at the mean velocity, L the leg's length", _froude),
}
"""Metrics of any motion, in the order of reports."""
# fmt: on

METRICS: dict[str, Metric] = {**EPISODE_METRICS, **SUPPORT_METRICS}
"""Every metric by name: what gates and scenarios may limit."""

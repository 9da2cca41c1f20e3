"""The metrics of recorded motion: one table of names, for gates, evaluations and reports alike.

A metric is one number over the episodes of a recording. Metrics judge nothing; limits do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from envs.errors import UserError
from envs.frames import wrap_angle
from envs.reality.servo import torque_limit
from envs.recording import Recording
from envs.robot.chain import Kind
from envs.robot.spec import RobotSpec
from envs.thresholds import JOINT_STOP, MOVING, SATURATED, TURNING
from wildrobot_torch.motion import gait

UNLOADED, SLIPPING = 0.60, 0.10
"""A step in which the feet carry less than this share of the weight is unloaded; a loaded foot
whose sole moves faster over the floor slips [m/s], on a robot of the WildRobot's size."""
STEPPING, STRIKE_S = 4, 0.1
"""Touchdowns an episode must have to count as stepping; time from a touchdown in which the peak of
the foot's force is its impact [s]."""
JERK_S, JERK_SPEED = 1.0, 0.5
"""Time over which the smoothness of the joints is judged [s], and their least peak speed in it
[rad/s]: what hardly moves has no smoothness."""
MIN_DISTANCE = 0.1
"""Least distance of an episode [m] for a cost of transport, of a robot of the WildRobot's size."""


class UndefinedError(Exception):
    """A metric needs a quantity that was not recorded, or a joint that the robot does not have."""


class Episodes:
    """Recorded episodes, with what several metrics share; T steps, E episodes."""

    def __init__(self, recording: Recording, robot: RobotSpec, settle_s: float) -> None:
        """`settle_s` is the time at the start of an episode that most metrics leave out [s]."""
        self.recording, self.robot = recording, robot
        self.dt = recording.ctrl_dt
        self.counted = recording.settled(settle_s)
        """(T, E) bool: steps that most metrics are taken over."""
        if recording.commands is None:
            self.command = recording.command
            self.lateral_command = self.yaw_command = torch.zeros_like(self.command)
        else:
            self.command, self.lateral_command, self.yaw_command = recording.commands.unbind(-1)
        fastest = torch.maximum(self.command.abs(), self.lateral_command.abs())
        walking = fastest >= MOVING * robot.speed_scale
        moving = walking | (self.yaw_command.abs() >= TURNING)
        self.moving = moving if moving.dim() == 1 else moving.any(0)
        """(E,) bool: the robot is commanded to walk or to turn."""
        self.velocity, self.joint_vel = recording.velocity, recording.joint_vel(robot)
        self.ahead = torch.where(self.counted, self.velocity, 0.0).double()
        """(T, E) [m/s]: forward velocity, 0 in steps that do not count."""
        self.mean_velocities = self.ahead.sum(0) / self.counted.sum(0)
        """(E,) [m/s]; NaN where no step counts."""
        loaded = recording.loaded(robot)
        self.standing = gait.stance(loaded, recording.valid, self.dt)
        """(T, E, 2) bool: the foot stands, chatter of its contact removed."""
        self.touchdown = gait.touchdowns(self.standing, recording.valid)
        """(T, E, 2) bool, of whole episodes."""
        self.counted_touchdown = self.touchdown & self.counted[..., None]
        self.strides = gait.find_strides(self.counted_touchdown)
        """Strides all of whose steps count."""
        self.duty_factors = gait.duty_factors(self.strides, self.standing)
        """(S,) [1] of the strides."""
        self.slip_speeds = recording.sole_speed[loaded & self.counted[..., None]]
        """(N,) [m/s]: horizontal speeds of soles of loaded feet, in steps that count."""
        self.load = recording.load(robot)[self.counted]
        """(N,) [m g]: weight on the feet, in steps that count."""

    def ranges_of_motion(self, kind: Kind) -> Tensor:
        """(S,) [deg]: how far the joint of the stride's own leg moves in each stride."""
        if not self.robot.chains or (column := self.robot.chains[0].index(kind)) is None:
            raise UndefinedError(kind)
        index = self.robot.leg_joints[:, column]
        angle = torch.rad2deg(self.recording.joint_pos(self.robot)[..., index])
        return gait.stride_ranges(self.strides, angle)

    def symmetry(self, values: Tensor) -> float:
        """Symmetry index [%] of values (S,) of the strides."""
        feet = [values[self.strides.foot == foot].double().mean() for foot in (0, 1)]
        return gait.symmetry_index(torch.stack(feet))

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
    steps after `settle_s` [s]. A metric is NaN where it is undefined (alternation of a single step)
    and where it needs what was not recorded, or a joint that the robot does not have. Every metric
    is NaN when a recorded number is not finite, because comparisons would turn a NaN into "does not
    slip", and when there are fewer than two steps. Recording and robot must be on the CPU.
    """
    names = METRICS if names is None else names
    if recording.num_steps < 2 or not recording.finite():
        return dict.fromkeys(names, math.nan)
    episodes = Episodes(recording, robot, settle_s)
    values = dict.fromkeys(names, math.nan)
    for name in values:
        with suppress(UndefinedError):
            values[name] = float(METRICS[name].compute(episodes))
    return values


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

    def times(self, factor: float) -> Limit:
        """The limit with both bounds multiplied by a factor."""
        low, high = (None if x is None else round(x * factor, 6) for x in (self.min, self.max))
        return Limit(min=low, max=high)

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


def percentile(values: Tensor, percent: float) -> float:
    """Percentile of the values, by linear interpolation between ranks; NaN of none.

    Sorted here because `torch.quantile` refuses more than 16 million values.
    """
    if not values.numel():
        return math.nan
    ordered = values.flatten().sort().values
    rank = percent / 100.0 * (len(ordered) - 1)
    low = int(rank)
    share = rank - low
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low]) * (1.0 - share) + float(ordered[high]) * share


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
    return percentile(getattr(e.recording, f"support_{quantity}")(e.robot)[e.counted], percent)


def _support_saturation(e: Episodes, column: int) -> Tensor | float:
    if e.recording.support is None:
        return 0.0
    return _share(e.recorded("support_saturated")[e.counted][:, column])


def _feet(e: Episodes, number: int) -> Tensor:
    return _share(e.standing.sum(-1)[e.counted] == number)


def _tilt(e: Episodes) -> Tensor:
    """|roll|, |pitch| (2, N) [deg]."""
    return torch.rad2deg(torch.stack(e.recording.roll_pitch)[:, e.counted].abs())


def _error_1s(e: Episodes, values: Tensor, command: Tensor) -> Tensor | float:
    """Mean size of values (T, E), averaged over whole seconds, minus their command.

    Averaging takes out the swing of the trunk within a step, which is no tracking error. The
    command is (E,), or (T, E) and averaged likewise.
    """
    window = round(1.0 / e.dt)
    if len(values) < window:
        return math.nan
    whole = e.counted.unfold(0, window, 1).all(-1)
    mean = torch.where(e.counted, values, 0.0).double().unfold(0, window, 1).mean(-1)
    if command.dim() == 2:
        command = command.double().unfold(0, window, 1).mean(-1)
    return (mean - command).abs()[whole].mean()


def _velocity_error_episode(e: Episodes) -> Tensor:
    command = e.command
    if command.dim() == 2:
        command = torch.where(e.counted, command, 0.0).double().sum(0) / e.counted.sum(0)
    return _mean_size(e.mean_velocities - command)


def _heading_drifts(e: Episodes) -> Tensor:
    """Turn (E,) [deg] from the first to the last step that counts, less the commanded one.

    A whole circle is 360, not 0.
    """
    turn = wrap_angle(e.recording.yaw.diff(dim=0)).double()
    turn = turn - e.dt * (e.yaw_command if e.yaw_command.dim() == 1 else e.yaw_command[1:])
    total = torch.where(e.counted[1:] & e.counted[:-1], turn, 0.0).sum(0)
    return torch.rad2deg(torch.where(e.counted.any(0), total, math.nan))


def _ends(e: Episodes) -> tuple[Tensor, Tensor]:
    """First step that counts (E,), and how the root moved from it to the last (E, 3) [m]."""
    first = e.counted.long().argmax(0)
    last = len(e.counted) - 1 - e.counted.flip(0).long().argmax(0)
    position, episode = e.recording.root_pos_w, torch.arange(len(first))
    return first, (position[last, episode] - position[first, episode]).double()


def _lateral_drifts(e: Episodes) -> Tensor:
    """Distance (E,) [m] to the left of the first heading, from first to last step that counts."""
    first, moved = _ends(e)
    angle = e.recording.yaw.gather(0, first[None])[0].double()
    left = -torch.sin(angle) * moved[:, 0] + torch.cos(angle) * moved[:, 1]
    return torch.where(e.counted.any(0), left, math.nan)


def _travel_ratio(e: Episodes) -> Tensor:
    """1 straight ahead, -1 backwards; without episodes that end where they began.

    The distance ahead is the integral of the heading-frame v_x, so that a robot that faces one way
    and is dragged another does not reach 1.
    """
    middle = (e.velocity[1:] + e.velocity[:-1]).double() / 2
    ahead = torch.where(e.counted[1:] & e.counted[:-1], middle, 0.0).sum(0) * e.dt
    net = _ends(e)[1][:, :2].norm(dim=-1)
    return torch.where(net > 0.0, ahead / net, math.nan).nanmean()


def _envelope_saturation(e: Episodes) -> Tensor:
    """Of all joints and steps; a torque is held against the speed in its own direction."""
    torque = e.recorded("torque")[e.counted]
    speed = e.joint_vel[e.counted] * torque.sign()
    most = torque_limit(speed, {}, e.robot, e.robot.servo.model)
    return _share((torque != 0.0) & (torque.abs() >= SATURATED * most))


def _joint_stop_share(e: Episodes) -> Tensor:
    low, high = e.robot.joint_range.unbind(-1)
    joints = e.recording.joint_pos(e.robot)[e.counted]
    return ((joints < low + JOINT_STOP) | (joints > high - JOINT_STOP)).double().mean(0).max()


def _joint_error(e: Episodes) -> Tensor:
    e.recorded("joint_target")
    return e.recording.joint_error(e.robot)[e.counted].double().square().mean().sqrt()


def _action_rate(e: Episodes) -> Tensor:
    change = e.recorded("action").diff(dim=0).square().sum(-1)
    return change[e.counted[1:] & e.counted[:-1]].double().mean()


def _log_jerk(e: Episodes) -> Tensor | float:
    """Independent of tempo and size of the motion; NaN where nothing moves faster than JERK_SPEED.

    ln (T^3 / v_peak^2 sum |d^2 v / dt^2|^2 dt) over stretches of T = `JERK_S`, v the vector of
    joint speeds: the measure of Balasubramanian et al. 2012 (IEEE Trans. Biomed. Eng.
    59(8), 2126-2136), eq. 4, with its sign turned so that more is rougher.
    """
    steps = round(JERK_S / e.dt)
    if len(e.counted) < steps:
        return math.nan
    velocity = e.joint_vel.double().unfold(0, steps, steps)
    peak = velocity.square().sum(-2).amax(-1)
    jerk = velocity.diff(n=2, dim=-1) / e.dt**2
    total = jerk.square().sum((-2, -1)) * e.dt
    moves = e.counted.unfold(0, steps, steps).all(-1) & (peak >= JERK_SPEED**2)
    return (JERK_S**3 * total / peak)[moves].log().mean()


def _cost_of_transport(e: Episodes) -> Tensor:
    """Mean of sum_t sum_j max(0, tau_j qd_j) dt / (m g d), d the integral of the heading-frame v_x.

    Braking work is not given back. Collins et al. 2005 (Science 307, 1082-1085) give 0.05 for
    people. Episodes that do not come `MIN_DISTANCE` ahead have none.
    """
    power = (e.recorded("torque") * e.joint_vel).clamp(min=0.0).sum(-1).double()
    work = torch.where(e.counted, power, 0.0).sum(0) * e.dt
    distance = e.ahead.sum(0) * e.dt
    cost = work / (e.robot.weight * distance)
    least = MIN_DISTANCE * e.robot.scale
    return torch.where(distance >= least, cost, math.nan).nanmean()


def _froude(e: Episodes) -> float:
    """Walkers of different size walk alike at equal numbers.

    Alexander 1984, "The gaits of bipedal and quadrupedal animals", Int. J. Robotics Research 3(2).
    """
    velocity = float(e.mean_velocities.nanmean())
    return velocity * velocity / (e.robot.gravity * e.robot.leg.leg_length)


def _impact(e: Episodes) -> float:
    """The peak is that of the `STRIKE_S` from the touchdown on.

    Forces are those of the last physics step of each control step, so a shorter spike between them
    is not seen.
    """
    steps = round(STRIKE_S / e.dt)
    force = torch.where(e.counted[..., None], e.recording.foot_force, 0.0)
    padded = torch.nn.functional.pad(force, (0, 0, 0, 0, 0, steps - 1))
    peak = padded.unfold(0, steps, 1).amax(-1)
    return percentile((peak / e.robot.weight)[e.counted_touchdown], 95)


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
        lambda e: (e.velocity - e.command)[e.counted].double().abs().mean()),
    "velocity_error_1s": Metric("m/s", "mean |v_x averaged over 1 s - command|",
        lambda e: _error_1s(e, e.velocity, e.command)),
    "lateral_error_1s": Metric("m/s", "mean |v_y averaged over 1 s - command|",
        lambda e: _error_1s(e, e.recording.lateral_velocity, e.lateral_command)),
    "yaw_rate_error_1s": Metric("rad/s", "mean |yaw rate averaged over 1 s - command|",
        lambda e: _error_1s(e, e.recording.yaw_rate, e.yaw_command)),
    "velocity_error_episode": Metric("m/s", "mean |v_x averaged over an episode - command|",
        _velocity_error_episode),
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
        lambda e: e.symmetry(e.ranges_of_motion("knee"))),
    "symmetry_hip": Metric("%", "symmetry index of the hip's range of motion",
        lambda e: e.symmetry(e.ranges_of_motion("pitch"))),
    "knee_rom": Metric("deg", "range of motion of the knee in a stride",
        lambda e: e.ranges_of_motion("knee").double().mean()),
    "hip_rom": Metric("deg", "range of motion of the hip's pitch in a stride",
        lambda e: e.ranges_of_motion("pitch").double().mean()),
    # Feet
    "clearance": Metric("m", "rise of the sole under the ankle in a stride",
        lambda e: gait.stride_ranges(e.strides, e.recording.sole_rise).double().mean()),
    "foot_slip": Metric("m/s", "speed of loaded soles over the floor, mean",
        lambda e: e.slip_speeds.double().mean()),
    "slip_share": Metric("1",
        f"share of steps of loaded feet whose sole is faster than {SLIPPING} m/s",
        lambda e: _share(e.slip_speeds > SLIPPING * e.robot.speed_scale)),
    "foot_separation_p05": Metric("m", "lateral distance of the soles, 5th percentile",
        lambda e: percentile(e.recording.foot_separation[e.counted], 5)),
    "penetration": Metric("m", "deepest sole point below the floor",
        lambda e: _largest((-e.recorded("sole_height")[e.counted]).clamp(min=0.0))),
    "impact_p95": Metric("m g", "peak foot force after a touchdown, 95th percentile", _impact),
    "load_mean": Metric("m g", "weight on the feet, mean", lambda e: e.load.double().mean()),
    "load_p10": Metric("m g", "weight on the feet, 10th percentile",
        lambda e: percentile(e.load, 10)),
    "unloaded_share": Metric("1", f"share of steps with less than {UNLOADED} m g on the feet",
        lambda e: _share(e.load < UNLOADED)),
    # Posture and path
    "tilt_max": Metric("deg", "largest roll or pitch", lambda e: _largest(_tilt(e))),
    "roll_p95": Metric("deg", "|roll|, 95th percentile", lambda e: percentile(_tilt(e)[0], 95)),
    "pitch_p95": Metric("deg", "|pitch|, 95th percentile", lambda e: percentile(_tilt(e)[1], 95)),
    "yaw_rate_std": Metric("rad/s", "standard deviation of the yaw rate",
        lambda e: _std(e.recording.yaw_rate[e.counted].double())),
    "heading_drift": Metric("deg", "turn over an episode less the commanded one, mean of its size",
        lambda e: _mean_size(_heading_drifts(e))),
    "lateral_drift": Metric("m", "sideways distance over an episode, mean of its size",
        lambda e: _mean_size(_lateral_drifts(e))),
    "travel_ratio": Metric("1", "distance ahead over net displacement, mean over episodes",
        _travel_ratio),
    # Joints and effort
    "torque_p95": Metric("1", "torque over its limit, 95th percentile",
        lambda e: percentile((e.recorded("torque").abs() / e.robot.torque_limit)[e.counted], 95)),
    "torque_saturation": Metric("1", f"share of torques at >= {SATURATED} of the limit",
        lambda e: _share(
            (e.recorded("torque").abs() >= SATURATED * e.robot.torque_limit)[e.counted])),
    "envelope_saturation": Metric("1",
        f"share of torques at >= {SATURATED} of what robot.yaml's servo has at the joint's speed",
        _envelope_saturation),
    "joint_stop_share": Metric("1",
        f"share of steps within {JOINT_STOP} rad of a stop, worst joint", _joint_stop_share),
    "action_rate": Metric("1", "mean ||a_t - a_(t-1)||^2", _action_rate),
    "jerk": Metric("1", "log of the joints' dimensionless jerk, smoother is less",
        _log_jerk),
    "cost_of_transport": Metric("1", "positive joint work over weight and distance",
        _cost_of_transport),
    "froude": Metric("1", "v^2 / (g L) at the mean velocity, L the leg's length", _froude),
}
"""Metrics of any motion, in the order of reports."""
# fmt: on

METRICS: dict[str, Metric] = {**EPISODE_METRICS, **SUPPORT_METRICS}
"""Every metric by name: what gates and scenarios may limit."""

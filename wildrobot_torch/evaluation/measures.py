"""What an evaluation suite measures of each episode, and so what success may be.

A measure is one number for each episode, a pure function of its recording; it is NaN where it is
undefined, and an undefined number meets no limit. Success of an episode is a set of limits on
measures: `fallen: {max: 0}` and `recovery_time: {max: 2.0}`, for example.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from envs.frames import wrap_angle
from envs.reality.servo import torque_limit
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.thresholds import MOVING, SATURATED, TURNING

END_S = 1.0
"""The end of an episode is its last second [s]."""
WINDOW_S = 1.0
"""Time over which the height's standard deviation is taken [s]: 50 control steps."""
RECOVERED_S, RECOVERED_TILT, RECOVERED_SPEED = 1.0, 0.2, 0.15
"""A robot has recovered where for this long [s] it leans by at most this [rad] and its mean
velocity is within this of the command [m/s]."""
MIN_DISTANCE = 0.1
"""Least distance of an episode [m] for an energy per metre."""


class Walks:
    """Recorded episodes, with what several measures share; T steps, E episodes, J joints."""

    def __init__(self, recording: Recording, robot: RobotSpec, settle_s: float) -> None:
        """`settle_s` is the time at the start of an episode that means leave out [s]."""
        self.recording, self.robot, self.dt = recording, robot, recording.ctrl_dt
        self.valid = recording.valid
        self.counted = recording.settled(settle_s)
        """(T, E) bool: steps that means are taken over."""

    @cached_property
    def commands(self) -> Tensor:
        """(T, E, 3): see `Episode.command`."""
        if self.recording.commands is not None:
            return self.recording.commands
        column = self.recording.command.expand(self.valid.shape)
        return torch.nn.functional.pad(column[..., None], (0, 2))

    @cached_property
    def velocities(self) -> Tensor:
        """(T, E, 3): forward, to the left [m/s], yaw rate [rad/s]."""
        r = self.recording
        return torch.stack([r.velocity, r.lateral_velocity, r.yaw_rate], dim=-1)

    @cached_property
    def tilt(self) -> Tensor:
        """(T, E) [rad]: angle between the root's vertical and the world's."""
        quat = self.recording.qpos[..., 3:7]
        # cos(tilt) = 1 - 2 (x^2 + y^2), written so that small angles stay exact.
        return 2.0 * torch.asin(torch.hypot(quat[..., 1], quat[..., 2]).clamp(max=1.0))

    @cached_property
    def torque(self) -> Tensor:
        """(T, E, J) [N m]."""
        assert self.recording.torque is not None, "a policy's episodes have torques"
        return self.recording.torque

    @cached_property
    def power(self) -> Tensor:
        """(T, E) [W]: electrical power of all servos, see `electrical_power`."""
        return electrical_power(self.torque, self.recording.joint_vel(self.robot), self.robot)

    @cached_property
    def saturated(self) -> Tensor:
        """(T, E, J) bool: the torque is at what robot.yaml's servo has at the joint's speed."""
        speed = self.recording.joint_vel(self.robot) * self.torque.sign()
        most = torque_limit(speed, {}, self.robot, self.robot.servo.model)
        return (self.torque != 0.0) & (self.torque.abs() >= SATURATED * most)

    @cached_property
    def path(self) -> tuple[Tensor, Tensor]:
        """How far ahead and to the left of the start, along its heading, (T, E) [m] each."""
        moved = (self.recording.qpos[..., :2] - self.recording.qpos[:1, :, :2]).double()
        yaw = self.recording.yaw[:1].double()
        ahead = torch.cos(yaw) * moved[..., 0] + torch.sin(yaw) * moved[..., 1]
        left = torch.cos(yaw) * moved[..., 1] - torch.sin(yaw) * moved[..., 0]
        return ahead, left

    @cached_property
    def distance(self) -> Tensor:
        """(E,) [m]: from start to end of the episode, straight along the first heading."""
        return self.at_end(self.path[0])

    def at_end(self, values: Tensor) -> Tensor:
        """(E,): values (T, E) at the last step of each episode."""
        last = (self.valid.sum(0) - 1).clamp(min=0)
        return values.gather(0, last[None])[0]

    def mean(self, values: Tensor) -> Tensor:
        """(E,): mean of values (T, E) over the steps that count; NaN of none."""
        return torch.where(self.counted, values, 0.0).double().sum(0) / self.counted.sum(0)

    def error(self, column: int) -> Tensor:
        """(E,): mean velocity less mean command, of one of the three."""
        return self.mean(self.velocities[..., column]) - self.mean(self.commands[..., column])

    @cached_property
    def ending(self) -> Tensor:
        """(T, E) bool: steps of the last `END_S` of an episode."""
        left = self.valid.flip(0).cumsum(0).flip(0)
        return self.valid & (left <= round(END_S / self.dt))

    @cached_property
    def response(self) -> tuple[Tensor, Tensor]:
        """Gain (E,) and lag (E,) [deg] of the velocity to the command that changes most.

        Of the frequency at which that command has the largest amplitude, by Fourier transform over
        the steps that count; NaN of constant commands and of episodes that end early.
        """
        first = int(self.counted.any(1).long().argmax())
        whole = self.counted[first:].all(0)
        commands = self.commands[first:].double()
        column = int(commands.std(0).sum(0).argmax())
        asked = torch.fft.rfft(commands[..., column] - commands[..., column].mean(0), dim=0)
        velocity = self.velocities[first:, :, column].double()
        done = torch.fft.rfft(velocity - velocity.mean(0), dim=0)
        peak = asked.abs().argmax(0)[None]
        asked, done = asked.gather(0, peak)[0], done.gather(0, peak)[0]
        known = whole & (asked.abs() > 1e-6)
        ratio = done / torch.where(known, asked, 1.0)
        lag = torch.rad2deg(-ratio.angle())
        return ratio.abs().where(known, torch.nan), lag.where(known, torch.nan)


@dataclass(frozen=True)
class Measure:
    """One number for each episode."""

    unit: str
    meaning: str
    compute: Callable[[Walks], Tensor]
    """(E,)."""
    needs: str = ""
    """What a scenario must have: disturbances, or a wave."""


def measured(recording: Recording, robot: RobotSpec, settle_s: float) -> dict[str, Tensor]:
    """Every measure (E,), float64, by name. Recording and robot must be on the CPU.

    All are NaN, but for `fallen`, in an episode with a recorded number that is not finite.
    """
    walks = Walks(recording, robot, settle_s)
    series = torch.cat([recording.qpos, recording.qvel, walks.torque], dim=-1)
    broken = (walks.valid & ~torch.isfinite(series).all(-1)).any(0) | ~walks.valid.any(0)
    values = {name: measure.compute(walks).double() for name, measure in MEASURES.items()}
    return {
        name: value if name == "fallen" else value.masked_fill(broken, math.nan)
        for name, value in values.items()
    }


def electrical_power(torque: Tensor, speed: Tensor, robot: RobotSpec) -> Tensor:
    """Power (...) [W] that all servos draw, for torques and speeds (..., J).

    A motor of resistance R and constant kt draws tau qd + R / kt^2 tau^2, and R / kt^2 is its speed
    without load over its torque at rest. Braking gives nothing back; losses in the gears and the
    electronics are not known and not counted.
    """
    heat = robot.servo.no_load_speed / robot.servo.stall_torque
    return (torque * speed + heat * torque.square()).clamp(min=0.0).sum(-1)


def recovery_times(
    disturbed: Tensor, valid: Tensor, tilt: Tensor, velocity_error: Tensor, ctrl_dt: float
) -> Tensor:
    """Longest time (E,) [s] from the end of a disturbance to the recovery; NaN without any.

    The robot has recovered at the first step from which for `RECOVERED_S` it leans by at most
    `RECOVERED_TILT` and its mean velocity is within `RECOVERED_SPEED` of the command. Infinite
    where it has not before the next disturbance or the end of the episode.

    Args:
        disturbed: (T, E) bool.
        valid: (T, E) bool.
        tilt: (T, E) [rad].
        velocity_error: (T, E, 2) [m/s], velocity forward and to the left less its command.
        ctrl_dt: control step [s].
    """
    steps, window = len(disturbed), round(RECOVERED_S / ctrl_dt)
    calm = valid & ~disturbed & (tilt <= RECOVERED_TILT)
    recovered = torch.zeros_like(calm)
    if steps >= window:
        error = torch.where(valid[..., None], velocity_error, 0.0).unfold(0, window, 1).mean(-1)
        held = calm.unfold(0, window, 1).all(-1) & (error.norm(dim=-1) <= RECOVERED_SPEED)
        recovered[: len(held)] = held
    # From behind: how long until the next step that has recovered, before a disturbance.
    never = torch.full_like(tilt[0], math.inf)
    wait, longest = never.clone(), torch.full_like(tilt[0], math.nan)
    ends = disturbed & valid & ~torch.nn.functional.pad(disturbed[1:], (0, 0, 0, 1))
    for step in range(steps - 1, -1, -1):
        worse = torch.where(longest.isnan(), wait, torch.maximum(longest, wait))
        longest = torch.where(ends[step], worse, longest)
        wait = torch.where(recovered[step], 0.0, wait + ctrl_dt)
        wait = torch.where(disturbed[step], never, wait)
    return longest


def _recovery_time(w: Walks) -> Tensor:
    if w.recording.disturbed is None:
        return torch.full_like(w.recording.command, math.nan)
    error = (w.velocities - w.commands)[..., :2]
    # Speeds as those of a robot of the WildRobot's size, whose the thresholds are.
    error = error / w.robot.speed_scale
    return recovery_times(w.recording.disturbed, w.valid, w.tilt, error, w.dt)


def _share(w: Walks) -> Tensor:
    command = w.mean(w.commands[..., 0]).abs()
    moving = MOVING * w.robot.speed_scale
    return torch.where(command >= moving, w.error(0).abs() / command, math.nan)


def _turn_share(w: Walks) -> Tensor:
    command = w.mean(w.commands[..., 2])
    share = w.mean(w.velocities[..., 2]) / command
    return torch.where(command.abs() >= TURNING, share, math.nan)


def _heading(w: Walks) -> Tensor:
    turn = wrap_angle(w.recording.yaw.diff(dim=0)).double() - w.dt * w.commands[1:, :, 2]
    return torch.rad2deg(torch.where(w.valid[1:], turn, 0.0).sum(0).abs())


def _height_sd(w: Walks) -> Tensor:
    steps = round(WINDOW_S / w.dt)
    if len(w.counted) < steps:
        return torch.full_like(w.recording.command, math.nan)
    height = w.recording.root_pos_w[..., 2].double().unfold(0, steps, 1)
    deviation = height.std(-1, correction=0)
    whole = w.counted.unfold(0, steps, 1).all(-1)
    largest = torch.where(whole, deviation, -math.inf).amax(0)
    return torch.where(whole.any(0), largest, math.nan)


def _start_capture(w: Walks) -> tuple[Tensor, Tensor]:
    """Capture point of the linear pendulum ahead and to the left, after the first step (E,) [m].

    From the middle of an upright robot: z sin(lean) + v / sqrt(g / z) with the height z of the
    centre of mass, whose velocity is taken to be the root's (Koolen et al. 2012, see the ladder).
    """
    r = w.recording
    if r.com_height is None:
        unknown = torch.full_like(r.command, math.nan)
        return unknown, unknown
    roll, pitch = (angle[0] for angle in r.roll_pitch)
    height = r.com_height[0]
    time = torch.sqrt(height / w.robot.gravity)
    ahead = height * torch.sin(pitch) + time * r.velocity[0]
    return ahead, -height * torch.sin(roll) + time * r.lateral_velocity[0]


def _largest(w: Walks, values: Tensor, where: Tensor) -> Tensor:
    largest = torch.where(where, values, -math.inf).amax(0)
    return torch.where(where.any(0), largest, math.nan)


def _per_metre(w: Walks) -> Tensor:
    """Energy of the whole episode over the length of its way ahead [J/m]."""
    energy = torch.where(w.valid, w.power, 0.0).double().sum(0) * w.dt
    way = torch.where(w.valid, w.velocities[..., 0], 0.0).double().sum(0) * w.dt
    return torch.where(way >= MIN_DISTANCE * w.robot.scale, energy / way, math.nan)


# fmt: off
MEASURES: dict[str, Measure] = {
    "fallen": Measure("1", "1 where the episode ends in a fall",
        lambda w: w.recording.terminated),
    "lasted": Measure("s", "time until the fall or the end",
        lambda w: w.valid.sum(0) * w.dt),
    # Commands
    "speed": Measure("m/s", "mean v_x", lambda w: w.mean(w.velocities[..., 0])),
    "speed_error": Measure("m/s", "|mean v_x - mean command|", lambda w: w.error(0).abs()),
    "speed_error_share": Measure("1", "the same over the command", _share),
    "lateral_error": Measure("m/s", "|mean v_y - mean command|", lambda w: w.error(1).abs()),
    "turn_rate": Measure("rad/s", "mean yaw rate", lambda w: w.mean(w.velocities[..., 2])),
    "turn_error": Measure("rad/s", "|mean yaw rate - mean command|", lambda w: w.error(2).abs()),
    "turn_share": Measure("1", "mean yaw rate over the commanded one", _turn_share),
    "command_gain": Measure("1", "amplitude of the velocity over that of the command",
        lambda w: w.response[0], "a wave"),
    "command_lag": Measure("deg", "phase by which the velocity is later than the command",
        lambda w: w.response[1], "a wave"),
    # Path and posture
    "distance": Measure("m", "from start to end along the first heading", lambda w: w.distance),
    "drift": Measure("m", "largest distance to the side of a line along the first heading",
        lambda w: _largest(w, w.path[1].abs(), w.valid)),
    "heading": Measure("deg", "turn less the commanded one, its size", _heading),
    "height_sd": Measure("m", "largest standard deviation of the root's height within a second",
        _height_sd),
    "tilt": Measure("deg", "largest lean", lambda w: _largest(w, torch.rad2deg(w.tilt), w.counted)),
    "start_tilt": Measure("deg", "lean after the first step", lambda w: torch.rad2deg(w.tilt[0])),
    "start_rate": Measure("rad/s", "angular velocity of the root after the first step",
        lambda w: w.recording.qvel[0, :, 3:6].norm(dim=-1)),
    "start_ahead": Measure("m", "capture point after the first step, ahead",
        lambda w: _start_capture(w)[0]),
    "start_left": Measure("m", "the same to the left", lambda w: _start_capture(w)[1]),
    "end_tilt": Measure("deg", "largest lean in the last second",
        lambda w: _largest(w, torch.rad2deg(w.tilt), w.ending)),
    "end_rate": Measure("rad/s", "largest angular velocity of the root in the last second",
        lambda w: _largest(w, w.recording.qvel[..., 3:6].norm(dim=-1), w.ending)),
    "recovery_time": Measure("s", "longest from the end of a disturbance to the recovery",
        _recovery_time, "disturbances"),
    # Effort
    "torque_mean": Measure("N m", "mean size of the servos' torques",
        lambda w: w.mean(w.torque.abs().mean(-1))),
    "torque_rms": Measure("N m", "RMS of the torque of the servo that has the largest",
        lambda w: torch.stack([w.mean(x) for x in w.torque.square().unbind(-1)]).amax(0).sqrt()),
    "saturation": Measure("1", f"share of torques at >= {SATURATED} of the servo's at its speed",
        lambda w: w.mean(w.saturated.double().mean(-1))),
    "power": Measure("W", "electrical power of all servos, mean", lambda w: w.mean(w.power)),
    "energy_per_metre": Measure("J/m", "electrical energy over the way ahead", _per_metre),
    "transport": Measure("1", "cost of transport: the same over the weight",
        lambda w: _per_metre(w) / w.robot.weight),
}
"""Measure by name, in the order of reports."""
# fmt: on

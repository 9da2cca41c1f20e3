"""A drill of the safety layer: faults are put into a scripted robot, and what follows is judged.

`python -m wildrobot_torch.deploy.runtime.drill` runs it where the robot's program will run: it
needs no robot, no simulator and no policy. The scripted robot's joints follow their targets and its
IMU reports the attitude that a script says; a drill changes samples, requests or times on the way.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from envs.errors import RunError
from wildrobot_torch.contract import Contract
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.hardware import Array, HardwareError, Sample
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.safety import Applied, Event, SafeRobot

DT = 0.02
"""Control step [s]."""
NAMES = ("hip", "knee", "ankle", "toe")
HIP, KNEE = 0, 1
LOW, HIGH = np.array([-1.5, 0.0, -0.7, -0.7]), np.array([1.5, 1.4, 0.7, 0.7])
HOME = np.array([0.1, 0.3, -0.1, 0.0])
SWING = np.array([0.2, 0.2, 0.2, 0.1])
"""Amplitude of the requested motion [rad], 1.5 times a second: at most 1.9 rad/s."""
WITHIN = 2
"""Ticks within which the response to a fault must come."""


def contract() -> Contract:
    """Of the scripted robot."""
    joints = len(NAMES)
    return Contract(
        robot="scripted", robot_digest="", ctrl_dt=DT, joint_names=NAMES,
        joint_range=np.stack([LOW, HIGH], axis=1), joint_max_velocity=np.full(joints, 10.0),
        home=HOME, filter=0.0, offset=HOME, gain=np.ones(joints), heading_hold=False,
        foot_switch_threshold=2.0, fields=(("encoder_pos", joints),), commands=None, digest="",
    )  # fmt: skip


class ScriptedRobot:
    """Joints that reach their targets within a step, as fast as the servo can; an IMU by script."""

    def __init__(self) -> None:
        self.now = 100.0
        """[s]."""
        self.position = HOME + np.array([0.3, -0.2, 0.1, 0.0])
        """(J,) [rad]: as the joints really are."""
        self.pitch = self.pitch_rate = 0.0
        """Attitude: nose down [rad] and [rad/s]."""
        self.blocked = False
        """Whether the hip cannot move; its reading flickers by a count, as a loaded one's does."""
        self.gone = False
        """Whether the connection is lost."""
        self.written: list[Array] = []
        """Targets in the order of time."""
        self.released = 0
        """How often it was let go."""
        self._loaded = False
        self._random = np.random.default_rng(0)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """See `Hardware`."""
        return NAMES

    def clock(self) -> float:
        """See `Hardware`; without a connection nobody knows it."""
        if self.gone:
            raise HardwareError("the cable is out")
        return self.now

    def read(self) -> Sample:
        """See `Hardware`; the joints were read 10 ms ago, the IMU 5 ms."""
        if self.gone:
            raise HardwareError("the cable is out")
        half, noise = self.pitch / 2.0, 1e-4 * self._random.standard_normal(7)
        position = np.round((self.position + noise[3:]) / 0.0042) * 0.0042
        if self.blocked:
            position[HIP] += 0.0042 * (round(self.now / DT) % 2)
        return Sample(
            time=self.now,
            quat=np.array([math.cos(half), 0.0, math.sin(half), 0.0]),
            gyro=np.array([0.0, self.pitch_rate, 0.0]) + noise[:3],
            imu_time=self.now - 0.005,
            position=position,
            position_time=np.full(len(NAMES), self.now - 0.01),
            switches=np.zeros(0),
            switch_time=self.now,
            voltage=np.full(len(NAMES), 11.1),
            temperature=np.full(len(NAMES), 40.0),
        )

    def write(self, targets: Array) -> None:
        """See `Hardware`."""
        if self.gone:
            raise HardwareError("the cable is out")
        self.written.append(targets.copy())
        self._loaded = True

    def release(self) -> None:
        """See `Hardware`."""
        self.released += 1
        self._loaded = False

    def close(self) -> None:
        """See `Hardware`."""
        self.release()

    def pass_time(self, seconds: float) -> None:
        """Let joints move towards their targets."""
        self.now += seconds
        if self._loaded:
            way = np.clip(self.written[-1] - self.position, -5.8 * seconds, 5.8 * seconds)
            if self.blocked:
                way[HIP] = 0.0
            self.position = self.position + way


@dataclass(frozen=True)
class Tick:
    """One control step."""

    time: float
    """Of the robot's clock [s]."""
    state: str
    """Before and after the step it is one of `SafeRobot.state`; here after."""
    requested: Any
    applied: Applied
    joint_pos: Array
    """(J,) [rad]: as the safety layer believes."""
    actual: Array
    """(J,) [rad]: as the joints are."""
    pitch: float
    """[rad]: as the robot leans."""
    sent: Array | None
    """(J,) [rad]: what was written, None for nothing."""


@dataclass(frozen=True)
class Trace:
    """What a drill led to."""

    ticks: tuple[Tick, ...]
    """From the first sample on."""
    began: int
    """Tick in which the fault began."""
    events: tuple[Event, ...]
    refused: str
    """Why it could not be armed; "" if it was."""
    limits: SafetyLimits


class Fault:
    """What is changed; every method gets the time since the fault began [s], below 0 before it."""

    def __init__(
        self,
        sample: Callable[[Sample, float], Sample] = lambda sample, since: sample,
        request: Callable[[Array, float], Any] = lambda targets, since: targets,
        robot: Callable[[ScriptedRobot, float], None] = lambda robot, since: None,
        order: Callable[[SafeRobot], None] = lambda safe: None,
        sleep: Callable[[float], float] = lambda since: DT,
        early: Callable[[float], float] = lambda since: 0.0,
        reads: Callable[[float], bool] = lambda since: True,
    ) -> None:
        """All of them do nothing unless given.

        Args:
            sample: what is read instead of a sample.
            request: what is requested instead of targets.
            robot: changes the robot itself.
            order: once, when the fault begins.
            sleep: time from one tick to the next [s].
            early: how much the time that is given to `apply` is early [s].
            reads: whether the loop reads before it applies.
        """
        self.sample, self.request, self.robot, self.order = sample, request, robot, order
        self.sleep, self.early, self.reads = sleep, early, reads


Judge = Callable[[Trace], None]
"""Raises AssertionError, with what is wrong, unless the response is right."""


@dataclass(frozen=True)
class Drill:
    """A fault, the rule that must answer it, and the answer."""

    name: str
    rule: str
    """Of `rules`; "" where none may answer."""
    response: str
    """released, stopped, limited, dropped, warned, held, refused or survived."""
    fault: Fault
    after: float = 0.0
    """Time from the fault's beginning until a limit is exceeded, by hand [s]."""
    limit: str = ""
    """In words."""
    when: str = "running"
    """State in which the fault begins: off, ready, running."""
    seconds: float = 1.5
    """How long it goes on after the fault has begun [s]."""
    armed_after: int = 12
    """Ticks before `arm`."""
    limits: dict[str, Any] = field(default_factory=dict)
    """Limits that differ from the default ones."""
    judge: Judge = lambda trace: None
    """What else must be so."""


class _Faulty(ScriptedRobot):
    """The scripted robot with a fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault, self.began = fault, math.inf

    def read(self) -> Sample:
        return self._fault.sample(super().read(), self.now - self.began)


def run(drill: Drill) -> Trace:
    """Carry out a drill."""
    robot, ticks = _Faulty(drill.fault), list[Tick]()
    limits, made = replace(SafetyLimits.load(), **drill.limits), contract()
    safe = SafeRobot(robot, Calibration.identity(NAMES), made, limits)
    readings, refused, began, left = None, "", -1, 10_000
    while left:
        step = len(ticks)
        reached = {"off": step >= 8, "ready": safe.state == "ready",
                   "running": _lasted(ticks, 10)}[drill.when]  # fmt: skip
        if began < 0 and reached:
            began, left, robot.began = step, round(drill.seconds / DT), robot.now
            drill.fault.order(safe)
        since = robot.now - robot.began
        drill.fault.robot(robot, since)
        if readings is None or drill.fault.reads(since):
            try:
                readings = safe.read()
            except HardwareError:
                break
        if step == drill.armed_after and drill.armed_after >= 0:
            try:
                safe.arm()
            except RunError as error:
                refused, left = str(error), 6
                began = began if began >= 0 else step
        wave = math.sin(2.0 * math.pi * 1.5 * len(ticks) * DT)
        wanted = drill.fault.request(
            HOME + (SWING * wave if safe.state == "running" else 0.0), since
        )
        before = len(robot.written)
        applied = safe.apply(wanted, robot.now - drill.fault.early(since))
        sent = robot.written[-1] if len(robot.written) > before else None
        ticks.append(
            Tick(robot.now, safe.state, wanted, applied, readings.joint_pos, robot.position.copy(),
                 robot.pitch, sent)
        )  # fmt: skip
        robot.pass_time(drill.fault.sleep(since))
        left -= 1
    return Trace(tuple(ticks), began, tuple(safe.events), refused, limits)


def _lasted(ticks: Sequence[Tick], count: int) -> bool:
    return len(ticks) > count and all(tick.state == "running" for tick in ticks[-count:])


def response_ticks(drill: Drill, trace: Trace) -> int:
    """Ticks from the first one in which the limit is exceeded to the response; 0 is that tick."""
    due = trace.ticks[trace.began].time + drill.after - 1e-9
    exceeded = next(i for i, tick in enumerate(trace.ticks) if tick.time >= due)
    answered = _answered(drill, trace)
    if answered is None:
        raise AssertionError(f"{drill.name}: never {drill.response}")
    return answered - exceeded


def _answered(drill: Drill, trace: Trace) -> int | None:
    """Tick of the response."""
    later = list(enumerate(trace.ticks))[trace.began :]
    if drill.response in ("released", "stopped"):
        states = ("damped",) if drill.response == "released" else ("stopping",)
        return next((i for i, tick in later if tick.state in states), None)
    if drill.response in ("limited", "held"):
        words = ("range", "rate", "torque", "unusable")
        return next((i for i, tick in later if set(words) & set(tick.applied.reasons)), None)
    if drill.response in ("dropped", "warned"):
        at = next((e.time for e in trace.events if e.response == drill.response), None)
        return next((i for i, tick in later if at is not None and tick.time >= at - 1e-9), None)
    return trace.began


def judge(drill: Drill, trace: Trace) -> None:
    """Refuse a trace whose response is not that of the drill, or in which anything was unsafe.

    Raises:
        AssertionError: says what is wrong.
    """
    require_safe(trace)
    last = trace.ticks[-1]
    if drill.response == "refused":
        assert trace.refused, f"{drill.name}: was armed"
        assert last.state == "off" and not any(tick.sent is not None for tick in trace.ticks)
        return drill.judge(trace)
    armed = drill.armed_after >= 0
    assert not trace.refused, f"{drill.name}: was not armed: {trace.refused}"
    assert trace.began >= 0 or not armed, f"{drill.name}: never {drill.when}"
    taken = response_ticks(drill, trace)
    assert 0 <= taken <= WITHIN, f"{drill.name}: answered after {taken} ticks"
    if drill.response in ("survived", "dropped", "warned", "held", "limited"):
        assert last.state in ("running", "off"), f"{drill.name}: ended {last.state}"
    if drill.response == "survived" and armed:
        wrong = [event for event in trace.events if event.response not in ("armed", "running")]
        assert not wrong, f"{drill.name}: {wrong[0]}"
        assert not any(set(t.applied.reasons) - {"off", "blend"} for t in trace.ticks)
    if drill.response == "stopped":
        way = next(i for i, tick in enumerate(trace.ticks) if tick.state == "stopping")
        assert last.state == "damped", f"{drill.name}: did not end released"
        home = trace.ticks[-1].applied.targets
        assert np.abs(home - HOME).max() < 0.02, f"{drill.name}: not at home"
        lasted = next(t.time for t in trace.ticks[way:] if t.state == "damped")
        assert abs(lasted - trace.ticks[way].time - trace.limits.stop_s) < 0.6
    drill.judge(trace)


def require_safe(trace: Trace) -> None:
    """Refuse a trace in which an unsafe target was sent, or anything without permission.

    Computed from what the scripted robot got and where its joints really were.

    Raises:
        AssertionError: says what is wrong.
    """
    limits, last = trace.limits, None
    step = min(limits.joint_speed_rad_s, limits.servo_speed_rad_s) * DT + 1e-9
    reach = limits.torque_nm / limits.servo_gain_nm_rad + 0.01
    for tick in trace.ticks:
        known = tick.state == "off" or np.isfinite(tick.joint_pos).all()
        assert known, "a reading that is no number went through"
        if tick.sent is None:
            continue
        assert tick.state in ("ready", "running", "stopping"), f"sent while {tick.state}"
        assert np.isfinite(tick.sent).all(), "a target that is no number was sent"
        assert (tick.sent >= LOW).all() and (tick.sent <= HIGH).all(), "sent beyond the range"
        away = np.abs(tick.sent - tick.joint_pos)
        assert (away <= reach).all(), "a target pulls harder than the servo may"
        if last is not None:
            # Faster only where a slower target would pull harder than the servo may.
            slower = np.clip(tick.sent, last - step, last + step)
            quick = (slower != tick.sent) & (np.abs(slower - tick.joint_pos) < reach - 0.01)
            assert not quick.any(), "a target moved faster than a servo can"
        last = tick.sent


# The faults


def _joint(index: int, **changed: Callable[[Sample, float], float]) -> Any:
    """A change of one joint's entries from the fault's beginning on."""

    def change(sample: Sample, since: float) -> Sample:
        if since < -1e-9:
            return sample
        new = {}
        for name, value in changed.items():
            values = getattr(sample, name).copy()
            values[index] = value(sample, since)
            new[name] = values
        return replace(sample, **new)

    return change


def _lasting(seconds: float, change: Callable[[Sample, float], Sample]) -> Any:
    """A change that ends after some seconds."""
    return lambda sample, since: change(sample, since) if since < seconds - 1e-9 else sample


def _from(change: Callable[[Sample], Sample]) -> Any:
    """A change from the fault's beginning on."""
    return lambda sample, since: change(sample) if since > -1e-9 else sample


def _silent(index: int) -> Any:
    """A servo that answers no more: value and time of its last reading."""
    held: list[tuple[float, float]] = []

    def change(sample: Sample, since: float) -> Sample:
        if since < -1e-9:
            held[:] = [(float(sample.position[index]), float(sample.position_time[index]))]
            return sample
        position, time = sample.position.copy(), sample.position_time.copy()
        position[index], time[index] = held[0]
        return replace(sample, position=position, position_time=time)

    return change


def _frozen(index: int) -> Any:
    """A servo whose reading stays while its time goes on."""
    held: list[float] = []

    def change(sample: Sample, since: float) -> Sample:
        if since < -1e-9:
            held[:] = [float(sample.position[index])]
            return sample
        position = sample.position.copy()
        position[index] = held[0]
        return replace(sample, position=position)

    return change


def _imu(fresh: bool) -> Any:
    """An IMU that reports nothing new; with `fresh` its time goes on."""
    held: list[Sample] = []

    def change(sample: Sample, since: float) -> Sample:
        if since < -1e-9:
            held[:] = [sample]
            return sample
        time = sample.imu_time if fresh else held[0].imu_time
        return replace(sample, quat=held[0].quat, gyro=held[0].gyro, imu_time=time)

    return change


def _lost(share: float) -> Any:
    """Readings of each joint that are lost, singly."""
    random, held = np.random.default_rng(1), list[Sample]()

    def change(sample: Sample, since: float) -> Sample:
        if held and since > -1e-9:
            lost = random.uniform(size=len(NAMES)) < share
            sample = replace(
                sample,
                position=np.where(lost, held[0].position, sample.position),
                position_time=np.where(lost, held[0].position_time, sample.position_time),
            )
        held[:] = [sample]
        return sample

    return change


def _lean(angle: Callable[[float], float], rate: Callable[[float], float]) -> Any:
    """Script of the attitude: nose down [rad] and [rad/s] by the time since the beginning."""

    def change(robot: ScriptedRobot, since: float) -> None:
        if since > -1e-9:
            robot.pitch, robot.pitch_rate = angle(since), rate(since)

    return change


def _blocked(robot: ScriptedRobot, since: float) -> None:
    robot.blocked = since > -1e-9


def _free(robot: ScriptedRobot, since: float) -> None:
    """The hip's servo unloads: the hip hangs, and swings 0.5 rad within a second."""
    robot.blocked = since >= 0.0
    if since > 0.0:
        robot.position[HIP] -= 0.5 * DT if since < 1.0 else 0.0


def _gone(robot: ScriptedRobot, since: float) -> None:
    robot.gone = since > -1e-9


def _asked(change: Callable[[Array], Any], seconds: float = math.inf) -> Any:
    return lambda targets, since: change(targets) if -1e-9 < since < seconds else targets


def _with(index: int, value: float) -> Callable[[Array], Array]:
    def change(targets: Array) -> Array:
        targets = targets.copy()
        targets[index] = value
        return targets

    return change


def _released_upright(trace: Trace) -> None:
    tick = next(tick for tick in trace.ticks if tick.state == "damped")
    assert math.degrees(tick.pitch) < 60.0, "released only when it had fallen"


def _hot_hip_is_slower(trace: Trace) -> None:
    sent = np.array([t.sent for t in trace.ticks[trace.began + 2 :] if t.sent is not None])
    fastest = np.abs(np.diff(sent, axis=0)).max(axis=0) / DT
    # 82.5 deg C is half of the way from 80 to 85: three quarters of 5.82 rad/s are left.
    assert fastest[HIP] <= 0.75 * 5.82 + 1e-6 < fastest[KNEE]


def _blend_is_slow(trace: Trace) -> None:
    ready = [tick for tick in trace.ticks if tick.state == "ready"]
    first, sent = ready[0], np.array([tick.sent for tick in ready])
    assert np.abs(sent[0] - first.joint_pos).max() < 1e-9, "the first target is not the pose"
    speed = np.abs(np.diff(sent, axis=0)).max() / DT
    # The hip goes 0.3 rad in 2 s: 1.5 times the mean speed at most.
    assert speed <= 1.5 * 0.31 / 2.0 + 1e-6
    assert len(ready) * DT >= trace.limits.blend_s


def _no_more_than_asked(trace: Trace) -> None:
    """After letting go, nothing is sent, whatever is requested."""
    damped = [tick for tick in trace.ticks if tick.state == "damped"]
    assert len(damped) > 10 and all(tick.sent is None for tick in damped)


def _a_square(targets: Array, since: float) -> Array:
    """Requests that jump to and fro by 0.8 rad, five times a second."""
    if since < -1e-9:
        return targets
    return HOME + 0.4 * np.array([1.0, 1.0, 1.0, 1.0]) * (1 if int(since * 5) % 2 else -1)


_DEG = math.pi / 180.0
_TOPPLE = 1.0 / 0.177
"""Growth of a toppling robot's lean [1/s]: centre of mass at 0.31 m."""

DRILLS: tuple[Drill, ...] = (
    Drill("nothing is wrong", "", "survived", Fault()),
    # Requests
    Drill("one target NaN, once", "unusable", "held",
          Fault(request=_asked(_with(KNEE, math.nan), DT / 2))),
    Drill("target infinite, once", "unusable", "held",
          Fault(request=_asked(_with(KNEE, math.inf), DT / 2))),
    Drill("targets of another size, once", "unusable", "held",
          Fault(request=_asked(lambda targets: targets[:3], DT / 2))),
    Drill("targets that are words, once", "unusable", "held",
          Fault(request=_asked(lambda targets: ["a"] * 4, DT / 2))),
    Drill("targets NaN for good", "unusable_again", "released",
          Fault(request=_asked(_with(KNEE, math.nan))), DT, "2 in a row"),
    Drill("target 2 rad beyond the stop", "within_range", "limited",
          Fault(request=_asked(_with(HIP, 3.5)))),
    Drill("targets jump to and fro by 0.8 rad", "within_rate", "limited",
          Fault(request=_a_square)),
    Drill("the same with quick servos: 15 rad/s holds", "fastest", "limited",
          Fault(request=_a_square), limits={"servo_speed_rad_s": 50.0, "torque_nm": 100.0}),
    Drill("joint blocked: targets go away from it", "within_torque", "limited",
          Fault(robot=_blocked, request=_asked(_with(HIP, 0.9)))),
    Drill("servo unloads by itself: the joint swings free", "within_torque", "limited",
          Fault(robot=_free), 0.2, "0.21 rad away", limits={"frozen_s": 5.0}),
    # Joint readings
    Drill("0.66 % of the readings lost, singly", "", "survived",
          Fault(sample=_lost(0.0066)), seconds=6.0),
    Drill("readings of a joint lost for 0.12 s", "", "survived",
          Fault(sample=_lasting(0.12, _silent(HIP)))),
    Drill("servo silent for good", "joints_old", "released", Fault(sample=_silent(HIP)),
          0.16 - 0.03 + 1e-6, "0.16 s old"),
    Drill("a loop that reads no more", "joints_old", "released",
          Fault(reads=lambda since: since < -1e-9), 0.14, "0.16 s old"),
    Drill("joint reading NaN, once", "no_number", "dropped",
          Fault(sample=_lasting(DT, _joint(KNEE, position=lambda s, t: math.nan)))),
    Drill("joint reading NaN for good", "jumped_again", "released",
          Fault(sample=_joint(KNEE, position=lambda s, t: math.nan)), DT, "2 in a row"),
    Drill("joint reading jumps by 0.5 rad, once", "jumped", "dropped",
          Fault(sample=_lasting(DT, _joint(HIP, position=lambda s, t: s.position[HIP] + 0.5))),
          judge=lambda trace: _believed(trace, 0.25)),
    Drill("joint reading is off by 0.5 rad for good", "jumped_again", "released",
          Fault(sample=_joint(HIP, position=lambda s, t: s.position[HIP] + 0.5)), DT,
          "2 in a row", judge=lambda trace: _believed(trace, 0.25)),
    Drill("two joints read as each other from now on", "jumped_again", "released",
          Fault(sample=_from(lambda s: replace(s, position=s.position[[1, 0, 2, 3]]))), DT,
          "2 in a row"),
    Drill("encoder frozen, its time goes on", "joints_frozen", "released",
          Fault(sample=_frozen(HIP)), 0.12 + 0.25 - DT, "0.25 s since it was to move",
          seconds=2.0),  # its target is further than the limit away after 0.12 s
    # IMU
    Drill("IMU report stale for 0.2 s", "", "survived",
          Fault(sample=_lasting(0.2, _imu(False)))),
    Drill("IMU silent for good", "imu_old", "released", Fault(sample=_imu(False)),
          0.25 - 0.025 + 1e-6, "0.25 s old"),
    Drill("IMU frozen, its time goes on", "imu_frozen", "released", Fault(sample=_imu(True)),
          0.25 - DT, "0.25 s"),
    Drill("quaternion of zeros, once", "bad_norm", "dropped",
          Fault(sample=_lasting(DT, _from(lambda s: replace(s, quat=np.zeros(4)))))),
    Drill("quaternion of norm 1.3 for good", "imu_old", "released",
          Fault(sample=_from(lambda s: replace(s, quat=1.3 * s.quat))), 0.25 - 0.025 + 1e-6,
          "0.25 s old"),
    Drill("quaternion without gyro, once", "no_number", "dropped",
          Fault(sample=_lasting(DT, _from(lambda s: replace(s, gyro=np.full(3, math.nan)))))),
    Drill("IMU reports NaN for good", "imu_old", "released",
          Fault(sample=_from(lambda s: replace(s, quat=np.full(4, math.nan)))),
          0.25 - 0.025 + 1e-6, "0.25 s old"),
    # Attitude
    Drill("lies at 65 deg, the gyro says it rises at 0.5 rad/s", "tilted", "released",
          Fault(robot=_lean(lambda t: 65.0 * _DEG, lambda t: -0.5)), 0.0, "60 deg"),
    Drill("topples", "falling", "released",
          Fault(robot=_lean(lambda t: 5.0 * _DEG * math.exp(_TOPPLE * t),
                            lambda t: 5.0 * _DEG * _TOPPLE * math.exp(_TOPPLE * t))),
          0.177 * math.log(60.0 / 5.0 / (1.0 + 0.3 * _TOPPLE)), "60 deg in 0.3 s", seconds=0.4,
          judge=_released_upright),
    Drill("pushed: leans by 20 deg and comes back", "", "survived",
          Fault(robot=_lean(lambda t: 20.0 * _DEG * math.sin(min(4.0 * t, math.pi)),
                            lambda t: 80.0 * _DEG * math.cos(4.0 * t) * (4.0 * t < math.pi)))),
    # Time
    Drill("the clock steps back by 1 s", "stepped_back", "released",
          Fault(sample=_from(lambda s: replace(s, time=s.time - 1.0)))),
    Drill("the loop's time steps back by 0.01 s", "stepped_back", "released",
          Fault(early=lambda since: 0.03 if since > -1e-9 else 0.0)),
    Drill("a joint's time is 1 s in the future", "ahead", "released",
          Fault(sample=_joint(HIP, position_time=lambda s, t: s.position_time[HIP] + 1.0))),
    Drill("one tick 40 ms late", "", "survived",
          Fault(sleep=lambda since: 3 * DT if -1e-9 < since < DT / 2 else DT)),
    Drill("the loop needs 200 ms for a step", "too_many_missed", "stopped",
          Fault(sleep=lambda since: 0.2 if -1e-9 < since < 1.0 else DT), 0.4, "10 in 1 s",
          seconds=4.0),
    # Heat and supply
    Drill("hip's servo at 82.5 deg C", "share_when_hot", "limited",
          Fault(sample=_joint(HIP, temperature=lambda s, t: 82.5), request=_a_square),
          judge=_hot_hip_is_slower),
    Drill("a servo at 85 deg C", "hot", "stopped",
          Fault(sample=_joint(HIP, temperature=lambda s, t: 85.0)), 0.0, "85 deg C", seconds=3.0),
    Drill("battery sags to 9.4 V for 0.3 s", "voltage_outside", "warned",
          Fault(sample=_lasting(0.3, _joint(HIP, voltage=lambda s, t: 9.4)))),
    Drill("battery low: 9.4 V", "voltage_outside_for_long", "stopped",
          Fault(sample=_joint(HIP, voltage=lambda s, t: 9.4)), 0.5, "9.6 V for 0.5 s",
          seconds=4.0),
    Drill("supply of 13 V", "voltage_outside_for_long", "stopped",
          Fault(sample=_joint(HIP, voltage=lambda s, t: 13.0)), 0.5, "12.6 V for 0.5 s",
          seconds=4.0),
    # Start
    Drill("started leaning by 16 deg", "start_tilted", "refused",
          Fault(robot=_lean(lambda t: 16.0 * _DEG, lambda t: 0.0)), when="off"),
    Drill("started while it swings at 0.5 rad/s", "start_turning", "refused",
          Fault(robot=_lean(lambda t: 0.0, lambda t: 0.5)), when="off"),
    Drill("started with a joint 6 deg beyond its range", "start_outside", "refused",
          Fault(sample=_joint(KNEE, position=lambda s, t: -6.0 * _DEG)), when="off"),
    Drill("started after 4 samples", "start_too_soon", "refused", Fault(), armed_after=4),
    Drill("started while a servo is silent", "joints_old", "refused",
          Fault(sample=_joint(HIP, position_time=lambda s, t: 95.0)), when="off"),
    Drill("started with a servo that was never read", "no_number", "refused",
          Fault(sample=lambda s, t: _joint(HIP, position=lambda s, t: math.nan,
                                           position_time=lambda s, t: math.nan)(s, 0.0))),
    Drill("started while the IMU repeats its report", "imu_old", "refused",
          Fault(sample=_imu(False)), when="off", armed_after=26),
    Drill("started with a servo at 90 deg C", "hot", "refused",
          Fault(sample=_joint(HIP, temperature=lambda s, t: 90.0)), when="off"),
    Drill("started with an empty battery", "voltage_outside", "refused",
          Fault(sample=_joint(HIP, voltage=lambda s, t: 9.0)), when="off"),
    Drill("never started, targets come all the same", "unarmed", "survived", Fault(),
          when="off", armed_after=-1),
    Drill("the blend is slow and begins at the pose", "", "survived", Fault(),
          judge=_blend_is_slow),
    Drill("a blocked hip ends the blend 17 deg off", "off_pose", "released",
          Fault(robot=_blocked), 2.0 - DT, "8 deg", when="ready", seconds=3.0),
    # Orders
    Drill("emergency stop", "latched", "released", Fault(order=lambda safe: safe.e_stop()),
          judge=_no_more_than_asked),
    Drill("stop", "", "stopped", Fault(order=lambda safe: safe.stop("asked")), seconds=3.0),
    Drill("stop while it leans by 35 deg", "too_tilted_to_stop_softly", "released",
          Fault(robot=_lean(lambda t: 35.0 * _DEG, lambda t: 0.0),
                order=lambda safe: safe.stop("asked"))),
    Drill("the connection ends", "", "released", Fault(robot=_gone)),
)  # fmt: skip
"""Every fault, with what must follow."""


def _believed(trace: Trace, near: float) -> None:
    """The believed readings stay near to where the joints are."""
    for tick in trace.ticks[trace.began :]:
        if tick.state == "damped":
            return
        assert np.abs(tick.joint_pos - tick.actual).max() < near, "a jump was believed"


def main() -> int:
    """Carry out every drill; 1 if one fails."""
    failed = 0
    for drill in DRILLS:
        try:
            trace = run(drill)
            judge(drill, trace)
            words = f"{response_ticks(drill, trace)} ticks"
        except AssertionError as error:
            failed, words = failed + 1, f"FAILED: {error}"
        print(f"{drill.name:<52} {drill.response:<9} {words}")
    print(f"{len(DRILLS) - failed} of {len(DRILLS)} drills passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The only holder of a robot that can move: every target goes through here, every reading too.

States:

    off       nothing is sent; the start gate counts samples that are fit for a start
    ready     armed: moves from the measured pose to the first target, then holds it
    running   targets are sent, within the limits
    stopping  moves home, then lets go
    damped    let go, until `reset`

What follows from a rule of `rules.py`: targets are limited; readings are dropped, which makes them
old; the robot stops softly; or it is released at once. Constructing this sends nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from envs.errors import RunError, UserError
from wildrobot_torch.contract import Contract, Readings
from wildrobot_torch.deploy.runtime import rules
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.hardware import Array, Hardware, HardwareError, Sample
from wildrobot_torch.deploy.runtime.limits import SafetyLimits

MOVING = ("ready", "running", "stopping")
"""States in which targets are sent."""
NUDGE = math.radians(3.0)
"""Largest angle by which one joint is moved to see which way it turns [rad]."""
NUDGE_S = 0.25
"""Time of a nudge there, and of staying there [s]."""
T = TypeVar("T")
EVENTS = 1000
"""Events that are kept; older ones are dropped."""


class NotReadyError(RunError):
    """The robot cannot be started now; the message says why."""


@dataclass(frozen=True)
class Event:
    """Something that the safety layer did, and why."""

    time: float
    """Of the hardware's clock [s]."""
    rule: str
    """Name of a rule in `rules`, or of who asked: e_stop, stop, arm, reset, connection."""
    response: str
    """warned, dropped, held, stopped, released, armed, running or reset."""
    value: float
    """What was measured; NaN where there is nothing to measure."""
    limit: float
    """What is allowed; likewise."""
    what: str
    """Joint, or reason in words."""

    def __str__(self) -> str:
        text = f"{self.time:.3f} s: {self.rule}: {self.response}"
        if not math.isnan(self.limit):
            text += f", {self.value:.4g} (limit {self.limit:.4g})"
        return f"{text}, {self.what}" if self.what else text


@dataclass(frozen=True)
class Applied:
    """What became of a request."""

    targets: Array
    """(J,) [rad]: the targets that were sent, or would be held; NaN before the first."""
    reasons: tuple[str, ...]
    """Why they are not the requested ones; () if they are."""


class SafeRobot:
    """A robot under the rules; J joints in the contract's order."""

    def __init__(
        self,
        hardware: Hardware,
        calibration: Calibration,
        contract: Contract,
        limits: SafetyLimits,
    ) -> None:
        """Take hold of the hardware; nothing is sent.

        Args:
            hardware: the robot.
            calibration: of it.
            contract: of the policy that will drive it.
            limits: of the rules.

        Raises:
            UserError: hardware, calibration and contract are not of one robot.
        """
        require_same_joints(hardware.joint_names, calibration, contract)
        self._hardware, self._calibration, self._limits = hardware, calibration, limits
        self._names = hardware.joint_names
        self._dt = contract.ctrl_dt
        self._low, self._high = contract.joint_range.T.copy()
        self._joints = len(contract.joint_names)
        self._home = np.clip(contract.home, self._low, self._high)
        self._step = rules.fastest(limits) * contract.ctrl_dt
        self._reach = limits.torque_nm / limits.servo_gain_nm_rad
        self.state = "off"
        """See the module."""
        self.events: deque[Event] = deque(maxlen=EVENTS)
        """What happened, the oldest first."""
        self.sample: Sample | None = None
        """The last one, as the hardware gave it."""
        self.not_ready: tuple[str, ...] = ("no sample has been read",)
        """Why the robot cannot be armed; () if it can."""
        self._last = np.full(self._joints, np.nan)
        self._forget()

    def _forget(self) -> None:
        """Begin anew: nothing is known."""
        self._believed: Sample | None = None
        self._readings: Readings | None = None
        self._tilt = self._turning = math.nan
        self._fit = 0
        self._unusable = 0
        self._dropped = np.zeros(self._joints, dtype=int)
        self._any_dropped = False
        self._warned: set[tuple[str, str]] = set()
        self._outside_since: float | None = None
        self._share: Array | None = None
        self._missed: deque[tuple[float, int]] = deque()
        self._begin_to_watch(None)

    def _begin_to_watch(self, sample: Sample | None) -> None:
        self._applied_at: float | None = None
        self._imu_same_since = math.nan if sample is None else sample.imu_time
        self._pose_then = None if sample is None else sample.position
        self._same_since = None if sample is None else sample.position_time
        self._strayed = np.zeros(self._joints)
        self._goal: Array | None = None
        self._sent: Array | None = None

    # Reading

    def read(self) -> Readings:
        """The newest readings that can be believed, in the contract's order and frame.

        While the robot moves, readings that show something wrong stop or release it.

        Raises:
            HardwareError: there is no connection, and nothing was ever read.
        """
        try:
            sample, now = self._hardware.read(), self._hardware.clock()
        except HardwareError as error:
            self._release("connection", str(error))
            if self._readings is None:
                raise
            return self._readings
        before, raw, self.sample = self._believed, self.sample, sample
        if before is not None and raw is not None:
            sample = self._believe(sample, before, raw)
        readings = self._calibration.readings(sample, before)
        self._believed, self._readings = sample, readings
        gravity, angvel = readings.gravity.tolist(), readings.angvel.tolist()
        self._tilt = math.acos(min(1.0, max(-1.0, -gravity[2])))
        self._turning = math.sqrt(sum(rate * rate for rate in angvel))
        if self.state == "off":
            self._count_for_start(sample, before, readings, now)
        elif self.state in MOVING:
            assert before is not None
            self._watch_readings(sample, before, gravity, angvel, now)
        return readings

    def _believe(self, sample: Sample, before: Sample, raw: Sample) -> Sample:
        """The sample with the last believed values in place of those that cannot be.

        `before` is the last believed sample, `raw` the last one as it was read.
        """
        moved = sample.position - before.position
        elapsed = sample.position_time - before.position_time
        moving = self.state in MOVING
        if moving:
            self._check_clock(sample, before, float(elapsed.min()))
        wrong = rules.no_number(sample.position)
        if moving:
            wrong |= rules.jumped(moved, elapsed, self._limits)
            if self._any_dropped:
                # What agrees with a dropped reading has jumped as well.
                since = sample.position_time - raw.position_time
                other = rules.jumped(sample.position - raw.position, since, self._limits)
                wrong |= (self._dropped > 0) & ~other
        if self._any_dropped or wrong.any():
            sample = self._drop_joints(sample, before, wrong, elapsed, moved)
        norm = math.sqrt(sum(value * value for value in sample.quat.tolist()))
        bad = rules.bad_norm(norm, self._limits)
        if bad or rules.no_number(sample.gyro).any():
            low = self._limits.quat_norm_low
            self._warn("bad_norm" if bad else "no_number", "dropped", norm, low, "IMU")
            sample = replace(sample, quat=before.quat, gyro=before.gyro, imu_time=before.imu_time)
        else:
            self._warned -= {("bad_norm", "IMU"), ("no_number", "IMU")}
        return sample

    def _drop_joints(
        self, sample: Sample, before: Sample, wrong: rules.Mask, elapsed: Array, moved: Array
    ) -> Sample:
        """The last believed readings in place of wrong ones; too many in a row release."""
        fresh = elapsed > 0.0
        self._dropped = np.where(wrong, self._dropped + fresh, np.where(fresh, 0, self._dropped))
        self._any_dropped = bool(self._dropped.any())
        for index in np.flatnonzero(wrong):
            name = self._names[index]
            rule = "jumped" if np.isfinite(sample.position[index]) else "no_number"
            self._warn(rule, "dropped", float(moved[index]), math.nan, name)
            if self.state in MOVING and rules.jumped_again(self._dropped[index], self._limits):
                self._release("jumped_again", name, self._dropped[index], self._limits.jumps)
        for index in np.flatnonzero(~wrong):
            self._warned -= {("jumped", self._names[index]), ("no_number", self._names[index])}
        return replace(
            sample,
            position=np.where(wrong, before.position, sample.position),
            position_time=np.where(wrong, before.position_time, sample.position_time),
        )

    def _check_clock(self, sample: Sample, before: Sample, joints: float) -> None:
        """Release if a time is before the one that came before it."""
        back = min(joints, sample.time - before.time, sample.imu_time - before.imu_time)
        if rules.stepped_back(back):
            self._release("stepped_back", "time of a sample", back, 0.0)

    def _count_for_start(
        self, sample: Sample, before: Sample | None, readings: Readings, now: float
    ) -> None:
        limits, why = self._limits, []
        oldest = now - float(sample.position_time.min())
        beyond = float(
            np.maximum(self._low - readings.joint_pos, readings.joint_pos - self._high).max()
        )
        if rules.joints_old(oldest, limits) or rules.no_number(readings.joint_pos).any():
            why.append(f"a joint's reading is {oldest:.3f} s old (limit {limits.joint_age_s:g})")
        imu = now - sample.imu_time
        if before is None or not sample.imu_time > before.imu_time or rules.imu_old(imu, limits):
            why.append(f"the IMU has no new report, the last is {imu:.3f} s old")
        if rules.start_tilted(self._tilt, limits):
            tilt = math.degrees(self._tilt)
            why.append(f"it leans by {tilt:.1f} deg (limit {limits.start_tilt_deg:g})")
        if rules.start_turning(self._turning, limits):
            limit = limits.start_rate_rad_s
            why.append(f"it turns at {self._turning:.2f} rad/s (limit {limit:g})")
        if rules.start_outside(beyond, limits):
            limit = limits.start_range_deg
            why.append(
                f"a joint is {math.degrees(beyond):.1f} deg beyond its range (limit {limit:g})"
            )
        hottest = float(np.fmax.reduce(sample.temperature))
        if rules.hot(hottest, limits):
            why.append(f"a servo has {hottest:g} deg C (limit {limits.hot_c:g})")
        for voltage in (np.fmin.reduce(sample.voltage), np.fmax.reduce(sample.voltage)):
            if rules.voltage_outside(float(voltage), limits):
                allowed = f"{limits.voltage_low_v:g} to {limits.voltage_high_v:g}"
                why.append(f"a servo has {voltage:.2f} V (allowed: {allowed})")
        self._fit = 0 if why else self._fit + 1
        if not why and rules.start_too_soon(self._fit, limits):
            why.append(f"{self._fit} of {limits.start_samples} samples in a row are fit")
        self.not_ready = tuple(why)

    def _watch_readings(
        self, sample: Sample, before: Sample, gravity: list[float], angvel: list[float], now: float
    ) -> None:
        limits = self._limits
        tilt, rate = self._tilt, rules.tilt_rate(gravity, angvel)
        if rules.tilted(tilt, limits):
            self._release("tilted", "deg", math.degrees(tilt), limits.tilt_deg)
        if rules.falling(tilt, rate, limits):
            reached = math.degrees(tilt + rate * limits.fall_horizon_s)
            self._release("falling", "deg", reached, limits.tilt_deg)
        self._check_ages(now)
        early = max(sample.time, sample.imu_time, float(sample.position_time.max())) - now
        if rules.ahead(early, self._dt):
            self._release("ahead", "s", early, self._dt)
        self._watch_frozen(sample, before)
        self._watch_supply(sample, now)
        if self.state == "stopping" and rules.too_tilted_to_stop_softly(tilt, limits):
            self._release(
                "too_tilted_to_stop_softly", "deg", math.degrees(tilt), limits.stop_tilt_deg
            )

    def _check_ages(self, now: float) -> None:
        sample, limits = self._believed, self._limits
        assert sample is not None
        oldest = now - float(sample.position_time.min())
        if rules.joints_old(oldest, limits):
            name = self._names[int(sample.position_time.argmin())]
            self._release("joints_old", name, oldest, limits.joint_age_s)
        if rules.imu_old(now - sample.imu_time, limits):
            self._release("imu_old", "s", now - sample.imu_time, limits.imu_age_s)

    def _watch_frozen(self, sample: Sample, before: Sample) -> None:
        limits, times = self._limits, sample.position_time
        assert self._same_since is not None
        changed = sample.position != before.position
        if self._sent is not None:
            away = np.abs(self._sent - sample.position)
            self._strayed = np.where(changed, 0.0, np.maximum(self._strayed, away))
        # A joint that nobody asked to move may stay where it is for as long as it likes.
        asked = self._strayed > math.radians(limits.frozen_target_deg)
        self._same_since = np.where(changed | ~asked, times, self._same_since)
        frozen = rules.joints_frozen(times - self._same_since, self._strayed, limits)
        if frozen.any():
            index = int(frozen.argmax())
            lasted = float(times[index] - self._same_since[index])
            self._release("joints_frozen", self._names[index], lasted, limits.frozen_s)
        # Comparing lists is quicker than comparing small arrays.
        same = (
            sample.gyro.tolist() == before.gyro.tolist()
            and sample.quat.tolist() == before.quat.tolist()
        )
        if not same:
            self._imu_same_since, self._pose_then = sample.imu_time, sample.position
            return
        lasted, turned = sample.imu_time - self._imu_same_since, 0.0
        if lasted > 0.0 and self._pose_then is not None:
            turned = float(np.abs(sample.position - self._pose_then).max())
        if rules.imu_frozen(lasted, turned, limits):
            self._release("imu_frozen", "s", lasted, limits.frozen_s)

    def _watch_supply(self, sample: Sample, now: float) -> None:
        limits = self._limits
        hottest = float(np.fmax.reduce(sample.temperature))
        if hottest > limits.derate_from_c:
            index = int(np.nanargmax(sample.temperature))
            share = rules.share_when_hot(sample.temperature, limits)
            self._share = share[np.array(self._calibration.order)]
            name = self._names[index]
            self._warn("share_when_hot", "warned", hottest, limits.derate_from_c, name)
            if rules.hot(hottest, limits):
                self._stop("hot", name, hottest, limits.hot_c)
        elif self._share is not None:
            self._share = None
            self._warned = {key for key in self._warned if key[0] != "share_when_hot"}
        low, high = float(np.fmin.reduce(sample.voltage)), float(np.fmax.reduce(sample.voltage))
        outside = next((v for v in (low, high) if rules.voltage_outside(v, limits)), None)
        if outside is None:
            self._outside_since = None
            self._warned.discard(("voltage_outside", "V"))
            return
        limit = limits.voltage_low_v if outside == low else limits.voltage_high_v
        self._warn("voltage_outside", "warned", outside, limit, "V")
        if self._outside_since is None:
            self._outside_since = now
        if rules.voltage_outside_for_long(now - self._outside_since, limits):
            self._stop("voltage_outside_for_long", "V", outside, limit)

    # Applying

    def apply(self, targets: Any, now: float) -> Applied:
        """Send requested targets (J,) [rad] as far as the rules allow.

        `now` is of the hardware's clock [s]. While the robot gets ready, the first request is where
        it goes, and later ones are ignored; while it stops, every request is.
        """
        if rules.latched(self.state):
            # A servo that has missed the first command lets go by this one.
            self._hardware.release()
            return Applied(self._last, ("damped",))
        if rules.unarmed(self.state):
            return Applied(self._last, ("off",))
        self._check_time(now)
        reasons: list[str] = []
        wanted = self._wanted(targets, now, reasons)
        if rules.latched(self.state):
            return Applied(self._last, (*reasons, "damped"))
        return self._limit_and_send(wanted, reasons)

    def _limit_and_send(self, wanted: Array, reasons: list[str]) -> Applied:
        assert self._readings is not None
        step, reach = self._step, self._reach
        if self._share is not None:
            step, reach = step * self._share, reach * self._share
        in_range = rules.within_range(wanted, self._low, self._high)
        slow = rules.within_rate(in_range, self._last, step)
        # Later than the rate, so that a target never pulls harder than allowed: what this changes
        # brings the target nearer to where the joint is.
        weak = rules.within_torque(slow, self._readings.joint_pos, reach)
        sent = rules.within_range(weak, self._low, self._high)
        if (in_range != wanted).any():
            reasons.append("range")
        for name, changed in (("rate", slow != in_range), ("torque", weak != slow)):
            if changed.any():
                reasons.append(name)
                if self._share is not None and (changed & (self._share < 1.0)).any():
                    reasons.append("hot")
        return self._send(sent, reasons)

    def _send(self, targets: Array, reasons: list[str]) -> Applied:
        self._sent = self._calibration.to_servo(targets)
        try:
            self._hardware.write(self._sent)
        except HardwareError as error:
            self._release("connection", str(error))
            return Applied(self._last, (*reasons, "damped"))
        self._last = targets
        return Applied(targets, tuple(reasons))

    def _check_time(self, now: float) -> None:
        elapsed = self._dt if self._applied_at is None else now - self._applied_at
        self._applied_at = now
        if rules.stepped_back(elapsed):
            self._release("stepped_back", "time of a request", elapsed, 0.0)
        self._check_ages(now)
        if elapsed > 1.5 * self._dt:
            self._missed.append((now, round(elapsed / self._dt) - 1))
        if self._missed:
            while self._missed and now - self._missed[0][0] > self._limits.missed_window_s:
                self._missed.popleft()
            missed = sum(count for _, count in self._missed)
            if rules.too_many_missed(missed, self._limits):
                self._stop("too_many_missed", "ticks", missed, self._limits.missed_ticks)

    def _wanted(self, targets: Any, now: float, reasons: list[str]) -> Array:
        """What to send before it is limited; a state may end here."""
        if self.state == "stopping":
            reasons.append("stopping")
            return self._on_the_way(self._home, self._limits.stop_s, now)
        targets = np.asarray(targets)
        if rules.unusable(targets, self._joints):
            self._unusable += 1
            reasons.append("unusable")
            self._warn("unusable", "held", math.nan, math.nan, f"shape {targets.shape}")
            if rules.unusable_again(self._unusable, self._limits):
                allowed = self._limits.unusable_targets
                self._release("unusable_again", "requests", self._unusable, allowed)
            return self._last
        if self._unusable:
            self._unusable = 0
            self._warned = {key for key in self._warned if key[0] != "unusable"}
        if self.state == "running":
            return targets
        reasons.append("blend")
        if self._goal is None:
            goal = rules.within_range(targets, self._low, self._high)
            self._begin_way(self._last, now)
            self._goal = goal
        return self._on_the_way(self._goal, self._limits.blend_s, now)

    def _begin_way(self, start: Array, now: float) -> None:
        self._way_from, self._way_since = start, now

    def _on_the_way(self, end: Array, duration: float, now: float) -> Array:
        """Smoothly from where the way began to its end; what follows at its end."""
        passed = now - self._way_since
        share = min(1.0, passed / duration)
        if share == 1.0 and self.state == "stopping":
            self._release("stop", "at home")
        elif share == 1.0:
            self._check_pose(end)
            if self.state == "ready" and passed >= duration + self._limits.blend_hold_s:
                self.state = "running"
                self._note("arm", "running")
        share *= share * (3.0 - 2.0 * share)
        return self._way_from + share * (end - self._way_from)

    def _check_pose(self, goal: Array) -> None:
        """Release a robot that does not stand as it was led to stand."""
        assert self._readings is not None
        limits, error = self._limits, float(np.abs(self._readings.joint_pos - goal).max())
        if rules.off_pose(error, limits):
            self._release("off_pose", "deg", math.degrees(error), limits.blend_error_deg)
        if rules.start_tilted(self._tilt, limits):
            tilt = math.degrees(self._tilt)
            self._release("start_tilted", "deg", tilt, limits.start_tilt_deg)
        if rules.start_turning(self._turning, limits):
            self._release("start_turning", "rad/s", self._turning, limits.start_rate_rad_s)

    # Orders

    def arm(self) -> None:
        """Let the robot move: from where it is to the first target that is applied.

        Raises:
            NotReadyError: it is not off, or the start gate is closed.
        """
        if self.state != "off":
            hint = "; reset it first" if self.state == "damped" else ""
            raise NotReadyError(f"the robot is {self.state}, only a robot that is off starts{hint}")
        if self.not_ready:
            raise NotReadyError(f"the robot cannot start: {'; '.join(self.not_ready)}")
        assert self._believed is not None and self._readings is not None
        # The first request begins here, and not where servos were told to be at some time before.
        self._last = rules.within_range(self._readings.joint_pos, self._low, self._high)
        self._begin_to_watch(self._believed)
        self.state = "ready"
        self._note("arm", "armed")
        for what, values in (("voltage", self._believed.voltage),
                             ("temperature", self._believed.temperature)):  # fmt: skip
            if not np.isfinite(values).any():
                self._warn("arm", "warned", math.nan, math.nan, f"no {what} is reported")

    def nudge(
        self, joint: int, angle: float, sleep: Callable[[float], None], look: Callable[[], T]
    ) -> tuple[Array, T]:
        """Move one joint by a small angle [rad] and back, while the others are held.

        The robot must be off and ready to be armed, or held since the last nudge; afterwards it is
        held (state ready). `let_go` ends that.

        Args:
            joint: index in the contract's order.
            angle: at most `NUDGE` to either side.
            sleep: lets a time pass [s].
            look: called while the joint is away.

        Returns:
            How far the joints' readings (J,) [rad] have moved, and what `look` returned.

        Raises:
            UserError: the angle is too large.
            NotReadyError: the robot cannot be armed, or a rule has released it meanwhile.
        """
        if not abs(angle) <= NUDGE:
            raise UserError(
                f"a nudge of {math.degrees(angle):.1f} deg; allowed: {math.degrees(NUDGE):g} to "
                "either side"
            )
        if self.state != "ready":
            self.arm()
        start = self._last
        away = start.copy()
        away[joint] += angle
        at_rest = self._lead(start, start, sleep)
        moved = self._lead(start, away, sleep)
        seen = look()
        self._lead(away, start, sleep)
        return moved - at_rest, seen

    def _lead(self, start: Array, end: Array, sleep: Callable[[float], None]) -> Array:
        """Go from one pose to another and stay there; returns the mean reading (J,) [rad] then."""
        self._applied_at = None
        ticks, found = round(NUDGE_S / self._dt), []
        for tick in range(2 * ticks):
            readings, now = self.read(), self._hardware.clock()
            self._check_time(now)
            if not rules.latched(self.state):
                share = min(1.0, (tick + 1) / ticks)
                self._limit_and_send(start + share * (end - start), [])
            if rules.latched(self.state):
                raise NotReadyError(f"the robot was released: {self.events[-1]}")
            if tick >= 1.5 * ticks:
                found.append(readings.joint_pos)
            sleep(self._dt)
        return np.mean(found, axis=0)

    def let_go(self) -> None:
        """Let go of a robot that is held after nudges: off again.

        Raises:
            NotReadyError: it is not held.
        """
        if self.state != "ready":
            raise NotReadyError(f"the robot is {self.state}, and not held after a nudge")
        self._hardware.release()
        self.state, self.not_ready = "off", ("no sample has been read",)
        self._note("let_go", "released", what="asked for")
        self._forget()

    def stop(self, reason: str) -> None:
        """Move home and let go; at once if the robot leans too far. Go on calling `apply`."""
        self._stop("stop", reason)

    def e_stop(self) -> None:
        """Let go of every servo at once."""
        self._release("e_stop", "asked for")

    def reset(self) -> None:
        """After a release: off again; the start gate begins anew.

        Raises:
            NotReadyError: the robot is not released.
        """
        if self.state != "damped":
            raise NotReadyError(f"the robot is {self.state}; only a released robot is reset")
        self.state, self.not_ready = "off", ("no sample has been read",)
        self._note("reset", "reset")
        self._last = np.full(self._joints, np.nan)
        self._forget()

    def close(self) -> None:
        """Let go, and end the connection."""
        self._release("close", "asked for")
        self._hardware.close()

    # What follows

    def _release(
        self, rule: str, what: str, value: float = math.nan, limit: float = math.nan
    ) -> None:
        """Let go of every servo, until `reset`; the first reason is noted."""
        before, self.state = self.state, "damped"
        self._hardware.release()
        if before != "damped":
            self._note(rule, "released", value, limit, what)

    def _stop(self, rule: str, what: str, value: float = math.nan, limit: float = math.nan) -> None:
        """Move home and let go."""
        if self.state not in ("ready", "running"):
            return
        if rules.too_tilted_to_stop_softly(self._tilt, self._limits):
            self._release(rule, what, value, limit)
            return
        self.state = "stopping"
        self._note(rule, "stopped", value, limit, what)
        self._begin_way(self._last, self._now())

    def _warn(self, rule: str, response: str, value: float, limit: float, what: str) -> None:
        """Note something once, until it is over."""
        if (rule, what) not in self._warned:
            self._warned.add((rule, what))
            self._note(rule, response, value, limit, what)

    def _note(
        self,
        rule: str,
        response: str,
        value: float = math.nan,
        limit: float = math.nan,
        what: str = "",
    ) -> None:
        self.events.append(Event(self._now(), rule, response, float(value), float(limit), what))

    def _now(self) -> float:
        """Of the hardware's clock, or of the last sample where there is no connection any more."""
        try:
            return self._hardware.clock()
        except HardwareError:
            return math.nan if self.sample is None else self.sample.time


def require_same_joints(
    servos: Sequence[str], calibration: Calibration, contract: Contract
) -> None:
    """Refuse hardware, calibration and contract that are not of one robot.

    Raises:
        UserError: says which joint is where.
    """
    if calibration.joint_names != contract.joint_names:
        raise UserError(
            f"the calibration has the joints {', '.join(calibration.joint_names)}; the policy "
            f"needs {', '.join(contract.joint_names)} in this order: calibrate this robot"
        )
    if len(servos) != len(contract.joint_names):
        raise UserError(
            f"the hardware has {len(servos)} servos ({', '.join(servos)}), the policy moves "
            f"{len(contract.joint_names)} joints"
        )
    for name, index in zip(calibration.joint_names, calibration.order, strict=True):
        if servos[index] != name:
            raise UserError(
                f"the calibration says that servo {index} moves {name}, the hardware calls it "
                f"{servos[index]}: calibrate this robot again"
            )

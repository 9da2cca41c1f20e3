"""The control loop: read, observe, act, send what is safe, log; from the start gate to the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wildrobot_torch.contract import Readings
from wildrobot_torch.deploy.runtime.commands import STAND, Command, Commands
from wildrobot_torch.deploy.runtime.hardware import HardwareError
from wildrobot_torch.deploy.runtime.log import POLICIES, LogWriter, fill
from wildrobot_torch.deploy.runtime.pilot import SETTLE_S, Pilot, Request
from wildrobot_torch.deploy.runtime.safety import MOVING, Applied, Event, SafeRobot
from wildrobot_torch.deploy.runtime.scheduler import ClockError, Delays, Scheduler, Tick

READY_S = 5.0
"""Longest time until the robot is ready to be armed [s]."""
STOPPING_S = 10.0
"""Longest time that a soft stop takes [s]; then the servos are let go."""


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    code: int
    """Exit code: 0 where the end was asked for or the time was over, 1 after a safety stop."""
    reason: str


class Timing:
    """How long the parts of ticks took, over the whole run."""

    def __init__(self) -> None:
        parts = (Delays(1e-6) for _ in range(6))
        self.read, self.act, self.apply, self.log, self.whole, self.safety = parts
        # safety: read and apply together, with the hardware's own time

    def add(self, marks: Sequence[float]) -> None:
        """Count a tick by the times [s] at which its parts began and the last one ended."""
        parts = (self.read, self.act, self.apply, self.log)
        for part, begun, ended in zip(parts, marks, marks[1:], strict=False):
            part.add(ended - begun)
        self.whole.add(marks[-1] - marks[0])
        self.safety.add(marks[1] - marks[0] + marks[3] - marks[2])


class Runtime:
    """One run of one robot."""

    def __init__(
        self,
        robot: SafeRobot,
        pilot: Pilot,
        commands: Commands,
        scheduler: Scheduler,
        log: LogWriter | None,
        say: Callable[[str], None],
    ) -> None:
        """Nothing moves before `run`; `say` gets one line for each thing that happens."""
        self.timing = Timing()
        self.ticks = 0
        self.scheduler = scheduler
        self._robot, self._pilot, self._commands = robot, pilot, commands
        self._log, self._say = log, say
        nothing = np.full(len(pilot.contract.joint_names), np.nan)
        self._idle, self._nothing = Request(nothing, "none", None), Applied(nothing, ())
        commands.say = self.event
        self._heard: Event | None = None  # the last thing that the safety layer said
        self._log_said = False
        self._now = 0.0
        self._held: str | None = None
        self._asked: str | None = None
        self._settled_at: float | None = None
        self._stopping: float | None = None

    def ask_to_stop(self, reason: str) -> None:
        """Stop softly, from a signal handler too; asked a second time: without standing first."""
        if self._asked is None:
            self._asked = reason
        else:
            self._settled_at = -np.inf

    def hold_arming(self, how: str) -> None:
        """Do not arm before `release_arming`; `how` says what calls it."""
        self._held = how

    def release_arming(self) -> None:
        """Arm as soon as the start gate lets it; from a signal handler, too."""
        self._held = None

    def event(self, text: str) -> None:
        """Say and log what happened."""
        self._say(text)
        if self._log is not None:
            self._log.event(self._now, text)

    def run(self, seconds: float | None = None) -> Ending:
        """Wait until the robot is ready, arm it, drive it, stop it; at most `seconds` of driving.

        The servos are let go whatever ends this.
        """
        try:
            ending = self._get_ready() or self._drive(seconds)
        except (HardwareError, ClockError) as error:
            ending = Ending(1, str(error))
        finally:
            if self._robot.state not in ("off", "damped"):
                self._robot.e_stop()
        self._tell()
        self.event(f"end: {ending.reason}")
        if self._log is not None:
            self._log.close()
            self._tell()  # of a disk that was full at the very end
        return ending

    def _get_ready(self) -> Ending | None:
        """Read until the robot can be armed, and arm it; how the run ends where it cannot be."""
        waited_since: float | None = None
        told = False
        while True:
            now = self.tick(self.scheduler.wait())
            ready = not self._robot.not_ready
            if self._asked is not None:
                return Ending(0, self._asked)
            if self._robot.state == "damped":
                return Ending(1, self._last())
            if self._held is None and ready:
                self._robot.arm()
                return None
            if self._held is None:
                waited_since = now if waited_since is None else waited_since
                if now - waited_since > READY_S:
                    return Ending(1, f"the start gate stays closed: {self._why_not()}")
            elif ready != told:
                self.event(f"ready; to arm: {self._held}" if ready else f"wait: {self._why_not()}")
                told = ready

    def _why_not(self) -> str:
        return "; ".join(self._robot.not_ready)

    def _drive(self, seconds: float | None) -> Ending:
        """Tick until the servos are let go."""
        end: float | None = None
        while True:
            now = self.tick(self.scheduler.wait())
            state = self._robot.state
            if state == "running" and end is None:
                end = np.inf if seconds is None else now + seconds
            if end is not None and now >= end and self._asked is None:
                self._asked = f"{seconds:g} s are over"
            if state in ("ready", "running") and self._asked is not None:
                if self._settled_at is None:
                    # A robot that walks is told to stand first.
                    self._settled_at = now + (SETTLE_S if state == "running" else 0.0)
                if now >= self._settled_at:
                    self._robot.stop(self._asked)
            elif state == "stopping":
                self._stopping = now if self._stopping is None else self._stopping
                if now - self._stopping > STOPPING_S:
                    return Ending(1, f"the soft stop took more than {STOPPING_S:g} s")
            elif state == "damped":
                last = self._robot.events[-1]
                if self._asked is not None and last.rule == "stop":
                    return Ending(0, self._asked)
                return Ending(1, self._last())

    def tick(self, tick: Tick) -> float:
        """One turn of the loop; returns the time it was for [s]."""
        marks = [time.perf_counter()]
        robot, now, state = self._robot, tick.began, self._robot.state
        self._now = now
        readings = robot.read()
        marks.append(time.perf_counter())
        command, request, applied = self._command(now), self._idle, self._nothing
        if robot.state in MOVING:
            running = state in ("running", "stopping")
            request = self._pilot.ask(now, readings, command.values, running)
        marks.append(time.perf_counter())
        if request is not self._idle or state == "damped":  # which lets go again, to be sure
            applied = robot.apply(request.targets, now)
        marks.append(time.perf_counter())
        if self._log is not None:
            self._write(self._log, tick, state, readings, command, request, applied, marks)
        self._tell()
        marks.append(time.perf_counter())
        self.timing.add(marks)
        self.ticks += 1
        return now

    def _command(self, now: float) -> Command:
        command = self._commands.at(now)
        return command if self._asked is None else Command(STAND, "stop")

    def _write(
        self, log: LogWriter, tick: Tick, state: str, readings: Readings, command: Command,
        request: Request, applied: Applied, marks: Sequence[float],
    ) -> None:  # fmt: skip
        place, sample = log.tick, self._robot.sample
        assert sample is not None
        place["index"], place["number"] = self.ticks, tick.number
        place["due"], place["began"] = tick.due, tick.began
        fill(place, sample, readings)
        place["command"], place["command_limited"] = command.values, command.limited
        place["state"] = state
        place["policy"] = POLICIES.index(request.policy)
        observed = 0 if request.observation is None else len(request.observation)
        place["observation"][:observed] = request.observation if observed else 0.0
        place["observation"][observed:] = 0.0
        place["requested"] = request.targets
        place["applied"] = applied.targets
        place["read_s"], place["act_s"] = marks[1] - marks[0], marks[2] - marks[1]
        place["apply_s"] = marks[3] - marks[2]
        log.write(applied.reasons)

    def _tell(self) -> None:
        """Say what the safety layer and the log have to say."""
        events, new = self._robot.events, []
        if events and events[-1] is not self._heard:
            for event in reversed(events):
                if event is self._heard:
                    break
                new.append(event)
            self._heard = events[-1]
            for event in reversed(new):
                self.event(f"safety: {event}")
        if self._log is None or self._log_said:
            return
        if self._log.trouble:
            self._log_said = True
            self._say(f"log: {self._log.trouble}; nothing more is logged, control goes on")
        elif self._log.lost:
            self._log_said = True
            self.event("log: the disk is too slow; some ticks are not logged, control goes on")

    def report(self) -> list[str]:
        """What the run was like, in lines."""
        late, parts = self.scheduler.late, vars(self.timing).items()
        lines = [
            f"{self.ticks} ticks, {self.scheduler.missed} missed; they began late by "
            f"{late.percentile(50) * 1e3:.2f} ms (median), {late.percentile(99) * 1e3:.2f} ms "
            f"(99 %), {late.largest * 1e3:.2f} ms (most)"
        ]
        return lines + [
            f"  {name:6s} {part.percentile(50) * 1e6:6.0f} us (median) "
            f"{part.percentile(99) * 1e6:6.0f} us (99 %) {part.largest * 1e6:6.0f} us (most)"
            for name, part in parts
        ]

    def _last(self) -> str:
        """Why the safety layer ended the run: the last rule that stopped or released the robot."""
        events = self._robot.events
        rules = [e for e in events if e.response in ("stopped", "released") and e.rule != "stop"]
        return str((rules or list(events))[-1])

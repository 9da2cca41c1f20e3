"""The control loop: read, observe, act, send what is safe, log; from the start gate to the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from wildrobot_torch.contract import Array, Readings
from wildrobot_torch.deploy.runtime.commands import STAND, Command, Commands
from wildrobot_torch.deploy.runtime.hardware import HardwareError, Sample
from wildrobot_torch.deploy.runtime.log import POLICIES, LogWriter, fill
from wildrobot_torch.deploy.runtime.pilot import SETTLE_S, Pilot, Request
from wildrobot_torch.deploy.runtime.scheduler import ClockError, Delays, Scheduler, Tick

READY_S = 5.0
"""Longest time until the robot is ready to be armed [s]."""
STOPPING_S = 10.0
"""Longest time that a soft stop takes [s]; then the servos are let go."""


class SafeRobot(Protocol):
    """What the loop asks of the only holder of the hardware; see `safety.py`."""

    @property
    def state(self) -> str:
        """Of off, ready, running, stopping, damped."""
        ...

    @property
    def sample(self) -> Sample | None:
        """The raw sample of the last `read`."""
        ...

    @property
    def events(self) -> Sequence[Any]:
        """What happened, each with a time."""
        ...

    def read(self) -> Readings:
        """New readings, judged."""
        ...

    def apply(self, targets: Array, now: float) -> Any:
        """Send what is safe of targets (J,) [rad]: `.targets`, and `.reasons` for any change."""
        ...

    def arm(self) -> None:
        """Begin to drive, where the start gate lets it."""
        ...

    def stop(self, reason: str) -> None:
        """Stop softly."""
        ...

    def e_stop(self) -> None:
        """Let go at once."""
        ...


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    code: int
    """Exit code: 0 where the end was asked for or the time was over, 1 after a safety stop."""
    reason: str


class Timing:
    """How long the parts of ticks took, over the whole run."""

    def __init__(self) -> None:
        self.read, self.act, self.apply, self.log, self.whole = (Delays() for _ in range(5))

    def add(self, marks: Sequence[float]) -> None:
        """Count a tick by the times [s] at which its parts began and the last one ended."""
        parts = (self.read, self.act, self.apply, self.log)
        for part, begun, ended in zip(parts, marks, marks[1:], strict=False):
            part.add(ended - begun)
        self.whole.add(marks[-1] - marks[0])


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
        self._idle = Request(np.full(len(pilot.contract.joint_names), np.nan), "none", None)
        self._applied: Array | None = None
        self._said = 0  # events of the safety layer
        self._log_said = False
        self._now = 0.0
        self._asked: str | None = None
        self._settled_at: float | None = None
        self._stopped = False
        self._stopping: float | None = None

    def ask_to_stop(self, reason: str) -> None:
        """Stop softly, from a signal handler too; asked a second time: without standing first."""
        if self._asked is None:
            self._asked = reason
        else:
            self._settled_at = -np.inf

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
            self._robot.e_stop()
        self._tell()
        self.event(f"end: {ending.reason}")
        return ending

    def _get_ready(self) -> Ending | None:
        """Read until the robot can be armed, and arm it; how the run ends where it cannot be."""
        began = None
        while True:
            now = self.tick(self.scheduler.wait())
            began = now if began is None else began
            if self._robot.state == "ready":
                self._robot.arm()
            if self._robot.state == "running":
                return None
            if self._asked is not None:
                return Ending(0, self._asked)
            if now - began > READY_S:
                return Ending(1, self._last("the robot did not become ready"))

    def _drive(self, seconds: float | None) -> Ending:
        """Tick until the servos are let go."""
        end = np.inf if seconds is None else self._now + seconds
        while True:
            now = self.tick(self.scheduler.wait())
            state = self._robot.state
            if state == "running":
                if now >= end and self._asked is None:
                    self._asked = f"{seconds:g} s are over"
                if self._asked is not None:
                    if self._settled_at is None:
                        self._settled_at = now + SETTLE_S
                    if now >= self._settled_at:
                        self._robot.stop(self._asked)
                        self._stopped = True
            elif state == "stopping":
                # Asked for here, or begun by a rule of the safety layer.
                self._stopping = now if self._stopping is None else self._stopping
                if now - self._stopping > STOPPING_S:
                    return Ending(1, f"the soft stop took more than {STOPPING_S:g} s")
            elif self._stopped and self._asked is not None:
                return Ending(0, self._asked)
            else:
                return Ending(1, self._last("the safety layer let the servos go"))

    def tick(self, tick: Tick) -> float:
        """One turn of the loop; returns the time it was for [s]."""
        marks = [time.perf_counter()]
        now = self._now = tick.began
        readings = self._robot.read()
        marks.append(time.perf_counter())
        command = self._command(now)
        request = self._idle
        if self._robot.state in ("running", "stopping"):
            request = self._pilot.ask(now, readings, command.values, self._applied)
        marks.append(time.perf_counter())
        reasons: tuple[str, ...] = ()
        if request is self._idle:
            self._applied = None
        else:
            applied = self._robot.apply(request.targets, now)
            self._applied, reasons = applied.targets, applied.reasons
        marks.append(time.perf_counter())
        if self._log is not None:
            self._write(self._log, tick, readings, command, request, reasons, marks)
        self._tell()
        marks.append(time.perf_counter())
        self.timing.add(marks)
        self.ticks += 1
        return now

    def _command(self, now: float) -> Command:
        command = self._commands.at(now)
        return command if self._asked is None else Command(STAND, "stop")

    def _write(
        self, log: LogWriter, tick: Tick, readings: Readings, command: Command, request: Request,
        reasons: tuple[str, ...], marks: Sequence[float],
    ) -> None:  # fmt: skip
        place, sample = log.tick, self._robot.sample
        assert sample is not None
        place["index"], place["number"] = self.ticks, tick.number
        place["due"], place["began"] = tick.due, tick.began
        fill(place, sample, readings)
        place["command"], place["command_limited"] = command.values, command.limited
        place["state"] = self._robot.state
        place["policy"] = POLICIES.index(request.policy)
        observed = 0 if request.observation is None else len(request.observation)
        place["observation"][:observed] = request.observation if observed else 0.0
        place["observation"][observed:] = 0.0
        place["requested"] = request.targets
        place["applied"] = self._idle.targets if self._applied is None else self._applied
        place["read_s"], place["act_s"] = marks[1] - marks[0], marks[2] - marks[1]
        place["apply_s"] = marks[3] - marks[2]
        log.write(reasons)

    def _tell(self) -> None:
        """Say what the safety layer and the log have to say."""
        events = self._robot.events
        while self._said < len(events):
            self.event(f"safety: {events[self._said].text}")
            self._said += 1
        if self._log is None or self._log_said:
            return
        if self._log.trouble:
            self._log_said = True
            self._say(f"log: {self._log.trouble}; nothing more is logged, control goes on")
        elif self._log.lost:
            self._log_said = True
            self.event("log: the disk is too slow; some ticks are not logged, control goes on")

    def _last(self, otherwise: str) -> str:
        """The last thing that the safety layer said."""
        events = self._robot.events
        return events[-1].text if events else otherwise

"""Fixtures of the runtime: a robot of arithmetic on a clock that goes on when it is waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wildrobot_torch.contract import Array
from wildrobot_torch.deploy.runtime.benchmark import Follower
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.commands import Held
from wildrobot_torch.deploy.runtime.hardware import HardwareError, Sample
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.log import Log, read_log
from wildrobot_torch.deploy.runtime.loop import Ending, Runtime
from wildrobot_torch.deploy.runtime.pilot import Policy, load_policy
from wildrobot_torch.deploy.runtime.session import opened
from wildrobot_torch.files import WALKING_POLICY


class Robot(Follower):
    """Joints that follow their targets, with a clock of its own and faults at times."""

    def __init__(self, policy: Policy) -> None:
        self.now = 10.0
        self.sent: list[tuple[float, Array]] = []
        self.released = 0
        self.at: dict[float, Callable[[], Any]] = {}
        """Time [s] -> what happens then, once."""
        self.tilt = 0.0
        """Pitch that the IMU reports [rad]."""
        self.gone = False
        contract = policy.contract
        super().__init__(contract.joint_names, contract.home + 0.01, self.time, self.go_on)

    def time(self) -> float:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        for when in [when for when in self.at if when <= self.now]:
            self.at.pop(when)()

    def read(self) -> Sample:
        if self.gone:
            raise HardwareError("the cable is out")
        sample = super().read()
        half = 0.5 * self.tilt
        pitched = np.array([np.cos(half), 0.0, np.sin(half), 0.0])
        return replace(sample, quat=pitched if self.tilt else sample.quat)

    def write(self, targets: Array) -> None:
        self.sent.append((self.now, targets.copy()))
        super().write(targets)

    def release(self) -> None:
        self.released += 1


@dataclass
class Run:
    """What a run left."""

    ending: Ending
    log: Log
    path: Path
    said: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def walking() -> Policy:
    """The shipped policy."""
    return load_policy(WALKING_POLICY)


@pytest.fixture
def follower(walking: Policy) -> Robot:
    """A robot near home."""
    return Robot(walking)


@pytest.fixture
def drive(tmp_path: Path, walking: Policy, follower: Robot) -> Callable[..., Run]:
    """Runs the robot; `with_runtime` is called with the runtime before."""

    def run(
        seconds: float | None = 1.0,
        command: tuple[float, float, float] = (0.3, 0.0, 0.0),
        standing: Policy | None = None,
        with_runtime: Callable[[Runtime], None] = lambda _: None,
        source: Any = None,
    ) -> Run:
        said: list[str] = []
        calibration = Calibration.identity(walking.contract.joint_names)
        path = tmp_path / "run.wrlog"
        with opened(follower, calibration, SafetyLimits.load(), walking, standing,
                    source or Held(command), path, said.append) as runtime:  # fmt: skip
            with_runtime(runtime)
            ending = runtime.run(seconds)
        return Run(ending, read_log(path), path, said)

    return run

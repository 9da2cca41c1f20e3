"""How fast the control loop is on this machine: a process of its own drives a robot of arithmetic.

The robot's joints follow their targets and its IMU says that it stands, so what is measured is the
runtime alone: judging a sample, the observation, the network, the safety rules, the log. Parts are
measured back to back, and in ticks with their pauses: after a pause the processor's caches hold
what other programs did, so the same work takes longer.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import RunError, UserError
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.commands import Held
from wildrobot_torch.deploy.runtime.hardware import Array, Sample
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.loop import Runtime
from wildrobot_torch.deploy.runtime.pilot import load_policy
from wildrobot_torch.deploy.runtime.scheduler import Delays
from wildrobot_torch.deploy.runtime.session import opened

TARGETS = {
    "inference_p50_us": 50.0,
    "inference_p99_us": 200.0,
    "safety_p50_us": 50.0,
    "tick_p99_us": 1000.0,
    "start_s": 1.0,
    "memory_mb": 150.0,
}
"""What each figure must not exceed, on one core."""
MEANINGS = {
    "inference_p50_us": "back to back: one inference, median",
    "inference_p99_us": "back to back: one inference, 99 %",
    "safety_p50_us": "back to back: a sample judged and targets limited, median",
    "safety_p99_us": "back to back: a sample judged and targets limited, 99 %",
    "busy_p50_us": "back to back: a whole tick with its log, median",
    "paced_act_p50_us": "at 50 Hz: observation and inference, median",
    "paced_act_p99_us": "at 50 Hz: observation and inference, 99 %",
    "paced_safety_p50_us": "at 50 Hz: a sample judged and targets limited, median",
    "tick_p50_us": "at 50 Hz: a whole tick with its log, median",
    "tick_p99_us": "at 50 Hz: a whole tick with its log, 99 %",
    "late_p99_us": "how late ticks began, 99 %",
    "missed": "ticks that were skipped",
    "ticks": "ticks that were measured",
    "start_s": "from starting the program to the first tick [s]",
    "memory_mb": "most memory of the process (RSS) [MB]",
}
INFERENCES, BUSY_S = 5000, 60.0
"""Inferences, and seconds of ticks, that are measured back to back."""


class Follower:
    """A `Hardware` whose joints follow their targets; its IMU stands upright and trembles.

    A new sample is there after each `sleep`, so that reading one costs nothing.
    """

    def __init__(
        self, joint_names: tuple[str, ...], home: Array, clock: Callable[[], float],
        sleep: Callable[[float], None], count: float = 0.0042,
    ) -> None:  # fmt: skip
        """At `home` (J,) [rad]; `count` is the step of readings [rad]."""
        self.joint_names, self.clock = joint_names, clock
        self._position, self._target = home.copy(), home.copy()
        self._count, self._wait = count, sleep
        self._tremble = np.random.default_rng(0).normal(0.0, 0.002, (1000, 6))
        self._samples = 0
        self._unknown = np.full(len(home), np.nan)
        self._sample = self._measured()

    def sleep(self, seconds: float) -> None:
        """Wait; then there is a new sample."""
        self._wait(seconds)
        self._sample = self._measured()

    def read(self) -> Sample:
        """See `Hardware.read`."""
        return self._sample

    def _measured(self) -> Sample:
        now, self._samples = self.clock(), self._samples + 1
        tremble = self._tremble[self._samples % len(self._tremble)]
        self._position += 0.5 * (self._target - self._position)
        return Sample(
            time=now,
            quat=np.array([1.0, *tremble[:3]]),
            gyro=tremble[3:].copy(),
            imu_time=now,
            position=np.round(self._position / self._count) * self._count,
            position_time=np.full(len(self._position), now),
            switches=np.zeros(0),
            switch_time=now,
            voltage=self._unknown,
            temperature=self._unknown,
        )

    def write(self, targets: Array) -> None:
        """See `Hardware.write`."""
        self._target = targets.copy()

    def release(self) -> None:
        """See `Hardware.release`."""

    def close(self) -> None:
        """See `Hardware.close`."""


def main(read: argparse.Namespace) -> int:
    """Measure in a new process and print; 1 where a target is missed and `--gate` was given."""
    if not 1.0 <= read.seconds <= 3600.0:
        raise UserError(f"--seconds is {read.seconds:g}; allowed: 1 to 3600")
    words = [sys.executable, "-m", __name__, str(read.policy), str(read.seconds)]
    done = subprocess.run(
        [*words, repr(time.monotonic())], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it says nothing"]
        failed = UserError if done.returncode == 2 else RunError
        raise failed(said[-1].removeprefix("error: "))
    figures = json.loads(done.stdout.splitlines()[-1])
    missed = [name for name, limit in TARGETS.items() if not figures[name] <= limit]
    if read.json:
        print(json.dumps({"figures": figures, "targets": TARGETS, "missed": missed}, indent=1))
    else:
        for name, meaning in MEANINGS.items():
            limit = f"target {TARGETS[name]:g}" if name in TARGETS else ""
            judged = "MISSED" if name in missed else ""
            print(f"{name:18s} {figures[name]:10.2f}  {limit:12s} {judged:6s} {meaning}")
    return 1 if missed and read.gate else 0


class _Virtual:
    """A clock that goes on when it is waited for, and then at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def measure(policy: Path, seconds: float, started: float) -> dict[str, float]:
    """Figures of `MEANINGS`; `started` is when this process was started [s, monotonic]."""
    walking = load_policy(policy)
    contract = walking.contract
    if contract.commands is None:
        raise UserError(f"{policy} does not say which commands it was trained with")
    fastest = contract.commands.forward[1]
    # A busy machine is what is measured, and no reason to stop.
    limits = replace(SafetyLimits.load(), missed_ticks=1000, joint_age_s=1.25, imu_age_s=1.0)
    calibration = Calibration.identity(contract.joint_names)
    source = Held((fastest, 0.0, 0.0))

    def rig(name: str, clock: Callable[[], float], sleep: Callable[[float], None]) -> Any:
        hardware = Follower(contract.joint_names, contract.home, clock, sleep)
        log = Path(folder) / name
        return opened(hardware, calibration, limits, walking, None, source, log, lambda _: None)

    with tempfile.TemporaryDirectory() as folder:
        with rig("paced.wrlog", time.monotonic, time.sleep) as paced:
            paced.tick(paced.scheduler.wait())
            start = time.monotonic() - started
            _drive(paced, seconds)
        virtual = _Virtual()
        with rig("busy.wrlog", virtual.clock, virtual.sleep) as busy:
            _drive(busy, BUSY_S)
    inference = Delays(1e-6)
    observation = np.zeros(walking.contract.size, dtype=np.float32)
    for _ in range(INFERENCES):
        began = time.perf_counter()
        walking.network(observation)
        inference.add(time.perf_counter() - began)
    scheduler = paced.scheduler
    figures = {
        "start_s": start,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
        "ticks": float(paced.ticks),
        "missed": float(scheduler.missed),
        "late_p99_us": scheduler.late.percentile(99) * 1e6,
    }
    for name, delays in (
        ("inference", inference),
        ("safety", busy.timing.safety),
        ("busy", busy.timing.whole),
        ("paced_act", paced.timing.act),
        ("paced_safety", paced.timing.safety),
        ("tick", paced.timing.whole),
    ):
        figures |= {f"{name}_p{n}_us": delays.percentile(n) * 1e6 for n in (50, 99)}
    return figures


def _drive(runtime: Runtime, seconds: float) -> None:
    ending = runtime.run(seconds)
    if ending.code:
        raise RunError(f"the run ended early: {ending.reason}")


def _child(words: list[str]) -> int:
    policy, seconds, started = words
    try:
        figures: dict[str, Any] = measure(Path(policy), float(seconds), float(started))
    except (UserError, RunError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(_child(sys.argv[1:]))

"""A logged run, done again: from its raw samples the same readings, observations and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import UserError
from wildrobot_torch.contract import Array, Readings
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.hardware import HardwareError, Sample
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.log import (
    POLICIES,
    Log,
    LogError,
    read_log,
    readings_of,
    sample_of,
)
from wildrobot_torch.deploy.runtime.pilot import Pilot, Policy, load_policy
from wildrobot_torch.deploy.runtime.safety import SafeRobot

_ARRAYS = ("sign", "zero", "imu_map")


@dataclass(frozen=True)
class Difference:
    """Where a replay first says something else than the log."""

    tick: int
    """Index of the tick."""
    time: float
    """Since the first tick [s]."""
    what: str
    """Name of the quantity, with its index."""
    logged: Any
    replayed: Any

    def __str__(self) -> str:
        return (
            f"tick {self.tick}, {self.time:.3f} s: {self.what} is {self.replayed!r}, the log has "
            f"{self.logged!r}"
        )


@dataclass(frozen=True)
class Replay:
    """What a replay found."""

    ticks: int
    """That were done again."""
    driven: int
    """Of these, ticks in which a policy acted."""
    difference: Difference | None
    """The first one; None where every bit is the same."""
    gap: int | None
    """Index of the tick after which the log lacks some; nothing after it was done again."""
    log: Log


def calibration_entry(calibration: Calibration) -> dict[str, Any]:
    """A calibration as a log's header has it, with every bit."""
    public = [field.name for field in fields(calibration) if field.init]
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else list(value)
        for name, value in ((name, getattr(calibration, name)) for name in public)
    }


def calibration_of(entry: Mapping[str, Any]) -> Calibration:
    """The calibration of `calibration_entry`."""
    values: dict[str, Any] = {
        name: np.array(value, dtype=float) if name in _ARRAYS else tuple(value)
        for name, value in entry.items()
    }
    return Calibration(**values)


def policy_entry(policy: Policy) -> dict[str, str]:
    """A policy as a log's header has it."""
    contract = policy.contract.digest
    return {"path": str(policy.path.resolve()), "sha256": policy.sha256, "contract": contract}


def replay(path: Path | str, policies: Mapping[str, Path] | None = None) -> Replay:
    """Do a logged run again, up to the first difference.

    Args:
        path: of the log.
        policies: files to use instead of those that the log names: walking, standing.

    Raises:
        UserError: there is no such log, or the policies are not those of the run.
    """
    log = read_log(path)
    try:
        calibration = calibration_of(log.header["calibration"])
        limits = SafetyLimits(**log.header["safety"])
        names = tuple(log.header["hardware"]["joint_names"])
        entries = log.header["policies"]
        used = {name: _policy(name, entries[name], (policies or {}).get(name)) for name in entries}
    except (KeyError, TypeError, AttributeError) as error:
        raise LogError(f"the header of {path} lacks {error}: it cannot be replayed") from error
    pilot, hardware = Pilot(used["walking"], used.get("standing")), _Samples(names)
    robot = SafeRobot(hardware, calibration, pilot.contract, limits)
    done = driven = 0
    gap = None
    for tick in log.ticks:
        if int(tick["index"]) != done:
            gap = done - 1
            break
        now = hardware.now = float(tick["began"])
        hardware.sample = sample_of(tick)
        # What is believed of a sample depends on whether the robot moves, and on samples before.
        state = tick["state"].decode()
        if state == "ready" and robot.state == "off":
            robot.not_ready = ()
            robot.arm()
        robot.state = state
        readings = robot.read()
        pairs = list(_readings(tick, readings))
        acted = POLICIES[tick["policy"]] != "none"
        if acted:
            running = state in ("running", "stopping")
            request = pilot.ask(now, readings, np.array(tick["command"]), running)
            pairs.append(("policy", POLICIES[tick["policy"]], request.policy))
            if request.observation is not None:
                size = request.observation.size
                pairs.append(("observation", tick["observation"][:size], request.observation))
            pairs.append(("requested", tick["requested"], request.targets))
        for name, logged, again in pairs:
            if (found := _apart(name, logged, again)) is not None:
                since = now - float(log.ticks["began"][0])
                return Replay(done + 1, driven, Difference(done, since, *found), gap, log)
        done, driven = done + 1, driven + acted
    return Replay(done, driven, None, gap, log)


class _Samples:
    """A `Hardware` that has one sample at a time and moves nothing."""

    def __init__(self, joint_names: tuple[str, ...]) -> None:
        self.joint_names = joint_names
        self.now = 0.0
        self.sample: Sample | None = None

    def clock(self) -> float:
        return self.now

    def read(self) -> Sample:
        if self.sample is None:
            raise HardwareError("there is no sample")
        return self.sample

    def write(self, targets: Array) -> None:
        pass

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


def _policy(name: str, entry: Mapping[str, str], given: Path | None) -> Policy:
    path = Path(entry["path"]) if given is None else given
    if not path.exists():  # a file, or the folder of a bundle
        raise UserError(f"the {name} policy {path} is not there; give it with --{name}")
    policy = load_policy(path)
    if policy.sha256 != entry["sha256"]:
        raise UserError(
            f"{path} is not the {name} policy of the run: its SHA-256 begins with "
            f"{policy.sha256[:12]}, the run's with {entry['sha256'][:12]}; give that with --{name}"
        )
    return policy


def _readings(tick: Any, readings: Readings) -> Iterator[tuple[str, Any, Any]]:
    logged = readings_of(tick)
    for field in fields(Readings):
        if field.name != "truth":
            yield field.name, getattr(logged, field.name), getattr(readings, field.name)


def _apart(name: str, logged: Any, again: Any) -> tuple[str, Any, Any] | None:
    """The first value whose bits differ."""
    if isinstance(logged, str):
        return None if logged == again else (name, logged, again)
    one = np.atleast_1d(np.asarray(logged))
    other = np.atleast_1d(np.asarray(again)).astype(one.dtype)
    if one.tobytes() == other.tobytes():
        return None
    if one.shape != other.shape:
        return f"size of {name}", one.size, other.size
    bits = [a.tobytes() != b.tobytes() for a, b in zip(one, other, strict=True)]
    index = bits.index(True)
    return f"{name}[{index}]", one[index].item(), other[index].item()


def applied_targets(log: Log) -> Array:
    """(T, J) [rad]: what was sent in each tick, in the contract's order; NaN where nothing was."""
    return np.array(log.ticks["applied"], dtype=float)

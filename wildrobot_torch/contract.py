"""An exported policy's contract, carried out: from readings to an observation to joint targets.

Written from the metadata of the ONNX file alone, with numpy and without torch: what a policy needs
besides its network wherever it runs, in another simulator or on the robot. It shares no code with
the environment that the policy was trained in, so each checks the other.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from envs.errors import UserError

Array = NDArray[np.floating[Any]]
METADATA = "policy_spec"
"""Entry of the ONNX file's metadata that holds the contract as JSON."""
HISTORY = "_history"
"""What the name of a field's history ends in."""


class ContractError(UserError):
    """A file has no contract, or one that cannot be carried out here; the message says why."""


@dataclass(frozen=True)
class CommandRange:
    """Commands that a policy was trained with."""

    forward: tuple[float, float]
    """Lowest and highest velocity [m/s]."""
    lateral: float
    """Highest velocity to either side [m/s]."""
    yaw_rate: float
    """Highest yaw rate to either side [rad/s]."""
    stands: bool
    """Whether standing, a command of 0, was among them."""
    turns: bool
    """Whether turning in place was among them."""


@dataclass(frozen=True)
class Contract:
    """What a policy's numbers mean; J joints in the policy's order."""

    robot: str
    """Name of the robot that it is for."""
    robot_digest: str
    """Version of that robot's description."""
    ctrl_dt: float
    """Time from one action to the next [s]."""
    joint_names: tuple[str, ...]
    joint_range: Array
    """(J, 2) [rad]: lower and upper stop."""
    joint_max_velocity: Array
    """(J,) [rad/s]: what joint velocities are divided by."""
    home: Array
    """(J,) [rad]: the pose that the robot starts and stands in."""
    filter: float
    """Share of the previous filtered action in the next one."""
    offset: Array
    """(J,) [rad]: joint targets of action 0."""
    gain: Array
    """(J,) [rad]: how far a filtered action of 1 moves them."""
    heading_hold: bool
    """Whether there is a heading to hold; if not, the heading error is 0."""
    foot_switch_threshold: float
    """Support of a contact plate above which its foot switch reads 1 [N]."""
    fields: tuple[tuple[str, int], ...]
    """Name and size of each field of the observation, in order."""
    commands: CommandRange | None
    """None where the file does not say."""
    digest: str
    """Of everything that the file's metadata say: 16 hexadecimal digits of a SHA-256."""

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Contract:
        """The contract of a file's metadata.

        Raises:
            ContractError: it lacks an entry, or has a field that is unknown here.
        """
        try:
            action = spec["action"]
            contract = cls(
                robot=spec["robot"],
                robot_digest=spec["robot_digest"],
                ctrl_dt=float(spec["ctrl_dt"]),
                joint_names=tuple(spec["joint_names"]),
                joint_range=np.array(spec["joint_range"], dtype=float),
                joint_max_velocity=np.array(spec["joint_max_velocity"], dtype=float),
                home=np.array(spec["default_joint_pos"], dtype=float),
                filter=float(action["filter"]),
                offset=np.array(action["offset"], dtype=float),
                gain=np.array(action["gain"], dtype=float),
                heading_hold=spec["env_config"].get("command", {}).get("heading_hold", True),
                foot_switch_threshold=float(spec["foot_switch_threshold"]),
                fields=tuple((f["name"], f["size"]) for f in spec["observation_layout"]["fields"]),
                commands=_command_range(spec["env_config"].get("command")),
                digest=hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16],
            )
        except KeyError as error:
            raise ContractError(f"the contract lacks {error.args[0]!r}") from error
        unknown = [n for n, _ in contract.fields if n.removesuffix(HISTORY) not in FIELDS]
        if unknown:
            raise ContractError(
                f"the policy observes {unknown[0]!r}, which cannot be made from readings; known: "
                f"{', '.join(FIELDS)}"
            )
        named = {name for name, _ in contract.fields}
        lost = [n for n in named if n.endswith(HISTORY) and n.removesuffix(HISTORY) not in named]
        if lost:
            raise ContractError(f"the policy observes {lost[0]!r}, but not what it is a history of")
        return contract

    @property
    def size(self) -> int:
        """Number of values of the observation."""
        return sum(size for _, size in self.fields)


def _command_range(trained: Mapping[str, Any] | None) -> CommandRange | None:
    """Of the settings `command` of the task that a policy was trained in."""
    if not trained:
        return None
    return CommandRange(
        forward=(float(trained["velocity_min"]), float(trained["velocity_max"])),
        lateral=float(trained.get("lateral_max", 0.0)),
        yaw_rate=float(trained.get("yaw_rate_max", 0.0)),
        stands=trained.get("standing_probability", 0.0) > 0.0,
        turns=trained.get("turning_probability", 0.0) > 0.0,
    )


@dataclass(frozen=True)
class Truth:
    """What a simulator knows and no robot measures."""

    joint_pos: Array
    """(J,) [rad]."""
    joint_vel: Array
    """(J,) [rad/s]."""
    linvel: Array
    """(3,) [m/s]: velocity of the root, in the frame that is turned by its heading alone."""


@dataclass(frozen=True)
class Readings:
    """What the sensors say at one instant."""

    gravity: Array
    """(3,): unit direction of gravity in the root's frame (x forward, y left, z up)."""
    angvel: Array
    """(3,) [rad/s]: angular velocity in the same frame."""
    heading: float
    """Yaw in the world [rad]."""
    joint_pos: Array
    """(J,) [rad]: encoders, each as it was last read."""
    joint_time: Array
    """(J,) [s]: when each encoder was read, of a clock that never steps back; unchanged where it
    was not read anew."""
    switches: Array
    """(plates,): 1 where a foot switch is closed: left toe, left heel, right toe, right heel."""
    age: float
    """Time since the readings before these [s]."""
    truth: Truth | None = None
    """Of a simulator."""


@dataclass(frozen=True)
class Instant:
    """What a field is made from."""

    contract: Contract
    readings: Readings
    encoder_vel: Array
    """(J,) [rad/s]: difference of each encoder's last two readings over the time between them."""
    action: Array
    """(J,): the last filtered action."""
    command: Array
    """(3,): velocity forward and to the left [m/s], yaw rate [rad/s]."""
    heading_error: float
    """[rad], in [-pi, pi]."""

    @property
    def truth(self) -> Truth:
        """Of a simulator."""
        if self.readings.truth is None:
            raise ContractError("the policy observes what no robot measures; only simulators can")
        return self.readings.truth


def _in_range(contract: Contract, joint_pos: Array) -> Array:
    low, high = contract.joint_range.T
    return (2.0 * joint_pos - low - high) / (high - low)


def _clipped(contract: Contract, joint_vel: Array) -> Array:
    return np.clip(joint_vel / contract.joint_max_velocity, -1.0, 1.0)


SHORTEST = 1e-3
"""Least time [s] between two readings of an encoder that its velocity is made from."""

FIELDS: dict[str, Callable[[Instant], Any]] = {
    "imu_gravity": lambda i: i.readings.gravity,
    "imu_angvel": lambda i: i.readings.angvel,
    "imu_heading_error": lambda i: i.heading_error,
    "encoder_pos": lambda i: _in_range(i.contract, i.readings.joint_pos),
    "encoder_vel": lambda i: _clipped(i.contract, i.encoder_vel),
    "switch_reading": lambda i: i.readings.switches,
    "prev_action": lambda i: i.action,
    "command": lambda i: i.command,
    "velocity_command": lambda i: i.command[:1],
    # Of a perfect sensor: the same where the sensor is simulated without errors.
    "gravity": lambda i: i.readings.gravity,
    "angvel": lambda i: i.readings.angvel,
    "heading_error": lambda i: i.heading_error,
    "foot_switch": lambda i: i.readings.switches,
    # What no robot measures.
    "linvel": lambda i: i.truth.linvel,
    "joint_pos": lambda i: _in_range(i.contract, i.truth.joint_pos),
    "joint_vel": lambda i: _clipped(i.contract, i.truth.joint_vel),
}
"""Field of the observation -> its values."""


class Controller:
    """A policy with its memory: filtered action, heading to hold, earlier readings.

    Before the first action `begin` says where the robot is; then each control step is one `act`.
    """

    def __init__(self, contract: Contract, network: Callable[[Array], Array]) -> None:
        """`network` maps an observation (O,) to an action (J,)."""
        self.contract = contract
        self._network = network
        self.action = np.zeros(len(contract.joint_names))
        """(J,): the last filtered action."""
        self.observation = np.zeros(contract.size, dtype=np.float32)
        """(O,): the last observation; `observe` overwrites it."""
        self._heading = 0.0
        self._turning = 0.0
        self._last: Readings | None = None
        self._velocity = np.zeros(len(contract.joint_names))
        self._parts = _parts(contract)

    def begin(self, targets: Array, heading: float) -> None:
        """Start at a heading [rad], which is held, with servos that hold `targets` (J,) [rad]."""
        self.sent(targets)
        self._heading = heading
        self._last = None

    def sent(self, targets: Array) -> None:
        """Say that other `targets` (J,) [rad] than those of the last `act` were sent."""
        contract = self.contract
        self.action = np.clip((targets - contract.offset) / contract.gain, -1.0, 1.0)

    def observe(self, readings: Readings, command: Array) -> Array:
        """Observation (O,) float32 of new readings under a command (3,); remembers them.

        The memory is the last observation itself: each history moves on by one frame, whose
        values are those of the field of the present in the observation before.
        """
        contract, error = self.contract, 0.0
        first = self._last is None
        if self._last is None:
            self._velocity = np.zeros_like(readings.joint_pos)
        else:
            # Between two readings of an encoder its position and its velocity are held.
            between = readings.joint_time - self._last.joint_time
            change = (readings.joint_pos - self._last.joint_pos) / np.maximum(between, SHORTEST)
            self._velocity = np.where(between > 0.0, change, self._velocity)
            self._heading += readings.age * self._turning
        self._last, self._turning = readings, float(command[2])
        if contract.heading_hold:
            error = math.remainder(readings.heading - self._heading, math.tau)
        instant = Instant(contract, readings, self._velocity, self.action, command, error)
        observation = self.observation
        for name, size, present, past in self._parts:
            if past is not None and not first:
                observation[past][size:] = observation[past][:-size]
                observation[past][:size] = observation[present]
            value = np.asarray(FIELDS[name](instant))
            if value.size != size:
                raise ContractError(f"{name} has {value.size} values, the policy expects {size}")
            observation[present] = value
            if past is not None and first:
                # Before the first reading the robot has always been where it starts.
                observation[past] = np.tile(observation[present], observation[past].size // size)
        return observation.copy()

    def act(self, readings: Readings, command: Array) -> Array:
        """Joint targets (J,) [rad] for new readings under a command (3,)."""
        contract = self.contract
        action = np.clip(self._network(self.observe(readings, command)), -1.0, 1.0)
        self.action = contract.filter * self.action + (1.0 - contract.filter) * action
        low, high = contract.joint_range.T
        return np.clip(contract.offset + contract.gain * self.action, low, high)


def _parts(contract: Contract) -> tuple[tuple[str, int, slice, slice | None], ...]:
    """Name and size of each field of the present, where it is, and where its history is."""
    where, end = {}, 0
    for name, size in contract.fields:
        where[name] = slice(end, end + size)
        end += size
    return tuple(
        (name, size, where[name], where.get(name + HISTORY))
        for name, size in contract.fields
        if not name.endswith(HISTORY)
    )


def read(path: Path | str) -> tuple[Contract, Callable[[Array], Array]]:
    """Contract and network of an exported policy; the network maps (O,) to (J,) on one thread.

    Raises:
        ContractError: the file is no exported policy, or one that cannot be carried out.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        spec = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    except Exception as error:  # onnxruntime has no class of its own for a file it cannot read
        reason = " ".join(str(error).split())
        raise ContractError(
            f"{path} is no policy exported by `wildrobot export`: {reason}"
        ) from error
    try:
        contract = Contract.of(spec)
    except ContractError as error:
        raise ContractError(f"{path}: {error}") from error

    def network(observation: Array) -> Array:
        (actions,) = session.run(None, {"obs": observation[None]})
        return np.asarray(actions)[0].astype(float)

    return contract, network

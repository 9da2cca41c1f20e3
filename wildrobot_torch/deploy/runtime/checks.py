"""An exported policy's contract, held against itself and against the ONNX file that carries it.

An entry that is absent is no evidence and refuses nothing, so files of earlier versions stay
readable. An entry that is there and wrong refuses the file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wildrobot_torch.contract import HISTORY, METADATA, ContractError

FORMAT = 1
"""Version of the contract's format that is read and written here."""
_NEAR = 1e-5
"""Numbers that say the same may differ by so much: they were rounded to float32."""
_OF_JOINTS = {
    "joint_range", "joint_max_velocity", "default_joint_pos", "kp", "kv", "torque_limit"
}  # fmt: skip
_SIZES = {"imu_gravity": 3, "imu_angvel": 3, "gravity": 3, "angvel": 3, "linvel": 3, "command": 3,
          "imu_heading_error": 1, "heading_error": 1, "velocity_command": 1}  # fmt: skip
_JOINT_FIELDS = ("encoder_pos", "encoder_vel", "joint_pos", "joint_vel", "prev_action")


def parse(metadata: Mapping[str, str], where: str) -> dict[str, Any]:
    """The contract in an ONNX file's metadata, as plain containers.

    Raises:
        ContractError: there is none, or it is no JSON.
    """
    if METADATA not in metadata:
        raise ContractError(
            f"{where} has no {METADATA!r} in its metadata; export it with `wildrobot export`"
        )
    try:
        spec = json.loads(metadata[METADATA])
    except ValueError as error:
        raise ContractError(f"{where}: its {METADATA!r} is no JSON: {error}") from error
    if not isinstance(spec, dict):
        raise ContractError(f"{where}: its {METADATA!r} is a {type(spec).__name__}, not a mapping")
    return spec


def require_sound(
    spec: Mapping[str, Any],
    where: str,
    opset: int | None = None,
    sizes: tuple[int, int] | None = None,
) -> list[str]:
    """Refuse a contract that contradicts itself or its file; returns what was checked, in words.

    Args:
        spec: the contract.
        where: names the file in the message.
        opset: operator set of the ONNX file; None where it is not known.
        sizes: of the network's observation and action; None likewise.

    Raises:
        ContractError: the first entry that is there and wrong.
    """
    done = []
    for what, problem in _findings(spec, opset, sizes):
        if problem:
            raise ContractError(f"{where}: {problem}; the file was altered, export it again")
        done.append(what)
    return done


def layout_digest(layout: Mapping[str, Any]) -> str:
    """Version of an observation's layout: 16 hex digits over names, sizes, units and frames."""
    content = [(f["name"], f["size"], f["unit"], f["frame"]) for f in layout["fields"]]
    return hashlib.sha256(json.dumps([layout["name"], content]).encode()).hexdigest()[:16]


def _findings(
    spec: Mapping[str, Any], opset: int | None, sizes: tuple[int, int] | None
) -> Iterator[tuple[str, str]]:
    """What is checked, and what is wrong with it; "" for nothing."""
    try:
        yield "format", _format(spec)
        yield "joints", _joints(spec)
        yield "action", _action(spec)
        yield "observation layout and its digest", _layout(spec)
        yield "history", _history(spec)
        yield "task settings", _settings(spec)
        yield "delays", _delays(spec)
        yield "envelope", _envelope(spec)
        if opset is not None:
            stated = spec.get("opset", opset)
            yield "opset", "" if stated == opset else f"opset {stated}, the graph has {opset}"
        if sizes is not None:
            yield "sizes of the network", _network(spec, sizes)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"no entry {error}" if isinstance(error, KeyError) else str(error)
        yield "", f"the contract cannot be read ({' '.join(reason.split())})"


def _format(spec: Mapping[str, Any]) -> str:
    found = spec.get("format", FORMAT)
    if found == FORMAT and not isinstance(found, bool):
        return ""
    return f"contract format {found!r}, this runtime reads {FORMAT}: use the runtime it came with"


def _joints(spec: Mapping[str, Any]) -> str:
    names = spec["joint_names"]
    if not names or len(set(names)) != len(names):
        return f"joint_names {names} repeat or are empty"
    for name in sorted(_OF_JOINTS & set(spec)):
        values = np.array(spec[name], dtype=float)
        shape = (len(names), 2) if name == "joint_range" else (len(names),)
        if values.shape != shape or not np.isfinite(values).all():
            return f"{name} has shape {values.shape} or is not finite; {shape} is needed"
        if name in ("joint_max_velocity", "kp", "torque_limit") and (values <= 0.0).any():
            return f"{name} is {values.min():g}; it must be above 0"
    low, high = np.array(spec["joint_range"], dtype=float).T
    if (low >= high).any():
        return f"joint_range of {names[int(np.argmax(low >= high))]} is empty"
    home = np.array(spec.get("default_joint_pos", (low + high) / 2.0), dtype=float)
    outside = (home < low - _NEAR) | (home > high + _NEAR)
    if outside.any():
        return f"default_joint_pos of {names[int(np.argmax(outside))]} is out of its range"
    return ""


def _action(spec: Mapping[str, Any]) -> str:
    action, count = spec["action"], len(spec["joint_names"])
    offset, gain = (np.array(action[name], dtype=float) for name in ("offset", "gain"))
    if offset.shape != (count,) or gain.shape != (count,):
        return (
            f"action.offset and gain have {offset.size} and {gain.size} values for {count} joints"
        )
    if not np.isfinite([*offset, *gain]).all() or (gain == 0.0).any():
        return "action.offset or gain is not finite, or a gain is 0"
    if not 0.0 <= action["filter"] < 1.0:
        return f"action.filter is {action['filter']}; allowed: 0 to below 1"
    low, high = np.array(spec["joint_range"], dtype=float).T
    mapping = action.get("mapping")
    if mapping == "home" and "default_joint_pos" in spec and "scale" in action:
        expected, size = np.array(spec["default_joint_pos"]), np.full(count, action["scale"])
    elif mapping == "full_range":
        expected, size = (low + high) / 2.0, (high - low) / 2.0
    elif mapping in (None, "home"):
        return ""
    else:
        return f"action.mapping is {mapping!r}; known: home, full_range"
    if np.abs(offset - expected).max() > _NEAR or np.abs(np.abs(gain) - size).max() > _NEAR:
        return f"action.offset and gain are not those of the mapping {mapping!r}"
    return ""


def _layout(spec: Mapping[str, Any]) -> str:
    layout, joints = spec["observation_layout"], len(spec["joint_names"])
    for field in layout["fields"]:
        name, size = field["name"], field["size"]
        if not isinstance(size, int) or size < 1:
            return f"field {name!r} has size {size!r}"
        needed = joints if name in _JOINT_FIELDS else _SIZES.get(name, size)
        if size != needed:
            return f"field {name!r} has {size} values, {needed} are needed"
    names = [field["name"] for field in layout["fields"]]
    if len(set(names)) != len(names):
        return "names of observed fields repeat"
    if "digest" in layout and layout["digest"] != layout_digest(layout):
        return f"layout digest {layout['digest']}, its fields make {layout_digest(layout)}"
    return ""


def _history(spec: Mapping[str, Any]) -> str:
    sizes = {field["name"]: field["size"] for field in spec["observation_layout"]["fields"]}
    steps = {}
    for name, size in sizes.items():
        field = name.removesuffix(HISTORY)
        if field == name:
            continue
        if field not in sizes or size % sizes[field]:
            return f"{name} has {size} values, which are no history of {field!r}"
        steps[field] = size // sizes[field]
    if "history" not in spec:
        return ""
    stated = spec["history"]
    if sorted(stated["fields"]) != sorted(steps) or set(steps.values()) != {stated["steps"]}:
        return f"history of {stated['steps']} steps, the layout has {steps}"
    return ""


def _settings(spec: Mapping[str, Any]) -> str:
    if not 0.001 <= float(spec["ctrl_dt"]) <= 1.0:
        return f"ctrl_dt is {spec['ctrl_dt']} s; allowed: 0.001 to 1"
    threshold = float(spec["foot_switch_threshold"])
    if not (math.isfinite(threshold) and threshold >= 0.0):
        return f"foot_switch_threshold is {threshold} N"
    task, action = spec["env_config"], spec["action"]
    trained_action = task.get("action", {})
    pairs = [("ctrl_dt", task.get("ctrl_dt"), spec["ctrl_dt"])]
    pairs += [
        (f"action.{name}", trained_action.get(name), action.get(name))
        for name in ("mapping", "scale", "filter")
    ]
    for name, trained, stated in pairs:
        if trained is not None and stated is not None and trained != stated:
            return f"{name} is {stated!r}, the task that it was trained in has {trained!r}"
    return ""


def _delays(spec: Mapping[str, Any]) -> str:
    for name, bounds in spec.get("delays_ms", {}).items():
        if not _ordered(bounds) or bounds[0] < 0.0 or bounds[1] > 1000.0:
            return f"delays_ms.{name} is {bounds}; allowed: [low, high] within 0 to 1000"
    return ""


def _envelope(spec: Mapping[str, Any]) -> str:
    commands = spec.get("envelope", {}).get("commands", {})
    for name in ("forward", "left", "turn"):
        if name in commands and not _ordered(commands[name]):
            return f"envelope.commands.{name} is {commands[name]}; allowed: [low, high]"
    trained = spec["env_config"].get("command", {})
    if "forward" in commands and {"velocity_min", "velocity_max"} <= set(trained):
        stated = [trained["velocity_min"], trained["velocity_max"]]
        if list(commands["forward"]) != stated:
            return f"envelope.commands.forward is {commands['forward']}, trained was {stated}"
    for name, term in spec.get("envelope", {}).get("randomization", {}).items():
        if not _ordered([term["low"], term["high"]]):
            return f"envelope.randomization.{name} has no range"
    return ""


def _ordered(bounds: Sequence[float]) -> bool:
    low, high = (float(bound) for bound in bounds)
    return math.isfinite(low) and math.isfinite(high) and low <= high


def _network(spec: Mapping[str, Any], sizes: tuple[int, int]) -> str:
    observed = sum(field["size"] for field in spec["observation_layout"]["fields"])
    acted = len(spec["joint_names"])
    if sizes == (observed, acted):
        return ""
    return (
        f"a network from {sizes[0]} to {sizes[1]} values, the contract has {observed} observed "
        f"values and {acted} joints"
    )


def opset_of(model: bytes) -> int:
    """ONNX operator set of a model: the version of the default domain in its `opset_import`.

    Read from the file's own bytes (protocol buffers), because onnxruntime does not tell it.

    Raises:
        ContractError: these are no bytes of a model, or it names no operator set.
    """
    try:
        for number, value in _protobuf(model):
            if number == 8 and isinstance(value, bytes):
                entry = dict(_protobuf(value))
                if entry.get(1, b"") in (b"", b"ai.onnx") and isinstance(entry.get(2), int):
                    return int(entry[2])
    except (IndexError, ValueError) as error:
        raise ContractError(f"the model cannot be read: {error}") from error
    raise ContractError("the model names no operator set")


def _protobuf(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message's fields; of the types that ONNX has."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number does not end")

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or (varint() if kind == 2 else -1)
        if size < 0 or at + size > len(data):
            raise ValueError("it is cut off, or no protocol buffer")
        yield key >> 3, data[at : at + size]
        at += size

"""A bundle, read: a folder or a zip with a policy, its contract and everything that proves it.

Everything is read into memory and checked before anything is used. A bundle whose checksums fit was
not damaged; who wrote it, checksums do not say. docs/bundle.md lists the files and the refusals.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnxruntime
import yaml

from envs.errors import UserError
from wildrobot_torch.contract import Array, Contract, ContractError, Controller, Readings
from wildrobot_torch.deploy.runtime.checks import layout_digest, opset_of, parse, require_sound
from wildrobot_torch.deploy.runtime.limits import SafetyLimits

CHECKSUMS = "checksums.json"
BUNDLE_FORMAT = 1
"""Version of the bundle's layout that is read and written here."""
REQUIRED = (
    "policy.onnx", "robot.yaml", "safety.yaml", "golden.npz", "MODEL_CARD.md", "LICENSE",
)  # fmt: skip
"""Files that every bundle has, beside its checksums."""
LARGEST = 32 * 1024 * 1024
"""Most bytes of a bundle's files together; a bundle has less than 1 MB."""
NEAR = 1e-6
"""Largest difference of the runtime's observations to golden ones, and of its joint targets [rad]
on the machine that exported them."""
NEAR_ELSEWHERE = 1e-5
"""The same of joint targets on another machine, whose processor rounds the network otherwise."""


class BundleError(UserError):
    """A bundle is damaged, incomplete, of another version, or contradicts itself."""


@dataclass(frozen=True)
class GoldenRun:
    """T control steps from the training's own environment; J joints, O observed values."""

    start_targets: Array
    """(J,) [rad]: targets that the servos hold at the start."""
    start_heading: float
    """Heading to hold [rad]."""
    gravity: Array
    """(T, 3), and so on as in `Readings`: what the sensors said."""
    angvel: Array
    heading: Array
    joint_pos: Array
    joint_time: Array
    switches: Array
    age: Array
    command: Array
    """(T, 3): velocity forward and to the left [m/s], yaw rate [rad/s]."""
    observation: Array
    """(T, O): what the environment made of the readings."""
    action: Array
    """(T, J): the network's output."""
    target: Array
    """(T, J) [rad]: the environment's joint targets."""

    def readings(self, step: int) -> Readings:
        """What the sensors said at a control step."""
        return Readings(
            gravity=self.gravity[step].astype(float),
            angvel=self.angvel[step].astype(float),
            heading=float(self.heading[step]),
            joint_pos=self.joint_pos[step].astype(float),
            joint_time=self.joint_time[step],
            switches=self.switches[step].astype(float),
            age=float(self.age[step]),
        )


@dataclass(frozen=True)
class Reproduced:
    """Largest differences between golden vectors and what the runtime makes of their readings."""

    observation: float
    action: float
    target: float
    """[rad]."""

    def require(self, where: str, targets: float = NEAR) -> None:
        """Refuse a difference beyond `NEAR`, or of joint targets beyond `targets` [rad].

        Raises:
            BundleError: names the larger one; NaN is refused, too.
        """
        for name, found, allowed in (
            ("observations", self.observation, NEAR),
            ("joint targets", self.target, targets),
        ):
            if not found <= allowed:
                raise BundleError(
                    f"{where}: the runtime's {name} differ from the golden ones by {found:.1e}; "
                    f"allowed is {allowed:.0e}. Do not run it; export it again"
                )


@dataclass(frozen=True)
class Bundle:
    """A bundle that passed every check."""

    path: Path
    files: Mapping[str, bytes]
    """Content by name, without the checksums."""
    spec: Mapping[str, Any]
    """The contract as the ONNX file has it."""
    contract: Contract
    checked: tuple[str, ...]
    """What was checked, in words."""
    checksums: bytes
    """Content of checksums.json."""

    @classmethod
    def open(cls, path: Path | str) -> Bundle:
        """Read and check a folder or a zip.

        Raises:
            BundleError: see docs/bundle.md for everything that refuses a bundle.
            ContractError: the policy's contract cannot be carried out, or contradicts itself.
        """
        path = Path(path)
        content = _read(path)
        stated = _require_checksums(content, path)
        files = {name: data for name, data in content.items() if name != CHECKSUMS}
        if missing := [name for name in REQUIRED if name not in files]:
            raise BundleError(f"{path} lacks {missing[0]}; export the bundle again")
        spec, contract, checked = described(files["policy.onnx"], f"{path}: policy.onnx")
        for name in ("robot_digest", "layout_digest"):
            found = stated.get(name)
            known = spec["robot_digest"] if name == "robot_digest" else _layout(spec)
            if found is not None and found != known:
                raise BundleError(
                    f"{path}: {CHECKSUMS} is for {name} {found!r}, policy.onnx has {known!r}; "
                    "files of two bundles were mixed, export it again"
                )
        _require_robot(files["robot.yaml"], contract, path)
        _require_limits(files["safety.yaml"], path)
        if "policy_int8.onnx" in files:
            _require_twin(files["policy_int8.onnx"], spec, path)
        words = (f"{len(files)} files: names, sizes and SHA-256", *checked, "robot.yaml: joints")
        return cls(path, files, spec, contract, words, content[CHECKSUMS])

    @property
    def digest(self) -> str:
        """SHA-256 of checksums.json: who knows it from the exporter knows that all files are so."""
        return hashlib.sha256(self.checksums).hexdigest()

    def network(self, int8: bool = False) -> Callable[[Array], Array]:
        """The network from an observation (O,) to an action (J,), on one thread.

        Raises:
            BundleError: the int8 network is asked for and there is none.
        """
        name = "policy_int8.onnx" if int8 else "policy.onnx"
        if name not in self.files:
            raise BundleError(f"{self.path} has no {name}; MODEL_CARD.md says why. Use policy.onnx")
        return network_of(self.files[name])

    @property
    def limits(self) -> SafetyLimits:
        """Limits of the safety layer for this robot."""
        return SafetyLimits(**self.yaml("safety.yaml"))

    def yaml(self, name: str) -> Any:
        """Plain values of a YAML file of the bundle."""
        return yaml.safe_load(self.files[name])

    def golden(self) -> dict[str, GoldenRun]:
        """Golden runs by name.

        Raises:
            BundleError: golden.npz cannot be read, or is of another contract.
        """
        return golden_of(self.files["golden.npz"], self.contract, f"{self.path}: golden.npz")

    def require_golden(self, targets: float = NEAR_ELSEWHERE) -> dict[str, Reproduced]:
        """Reproduce the golden vectors with this machine's runtime.

        Raises:
            BundleError: something differs by more than is allowed.
        """
        network, found = self.network(), {}
        for name, run in self.golden().items():
            found[name] = reproduce(run, self.contract, network)
            found[name].require(f"{self.path}: golden run {name!r}", targets)
        return found


def described(model: bytes, where: str) -> tuple[dict[str, Any], Contract, tuple[str, ...]]:
    """Contract of an ONNX policy, as written and as carried out, and what was checked of it.

    Raises:
        ContractError: no policy, or a contract that contradicts itself or its graph.
    """
    try:
        opset = opset_of(model)
    except ContractError as error:
        raise ContractError(f"{where} is no policy: {error}") from error
    session = _session(model, where)
    spec = parse(session.get_modelmeta().custom_metadata_map, where)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [x.name for x in inputs] != ["obs"] or [x.name for x in outputs] != ["actions"]:
        raise ContractError(f"{where}: the graph is not from `obs` to `actions`; export it again")
    sizes = (inputs[0].shape[-1], outputs[0].shape[-1])
    checked = require_sound(spec, where, opset, sizes)
    try:
        return spec, Contract.of(spec), tuple(checked)
    except ContractError as error:
        raise ContractError(f"{where}: {error}") from error


def network_of(model: bytes) -> Callable[[Array], Array]:
    """The network of an ONNX policy from an observation (O,) to an action (J,), on one thread."""
    session = _session(model, "the policy")

    def network(observation: Array) -> Array:
        (actions,) = session.run(None, {"obs": observation[None]})
        return np.asarray(actions)[0].astype(float)

    return network


def golden_of(data: bytes, contract: Contract, where: str) -> dict[str, GoldenRun]:
    """Golden runs by name in the bytes of a golden.npz.

    Raises:
        BundleError: it cannot be read, lacks something, or is of another robot or layout.
    """
    joints, fields = len(contract.joint_names), tuple(GoldenRun.__dataclass_fields__)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        if str(held["robot_digest"]) != contract.robot_digest:
            raise BundleError(
                f"{where} is of robot {held['robot_digest']}, the policy of "
                f"{contract.robot_digest}; export the bundle again"
            )
        runs = {}
        for name in [str(name) for name in held["runs"]]:
            values = {field: held[f"{name}.{field}"] for field in fields}
            steps = len(values["observation"])
            sizes = (values["observation"].shape, values["joint_pos"].shape)
            if not steps or sizes != ((steps, contract.size), (steps, joints)):
                raise BundleError(f"{where}: run {name!r} has arrays of other sizes: {sizes}")
            values["start_heading"] = float(values["start_heading"])
            runs[name] = GoldenRun(**values)
    except (
        OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error
    ) as error:  # fmt: skip
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())
        raise BundleError(f"{where} cannot be read ({reason}); export the bundle again") from error
    if not runs:
        raise BundleError(f"{where} holds no run; export the bundle again")
    return runs


def reproduce(run: GoldenRun, contract: Contract, network: Callable[[Array], Array]) -> Reproduced:
    """Let the contract's controller act on golden readings, and compare."""
    seen: list[tuple[Array, Array]] = []

    def watched(observation: Array) -> Array:
        seen.append((observation, network(observation)))
        return seen[-1][1]

    controller = Controller(contract, watched)
    controller.begin(run.start_targets, run.start_heading)
    targets = [
        controller.act(run.readings(step), run.command[step].astype(float))
        for step in range(len(run.observation))
    ]
    observations, actions = (np.array(part) for part in zip(*seen, strict=True))
    return Reproduced(
        observation=_apart(observations, run.observation),
        action=_apart(actions, run.action),
        target=_apart(np.array(targets), run.target),
    )


def _apart(a: Array, b: Array) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).max())


def _session(model: bytes, where: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is in the exception
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no class of its own for what it cannot read
        reason = " ".join(str(error).split())
        raise ContractError(f"{where} cannot be loaded by onnxruntime: {reason}") from error


# Files


def safe_name(name: str) -> str:
    """Why a file of this name is refused; "" for a name that stays inside the bundle."""
    parts = name.split("/")
    if not name or "\\" in name or "\0" in name or ":" in name:
        return "is no plain name"
    if PurePosixPath(name).is_absolute():
        return "is absolute"
    if any(part in ("", ".", "..") for part in parts):
        return "leads out of the bundle, or around in it"
    return ""


def _read(path: Path) -> dict[str, bytes]:
    """Content of every file by its name, `/` between folders."""
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise BundleError(f"no bundle {path}; give a folder or a .zip that `wildrobot export` made")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_zip(archive, path)
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError
    ) as error:  # fmt: skip
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())
        raise BundleError(
            f"{path} is no whole zip ({reason}); copy it again, or export it again"
        ) from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}; copy it again") from error


def _read_zip(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    entries = archive.infolist()
    _require_size(path, (entry.file_size for entry in entries))
    content: dict[str, bytes] = {}
    for entry in entries:
        if problem := safe_name(entry.filename):
            raise BundleError(f"{path}: the name {entry.filename!r} {problem}; do not use it")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise BundleError(f"{path}: {entry.filename} is a link; do not use it")
        if entry.filename in content:
            raise BundleError(f"{path}: {entry.filename} is in it twice; do not use it")
        with archive.open(entry) as file:
            content[entry.filename] = file.read(entry.file_size + 1)
    _require_size(path, map(len, content.values()))
    return content


def _read_folder(path: Path) -> dict[str, bytes]:
    files: list[Path] = []
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names):
            found = Path(folder) / name
            if found.is_symlink() or not (found.is_file() or found.is_dir()):
                raise BundleError(
                    f"{path}: {found.relative_to(path)} is a link or no file; do not use it"
                )
        files += [Path(folder) / name for name in names]
    _require_size(path, (file.stat().st_size for file in files))
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(files)}


def _require_size(path: Path, sizes: Iterable[int]) -> None:
    if (total := sum(sizes)) > LARGEST:
        raise BundleError(f"{path} holds {total} bytes; allowed: {LARGEST}. It is no bundle")


def _require_checksums(content: Mapping[str, bytes], path: Path) -> dict[str, Any]:
    """Refuse files that are not those of the checksums; returns what checksums.json says."""
    if CHECKSUMS not in content:
        raise BundleError(f"{path} has no {CHECKSUMS}; it is no bundle of `wildrobot export`")
    try:
        stated = json.loads(content[CHECKSUMS])
        expected = dict(stated["files"])
        found_format = stated["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: {CHECKSUMS} cannot be read; export it again") from error
    if found_format != BUNDLE_FORMAT:
        raise BundleError(
            f"{path} has bundle format {found_format!r}, this runtime reads {BUNDLE_FORMAT}: use "
            "the runtime it came with, or export it again"
        )
    if missing := sorted(set(expected) - set(content)):
        raise BundleError(f"{path} lacks {missing[0]}, which {CHECKSUMS} lists; copy it again")
    if extra := sorted(set(content) - set(expected) - {CHECKSUMS}):
        raise BundleError(f"{path}: {extra[0]} is not in {CHECKSUMS}; remove it, or export again")
    for name, digest in expected.items():
        if hashlib.sha256(content[name]).hexdigest() != digest:
            raise BundleError(
                f"{path}: {name} is not the file that was exported (SHA-256 differs); copy the "
                "bundle again"
            )
    return stated


def _layout(spec: Mapping[str, Any]) -> str:
    return layout_digest(spec["observation_layout"])


def _require_robot(data: bytes, contract: Contract, path: Path) -> None:
    """Refuse a robot.yaml of another robot, or with its joints in another order."""
    try:
        robot = yaml.safe_load(data)
        name, joints = robot["name"], robot["joints"]
        ranges = np.array([joint["range"] for joint in joints.values()], dtype=float)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{path}: robot.yaml cannot be read ({reason})") from error
    if name != contract.robot or tuple(joints) != contract.joint_names:
        raise BundleError(
            f"{path}: robot.yaml has robot {name!r} with joints {', '.join(joints)}; the policy is "
            f"for {contract.robot!r} with {', '.join(contract.joint_names)}"
        )
    if ranges.shape != contract.joint_range.shape or _apart(ranges, contract.joint_range) > 1e-5:
        raise BundleError(f"{path}: robot.yaml has other joint ranges than the policy's contract")


def _require_limits(data: bytes, path: Path) -> None:
    """Refuse a safety.yaml that lacks a limit, or has one that makes no sense."""
    try:
        SafetyLimits(**yaml.safe_load(data))
    except (yaml.YAMLError, TypeError, UserError) as error:
        reason = " ".join(str(error).split()).replace("SafetyLimits.__init__() ", "")
        raise BundleError(f"{path}: safety.yaml cannot be used: {reason}") from error


def _require_twin(model: bytes, spec: Mapping[str, Any], path: Path) -> None:
    """Refuse an int8 policy with another contract than the float one."""
    twin, _, _ = described(model, f"{path}: policy_int8.onnx")
    names = ("robot_digest", "joint_names", "joint_range", "action", "ctrl_dt", "env_config")
    if wrong := [name for name in names if twin.get(name) != spec.get(name)]:
        raise BundleError(f"{path}: policy_int8.onnx has another {wrong[0]} than policy.onnx")
    if _layout(twin) != _layout(spec):
        raise BundleError(f"{path}: policy_int8.onnx has another observation than policy.onnx")

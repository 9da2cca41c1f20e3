"""Writing a bundle: a policy with its contract, limits, golden vectors, report, card, checksums.

Nothing is written unless everything in it was proved: see `write_bundle`. The reading half is in
`runtime.bundle`, which a robot has; docs/bundle.md describes the files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

import wildrobot_torch
from envs.errors import UserError
from envs.physics.native import physical_cores
from envs.robot.model import RobotModel, load_robot
from wildrobot_torch.deploy.card import model_card
from wildrobot_torch.deploy.export import export_onnx
from wildrobot_torch.deploy.golden import golden_bytes, golden_runs, require_measured
from wildrobot_torch.deploy.quantize import Int8, compare, inference_time, quantize
from wildrobot_torch.deploy.runtime.bundle import (
    BUNDLE_FORMAT,
    CHECKSUMS,
    NEAR,
    Bundle,
    described,
)
from wildrobot_torch.deploy.runtime.limits import DEFAULT
from wildrobot_torch.deploy.trained import training_of
from wildrobot_torch.evaluation.suites import Suite
from wildrobot_torch.files import to_json
from wildrobot_torch.ppo.policy_file import load_policy, read_checkpoint

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in a zip: the same content makes the same bytes."""


def write_bundle(
    checkpoint: Path,
    out: Path,
    report: Path | None = None,
    int8: Suite | None = None,
    say: Callable[[str], None] = lambda line: None,
    robot: str | None = None,
) -> Bundle:
    """Write the bundle of a checkpoint as a folder, or as a zip where `out` ends in .zip.

    Args:
        checkpoint: of `wildrobot fit`; in its run's folder more is known of its training.
        out: must not exist as a folder.
        report: suite.json of `wildrobot evaluate --suite` for this policy; suite.md and suite.html
            beside it come along.
        int8: what the int8 policy is tried in; None for no int8 policy.
        say: gets a line for each step.
        robot: name or folder of the robot; None for the one that the checkpoint names.

    Raises:
        UserError: the checkpoint cannot be exported, is for no robot, or the report is another
            policy's; nothing is written.
        RunError: onnxruntime and torch disagree on the policy; likewise.
        BundleError: the runtime does not reproduce the golden vectors; likewise.
    """
    if out.is_dir() or (out.suffix != ".zip" and out.exists()):
        raise UserError(f"{out} is there already; remove it, or name another folder")
    found = read_checkpoint(checkpoint)
    found = replace(found, policy=found.policy.on(robot))
    loaded = load_robot(found.policy.robot)
    require_measured(found.policy, found.policy.task)
    with TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.onnx"
        difference = export_onnx(checkpoint, policy, loaded.robot)
        say(f"policy.onnx: onnxruntime and torch differ by at most {difference:.1e}")
        files = {"policy.onnx": policy.read_bytes()}
        spec, _, _ = described(files["policy.onnx"], "policy.onnx")
        files |= {} if report is None else report_files(report, checkpoint, files["policy.onnx"])
        training = training_of(found)
        if training.task is None:
            say("no settings of the training are known: golden vectors are of an ideal robot")
        runs = golden_runs(load_policy(policy, robot), training.task or found.policy.task)
        files["golden.npz"] = golden_bytes(runs, loaded.robot.digest)
        quantized = _int8(policy, Path(folder) / "policy_int8.onnx", int8, files, say)
    files["robot.yaml"] = description_bytes(loaded)
    safety = safety_limits(spec)
    files["safety.yaml"] = safety.encode()
    files["LICENSE"] = license_text()
    suite = json.loads(files["suite.json"]) if "suite.json" in files else None
    steps = {name: len(run.observation) for name, run in runs.items()}
    card = model_card(spec, yaml.safe_load(safety), suite, steps, quantized)
    files["MODEL_CARD.md"] = card.encode()
    stated = {
        "format": BUNDLE_FORMAT,
        "robot_digest": spec["robot_digest"],
        "layout_digest": spec["observation_layout"]["digest"],
        "files": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
    }
    files[CHECKSUMS] = (json.dumps(stated, indent=1) + "\n").encode()
    write_checked(files, out)
    bundle = Bundle.open(out)
    say(f"golden vectors reproduced, {len(files)} files, {sum(map(len, files.values()))} bytes")
    return bundle


def description_bytes(loaded: RobotModel) -> bytes:
    """robot.yaml, with what it leaves open as it was found in the robot's MJCF."""
    if loaded.description.model is None:
        return (loaded.directory / "robot.yaml").read_bytes()
    return yaml.safe_dump(loaded.described(), sort_keys=False).encode()


def report_files(report: Path, checkpoint: Path, policy: bytes) -> dict[str, bytes]:
    """suite.json without its single episodes, suite.md and suite.html, without folders' names.

    Raises:
        UserError: it is no suite's report, or another policy's.
    """
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
        about = content["policies"][content["columns"][0]]
        sha, named = about["sha256"], about["file"]
        entries = content["entries"]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"--report {report} is no suite.json of `wildrobot evaluate --suite`: "
            f"{' '.join(str(error).split())}"
        ) from error
    own = {hashlib.sha256(checkpoint.read_bytes()).hexdigest(), hashlib.sha256(policy).hexdigest()}
    if sha not in own:
        raise UserError(
            f"--report {report} is about {named} (SHA-256 {sha[:12]}...), not about {checkpoint}; "
            f"make one with: wildrobot evaluate {checkpoint} --suite full"
        )
    for entry in entries:
        for column in entry["columns"].values():
            column.pop("episodes", None)
    paths = {str(policy["file"]) for policy in content["policies"].values()}

    def clean(text: str) -> bytes:
        for path in sorted(paths, key=len, reverse=True):
            text = text.replace(path, Path(path).name)
        return text.encode()

    files = {"suite.json": clean(to_json(content))}
    for kind in ("md", "html"):
        beside = report.with_suffix(f".{kind}")
        if beside.is_file():
            files[f"suite.{kind}"] = clean(beside.read_text(encoding="utf-8"))
    return files


def _int8(
    policy: Path,
    out: Path,
    suite: Suite | None,
    files: dict[str, bytes],
    say: Callable[[str], None],
) -> Int8 | str:
    """Add policy_int8.onnx to the files where it passes; what was found."""
    if suite is None:
        return "it was not asked for"
    quantize(policy, out)
    times = [1e6 * inference_time(file) for file in (policy, out)]
    say(f"one inference, median: float {times[0]:.1f} us, int8 {times[1]:.1f} us")
    found = compare(policy, out, suite, say, physical_cores())
    say(f"success of {found.episodes} episodes: float {found.success:.1%}, "
        f"int8 {found.int8_success:.1%}")  # fmt: skip
    if found.passes:
        files["policy_int8.onnx"] = out.read_bytes()
    return found


def safety_limits(spec: Mapping[str, Any]) -> str:
    """safety.yaml: the runtime's defaults, with what the contract says of the servo."""
    text, servo = DEFAULT.read_text(encoding="utf-8"), spec["servo"]
    known = {
        "servo_speed_rad_s": servo["no_load_speed"],
        "servo_gain_nm_rad": float(np.float32(max(spec["kp"]))),
        "torque_nm": servo["stall_torque"],
    }
    for name, value in known.items():
        text = re.sub(rf"(?m)^{name}: \S+", f"{name}: {round(value, 6):g}", text)
    return text


def license_text() -> bytes:
    """LICENSE of this package, from its checkout or from its installed files.

    Raises:
        UserError: there is none.
    """
    beside = Path(wildrobot_torch.__file__).parents[1] / "LICENSE"
    if beside.is_file():
        return beside.read_bytes()
    try:
        text = distribution("wildrobot-torch").read_text("licenses/LICENSE")
    except PackageNotFoundError:
        text = None
    if text is None:
        raise UserError("the installed package has no LICENSE; install wildrobot-torch again")
    return text.encode()


def write_checked(files: Mapping[str, bytes], out: Path) -> None:
    """Write the files, and read and prove them before they get their name."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        made = Path(folder) / ("bundle.zip" if out.suffix == ".zip" else "bundle")
        if out.suffix == ".zip":
            made.write_bytes(zip_bytes(files))
        else:
            write_folder(files, made)
        Bundle.open(made).require_golden(NEAR)
        os.replace(made, out)


def write_folder(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files by their names into a folder that is made."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """A zip of the files; the same for the same files, whatever their order and the time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            entry.create_system = 3  # Unix, on whatever system it is written
            archive.writestr(entry, files[name])
    return out.getvalue()

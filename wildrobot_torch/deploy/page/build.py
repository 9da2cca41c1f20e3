"""Build the page: policy, robot, libraries and the page's own files in one folder."""

from __future__ import annotations

import html
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from envs.errors import UserError
from envs.robot.description import FILE_NAME
from envs.robot.model import ROBOT_DIRECTORY, load_robot
from envs.task.terminations import TERMINATIONS
from envs.yaml_files import read_yaml
from wildrobot_torch.deploy.bundle import license_text
from wildrobot_torch.deploy.page.vendor import LIBRARIES, fetch
from wildrobot_torch.deploy.runtime.bundle import Bundle, BundleError, described

SITE = Path(__file__).parent / "site"
"""The page's own files."""
SCENE = ("scene_flat.xml", "wildrobot.xml", "look.xml")
"""MJCF of the robot on its floor; the first includes the others."""
FALL = ("min_height", "max_height", "max_roll", "max_pitch")
"""Terminations that are a fall on the page, too."""
SERVOS = ("ideal", "envelope")
"""Laws of servos that the page has."""


def build_page(policy: Path, out: Path) -> dict[str, int]:
    """Write the page of a bundle or an exported policy (.onnx); sizes of its files [bytes] by name.

    Args:
        policy: bundle (folder or zip) or exported policy.
        out: folder to write, new or empty; nothing is written unless all of it can be.

    Raises:
        UserError: the policy cannot be used, is for another robot, `out` is not empty, or npm is
            not installed.
        RunError: a library cannot be fetched.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; give a new or empty folder with --out")
    model, spec = _policy(policy)
    robot = _robot(spec, policy)
    libraries, licences = fetch()
    files = {path.name: path.read_bytes() for path in sorted(SITE.iterdir()) if path.is_file()}
    files |= {f"vendor/{name}": data for name, data in libraries.items()}
    files |= {f"licences/{name}": data for name, data in licences.items()}
    files |= {f"robot/{name}": (ROBOT_DIRECTORY / name).read_bytes() for name in SCENE}
    files["robot/robot.json"] = json.dumps(robot, indent=1).encode()
    files["policy.onnx"] = model
    files["LICENSE"] = license_text()
    loaded = sum(len(data) for name, data in files.items() if not name.startswith("licences/"))
    words = {
        "title": f"{spec['robot']} walks",
        "robot": spec["robot"],
        "megabytes": f"{loaded / 1e6:.0f}",
        "libraries": ", ".join(f"{x.title} {x.version}" for x in LIBRARIES),
    }
    page = files["index.html"].decode()
    for name, text in words.items():
        page = page.replace("{{" + name + "}}", html.escape(text))
    files["index.html"] = page.encode()
    _write(files, out)
    return {name: len(data) for name, data in files.items()}


def _policy(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Content and contract of a policy's ONNX file."""
    if path.suffix != ".onnx":
        bundle = Bundle.open(path)
        return bundle.files["policy.onnx"], dict(bundle.spec)
    if not path.is_file():
        raise BundleError(f"no file {path}")
    model = path.read_bytes()
    return model, described(model, str(path))[0]


def _robot(spec: dict[str, Any], policy: Path) -> dict[str, Any]:
    """What the page has to know of the robot beside its MJCF and the policy's contract."""
    digest = load_robot().robot.digest
    if spec["robot_digest"] != digest:
        raise UserError(
            f"{policy} was made for robot {spec['robot_digest']}, this one is {digest}; train "
            "again, or use the version of this project that it was trained with"
        )
    description = read_yaml(ROBOT_DIRECTORY / FILE_NAME)
    servo = spec.get("servo", description["servo"])
    if servo["model"] not in SERVOS:
        raise UserError(
            f"the servos of {policy} follow the model {servo['model']}, which the page does not "
            f"have; allowed: {', '.join(SERVOS)}"
        )
    return {
        "scene": SCENE[0],
        "files": list(SCENE),
        "root": description["root"],
        "plates": list(description["plates"]),
        "servo": description["servo"],
        "fall": {name: TERMINATIONS[name].limit for name in FALL},
    }


def _write(files: dict[str, bytes], out: Path) -> None:
    """Write a folder whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        for name, data in files.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        partial.chmod(0o755)  # a web server may run as someone else
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

"""The folder that a robot's computer runs a bundle from: bundle, runtime, settings, service, tests.

The computer needs Python with numpy, onnxruntime and pyyaml, and nothing else of this project.
"""

from __future__ import annotations

import os
import re
import shutil
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import envs
import wildrobot_torch
from envs.errors import UserError
from wildrobot_torch.deploy.runtime.bundle import CHECKSUMS, Bundle
from wildrobot_torch.deploy.runtime.calibration import Calibration

BASE = (
    "envs/__init__.py",
    "envs/errors.py",
    "wildrobot_torch/__init__.py",
    "wildrobot_torch/contract.py",
    "wildrobot_torch/files.py",
    "wildrobot_torch/deploy/__init__.py",
)
"""Modules that the runtime imports, beside its own folder `wildrobot_torch/deploy/runtime`."""
NOT_CALIBRATED = "# NOT CALIBRATED"
"""First line of a calibration that was never made; `start.py` refuses to run with it."""
TEMPLATES = "package_files"
TEMPLATE_NAMES = (
    "README.md", "config.yaml", "pyproject.toml.txt", "robot.py.txt", "run.sh", "start.py.txt",
    "tests/test_package.py.txt", "wildrobot.service",
)  # fmt: skip
"""Files that are filled in. Those that end in .txt are no Python or TOML of this project."""


def write_package(bundle: Bundle, out: Path) -> list[Path]:
    """Write the folder `out`; returns its files, relative to it.

    Raises:
        UserError: the folder is there already, or the bundle's policy is for unknown plates.
        BundleError: this machine's runtime does not reproduce the bundle's golden vectors.
    """
    if out.exists():
        raise UserError(f"{out} is there already; remove it, or name another folder")
    bundle.require_golden()
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        made = Path(folder) / "package"
        _write(bundle, made)
        os.replace(made, out)
    return sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())


def runtime_files() -> dict[str, Path]:
    """Name in the package -> file of this installation, for everything that the runtime imports."""
    roots = {
        "envs": Path(envs.__file__).parent,
        "wildrobot_torch": Path(wildrobot_torch.__file__).parent,
    }
    names = {name: roots[name.partition("/")[0]] / name.partition("/")[2] for name in BASE}
    runtime = roots["wildrobot_torch"] / "deploy" / "runtime"
    for path in sorted(runtime.rglob("*")):
        if path.suffix in (".py", ".yaml"):
            names[f"wildrobot_torch/deploy/runtime/{path.relative_to(runtime).as_posix()}"] = path
    return names


def _write(bundle: Bundle, out: Path) -> None:
    for name, path in runtime_files().items():
        target = out / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    folder = out / "bundle"
    for name, data in {**bundle.files, CHECKSUMS: bundle.checksums}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (out / "safety.yaml").write_bytes(bundle.files["safety.yaml"])
    (out / "LICENSE").write_bytes(bundle.files["LICENSE"])
    contract = bundle.contract
    # A policy that observes no foot switches needs none.
    seen = {"switch_reading", "foot_switch"} & {name for name, _ in contract.fields}
    plates = tuple(bundle.yaml("robot.yaml")["plates"]) if seen else ()
    identity = Calibration.identity(contract.joint_names, plates).to_yaml()
    delivered = re.sub(r"Written by .*", "As built by the contract.", identity, count=1)
    (out / "calibration.yaml").write_text(f"{NOT_CALIBRATED}\n{delivered}", encoding="utf-8")
    ids = "\n".join(
        f'    "{name}": {number},' for number, name in enumerate(contract.joint_names, 1)
    )
    filled = {
        "@ROBOT@": contract.robot,
        "@DIGEST@": bundle.digest,
        "@HZ@": f"{1.0 / contract.ctrl_dt:g}",
        "@DT@": f"{contract.ctrl_dt:g}",
        "@JOINTS@": "\n".join(
            f"| {n} | `{name}` | |" for n, name in enumerate(contract.joint_names)
        ),
        "@IDS@": ids,
        "@NOT_CALIBRATED@": NOT_CALIBRATED,
    }
    templates = files("wildrobot_torch.deploy") / TEMPLATES
    for name in TEMPLATE_NAMES:
        target = name.removesuffix(".txt")
        text = templates.joinpath(*name.split("/")).read_text(encoding="utf-8")
        for mark, value in filled.items():
            text = text.replace(mark, value)
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        (out / target).write_text(text, encoding="utf-8")
    (out / "run.sh").chmod(0o755)

"""`wildrobot doctor`: what is here, what is missing, and the command that mends it.

At the top only the standard library is imported: on a fresh machine the rest is not there yet.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from envs.errors import UserError
from wildrobot_torch.cli.options import one_line

PROJECT = "wildrobot-torch"
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
PACKAGES = ("torch", "mujoco", "torchrl", "tensordict", "lightning", "onnxruntime")
"""Packages whose versions matter most."""
WARP_PACKAGES = ("mujoco-warp", "warp-lang")
"""Packages that only the Warp engine needs."""

_IN_ENVIRONMENT = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ
INSTALL = "pip install -e '.[train]' -c constraints.txt" if _IN_ENVIRONMENT else "make install"
INSTALL_WARP = "pip install -e '.[warp]'"
DRIVER = "sudo ubuntu-drivers install && sudo reboot   # elsewhere: NVIDIA's driver, 580 or newer"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    status: Literal["ok", "note", "missing"]
    """note: training works, something else does not; missing: training needs it."""
    what: str
    value: str
    remedy: str | None = None
    """Command that mends it; None where all is well."""


def main(options: argparse.Namespace) -> int:
    """Print the report; 0 when training works here, 1 when something it needs is missing."""
    as_json = options.json
    findings, named = [], options.robot
    for finding in examine(named):
        findings.append(finding)
        if not as_json:
            print(f"{finding.status:8s} {finding.what:14s} {finding.value}", flush=True)
            if finding.remedy is not None:
                print(f"{'':23s} -> {finding.remedy}", flush=True)
    missing = [finding.what for finding in findings if finding.status == "missing"]
    said = f"training lacks: {', '.join(missing)}" if missing else "training works here"
    if named is not None:
        said = f"to mend: {', '.join(missing)}" if missing else "the robot can be trained"
    report = {"works": not missing, "findings": [asdict(finding) for finding in findings]}
    print(json.dumps(report, indent=2) if as_json else said)
    return 1 if missing else 0


def examine(named: str | None = None) -> Iterator[Finding]:
    """All findings, in order; a probe that fails becomes one with the reason.

    With `named`, the name or folder of a robot, only that robot is looked at, more closely.
    """
    probes, subject = (PROBES, ()) if named is None else (OF_ROBOT, (named,))
    for probe, needed, remedy in probes:
        found: list[Finding] = []
        try:
            with redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.extend(probe(*subject))
                # what came before a failure is kept
        except (Exception, SystemExit) as error:
            if isinstance(error, ModuleNotFoundError):
                remedy = INSTALL
            elif "MUJOCO_GL" in str(error):
                remedy = "unset MUJOCO_GL"
            reason = f"{type(error).__name__}: {one_line(error)}"
            if named is not None and isinstance(error, UserError):
                reason = one_line(error)
            found.append(Finding("missing" if needed else "note", probe.__name__, reason, remedy))
        yield from found
        if probe is robot and named is not None and found[-1].status == "missing":
            return  # what cannot be loaded can do nothing


def packages() -> Iterator[Finding]:
    """Python and packages, compared with the ranges that the project supports."""
    if version(PROJECT) is None:
        yield Finding("note", PROJECT, "used from its folder, not installed", INSTALL)
    python, ranges = supported()
    here = platform.python_version()
    if sys.version_info >= tuple(map(int, re.findall(r"\d+", python))):
        yield Finding("ok", "python", f"{here} ({python})")
    else:
        remedy = "make PYTHON=python3.12 install"
        yield Finding("missing", "python", f"{here}, but the project supports {python}", remedy)
    for name in (*PACKAGES, *WARP_PACKAGES):
        yield package(name, version(name), ranges.get(name, ""))


def package(name: str, version: str | None, supported: str) -> Finding:
    """What an installed `version` (None for none) is worth where `supported` is the range."""
    warp = name in WARP_PACKAGES
    status = "note" if warp else "missing"
    if version is None:
        return Finding(status, name, "not installed", INSTALL_WARP if warp else INSTALL)
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(supported).contains(version, prereleases=True):
        return Finding("ok", name, f"{version} ({supported})")
    value = f"{version}, but the project supports {supported}"
    return Finding(status, name, value, f"pip install '{name}{supported}'")


def machine() -> Iterator[Finding]:
    """Processor, memory and threads."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield Finding("ok", "machine", f"{processor()}, {memory:.1f} GiB")
    from envs.physics.native import physical_cores

    yield Finding("ok", "threads", f"{physical_cores()} for the native engine")


def gpu() -> Iterator[Finding]:
    """NVIDIA's driver and cards, whether torch can use them, and whether Warp runs on them."""
    cards, trouble = nvidia()
    if trouble:
        yield Finding("note", "NVIDIA", trouble, DRIVER)
    else:
        yield Finding("ok", "NVIDIA", cards or "no card; the native engine needs none")
    if not cards:
        return
    import torch

    if torch.version.cuda is None:
        remedy = "env -u PIP_EXTRA_INDEX_URL pip install --force-reinstall torch -c constraints.txt"
        yield Finding("note", "torch CUDA", "none: this torch is built for CPUs alone", remedy)
    elif not torch.cuda.is_available():
        yield Finding("note", "torch CUDA", f"{torch.version.cuda} cannot use the card", DRIVER)
    else:
        yield Finding("ok", "torch CUDA", torch.version.cuda)
        if None not in map(version, WARP_PACKAGES):
            yield from engine("warp")


def robot(named: str = "wildrobot") -> Iterator[Finding]:
    """The robot's description, what was derived from it, and what the engines make of it."""
    from envs.config import LocomotionConfig
    from envs.physics.base import MEASURE_CAPACITIES
    from envs.physics.capacities import CapacityError, read_capacities
    from envs.robot.model import load_robot
    from envs.sizing import sized, what_was_sized

    loaded = load_robot(named)
    found = loaded.robot
    value = f"{found.name}, {found.num_joints} joints, {found.mass:.2f} kg"
    yield Finding("ok", "robot", value)
    for note in loaded.notes:
        yield Finding("ok", "robot", note)
    if not found.is_standard:
        legs = ", ".join(found.chains[0].kinds)
        yield Finding("ok", "legs", f"{legs}; {found.leg.leg_length:.3f} m")
        yield Finding("ok", "size", f"lengths x {found.scale:.3f}, speeds and times x "
                      f"{found.speed_scale:.3f}, forces x {found.force_scale:.3f} of a task's "
                      "numbers")  # fmt: skip
        for line in what_was_sized(LocomotionConfig(), sized(LocomotionConfig(), found)):
            yield Finding("ok", "size", line)
    yield jacobian(loaded.model)
    try:
        read_capacities(loaded)
    except CapacityError as error:
        yield Finding("note", "Warp capacities", str(error), MEASURE_CAPACITIES)


def abilities(named: str) -> Iterator[Finding]:
    """What a robot can do untrained: it stands, is mirrored, is strong and fast enough."""
    from envs.robot.examination import examine_robot
    from envs.robot.model import load_robot

    for check in examine_robot(load_robot(named)):
        status = "missing" if check.passed is False else "note" if check.remedy else "ok"
        yield Finding(status, check.what, check.value, check.remedy)


def task(named: str) -> Iterator[Finding]:
    """One step of the task with a robot on the native engine."""
    from envs.config import LocomotionConfig
    from envs.locomotion import LocomotionEnv
    from envs.tasks import task_for

    env = LocomotionEnv(task_for(LocomotionConfig(), named), 2, physics="native", num_threads=1)
    stepped = env.step(env.rand_action(env.reset()))
    if not stepped["next", "observation"].isfinite().all():
        raise RuntimeError(f"{named}: an observation is not finite after one step from rest")
    size = env.observation_spec["observation"].shape[-1]
    yield Finding("ok", "task", f"steps; {size} observations, {env.action_spec.shape[-1]} actions")


def jacobian(model: Any) -> Finding:
    """Whether `model` (MjModel) meets the wrong Newton Hessian of mujoco 4.0.0."""
    import mujoco

    kind = "sparse" if mujoco.mj_isSparse(model) else "dense"
    value = f"{kind} (nv {model.nv}), mujoco {mujoco.__version__}"
    if kind == "dense" or mujoco.__version__ != "4.0.0":
        return Finding("ok", "Jacobian", value)
    remedy = "pip install 'mujoco>=4.0.1,<4.1'   # or <option jacobian=\"dense\"/> in the MJCF"
    return Finding("missing", "Jacobian", f"{value}: its Newton Hessian is wrong", remedy)


def engine(name: str = "native") -> Iterator[Finding]:
    """One step of the task on an engine."""
    from envs.config import LocomotionConfig
    from envs.locomotion import LocomotionEnv

    env = LocomotionEnv(LocomotionConfig(), 2, physics=name, num_threads=1)
    stepped = env.step(env.rand_action(env.reset()))
    if not stepped["next", "observation"].isfinite().all():
        raise RuntimeError(f"{name}: an observation is not finite after one step from rest")
    yield Finding("ok", f"physics {name}", "steps the task")


def films() -> Iterator[Finding]:
    """What films are drawn with, and their encoder."""
    from wildrobot_torch.render import gl

    used = gl.available_platform()
    if used is not None:
        yield Finding("ok", "rendering", f"OpenGL by {used}")
    else:
        wanted = os.environ.get("MUJOCO_GL")
        remedy = "unset MUJOCO_GL" if wanted else "sudo apt-get install libegl1 libosmesa6"
        yield Finding("note", "rendering", "no OpenGL; films are drawn in slow software", remedy)
    import imageio_ffmpeg

    yield Finding("ok", "ffmpeg", imageio_ffmpeg.get_ffmpeg_version())


PROBES: tuple[tuple[Callable[..., Iterable[Finding]], bool, str], ...] = (
    (packages, True, INSTALL),
    (machine, False, INSTALL),
    (gpu, False, DRIVER),
    (robot, True, "git diff envs/assets   # then change what the reason names"),
    (engine, True, INSTALL),
    (films, False, "pip install --force-reinstall imageio-ffmpeg"),
)
"""Each with whether training needs it, and what to do where it fails altogether."""

OF_ROBOT: tuple[tuple[Callable[..., Iterable[Finding]], bool, str], ...] = (
    (robot, True, "wildrobot describe MODEL.xml   # or change what the reason names"),
    (abilities, True, "look at robot.png and robot.yaml"),
    (task, True, "look at robot.yaml"),
)
"""The same for one robot, by its name or folder."""


def version(package: str) -> str | None:
    """Version of an installed package; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def supported() -> tuple[str, dict[str, str]]:
    """Range of Python's versions, and of each package's, from the project's own metadata."""
    if PYPROJECT.is_file():  # not by tomllib: a Python that is too old has none
        text = PYPROJECT.read_text(encoding="utf-8")
        python = re.findall(r'requires-python = "(.*)"', text)[0]
        lines = re.findall(r'"([\w-]+(?:\[\w+\])?[<>=][^"]*)"', text)
    else:
        about = metadata.metadata(PROJECT)
        python, lines = about["Requires-Python"], metadata.requires(PROJECT) or []
    found = [re.match(r"([\w-]+)(?:\[\w+\])?\s*([<>=~!][^;]*)", line) for line in lines]
    return python, {match[1]: match[2].strip() for match in found if match}


def processor() -> str:
    """Model name of the processor."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return named[1].strip() if named else platform.processor() or platform.machine()


def nvidia() -> tuple[str, str]:
    """Driver and cards of NVIDIA, or else what is wrong with them; both empty without a card."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "", ""
    query = [program, "--query-gpu=driver_version,name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=60)
    rows = [line.split(", ") for line in done.stdout.strip().splitlines()]
    if done.returncode or not rows:
        return "", f"nvidia-smi fails: {one_line(done.stderr or done.stdout)[-100:]}"
    return f"driver {rows[0][0]}; " + ", ".join(f"{row[1]} ({row[2]})" for row in rows), ""

"""What is here, what is missing, and the command that mends it: `wildrobot doctor`.

At the top only the standard library is imported: on a fresh machine the rest is not there yet.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from wildrobot_torch.cli import inventory

PACKAGES = ("torch", "mujoco", "torchrl", "tensordict", "lightning", "onnxruntime")
"""Packages whose versions matter most."""
WARP_PACKAGES = ("mujoco-warp", "warp-lang")
"""Packages that only the Warp engine needs."""
GL_PLATFORMS = ("egl", "osmesa", "glfw")
"""Values of MUJOCO_GL; glfw needs a display."""

_IN_ENVIRONMENT = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ
INSTALL = "pip install -e . -c constraints.txt" if _IN_ENVIRONMENT else "make install"
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


def versions() -> Iterator[Finding]:
    """Python and packages, held against the ranges in the project's own metadata."""
    if inventory.version(inventory.PROJECT) is None:
        yield Finding("note", inventory.PROJECT, "used from its folder, not installed", INSTALL)
    here, supported = platform.python_version(), inventory.python_range()
    if sys.version_info >= tuple(map(int, re.findall(r"\d+", supported))):
        yield Finding("ok", "python", f"{here} ({supported})")
    else:
        remedy = "make PYTHON=python3.12 install"
        yield Finding("missing", "python", f"{here}, but the project supports {supported}", remedy)
    ranges = inventory.package_ranges()
    for name in PACKAGES:
        yield package(name, inventory.version(name), ranges.get(name, ""))
    for name in WARP_PACKAGES:
        here = inventory.version(name)
        yield package(name, here, ranges.get(name, ""), INSTALL_WARP, needed=False)


def package(
    name: str, version: str | None, supported: str, install: str = INSTALL, needed: bool = True
) -> Finding:
    """What an installed `version` (None for none) is worth where `supported` is the range."""
    status = "missing" if needed else "note"
    if version is None:
        return Finding(status, name, "not installed", install)
    if not supported:
        return Finding("ok", name, version)
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(supported).contains(version, prereleases=True):
        return Finding("ok", name, f"{version} ({supported})")
    value = f"{version}, but the project supports {supported}"
    return Finding(status, name, value, f"pip install '{name}{supported}'")


def machine() -> Iterator[Finding]:
    """Processor, memory and threads."""
    yield Finding("ok", "processor", inventory.processor())
    yield Finding("ok", "memory", f"{inventory.memory() / 2**30:.1f} GiB")
    import torch

    from envs.physics.native import physical_cores

    cores = f"{inventory.logical_cores()} logical, {physical_cores()} physical"
    yield Finding("ok", "cores", f"{cores}; torch computes on {torch.get_num_threads()} threads")


def gpu() -> Iterator[Finding]:
    """NVIDIA's driver, its cards, and whether torch can use them."""
    cards, trouble = inventory.nvidia()
    if cards:
        yield Finding("ok", "NVIDIA", cards)
    elif trouble:
        yield Finding("note", "NVIDIA", trouble, DRIVER)
    else:
        remedy = "docker run --gpus all   # only in a container on a machine that has one"
        yield Finding("note", "NVIDIA", "no card; the native engine needs none", remedy)
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if usable:
        yield Finding("ok", "torch CUDA", f"{torch.version.cuda}, usable")
    elif torch.version.cuda is not None and cards:
        reason = inventory.last_line(str(caught[-1].message)) if caught else "no device found"
        yield Finding("note", "torch CUDA", f"{torch.version.cuda}, unusable: {reason}", DRIVER)
    elif cards:
        remedy = "env -u PIP_EXTRA_INDEX_URL pip install --force-reinstall torch -c constraints.txt"
        yield Finding("note", "torch CUDA", "none: this torch is built for CPUs alone", remedy)
    else:
        yield Finding("ok", "torch CUDA", f"{torch.version.cuda or 'none'}, and no card to use")


def warp() -> Iterator[Finding]:
    """Warp's devices, CUDA versions and kernel cache."""
    if None in map(inventory.version, WARP_PACKAGES):
        return  # `versions` says so
    report = inventory.warp()
    yield from warp_findings(report, bool(inventory.nvidia()[0]))
    cache = Path(report["cache"])
    size = inventory.folder_size(cache) / 2**20
    yield Finding("ok", "Warp kernel cache", f"{cache}, {size:.0f} MiB")


def warp_findings(report: dict[str, Any], card: bool) -> Iterator[Finding]:
    """What the report of `inventory.warp` means on a machine with or without a `card`."""
    toolkit, driver = (
        ".".join(map(str, report[key])) if report[key] else "none" for key in ("toolkit", "driver")
    )
    seen = f"devices: {', '.join(report['devices'])}; CUDA toolkit {toolkit}, driver {driver}"
    if card and not report["pools"]:
        yield Finding("note", "Warp", f"{seen}; it cannot use the card", DRIVER)
    else:
        yield Finding("ok", "Warp", seen)
    if report["pools"] and not report["conditional_graphs"]:
        value = f"conditional nodes need CUDA 12.4 or newer: toolkit {toolkit}, driver {driver}"
        yield Finding("note", "CUDA graphs", value, DRIVER)
    elif report["pools"]:
        yield Finding("ok", "CUDA graphs", "conditional nodes are supported")
    for device, (possible, enabled) in report["pools"].items():
        if possible:
            state = "on" if enabled else "off; the engine turns it on"
            yield Finding("ok", "Warp memory pool", f"{device}: {state}")
        else:
            value = f"{device} has none, and CUDA graphs need one"
            yield Finding("note", "Warp memory pool", value, "wildrobot fit --data.physics native")


def robot() -> Iterator[Finding]:
    """The robot's description, and what the engines make of it."""
    from envs.physics.base import MEASURE_CAPACITIES
    from envs.physics.capacities import CapacityError, read_capacities
    from envs.robot.model import load_robot, scene_names

    loaded = load_robot()
    value = f"{loaded.robot.name}, {loaded.robot.num_joints} joints, {loaded.robot.mass:.2f} kg"
    yield Finding("ok", "robot", f"{value}; scenes: {', '.join(scene_names(loaded.directory))}")
    yield jacobian(loaded.model)
    try:
        room = read_capacities(loaded)
    except CapacityError as error:
        yield Finding("note", "Warp capacities", str(error), MEASURE_CAPACITIES)
    else:
        yield Finding("ok", "Warp capacities", f"njmax {room.njmax}, nconmax {room.nconmax}")


def jacobian(model: Any) -> Finding:
    """Whether `model` (MjModel) meets the wrong Newton Hessian of mujoco 4.0.0."""
    import mujoco

    kind = "sparse" if mujoco.mj_isSparse(model) else "dense"
    value = f"{kind} (nv {model.nv}), mujoco {mujoco.__version__}"
    if kind == "dense" or mujoco.__version__ != "4.0.0":
        return Finding("ok", "Jacobian", value)
    remedy = "pip install 'mujoco>=4.0.1,<4.1'   # or <option jacobian=\"dense\"/> in the MJCF"
    return Finding("missing", "Jacobian", f"{value}: its Newton Hessian is wrong", remedy)


def physics() -> Iterator[Finding]:
    """One step of the training's environment, and the engine that `auto` picks."""
    from envs.config import LocomotionConfig
    from envs.locomotion import LocomotionEnv
    from envs.physics.engines import resolve_engine

    env = LocomotionEnv(LocomotionConfig(), 2, physics="native", num_threads=1)
    stepped = env.step(env.rand_action(env.reset()))
    if not stepped["next", "observation"].isfinite().all():
        raise RuntimeError("an observation is not finite after one step from rest")
    yield Finding("ok", "native engine", "steps the environment")
    engine = resolve_engine("auto")
    if engine == "warp" and None in map(inventory.version, WARP_PACKAGES):
        yield Finding("note", "physics: auto", "warp, which is not installed", INSTALL_WARP)
    else:
        yield Finding("ok", "physics: auto", f"picks {engine}")


def rendering() -> Iterator[Finding]:
    """Which of `GL_PLATFORMS` draw a frame, what films are drawn with, and their encoder."""
    from wildrobot_torch.evaluation import gl_render

    def trouble(name: str) -> str | None:
        variables = {"MUJOCO_GL": name, "PYOPENGL_PLATFORM": None}
        return inventory.why_it_fails(gl_render.PROBE, 60.0, **variables)

    with ThreadPoolExecutor() as pool:
        troubles = dict(zip(GL_PLATFORMS, pool.map(trouble, GL_PLATFORMS), strict=True))
    value = "; ".join(f"{name}: {reason or 'draws'}" for name, reason in troubles.items())
    used = gl_render.available_platform()
    if used is not None:
        yield Finding("ok", "rendering", f"films use {used}. {value}")
    else:
        draws = any(troubles[name] is None for name in gl_render.PLATFORMS)
        remedy = "unset MUJOCO_GL" if draws else "sudo apt-get install libegl1 libosmesa6"
        value = f"films use the project's own software renderer. {value}"
        yield Finding("note", "rendering", value, remedy)


def ffmpeg() -> Iterator[Finding]:
    """The encoder of films."""
    import imageio_ffmpeg

    where = imageio_ffmpeg.get_ffmpeg_exe()
    yield Finding("ok", "ffmpeg", f"{imageio_ffmpeg.get_ffmpeg_version()}, {where}")


PROBES: tuple[tuple[Callable[[], Iterable[Finding]], bool, str], ...] = (
    (versions, True, INSTALL),
    (machine, False, INSTALL),
    (gpu, False, DRIVER),
    (warp, False, "pip install --force-reinstall -e '.[warp]' -c constraints.txt"),
    (robot, True, "git diff envs/assets   # then change what the reason names"),
    (physics, True, INSTALL),
    (rendering, False, INSTALL),
    (ffmpeg, False, "pip install --force-reinstall imageio-ffmpeg"),
)
"""Each with whether training needs it, and what to do where it fails altogether."""


def examine() -> Iterator[Finding]:
    """All findings, in order; a probe that fails becomes one with the reason."""
    for probe, needed, remedy in PROBES:
        found: list[Finding] = []
        try:
            with redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.extend(probe())  # keeps what came before a failure
        except (Exception, SystemExit) as error:
            status = "missing" if needed else "note"
            remedy = INSTALL if isinstance(error, ModuleNotFoundError) else remedy
            remedy = "unset MUJOCO_GL" if "MUJOCO_GL" in str(error) else remedy
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            found.append(Finding(status, probe.__name__, reason, remedy))
        yield from found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 0 when training works here, 1 when something it needs is missing."""
    parser = argparse.ArgumentParser("wildrobot doctor", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        print(f"error: {unknown[0]!r} is not known; allowed: --json", file=sys.stderr)
        return 2
    try:
        return _report(options.json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who reads, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _report(as_json: bool) -> int:
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            print(f"{finding.status:8s} {finding.what:18s} {finding.value}", flush=True)
            if finding.remedy is not None:
                print(f"{'':27s} -> {finding.remedy}", flush=True)
    missing = [finding.what for finding in findings if finding.status == "missing"]
    if as_json:
        report = {"works": not missing, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(report, indent=2))
    else:
        print(f"training lacks: {', '.join(missing)}" if missing else "training works here")
    return 1 if missing else 0

"""What is on this machine: packages, processor, memory, NVIDIA cards, and what Warp sees of them.

Facts, no opinions. At the top only the standard library is imported: on a fresh machine the rest is
not there yet.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

PROJECT = "wildrobot-torch"
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

_WARP = """
import json, mujoco_warp, warp as wp
wp.init()
cards = wp.get_cuda_devices()
print(json.dumps({
    "devices": [f"{d.alias} {d.name}" if d.is_cuda else str(d.alias) for d in wp.get_devices()],
    "toolkit": wp.get_cuda_toolkit_version(),
    "driver": wp.get_cuda_driver_version(),
    "conditional_graphs": wp.is_conditional_graph_supported(),
    "pools": {str(d.alias): [wp.is_mempool_supported(d), wp.is_mempool_enabled(d)] for d in cards},
    "cache": str(wp.config.kernel_cache_dir),
}))
"""


def version(package: str) -> str | None:
    """Version of an installed package; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def python_range() -> str:
    """Versions of Python the project supports: `>=` and one version."""
    if version(PROJECT) is not None:
        return metadata.metadata(PROJECT)["Requires-Python"]
    # Not by tomllib: a Python that is too old has none.
    return re.findall(r'requires-python = "(.*)"', PYPROJECT.read_text(encoding="utf-8"))[0]


def package_ranges() -> dict[str, str]:
    """Ranges of versions the project supports, by package.

    From the installed project's metadata, or from the file these are made of; what they leave to
    mujoco-warp, from mujoco-warp's. Empty without `packaging`, which comes with the other packages.
    """
    if version("packaging") is None:
        return {}
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    if version(PROJECT) is not None:
        lines = metadata.requires(PROJECT) or []
    else:
        import tomllib

        table = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
        lines = [*table["dependencies"], *chain(*table["optional-dependencies"].values())]
    ranges: dict[str, SpecifierSet] = {}
    for requirement in map(Requirement, lines):
        known = ranges.get(requirement.name, SpecifierSet())
        ranges[requirement.name] = known & requirement.specifier
    if version("mujoco-warp") is not None:
        for requirement in map(Requirement, metadata.requires("mujoco-warp") or []):
            ranges.setdefault(requirement.name, requirement.specifier)
    return {name: str(specifier) for name, specifier in ranges.items()}


def processor() -> str:
    """Model name of the processor."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return named[1].strip() if named else platform.processor() or platform.machine()


def logical_cores() -> int:
    """Number of logical cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Memory this process may use [bytes]."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text().strip() if limit.exists() else "max"
    return min(whole, int(allowed)) if allowed.isdigit() else whole


def nvidia() -> tuple[str, str]:
    """Driver and cards of NVIDIA, or else what is wrong with them; both empty without a card."""
    program, module = shutil.which("nvidia-smi"), Path("/proc/driver/nvidia/version")
    if program is not None:
        query = [program, "--query-gpu=driver_version,name,memory.total", "--format=csv,noheader"]
        try:
            done = subprocess.run(query, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            return "", f"nvidia-smi fails: {last_line(str(error))}"
        if done.returncode == 0 and done.stdout.strip():
            return driver_and_cards(done.stdout), ""
        return "", f"nvidia-smi fails: {last_line(done.stderr or done.stdout)}"
    if module.exists():
        return f"{module.read_text().splitlines()[0]}; no nvidia-smi to ask for the cards", ""
    for device in Path("/sys/bus/pci/devices").glob("*"):
        maker, kind = ((device / name).read_text() for name in ("vendor", "class"))
        if maker.strip() == "0x10de" and kind.startswith("0x03"):  # NVIDIA; display controller
            return "", "a card without a driver"
    return "", ""


def driver_and_cards(listing: str) -> str:
    """One line from those of nvidia-smi, `driver, name, memory`."""
    rows = [[cell.strip() for cell in line.split(",")] for line in listing.strip().splitlines()]
    return f"driver {rows[0][0]}; " + ", ".join(f"{name} ({size})" for _, name, size in rows)


def warp() -> dict[str, Any]:
    """Warp's devices, CUDA versions, memory pools (supported, on) and folder of kernels.

    Raises:
        RuntimeError: Warp or MuJoCo Warp cannot be imported or started.
    """
    return json.loads(run_python(_WARP, timeout_s=300.0).splitlines()[-1])


def run_python(script: str, timeout_s: float, **variables: str | None) -> str:
    """What `script` prints in a process of its own, where drivers may crash or hang.

    Args:
        script: Python.
        timeout_s: time it may take.
        variables: changes to its environment; None for a variable it shall not see.

    Raises:
        RuntimeError: it failed; the message is the last line of what it says.
    """
    environment = {key: text for key, text in {**os.environ, **variables}.items() if text}
    run = [sys.executable, "-c", script]
    try:
        done = subprocess.run(
            run, env=environment, capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {timeout_s:.0f} s") from None
    if done.returncode != 0:
        raise RuntimeError(last_line(done.stderr) or f"ends with code {done.returncode}")
    return done.stdout


def why_it_fails(script: str, timeout_s: float, **variables: str | None) -> str | None:
    """What keeps `run_python` from running `script`; None where nothing does."""
    try:
        run_python(script, timeout_s, **variables)
    except RuntimeError as error:
        return str(error)
    return None


def folder_size(folder: Path) -> int:
    """Size of all files below `folder` [bytes]; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def last_line(text: str) -> str:
    """The last line of a program's output that says something, of at most 100 characters."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return lines[-1][:100] if lines else ""

"""What `tools/benchmark.py` writes: results from times, where they were measured, and tables."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from pathlib import Path
from typing import Any

import torch

from envs.physics.native import physical_cores
from wildrobot_torch.cli.inventory import nvidia, processor, version

MEASURED = {
    "physics": "the engine's own step, `PhysicsBackend.step`: decimation and sensors, no pushes",
    "environment": "`LocomotionEnv.step_and_maybe_reset` with random actions",
    "collection": "TorchRL collector with the policy",
    "training": "collection and update",
}
"""What is timed, from the inside out."""

PACKAGES = ("mujoco", "mujoco-warp", "warp-lang", "torch", "torchrl")


def results(
    seconds: dict[str, list[float]], num_envs: int, num_steps: int
) -> dict[str, dict[str, float]]:
    """Of each measured thing, from the times [s] of its rounds: medians over the rounds.

    `ratio` compares a thing with physics in the same round.
    """
    return {
        name: {
            "ms_per_step": 1e3 * statistics.median(times) / num_steps,
            "env_steps_per_s": num_envs * num_steps / statistics.median(times),
            "ratio": statistics.median(
                physics / time for physics, time in zip(seconds["physics"], times, strict=True)
            ),
        }
        for name, times in seconds.items()
    }


def surroundings(engine: str) -> dict[str, Any]:
    """Device an engine computes on, machine, versions and commit; what cannot be told is None."""
    on_gpu = engine == "warp"
    threads = f"{physical_cores()} physics threads, " if engine == "native" else ""
    cpu = processor()
    return {
        "device": torch.cuda.get_device_name() if on_gpu else cpu,
        "nvidia": (nvidia()[0] or None) if on_gpu else None,
        "machine": f"{cpu}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{threads}{torch.get_num_threads()} torch threads",
        "versions": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _output(*command: str) -> str | None:
    """What a command prints, in this source's folder; None where it fails or is not there."""
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _commit() -> str | None:
    """Commit of this source, marked where files differ from it."""
    commit = _output("git", "rev-parse", "--short", "HEAD")
    if not commit:
        return None
    return f"{commit}, changed" if _output("git", "status", "--porcelain") else commit


def markdown(report: dict[str, Any]) -> str:
    """Tables of the results, with what they were measured on above them."""
    prior = "with" if report["motion_prior"] else "without"
    versions = ", ".join(f"{name} {v}" for name, v in report["versions"].items() if v)
    cards = f" ({report['nvidia']})" if report["nvidia"] else ""
    commit = f", commit {report['commit']}" if report["commit"] else ""
    lines = [
        f"Physics `{report['physics']}` on {report['device']}{cards}. {report['steps']} steps, "
        f"median of {report['rounds']} interleaved rounds; update {prior} motion prior.",
        f"{report['date']}{commit}; {report['machine']}; {versions}.",
    ]
    start = report["start_up"]
    if start is not None:
        lines.append(
            f"From the environment's construction to the end of its first step, "
            f"{start['envs']:,} robots: {start['cold_s']:.1f} s with an empty kernel cache, "
            f"{start['cached_s']:.1f} s with a filled one."
        )
    if report["blocks"][1:]:
        lines += ["", *_overview(report["blocks"])]
    for block in report["blocks"]:
        lines += ["", *_table(block)]
    if report["does_not_fit"] is not None:
        lines += ["", f"No more robots: {report['does_not_fit']}"]
    return "\n".join(lines)


def _overview(blocks: list[dict[str, Any]]) -> list[str]:
    """One row per number of robots: env steps/s, and in brackets the share of physics'."""
    lines = [
        "Environment steps/s, in brackets as a share of physics':",
        "",
        f"| robots | {' | '.join(MEASURED)} |",
        "|---|" + "---|" * len(MEASURED),
    ]
    for block in blocks:
        cells = [
            f"{row['env_steps_per_s']:,.0f} ({row['ratio']:.0%})"
            for row in block["results"].values()
        ]
        lines.append(f"| {block['envs']:,} | {' | '.join(cells)} |")
    return lines


def _table(block: dict[str, Any]) -> list[str]:
    """Heading and table of one number of robots."""
    free = "unknown" if block["cores_free"] is None else block["cores_free"]
    lines = [
        f"**{block['envs']:,} robots**; memory of the training: {_memory(block['memory_mib'])}; "
        f"{free} cores free of other work meanwhile.",
        "",
        "| | ms per step of all robots | env steps/s | of physics |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name}: {MEASURED[name]} | {row['ms_per_step']:.1f} | {row['env_steps_per_s']:,.0f} "
        f"| {row['ratio']:.0%} |"
        for name, row in block["results"].items()
    ]
    return lines


def _memory(mib: dict[str, float | None]) -> str:
    host = "unknown" if mib["host"] is None else f"{mib['host']:,.0f} MiB"
    if "device" not in mib:
        return host
    return (
        f"{host} of the host, {mib['device']:,.0f} MiB of the device (peaks: torch "
        f"{mib['torch']:,.0f}, Warp {mib['warp']:,.0f})"
    )

"""Speed of physics, environment, collection and training: `python tools/benchmark.py`.

Each number of robots is measured in a process of its own, so that its memory is its own. Exit code
0; 1 when there is no result to trust, because a capacity of the engine overflowed or memory ran
out; 2 for bad input.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
# Behind the root comes this folder, for the processes that run the measurements.
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from benchmark_report import markdown, surroundings
from benchmark_speed import DoesNotFit, measure, start_up

from envs.physics.base import PhysicsError
from envs.physics.engines import ENGINE_NAMES, resolve_engine

SWEEP = (1, 4, 16, 64, 256, 1024, 4096, 16384, 32768)
"""Numbers of robots of `--envs sweep`; it ends early where memory does."""

Result = TypeVar("Result")


def in_own_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """What the function returns or raises, run in a new process.

    Raises:
        DoesNotFit: the process was killed, as systems do when memory runs out.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise DoesNotFit(
                "a process of the measurement ended early; unless it says why above, memory ran "
                "out: use fewer robots (--envs)"
            ) from None


def benchmark(options: argparse.Namespace) -> dict[str, Any]:
    """Results for each number of robots, and what they were measured on.

    Raises:
        ValueError: bad input.
        PhysicsError: a capacity of the engine was too small, or its driver is too old.
        DoesNotFit: memory ran out, at other numbers than those of a sweep.
    """
    engine = resolve_engine(options.physics)
    if options.compile and engine == "native":
        raise ValueError("--compile times Warp's kernels; physics native has none")
    counts = SWEEP if options.envs == "sweep" else numbers(options.envs)
    report: dict[str, Any] = {
        "date": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "physics": engine,
        "steps": options.steps,
        "rounds": options.rounds,
        "motion_prior": options.reference is not None,
        "start_up": None,
        "does_not_fit": None,
        "blocks": [],
    }
    if options.compile:
        report["start_up"] = start_ups(engine, counts[0])
    for num_envs in counts:
        try:
            report["blocks"].append(in_own_process(measure, options, num_envs))
        except DoesNotFit as error:
            if options.envs != "sweep" or not report["blocks"]:
                raise
            report["does_not_fit"] = str(error)
            break
    return report | surroundings(engine)


def start_ups(engine: str, num_envs: int) -> dict[str, float]:
    """Times [s] to an environment's first step: with an empty kernel cache and a filled one."""
    with tempfile.TemporaryDirectory() as folder:
        cold, cached = (in_own_process(start_up, engine, num_envs, folder) for _ in range(2))
    return {"envs": num_envs, "cold_s": cold, "cached_s": cached}


def numbers(text: str) -> list[int]:
    """Numbers of robots, as in "64,1024".

    Raises:
        ValueError: not such a list, or a number that is not positive.
    """
    try:
        counts = [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--envs is {text!r}; give numbers of robots, as in 1024 or 64,1024, or sweep"
        ) from None
    if min(counts) < 1:
        raise ValueError(f"--envs is {text}; numbers of robots must be positive")
    return counts


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="benchmark", description="Time physics, environment, collection and training."
    )
    parser.add_argument(
        "--physics", default="native", help=f"engine: {', '.join(ENGINE_NAMES)} (default: native)"
    )
    parser.add_argument(
        "--envs",
        default="1024",
        help=f"robots, several numbers as in 64,1024, or sweep: {SWEEP[0]} to {SWEEP[-1]}, as "
        "many as memory holds (default: 1024)",
    )
    parser.add_argument("--steps", type=int, default=24, help="steps per round (default: 24)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--reference", help="reference file, to train with the motion prior")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="time the start of a Warp engine too, with an empty kernel cache (about half a "
        "minute) and with a filled one",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/benchmark.json"),
        help="file to write; the tables go beside it (default: runs/benchmark.json)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the tool; nothing is written unless it is 0."""
    options = parser().parse_args(arguments)
    try:
        for name in ("steps", "rounds"):
            if getattr(options, name) < 1:
                raise ValueError(f"--{name} is {getattr(options, name)}; it must be positive")
        if options.out.suffix != ".json":
            raise ValueError(f"--out is {options.out}; results are written as .json")
        report = benchmark(options)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n")
        options.out.with_suffix(".md").write_text(markdown(report) + "\n")
    except (DoesNotFit, PhysicsError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, ValueError | OSError) else 1
    print(markdown(report))
    print(f"\nwrote {options.out} and {options.out.with_suffix('.md')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

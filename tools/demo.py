"""From nothing to a walking policy: `python tools/demo.py`.

What it does not know goes to the training, for example `--trainer.max_time 00:00:02:00`.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CMU = ROOT / "../shared/motions/cmu"
"""Human walking, used beside the built-in clips where it is."""


@dataclass(frozen=True)
class Stage:
    """One command of the demo; the arguments are made when those before it have run."""

    name: str
    arguments: Callable[[], list[str]]


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="demo",
        description="Reference motion, training, evaluation, export, film.",
        epilog="Other options go to the training; `wildrobot fit --help` lists them.",
    )
    parser.add_argument(
        "--out", type=Path, help="folder to write, new or empty (default: runs/demo/DATE)"
    )
    parser.add_argument(
        "--physics",
        default="native",
        help="engine: native, warp, warp-cpu or auto (default: native)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all stages have run, otherwise the exit code of the one that failed."""
    options, training = parser().parse_known_args(arguments)
    date = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    out: Path = (options.out or Path("runs/demo") / date).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        print(f"error: {out} is there already; give a new folder with --out", file=sys.stderr)
        return 2
    timings: list[tuple[str, float]] = []
    for number, stage in enumerate(stages(out, options.physics, training), start=1):
        command = stage.arguments()
        print(f"\n[{number}/5] {stage.name}\n$ python {shlex.join(command)}", flush=True)
        begin = time.perf_counter()
        code = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
        timings.append((stage.name, time.perf_counter() - begin))
        if code:
            print(f"error: the demo ends at {stage.name!r}, exit code {code}", file=sys.stderr)
            return code if code > 0 else 1
    print("\n" + summary(out, timings))
    return 0


def stages(out: Path, physics: str, training: Sequence[str]) -> list[Stage]:
    """The five commands, writing below `out`, on an engine; `training` is added to the second."""
    engine = ["--physics", physics]
    reference, policy = out / "reference.npz", out / "policy.onnx"
    clips = ["--clips", "builtin", *([str(CMU.resolve())] if CMU.is_dir() else [])]
    few = ["--pictures=4"]  # the demo is not to take long
    overlays = [f"configs/{name}.yaml" for name in ("walking_amp", "laptop", "demo")]
    return [
        Stage(
            "reference motion",
            lambda: ["tools/make_reference.py", *engine, *clips, *few, "--out", str(reference)],
        ),
        Stage(
            "training",
            lambda: [
                *("-m", "wildrobot_torch", "fit"),
                *(word for overlay in overlays for word in ("--config", overlay)),
                *("--data.physics", physics, "--data.reference", str(reference)),
                *("--run.folder", str(out), "--run.name", "training"),
                *training,
            ],
        ),
        Stage(
            "evaluation",
            lambda: [
                *("tools/evaluate.py", str(best_checkpoint(out)), *engine),
                *("--out", str(out / "evaluation")),
            ],
        ),
        Stage(
            "export",
            lambda: ["tools/export_onnx.py", str(best_checkpoint(out)), "--out", str(policy)],
        ),
        Stage(
            "film",
            lambda: ["tools/play.py", str(policy), *engine, "--out", str(out / "walking.gif")],
        ),
    ]


def best_checkpoint(out: Path) -> Path:
    """Checkpoint of the training's best evaluation."""
    (found,) = out.glob("training/*/checkpoints/best-*.ckpt")
    return found


def summary(out: Path, timings: Sequence[tuple[str, float]]) -> str:
    """Closing lines: the time each stage took, and where its results lie."""
    results = {
        "reference": out / "reference" / "report.md",
        "report": out / "evaluation" / "report.md",
        "film": out / "walking.gif",
        "policy": out / "policy.onnx",
        "checkpoint": best_checkpoint(out),
    }
    lines = [f"{name:<18}{_clock(seconds):>6}" for name, seconds in timings]
    lines.append(f"{'all':<18}{_clock(sum(seconds for _, seconds in timings)):>6}")
    lines += ["", *(f"{name:<12}{_short(path)}" for name, path in results.items())]
    lines += ["", f"watch it: python tools/play.py {_short(results['policy'])} --velocity 0.4"]
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _short(path: Path) -> Path:
    """The path as one types it in the repository."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())

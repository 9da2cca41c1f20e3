"""Time to WALK: trainings of several seeds until they pass WALK, the scenario `walking`.

A training is evaluated in WALK every so many iterations and ends at the first evaluation that keeps
to all limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildrobot_torch.evaluation import Scenario
from wildrobot_torch.evaluation.report import plain, table
from wildrobot_torch.study import TrainingBroken
from wildrobot_torch.study.tables import spread
from wildrobot_torch.study.training import load_history, train, write_json


@dataclass(frozen=True)
class SeedRun:
    """The training of one seed, in a folder of its own."""

    folder: Path
    seed: int
    options: Sequence[str]
    """Of `fit`: the recipe."""
    walk: Scenario
    """What counts as walking."""
    every: int
    """Iterations between two evaluations."""
    env_steps: int
    """Environment steps after which the training ends without WALK."""

    def run(self) -> None:
        """Train what is left to train.

        Raises:
            StudyError: the recipe is bad.
            TrainingBroken: the training was cut short.
        """
        if self.result()["finished"]:
            return
        options = [
            *self.options,
            *("--seed", str(self.seed), "--trainer.max_time", "null"),
            *("--data.evaluation", self.walk.name),
            *("--data.iterations_per_epoch", str(self.every)),
            *("--run.stop_when_passed", "true"),
        ]
        train(self.folder / "parts", options, self.env_steps)
        if not self.result()["finished"]:
            raise TrainingBroken(f"seed {self.seed}: the training ended too early")

    def result(self) -> dict[str, Any]:
        """The result so far, by name.

        `finished` says whether nothing is left to do. Steps to WALK and training time to WALK [s]
        are infinite where it was not reached; `wall_s` includes start-ups and evaluations.
        """
        history = load_history(self.folder / "parts")
        walked = history.first_pass(self.walk.limits)
        ended = bool(history.failure) or history.env_steps >= self.env_steps
        return {
            "seed": self.seed,
            "finished": walked is not None or ended,
            "walk_steps": math.inf if walked is None else walked.env_steps,
            "walk_s": math.inf if walked is None else walked.training_s,
            "env_steps": history.env_steps,
            "training_s": history.training_s,
            "wall_s": sum(part.wall_s for part in history.parts),
            "failure": history.failure,
        }


def write_walking_report(runs: Sequence[SeedRun], folder: Path, command: str) -> str:
    """Write report.md and report.json of the seeds' trainings into a folder; the verdict."""
    results, walk = [run.result() for run in runs], runs[0].walk
    write_json(folder / "report.json", {"command": command, "seeds": plain(results)})
    found = verdict(results)
    head = ("seed", "training time to WALK", "env steps", "training in all", "wall time", "failure")
    rows = [
        (r["seed"], *((clock(r["walk_s"]), millions(r["walk_steps"])) if r["finished"] else "--"),
         f"{clock(r['training_s'])}, {millions(r['env_steps'])}", clock(r["wall_s"]), r["failure"])
        for r in results
    ]  # fmt: skip
    lines = [
        "# Time to WALK",
        f"\n    {command}\n",
        f"WALK: {walk.episodes} deterministic episodes of {walk.seconds:g} s at "
        f"{', '.join(f'{speed:g}' for speed in walk.commands)} m/s: "
        f"{', '.join(f'{name} {limit}' for name, limit in walk.limits.items())}. It is evaluated "
        f"every {runs[0].every} iterations. Training time is Perf/collection_time + "
        "Perf/learning_time; start-ups, checkpoints and evaluations are not part of it.",
        f"\n**{found}**\n",
        *table(head, rows),
    ]
    (folder / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return found


def verdict(results: Sequence[dict[str, Any]]) -> str:
    """How many seeds walk, and after how long; a seed that never passes took the longest."""
    done = [result for result in results if result["finished"]]
    left = len(results) - len(done)
    missing = f"; {left} of {len(results)} seeds are missing" if left else ""
    if not done:
        return f"no seed is finished{missing}"
    walked = sum(math.isfinite(result["walk_s"]) for result in done)
    times = spread([result["walk_s"] for result in done], clock)
    steps = spread([result["walk_steps"] for result in done], millions)
    return (
        f"{walked} of {len(done)} seeds reach WALK; median {times} of training, {steps} "
        f"environment steps{missing}"
    )


def clock(seconds: float) -> str:
    """Time as minutes and seconds; `never` where it is infinite."""
    if math.isinf(seconds):
        return "never"
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def millions(steps: float) -> str:
    """Steps in millions; `never` where they are infinite."""
    return "never" if math.isinf(steps) else f"{steps / 1e6:.2f} M"

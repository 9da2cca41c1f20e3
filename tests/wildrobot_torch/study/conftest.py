"""Trainings as their files describe them, written by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from wildrobot_torch.study.training import Part

NAMES = ("fall_rate", "velocity_error")


@pytest.fixture
def write_part(tmp_path: Path) -> Callable[..., Part]:
    """Writes a part of a training into tmp_path/parts.

    Each iteration is (steps, collection time, learning time); each evaluation is (steps, fall rate,
    velocity error), in a row of its own.
    """

    def write(
        iterations: Sequence[tuple[int, float, float]],
        evaluations: Sequence[tuple[int, float, float]] = (),
        code: int | None = 0,
        error: str = "",
    ) -> Part:
        folder = tmp_path / "parts" / f"part_{len(list(tmp_path.glob('parts/*'))):03d}"
        run = folder / "2026-01-01_00-00-00"
        run.mkdir(parents=True)
        rows: list[dict[str, float]] = [
            {"Perf/collection_time": collect, "Perf/learning_time": learn, "step": steps}
            for steps, collect, learn in iterations
        ]
        rows += [
            {f"Evaluation/{name}": v for name, v in zip(NAMES, values, strict=True)}
            | {"step": steps}
            for steps, *values in evaluations
        ]
        names = sorted({name for row in rows for name in row})
        with (run / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(sorted(rows, key=lambda row: row["step"]))
        part = Part(folder, code=code, wall_s=10.0, error=error)
        part.save()
        return part

    return write

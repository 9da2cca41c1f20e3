"""Trainings as their files tell them, written by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from wildrobot_torch.study.history import Part

WritePart = Callable[..., Part]
NAMES = ("fall_rate", "velocity_error")


@pytest.fixture
def write_part(tmp_path: Path) -> WritePart:
    """Writes a part of a training.

    Each iteration is (steps, collect seconds, learn seconds); each evaluation is (steps, fall rate,
    velocity error), its row separate from that of the iteration, as the trainings log it.
    """

    def write(
        start: int,
        iterations: Sequence[tuple[int, float, float]],
        evaluations: Sequence[tuple[int, float, float]] = (),
        scenario: str = "short",
        code: int | None = 0,
        style: float | None = None,
    ) -> Part:
        folder = tmp_path / "parts" / f"{len(list(tmp_path.glob('parts/*'))):03d}"
        run = folder / "2026-01-01_00-00-00"
        run.mkdir(parents=True)
        rows: list[tuple[int, dict[str, float]]] = [
            (
                steps,
                {"Perf/collection_time": collect, "Perf/learning_time": learn, "step": steps}
                | ({} if style is None else {"AMP/style_reward": style}),
            )
            for steps, collect, learn in iterations
        ]
        rows += [
            (
                steps,
                {f"Evaluation/{name}": v for name, v in zip(NAMES, values, strict=True)}
                | {"step": steps},
            )
            for steps, *values in evaluations
        ]
        rows.sort(key=lambda row: row[0])
        names = sorted({name for _, row in rows for name in row})
        with (run / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(row for _, row in rows)
        part = Part(folder, start, scenario, stops_when_passed=True, code=code, wall_s=10.0)
        part.save()
        return part

    return write

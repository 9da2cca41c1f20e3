"""The metrics.csv of a training: what each iteration took, and what evaluations found."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from wildrobot_torch.study import StudyError

EVALUATION = "Evaluation/"
SECONDS = ("Perf/collection_time", "Perf/learning_time")
"""What an iteration's time is the sum of: evaluations and checkpoints have no part in it."""


@dataclass(frozen=True)
class LogRow:
    """All that was logged after so many environment steps."""

    env_steps: int
    values: dict[str, float]
    """Metric -> value, of iteration and evaluation alike."""

    @property
    def seconds(self) -> float:
        """Time of the iteration [s]; 0 where the row is of an evaluation alone."""
        return sum(self.values.get(name, 0.0) for name in SECONDS)

    @property
    def evaluation(self) -> dict[str, float] | None:
        """Metrics of the evaluation made then; None where there was none."""
        found = {
            name.removeprefix(EVALUATION): value
            for name, value in self.values.items()
            if name.startswith(EVALUATION)
        }
        return found or None


def read_log(path: Path) -> list[LogRow]:
    """The rows of a metrics.csv by environment steps; none where the file is not there yet.

    Rows of the same steps are one. A last line without its end is one that is being written, and
    left out.

    Raises:
        StudyError: a cell is no number, or there are no environment steps.
    """
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    rows: dict[int, dict[str, float]] = {}
    for number, line in enumerate(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()), 2):
        try:
            values = {name: float(cell) for name, cell in line.items() if name and cell}
            step = int(values.pop("step"))
        except (KeyError, ValueError):
            raise StudyError(f"{path}: line {number} is no row of a training's metrics") from None
        rows.setdefault(step, {}).update(values)
    return [LogRow(step, rows[step]) for step in sorted(rows)]

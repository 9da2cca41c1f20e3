"""Tests of wildrobot_torch/study/walking_report.py."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from wildrobot_torch.evaluation.scenarios import Scenario
from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.study.history import Part
from wildrobot_torch.study.walking import WalkPlan
from wildrobot_torch.study.walking_report import plot_walking, write_walking_report
from wildrobot_torch.study.walking_runner import SeedRun

LIMITS = {"fall_rate": Limit(max=0.02), "velocity_error": Limit(max=0.05)}
WALK = Scenario(name="walk", commands=(0.3,), episodes=4, seconds=9.0, limits=LIMITS)
SHORT = replace(WALK, name="short", limits={"fall_rate": Limit(max=0.05)})
PLAN = WalkPlan(
    walk=WALK, screening=SHORT, every=2, iteration_steps=100, env_steps=400_000, stop=True
)
MACHINE = {"load_1min": 1.5, "cores": 2, "cores_free": 0.5, "gpu": None}


def seed_run(
    folder: Path, seed: int, write_part: Callable[..., Part], walk_s: float, falls: float
) -> SeedRun:
    """A seed whose one part ends after 400,000 steps at an evaluation with that share of falls."""
    part = write_part(
        0,
        [(200_000, walk_s / 2, 0.0), (400_000, walk_s / 2, 0.0)],
        [(200_000, 0.5, 0.04), (400_000, 0.03, 0.04)],
        style=0.4,
    )
    run = SeedRun(folder / f"seed_{seed}", seed, [], PLAN, "native")
    (run.folder / "parts").mkdir(parents=True)
    part.folder.rename(run.folder / "parts/000")
    (run.folder / "walks").mkdir()
    content = {"env_steps": 400_000, "metrics": {"fall_rate": falls, "velocity_error": 0.04}}
    (run.folder / "walks/400000.json").write_text(json.dumps(content))
    (run.folder / "machine.json").write_text(json.dumps({"starts": [MACHINE]}))
    return run


def test_the_page_has_median_range_load_and_method(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    runs = [
        seed_run(tmp_path, 0, write_part, 200.0, 0.0),
        seed_run(tmp_path, 1, write_part, 300.0, 0.0),
        seed_run(tmp_path, 2, write_part, 250.0, 0.25),
    ]
    paths = write_walking_report(runs, [run.result() for run in runs], tmp_path, "python x.py")
    assert [path.name for path in paths] == [
        "seeds.csv", "evaluations.csv", "walking.png", "report.md",
    ]  # fmt: skip
    text = paths[3].read_text()
    # The third seed never walks and counts as longest: the median is the second's time.
    assert (
        "**2 of 3 seeds reach WALK; median 5:00 of training (3:20 to never), 0.40 M environment "
        "steps (0.40 M to -).**" in text
    )
    assert "load 1.50, 0.5 of 2 cores free" in text
    assert "    python x.py" in text and "fall_rate <= 0.02" in text
    assert "| 0 | 0.400 | 0.400 | 0.400 |" in text

    with paths[0].open() as file:
        seeds = list(csv.DictReader(file))
    assert [row["walk_training_s"] for row in seeds] == ["200", "300", ""]
    assert seeds[0]["resolution_s"] == "100" and seeds[0]["cores_free_at_start"] == "0.5"
    with paths[1].open() as file:
        rows = [row for row in csv.DictReader(file) if row["seed"] == "0"]
    assert [(row["scenario"], row["env_steps"], row["passed"]) for row in rows] == [
        ("short", "200000", "False"),
        ("short", "400000", "True"),
        ("walk", "400000", "True"),
    ]
    assert rows[2]["style_reward"] == "0.4"
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_seeds_to_come_are_counted_and_an_empty_picture_can_be_drawn(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    runs = [seed_run(tmp_path, 0, write_part, 200.0, 0.0), SeedRun(tmp_path / "b", 1, [], PLAN, "")]
    paths = write_walking_report(runs, [runs[0].result()], tmp_path, "python x.py")
    assert "1 of 1 seeds reach WALK" in paths[3].read_text()
    assert "1 of 2 seeds are still to come." in paths[3].read_text()
    assert len(plot_walking({}, PLAN).axes) == 3

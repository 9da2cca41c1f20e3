"""Tests of wildrobot_torch/study/training.py."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wildrobot_torch.ppo.policy_file import CHECKPOINT_FORMAT
from wildrobot_torch.study import StudyError, TrainingBroken, training
from wildrobot_torch.study.training import (
    Part,
    last_checkpoint,
    load_history,
    read_log,
    require_free,
    run_part,
    train,
)

HEAD = "Evaluation/fall_rate,Evaluation/alternation,Perf/collection_time,Perf/learning_time,step\n"


def test_time_is_that_of_collection_and_learning(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    write_part([(100, 1.0, 0.5), (200, 2.0, 0.5), (300, 1.0, 1.0)], [(200, 0.5, 0.1)])
    history = load_history(tmp_path / "parts")
    assert [row.training_s for row in history.iterations] == [1.5, 4.0, 6.0]
    (found,) = history.evaluations
    assert (found.env_steps, found.training_s) == (200, 4.0)
    assert found.values == {"fall_rate": 0.5, "velocity_error": 0.1}
    assert (history.env_steps, history.training_s) == (300, 6.0)


def test_work_beyond_the_checkpoint_that_was_resumed_does_not_count(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    write_part(
        [(100, 1.0, 0.0), (200, 1.0, 0.0), (300, 50.0, 0.0)],
        [(200, 0.5, 0.1), (300, 0.4, 0.1)],
        code=None,
    )
    write_part([(300, 2.0, 0.0), (400, 2.0, 0.0)], [(400, 0.0, 0.1)])
    history = load_history(tmp_path / "parts")
    assert [row.env_steps for row in history.iterations] == [100, 200, 300, 400]
    assert [row.env_steps for row in history.evaluations] == [200, 400]
    assert history.training_s == 1.0 + 1.0 + 2.0 + 2.0


def test_a_part_from_nothing_replaces_all_before(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    write_part([(100, 9.0, 0.0)], code=-9)
    write_part([(100, 1.0, 0.0)])
    assert load_history(tmp_path / "parts").training_s == 1.0


def test_the_newest_whole_checkpoint_is_found(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    for steps in (100, 200):
        part = write_part([(steps, 1.0, 0.0)])
        assert part.run is not None
        (part.run / "checkpoints").mkdir()
        path = part.run / "checkpoints/last.ckpt"
        about = {"format": CHECKPOINT_FORMAT, "env_steps": steps}
        torch.save({"wildrobot": about, "state_dict": {}}, path)
    parts = load_history(tmp_path / "parts").parts
    assert last_checkpoint(parts) == path and "part_001" in str(path)
    path.write_bytes(path.read_bytes()[:100])
    assert "part_000" in str(last_checkpoint(parts))
    assert last_checkpoint([]) is None


def test_rows_of_the_same_steps_are_one_and_unfinished_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(HEAD + ",,1.5,0.5,100\n,,2.0,0.25,200\n0.5,nan,,,200\n,,2.0,0.2")
    rows = read_log(path)
    assert list(rows) == [100, 200] and len(rows[100]) == 2
    assert rows[200]["Evaluation/fall_rate"] == 0.5
    assert math.isnan(rows[200]["Evaluation/alternation"])


@pytest.mark.parametrize("words", [["--seed", "3"], ["--seed=3"]])
def test_options_that_a_study_sets_are_refused(words: list[str]) -> None:
    require_free(["--model.ppo.gamma", "0.9"])
    with pytest.raises(StudyError, match="set by this tool; use seeds of the study, or --seeds"):
        require_free(words)


def test_a_part_keeps_code_time_and_last_error(tmp_path: Path) -> None:
    program = "import sys; print('error: one'); print('error: the loss is nan'); sys.exit(1)"
    done = run_part(tmp_path / "parts/000", [sys.executable, "-c", program])
    assert (done.code, done.error) == (1, "the loss is nan") and done.wall_s > 0.0
    history = load_history(tmp_path / "parts")
    assert history.parts == [done] and history.failure == "the loss is nan"


def test_a_training_that_ignores_an_interrupt_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "PATIENCE_S", 0.2)
    ready = tmp_path / "ready"
    program = (
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "open(sys.argv[1], 'w').close(); time.sleep(60)"
    )

    def interrupt() -> None:
        while not ready.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = set(_children())
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_part(tmp_path / "000", [sys.executable, "-c", program, str(ready)])
    assert not Path("/proc/self/task").exists() or set(_children()) <= before


def test_a_training_that_is_to_stop_early_is_interrupted_and_not_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "LOOK_S", 0.05)
    program = (
        "import pathlib, signal, sys, time; "
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(130)); "
        "run = pathlib.Path(sys.argv[-3], sys.argv[-1], 'date'); run.mkdir(); "
        "(run / 'metrics.csv').write_text('Evaluation/score,step\\n0.5,100\\n'); time.sleep(300)"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    history = train(tmp_path, [], 400, lambda found: bool(found.evaluations), command)
    assert [part.code for part in history.parts] == [130]
    assert [row.values["score"] for row in history.evaluations] == [0.5]


def _children() -> list[str]:
    """Processes that this one has not waited for."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


def test_settings_that_are_refused_leave_no_part(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="scenario 'nowhere' is unknown"):
        train(tmp_path / "parts", ["--data.evaluation", "nowhere"], 100)
    assert load_history(tmp_path / "parts").parts == []


def test_only_a_failure_in_one_line_is_a_result(write_part: Callable[..., Part]) -> None:
    # A killed training, one that was interrupted, and one whose defect left a traceback.
    for code, error in ((-9, ""), (130, ""), (1, "")):
        folder = write_part([(500, 1.0, 1.0)], code=code, error=error).folder
        assert load_history(folder.parent).failure == ""
    folder = write_part([(500, 1.0, 1.0)], code=1, error="the loss is nan").folder
    assert load_history(folder.parent).failure == "the loss is nan"


def test_a_broken_training_is_no_bad_input() -> None:
    assert not issubclass(TrainingBroken, StudyError)

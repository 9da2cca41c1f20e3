"""Tests of wildrobot_torch/study/history.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wildrobot_torch.ppo.policy_file import CHECKPOINT_FORMAT
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.history import Part, last_checkpoint, load_history, load_parts


def test_time_is_that_of_rollouts_and_updates(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    write_part(0, [(100, 1.0, 0.5), (200, 2.0, 0.5), (300, 1.0, 1.0)], [(200, 0.5, 0.1)])
    history = load_history(tmp_path / "parts")
    assert [it.training_s for it in history.iterations] == [1.5, 4.0, 6.0]
    (found,) = history.evaluations
    assert (found.env_steps, found.training_s, found.scenario) == (200, 4.0, "short")
    assert found.metrics == {"fall_rate": 0.5, "velocity_error": 0.1}
    assert (history.env_steps, history.training_s, history.wall_s) == (300, 6.0, 10.0)


def test_what_was_done_beyond_the_checkpoint_gone_on_from_does_not_count(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    write_part(
        0,
        [(100, 1.0, 0.0), (200, 1.0, 0.0), (300, 50.0, 0.0)],
        [(200, 0.5, 0.1), (300, 0.4, 0.1)],
        code=None,
    )
    write_part(200, [(300, 2.0, 0.0), (400, 2.0, 0.0)], [(400, 0.0, 0.1)])
    history = load_history(tmp_path / "parts")
    assert [it.env_steps for it in history.iterations] == [100, 200, 300, 400]
    assert [found.env_steps for found in history.evaluations] == [200, 400]
    assert history.training_s == 1.0 + 1.0 + 2.0 + 2.0
    assert [history.seconds_at(steps) for steps in (0, 250, 400)] == [0.0, 2.0, 6.0]
    assert not history.interrupted


def test_a_part_that_started_anew_takes_the_place_of_all_before(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    write_part(0, [(100, 9.0, 0.0)], code=-9)
    assert load_history(tmp_path / "parts").interrupted
    write_part(0, [(100, 1.0, 0.0)])
    assert load_history(tmp_path / "parts").training_s == 1.0


def test_the_newest_checkpoint_that_is_whole_is_found(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    for number, steps in enumerate((100, 200)):
        part = write_part(0, [(steps, 1.0, 0.0)])
        assert part.run is not None
        (part.run / "checkpoints").mkdir()
        path = part.run / "checkpoints/last.ckpt"
        about = {"format": CHECKPOINT_FORMAT, "env_steps": steps}
        torch.save({"wildrobot": about, "state_dict": {}}, path)
        found = last_checkpoint(load_parts(tmp_path / "parts"))
        assert found == (path, steps), number
    path.write_bytes(path.read_bytes()[:100])
    found = last_checkpoint(load_parts(tmp_path / "parts"))
    assert found is not None and found[1] == 100
    assert last_checkpoint([]) is None


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "000").mkdir()
    (tmp_path / "000/part.json").write_text('{"start": 3, "end": 4}')
    with pytest.raises(StudyError, match=r"part\.json: not the file of a part"):
        load_history(tmp_path)
    (tmp_path / "000/part.json").write_text("[")
    with pytest.raises(StudyError, match="not readable"):
        load_history(tmp_path)

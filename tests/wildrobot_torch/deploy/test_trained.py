"""Tests of deploy/trained.py: what is known of a training, from the checkpoint and its run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from envs.config import TRAINED_SETTINGS, trained_settings
from envs.errors import UserError
from tests.wildrobot_torch.deploy.conftest import robot_task
from wildrobot_torch.deploy.trained import training_of
from wildrobot_torch.ppo.policy_file import read_checkpoint


def run_of(folder: Path, checkpoint: Path, env: dict[str, Any]) -> Path:
    """A run's folder around a checkpoint that does not say what it was trained with."""
    path = folder / "walking" / "2026-08-17_10-15-00" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    content = torch.load(checkpoint, weights_only=True)
    for name in ("trained_task", "seed"):
        content["wildrobot"].pop(name)
    torch.save(content, path)
    model = {"warm_start": "/somewhere/else/FIRST.ckpt"}
    settings = {"seed": 3, "data": {"env": env}, "model": model}
    run = path.parents[1]
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    (run / "command.txt").write_text("wildrobot fit --config a/walking_robot.yaml --config=gpu\n")
    about = {"commit": "abc", "packages": {"wildrobot-torch": "0.2.9"}}
    (run / "environment.json").write_text(json.dumps(about))
    return path


def plain() -> dict[str, Any]:
    return json.loads(json.dumps(trained_settings(robot_task())))


def test_the_checkpoint_says_it_alone(standing_checkpoint: Path, tmp_path: Path) -> None:
    alone = shutil.copy(standing_checkpoint, tmp_path / "alone.ckpt")
    found = training_of(read_checkpoint(alone))
    assert found.task is not None and found.task.push.impulse_max == 0.1
    assert found.provenance["seed"] == 7 and found.provenance["checkpoint"] == "alone.ckpt"
    assert "recipe" not in found.provenance and len(found.provenance["checkpoint_sha256"]) == 64


def test_an_older_checkpoint_is_known_by_its_run(standing_checkpoint: Path, tmp_path: Path) -> None:
    path = run_of(tmp_path, standing_checkpoint, plain())
    found = training_of(read_checkpoint(path))
    assert found.task is not None
    assert all(
        getattr(found.task, name) == getattr(robot_task(), name) for name in TRAINED_SETTINGS
    )
    expected = {
        "seed": 3, "warm_start": "FIRST.ckpt", "recipe": ["walking_robot", "gpu"],
        "training_began": "2026-08-17T10:15:00", "training_commit": "abc",
        "training_version": "0.2.9",
    }  # fmt: skip
    assert {name: found.provenance[name] for name in expected} == expected
    assert "/" not in json.dumps({k: v for k, v in found.provenance.items()})  # no folder's name


def test_without_a_run_nothing_is_made_up(standing_checkpoint: Path, tmp_path: Path) -> None:
    path = run_of(tmp_path, standing_checkpoint, plain())
    alone = shutil.copy(path, tmp_path / "alone.ckpt")
    found = training_of(read_checkpoint(alone))
    assert found.task is None and not {"seed", "recipe", "training_began"} & set(found.provenance)


def test_a_run_of_another_task_is_refused(standing_checkpoint: Path, tmp_path: Path) -> None:
    env = plain()
    env["command"]["velocity_max"] = 0.9
    path = run_of(tmp_path, standing_checkpoint, env)
    with pytest.raises(UserError, match="another command than the checkpoint"):
        training_of(read_checkpoint(path))


def test_settings_that_do_not_describe_the_robots_may_have_other_names(
    standing_checkpoint: Path, tmp_path: Path
) -> None:
    env = {**plain(), "reward": {"weights": {"a_term_of_an_earlier_version": 1.0}}}
    path = run_of(tmp_path, standing_checkpoint, env)
    assert training_of(read_checkpoint(path)).task is not None

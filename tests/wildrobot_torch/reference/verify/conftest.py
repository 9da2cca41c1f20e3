"""A small good dataset, and ways to spoil it as a faulty pipeline would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from envs.robot.model import RobotModel, load_robot
from wildrobot_torch.motion.augment import VariantConfig
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.generate import ReferenceConfig, builtin_clips, generate
from wildrobot_torch.reference.judge.gates import load_gates
from wildrobot_torch.reference.verify.subject import Subject, forward

UNVARIED = VariantConfig(mirror=False, align=False)

GATES = load_gates(Path(__file__).parents[4] / "configs" / "gates.yaml")

Spoil = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""States (N, nq), (N, nv) to faulty ones."""


@pytest.fixture(scope="session")
def timed() -> RobotModel:
    """The packaged robot with the task's physics step."""
    return load_robot(sim_dt=0.002)


@pytest.fixture(scope="session")
def good(timed: RobotModel) -> ReferenceDataset:
    """Standing and walking at two speeds in the harness, with the shipped gates and settings."""
    config = ReferenceConfig(speeds=(0.0, 0.15, 0.3), duration_s=2.4, variants=UNVARIED)
    made = generate(builtin_clips(timed.robot, config), timed.robot, GATES, config)
    assert made.dataset is not None
    assert made.dataset.duration_s > 6.0
    return made.dataset


@pytest.fixture(scope="session")
def subject(good: ReferenceDataset, timed: RobotModel) -> Subject:
    """The good dataset under test."""
    return Subject(good, timed)


@pytest.fixture(scope="session")
def spoiled(good: ReferenceDataset, timed: RobotModel) -> Callable[[Spoil], Subject]:
    """The good dataset with other states, and the features of those."""

    def make(spoil: Spoil) -> Subject:
        qpos, qvel = spoil(good.qpos.clone(), good.qvel.clone())
        return Subject(with_states(good, qpos, qvel, timed), timed)

    return make


def with_states(
    dataset: ReferenceDataset, qpos: Tensor, qvel: Tensor, loaded: RobotModel
) -> ReferenceDataset:
    """A dataset of the same segments whose features fit its states, and contacts its forces."""
    amp = forward(qpos, qvel, loaded, 0.02).amp[:, 0]
    contact = dataset.amp_layout.slices["contact"]
    amp[:, contact] = dataset.amp[:, contact]
    return replace(
        dataset,
        amp=amp,
        qpos=qpos,
        qvel=qvel,
        feature_mean=torch.empty(0),
        feature_std=torch.empty(0),
    )

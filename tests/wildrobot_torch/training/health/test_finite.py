"""wildrobot_torch.training.health.finite: a number that is not finite is named."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from wildrobot_torch.training.health.finite import (
    TrainingDiverged,
    require_finite,
    require_finite_weights,
)


def test_a_rollout_with_a_nan_is_refused_by_name():
    batch = TensorDict(
        {
            **{key: torch.zeros(3, 4, 2) for key in ("observation", "critic_observation", "amp")},
            "action": torch.zeros(3, 4, 2),
            "next": TensorDict({"reward": torch.zeros(3, 4, 1)}, batch_size=[3, 4]),
        },
        batch_size=[3, 4],
    )
    require_finite(batch, 7)
    batch["critic_observation"][1, 2, 0] = torch.nan
    with pytest.raises(
        TrainingDiverged,
        match=r"critic_observation is nan in iteration 7 \(environment 1, step 2, column 0\)",
    ):
        require_finite(batch, 7)


def test_networks_that_are_not_finite_are_refused_by_name():
    first = torch.nn.Linear(2, 3)
    module = torch.nn.Sequential(first, torch.nn.BatchNorm1d(3))
    require_finite_weights(module, 4)  # the whole number of batches is no float, and passes
    with torch.no_grad():
        first.bias[1] = -torch.inf
    with pytest.raises(
        TrainingDiverged, match=r"after iteration 4: 0.bias holds -inf \(1 of 3 values\)"
    ):
        require_finite_weights(module, 4)

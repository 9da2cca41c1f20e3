"""wildrobot_torch.ppo.finite: a number that is not finite is named."""

from __future__ import annotations

import pytest
import torch

from wildrobot_torch.ppo.finite import TrainingDiverged, require_finite, require_finite_weights


def test_a_rollout_with_a_nan_is_refused_by_name() -> None:
    rollout = {"observation": torch.zeros(3, 4, 2), "reward": torch.zeros(3, 4)}
    require_finite(rollout, 7)
    rollout["observation"][1, 2, 1] = torch.nan
    where = r"observation is nan in iteration 7 \(environment 1, step 2, column 1\)"
    with pytest.raises(TrainingDiverged, match=where):
        require_finite(rollout, 7)
    rollout["observation"].zero_()
    rollout["reward"][2, 3] = -torch.inf
    with pytest.raises(TrainingDiverged, match=r"reward is -inf .* \(environment 2, step 3"):
        require_finite(rollout, 7)


def test_networks_that_are_not_finite_are_refused_by_name() -> None:
    first = torch.nn.Linear(2, 3)
    module = torch.nn.Sequential(first, torch.nn.BatchNorm1d(3))
    require_finite_weights(module, 4)  # the whole number of batches is no float, and passes
    with torch.no_grad():
        first.bias[1] = -torch.inf
    with pytest.raises(
        TrainingDiverged, match=r"after iteration 4: 0.bias holds -inf \(1 of 3 values\)"
    ):
        require_finite_weights(module, 4)

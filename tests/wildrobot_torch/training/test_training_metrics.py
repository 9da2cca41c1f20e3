"""wildrobot_torch.training.metrics: means by hand."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from envs.task.terminations import ENDS
from wildrobot_torch.training.metrics import EpisodeMeans, step_metrics


def _rollout(done: list[list[int]], fallen: list[list[int]]) -> TensorDict:
    """Two robots, two steps; returns are 1 to 4, lengths 10 to 40."""
    size = [2, 2]
    count = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[..., None]
    following = TensorDict(
        {
            "reward": 0.5 * count,
            "done": torch.tensor(done).bool()[..., None],
            "terminated": torch.tensor(fallen).bool()[..., None],
            "terms": TensorDict({"forward": count}, batch_size=size),
            "metrics": TensorDict(
                {
                    "episode_return": count,
                    "episode_length": 10.0 * count,
                    "velocity_error": 0.1 * count,
                    **{f"end_{cause}": torch.zeros(2, 2, 1) for cause in ENDS},
                    "end_roll": torch.tensor(fallen).float()[..., None],
                },
                batch_size=size,
            ),
        },
        batch_size=size,
    )
    return TensorDict({"next": following}, batch_size=size)


def test_step_metrics_are_means_over_all_steps():
    metrics = step_metrics(_rollout([[0, 0], [0, 0]], [[0, 1], [0, 1]]))
    assert metrics["Reward/forward"] == 2.5
    assert metrics["Reward/total"] == 1.25
    assert metrics["Metrics/velocity_error"] == pytest.approx(0.25)
    assert metrics["Episode/end_roll"] == 2.0
    assert metrics["Episode/end_pitch"] == 0.0


def test_episode_means_are_over_finished_episodes_and_fade():
    means = EpisodeMeans()
    assert means.update(_rollout([[0, 0], [0, 0]], [[0, 0], [0, 0]])) == {}
    # a time-out of return 2 after 20 steps and a fall of return 3 after 30
    first = means.update(_rollout([[0, 1], [1, 0]], [[0, 0], [1, 0]]))
    assert first == {
        "Train/mean_reward": 2.5,
        "Train/mean_episode_length": 25.0,
        "Metrics/fall_rate": 0.5,
    }
    # now a fall of return 4: 0.8 x 2 older episodes beside 1, (0.8 x 5 + 4) / 2.6
    second = means.update(_rollout([[0, 0], [0, 1]], [[0, 0], [0, 1]]))
    assert second["Train/mean_reward"] == pytest.approx(8.0 / 2.6)
    assert second["Metrics/fall_rate"] == pytest.approx(1.8 / 2.6)

"""Metrics of one iteration: rewards and episodes, by their logged names."""

from __future__ import annotations

import torch
from tensordict import TensorDictBase

from envs.task.terminations import ENDS

EPISODE_DECAY = 0.8
"""Share of the past that each iteration keeps in the means over finished episodes."""


def step_metrics(batch: TensorDictBase) -> dict[str, float]:
    """Means over a rollout [E, T] of reward, its terms and velocity error [m/s].

    `Episode/end_<cause>` is the number of episodes that ended by that cause in it.
    """
    following = batch.get("next")
    metrics = following.get("metrics")
    values = {
        **{f"Reward/{name}": x.mean() for name, x in following.get("terms").items()},
        "Reward/total": following.get("reward").mean(),
        "Metrics/velocity_error": metrics.get("velocity_error").mean(),
        **{f"Episode/end_{cause}": metrics.get(f"end_{cause}").sum() for cause in ENDS},
    }
    return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))


class EpisodeMeans:
    """Means over finished episodes, older ones counting less with each rollout.

    A rollout is much shorter than an episode, so its own ended episodes are few, or none.
    """

    def __init__(self) -> None:
        # Decayed sums: number of episodes, falls, returns, lengths [steps].
        self.sums = [0.0, 0.0, 0.0, 0.0]

    def update(self, batch: TensorDictBase) -> dict[str, float]:
        """Add the episodes that end in a rollout [E, T]; the means, none before any has ended."""
        following = batch.get("next")
        done, metrics = following.get("done"), following.get("metrics")
        ended = torch.stack(
            [
                done.sum(),
                following.get("terminated").sum(),
                metrics.get("episode_return")[done].sum(),
                metrics.get("episode_length")[done].sum(),
            ]
        ).tolist()
        self.sums = [EPISODE_DECAY * old + new for old, new in zip(self.sums, ended, strict=True)]
        number, falls, returns, steps = self.sums
        if number == 0.0:
            return {}
        return {
            "Train/mean_reward": returns / number,
            "Train/mean_episode_length": steps / number,
            "Metrics/fall_rate": falls / number,
        }

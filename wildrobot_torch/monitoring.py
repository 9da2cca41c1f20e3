"""Watching rollouts: metrics, and refusal of numbers that are not finite."""

from __future__ import annotations

import torch
from tensordict import TensorDictBase

GUARDED = ("observation", "critic_observation", "amp", "action", ("next", "reward"))
"""Rollout entries that must be finite."""
EPISODE_DECAY = 0.8
"""Share of the past kept per iteration in the means over finished episodes."""


class TrainingDiverged(ArithmeticError):
    """A number that is not finite; the message names tensor and iteration."""


def require_finite(batch: TensorDictBase, iteration: int) -> None:
    """Refuse a rollout [E, T] with a number that is not finite.

    Raises:
        TrainingDiverged: names tensor, iteration, environment, step and column.
    """
    # One answer for all of them: on a GPU each question waits.
    fine = torch.stack([torch.isfinite(batch.get(key)).all() for key in GUARDED]).tolist()
    for key in (key for key, all_finite in zip(GUARDED, fine, strict=True) if not all_finite):
        env, step, column = (~torch.isfinite(batch.get(key))).nonzero()[0].tolist()
        name = key if isinstance(key, str) else " ".join(key)
        value = float(batch.get(key)[env, step, column])
        raise TrainingDiverged(
            f"{name} is {value} in iteration {iteration} (environment {env}, step {step}, "
            f"column {column})"
        )


def step_metrics(batch: TensorDictBase) -> dict[str, float]:
    """Means over a rollout [E, T] of reward, its terms and velocity error [m/s]; failures."""
    following = batch.get("next")
    metrics = following.get("metrics")
    values = {
        **{f"Episode_Reward/{name}": x.mean() for name, x in following.get("terms").items()},
        "Episode_Reward/total": following.get("reward").mean(),
        "Metrics/velocity_error": metrics.get("velocity_error").mean(),
        "Metrics/physics_failures": metrics.get("physics_failure").sum(),
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
            "Metrics/episode_return": returns / number,
            "Metrics/episode_length": steps / number,
            "Metrics/fall_rate": falls / number,
        }

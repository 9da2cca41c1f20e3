"""Metrics of one iteration: rewards, episodes, losses and gradients, by their logged names."""

from __future__ import annotations

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

EPISODE_DECAY = 0.8
"""Share of the past that each iteration keeps in the means over finished episodes."""


def loss_name(name: str) -> str:
    """The metric that a part of the losses is logged as: AMP/ for the discriminator's, or Loss/."""
    disc = {"disc_loss", "adversarial", "penalty", "grad_penalty"}
    return name if "/" in name else f"AMP/{name}" if name in disc else f"Loss/{name}"


def gradient_norms(**modules: nn.Module | None) -> dict[str, Tensor]:
    """Euclidean norm () of each module's gradient as `Gradient/<name>`; none without gradients."""
    norms = {}
    for name, module in modules.items():
        parameters = [] if module is None else module.parameters()
        gradients = [p.grad for p in parameters if p.grad is not None]
        if gradients:
            norms[f"Gradient/{name}"] = nn.utils.get_total_norm(gradients)
    return norms


def step_metrics(batch: TensorDictBase) -> dict[str, float]:
    """Means over a rollout [E, T] of reward, its terms and velocity error [m/s]; failures."""
    following = batch.get("next")
    metrics = following.get("metrics")
    values = {
        **{f"Reward/{name}": x.mean() for name, x in following.get("terms").items()},
        "Reward/total": following.get("reward").mean(),
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
            "Train/mean_reward": returns / number,
            "Train/mean_episode_length": steps / number,
            "Metrics/fall_rate": falls / number,
        }

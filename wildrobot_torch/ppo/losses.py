"""Quantities PPO optimises, as pure functions of tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def gaussian_log_prob(action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log density (...) of actions (..., A) under independent normals; log_std (A,) or (..., A)."""
    scaled = (action - mean) * torch.exp(-log_std)
    return -0.5 * scaled.square().sum(-1) - (log_std + _LOG_SQRT_2PI).sum(-1)


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Entropy [nat] of independent normals with log standard deviations (A,)."""
    return (log_std + _LOG_SQRT_2PI + 0.5).sum()


def gaussian_kl(old_mean: Tensor, old_log_std: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """KL divergence (...) [nat] of the old from the new normals; means (..., A), log_std (A,)."""
    scaled = (old_mean - mean) * torch.exp(-log_std)
    spread = torch.exp(2.0 * (old_log_std - log_std))
    return 0.5 * scaled.square().sum(-1) + (log_std - old_log_std + 0.5 * (spread - 1.0)).sum()


def gae(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    done: Tensor,
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """Advantages and value targets, each (E, T), of steps (E, T).

    Schulman et al. 2016 (arXiv:1506.02438), eq. 16. `value` is that of the state before each step,
    `next_value` after it, before any reset. A fall (`terminated`) has no future; a time-out does,
    and it is worth the value of the state it ended in. Neither lets later advantages through.
    """
    delta = reward + gamma * next_value.masked_fill(terminated, 0.0) - value
    keep = (gamma * lam) * (~done).to(reward.dtype)
    advantage = torch.empty_like(reward)
    running = torch.zeros_like(reward[:, 0])
    for step in range(reward.shape[1] - 1, -1, -1):
        running = delta[:, step] + keep[:, step] * running
        advantage[:, step] = running
    return advantage, advantage + value


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Policy loss: minus the mean clipped objective over (B,) samples.

    Schulman et al. 2017 (arXiv:1707.06347), eq. 7.
    """
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    return -torch.minimum(ratio * advantage, clipped * advantage).mean()

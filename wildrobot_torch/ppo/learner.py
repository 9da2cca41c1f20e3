"""One PPO iteration's data and its loss on a minibatch."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.ppo.losses import (
    clipped_surrogate,
    gae,
    gaussian_entropy,
    gaussian_kl,
    gaussian_log_prob,
    value_loss,
)
from wildrobot_torch.ppo.networks import Critic, Policy
from wildrobot_torch.ppo.normalizer import Reduce


@dataclass(frozen=True)
class Samples:
    """What PPO needs of B transitions; the observations are normalised already."""

    observation: Tensor
    """(B, O)."""
    critic_observation: Tensor
    """(B, C)."""
    action: Tensor
    """(B, A)."""
    old_mean: Tensor
    """(B, A): mean action of the policy that acted."""
    old_log_prob: Tensor
    """(B,)."""
    log_noise: Tensor
    """(B, 1): logarithm of the factor on the actions' standard deviation."""
    old_value: Tensor
    """(B,)."""
    advantage: Tensor
    """(B,): mean 0, variance 1 over the rollout."""
    target: Tensor
    """(B,): what the value should be."""
    style_old_value: Tensor | None = None
    """(B,): by the critic of a reward apart; None without one."""
    style_target: Tensor | None = None
    """(B,)."""

    def __len__(self) -> int:
        return self.advantage.shape[0]

    def __getitem__(self, index: Tensor) -> Samples:
        """The samples of an index tensor."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        there = {name: x for name, x in tensors.items() if x is not None}
        return Samples(**{name: x.index_select(0, index) for name, x in there.items()})


@dataclass(frozen=True)
class Apart:
    """A reward with a critic of its own, beside that of the task."""

    critic: Critic
    """Reads what the task's critic reads, normalised alike."""
    reward: Tensor
    """(E, T)."""
    weight: float
    """Of its advantages, whose variance is 1; those of the task have weight 1."""


def next_values(
    critic: Critic, value: Tensor, next_critic_observation: Tensor, terminated: Tensor, done: Tensor
) -> Tensor:
    """Values (E, T) of the states after each step; what stands at falls is never read.

    A state that was not reset is the next step's state, whose value is known, so the critic runs on
    the last column and on time-outs alone.
    """
    result = torch.empty_like(value)
    result[:, :-1] = value[:, 1:]
    result[:, -1] = critic(next_critic_observation[:, -1])
    rows, columns = torch.nonzero(done & ~terminated, as_tuple=True)
    result[rows, columns] = critic(next_critic_observation[rows, columns])
    return result


def normalized_advantage(advantage: Tensor, reduce: Reduce | None = None) -> Tensor:
    """Advantages with mean 0 and variance 1 over the rollouts of all processes."""
    total = torch.full_like(advantage.reshape(-1)[:1], advantage.numel())
    sums = torch.cat([total, advantage.sum()[None], advantage.square().sum()[None]]).double()
    if reduce is not None:
        sums = reduce(sums)
    mean = sums[1] / sums[0]
    std = (sums[2] / sums[0] - mean.square()).clamp(min=0.0).sqrt()
    return (advantage - mean.to(advantage.dtype)) / (std.to(advantage.dtype) + 1e-8)


@torch.no_grad()
def make_samples(
    policy: Policy,
    critic: Critic,
    config: PPOConfig,
    *,
    observation: Tensor,
    critic_observation: Tensor,
    next_critic_observation: Tensor,
    action: Tensor,
    mean: Tensor,
    log_prob: Tensor,
    log_noise: Tensor,
    reward: Tensor,
    terminated: Tensor,
    done: Tensor,
    reduce: Reduce | None = None,
    apart: Apart | None = None,
) -> Samples:
    """The E x T transitions of a rollout, flat, with advantages and targets.

    Args:
        policy: the policy that acted.
        critic: the critic.
        config: discounts.
        observation: (E, T, O).
        critic_observation: (E, T, C).
        next_critic_observation: (E, T, C), before any reset.
        action: (E, T, A).
        mean: (E, T, A) mean actions.
        log_prob: (E, T).
        log_noise: (E, T, 1) logarithm of the factor on the actions' standard deviation.
        reward: (E, T).
        terminated: (E, T) bool.
        done: (E, T) bool.
        reduce: sums over processes.
        apart: a second reward. Its advantages are normalised apart from those of `reward`, so that
            neither drowns the other however large the rewards are, then added by weight.
    """

    def returns(critic: Critic, reward: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values, normalised advantages and targets, (E, T) each."""
        value = critic.net(critic_normalized).squeeze(-1)
        following = next_values(critic, value, next_critic_observation, terminated, done)
        advantage, target = gae(
            reward, value, following, terminated, done, config.gamma, config.gae_lambda
        )
        return value, normalized_advantage(advantage, reduce), target

    observation = policy.normalizer(observation)
    critic_normalized = critic.normalizer(critic_observation)
    value, advantage, target = returns(critic, reward)
    style: dict[str, Tensor] = {}
    if apart is not None:
        style_value, style_advantage, style_target = returns(apart.critic, apart.reward)
        advantage = normalized_advantage(advantage + apart.weight * style_advantage, reduce)
        style = {"style_old_value": style_value, "style_target": style_target}
    return Samples(
        observation=observation.flatten(0, 1),
        critic_observation=critic_normalized.flatten(0, 1),
        action=action.flatten(0, 1),
        old_mean=mean.flatten(0, 1),
        old_log_prob=log_prob.flatten(),
        log_noise=log_noise.flatten(0, 1),
        old_value=value.flatten(),
        advantage=advantage.flatten(),
        target=target.flatten(),
        **{name: values.flatten() for name, values in style.items()},
    )


def ppo_loss(
    policy: Policy,
    critic: Critic,
    batch: Samples,
    old_log_std: Tensor,
    config: PPOConfig,
    style_critic: Critic | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss to minimise on a minibatch, and its parts by name (detached scalars).

    Args:
        policy: the policy under training.
        critic: the critic under training.
        batch: samples.
        old_log_std: (A,) of the policy that acted.
        config: clip and weights.
        style_critic: that of a reward apart; its error weighs as much as the other critic's.
    """
    mean = policy.net(batch.observation)
    log_std = policy.log_std + batch.log_noise
    ratio = torch.exp(gaussian_log_prob(batch.action, mean, log_std) - batch.old_log_prob)
    surrogate = clipped_surrogate(ratio, batch.advantage, config.clip)
    value = critic.net(batch.critic_observation).squeeze(-1)
    error = value_loss(value, batch.old_value, batch.target, config.value_clip)
    entropy = gaussian_entropy(policy.log_std)
    loss = surrogate + config.value_coef * error - config.entropy_coef * entropy
    stats = {}
    if style_critic is not None and batch.style_old_value is not None:
        assert batch.style_target is not None
        style_value = style_critic.net(batch.critic_observation).squeeze(-1)
        style_error = value_loss(
            style_value, batch.style_old_value, batch.style_target, config.value_clip
        )
        loss = loss + config.value_coef * style_error
        stats["style_value"] = style_error.detach()
    with torch.no_grad():
        # Of the policy at full noise, with whichever noise a sample was drawn.
        kl = gaussian_kl(batch.old_mean, old_log_std, mean, policy.log_std).mean()
        clipped = ((ratio - 1.0).abs() > config.clip).to(ratio.dtype).mean()
    return loss, {
        "surrogate": surrogate.detach(),
        "value": error.detach(),
        "entropy": entropy.detach(),
        "kl": kl,
        "clip_fraction": clipped,
        **stats,
    }

"""One PPO iteration: from a rollout to the next policy, its normalisers and its average."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from wildrobot_torch.ppo.average import AveragedPolicy
from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.ppo.finite import fail_together, require_finite, require_finite_means
from wildrobot_torch.ppo.losses import (
    clipped_surrogate,
    gae,
    gaussian_entropy,
    gaussian_kl,
    gaussian_log_prob,
)
from wildrobot_torch.ppo.networks import Critic, Policy
from wildrobot_torch.ppo.normalizer import Reduce


@dataclass(frozen=True)
class Transitions:
    """T control steps of E environments, as they were collected: O observed values, A actions."""

    observation: Tensor
    critic_observation: Tensor
    next_critic_observation: Tensor
    """(E, T, C): after the step, before any reset."""
    action: Tensor
    mean: Tensor
    """(E, T, A): mean action of the policy that acted."""
    log_prob: Tensor
    """(E, T): log density of the action."""
    log_noise: Tensor
    """(E, T, 1): logarithm of the factor on the actions' standard deviation."""
    reward: Tensor
    terminated: Tensor
    """(E, T) bool: the robot fell."""
    done: Tensor
    """(E, T) bool: the episode ended, by a fall or a time-out."""


def next_values(
    critic: Critic, value: Tensor, next_critic_observation: Tensor, terminated: Tensor, done: Tensor
) -> Tensor:
    """Values (E, T) of the states after each step; entries at falls hold no meaning.

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
    rollout: Transitions,
    reduce: Reduce | None = None,
    gamma: float | None = None,
) -> dict[str, Tensor]:
    """The B = E T transitions of a rollout of `policy` as the loss reads them, by name.

    observation (B, O) and critic_observation (B, C), normalised; action, old_mean (B, A),
    old_log_prob (B,) and log_noise (B, 1) as they were collected; advantage (B,) with mean 0 and
    variance 1 over the rollouts of all processes; target (B,), what the critic learns to predict.
    `reduce` sums over processes; None for one process. `gamma` takes the place of the settings'.
    """
    critic_normalized = critic.normalizer(rollout.critic_observation)
    value = critic.net(critic_normalized).squeeze(-1)
    ends = rollout.terminated, rollout.done
    following = next_values(critic, value, rollout.next_critic_observation, *ends)
    gamma = config.gamma if gamma is None else gamma
    advantage, target = gae(rollout.reward, value, following, *ends, gamma, config.gae_lambda)
    return {
        "observation": policy.normalizer(rollout.observation).flatten(0, 1),
        "critic_observation": critic_normalized.flatten(0, 1),
        "action": rollout.action.flatten(0, 1),
        "old_mean": rollout.mean.flatten(0, 1),
        "old_log_prob": rollout.log_prob.flatten(),
        "log_noise": rollout.log_noise.flatten(0, 1),
        "advantage": normalized_advantage(advantage, reduce).flatten(),
        "target": target.flatten(),
    }


def ppo_loss(
    policy: Policy, critic: Critic, batch: dict[str, Tensor], old_log_std: Tensor, config: PPOConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss to minimise on a minibatch, and its parts by metric name (detached scalars).

    `old_log_std` (A,) is that of the policy that acted.
    """
    mean = policy.net(batch["observation"])
    log_std = policy.log_std + batch["log_noise"]
    ratio = torch.exp(gaussian_log_prob(batch["action"], mean, log_std) - batch["old_log_prob"])
    surrogate = clipped_surrogate(ratio, batch["advantage"], config.clip)
    value = critic.net(batch["critic_observation"]).squeeze(-1)
    error = (value - batch["target"]).square().mean()
    entropy = gaussian_entropy(policy.log_std)
    loss = surrogate + config.value_coef * error - config.entropy_coef * entropy
    with torch.no_grad():
        kl = gaussian_kl(batch["old_mean"], old_log_std, mean, policy.log_std).mean()
        clipped = ((ratio - 1.0).abs() > config.clip).float().mean()
        target = batch["target"]
        # Not the unbiased variance: a minibatch may have a single sample.
        rest, spread = ((x - x.mean()).square().mean() for x in (target - value, target))
        unexplained = rest / spread.clamp(min=1e-9)
    return loss, {
        "Loss/surrogate": surrogate.detach(),
        "Loss/value": error.detach(),
        "Loss/entropy": entropy.detach(),
        "Loss/kl": kl,
        "Loss/clip_fraction": clipped,
        "Loss/explained_variance": 1.0 - unexplained,
    }


@dataclass(frozen=True)
class ExtraLoss:
    """A loss of other networks, added to PPO's in some updates: one backward pass serves both."""

    loss: Callable[[int], tuple[Tensor, dict[str, Tensor]]]
    """Loss number 0, 1, ... of an iteration, and its parts by metric name (detached scalars)."""
    num_updates: int
    """How many updates of an iteration have it, evenly spread; at most `PPOConfig.num_updates`."""
    optimizer: torch.optim.Optimizer
    """Steps the other networks after these updates."""
    name: str
    """The gradients' norm is reported as `Gradient/<name>`."""


class PPOLearner:
    """The learning half of PPO: `update` turns a rollout into the next policy."""

    def __init__(
        self,
        policy: Policy,
        critic: Critic,
        config: PPOConfig,
        optimizer: torch.optim.Optimizer,
        *,
        averaged: AveragedPolicy | None = None,
        extra: ExtraLoss | None = None,
        reduce: Reduce | None = None,
        backward: Callable[[Tensor], object] = Tensor.backward,
        last_step: Callable[[], object] | None = None,
    ) -> None:
        """Learns in place; keeps no state of its own but what it is given.

        Args:
            policy: the policy under training.
            critic: the critic under training.
            config: settings.
            optimizer: of the parameters of both.
            averaged: average of the policy over iterations; None for none.
            extra: a loss that shares the backward passes; None for none.
            reduce: sums over processes; None for one process.
            backward: backward pass of a loss.
            last_step: takes the place of the optimizer's last step of an iteration.
        """
        self.policy, self.critic, self.config = policy, critic, config
        self.optimizer, self.averaged, self.extra = optimizer, averaged, extra
        self._reduce, self._backward = reduce, backward
        self._last_step = optimizer.step if last_step is None else last_step

    def update(
        self, rollout: Transitions, iteration: int, gamma: float | None = None
    ) -> dict[str, float]:
        """All epochs of an iteration on a rollout of the policy as it is.

        Returned is the mean of each part of the losses over the updates. `gamma` is the discount of
        this iteration; None for that of the settings.

        Raises:
            TrainingDiverged: the rollout or a part of the losses is not finite, in any process.
            UserError: there are fewer samples than minibatches.
        """
        device = rollout.reward.device
        numbers = {name: x for name, x in vars(rollout).items() if x.is_floating_point()}
        check = partial(require_finite, numbers, iteration)
        fail_together(check, iteration, self._reduce, device)
        samples = make_samples(self.policy, self.critic, self.config, rollout, self._reduce, gamma)
        old_log_std = self.policy.log_std.detach().clone()
        parts: dict[str, list[Tensor]] = {}
        number = undone = 0
        sound = _copies(self.policy)
        for _ in range(self.config.num_epochs):
            for index in self.config.minibatches(rollout.reward.numel(), device):
                batch = {name: x.index_select(0, index) for name, x in samples.items()}
                before = _copies(self.policy)
                for name, value in self._step(number, batch, old_log_std).items():
                    parts.setdefault(name, []).append(value)
                # Also at the first minibatch of an iteration, whose KL is 0: one adaption in
                # num_updates goes up. Without it, a policy with the prior took 4.9 M steps
                # instead of 2.9 M to WALK, and fell in 14 % of its episodes (docs/results.md).
                kl = self._everywhere(parts["Loss/kl"][-1])
                require_finite_means({"Loss/kl": kl}, iteration)
                for group in self.optimizer.param_groups:
                    group["lr"] = self.config.adapted(group["lr"], kl)
                if kl <= self.config.kl_high:
                    sound = before
                number += 1
                if number == self.config.num_updates:
                    # The next iteration would not know how far this last step went.
                    kl = self._everywhere(_divergence(self.policy, batch, old_log_std))
                if kl > self.config.kl_max:
                    # Seldom, but it can undo a training: once, falls rose from 13 to 45 % within
                    # seven iterations (docs/results.md).
                    _put_back(self.policy, sound)
                    undone += 1
        means = torch.stack([torch.stack(values).mean() for values in parts.values()]).tolist()
        metrics = dict(zip(parts, means, strict=True))
        check = partial(require_finite_means, metrics, iteration)
        fail_together(check, iteration, self._reduce, device)
        # After the epochs: rollout and update see the same normalisation, so ratios start at 1.
        self.policy.update_normalizer(rollout.observation, self._reduce)
        self.critic.update_normalizer(rollout.critic_observation, self._reduce)
        if self.averaged is not None:
            self.averaged.update_parameters(self.policy)
        return metrics | {
            "Loss/learning_rate": self.optimizer.param_groups[0]["lr"],
            "Policy/mean_std": float(old_log_std.exp().mean()),
            "Policy/undone_steps": float(undone),
        }

    def _step(
        self, number: int, batch: dict[str, Tensor], old_log_std: Tensor
    ) -> dict[str, Tensor]:
        """Update `number` of an iteration; the parts of its loss and the gradients' norms."""
        config, extra = self.config, self.extra
        loss, stats = ppo_loss(self.policy, self.critic, batch, old_log_std, config)
        self.optimizer.zero_grad()
        due = False
        if extra is not None:
            extra.optimizer.zero_grad()
            turn, rest = divmod(number, config.num_updates // extra.num_updates)
            due = rest == 0 and turn < extra.num_updates
            if due:
                extra_loss, extra_stats = extra.loss(turn)
                loss = loss + extra_loss
                stats |= extra_stats
            elif self._reduce is not None:
                # Data parallelism wants a gradient for every parameter in every backward pass.
                loss = loss + 0.0 * sum(p.sum() for p in _parameters(extra.optimizer))
        self._backward(loss)
        stats["Gradient/policy"] = _gradient_norm(self.policy.parameters())
        stats["Gradient/critic"] = _gradient_norm(self.critic.parameters())
        nn.utils.clip_grad_norm_(_parameters(self.optimizer), config.max_grad_norm)
        if extra is not None and due:
            stats[f"Gradient/{extra.name}"] = _gradient_norm(_parameters(extra.optimizer))
            extra.optimizer.step()
        (self._last_step if number == config.num_updates - 1 else self.optimizer.step)()
        return stats

    def _everywhere(self, kl: Tensor) -> float:
        """The mean of a KL divergence over all processes."""
        if self._reduce is not None:
            total, processes = self._reduce(torch.stack([kl, torch.ones_like(kl)]))
            kl = total / processes
        return float(kl)


@torch.no_grad()
def _divergence(policy: Policy, batch: dict[str, Tensor], old_log_std: Tensor) -> Tensor:
    """Mean KL divergence [nat] of the policy from the one that acted, at full noise."""
    mean = policy.net(batch["observation"])
    return gaussian_kl(batch["old_mean"], old_log_std, mean, policy.log_std).mean()


@torch.no_grad()
def _copies(policy: Policy) -> list[Tensor]:
    return [parameter.clone() for parameter in policy.parameters()]


@torch.no_grad()
def _put_back(policy: Policy, values: list[Tensor]) -> None:
    for parameter, value in zip(policy.parameters(), values, strict=True):
        parameter.copy_(value)


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])

"""wildrobot_torch.ppo.learner: samples of a rollout, the loss on them, an iteration's updates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wildrobot_torch.ppo.average import AveragedPolicy
from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.ppo.finite import TrainingDiverged
from wildrobot_torch.ppo.learner import (
    ExtraLoss,
    PPOLearner,
    Transitions,
    make_samples,
    next_values,
    normalized_advantage,
    ppo_loss,
)
from wildrobot_torch.ppo.losses import gaussian_log_prob
from wildrobot_torch.ppo.networks import Critic, Policy

ENVS, STEPS, OBS, CRITIC, ACTIONS = 6, 5, 4, 7, 2


def _collected() -> tuple[Policy, Critic, Transitions]:
    policy, critic = Policy(OBS, ACTIONS, (8,)), Critic(CRITIC, (8,), "elu")
    policy.normalizer.update(torch.randn(100, OBS))
    observation = torch.randn(ENVS, STEPS, OBS)
    mean = policy(observation).detach()
    log_noise = PPOConfig(low_noise_env_fraction=0.5, low_noise_scale=0.4).log_noise(
        ENVS, mean.device
    )
    log_std = policy.log_std.detach() + log_noise[:, None]
    action = mean + log_std.exp() * torch.randn(ENVS, STEPS, ACTIONS)
    rollout = Transitions(
        observation=observation,
        critic_observation=torch.randn(ENVS, STEPS, CRITIC),
        next_critic_observation=torch.randn(ENVS, STEPS, CRITIC),
        action=action,
        mean=mean,
        log_prob=gaussian_log_prob(action, mean, log_std),
        log_noise=log_noise[:, None].expand(-1, STEPS, -1),
        reward=torch.randn(ENVS, STEPS),
        terminated=torch.zeros(ENVS, STEPS, dtype=torch.bool),
        done=torch.zeros(ENVS, STEPS, dtype=torch.bool),
    )
    return policy, critic, rollout


def _rollout() -> tuple[Policy, Critic, dict[str, torch.Tensor]]:
    policy, critic, rollout = _collected()
    return policy, critic, make_samples(policy, critic, PPOConfig(), rollout)


def test_next_values_use_the_last_observation_where_an_episode_timed_out():
    critic = Critic(1, (4,), "elu")
    following = torch.randn(1, 4, 1)
    value = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    done = torch.tensor([[False, True, False, False]])
    with torch.no_grad():
        result = next_values(critic, value, following, torch.zeros_like(done), done)
        assert result[0, [0, 2]].tolist() == [2.0, 4.0]
        torch.testing.assert_close(result[0, 1], critic(following[0, 1]))
        torch.testing.assert_close(result[0, 3], critic(following[0, 3]))


def test_advantages_have_mean_0_and_variance_1_over_all_processes():
    here = torch.tensor([[1.0, 2.0]])
    # another process has 5 and 8; of 1, 2, 5, 8: mean 4, variance (9 + 4 + 1 + 16) / 4 = 7.5
    sums = torch.tensor([2.0, 13.0, 89.0], dtype=torch.float64)
    result = normalized_advantage(here, lambda own: own + sums)
    assert result[0].tolist() == pytest.approx([-3.0 / 7.5**0.5, -2.0 / 7.5**0.5])


def test_the_policy_that_acted_has_ratio_1_and_no_divergence():
    policy, critic, samples = _rollout()
    _, stats = ppo_loss(policy, critic, samples, policy.log_std.detach(), PPOConfig())
    assert stats["Loss/kl"].item() == pytest.approx(0.0, abs=1e-6)
    assert stats["Loss/clip_fraction"].item() == 0.0
    # ratio 1: minus the mean advantage, which is 0
    assert stats["Loss/surrogate"].item() == pytest.approx(0.0, abs=1e-5)


def test_a_step_down_the_loss_makes_paid_actions_likelier():
    policy, critic, samples = _rollout()
    config = PPOConfig(entropy_coef=0.0)
    optimizer = torch.optim.SGD(policy.parameters(), lr=1e-2)
    loss, _ = ppo_loss(policy, critic, samples, policy.log_std.detach(), config)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        mean = policy.net(samples["observation"])
        log_prob = gaussian_log_prob(samples["action"], mean, policy.log_std + samples["log_noise"])
    gain = (log_prob - samples["old_log_prob"]) * samples["advantage"]
    assert gain.mean() > 0.0


SMALL = PPOConfig(
    num_epochs=2, num_minibatches=3, kl_low=1.0, kl_high=2.0, kl_max=9.0, learning_rate=1e-3
)
"""Every adaption raises the learning rate, by a factor of 1.2."""


def _learner(
    policy: Policy, critic: Critic, config: PPOConfig = SMALL, **options: object
) -> PPOLearner:
    optimizer = torch.optim.Adam([*policy.parameters(), *critic.parameters()], config.learning_rate)
    return PPOLearner(policy, critic, config, optimizer, **options)  # pyright: ignore


def test_actions_that_were_paid_become_likelier() -> None:
    """The reward is 1 where the first action is positive: its mean rises for every observation."""
    policy, critic, _ = _collected()
    learner = _learner(policy, critic, replace(SMALL, entropy_coef=0.0, learning_rate=2e-3))
    observation = torch.randn(64, STEPS, OBS)
    before = policy(observation).detach()[..., 0]
    for iteration in range(10):
        mean = policy(observation).detach()
        action = mean + policy.log_std.detach().exp() * torch.randn_like(mean)
        ended = torch.ones(64, STEPS, dtype=torch.bool)
        state = torch.zeros(64, STEPS, CRITIC)
        rollout = Transitions(
            observation=observation,
            critic_observation=state,
            next_critic_observation=state,
            action=action,
            mean=mean,
            log_prob=gaussian_log_prob(action, mean, policy.log_std.detach()),
            log_noise=torch.zeros(64, STEPS, 1),
            reward=(action[..., 0] > 0.0).float(),
            terminated=ended,
            done=ended,
        )
        learner.update(rollout, iteration)
    assert ((policy(observation)[..., 0] - before) > 0.0).float().mean() > 0.9


def test_the_learning_rate_is_adapted_after_every_update() -> None:
    """Also after the first, which sees the policy that collected, and so a divergence of 0."""
    policy, critic, rollout = _collected()
    learner = _learner(policy, critic, replace(SMALL, num_epochs=1, num_minibatches=1))
    assert learner.update(rollout, 1)["Loss/learning_rate"] == pytest.approx(1e-3 * 1.2)
    policy, critic, rollout = _collected()
    metrics = _learner(policy, critic, replace(SMALL, num_epochs=1)).update(rollout, 1)
    assert metrics["Loss/learning_rate"] == pytest.approx(1e-3 * 1.2**3)


@pytest.mark.parametrize("minibatches", [1, 3])
def test_a_step_that_goes_too_far_is_taken_back(minibatches: int) -> None:
    """Also the last of an iteration, after which nothing else would tell how far it went."""
    policy, critic, rollout = _collected()
    config = PPOConfig(
        num_epochs=1, num_minibatches=minibatches, learning_rate=0.5, learning_rate_max=0.5
    )
    learner = _learner(policy, critic, config)
    before = [parameter.clone() for parameter in policy.parameters()]
    assert learner.update(rollout, 1)["Policy/undone_steps"] >= 1
    # After the first step the others are of the lowest learning rate: 1e-5, and Adam's are as long.
    for old, new in zip(before, policy.parameters(), strict=True):
        torch.testing.assert_close(old, new, rtol=0.0, atol=4e-5)


def test_steps_that_do_not_go_too_far_stay() -> None:
    policy, critic, rollout = _collected()
    learner = _learner(policy, critic, PPOConfig(num_epochs=1, num_minibatches=3))
    before = [parameter.clone() for parameter in policy.parameters()]
    assert learner.update(rollout, 1)["Policy/undone_steps"] == 0
    for old, new in zip(before, policy.parameters(), strict=True):
        assert not torch.equal(old, new)


@pytest.mark.parametrize("name", ["observation", "reward", "log_prob"])
def test_a_rollout_that_is_not_finite_changes_no_weights(name: str) -> None:
    policy, critic, rollout = _collected()
    before = [p.clone() for p in (*policy.parameters(), *critic.parameters())]
    getattr(rollout, name)[1, 2] = torch.nan
    with pytest.raises(TrainingDiverged, match=f"^{name} is nan in iteration 5 .environment 1"):
        _learner(policy, critic).update(rollout, 5)
    for old, new in zip(before, (*policy.parameters(), *critic.parameters()), strict=True):
        assert torch.equal(old, new)


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    policy, critic, rollout = _collected()
    with torch.no_grad():
        critic.net[0].weight.fill_(torch.inf)
    with pytest.raises(TrainingDiverged, match="iteration 5"):
        _learner(policy, critic).update(rollout, 5)


def test_an_extra_loss_is_minimised_in_some_updates_and_leaves_the_policy_alone() -> None:
    numbers: list[int] = []
    other = torch.nn.Linear(1, 1)

    def loss(number: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        numbers.append(number)
        value = (other(torch.ones(1)) - 3.0).square().sum()
        return value, {"AMP/disc_loss": value.detach()}

    extra = ExtraLoss(loss, 3, torch.optim.SGD(other.parameters(), lr=0.1), "discriminator")
    results = []
    for options in ({}, {"extra": extra}):
        torch.manual_seed(1)
        policy, critic, rollout = _collected()
        metrics = _learner(policy, critic, **options).update(rollout, 1)
        results.append((policy, metrics))
    assert numbers == [0, 1, 2]
    # Each of 3 steps of gradient descent takes away 2 x 0.1 x 2 = 0.4 of the error.
    error, first = (other(torch.ones(1)) - 3.0).item(), results[1][1]["AMP/disc_loss"]
    assert error**2 == pytest.approx(first * 3 * 0.36**3 / (1 + 0.36 + 0.36**2), rel=1e-4)
    for alone, beside in zip(*(policy.parameters() for policy, _ in results), strict=True):
        assert torch.equal(alone, beside)
    assert "Gradient/discriminator" in results[1][1]


def test_normalisers_and_average_follow_once_per_iteration() -> None:
    policy, critic, rollout = _collected()
    averaged = AveragedPolicy(policy, 0.5, 1.0)
    seen = policy.normalizer.count.item()
    last_steps: list[int] = []
    learner = _learner(policy, critic, averaged=averaged)
    step = learner.optimizer.step
    learner = PPOLearner(
        policy, critic, SMALL, learner.optimizer, averaged=averaged,
        last_step=lambda: (last_steps.append(1), step()),
    )  # fmt: skip
    learner.update(rollout, 1)
    assert policy.normalizer.count.item() == seen + ENVS * STEPS
    assert critic.normalizer.count.item() == ENVS * STEPS
    # The first update of an average takes the policy over as it is.
    assert averaged.n_averaged.item() == 1
    assert torch.equal(averaged.policy.log_std, policy.log_std)
    assert last_steps == [1]

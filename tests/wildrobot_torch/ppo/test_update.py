"""wildrobot_torch.ppo.update: samples of a rollout and the loss on them."""

from __future__ import annotations

import pytest
import torch

from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.ppo.losses import gaussian_log_prob
from wildrobot_torch.ppo.networks import Critic, Policy
from wildrobot_torch.ppo.update import (
    Samples,
    make_samples,
    next_values,
    normalized_advantage,
    ppo_loss,
)

ENVS, STEPS, OBS, CRITIC, ACTIONS = 6, 5, 4, 7, 2


def _rollout() -> tuple[Policy, Critic, Samples]:
    policy, critic = Policy(OBS, ACTIONS, (8,)), Critic(CRITIC, (8,), "elu")
    policy.normalizer.update(torch.randn(100, OBS))
    observation = torch.randn(ENVS, STEPS, OBS)
    mean = policy(observation).detach()
    action = mean + policy.log_std.exp().detach() * torch.randn(ENVS, STEPS, ACTIONS)
    samples = make_samples(
        policy,
        critic,
        PPOConfig(),
        observation=observation,
        critic_observation=torch.randn(ENVS, STEPS, CRITIC),
        next_critic_observation=torch.randn(ENVS, STEPS, CRITIC),
        action=action,
        mean=mean,
        log_prob=gaussian_log_prob(action, mean, policy.log_std).detach(),
        reward=torch.randn(ENVS, STEPS),
        terminated=torch.zeros(ENVS, STEPS, dtype=torch.bool),
        done=torch.zeros(ENVS, STEPS, dtype=torch.bool),
    )
    return policy, critic, samples


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
    assert stats["kl"].item() == pytest.approx(0.0, abs=1e-6)
    assert stats["clip_fraction"].item() == 0.0
    # ratio 1: minus the mean advantage, which is 0
    assert stats["surrogate"].item() == pytest.approx(0.0, abs=1e-5)


def test_a_step_down_the_loss_makes_paid_actions_likelier():
    policy, critic, samples = _rollout()
    config = PPOConfig(entropy_coef=0.0)
    optimizer = torch.optim.SGD(policy.parameters(), lr=1e-2)
    loss, _ = ppo_loss(policy, critic, samples, policy.log_std.detach(), config)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        mean = policy.net(samples.observation)
        log_prob = gaussian_log_prob(samples.action, mean, policy.log_std)
    gain = (log_prob - samples.old_log_prob) * samples.advantage
    assert gain.mean() > 0.0


def test_minibatches_of_a_permutation_are_a_partition():
    _, _, samples = _rollout()
    parts = [samples[index] for index in torch.randperm(len(samples)).chunk(3)]
    joined = torch.cat([part.target for part in parts])
    assert torch.equal(joined.sort().values, samples.target.sort().values)

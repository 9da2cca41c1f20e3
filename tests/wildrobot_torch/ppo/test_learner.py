"""wildrobot_torch.ppo.learner: samples of a rollout and the loss on them."""

from __future__ import annotations

import pytest
import torch

from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.ppo.learner import (
    Apart,
    Samples,
    make_samples,
    next_values,
    normalized_advantage,
    ppo_loss,
)
from wildrobot_torch.ppo.losses import gaussian_log_prob
from wildrobot_torch.ppo.networks import Critic, Policy

ENVS, STEPS, OBS, CRITIC, ACTIONS = 6, 5, 4, 7, 2


def _rollout(
    reward: torch.Tensor | None = None, apart: Apart | None = None
) -> tuple[Policy, Critic, Samples]:
    policy, critic = Policy(OBS, ACTIONS, (8,)), Critic(CRITIC, (8,), "elu")
    policy.normalizer.update(torch.randn(100, OBS))
    observation = torch.randn(ENVS, STEPS, OBS)
    mean = policy(observation).detach()
    log_noise = PPOConfig(quiet_share=0.5, quiet_noise=0.4).log_noise(ENVS, mean.device)
    log_std = policy.log_std.detach() + log_noise[:, None]
    action = mean + log_std.exp() * torch.randn(ENVS, STEPS, ACTIONS)
    samples = make_samples(
        policy,
        critic,
        PPOConfig(),
        observation=observation,
        critic_observation=torch.randn(ENVS, STEPS, CRITIC),
        next_critic_observation=torch.randn(ENVS, STEPS, CRITIC),
        action=action,
        mean=mean,
        log_prob=gaussian_log_prob(action, mean, log_std),
        log_noise=log_noise[:, None].expand(-1, STEPS, -1),
        reward=torch.randn(ENVS, STEPS) if reward is None else reward,
        terminated=torch.zeros(ENVS, STEPS, dtype=torch.bool),
        done=torch.zeros(ENVS, STEPS, dtype=torch.bool),
        apart=apart,
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
        log_prob = gaussian_log_prob(samples.action, mean, policy.log_std + samples.log_noise)
    gain = (log_prob - samples.old_log_prob) * samples.advantage
    assert gain.mean() > 0.0


def test_minibatches_of_a_permutation_are_a_partition():
    _, _, samples = _rollout()
    parts = [samples[index] for index in torch.randperm(len(samples)).chunk(3)]
    joined = torch.cat([part.target for part in parts])
    assert torch.equal(joined.sort().values, samples.target.sort().values)


def _silent(critic: Critic) -> Critic:
    """The critic with value 0 everywhere."""
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.zero_()
    return critic


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_a_reward_apart_counts_by_its_weight_however_large_it_is(scale: float):
    # Critics that know nothing and no future: advantages are the rewards, normalised apart.
    task, style = torch.randn(ENVS, STEPS), torch.randn(ENVS, STEPS)
    critic = _silent(Critic(CRITIC, (8,), "elu"))
    done = torch.ones(ENVS, STEPS, dtype=torch.bool)
    policy = Policy(OBS, ACTIONS, (8,))
    samples = make_samples(
        policy,
        critic,
        PPOConfig(),
        observation=torch.randn(ENVS, STEPS, OBS),
        critic_observation=torch.randn(ENVS, STEPS, CRITIC),
        next_critic_observation=torch.randn(ENVS, STEPS, CRITIC),
        action=torch.zeros(ENVS, STEPS, ACTIONS),
        mean=torch.zeros(ENVS, STEPS, ACTIONS),
        log_prob=torch.zeros(ENVS, STEPS),
        log_noise=torch.zeros(ENVS, STEPS, 1),
        reward=task,
        terminated=done,
        done=done,
        apart=Apart(critic, scale * style + 7.0, 0.5),
    )

    def unit(x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean()) / x.std(correction=0)

    expected = unit(unit(task) + 0.5 * unit(style)).flatten()
    torch.testing.assert_close(samples.advantage, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(samples.target, task.flatten())
    assert samples.style_target is not None
    torch.testing.assert_close(samples.style_target, (scale * style + 7.0).flatten())


def test_both_critics_learn_their_own_returns():
    style_critic = Critic(CRITIC, (8,), "elu")
    apart = Apart(style_critic, torch.randn(ENVS, STEPS) + 5.0, 1.0)
    policy, critic, samples = _rollout(apart=apart)
    half = samples[torch.arange(10)]
    config = PPOConfig()
    loss, stats = ppo_loss(
        policy, critic, half, policy.log_std.detach(), config, style_critic=style_critic
    )
    assert half.style_target is not None
    with torch.no_grad():
        value = style_critic.net(half.critic_observation).squeeze(-1)
    error = (value - half.style_target).square().mean()
    assert stats["style_value"].item() == pytest.approx(error.item(), rel=1e-5)
    alone, _ = ppo_loss(policy, critic, half, policy.log_std.detach(), config)
    assert (loss - alone).item() == pytest.approx(config.value_coef * error.item(), rel=1e-4)

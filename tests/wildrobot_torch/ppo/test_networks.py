"""wildrobot_torch.ppo.networks: what the policy promises its users."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.ppo.networks import Critic, NetworkConfig, Policy, actor_from_hparams


def test_an_untrained_policy_acts_near_zero_with_the_given_spread():
    policy = Policy(39, 8, hidden=(32, 32), init_std=0.5)
    assert policy.act(torch.randn(100, 39)).abs().max() < 0.05
    assert policy.log_std.exp().tolist() == [pytest.approx(0.5)] * 8


def test_act_is_deterministic_and_within_the_action_range():
    policy = Policy(4, 2, hidden=(8,))
    with torch.no_grad():
        policy.net[-1].weight.mul_(1e5)
    observation = torch.randn(50, 4)
    action = policy.act(observation)
    assert torch.equal(action, policy.act(observation))
    assert action.abs().max() == 1.0
    assert policy(observation).abs().max() > 1.0


def test_the_normaliser_is_part_of_the_policy():
    policy = Policy(1, 1, hidden=(8,))
    with torch.no_grad():
        policy.net[-1].weight.mul_(100.0)
    before = policy(torch.tensor([[6.0]]))
    policy.normalizer.update(torch.tensor([[4.0], [8.0]]))  # mean 6, deviation 2
    assert not torch.allclose(policy(torch.tensor([[6.0]])), before)
    torch.testing.assert_close(policy(torch.tensor([[6.0]])), policy.net(torch.tensor([[0.0]])))


def test_a_policy_can_be_rebuilt_from_plain_values_and_weights():
    policy = Policy(5, 3, hidden=(16, 8), activation="tanh")
    policy.normalizer.update(torch.randn(20, 5))
    copy = actor_from_hparams(policy.hparams)
    copy.load_state_dict(policy.state_dict())
    observation = torch.randn(4, 5)
    assert torch.equal(copy.act(observation), policy.act(observation))


def test_unknown_entries_and_names_are_refused():
    with pytest.raises(ValueError, match=r"obs_size.*expected|expected.*obs_size"):
        actor_from_hparams({"hidden": [8]})
    with pytest.raises(ValueError, match=r"swish.*elu, relu, silu, tanh"):
        Policy(2, 2, activation="swish")
    with pytest.raises(ValueError, match=r"network\.hidden"):
        NetworkConfig(hidden=())


def test_critic_values_have_no_feature_axis():
    critic = Critic(6, (8,), "elu")
    assert critic(torch.randn(3, 4, 6)).shape == (3, 4)


def test_default_spread_is_one_over_e():
    assert math.log(NetworkConfig().init_std) == pytest.approx(-1.0, abs=0.01)

"""wildrobot_torch.ppo.networks: what the policy promises its users."""

from __future__ import annotations

import pytest
import torch

from envs.robot.symmetry import Mirror
from envs.task.actions import ActionConfig
from wildrobot_torch.ppo.networks import (
    Critic,
    MirrorMap,
    NetworkConfig,
    Policy,
)


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
    copy = Policy(**policy.hparams)
    copy.load_state_dict(policy.state_dict())
    observation = torch.randn(4, 5)
    assert torch.equal(copy.act(observation), policy.act(observation))


def test_networks_without_hidden_layers_are_refused():
    with pytest.raises(ValueError, match=r"network\.hidden"):
        NetworkConfig(hidden=())


def test_critic_values_have_no_feature_axis():
    critic = Critic(6, (8,), "elu")
    assert critic(torch.randn(3, 4, 6)).shape == (3, 4)


def test_default_spread_is_0_3_rad():
    assert NetworkConfig().init_std * ActionConfig().scale == pytest.approx(0.3, abs=0.01)


def mirrors():
    """Three observed values of which the first two swap and the third turns round; two actions."""
    return (
        Mirror(torch.tensor([1, 0, 2]), torch.tensor([1.0, 1.0, -1.0])),
        Mirror(torch.tensor([1, 0]), torch.tensor([-1.0, -1.0])),
    )


def test_a_symmetric_policy_answers_mirrored_observations_with_mirrored_actions():
    torch.manual_seed(0)
    policy = Policy(3, 2, hidden=(16,), mirrors=mirrors(), asymmetry=0.0)
    policy.update_normalizer(torch.randn(50, 3) * torch.tensor([1.0, 2.0, 3.0]) + 1.0)
    a, b, c = torch.randn(3, 20)
    here = policy(torch.stack([a, b, c], -1))
    there = policy(torch.stack([b, a, -c], -1))
    torch.testing.assert_close(there, -here.flip(-1), atol=1e-6, rtol=0.0)
    assert (here.flip(-1) - there).abs().max() > 1e-3
    plain = Policy(3, 2, hidden=(16,))
    assert (
        plain(torch.stack([b, a, -c], -1)) + plain(torch.stack([a, b, c], -1)).flip(-1)
    ).abs().max() > 1e-4


def test_a_symmetric_critic_values_mirrored_states_alike():
    torch.manual_seed(0)
    critic = Critic(3, (8,), "elu", mirrors()[0])
    a, b, c = torch.randn(3, 20)
    torch.testing.assert_close(
        critic(torch.stack([a, b, c], -1)), critic(torch.stack([b, a, -c], -1))
    )


def test_mirror_images_count_alike_in_the_normaliser():
    policy = Policy(3, 2, hidden=(8,), mirrors=mirrors(), asymmetry=0.0)
    policy.update_normalizer(torch.tensor([[1.0, 5.0, 2.0]]))
    assert policy.normalizer.mean.tolist() == [3.0, 3.0, 0.0]
    assert policy.normalizer.var.tolist() == [4.0, 4.0, 4.0]
    assert float(policy.normalizer.count) == 2.0


def test_a_symmetric_policy_is_rebuilt_with_its_mirrors():
    policy = Policy(3, 2, hidden=(8,), mirrors=mirrors(), asymmetry=0.0)
    copy = Policy(**policy.hparams)
    copy.load_state_dict(policy.state_dict())
    observation = torch.randn(4, 3)
    assert torch.equal(copy.act(observation), policy.act(observation))


def test_symmetric_networks_cost_no_more_than_plain_ones():
    policy, plain = (
        Policy(3, 2, hidden=(16, 8), mirrors=mirrors(), asymmetry=0.0),
        Policy(3, 2, hidden=(16, 8)),
    )
    count = [sum(p.numel() for p in net.parameters()) for net in (policy, plain)]
    assert count[0] == count[1]
    # The first layer's outputs spread as a plain network's do.
    values = torch.randn(4000, 3)
    spread = [float(net.net[0](values).detach().std()) for net in (policy, plain)]
    assert 0.6 < spread[0] / spread[1] < 1.7


def test_fixed_weights_change_no_answer_and_follow_every_update_from_block_to_block():
    """Fused Adam changes weights without raising their version."""
    policy = Policy(3, 2, hidden=(16,), mirrors=mirrors(), asymmetry=0.2)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1, fused=True)
    observation, answers = torch.randn(20, 3), []
    for _ in range(2):
        with policy.fixed_weights():
            answers.append(policy(observation).detach())
        assert torch.equal(policy(observation).detach(), answers[-1])
        policy(observation).square().sum().backward()
        optimizer.step()
    assert not torch.equal(*answers)


def test_symmetric_networks_of_odd_width_are_refused():
    with pytest.raises(ValueError, match=r"network\.hidden is \(7,\).*even"):
        Policy(3, 2, hidden=(7,), mirrors=mirrors(), asymmetry=0.0)


def test_asymmetry_goes_from_mirrored_to_plain():
    """With the same weights the answer to a mirrored observation departs from the mirrored one."""
    observation = torch.randn(50, 3)
    gap = {}
    for asymmetry in (0.0, 0.2, 0.9):
        torch.manual_seed(3)
        policy = Policy(3, 2, hidden=(16,), mirrors=mirrors(), asymmetry=asymmetry)
        into, out = (MirrorMap(m.index.numel(), m) for m in mirrors())
        difference = policy(into(observation)) - out(policy(observation))
        gap[asymmetry] = float(
            difference.detach().abs().mean() / policy(observation).std().detach()
        )
    assert gap[0.0] < 1e-5 < 0.05 < gap[0.2] < 0.6 < gap[0.9]


def test_a_layer_is_made_less_asymmetric_with_the_weights_it_has():
    """Half the asymmetry is half way to the mirrored layer."""
    torch.manual_seed(3)
    policy = Policy(3, 2, hidden=(16,), mirrors=mirrors(), asymmetry=0.2)
    observation, answers = torch.randn(50, 3), {}
    for asymmetry in (0.2, 0.1, 0.0):
        policy.set_asymmetry(asymmetry)
        assert policy.hparams["asymmetry"] == asymmetry
        answers[asymmetry] = policy.net[0](observation).detach()
    torch.testing.assert_close(answers[0.1], (answers[0.2] + answers[0.0]) / 2)
    assert (answers[0.2] - answers[0.0]).abs().max() > 0.01
    into, out = (MirrorMap(m.index.numel(), m) for m in mirrors())
    torch.testing.assert_close(policy(into(observation)), out(policy(observation)))


def test_policies_with_and_without_mirrors_do_not_become_each_other():
    plain = Policy(3, 2, hidden=(16,))
    plain.set_asymmetry(1.0)
    with pytest.raises(ValueError, match=r"asymmetry is 0\.5; .*: 1, it is plain"):
        plain.set_asymmetry(0.5)
    mirrored = Policy(3, 2, hidden=(16,), mirrors=mirrors(), asymmetry=0.2)
    with pytest.raises(ValueError, match=r"asymmetry is 1\.0; .*: less than 1"):
        mirrored.set_asymmetry(1.0)


@pytest.mark.parametrize(
    ("asymmetry", "deployed", "message"),
    [
        (1.5, 0.1, r"\.asymmetry: 1\.5"),
        (0.2, 0.3, r"deployed_asymmetry is 0\.3; allowed with network\.asymmetry 0\.2: 0 to 0\.2"),
        (1.0, 0.1, r"deployed_asymmetry is 0\.1; allowed with network\.asymmetry 1: 1 to 1"),
    ],
)
def test_asymmetry_out_of_range_is_refused(asymmetry: float, deployed: float, message: str):
    with pytest.raises(ValueError, match=message):
        NetworkConfig(asymmetry=asymmetry, deployed_asymmetry=deployed)

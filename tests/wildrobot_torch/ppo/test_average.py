"""wildrobot_torch.ppo.average: by hand arithmetic."""

from __future__ import annotations

import torch

from envs.robot.symmetry import Mirror
from wildrobot_torch.ppo.average import AveragedPolicy
from wildrobot_torch.ppo.networks import Policy


def filled(policy: Policy, value: float) -> Policy:
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.fill_(value)
    return policy


def test_weights_are_averaged_from_the_first_update_on_and_the_normaliser_is_not():
    policy = Policy(3, 2, hidden=(4,))
    averaged = AveragedPolicy(policy, 0.9, 1.0)
    for number, value in enumerate((1.0, 2.0, 4.0)):
        filled(policy, value).update_normalizer(torch.full((5, 3), float(number)))
        averaged.update_parameters(policy)
    # The second leaves 2 / 41 of 1, the third 3 / 42 of what there is then.
    for parameter in averaged.policy.parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, 80 / 41 / 14 + 52 / 14))
    assert torch.equal(averaged.policy.normalizer.mean, policy.normalizer.mean)
    assert float(policy.normalizer.count) == 15


def test_after_many_updates_each_leaves_its_share():
    policy = Policy(3, 2, hidden=(4,))
    averaged = AveragedPolicy(policy, 0.6, 1.0)
    for value in (0.0,) * 60 + (1.0, 1.0):
        averaged.update_parameters(filled(policy, value))
    for parameter in averaged.policy.parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, 1 - 0.6**2))


def test_keeping_nothing_is_the_policy_itself():
    policy = Policy(3, 2, hidden=(4,))
    averaged = AveragedPolicy(policy, 0.0, 1.0)
    for _ in range(2):
        for parameter in policy.parameters():
            torch.nn.init.normal_(parameter)
        averaged.update_parameters(policy)
    seen = torch.randn(6, 3)
    assert torch.equal(averaged.policy.act(seen), policy.act(seen))


def test_the_average_is_no_parameter_to_train():
    averaged = AveragedPolicy(Policy(3, 2, (4,)), 0.9, 1.0)
    assert not any(p.requires_grad for p in averaged.parameters())


def test_the_average_has_less_asymmetry_and_the_policy_keeps_its_own():
    flip = Mirror(torch.tensor([1, 0]), torch.ones(2))
    policy = Policy(2, 2, hidden=(8,), mirrors=(flip, flip), asymmetry=0.5)
    seen = torch.randn(6, 2)
    before = policy.act(seen)
    averaged = AveragedPolicy(policy, 0.9, 0.0)
    averaged.update_parameters(policy)
    assert torch.equal(policy.act(seen), before)
    assert [policy.hparams["asymmetry"], averaged.policy.hparams["asymmetry"]] == [0.5, 0.0]
    torch.testing.assert_close(averaged.policy(seen.flip(-1)), averaged.policy(seen).flip(-1))
    assert (policy(seen.flip(-1)) - policy(seen).flip(-1)).abs().max() > 1e-5

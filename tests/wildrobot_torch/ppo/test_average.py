"""wildrobot_torch.ppo.average: by hand arithmetic."""

from __future__ import annotations

import pytest
import torch

from wildrobot_torch.ppo.average import AveragedPolicy
from wildrobot_torch.ppo.networks import Policy


def filled(policy: Policy, value: float) -> Policy:
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.fill_(value)
    return policy


def test_weights_are_averaged_from_the_first_update_on_and_the_normaliser_is_not():
    policy = Policy(3, 2, hidden=(4,))
    averaged = AveragedPolicy(policy, 0.9)
    for number, value in enumerate((1.0, 2.0, 4.0)):
        filled(policy, value).update_normalizer(torch.full((5, 3), float(number)))
        averaged.update_parameters(policy)
    # 0.9 (0.9 x 1 + 0.1 x 2) + 0.1 x 4
    for parameter in averaged.policy.parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, 1.39))
    assert torch.equal(averaged.policy.normalizer.mean, policy.normalizer.mean)
    assert float(policy.normalizer.count) == 15


def test_keeping_nothing_is_the_policy_itself():
    policy = Policy(3, 2, hidden=(4,))
    averaged = AveragedPolicy(policy, 0.0)
    for _ in range(2):
        for parameter in policy.parameters():
            torch.nn.init.normal_(parameter)
        averaged.update_parameters(policy)
    seen = torch.randn(6, 3)
    assert torch.equal(averaged.policy.act(seen), policy.act(seen))


def test_the_average_is_no_parameter_to_train():
    assert not any(p.requires_grad for p in AveragedPolicy(Policy(3, 2, (4,)), 0.9).parameters())


@pytest.mark.parametrize("keep", [-0.1, 1.0, float("nan")])
def test_a_share_that_averages_nothing_is_refused(keep):
    with pytest.raises(ValueError, match=rf"model\.average is {keep}; allowed: 0 up to"):
        AveragedPolicy(Policy(3, 2, (4,)), keep)

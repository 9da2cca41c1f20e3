"""wildrobot_torch.training.loaders: sized, and they go on where they were."""

from __future__ import annotations

from tensordict import TensorDict

from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.training.loaders import Rollouts, Scenarios


class Numbered:
    """Hands out one rollout after the other."""

    def __init__(self) -> None:
        self.count = 0

    def collect(self) -> TensorDict:
        self.count += 1
        return TensorDict({}, batch_size=[self.count])


def test_an_epoch_is_sized_collects_when_asked_and_goes_on_where_it_was():
    source = Numbered()
    rollouts = Rollouts(source, 3)
    assert len(rollouts) == 3
    passing = iter(rollouts)
    assert next(passing).batch_size == (1,)
    # Not one ahead: the next is to be of the policy as it is then.
    assert source.count == 1
    resumed = Rollouts(source, 3)
    resumed.load_state_dict(rollouts.state_dict())
    assert len(list(resumed)) == 2
    assert len(list(resumed)) == 3


def test_a_scenario_is_handed_out_once():
    scenario = load_scenario("quick")
    assert len(Scenarios(scenario)) == 1
    assert list(Scenarios(scenario)) == [scenario]

"""wildrobot_torch.rollouts: what a rollout holds, and how it goes on after a restart."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tensordict import TensorDict

from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.rollouts import RolloutData, Rollouts, SamplingActor


@pytest.fixture
def data() -> RolloutData:
    """Six robots, five steps per rollout, acted on by an untrained policy."""
    made = RolloutData(num_envs=6, num_steps=5, num_threads=1, iterations_per_epoch=3)
    # All that rollouts ask of a trainer.
    made.trainer = SimpleNamespace(  # pyright: ignore[reportAttributeAccessIssue]
        global_rank=0,
        is_global_zero=True,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        lightning_module=SimpleNamespace(policy=Policy(39, 8, hidden=(16,))),
    )
    made.setup("fit")
    return made


def test_a_rollout_has_each_robots_steps_in_order(data: RolloutData):
    rollout = data.collect()
    assert rollout.batch_size == (6, 5)
    following, done = rollout["next"], rollout["next", "done"].squeeze(-1)
    goes_on = ~done[:, :-1]
    assert goes_on.any()
    # A step's next observation is the following step's observation, unless an episode ended.
    assert torch.equal(following["amp"][:, :-1][goes_on], rollout["amp"][:, 1:][goes_on])
    # A buffer handed out twice would make all steps alike.
    assert not torch.equal(rollout["observation"][:, 0], rollout["observation"][:, 1])


def test_log_density_and_mean_are_those_of_the_policy_that_acted(data: RolloutData):
    rollout = data.collect()
    policy: Policy = data.trainer.lightning_module.policy  # pyright: ignore
    with torch.no_grad():
        normal = torch.distributions.Normal(policy(rollout["observation"]), policy.log_std.exp())
    torch.testing.assert_close(rollout["loc"], normal.mean)
    torch.testing.assert_close(
        rollout["action_log_prob"], normal.log_prob(rollout["action"]).sum(-1)
    )


def test_later_rollouts_are_of_the_policy_as_it_is_then(data: RolloutData):
    data.collect()
    policy: Policy = data.trainer.lightning_module.policy  # pyright: ignore
    with torch.no_grad():
        policy.net[-1].bias.fill_(0.7)
    assert (data.collect()["loc"] - 0.7).abs().max() < 0.1


def test_an_epoch_is_sized_and_goes_on_where_it_was(data: RolloutData):
    rollouts = Rollouts(data, 3)
    assert len(rollouts) == 3
    passing = iter(rollouts)
    next(passing)
    resumed = Rollouts(data, 3)
    resumed.load_state_dict(rollouts.state_dict())
    assert len(list(resumed)) == 2
    assert len(list(resumed)) == 3


def test_a_restored_state_repeats_the_rollout(data: RolloutData):
    data.collect()
    state = data.state_dict()
    expected = data.collect().clone()
    data.teardown("fit")
    data.load_state_dict(state)
    found = data.collect()
    for key in ("observation", "action", ("next", "reward"), ("next", "amp")):
        assert torch.equal(found[key], expected[key])


def test_a_state_of_another_size_is_refused(data: RolloutData):
    data.collect()
    state = data.state_dict() | {"num_envs": 7}
    with pytest.raises(ValueError, match=r"holds 7 environments, data\.num_envs is 6"):
        data.load_state_dict(state)


def test_the_actor_writes_the_same_keys_always():
    actor = SamplingActor(Policy(4, 2, hidden=(8,)))
    td = actor(TensorDict({"observation": torch.zeros(3, 4)}, batch_size=[3]))
    assert set(td.keys()) == {"observation", *actor.out_keys}

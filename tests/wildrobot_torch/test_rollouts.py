"""wildrobot_torch.rollouts: what a rollout holds, and which start states are asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tensordict import TensorDict

from envs.commands import CommandConfig
from envs.layout import Field, Layout
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.rollouts import RolloutData, Rollouts, SamplingActor, commanded_starts


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


def _reference(*speeds: float) -> ReferenceDataset:
    count, length = len(speeds), 30
    return ReferenceDataset(
        amp=torch.zeros(count * length, 1),
        qpos=torch.arange(count).repeat_interleave(length)[:, None].expand(-1, 9).float(),
        qvel=torch.zeros(count * length, 8),
        segment_start=torch.arange(count) * length,
        segment_length=torch.full((count,), length),
        segment_weight=torch.ones(count),
        segment_velocity=torch.tensor(speeds),
        segment_clip=("clip",) * count,
        segment_tier=("assisted",) * count,
        ctrl_dt=0.02,
        amp_layout=Layout("amp", (Field("value", 1, "1", "none", "a value"),)),
        robot_digest="",
        manifest={},
    )


def test_reference_starts_are_those_whose_speed_is_asked_for():
    reference = _reference(0.0, 0.17, 0.3, 0.9)
    command = CommandConfig(velocity_min=0.2, velocity_max=0.4)
    qpos, qvel, velocity = commanded_starts(reference, command)
    # 0.17 is near enough to be asked for 0.2; standing and 0.9 m/s are never asked for.
    assert set(qpos[:, 5].tolist()) == {1.0, 2.0}
    assert velocity.unique().tolist() == pytest.approx([0.2, 0.3])
    assert len(qpos) == len(qvel) == len(velocity)


def test_standing_starts_belong_where_standing_is_asked_for():
    command = CommandConfig(velocity_min=0.2, velocity_max=0.4, standing_probability=0.1)
    qpos, _, velocity = commanded_starts(_reference(0.01, 0.3), command)
    assert set(qpos[:, 5].tolist()) == {0.0, 1.0}
    assert velocity[qpos[:, 5] == 0.0].unique().tolist() == [0.0]


def test_a_reference_with_no_commanded_speed_is_refused():
    with pytest.raises(DatasetError, match=r"asks for 0\.2 to 0\.4 m/s.*0\.90 to 0\.90"):
        commanded_starts(_reference(0.9), CommandConfig(velocity_min=0.2, velocity_max=0.4))

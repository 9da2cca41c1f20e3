"""wildrobot_torch.training.data: what a rollout holds, and how it goes on after a restart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict

from envs.robot.spec import RobotSpec
from envs.task.observations import observation_layout
from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.training.data import RolloutData, Rollouts, SamplingActor


@pytest.fixture
def data(robot: RobotSpec) -> RolloutData:
    """Six robots, five steps per rollout, acted on by an untrained policy."""
    made = RolloutData(num_envs=6, num_steps=5, num_threads=1, iterations_per_epoch=3)
    size = observation_layout(robot, made.config.observation).size
    # All that rollouts ask of a trainer.
    made.trainer = SimpleNamespace(
        global_rank=0,
        is_global_zero=True,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        lightning_module=SimpleNamespace(
            policy=Policy(size, 8, hidden=(16,)), ppo=PPOConfig(), env_steps=0
        ),
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
    policy: Policy = data.trainer.lightning_module.policy
    with torch.no_grad():
        std = (policy.log_std + rollout["log_noise"]).exp()
        normal = torch.distributions.Normal(policy(rollout["observation"]), std)
    torch.testing.assert_close(rollout["loc"], normal.mean)
    torch.testing.assert_close(
        rollout["action_log_prob"], normal.log_prob(rollout["action"]).sum(-1)
    )


def test_later_rollouts_are_of_the_policy_as_it_is_then(data: RolloutData):
    data.collect()
    policy: Policy = data.trainer.lightning_module.policy
    with torch.no_grad():
        policy.net[-1].bias.fill_(0.7)
    assert (data.collect()["loc"] - 0.7).abs().max() < 0.1


def test_a_restored_state_repeats_the_rollout(data: RolloutData):
    data.collect()
    state = data.state_dict()
    expected = data.collect().clone()
    data.teardown("fit")
    data.load_state_dict(state)
    found = data.collect()
    for key in ("observation", "action", "rsi_index", ("next", "reward"), ("next", "amp")):
        assert torch.equal(found[key], expected[key])


def test_a_state_of_another_size_is_refused(data: RolloutData):
    data.collect()
    state = data.state_dict() | {"num_envs": 7}
    with pytest.raises(ValueError, match=r"holds 7 environments, data\.num_envs is 6"):
        data.load_state_dict(state)


def test_a_state_of_another_version_is_refused(data: RolloutData):
    data.collect()
    state = data.state_dict()
    simulation = {key: x for key, x in state["simulation"].items() if key != "stance_time"}
    with pytest.raises(ValueError, match=r"lack stance_time: .*model\.warm_start"):
        data.load_state_dict(state | {"simulation": simulation})


def _reference(data: RolloutData, folder: Path, heights: dict[str, float]) -> str:
    """File of a reference that stands at a height [m] in each tier; features are that height."""
    robot, layout, count = data.env.robot, data.layouts["amp"], len(heights)
    qpos = robot.home_qpos.repeat(40 * count, 1)
    qpos[:, 2] = torch.tensor(list(heights.values())).repeat_interleave(40)
    ReferenceDataset(
        amp=qpos[:, 2:3].expand(-1, layout.size),
        qpos=qpos,
        qvel=torch.zeros(40 * count, robot.num_joints + 6),
        foot_force=torch.zeros(40 * count, 2),
        support_wrench=torch.zeros(40 * count, 6),
        segment_start=torch.arange(count) * 40,
        segment_length=torch.full((count,), 40),
        segment_weight=torch.ones(count),
        segment_velocity=torch.full((count,), 0.2),
        segment_clip=("clip",) * count,
        segment_tier=tuple(heights),
        segment_support=("none",) * count,
        ctrl_dt=0.02,
        amp_layout=layout,
        robot_digest=robot.digest,
        manifest={},
    ).save(folder / "r.npz")
    return str(folder / "r.npz")


def test_start_states_and_windows_follow_the_curriculum(data: RolloutData, tmp_path: Path):
    # Told apart by height: 0.5 m in tier 0+, 0.6 m in tier 1, which joins at 1000 steps.
    path = _reference(data, tmp_path, {"0+": 0.5, "1": 0.6})
    made = RolloutData(
        num_envs=64,
        num_steps=1,
        num_threads=1,
        reference=path,
        reference_tiers={"0+": 0, "1": 1000},
        rsi_probability=1.0,
        validation_split=0.0,
    )
    made.trainer = data.trainer
    module: Any = data.trainer.lightning_module
    made.setup("fit")

    def seen(env_steps: int) -> tuple[set[float], ...]:
        """Heights the robots start at and the discriminator is shown, after so many steps."""
        module.env_steps = env_steps
        made.collect()
        assert made.reference is not None
        made.env.reset()
        heights = made.env.backend.state().qpos[:, 2]
        windows = made.reference.sample_windows(64, 2)
        return tuple({round(x, 1) for x in t.flatten().tolist()} for t in (heights, windows))

    assert seen(0) == ({0.5}, {0.5})
    assert seen(999) == ({0.5}, {0.5})
    assert seen(1000) == ({0.5, 0.6}, {0.5, 0.6})


def test_starts_are_numbered_over_all_tiers(data: RolloutData, tmp_path: Path):
    # In the file tier 1 comes first, and is used later: the first frame of tier 0+ is number 40.
    path = _reference(data, tmp_path, {"1": 0.6, "0+": 0.5})
    made = RolloutData(
        num_envs=32,
        num_steps=1,
        num_threads=1,
        reference=path,
        reference_tiers={"0+": 0, "1": 1000},
        validation_split=0.0,
    )
    made.trainer = data.trainer
    module: Any = data.trainer.lightning_module
    made.setup("fit")
    for env_steps, lowest in ((0, 40), (1000, 0)):
        module.env_steps = env_steps
        made.collect()
        assert made.curriculum is not None
        root = made.env.reset()
        start = root["rsi_index"][:, 0]
        given = start >= 0
        assert 0 < given.sum() < 32 and (start[~given] == -1).all()
        assert start[given].min() >= lowest
        # Features are the height, here and there.
        frames, _ = made.curriculum.frames
        height = made.env.backend.state().qpos[:, 2]
        assert torch.allclose(frames[start[given], 0], height[given])


def test_motion_that_is_held_out_is_never_shown(data: RolloutData, tmp_path: Path):
    path = _reference(data, tmp_path, {"0+": 0.5})
    made = RolloutData(num_envs=2, num_threads=1, reference=path)
    made.trainer = data.trainer
    with pytest.raises(DatasetError, match=r"--data\.validation_split 0"):
        made.setup("fit")


def test_a_later_tier_that_cannot_be_used_is_refused_at_the_start(
    data: RolloutData, tmp_path: Path
):
    path = _reference(data, tmp_path, {"0+": 0.5, "1": 0.6})
    reference = ReferenceDataset.load(path, data.layouts["amp"], data.robot.digest)
    knee = data.robot.joint_qpos_adr[data.robot.joint_names.index("left_knee_pitch")]
    reference.qpos[40:, knee] = 3.0  # beyond the joint's stop, in tier 1 only
    reference.save(tmp_path / "late.npz")
    made = RolloutData(
        num_envs=2, num_threads=1, reference=str(tmp_path / "late.npz"), validation_split=0.0,
        reference_tiers={"0+": 0, "1": 10_000_000},
    )  # fmt: skip
    made.trainer = data.trainer
    with pytest.raises(DatasetError, match="left_knee_pitch out of an action's reach"):
        made.setup("fit")


def test_a_reference_without_the_tiers_in_use_is_refused(data: RolloutData, tmp_path: Path):
    path = _reference(data, tmp_path, {"1": 0.5})
    made = RolloutData(num_envs=2, num_threads=1, reference=path, validation_split=0.0)
    made.trainer = data.trainer
    with pytest.raises(DatasetError, match=r"r.npz: no segment of tier 0\+ or 0, only 0.8 s of 1"):
        made.setup("fit")


def test_low_noise_environments_act_with_less_noise():
    num = 4000
    log_noise = PPOConfig(low_noise_env_fraction=0.25, low_noise_scale=0.4).log_noise(
        num, torch.device("cpu")
    )
    policy = Policy(4, 2, hidden=(8,), init_std=0.5)
    with torch.no_grad():
        td = SamplingActor(policy, log_noise)(
            TensorDict({"observation": torch.zeros(num, 4)}, batch_size=[num])
        )
    noise = td.get("action") - td.get("loc")
    assert float(noise[:1000].std()) == pytest.approx(0.2, rel=0.1)
    assert float(noise[1000:].std()) == pytest.approx(0.5, rel=0.1)
    # The density is that of the noise an action was drawn with.
    low = torch.distributions.Normal(td.get("loc")[:1000], 0.2)
    expected = low.log_prob(td.get("action")[:1000]).sum(-1)
    assert torch.allclose(td.get("action_log_prob")[:1000], expected, atol=1e-5)


class Numbered:
    """Hands out one rollout after the other."""

    def __init__(self) -> None:
        self.count = 0

    def collect(self) -> TensorDict:
        self.count += 1
        return TensorDict({}, batch_size=[self.count])


def test_an_epoch_is_sized_collects_when_asked_and_goes_on_where_it_was():
    source = Numbered()
    rollouts = Rollouts(source, 3)  # pyright: ignore
    assert len(rollouts) == 3
    passing = iter(rollouts)
    assert next(passing).batch_size == (1,)
    # Not one ahead: the next is to be of the policy as it is then.
    assert source.count == 1
    resumed = Rollouts(source, 3)  # pyright: ignore
    resumed.load_state_dict(rollouts.state_dict())
    assert len(list(resumed)) == 2
    assert len(list(resumed)) == 3

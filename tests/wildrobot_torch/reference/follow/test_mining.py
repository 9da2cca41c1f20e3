"""The motion is the policy's own, and judged."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from envs.config import LocomotionConfig, policy_settings
from envs.layout import LayoutMismatch
from envs.locomotion import LocomotionEnv
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from envs.task.observations import observation_layout
from envs.task.starts import ResetConfig
from wildrobot_torch.motion.metrics import measure
from wildrobot_torch.motion.synthesis.walk import standing_clip
from wildrobot_torch.ppo.policy_file import LoadedPolicy, PolicyFileError, load_policy
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.follow.mining import MiningConfig, PolicySource, load_sources, mine
from wildrobot_torch.reference.generate import Generation, ReferenceConfig, generate
from wildrobot_torch.reference.judge.gates import load_gates
from wildrobot_torch.reference.report.comparison import compare
from wildrobot_torch.reference.verify.determinism import regeneration
from wildrobot_torch.reference.verify.subject import Subject

ROOT = Path(__file__).parents[4]
WALKING = ROOT / "tests/data/walking_policy.onnx"
GATES = load_gates(ROOT / "configs/gates.yaml")
SPEEDS = (0.2, 0.4)
MakePolicy = Callable[..., PolicySource]


def mining(**settings: object) -> ReferenceConfig:
    return ReferenceConfig(mining=MiningConfig(**{"speeds": SPEEDS, "seconds": 3.0} | settings))


@pytest.fixture
def acting(robot: RobotSpec) -> MakePolicy:
    """Maker of policies that act alike whatever they see: 0 stands at home."""

    def make(action: float = 0.0, task: LocomotionConfig | None = None) -> PolicySource:
        task = task or LocomotionConfig()
        policy = LoadedPolicy(
            path=Path("made.ckpt"),
            layout=observation_layout(robot, task.observation),
            robot_digest=robot.digest,
            env_config=policy_settings(task),
            env_steps=7,
            act=lambda seen: torch.full((len(seen), robot.num_joints), action),
        )
        return PolicySource("policy", policy, "0" * 64)

    return make


@pytest.fixture(scope="module")
def walked(robot: RobotSpec) -> Generation:
    return generate([], robot, GATES, mining(), policies=load_sources([WALKING]))


def alone(commands: list[tuple[int, float]], num_steps: int) -> tuple[Tensor, Tensor]:
    """States (E, T + 1, nq) and features (E, T, F) of the same policy, without `mine`.

    An environment that resets by itself, as evaluations have it.
    """
    policy = load_policy(WALKING)
    still = ResetConfig(joint_noise=0.0, velocity_noise=0.0)
    env = LocomotionEnv(replace(policy.task, reset=still), len(SPEEDS))
    env.set_commands(torch.tensor(SPEEDS))
    seen = env.reset()["observation"]
    qpos, amp = [env.backend.state().qpos.clone()], []
    for step in range(num_steps):
        for when, velocity in commands:
            if step == when:
                env.set_commands(torch.full((len(SPEEDS),), velocity))
                seen = env.observe(env.measure())["observation"]
        action = policy(seen)
        following = env.step(TensorDict({"action": action}, batch_size=[len(SPEEDS)]))["next"]
        assert not bool(following["terminated"].any())
        seen = following["observation"]
        qpos.append(env.backend.state().qpos.clone())
        amp.append(following["amp"].clone())
    return torch.stack(qpos, dim=1), torch.stack(amp, dim=1)


def test_the_dataset_holds_what_the_policy_does_by_itself(walked: Generation) -> None:
    dataset = walked.dataset
    assert dataset is not None
    qpos, amp = alone([], 150)
    assert set(dataset.segment_clip) <= {"policy_0.20", "policy_0.40"}
    assert dataset.duration_s > 2.0
    for i, segment in enumerate(dataset.manifest["segments"]):
        robot = ["policy_0.20", "policy_0.40"].index(dataset.segment_clip[i])
        start, length = int(dataset.segment_start[i]), int(dataset.segment_length[i])
        first = segment["clip_frame"]
        frames = slice(start, start + length)
        assert torch.equal(dataset.qpos[frames], qpos[robot, first : first + length])
        assert torch.equal(dataset.amp[frames], amp[robot, first - 1 : first - 1 + length])
    assert set(dataset.segment_support) == {"none"}
    assert not dataset.support_wrench.any()


def test_starts_from_home_are_in_it_and_commands_are_followed(walked: Generation, robot) -> None:
    for rollout, speed in zip(walked.rollouts["policy"], SPEEDS, strict=True):
        velocity = rollout.recording.velocity[:, 0]
        assert float(velocity[50:].mean()) == pytest.approx(speed, abs=0.05)
        # The clip is the motion: its first frame is the start, the next ones are the rollout's.
        clip = rollout.task.clip
        assert clip.num_frames == 151
        assert torch.equal(
            torch.from_numpy(clip.root_pos[1:]).float(), rollout.recording.qpos[:, 0, :3]
        )
        start = [*clip.root_pos[0], *clip.root_quat[0]]
        assert start == pytest.approx(robot.home_qpos[:7].tolist())
        assert clip.joint_pos[0].tolist() == pytest.approx(
            robot.home_qpos[robot.joint_qpos_adr].tolist()
        )


def test_the_account_names_the_policy(walked: Generation, robot_model: RobotModel) -> None:
    dataset = walked.dataset
    assert dataset is not None
    (policy,) = dataset.manifest["policies"]
    assert policy["file"] == "walking_policy.onnx" and len(policy["sha256"]) == 64
    assert policy["env_steps"] == load_policy(WALKING).env_steps > 0
    assert policy["clips"][1] == {"name": "policy_0.40", "command": 0.4}
    rows = compare(walked, robot_model, {})
    assert [(row.clip, row.method) for row in rows] == [
        ("policy_0.20", "policy"),
        ("policy_0.40", "policy"),
    ]
    assert all(row.survival == 1.0 for row in rows)
    assert all(math.isnan(row.metrics["joint_error"]) for row in rows), "there is no clip"
    assert all(math.isnan(row.clip_speed) for row in rows)


def test_joint_errors_are_undefined_and_all_else_is_measured(walked: Generation, robot) -> None:
    measured = measure(walked.rollouts["policy"][0].recording, robot)
    undefined = {name for name, value in measured.items() if not math.isfinite(value)}
    assert undefined == {"joint_error"}


def test_the_same_file_makes_the_same_bytes(walked: Generation, robot, tmp_path) -> None:
    copied = tmp_path / "elsewhere" / WALKING.name
    copied.parent.mkdir()
    shutil.copy(WALKING, copied)
    again = generate([], robot, GATES, mining(), policies=load_sources([copied]))
    assert walked.dataset is not None and again.dataset is not None
    walked.dataset.save(tmp_path / "a.npz")
    again.dataset.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = ReferenceDataset.load(tmp_path / "a.npz", amp_layout(robot), robot.digest)
    assert loaded.sample_windows(8, 2).shape == (8, 2, amp_layout(robot).size)


def test_verification_says_that_there_is_no_clip(walked: Generation, robot_model) -> None:
    assert walked.dataset is not None
    (finding,) = regeneration(Subject(walked.dataset, robot_model))
    assert finding.status == "WARN" and finding.detail.startswith("not tested")


def test_settling_is_left_out_and_stops_are_asked_for(robot) -> None:
    (source,) = load_sources([WALKING])
    settings = MiningConfig(speeds=SPEEDS, seconds=2.0, settle_s=0.6, stop_s=0.8)
    rollouts = mine(source, settings)
    qpos, _ = alone([(60, 0.0)], 100)
    for i, rollout in enumerate(rollouts):
        assert torch.equal(rollout.recording.qpos[:, 0], qpos[i, 31:])
        assert rollout.task.num_steps == 70 and rollout.survival == 1.0


def test_a_standing_policy_stands_and_does_not_pass_for_walking(
    acting: MakePolicy, robot, robot_model
) -> None:
    config = mining(speeds=(0.0, 0.3), seconds=2.0)
    made = generate([], robot, GATES, config, policies=[acting()])
    asked_to_stand, asked_to_walk = compare(made, robot_model, {})
    assert asked_to_stand.seconds("0+") == pytest.approx(2.0)
    assert asked_to_walk.spans == ()
    refused = {gate for r in made.rejected if r.clip == "policy_0.30" for gate in r.gates}
    assert {"single_support", "alternation"} <= refused
    assert made.dataset is not None and made.dataset.segment_clip == ("policy_0.00",)
    assert float(made.dataset.segment_velocity[0]) == pytest.approx(0.0, abs=0.01)
    assert made.dataset.foot_force.sum(-1).mean() == pytest.approx(robot.weight, rel=0.05)


def test_a_policy_that_treads_when_asked_to_stand_is_rejected_by_name(robot) -> None:
    config = mining(speeds=(0.0,), seconds=2.0)
    made = generate([], robot, GATES, config, policies=load_sources([WALKING]))
    assert made.dataset is None
    assert "still" in {gate for r in made.rejected for gate in r.gates}


def test_a_fall_ends_the_motion(acting: MakePolicy) -> None:
    # All joints at one end of their reach: nothing stands like that.
    (rollout,) = mine(acting(1.0), MiningConfig(speeds=(0.2,), seconds=3.0))
    assert 0.0 < rollout.survival < 1.0
    clip, length = rollout.task.clip, rollout.num_frames
    assert clip.num_frames == 151
    assert (clip.joint_pos[length:] == clip.joint_pos[length]).all()


def test_policies_are_told_apart_and_given_once(tmp_path) -> None:
    config = MiningConfig(speeds=(0.1, 0.125))
    (source,) = load_sources([WALKING])
    assert [source.clip_name(v) for v in config.speeds] == ["policy_0.10", "policy_0.125"]
    copied = tmp_path / "copy.onnx"
    shutil.copy(WALKING, copied)
    with pytest.raises(PolicyFileError, match=r"copy\.onnx holds the same as .*walking_policy"):
        load_sources([WALKING, copied])


def test_policies_that_do_not_fit_are_refused(acting: MakePolicy, robot) -> None:
    source, config = acting(), MiningConfig(speeds=(0.1,), seconds=1.0)

    def other(**changed: object) -> PolicySource:
        return replace(source, policy=replace(source.policy, **changed))

    with pytest.raises(PolicyFileError, match="was made for robot 0123, this one is"):
        mine(other(robot_digest="0123"), config)
    with pytest.raises(LayoutMismatch):
        mine(other(layout=amp_layout(robot)), config)
    with pytest.raises(PolicyFileError, match=r"acts every 0\.01 s, reference is made at 0\.02 s"):
        mine(acting(task=LocomotionConfig(ctrl_dt=0.01)), config)
    with pytest.raises(PolicyFileError, match="not finite"):
        mine(other(act=lambda seen: torch.full((len(seen), 8), math.nan)), config)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"speeds": ()}, "mining.speeds"),
        ({"speeds": (0.1, -0.1)}, "speeds"),
        ({"speeds": (0.1, 0.1)}, "mining.speeds"),
        ({"seconds": 2.0, "settle_s": 1.0, "stop_s": 1.0}, "mining.settle_s"),
        ({"stop_s": -1.0}, "stop_s"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        MiningConfig(**settings)


def test_clips_that_are_called_like_its_rollouts_are_refused(acting: MakePolicy, robot) -> None:
    clip = replace(standing_clip(robot, 1.0), name="policy_0.20")
    config = mining(speeds=(0.2,), seconds=0.5)
    with pytest.raises(ValueError, match=r"names of policies' rollouts: \['policy_0.20'\]"):
        generate([clip], robot, GATES, config, policies=[acting()])

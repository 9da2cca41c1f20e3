"""Signs and effect of the balance feedback."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.measurements import Measurements
from wildrobot_torch.motion.metrics import measure
from wildrobot_torch.motion.synthesis.walk import walking_clip
from wildrobot_torch.reference.follow.balance import BalanceConfig, balance_offsets, leg_joints
from wildrobot_torch.reference.follow.rollout import Task, clip_env, follow
from wildrobot_torch.reference.generate import ReferenceConfig

UPRIGHT = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
STILL = torch.zeros(1, 3)


@pytest.fixture
def on_left_foot(robot) -> Measurements:
    """Upright and still, all weight on the left foot."""
    env = clip_env(1, support=ReferenceConfig().harness)
    env.reset()
    zero = torch.zeros(1)
    return replace(
        env.measure(),
        roll=zero,
        pitch=zero,
        linvel_h=STILL,
        angvel_b=STILL,
        foot_force=torch.tensor([[robot.weight, 0.0]]),
    )


def offsets(m, robot, **gains):
    row = balance_offsets(m, UPRIGHT, STILL, robot, BalanceConfig(**(NONE | gains)))[0]
    return dict(zip(robot.joint_names, row.tolist(), strict=True))


NONE = dict.fromkeys(("roll_kp", "roll_kd", "pitch_kp", "pitch_kd", "ankle", "step"), 0.0)


def test_nothing_is_corrected_when_nothing_is_wrong(on_left_foot, robot):
    assert set(offsets(on_left_foot, robot, **dict.fromkeys(NONE, 1.0)).values()) == {0.0}


def test_leaning_right_pushes_the_stance_hip_back(on_left_foot, robot):
    # Torque along the hip-roll axis (-x) turns the leg; its reaction turns the trunk about +x, to
    # the right. Against a lean to the right the stance target must go down, and only that.
    found = offsets(replace(on_left_foot, roll=torch.tensor([0.1])), robot, roll_kp=2.0)
    assert found.pop("left_hip_roll") == pytest.approx(-0.2)
    assert set(found.values()) == {0.0}


def test_leaning_forward_extends_the_stance_hip(on_left_foot, robot):
    leaning = replace(on_left_foot, pitch=torch.tensor([0.1]))
    found = offsets(leaning, robot, pitch_kp=2.0)
    assert found.pop("left_hip_pitch") == pytest.approx(-0.2)  # left: positive is flexion
    assert set(found.values()) == {0.0}
    on_right = replace(leaning, foot_force=leaning.foot_force.flip(-1))
    found = offsets(on_right, robot, pitch_kp=2.0)
    assert found.pop("right_hip_pitch") == pytest.approx(0.2)  # right: negative is flexion


def test_too_fast_steps_further_with_a_level_foot(on_left_foot, robot):
    fast = replace(on_left_foot, linvel_h=torch.tensor([[0.2, 0.0, 0.0]]))
    found = offsets(fast, robot, step=0.5)
    assert found.pop("right_hip_pitch") == pytest.approx(-0.1)
    assert found.pop("right_ankle_pitch") == pytest.approx(0.1)
    assert set(found.values()) == {0.0}


def test_a_robot_without_such_joints_is_refused(robot):
    with pytest.raises(ValueError, match="balance needs a yaw in each leg"):
        leg_joints(robot, "yaw")


def test_balance_takes_load_off_the_harness(robot_model, robot):
    clip, config = walking_clip(robot, 0.2, 4.0), ReferenceConfig()
    shares = {}
    for name, balance in (("none", BalanceConfig(**NONE)), ("shipped", config.balance)):
        env = clip_env(1, support=replace(config.harness, torque_cap=4.0))
        rollout = follow(env, [Task(clip, 0)], robot_model, balance)[0]
        assert rollout.survival == 1.0
        shares[name] = measure(rollout.recording, robot)["support_torque_p95"]
    assert shares["shipped"] < 0.8 * shares["none"]

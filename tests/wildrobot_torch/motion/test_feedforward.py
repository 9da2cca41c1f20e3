"""Inverse dynamics against statics, and its targets against plain playback in physics."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.robot.model import load_robot
from wildrobot_torch.motion.clip import Clip, ClipError, clip_states
from wildrobot_torch.motion.feedforward import carried, inverse_dynamics, position_targets
from wildrobot_torch.motion.kinematics import legs_of, soles
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip

MODEL = load_robot()
ROBOT = MODEL.robot
LEGS = legs_of(ROBOT)


def play(clip: Clip, targets: np.ndarray) -> np.ndarray:
    """Playback from the clip's first state without support: qpos (N, nq) after every step."""
    data = mujoco.MjData(MODEL.model)
    qpos, qvel = clip_states(clip, ROBOT)
    data.qpos[:], data.qvel[:] = qpos[0].numpy(), qvel[0].numpy()
    low, high = MODEL.model.actuator_ctrlrange.T
    states = [data.qpos.copy()]
    for target in targets[1:]:
        data.ctrl[:] = np.clip(target, low, high)
        mujoco.mj_step(MODEL.model, data, 10)
        states.append(data.qpos.copy())
    return np.stack(states)


def test_standing_still_the_zero_moment_point_is_under_the_centre_of_mass() -> None:
    clip = standing_clip(ROBOT, 1.0, crouch=0.02)
    torque, zmp = inverse_dynamics(clip, MODEL)
    data = mujoco.MjData(MODEL.model)
    data.qpos[:] = clip_states(clip, ROBOT)[0][0].numpy()
    mujoco.mj_forward(MODEL.model, data)
    assert np.allclose(zmp, data.subtree_com[ROBOT.root_body, :2], atol=1e-4)
    # Bent knees are held by their extensors (flexion is positive), both sides within the legs'
    # small differences alike; hips carry nothing sideways when each foot bears its half.
    knees = [ROBOT.joint_names.index(f"{side}_knee_pitch") for side in ("left", "right")]
    assert (torque[:, knees] < -0.1).all()
    assert np.allclose(torque[:, knees[0]], torque[:, knees[1]], atol=0.05)


def test_standing_on_feedforward_sags_less() -> None:
    clip = standing_clip(ROBOT, 2.0, crouch=0.02)
    plain = play(clip, clip.joint_pos)[-1]
    led = play(clip, position_targets(clip, MODEL))[-1]
    wanted = clip_states(clip, ROBOT)[0][-1].numpy()
    assert np.abs(led - wanted)[7:].max() < 0.25 * np.abs(plain - wanted)[7:].max()
    assert abs(led[2] - wanted[2]) < 1e-3 < abs(plain[2] - wanted[2])


def test_weight_passes_from_foot_to_foot() -> None:
    clip = walking_clip(ROBOT, 0.2, 4.0)
    share = carried(LEGS, clip)
    assert np.allclose(share.sum(1), 1.0) and share.min() >= 0.0
    height = soles(LEGS, clip)[..., 2]
    assert (share[height[:, 0] > 0.01, 0] == 0.0).all()
    assert (share[height[:, 1] > 0.01, 1] == 0.0).all()
    assert 0.4 < share.mean(0)[0] < 0.6


@pytest.mark.parametrize("speed", [0.1, 0.2, 0.3])
def test_built_in_walks_are_balanced(speed: float) -> None:
    """Carried by one foot, the zero-moment point of the whole robot is at its sole."""
    clip = walking_clip(ROBOT, speed, 4.0)
    torque, zmp = inverse_dynamics(clip, MODEL)
    share = carried(LEGS, clip)
    place = soles(LEGS, clip)
    leg = ROBOT.leg
    for side in (0, 1):
        alone = share[:, side] == 1.0
        off = zmp[alone] - place[alone, side, :2]
        inside = (off[:, 0] > leg.heel) & (off[:, 0] < leg.toe)
        assert inside.mean() > 0.85
        assert np.abs(np.median(off[:, 1])) < leg.sole_width / 2.0
    # Hip roll holds the hanging half of the robot: 2.9 N m at rest, within the servo's 4.
    rolls = [ROBOT.joint_names.index(f"{s}_hip_roll") for s in ("left", "right")]
    assert 2.0 < np.abs(torque[:, rolls]).max() < 4.0


def test_slow_walking_needs_no_support_with_feedforward() -> None:
    clip = walking_clip(ROBOT, 0.1, 4.0)
    states = play(clip, position_targets(clip, MODEL))
    upright = 1.0 - 2.0 * (states[:, 4] ** 2 + states[:, 5] ** 2)
    assert upright.min() > np.cos(0.35)
    assert states[:, 2].min() > 0.40
    assert states[-1, 0] > 0.15


def test_another_robots_clip_is_refused() -> None:
    clip = Clip("c", 50.0, np.zeros((3, 3)), np.tile([1.0, 0, 0, 0], (3, 1)), np.zeros((3, 9)), "")
    with pytest.raises(ClipError, match="9 joints"):
        position_targets(clip, MODEL)

"""The walking-pattern generator: speed, stops, floor, slip, gait."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.errors import UserError
from envs.robot.model import load_robot
from wildrobot_torch.motion.clip import Clip, ClipError, clip_states
from wildrobot_torch.motion.kinematics import legs_of, sole_corners, soles
from wildrobot_torch.motion.synthesis.walk import WalkConfig, standing_clip, walking_clip

MODEL = load_robot()
ROBOT = MODEL.robot
LEGS = legs_of(ROBOT)
SPEEDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def lowest(clip: Clip) -> np.ndarray:
    """Height (N, 2) of the lowest corner of each sole [m]."""
    return sole_corners(LEGS, clip)[..., 2].min(-1)


@pytest.mark.parametrize("speed", SPEEDS)
def test_walks_at_the_speed_asked_within_the_robots_limits(speed: float) -> None:
    clip = walking_clip(ROBOT, speed, 6.0)
    assert clip.num_frames == 301 and clip.fps == 50.0
    assert clip.mean_speed == pytest.approx(speed, rel=0.02)
    low, high = ROBOT.joint_range.double().numpy().T
    margin = np.where([("knee" in name) for name in ROBOT.joint_names], 0.0, 0.0199)
    assert (clip.joint_pos >= low + margin).all() and (clip.joint_pos <= high - 0.0199).all()
    assert np.abs(clip.velocities(ROBOT)[2]).max() < 10.0
    assert np.allclose(clip.root_pos[:, 2], clip.root_pos[0, 2])


@pytest.mark.parametrize("speed", SPEEDS)
def test_feet_stand_on_the_floor_do_not_slip_and_alternate(speed: float) -> None:
    clip = walking_clip(ROBOT, speed, 6.0)
    height = lowest(clip)
    assert height.min() > -1e-4
    assert 0.025 < height.max() < 0.045
    stands = height < 1e-6
    assert stands.any(1).all(), "one foot always carries"
    assert 0.10 < stands.all(1).mean() < 0.30
    place = soles(LEGS, clip)
    still = stands[1:] & stands[:-1]
    speed = np.linalg.norm(np.diff(place[..., :2], axis=0), axis=-1) * clip.fps
    assert speed[still].max() < 1e-3
    # The foot that carries alone rolls about its edges: its lowest corner stays where it is.
    corners = sole_corners(LEGS, clip)
    which = corners[..., 2].argmin(-1)
    for side in (0, 1):
        alone = still[:, side] & ~still[:, 1 - side] & (which[1:, side] == which[:-1, side])
        rows = np.flatnonzero(alone & ~(stands[1:, 1 - side] | stands[:-1, 1 - side]))
        step = corners[rows + 1, side, which[rows, side], :2]
        step = step - corners[rows, side, which[rows, side], :2]
        assert len(rows) > 50
        assert np.linalg.norm(step, axis=1).max() * clip.fps < 1e-3
    assert (place[:, 0, 1] - place[:, 1, 1]).min() > ROBOT.leg.sole_width + 0.01
    lifted = [side for frame in height > 0.01 for side in (0, 1) if frame[side]]
    changes = int((np.diff(lifted) != 0).sum()) + 1
    steps = sum(int((np.diff((height[:, s] > 0.01).astype(int)) == 1).sum()) for s in (0, 1))
    assert abs(changes - steps) <= 1, "left and right swing in turn"


def test_slow_walks_keep_their_soles_flat_fore_and_aft() -> None:
    clip = walking_clip(ROBOT, 0.2, 4.0)
    corners = sole_corners(LEGS, clip)
    stands = corners[..., 2].min(-1) < 1e-4
    slope = np.abs(corners[:, :, 0, 2] - corners[:, :, 2, 2])
    assert slope[stands].max() < 1e-3


def underside(data: mujoco.MjData, plate: str) -> float:
    """Height of the lowest corner of a box [m]."""
    geom = data.geom(plate)
    up = np.abs(geom.xmat.reshape(3, 3)[2])
    return float(geom.xpos[2] - up @ MODEL.model.geom(plate).size)


def test_engine_agrees_that_the_standing_sole_is_on_the_floor() -> None:
    clip = walking_clip(ROBOT, 0.3, 2.0)
    data = mujoco.MjData(MODEL.model)
    qpos, _ = clip_states(clip, ROBOT)
    height = lowest(clip)
    for frame in range(0, clip.num_frames, 7):
        data.qpos[:] = qpos[frame].double().numpy()
        mujoco.mj_forward(MODEL.model, data)
        corner = [
            min(underside(data, f"{foot}_{part}") for part in ("toe", "heel"))
            for foot in ("left", "right")
        ]
        assert np.allclose(corner, height[frame], atol=1.5e-3)


def test_starts_and_ends_standing_when_asked() -> None:
    clip = walking_clip(ROBOT, 0.2, 5.0, start_standing=True, end_standing=True)
    assert clip.num_frames == 251
    linvel, _, joint_vel = clip.velocities(ROBOT)
    for frame in (0, 1, -2, -1):
        assert np.abs(joint_vel[frame]).max() < 0.05
        assert np.abs(linvel[frame]).max() < 0.02
    assert lowest(clip)[[0, -1]].max() < 1e-4
    apart = soles(LEGS, clip)[[0, -1]]
    assert np.allclose(apart[:, 0, 0], apart[:, 1, 0], atol=1e-9)


def test_lateral_motion_is_periodic_and_centred() -> None:
    clip = walking_clip(ROBOT, 0.3, 8.0)
    sway = clip.root_pos[:, 1]
    assert abs(sway.mean()) < 0.003
    assert 0.005 < np.abs(sway).max() < 0.05


def test_other_frame_rates_give_the_same_motion() -> None:
    coarse, fine = walking_clip(ROBOT, 0.3, 2.0), walking_clip(ROBOT, 0.3, 2.0, fps=100.0)
    assert np.allclose(fine.root_pos[::2, 1:], coarse.root_pos[:, 1:], atol=1e-9)
    assert np.allclose(fine.joint_pos[::2], coarse.joint_pos, atol=1e-6)


def test_standing_is_still_balanced_and_flat() -> None:
    clip = standing_clip(ROBOT, 2.0)
    assert np.ptp(clip.joint_pos, axis=0).max() == 0.0
    assert np.allclose(sole_corners(LEGS, clip)[..., 2], 0.0, atol=1e-9)
    data = mujoco.MjData(MODEL.model)
    qpos, _ = clip_states(clip, ROBOT)
    data.qpos[:] = qpos[0].double().numpy()
    for _ in range(1000):
        data.ctrl[:] = clip.joint_pos[0]
        mujoco.mj_step(MODEL.model, data)
    assert data.qpos[2] == pytest.approx(clip.root_pos[0, 2], abs=0.02), "stands for 2 s"


@pytest.mark.parametrize(
    ("speed", "duration", "words"),
    [
        (0.0, 5.0, "0.05 to 0.6"),
        (-0.2, 5.0, "0.05 to 0.6"),
        (float("nan"), 5.0, "0.05 to 0.6"),
        (1.4, 5.0, "0.05 to 0.6"),
        (0.2, 0.0, "0.1 to 3600"),
        (0.2, float("nan"), "0.1 to 3600"),
    ],
)
def test_unusable_requests_are_refused(speed: float, duration: float, words: str) -> None:
    with pytest.raises(ClipError, match=words) as error:
        walking_clip(ROBOT, speed, duration)
    assert "\n" not in str(error.value)


def test_impossible_walks_name_the_reason_and_the_remedy() -> None:
    with pytest.raises(ClipError, match=r"legs too short; walk slower"):
        walking_clip(ROBOT, 0.6, 2.0, config=WalkConfig(step_s=0.9))
    for bad in ({"clearance": 0.0}, {"step_s": 0.1}, {"swing_share": 0.5}, {"double_share": 1.0}):
        with pytest.raises(UserError, match=f"WalkConfig.{next(iter(bad))}"):
            WalkConfig(**bad)
    with pytest.raises(ClipError, match="from and to standing"):
        walking_clip(ROBOT, 0.2, 0.6, start_standing=True, end_standing=True)

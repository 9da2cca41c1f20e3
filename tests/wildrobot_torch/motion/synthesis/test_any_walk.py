"""Walks of legs without a closed form, by MuJoCo's kinematics and by arithmetic."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.robot.model import load_robot
from tests.wildrobot_torch.motion.strangers import Stranger, stranger
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.synthesis.footsteps import CurvedPlan, FootstepPlan
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip

WALKERS = ["yaw first", "pitch first, askew", "ankle roll, no yaw"]


def soles_in_engine(of: Stranger, clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Places (N, 2, 3) and x axes (N, 2, 3) of the sole sites of a clip."""
    data, places, toes = mujoco.MjData(of.model), [], []
    for i in range(clip.num_frames):
        data.qpos[:3], data.qpos[3:7] = clip.root_pos[i], clip.root_quat[i]
        data.qpos[of.robot.joint_qpos_adr.numpy()] = clip.joint_pos[i]
        mujoco.mj_kinematics(of.model, data)
        places.append([data.site(f"sole{side}").xpos.copy() for side in (0, 1)])
        toes.append([data.site(f"sole{side}").xmat.reshape(3, 3)[:, 0].copy() for side in (0, 1)])
    return np.array(places), np.array(toes)


@pytest.mark.parametrize("layout", WALKERS)
def test_standing_feet_stay_in_place_and_stops_and_speed_are_kept(layout: str) -> None:
    of = stranger(layout)
    speed = 0.25 * of.robot.speed_scale
    clip = walking_clip(of.robot, speed, 2.0)
    assert clip.mean_speed == pytest.approx(speed, rel=0.06)
    low, high = of.robot.joint_range.double().numpy().T
    assert np.all(clip.joint_pos >= low) and np.all(clip.joint_pos <= high)
    places, _ = soles_in_engine(of, clip)
    height = places[..., 2]
    assert height.min() > -5e-4 and height.max() > 0.5 * 0.03 * of.robot.scale
    stands = height < 2e-4
    assert (stands.sum(1) >= 1).mean() > 0.95, "a walk does not fly"
    held = stands[1:] & stands[:-1]
    slip = np.linalg.norm(np.diff(places[..., :2], axis=0), axis=-1)[held] * clip.fps
    assert slip.mean() < 0.02 * of.robot.speed_scale


def test_a_turning_walk_turns_and_its_feet_stand_and_point_along() -> None:
    of = stranger("yaw first")
    rate = 0.6
    clip = walking_clip(of.robot, 0.2 * of.robot.speed_scale, 3.0, yaw_rate=rate)
    heading = np.unwrap(rotations.yaw(clip.root_quat))
    turned = np.polyfit(np.arange(clip.num_frames) / clip.fps, heading, 1)[0]
    assert turned == pytest.approx(rate, rel=0.05)
    places, toes = soles_in_engine(of, clip)
    stands = places[..., 2] < 2e-4
    held = stands[1:] & stands[:-1]
    facing = np.unwrap(np.arctan2(toes[..., 1], toes[..., 0]), axis=0)
    swivel = np.abs(np.diff(facing, axis=0))[held] * clip.fps
    assert swivel.mean() < 0.05, "a standing foot does not swivel"
    assert np.linalg.norm(np.diff(places[..., :2], axis=0), axis=-1)[held].mean() * clip.fps < 0.02


def test_a_side_step_goes_aside_and_feet_do_not_meet() -> None:
    of = stranger("ankle roll, no yaw")
    aside = 0.05 * of.robot.speed_scale
    clip = walking_clip(of.robot, 0.15 * of.robot.speed_scale, 3.0, lateral=aside)
    way = clip.root_pos[-1] - clip.root_pos[0]
    assert way[1] / clip.duration_s == pytest.approx(aside, rel=0.3)
    places, _ = soles_in_engine(of, clip)
    assert (places[:, 0, 1] - places[:, 1, 1]).min() > of.robot.leg.sole_width


def test_standing_is_home_on_the_floor() -> None:
    of = stranger("pitch first, askew")
    clip = standing_clip(of.robot, 0.2)
    assert np.allclose(clip.joint_pos, of.robot.joint_home.double().numpy())
    places, _ = soles_in_engine(of, clip)
    assert np.abs(places[..., 2]).max() < 1e-3, "the middle of a sole that home hardly tilts"


def test_what_the_legs_cannot_do_is_refused() -> None:
    wildrobot, plain = load_robot().robot, stranger("ankle roll, no yaw").robot
    with pytest.raises(ClipError, match="the legs have no yaw joint"):
        walking_clip(plain, 0.1, 2.0, yaw_rate=0.5)
    with pytest.raises(ClipError, match="the legs have no ankle roll"):
        walking_clip(wildrobot, 0.1, 2.0, lateral=0.05)
    with pytest.raises(ClipError, match="or feet meet"):
        walking_clip(plain, 0.15, 2.0, lateral=1.0)
    with pytest.raises(ClipError, match=r"walking speed is 0.6 m/s; allowed: \d"):
        walking_clip(plain, 0.6, 2.0)


def test_a_plan_without_a_bend_is_the_straight_one() -> None:
    shape = (6, 0.4, 0.2, 0.06, 0.05, 0.8)
    straight, curved = FootstepPlan(*shape), CurvedPlan(*shape)
    times = np.linspace(0.0, straight.duration_s, 101)
    for one, other in zip(straight.feet(times, 0.02), curved.feet(times, 0.02), strict=True):
        assert np.allclose(one.sole, other.sole, atol=1e-12)
    for one, other in zip(straight.zmp(0.0, 0.02, 0.03), curved.zmp(0.0, 0.02, 0.03), strict=True):
        assert np.allclose(one, other, atol=1e-12)
    assert np.allclose(straight.weight(times), curved.weight(times))


def test_steps_on_an_arc_are_a_circle() -> None:
    """0.1 m ahead and 0.2 rad a step: the middle moves on a circle of 0.5 m."""
    plan = CurvedPlan(8, 0.4, 0.2, 0.1, 0.05, 0.8, turn=0.2)
    centre = np.array([0.0, 0.5])
    for progress in np.linspace(0.0, 8.0, 9):
        place, heading = plan.middle(progress)
        assert np.linalg.norm(place - centre) == pytest.approx(0.5, abs=1e-12)
        assert heading == pytest.approx(0.2 * progress)
        left, right = (plan.place(side, progress)[0] for side in (0, 1))
        assert np.linalg.norm(left - centre) == pytest.approx(0.45, abs=1e-12)
        assert np.linalg.norm(right - centre) == pytest.approx(0.55, abs=1e-12)

"""Legs without a closed form: forward and inverse against MuJoCo's own kinematics."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.robot.model import load_robot
from tests.wildrobot_torch.motion.strangers import LAYOUTS, Stranger, stranger
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import legs_of, sole_corners, soles
from wildrobot_torch.motion.numeric_legs import NumericLegs
from wildrobot_torch.motion.planar_legs import PlanarLegs
from wildrobot_torch.motion.posing import FootPath, foot_paths, pose

WALKERS = [name for name in LAYOUTS if name != "three joints"]


def poses(of: Stranger, count: int, spread: float = 0.5) -> np.ndarray:
    """Joint angles (count, J) around home, well within the stops."""
    rng = np.random.default_rng(0)
    home = of.robot.joint_home.double().numpy()
    low, high = of.robot.joint_range.double().numpy().T
    share = spread * (rng.random((count, len(home))) - 0.5)
    return np.clip(home + share, low + 0.05, high - 0.05)


def test_the_packaged_robot_keeps_its_closed_form() -> None:
    assert isinstance(legs_of(load_robot().robot), PlanarLegs)
    assert all(isinstance(legs_of(stranger(name).robot), NumericLegs) for name in LAYOUTS)


def test_numbers_and_closed_form_agree() -> None:
    """Where both hold: to the half millimetre by which the WildRobot's legs are no plane."""
    robot = load_robot().robot
    planar, numeric = legs_of(robot), NumericLegs(robot)
    rng = np.random.default_rng(0)
    ankle = np.array([0.04, 0.09, -0.36]) + rng.uniform(-0.03, 0.03, (50, 3))
    pitch = rng.uniform(-0.1, 0.1, 50)
    one, unreachable = planar.inverse(0, ankle, pitch)
    other, missed = numeric.inverse(0, ankle, pitch)
    assert not unreachable.any() and not missed.any()
    assert np.abs(one - other).max() < 0.03
    there = [
        legs.forward(legs.assemble(q, q), 0).ankle for legs, q in ((planar, one), (numeric, other))
    ]
    assert np.abs(there[0] - there[1]).max() < 1e-6


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", [0, 1])
def test_forward_is_the_engines(layout: str, side: int) -> None:
    of = stranger(layout)
    legs, joints = legs_of(of.robot), poses(of, 20, 1.5)
    foot = legs.forward(joints, side)
    down = np.array([0.0, 0.0, -of.robot.leg.ankle_height])
    for i, row in enumerate(joints):
        place, axes = of.sole(row, side)
        assert np.allclose(foot.ankle[i] + foot.rotation[i] @ down, place, atol=1e-12)
        assert np.allclose(foot.rotation[i], axes, atol=1e-12)


@pytest.mark.parametrize("layout", WALKERS)
@pytest.mark.parametrize("side", [0, 1])
def test_inverse_puts_the_engines_sole_where_it_is_wanted(layout: str, side: int) -> None:
    """Place, pitch, and heading and roll where the leg has joints for them."""
    of = stranger(layout)
    legs = legs_of(of.robot)
    joints = poses(of, 40)
    ankle = legs.forward(joints, side).ankle
    rng = np.random.default_rng(1)
    pitch, heading = rng.uniform(-0.2, 0.2, 40), rng.uniform(-0.3, 0.3, 40)
    ahead = np.stack([np.cos(heading), np.sin(heading), np.zeros(40)], -1)
    solved, missed = legs.inverse(side, ankle, pitch, ahead=ahead)
    assert not missed.any()
    found = legs.assemble(solved, solved)
    for i, row in enumerate(found):
        place, axes = of.sole(row, side)
        reached = place + of.robot.leg.ankle_height * axes[:, 2]
        assert np.allclose(reached, ankle[i], atol=1e-6)
        assert axes[2, 0] == pytest.approx(-np.sin(pitch[i]), abs=1e-6)
        assert axes[2, 1] == pytest.approx(0.0, abs=1e-6)
        if legs.turns:
            assert np.arctan2(axes[1, 0], axes[0, 0]) == pytest.approx(heading[i], abs=1e-6)


def test_three_joints_serve_the_place_alone() -> None:
    of = stranger("three joints")
    legs, joints = legs_of(of.robot), poses(of, 30)
    ankle = legs.forward(joints, 0).ankle
    solved, missed = legs.inverse(0, ankle, np.full(30, 0.4))
    assert not missed.any()
    assert np.allclose(solved, joints[:, :3], atol=1e-6)


def test_out_of_reach_is_said_and_the_leg_is_stretched_towards_it() -> None:
    of = stranger("yaw first")
    legs, leg = legs_of(of.robot), of.robot.leg
    target = np.array([[0.05, leg.leg_y, leg.hip_pitch_pos[2] - 0.3]])
    solved, missed = legs.inverse(0, target, np.zeros(1))
    assert missed.tolist() == [True]
    reached = legs.forward(legs.assemble(solved, solved), 0).ankle[0]
    hip = legs.hip
    assert np.linalg.norm(reached - hip) > 0.97 * legs.reach
    aim = (target[0] - hip) / np.linalg.norm(target[0] - hip)
    assert (reached - hip) @ aim > 0.97 * np.linalg.norm(reached - hip)


def test_stops_are_kept_and_what_they_cost_is_said() -> None:
    of = stranger("yaw first")
    legs, leg = legs_of(of.robot), of.robot.leg
    low, high = of.robot.joint_range.double().numpy()[:6].T
    aside = np.linspace(0.0, 0.2, 21)  # far beyond what hip roll allows
    ankle = np.array([0.0, leg.leg_y, leg.hip_pitch_pos[2] - 0.19]) + aside[:, None] * [
        0.0,
        -1.0,
        0.0,
    ]
    solved, missed = legs.inverse(0, ankle, np.zeros(21), smooth=True)
    assert np.all(solved >= low) and np.all(solved <= high)
    assert not missed[:4].any() and missed[-4:].all()


def test_a_leg_that_is_stretched_and_bent_again_moves_smoothly() -> None:
    """Straight legs are a singularity: frame by frame the knee would jump into and out of it."""
    of = stranger("pitch first, askew")
    legs, leg = legs_of(of.robot), of.robot.leg
    share = np.sin(np.linspace(0.0, np.pi, 101))[:, None]
    start = np.array([0.0, leg.leg_y, leg.hip_pitch_pos[2] - 0.9 * legs.reach])
    ankle = start + share * np.array([0.0, 0.0, -0.11 * legs.reach])
    smooth, _ = legs.inverse(0, ankle, np.zeros(101), smooth=True)
    single, _ = legs.inverse(0, ankle, np.zeros(101))
    bends = [np.abs(np.diff(q, n=2, axis=0)).max() for q in (smooth, single)]
    assert bends[0] < 0.3 * bends[1]
    reached = legs.forward(legs.assemble(smooth, smooth), 0).ankle
    wanted = np.abs(share[:, 0] - 1.0) > 0.3
    assert np.linalg.norm(reached - ankle, axis=1)[wanted].max() < 5e-4


@pytest.mark.parametrize("layout", WALKERS)
def test_posed_soles_follow_their_paths_in_the_engine(layout: str) -> None:
    """A foot is lifted, tipped and turned under a trunk that sways and leans; the other stands."""
    of = stranger(layout)
    legs, leg = legs_of(of.robot), of.robot.leg
    t = np.linspace(0.0, 1.0, 31)
    zero = np.zeros(31)
    turn = 0.2 * t if legs.turns else zero
    stand = np.tile([0.0, -leg.leg_y, 0.0], (31, 1))
    swing = np.stack([0.04 * t, leg.leg_y + zero, 0.02 * np.sin(np.pi * t)], -1)
    feet = (
        FootPath(swing, 0.2 * np.sin(np.pi * t), turn if legs.turns else None),
        FootPath(stand, zero, zero if legs.turns else None),
    )
    root = np.stack([0.02 * t, -0.02 * np.sin(np.pi * t), zero + of.robot.home_qpos[2].item()], -1)
    quat = rotations.quat_from_euler(zero, zero + 0.05, zero)
    posing = pose(legs, root, quat, feet, 30.0)
    assert not posing.out_of_reach.any()
    clip = posing.clip
    data = mujoco.MjData(of.model)
    for i in range(31):
        data.qpos[:3], data.qpos[3:7] = clip.root_pos[i], clip.root_quat[i]
        data.qpos[of.robot.joint_qpos_adr.numpy()] = clip.joint_pos[i]
        mujoco.mj_kinematics(of.model, data)
        assert np.allclose(data.site("sole1").xpos, stand[i], atol=1e-4), "it stands still"
        axes = data.site("sole0").xmat.reshape(3, 3)
        assert axes[2, 0] == pytest.approx(-np.sin(feet[0].pitch[i]), abs=1e-3)
        heading = np.arctan2(axes[1, 0], axes[0, 0])
        if legs.turns:
            assert heading == pytest.approx(turn[i], abs=1e-3)
    lowest = sole_corners(legs, clip)[:, 0, :, 2].min(-1)
    assert np.allclose(lowest, swing[:, 2], atol=1e-4)
    again = foot_paths(legs, clip)
    assert np.allclose(again[0].sole, swing, atol=1e-3)
    assert np.allclose(again[0].pitch, feet[0].pitch, atol=1e-3)
    assert np.allclose(soles(legs, clip)[:, 1], stand, atol=1e-4)


def test_joints_that_no_leg_has_stay_at_home() -> None:
    of = stranger("yaw first")
    legs = legs_of(of.robot)
    left = np.full((3, 6), 0.1)
    clip = Clip(
        "", 50.0, np.zeros((3, 3)), np.tile([1.0, 0, 0, 0], (3, 1)), legs.assemble(left, left), ""
    )
    assert np.allclose(clip.joint_pos, 0.1)

"""A person's walk on legs of any kind: the person is a robot's own walk, four times as large."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.robot.model import RobotModel, load_robot
from envs.robot.spec import SIDES, RobotSpec
from tests.wildrobot_torch.motion.strangers import stranger
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.kinematics import legs_of, sole_corners, soles
from wildrobot_torch.motion.read.skeleton import SkeletonMotion
from wildrobot_torch.motion.retarget.figures import FigureConfig, contacts, retarget_figure
from wildrobot_torch.motion.retarget.verdict import verdict
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip

LARGER = 4.0


def person(clip: Clip, robot: RobotSpec) -> SkeletonMotion:
    """The figure that walks as the robot does: lengths four times, times twice as long."""
    legs, leg = legs_of(robot), robot.leg
    points = {"pelvis": np.zeros((clip.num_frames, 3))}
    for side, name in enumerate(SIDES):
        foot = legs.forward(clip.joint_pos, side)
        mirror = [1.0, 1.0 - 2.0 * side, 1.0]
        points[f"{name}_hip"] = np.tile(legs.hip * mirror, (clip.num_frames, 1))
        points[f"{name}_knee"] = legs.knee(clip.joint_pos, side)
        points[f"{name}_ankle"] = foot.ankle
        points[f"{name}_toe"] = foot.ankle + foot.rotation @ [leg.toe, 0.0, -leg.ankle_height]
    placed = {
        role: LARGER * (clip.root_pos + rotations.quat_rotate(clip.root_quat, at))
        for role, at in points.items()
    }
    # Elsewhere, and facing elsewhere: that says nothing about the walk.
    turn = rotations.yaw_quat(1.1)
    away = np.array([3.0, -2.0, 0.0])
    placed = {role: away + rotations.quat_rotate(turn, p) for role, p in placed.items()}
    fps = clip.fps / np.sqrt(LARGER)
    return SkeletonMotion("walk", fps, "made", {r: r for r in placed}, placed, {})


@pytest.mark.parametrize("layout", ["yaw first", "ankle roll, no yaw"])
def test_a_walk_comes_back_from_the_person_that_it_was(layout: str) -> None:
    robot = stranger(layout).robot
    walk = walking_clip(robot, 0.2 * robot.speed_scale, 3.0, fps=100.0)
    figure = person(walk, robot)
    again = retarget_figure(figure, robot, FigureConfig(clearance=0.02))
    assert "stride x1.00, pace x1.00" in again.source
    assert again.duration_s == pytest.approx(walk.duration_s, abs=0.05)
    assert again.mean_speed == pytest.approx(walk.mean_speed, rel=0.03)
    assert again.root_pos[0, :2] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert rotations.yaw(again.root_quat[0]) == pytest.approx(0.0, abs=0.05)
    legs = legs_of(robot)
    height = sole_corners(legs, walk)[..., 2].min(-1)[:: round(walk.fps / 50.0)]
    found = sole_corners(legs, again)[..., 2].min(-1)
    count = min(len(height), len(found))
    alike = (height[:count] < 5e-4) == (found[:count] < 5e-4)
    assert alike.mean() > 0.85, "feet stand when they did"
    apart = soles(legs, again)
    assert (apart[:, 0, 1] - apart[:, 1, 1]).min() > robot.leg.sole_width


def test_contacts_are_those_of_the_walk() -> None:
    robot = stranger("yaw first").robot
    walk = walking_clip(robot, 0.25 * robot.speed_scale, 3.0, fps=100.0)
    stands = sole_corners(legs_of(robot), walk)[..., 2].min(-1).T < 2e-4
    assert (contacts(person(walk, robot)) == stands).mean() > 0.9


def test_turns_are_kept_where_legs_can_turn_and_refused_where_not() -> None:
    robot = stranger("yaw first").robot
    walk = walking_clip(robot, 0.2 * robot.speed_scale, 3.0, fps=100.0, yaw_rate=0.5)
    figure = person(walk, robot)
    again = retarget_figure(figure, robot)
    turned = np.ptp(np.unwrap(rotations.yaw(again.root_quat)))
    assert turned == pytest.approx(0.5 * 3.0, rel=0.15)
    places = soles(legs_of(robot), again)
    low = sole_corners(legs_of(robot), again)[..., 2].min(-1) < 5e-4
    held = low[1:] & low[:-1]
    slip = np.linalg.norm(np.diff(places[..., :2], axis=0), axis=-1)[held] * again.fps
    assert slip.mean() < 0.02
    with pytest.raises(ClipError, match=r"turns by .* deg and the legs have no yaw joint"):
        retarget_figure(figure, stranger("ankle roll, no yaw").robot)


def test_slow_servos_get_shorter_and_slower_steps() -> None:
    robot = stranger("yaw first").robot
    walk = walking_clip(robot, 0.3 * robot.speed_scale, 2.0, fps=100.0)
    fastest = np.abs(np.diff(walk.joint_pos, axis=0)).max() * walk.fps
    slow = replace(robot, joint_max_velocity=0.8 * fastest + 0.0 * robot.joint_max_velocity)
    again = retarget_figure(person(walk, robot), slow)
    assert again.mean_speed < 0.95 * walk.mean_speed
    assert np.abs(np.diff(again.joint_pos, axis=0)).max() * again.fps <= 0.8 * fastest * 1.001
    with pytest.raises(ClipError, match=r"beyond the robot even at stride x0.50 and pace x0.50"):
        retarget_figure(
            person(walk, robot),
            replace(slow, joint_max_velocity=0.1 * fastest + 0.0 * slow.joint_max_velocity),
        )


def test_a_short_motion_is_refused() -> None:
    robot = stranger("yaw first").robot
    figure = person(walking_clip(robot, 0.1, 2.0, fps=100.0), robot)
    with pytest.raises(ClipError, match="20 frames; a walk to retarget needs 30"):
        retarget_figure(figure.frames(0, 20), robot)


@pytest.fixture(scope="module")
def biped() -> RobotModel:
    return load_robot("biped12")


def test_a_good_walk_has_no_faults_and_planted_ones_are_found(biped: RobotModel) -> None:
    robot = biped.robot
    walk = walking_clip(robot, 0.2 * robot.speed_scale, 2.0)
    scale = robot.scale
    assert verdict(walk, biped).faults(scale) == []
    stands = verdict(standing_clip(robot, 0.5), biped)
    assert stands.faults(scale) == []
    assert stands.apart == pytest.approx(2.0 * robot.leg.leg_y - robot.leg.sole_width, abs=1e-4)
    along = np.arange(walk.num_frames)[:, None] / walk.fps * [1.0, 0.0, 0.0]
    sliding = verdict(replace(walk, root_pos=walk.root_pos + 0.1 * along), biped)
    assert sliding.slip == pytest.approx(0.1, abs=0.01)
    lifted = verdict(replace(walk, root_pos=walk.root_pos + np.array([0.0, 0.0, 0.01])), biped)
    assert lifted.floating == 1.0
    sunk = verdict(replace(walk, root_pos=walk.root_pos - [0.0, 0.0, 0.01]), biped)
    assert sunk.penetration == pytest.approx(0.01, abs=1e-3)
    quick = verdict(replace(walk, fps=2.0 * walk.fps), biped)
    assert quick.speed == pytest.approx(2.0 * verdict(walk, biped).speed)
    leaning = rotations.quat_multiply(
        rotations.quat_from_euler(np.zeros(1), np.full(1, 0.4), np.zeros(1)), walk.root_quat
    )
    assert any(
        "unbalanced" in f for f in verdict(replace(walk, root_quat=leaning), biped).faults(scale)
    )

"""Loading a robot: what the RobotSpec says, and folders that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from envs.robot.model import ROBOT_DIRECTORY, RobotModel, load_robot, scene_names


def test_spec_of_the_shipped_robot(robot_model: RobotModel) -> None:
    robot = robot_model.robot
    assert robot.num_joints == 8
    assert robot.joint_names[0] == "left_hip_pitch" and robot.joint_names[5] == "right_hip_roll"
    assert robot.joint_qpos_adr.tolist() == list(range(7, 15))
    assert robot.joint_qvel_adr.tolist() == list(range(6, 14))
    assert robot.mirror_index.tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert robot.mirror_sign.tolist() == [-1, -1, 1, 1, -1, -1, 1, 1]
    assert robot.action_sign.tolist() == [1, 1, 1, 1, -1, -1, 1, 1]
    assert robot.kp.tolist() == pytest.approx([21.1] * 8)
    assert robot.kv.tolist() == [0.5] * 8
    assert robot.torque_limit.tolist() == [4.0] * 8
    assert robot.plate_names == ("left_toe", "left_heel", "right_toe", "right_heel")
    assert robot.plate_foot.tolist() == [0, 0, 1, 1]
    assert robot.weight == pytest.approx(32.395, abs=1e-3)
    assert robot_model.model.body(robot.root_body).name == "waist"


def test_leg_geometry(robot_model: RobotModel) -> None:
    leg = robot_model.robot.leg
    assert leg.thigh == pytest.approx(0.1924, abs=1e-4)
    assert leg.shank == pytest.approx(0.1800, abs=1e-4)
    assert leg.ankle_height == pytest.approx(0.0625, abs=1e-9)
    assert leg.sole_width == pytest.approx(0.0827, abs=1e-9)
    # Flat rectangle of the sole: from 50.2 mm behind to 90.3 mm ahead of the ankle.
    assert (leg.heel, leg.toe) == pytest.approx((-0.0502, 0.0903), abs=1e-4)
    assert leg.hip_pitch_pos == pytest.approx((0.0, 0.0536, -0.033584), abs=1e-9)
    assert leg.hip_roll_pos == pytest.approx((0.0268, 0.0901, -0.033375), abs=1e-9)
    assert leg.leg_y == pytest.approx(0.0906, abs=1e-9)


def test_sensor_slices_tile_sensordata(robot_model: RobotModel) -> None:
    taken = torch.zeros(robot_model.model.nsensordata)
    for where in robot_model.robot.sensors.values():
        taken[where] += 1
    assert taken.eq(1).all()


def test_folder_may_be_a_string(robot_model: RobotModel) -> None:
    assert load_robot(str(ROBOT_DIRECTORY), "rough").robot.digest == robot_model.robot.digest


def test_unknown_scene_lists_the_scenes(folder: Path, refusal) -> None:
    message = refusal(folder, "moon")
    assert "'moon'" in message and "flat, rough, steps" in message
    assert scene_names(folder) == ("flat", "rough", "steps")


def test_folder_without_description(tmp_path: Path, refusal) -> None:
    assert "robot.yaml" in refusal(tmp_path) and "No such file" in refusal(tmp_path)


def test_folder_without_scenes(folder: Path, refusal) -> None:
    for file in folder.glob("scene_*.xml"):
        file.unlink()
    assert "allowed: none" in refusal(folder)

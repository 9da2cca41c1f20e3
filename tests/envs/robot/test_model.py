"""Loading a robot: what is refused, and what the digest covers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from envs.robot.model import (
    ROBOT_DIRECTORY,
    RobotDescriptionError,
    RobotModel,
    load_robot,
    scene_names,
)

Edit = Callable[[str, str, str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROBOT_DIRECTORY, tmp_path / "robot"))


@pytest.fixture
def edit(folder: Path) -> Edit:
    def replace(file: str, old: str, new: str) -> Path:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {file}: the test is out of date"
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
        return folder

    return replace


def refusal(folder: Path, scene: str = "flat") -> str:
    with pytest.raises(RobotDescriptionError) as caught:
        load_robot(folder, scene)
    message = str(caught.value)
    assert "\n" not in message
    return message


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


# Refusals ----------------------------------------------------------------------------------------


def test_unknown_scene_lists_the_scenes(folder: Path) -> None:
    message = refusal(folder, "moon")
    assert "'moon'" in message and "flat, rough" in message
    assert scene_names(folder) == ("flat", "rough")


def test_folder_without_description(tmp_path: Path) -> None:
    assert "robot.yaml" in refusal(tmp_path) and "No such file" in refusal(tmp_path)


def test_folder_without_scenes(folder: Path) -> None:
    for file in folder.glob("scene_*.xml"):
        file.unlink()
    assert "available: none" in refusal(folder)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: wildrobot", "name: [wildrobot", "no YAML"),
        ("name: wildrobot", "", "key 'name' is missing"),
        ("name: wildrobot", "name: 7", "name is 7; give a name"),
        ("name: wildrobot", "name: wildrobot\ncolour: red", "unknown key 'colour'"),
        ("joint: root}", "joint: root, fixed: false}", "root: unknown key 'fixed'"),
        ("max_velocity: 10.0}", "max_velocity: 10.0, gear: 3}", "unknown key 'gear'"),
        (", max_velocity: 10.0}", "}", "key 'max_velocity' is missing"),
        ("max_velocity: 10.0}", "max_velocity: 0}", "must be positive"),
        ("max_velocity: 10.0}", "max_velocity: .inf}", "give a finite number"),
        ("max_velocity: 10.0}", "max_velocity: true}", "give a finite number"),
        ("mass: 3.3022456", "mass: heavy", "mass is 'heavy'; give a finite number"),
        ("mass: 3.3022456", "mass: 3.383", "mass is 3.383 kg in robot.yaml and 3.3022456 kg"),
        ("body: waist", "body: chest", "no body 'chest'; it has world, waist,"),
        ("joint: root}", "joint: left_knee_pitch}", "is not the free joint of body 'waist'"),
        ("range: [0.0, 1.396263]", "range: [0.0, 1.4]", "[0.000000, 1.396263] rad"),
        ("range: [0.0, 1.396263]", "range: [1.0, 0.0]", "lower must be below upper"),
        ("range: [0.0, 1.396263]", "range: 1.4", "give [lower, upper]"),
        ("mirror: right_knee_pitch", "mirror: knee", "mirror is 'knee'; joints: left_hip_pitch,"),
        ("mirror: right_knee_pitch", "mirror: right_ankle_pitch", "no involution: left_knee_pitch"),
        ("mirror_sign: -1, action_sign: 1", "mirror_sign: 1, action_sign: 1", "must be equal"),
        ("mirror_sign: -1", "mirror_sign: 0", "mirror_sign is 0; allowed: 1, -1"),
        ("mirror_sign: -1, action_sign: -1", "mirror_sign: -1, action_sign: 1", "be opposite"),
        ("left_foot: {body: left_foot", "left_foot: {body: left_toes", "no body 'left_toes'"),
        ("site: left_sole", "site: imu", "site 'imu' is on body 'waist', not on 'left_foot'"),
        ("  left_foot: {body", "  front_foot: {body", "belongs to 'left_foot'; feet: front_foot"),
        ("left_toe: left_foot", "left_toe: right_foot", "left_toe is on body 'left_foot'"),
        ("left_toe: left_foot", "left_tip: left_foot", "no geom 'left_tip'; it has floor"),
        ("com_pos: 3", "com_pos: 3\n  imu_mag: 3", "no sensor 'imu_mag'; it has imu_gyro"),
        ("com_pos: 3", "com_pos: 2", "sensors.com_pos is 2; measurements need it with 3"),
        ("com_pos: 3", "com_pos: three", "sensors.com_pos is 'three'; give its number"),
        ("  com_pos: 3", "", "sensors.com_pos is missing"),
    ],
)
def test_refused_description(edit: Edit, old: str, new: str, expected: str) -> None:
    assert expected in refusal(edit("robot.yaml", old, new))


def test_mirror_map_that_is_false_of_the_kinematics(edit: Edit, folder: Path) -> None:
    # Consistent in itself, but the hips' pitch axes point opposite ways.
    old = "left_hip_pitch: {mirror: right_hip_pitch, mirror_sign: -1"
    edit("robot.yaml", old, old.replace("-1", "1"))
    old = "right_hip_pitch: {mirror: left_hip_pitch, mirror_sign: -1, action_sign: -1"
    edit("robot.yaml", old, old.replace("-1", "1"))
    assert "mirroring left_hip_pitch misses the other foot" in refusal(folder)


def test_joints_out_of_actuator_order(folder: Path) -> None:
    lines = (folder / "robot.yaml").read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("  left_hip_pitch"))
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    (folder / "robot.yaml").write_text("\n".join(lines), encoding="utf-8")
    assert "order of the actuators" in refusal(folder)


def test_missing_joint(folder: Path) -> None:
    lines = (folder / "robot.yaml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.lstrip().startswith(("left_knee", "right_knee"))]
    (folder / "robot.yaml").write_text("\n".join(kept), encoding="utf-8")
    assert "joints: 'left_knee_pitch' is missing" in refusal(folder)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("<freejoint", "<nonsense", "does not compile"),
        ('name="left_toe_contact"', 'name="left_tip_contact"', "no sensor 'left_toe_contact'"),
        (
            '<gyro name="imu_gyro" site="imu"/>',
            '<framequat name="imu_gyro" objtype="site" objname="imu"/>',
            "sensors.imu_gyro has 3 values in robot.yaml and 4 in the compiled model",
        ),
        (
            '<position name="left_knee_pitch" joint="left_knee_pitch"',
            '<position name="left_knee_pitch" joint="left_ankle_pitch"',
            "actuator 'left_knee_pitch' does not drive the joint 'left_knee_pitch'",
        ),
        ('<position kp="21.1"', '<position kp="0"', "is no position servo"),
        ('forcerange="-4 4"', 'forcerange="-4 5"', "symmetric force range"),
        ('jacobian="dense"', 'jacobian="sparse"', "wrong Newton Hessian"),
        ('<key name="home"', '<key name="rest"', "no key 'home'; it has rest, t_pose, squat"),
        (
            'qpos="0.001275 0 0.468357  0.99999811 0 0.001944 0  0.000976 0 0 ',
            'qpos="0.001275 0 0.468357  0.99999811 0 0.001944 0  0.000976 0 -0.2 ',
            "'home' puts left_knee_pitch at -0.200000 rad",
        ),
        (
            '<site name="left_sole" pos="0 0 -0.0625"',
            '<site name="left_sole" pos="0 0 -0.05"',
            "mm",
        ),
        ('class="toe" pos="0.056887 0 -0.0605"', 'class="toe" type="sphere" pos="0 0 0"', "no box"),
    ],
)
def test_refused_model(edit: Edit, old: str, new: str, expected: str) -> None:
    assert expected in refusal(edit("wildrobot.xml", old, new))


def test_scene_without_floor(edit: Edit) -> None:
    message = refusal(edit("scene_flat.xml", 'name="floor"', 'name="ground"'))
    assert "does not compile" in message and "floor" in message


# Digest ------------------------------------------------------------------------------------------


def test_digest_is_the_same_in_another_process(robot_model: RobotModel) -> None:
    code = "from envs.robot.model import load_robot; print(load_robot().robot.digest)"
    root = ROBOT_DIRECTORY.parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == robot_model.robot.digest
    assert len(robot_model.robot.digest) == 16 and int(robot_model.robot.digest, 16) >= 0


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("wildrobot.xml", 'name="orange" rgba="0.98', 'name="orange" rgba="0.10'),
        ("wildrobot.xml", '<mesh name="shank" vertex="', '<mesh name="shank" vertex="0 0 0.01 '),
        ("wildrobot.xml", 'name="front" mode="trackcom" pos="1.3', 'name="front" pos="9'),
        ("wildrobot.xml", '<key name="squat"', '<key name="crouch"'),
        ("scene_flat.xml", 'friction="1 ', 'friction="0.5 '),
        ("robot.yaml", "name: wildrobot", "name: wildrobot_two"),
    ],
)
def test_digest_ignores_looks_and_scene(
    robot_model: RobotModel, edit: Edit, file: str, old: str, new: str
) -> None:
    assert load_robot(edit(file, old, new)).robot.digest == robot_model.robot.digest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("wildrobot.xml", 'pos="0.002072 0.001598', 'pos="0.002073 0.001598'),
        ("wildrobot.xml", 'fullinertia="6.028005e-03', 'fullinertia="6.028006e-03'),
        ("wildrobot.xml", 'damping="0.08516"', 'damping="0.08517"'),
        ("wildrobot.xml", 'frictionloss="0.022275"', 'frictionloss="0.0223"'),
        ("wildrobot.xml", 'armature="0.024992"', 'armature="0.025"'),
        ("wildrobot.xml", 'kp="21.1"', 'kp="21.2"'),
        ("wildrobot.xml", 'kv="0.5"', 'kv="0.6"'),
        ("wildrobot.xml", 'forcerange="-4 4"', 'forcerange="-3 3"'),
        ("wildrobot.xml", 'friction="1 0.005', 'friction="0.9 0.005'),
        ("wildrobot.xml", 'size="0.03345 ', 'size="0.03346 '),
        ("wildrobot.xml", 'timestep="0.002"', 'timestep="0.004"'),
        ("wildrobot.xml", 'eulerdamp="disable" ', ""),
        ("wildrobot.xml", 'iterations="10"', 'iterations="3"'),
        ("wildrobot.xml", "0 0.468357 ", "0 0.468350 "),
        ("robot.yaml", "max_velocity: 10.0", "max_velocity: 9.0"),
    ],
)
def test_digest_sees_what_moves_the_robot(
    robot_model: RobotModel, edit: Edit, file: str, old: str, new: str
) -> None:
    assert load_robot(edit(file, old, new)).robot.digest != robot_model.robot.digest

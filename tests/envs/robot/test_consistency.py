"""Models that compile and are not the robot described are refused; other spellings are honoured."""

from __future__ import annotations

import math
import re

import mujoco
import numpy as np
import pytest

from envs.robot.model import RobotModel, load_robot

SERVO = '<position kp="21.1"'
JOINT = '<joint type="hinge"'
OPTION = '<flag eulerdamp="disable"'
GRAVITY = 'gravity="0 0 -9.81"'
HOME = 'qpos="0.001275 0 0.468357 '
FLOOR_TOE = 'geom1="floor" geom2="left_toe"'


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("<freejoint", "<nonsense", "does not compile"),
        # Servos. With gear 2 the joint gets 8 N m and a fourfold stiffness.
        (SERVO, '<position gear="2" kp="21.1"', "has gear [2."),
        (SERVO, '<position timeconst="0.05" kp="21.1"', "without time constant"),
        (SERVO, '<position nsample="3" delay="0.004" kp="21.1"', "without delay"),
        (SERVO, '<position forcelimited="false" kp="21.1"', "a servo with a limited force"),
        (SERVO, '<position kp="0"', "is no position servo"),
        ('forcerange="-4 4"', 'forcerange="-4 5"', "is [-4, 5] N m"),
        ('forcerange="-4 4"', 'forcerange="-229.18 229.18"', "is [-229.18, 229.18] N m"),
        (JOINT, '<joint type="hinge" actuatorfrcrange="-1 1"', "actuatorfrcrange of the joint"),
        (JOINT, '<joint type="hinge" limited="false"', "a limited range"),
        (
            '<position name="left_knee_pitch" joint="left_knee_pitch"',
            '<position name="left_knee_pitch" joint="left_ankle_pitch"',
            "actuator 'left_knee_pitch' does not drive the joint 'left_knee_pitch'",
        ),
        # Sensors
        ('name="left_toe_contact"', 'name="left_tip_contact"', "no sensor 'left_toe_contact'"),
        (FLOOR_TOE, FLOOR_TOE.replace("left", "right"), "geom floor and geom right_toe"),
        (FLOOR_TOE, 'geom1="right_toe" geom2="left_toe"', "geom left_toe and geom right_toe"),
        (f'{FLOOR_TOE} data="found force"', f'{FLOOR_TOE} data="found torque"', "found torque"),
        (
            f'{FLOOR_TOE} data="found force" reduce="netforce"',
            f'{FLOOR_TOE} data="found force" reduce="maxforce"',
            "reduce maxforce",
        ),
        (
            'name="left_foot_pos" objtype="site" objname="left_sole"',
            'name="left_foot_pos" objtype="site" objname="right_sole"',
            "'left_foot_pos' reads framepos of site right_sole",
        ),
        (
            'name="left_foot_pos" objtype="site" objname="left_sole"',
            'name="left_foot_pos" objtype="site" objname="left_sole" reftype="site" refname="imu"',
            "relative to site imu",
        ),
        ('<gyro name="imu_gyro" site="imu"/>', '<gyro name="imu_gyro" site="left_sole"/>', "gyro"),
        (
            '<gyro name="imu_gyro" site="imu"/>',
            '<framequat name="imu_gyro" objtype="site" objname="imu"/>',
            "reads framequat of site imu; it must read gyro of site imu",
        ),
        ('name="imu_gyro" site="imu"', 'name="imu_gyro" site="imu" cutoff="2"', "cutoff 2"),
        ('site name="imu" pos', 'site name="imu" euler="0 0 1.5708" pos', "the axes of body"),
        ('<site name="root"/>', '<site name="root" pos="0 0 0.1"/>', "lie at the origin of"),
        (
            'torque" actuator="left_knee_pitch"',
            'torque" actuator="right_knee_pitch"',
            "actuatorfrc of actuator right_knee_pitch",
        ),
        (
            '<subtreecom name="com_pos" body="waist"',
            '<subtreecom name="com_pos" body="left_hip"',
            "com",
        ),
        ('name="left_sole" pos', 'name="left_sole" euler="0 0 1" pos', "is turned"),
        # The whole model
        (GRAVITY, 'gravity="0 0 0"', "gravity is 0 0 0"),
        (GRAVITY, 'gravity="9.81 0 0"', "gravity is 9.81 0 0"),
        (GRAVITY, 'gravity="0 0 9.81"', "must point down"),
        (OPTION, '<flag gravity="disable" eulerdamp="disable"', 'gravity="disable"'),
        (OPTION, '<flag contact="disable" eulerdamp="disable"', 'contact="disable"'),
        ('jacobian="dense"', 'jacobian="sparse"', "wrong Newton Hessian"),
        (
            "<keyframe>",
            '<equality><joint joint1="left_knee_pitch"/></equality><keyframe>',
            "1 equality constraints",
        ),
        ('angle="radian"', 'angle="degree"', "left_hip_pitch.range"),
        # home
        ('<key name="home"', '<key name="rest"', "no key 'home'; it has rest, t_pose, squat"),
        (HOME, 'qpos="0.001275 0 0.2 ', "sole of left_foot -268.5 mm above the ground"),
        (HOME, 'qpos="0.001275 0 0.9 ', "sole of left_foot +431.5 mm above the ground"),
        (
            f"{HOME} 0.99999811 0 0.001944 0  0.000976 0 0 ",
            f"{HOME} 0.99999811 0 0.001944 0  0.000976 0 -0.2 ",
            "'home' puts left_knee_pitch at -0.200000 rad",
        ),
        ('<site name="left_sole" pos="0 0 -0.0625"', '<site name="left_sole" pos="0 0 0"', "mm"),
        ('class="toe" pos="0.056887 0 -0.0605"', 'class="toe" type="sphere" pos="0 0 0"', "no box"),
    ],
)
def test_refused_model(edit, refusal, old: str, new: str, expected: str) -> None:
    assert expected in refusal(edit("wildrobot.xml", old, new))


def test_scene_without_floor(edit, refusal) -> None:
    message = refusal(edit("scene_flat.xml", 'name="floor"', 'name="ground"'))
    assert "does not compile" in message and "floor" in message


def test_ground_under_home_is_that_of_the_scene(edit, refusal) -> None:
    """A floor raised by 0.1 m buries the soles of the same robot."""
    message = refusal(edit("scene_flat.xml", 'name="floor"', 'name="floor" pos="0 0 0.1"'))
    assert "sole of left_foot -100" in message


def test_limit_and_gains_are_those_at_the_joint(robot_model: RobotModel) -> None:
    """Plain mujoco: generalised forces of the servos far off, 0.1 rad off, and at 1 rad/s."""
    model, robot = robot_model.model, robot_model.robot
    data = mujoco.MjData(model)
    middle = robot.joint_range.double().mean(1).numpy()
    columns = robot.joint_qvel_adr.numpy()

    def torque(offset: float, rate: float) -> np.ndarray:
        data.qpos[3], data.qpos[7:], data.ctrl[:] = 1.0, middle, middle + offset
        data.qvel[columns] = rate
        mujoco.mj_forward(model, data)
        return data.qfrc_actuator[columns]

    np.testing.assert_allclose(torque(0.4, 0.0), robot.torque_limit)
    np.testing.assert_allclose(torque(0.1, 0.0), 0.1 * robot.kp, rtol=1e-6)
    np.testing.assert_allclose(torque(0.0, 1.0), -robot.kv, rtol=1e-6)


def test_angles_in_degrees_are_honoured(edit, folder, robot_model: RobotModel) -> None:
    path = folder / "wildrobot.xml"
    edit("wildrobot.xml", 'angle="radian"', 'angle="degree"')

    def degrees(found: re.Match[str]) -> str:
        return 'range="{:.9f} {:.9f}"'.format(*(math.degrees(float(x)) for x in found[1].split()))

    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'(?<=\s)range="([^"]*)"', degrees, text), encoding="utf-8")
    robot = load_robot(folder).robot
    expected = robot_model.robot
    np.testing.assert_allclose(robot.joint_range, expected.joint_range, atol=1e-6)
    assert robot.torque_limit.tolist() == [4.0] * 8
    assert robot.kp.equal(expected.kp) and robot.kv.equal(expected.kv)

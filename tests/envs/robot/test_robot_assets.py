"""The shipped MJCF against what was measured of the robot, and against mechanics."""

from __future__ import annotations

import json
from pathlib import Path

import mujoco
import numpy as np
import pytest

from envs.robot.model import RobotModel, load_robot, scene_names

MEASURED = json.loads(
    (Path(__file__).parents[2] / "data" / "wildrobot_measured.json").read_text(encoding="utf-8")
)
BODIES = [name for name, body in MEASURED["bodies"].items() if body["welded_to"] is None]
GRAVITY = 9.81


def keyframe(robot_model: RobotModel, name: str) -> mujoco.MjData:
    data = mujoco.MjData(robot_model.model)
    mujoco.mj_resetDataKeyframe(robot_model.model, data, robot_model.model.key(name).id)
    mujoco.mj_forward(robot_model.model, data)
    return data


def zero_pose(robot_model: RobotModel) -> mujoco.MjData:
    data = mujoco.MjData(robot_model.model)
    data.qpos[:] = 0.0
    data.qpos[3] = 1.0
    mujoco.mj_forward(robot_model.model, data)
    return data


def plate_forces(robot_model: RobotModel, data: mujoco.MjData) -> np.ndarray:
    """World force (4, 3) the floor exerts on each plate."""
    return np.array([data.sensor(f"{p}_contact").data[1:] for p in robot_model.robot.plate_names])


def tilt(data: mujoco.MjData) -> float:
    """Angle of the root's z axis to the vertical [rad]."""
    return float(np.arccos(np.clip(data.xmat[1].reshape(3, 3)[2, 2], -1.0, 1.0)))


def matrix(six: list[float]) -> np.ndarray:
    xx, yy, zz, xy, xz, yz = six
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def test_total_mass(robot_model: RobotModel) -> None:
    assert robot_model.model.body_mass.sum() == pytest.approx(MEASURED["total_mass"], abs=1e-9)


@pytest.mark.parametrize("name", BODIES)
def test_body_has_the_measured_mass_com_and_inertia(robot_model: RobotModel, name: str) -> None:
    # The measured model has 1 g bodies welded to some links; a rigid link is the sum of both.
    parts = [b for n, b in MEASURED["bodies"].items() if name in (n, b["welded_to"])]
    mass = sum(part["mass"] for part in parts)
    com = sum(part["mass"] * np.array(part["com"]) for part in parts) / mass
    inertia = np.zeros((3, 3))
    for part in parts:
        arm = np.array(part["com"]) - com
        inertia += matrix(part["inertia"])
        inertia += part["mass"] * (arm @ arm * np.eye(3) - np.outer(arm, arm))

    data, body = zero_pose(robot_model), robot_model.model.body(name).id
    axes = data.ximat[body].reshape(3, 3)
    assert robot_model.model.body_mass[body] == pytest.approx(mass, abs=1e-9)
    np.testing.assert_allclose(data.xipos[body], com, atol=2e-6)
    np.testing.assert_allclose(
        axes @ np.diag(robot_model.model.body_inertia[body]) @ axes.T, inertia, atol=2e-9
    )


@pytest.mark.parametrize("name", MEASURED["joints"])
def test_joint_axis_lies_where_it_was_measured(robot_model: RobotModel, name: str) -> None:
    data, joint = zero_pose(robot_model), robot_model.model.joint(name).id
    axis, measured = data.xaxis[joint], MEASURED["joints"][name]
    assert np.abs(axis).max() == 1.0  # exactly along a world axis
    assert axis @ measured["axis"] > np.cos(0.0035)
    offset = np.array(measured["anchor"]) - data.xanchor[joint]
    assert np.linalg.norm(np.cross(offset, axis)) < 3e-4
    np.testing.assert_allclose(robot_model.model.jnt_range[joint], measured["range"], atol=2e-6)


def test_servo_constants(robot_model: RobotModel) -> None:
    model = robot_model.model
    np.testing.assert_array_equal(model.dof_damping, [0] * 6 + [0.08516] * 8)
    np.testing.assert_array_equal(model.dof_frictionloss, [0] * 6 + [0.022275] * 8)
    np.testing.assert_array_equal(model.dof_armature, [0] * 6 + [0.024992] * 8)
    np.testing.assert_allclose(model.actuator_ctrlrange, model.jnt_range[1:], atol=1e-15)
    data = keyframe(robot_model, "t_pose")
    data.qvel[6] = 0.3
    data.ctrl[:] = [0.1, -1.0, 1.0, 0.0, 0.05, 0.0, -9.0, 0.0]
    mujoco.mj_forward(model, data)
    # 21.1 * 0.1 - 0.5 * 0.3; both saturated; 21.1 * 0.05; a target below the range is clamped to 0
    expected = [1.96, -4.0, 4.0, 0.0, 1.055, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(data.actuator_force, expected, atol=1e-12)


@pytest.mark.parametrize("plate", MEASURED["plates"])
def test_sole_plates_are_level_where_they_were_measured(
    robot_model: RobotModel, plate: str
) -> None:
    geom = zero_pose(robot_model).geom(plate)
    np.testing.assert_allclose(geom.xpos, MEASURED["plates"][plate], atol=3.1e-4)
    np.testing.assert_array_equal(geom.xmat.reshape(3, 3), np.eye(3))


def test_only_the_plates_collide(robot_model: RobotModel) -> None:
    model = robot_model.model
    colliding = np.flatnonzero((model.geom_contype | model.geom_conaffinity) != 0)
    names = {model.geom(int(geom)).name for geom in colliding}
    assert names == {"floor", *robot_model.robot.plate_names}


def test_left_and_right_are_exact_mirror_images(robot_model: RobotModel) -> None:
    robot, model, rng = robot_model.robot, robot_model.model, np.random.default_rng(3)
    index, sign = robot.mirror_index.numpy(), robot.mirror_sign.numpy()
    low, high = robot.joint_range.numpy().astype(float).T
    here, there = zero_pose(robot_model), zero_pose(robot_model)
    other = {"left": "right", "right": "left"}
    flip = np.diag([1.0, -1.0, 1.0])
    for _ in range(50):
        here.qpos[7:] = rng.uniform(low, high)
        there.qpos[7:] = (here.qpos[7:][index]) * sign
        mujoco.mj_kinematics(model, here)
        mujoco.mj_kinematics(model, there)
        for plate in robot.plate_names:
            side, part = plate.split("_")
            twin = f"{other[side]}_{part}"
            a, b = here.geom(plate), there.geom(twin)
            np.testing.assert_allclose(flip @ a.xpos, b.xpos, atol=1e-12)
            mirrored = flip @ a.xmat.reshape(3, 3) @ flip
            np.testing.assert_allclose(mirrored, b.xmat.reshape(3, 3), atol=1e-12)
            np.testing.assert_array_equal(model.geom(plate).size, model.geom(twin).size)


@pytest.mark.parametrize(
    ("joint", "angle", "expected"),
    [
        ("left_hip_pitch", 0.3, (1, 0, 1)),  # flexion: foot forward and up
        ("right_hip_pitch", -0.3, (1, 0, 1)),
        ("left_hip_roll", -0.3, (0, 1, 1)),  # abduction: foot outwards
        ("right_hip_roll", 0.3, (0, -1, 1)),
        ("left_knee_pitch", 0.3, (-1, 0, 1)),  # flexion: foot back
        ("right_knee_pitch", 0.3, (-1, 0, 1)),
    ],
)
def test_sign_of_each_joint(
    robot_model: RobotModel, joint: str, angle: float, expected: tuple[int, int, int]
) -> None:
    data, foot = zero_pose(robot_model), joint.split("_")[0] + "_foot_pos"
    before = data.sensor(foot).data.copy()
    data.joint(joint).qpos = angle
    mujoco.mj_forward(robot_model.model, data)
    moved = data.sensor(foot).data - before
    np.testing.assert_array_equal(np.sign(np.where(np.abs(moved) > 1e-3, moved, 0.0)), expected)


@pytest.mark.parametrize("side", ["left", "right"])
def test_positive_ankle_points_the_toe_down(robot_model: RobotModel, side: str) -> None:
    data = zero_pose(robot_model)
    data.joint(f"{side}_ankle_pitch").qpos = 0.3
    mujoco.mj_kinematics(robot_model.model, data)
    assert data.geom(f"{side}_toe").xpos[2] < data.geom(f"{side}_heel").xpos[2] - 0.02


def test_home_is_the_measured_stance(robot_model: RobotModel) -> None:
    data = keyframe(robot_model, "home")
    assert robot_model.model.key("home").id == 0
    np.testing.assert_allclose(data.sensor("com_pos").data, MEASURED["home"]["com"], atol=1e-3)
    assert data.qpos[2] == pytest.approx(MEASURED["home"]["root_height"], abs=1e-4)
    mirrored = robot_model.robot.mirror_joints(robot_model.robot.joint_home)
    assert mirrored.equal(robot_model.robot.joint_home)
    assert data.ncon == 16  # four corners of four plates
    depth = -data.contact.dist
    assert depth.min() > 5e-5 and depth.max() < 2e-4
    assert np.ptp(depth) < 1e-6  # soles flat


def test_robot_stands_open_loop_and_the_floor_carries_its_weight(robot_model: RobotModel) -> None:
    data = keyframe(robot_model, "home")
    mujoco.mj_step(robot_model.model, data, 5000)
    assert data.time == pytest.approx(10.0)
    assert data.qpos[2] == pytest.approx(0.4684, abs=5e-4)
    assert tilt(data) < 0.01
    assert np.abs(data.qvel).max() < 1e-3
    forces = plate_forces(robot_model, data)
    weight = MEASURED["total_mass"] * GRAVITY
    np.testing.assert_allclose(forces.sum(0), [0, 0, weight], atol=0.02 * weight)
    measured = [MEASURED["home"]["plate_force"][plate] for plate in robot_model.robot.plate_names]
    np.testing.assert_allclose(forces[:, 2], measured, atol=0.3)


def test_contact_force_is_in_the_world_frame_and_acts_on_the_plate(robot_model: RobotModel) -> None:
    # Pull the standing robot forward, then to the left: friction holds it back.
    for axis in (0, 1):
        data = keyframe(robot_model, "home")
        data.xfrc_applied[1, axis] = 2.0
        mujoco.mj_step(robot_model.model, data, 100)
        total = plate_forces(robot_model, data).sum(0)
        assert total[axis] == pytest.approx(-2.0, abs=0.5)
        assert abs(total[1 - axis]) < 0.3


def test_squat_is_balanced_and_holds(robot_model: RobotModel) -> None:
    data = keyframe(robot_model, "squat")
    low, high = robot_model.model.jnt_range[1:].T
    assert ((data.qpos[7:] >= low) & (data.qpos[7:] <= high)).all()
    assert data.joint("right_hip_pitch").qpos[0] < -0.3
    assert data.qpos[2] < robot_model.model.key("home").qpos[2] - 0.04
    assert data.ncon == 16
    com = data.sensor("com_pos").data
    edges = [
        data.geom(plate).xpos[0] + side * robot_model.model.geom(plate).size[0]
        for plate in robot_model.robot.plate_names
        for side in (-1, 1)
    ]
    assert min(edges) + 0.03 < com[0] < max(edges) - 0.03
    before = data.qpos.copy()
    mujoco.mj_step(robot_model.model, data, 2500)
    np.testing.assert_allclose(data.qpos, before, atol=2e-3)


def test_t_pose_is_the_zero_pose_in_the_air(robot_model: RobotModel) -> None:
    data = keyframe(robot_model, "t_pose")
    assert (data.qpos[7:] == 0).all()
    assert data.ncon == 0
    assert data.sensor("left_foot_pos").data[2] == pytest.approx(0.0315, abs=1e-3)


def test_feet_collide_with_each_other(robot_model: RobotModel) -> None:
    data = keyframe(robot_model, "t_pose")
    for joint, angle in (("left_hip_roll", 0.17), ("right_hip_roll", -0.17)):
        data.joint(joint).qpos = angle
    mujoco.mj_forward(robot_model.model, data)
    assert data.ncon > 0
    floor = robot_model.model.geom("floor").id
    assert (data.contact.geom != floor).all()


def test_sensors_read_what_they_are_called(robot_model: RobotModel) -> None:
    model, data, rng = robot_model.model, mujoco.MjData(robot_model.model), np.random.default_rng(5)
    data.qpos[:] = model.key("t_pose").qpos
    quat = rng.normal(size=4)
    data.qpos[3:7] = quat / np.linalg.norm(quat)
    data.qpos[7:] = rng.uniform(*model.jnt_range[1:].T)
    data.qvel[:] = rng.normal(size=model.nv)
    mujoco.mj_forward(model, data)
    rotation = data.xmat[1].reshape(3, 3)
    np.testing.assert_allclose(data.sensor("imu_gyro").data, data.qvel[3:6], atol=1e-12)
    np.testing.assert_allclose(data.sensor("imu_quat").data, data.qpos[3:7], atol=1e-12)
    linvel = data.sensor("root_linvel_b").data
    np.testing.assert_allclose(linvel, rotation.T @ data.qvel[:3], atol=1e-12)

    # Velocities of the soles are the derivative of their positions.
    ahead, dt = mujoco.MjData(model), 1e-6
    ahead.qpos[:] = data.qpos
    mujoco.mj_integratePos(model, ahead.qpos, data.qvel, dt)
    mujoco.mj_forward(model, ahead)
    for foot in ("left_foot", "right_foot"):
        moved = ahead.sensor(f"{foot}_pos").data - data.sensor(f"{foot}_pos").data
        np.testing.assert_allclose(data.sensor(f"{foot}_linvel").data, moved / dt, atol=1e-4)
    for joint in robot_model.robot.joint_names:
        force = data.actuator_force[model.actuator(joint).id]
        assert data.sensor(f"{joint}_torque").data[0] == force


def test_accelerometer_reads_gravity_at_rest(robot_model: RobotModel) -> None:
    data = keyframe(robot_model, "home")
    mujoco.mj_step(robot_model.model, data, 500)
    np.testing.assert_allclose(data.sensor("imu_accel").data, [0, 0, GRAVITY], atol=0.1)


def test_scenes_differ_in_the_ground_only() -> None:
    scenes = {name: load_robot(scene=name) for name in scene_names()}
    assert set(scenes) == {"flat", "rough", "steps"}
    flat = scenes["flat"]
    for other in scenes.values():
        for size in ("nq", "nv", "nu", "nbody", "nsensordata"):
            assert getattr(other.model, size) == getattr(flat.model, size)
        assert other.robot.digest == flat.robot.digest
        assert other.robot.sensors == flat.robot.sensors


def test_robot_stands_on_rough_ground() -> None:
    rough = load_robot(scene="rough")
    model = rough.model
    heights = model.hfield_data * model.hfield_size[0, 2] + model.geom("floor").pos[2]
    assert heights.min() == pytest.approx(-0.02, abs=1e-6)
    assert heights.max() == pytest.approx(0.02, abs=1e-6)
    data = keyframe(rough, "home")
    mujoco.mj_step(model, data, 1000)
    assert data.qpos[2] == pytest.approx(0.468, abs=2e-3)
    assert tilt(data) < 0.02
    weight = MEASURED["total_mass"] * GRAVITY
    assert plate_forces(rough, data)[:, 2].sum() == pytest.approx(weight, rel=0.02)


def test_solver_caps_are_never_reached(robot_model: RobotModel) -> None:
    # Caps that bind would change the motion without a word.
    model, rng, most = robot_model.model, np.random.default_rng(0), 0
    data = keyframe(robot_model, "home")
    low, high = model.jnt_range[1:].T
    for step in range(1500):
        if step % 10 == 0:
            data.ctrl[:] = np.clip(model.key("squat").ctrl + rng.normal(0, 0.3, 8), low, high)
            data.xfrc_applied[1, :3] = rng.normal(0, 6, 3)
        mujoco.mj_step(model, data)
        most = max(most, int(data.solver_niter[0]))
    assert 2 <= most < model.opt.iterations

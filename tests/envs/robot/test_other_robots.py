"""The robots that are not the WildRobot: they stand, weigh and turn as their descriptions say."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch
from tensordict import TensorDict

from envs.config import LocomotionConfig, policy_settings
from envs.frames import quat_from_euler
from envs.locomotion import LocomotionEnv
from envs.robot.model import RobotModel, load_robot
from envs.robot.symmetry import action_mirror, layout_mirror
from envs.sizing import sized
from envs.task.observations import observation_layout
from envs.tasks import task_for
from envs.yaml_files import from_mapping

NAMES = ("biped12", "wildrobot17")


@pytest.fixture(scope="module", params=NAMES)
def loaded(request: pytest.FixtureRequest) -> RobotModel:
    return load_robot(request.param)


def test_stands_on_its_own_servo(loaded: RobotModel) -> None:
    """Plain MuJoCo for 10 s: upright, the feet carry the weight, servos are far from limits."""
    model, robot = loaded.model, loaded.robot
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    for _ in range(round(10.0 / model.opt.timestep)):
        mujoco.mj_step(model, data)
    assert data.body(robot.root_body).xmat[8] > 0.999
    assert np.linalg.norm(data.qpos[:2]) < 0.02 and np.abs(data.qvel).max() < 0.02
    loads = [data.sensordata[robot.sensors[f"{name}_contact"]][3] for name in robot.plate_names]
    assert sum(loads) == pytest.approx(9.81 * model.body_mass.sum(), rel=1e-3)
    torque = data.actuator_force[: robot.num_joints]
    assert (np.abs(torque) < 0.3 * robot.torque_limit.numpy()).all()


@pytest.mark.parametrize(
    ("name", "kinds", "leg", "mass"),
    [
        ("biped12", ("yaw", "roll", "pitch", "knee", "ankle_pitch", "ankle_roll"), 0.2, 1.2),
        ("wildrobot17", ("pitch", "roll", "knee", "ankle_pitch", "ankle_roll"), 0.438, 4.1277),
    ],
)
def test_measured_by_geometry(name: str, kinds: tuple[str, ...], leg: float, mass: float) -> None:
    robot = load_robot(name).robot
    assert robot.chains[0].kinds == robot.chains[1].kinds == kinds
    assert robot.leg.leg_length == pytest.approx(leg, abs=1e-3)
    assert robot.mass == pytest.approx(mass, abs=1e-3)


def test_facts_of_the_builders_robot() -> None:
    """Orders, centre of mass, IMU and self-contact as its builder's files have them."""
    loaded = load_robot("wildrobot17")
    robot, model = loaded.robot, loaded.model
    assert robot.joint_qpos_adr.tolist() == [17, *range(7, 12), *range(12, 17)]
    assert not robot.imu_at_root
    assert sum("touch" in note for note in loaded.notes) == 2
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(
        data.subtree_com[robot.root_body], [0.0152, -0.0012, 0.328], atol=1e-3
    )


def test_held_joints_are_nobodys_business() -> None:
    """They are in no action or observation; their servo alone brings a moved arm back."""
    loaded = load_robot("wildrobot17")
    model, robot = loaded.model, loaded.robot
    assert robot.num_joints == 11 and model.nactuator == 17
    fields = {
        f.name: f.size for f in observation_layout(robot, LocomotionConfig().observation).fields
    }
    assert fields["encoder_pos"] == fields["prev_action"] == 11
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    elbow = data.joint("left_elbow_pitch")
    elbow.qpos = 0.8
    data.ctrl[11:] = 5.0  # nothing listens
    for _ in range(1500):
        mujoco.mj_step(model, data)
    assert abs(elbow.qpos[0]) < 0.05


def test_mirrored_actions_make_the_mirrored_motion(loaded: RobotModel) -> None:
    """Home and its mirror image, driven for half a second by mirrored actions of all joints."""
    name = loaded.robot.name
    task = LocomotionConfig(robot=name, auto_reset=False)
    env = LocomotionEnv(task, 2, num_threads=1)
    robot = env.robot
    mirror = action_mirror(robot)
    qpos = robot.home_qpos.repeat(2, 1)
    env.set_state(
        torch.ones(2, dtype=torch.bool), qpos, torch.zeros(2, robot.home_qpos.numel() - 1)
    )
    action = 0.15 * torch.sin(torch.arange(robot.num_joints) * 1.7)[None]
    both = torch.cat([action, mirror(action)])
    for _ in range(25):
        env.step(TensorDict({"action": both}, batch_size=[2]))
    joints = env.measure().joint_pos
    tolerance = 1e-3 if name == "biped12" else 0.03  # the builder's robot is no exact mirror image
    np.testing.assert_allclose(robot.mirror_joints(joints[:1]), joints[1:], atol=tolerance)
    assert (joints[0] - robot.joint_home).abs().max() > 0.05
    assert layout_mirror(env.layouts["observation"], robot).index.numel() > 0


def test_imu_measures_the_chest_and_not_the_root() -> None:
    """The waist turned by 0.3 rad about -z turns what the IMU calls heading by -0.3 rad."""
    env = LocomotionEnv(LocomotionConfig(robot="wildrobot17"), 1, num_threads=1)
    qpos = env.robot.home_qpos[None].clone()
    qpos[0, env.robot.joint_qpos_adr[env.robot.joint_names.index("waist_yaw")]] = 0.3
    qpos[:, 3:7] = quat_from_euler(*(torch.zeros(1) for _ in range(3)))
    env.set_state(torch.ones(1, dtype=torch.bool), qpos, torch.zeros(1, qpos.shape[1] - 1))
    sensors = env.reality.state.sensors
    assert sensors is not None
    assert float(sensors.heading) == pytest.approx(-0.3, abs=0.02)
    assert float(env.measure().yaw) == pytest.approx(0.0, abs=1e-3)
    np.testing.assert_allclose(sensors.gravity[0], [0.0, 0.0, -1.0], atol=0.02)


def test_task_grows_with_the_robot() -> None:
    """Lengths by the leg, speeds by its root, impulses by mass, too; by hand for a leg of 0.2 m."""
    robot = load_robot("biped12").robot
    task = LocomotionConfig(robot="biped12")
    small = sized(task, robot)
    scale = 0.2 / 0.434888
    assert small.command.velocity_max == pytest.approx(
        task.command.velocity_max * scale**0.5, rel=1e-4
    )
    drop = task.termination.min_height - 0.468357  # below home, of the WildRobot
    assert small.termination.min_height == pytest.approx(0.23171 + drop * scale, abs=1e-4)
    assert small.observation.foot_switch_threshold == pytest.approx(2.0 * 1.2 / 3.302246, rel=1e-4)
    assert sized(small, robot) == small
    written = LocomotionConfig(robot="biped12", as_written=("command",))
    assert sized(written, robot).command == written.command


def test_the_wildrobots_task_is_what_it_was() -> None:
    task = LocomotionConfig()
    assert sized(task, load_robot().robot) is task


def test_a_policys_file_names_its_robot_and_has_the_numbers_of_its_size() -> None:
    """Sized numbers, once: read back and sized again they are the same."""
    task = task_for(LocomotionConfig(), "biped12")
    stored = policy_settings(task)
    assert stored["robot"] == "biped12"
    again = from_mapping(LocomotionConfig, stored, "file")
    assert sized(again, load_robot("biped12").robot).command == task.command
    assert again.termination == LocomotionConfig().termination  # of the WildRobot, sized by the env
    assert not {"robot", "as_written"} & set(policy_settings(task_for(LocomotionConfig())))

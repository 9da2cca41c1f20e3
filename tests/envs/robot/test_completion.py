"""Strangers' MJCFs: what is added to them, what is tolerated, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from envs.errors import UserError
from envs.robot.model import RobotModel, load_robot, robot_directory
from tests.envs.robot.written_by_others import JOINTS, write_stranger


def stood(loaded: RobotModel, seconds: float = 2.0) -> mujoco.MjData:
    """The robot after some time on its own servos, in plain MuJoCo."""
    data = mujoco.MjData(loaded.model)
    mujoco.mj_resetDataKeyframe(loaded.model, data, loaded.model.key("home").id)
    for _ in range(round(seconds / loaded.model.opt.timestep)):
        mujoco.mj_step(loaded.model, data)
    return data


@pytest.mark.parametrize("y_forward", [False, True])
@pytest.mark.parametrize("feet", ["box", "spheres"])
def test_nothing_but_bodies_and_servos_is_needed(
    tmp_path: Path, y_forward: bool, feet: str
) -> None:
    """A robot without floor, soles, sensors, keyframe; looking along x or y, on boxes or balls."""
    loaded = load_robot(write_stranger(tmp_path, y_forward=y_forward, feet=feet))
    robot = loaded.robot
    assert robot.chains[0].kinds == ("roll", "pitch", "knee", "ankle_pitch")
    np.testing.assert_allclose(robot.chains[0].axes[[0, 2]], [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    assert robot.chains[0].sole_pos[1] == pytest.approx(0.05)  # the left one is on the left
    assert robot.leg.leg_length == pytest.approx(0.12 + 0.12 + 0.04)
    heel, toe, width = (-0.03, 0.05, 0.05) if feet == "box" else (-0.03, 0.05, 0.04)
    assert (robot.leg.heel, robot.leg.toe, robot.leg.sole_width) == pytest.approx(
        (heel, toe, width)
    )
    data = stood(loaded)
    assert data.body(robot.root_body).xmat[8] > 0.99
    loads = [data.sensordata[robot.sensors[f"{name}_contact"]][3] for name in robot.plate_names]
    assert np.abs(loads).sum() == pytest.approx(robot.weight, rel=0.02)


def test_gear_and_ctrlrange_are_those_at_the_joint(tmp_path: Path) -> None:
    """With gear 2 a servo of kp 5, 1.5 N m and +-1 gives 20 N m/rad, 3 N m and +-0.5 rad."""
    servo = '<position kp="5" kv="0.1" gear="2" forcerange="-1.5 1.5" ctrlrange="-1 1"/>'
    bent = {f"{joint}_{s}": angle for s in "ab" for joint, angle in
            {"p1": -0.2, "p2": 0.4, "p3": -0.2}.items()}  # fmt: skip
    loaded = load_robot(write_stranger(tmp_path, servo_default=servo, home=bent))
    robot, model = loaded.robot, loaded.model
    assert robot.kp.tolist() == pytest.approx([20.0] * 8) and robot.kv.tolist() == pytest.approx(
        [0.4] * 8
    )
    assert robot.torque_limit.tolist() == [3.0] * 8
    column = robot.joint_names.index("p1_a")
    np.testing.assert_allclose(robot.joint_range[column], [-0.5, 0.5])
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    data.ctrl[column] = data.joint("p1_a").qpos[0] + 0.1
    mujoco.mj_forward(model, data)
    assert data.qfrc_actuator[robot.joint_qvel_adr[column]] == pytest.approx(2.0)


def test_motors_get_the_servo_that_the_description_gives(tmp_path: Path) -> None:
    names = [f"{joint}_{s}" for joint in JOINTS for s in "ab"]
    motors = "".join(f'<motor joint="{name}" gear="3" ctrlrange="-1 1"/>' for name in names)
    actuators = f"<actuator>{motors}</actuator>"
    with pytest.raises(UserError, match=r"is no position servo.*give kp and kv"):
        load_robot(write_stranger(tmp_path, actuators=actuators))
    folder = write_stranger(tmp_path, actuators=actuators)
    text = (folder / "robot.yaml").read_text(encoding="utf-8")
    text = text.replace(
        "max_velocity: 6.0", "max_velocity: 6.0\n    kp: 15\n    kv: 0.3\n    max_torque: 3"
    )
    (folder / "robot.yaml").write_text(text, encoding="utf-8")
    loaded = load_robot(folder)
    assert loaded.robot.kp.tolist() == [15.0] * 8
    # Without max_torque it is what the motor may be told, 1 at gear 3.
    (folder / "robot.yaml").write_text(text.replace("max_torque: 3", "").rstrip(), encoding="utf-8")
    assert load_robot(folder).robot.torque_limit.tolist() == [3.0] * 8
    assert stood(loaded).body(loaded.robot.root_body).xmat[8] > 0.99


def test_held_and_fixed_joints(tmp_path: Path) -> None:
    """Arms held at home, or welded there: the same place, with two joints fewer."""
    home = {f"{joint}_{s}": angle for s in "ab" for joint, angle in
            {"p1": -0.3, "p2": 0.6, "p3": -0.3, "a": 0.4}.items()}  # fmt: skip
    held = load_robot(write_stranger(tmp_path / "held", arms=True, home=home))
    fixed = load_robot(
        write_stranger(tmp_path / "fixed", arms=True, home=home, held=None, fixed=["a_a", "a_b"])
    )
    assert (
        held.model.nq == fixed.model.nq + 2 and held.robot.num_joints == fixed.robot.num_joints == 8
    )
    places = []
    for loaded in (held, fixed):
        data = mujoco.MjData(loaded.model)
        mujoco.mj_resetDataKeyframe(loaded.model, data, 0)
        mujoco.mj_forward(loaded.model, data)
        places.append(np.concatenate([data.body("arm_a").xpos, data.body("arm_a").xmat.ravel()]))
    np.testing.assert_allclose(places[0], places[1], atol=1e-9)


def test_files_for_the_eye_may_be_missing(tmp_path: Path) -> None:
    asset = '<asset><mesh name="shell" file="shell.stl"/></asset>'
    shell = '<geom type="mesh" mesh="shell" contype="0" conaffinity="0" mass="0"/>'
    loaded = load_robot(write_stranger(tmp_path, asset=asset, extra=shell))
    assert any("meshes" in note for note in loaded.notes)


def test_sensors_and_names_of_their_own_do_not_matter(tmp_path: Path) -> None:
    """Their `imu` is upside down and their `imu_gyro` reads it; ours reads the root's axes."""
    site = '<site name="imu" pos="0 0 0.08" euler="3.14159 0 0"/>'
    tail = '<sensor><gyro name="imu_gyro" site="imu"/></sensor>'
    loaded = load_robot(write_stranger(tmp_path, extra=site, tail=tail, imu={"site": "imu"}))
    model = loaded.model
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    data.qvel[3:6] = [0.1, 0.2, 0.3]
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(
        data.sensordata[loaded.robot.sensors["imu_gyro"]], [0.1, 0.2, 0.3], atol=1e-5
    )
    np.testing.assert_allclose(model.site("imu").pos, [0, 0, 0.08])


def test_keyframe_of_another_order_and_height(tmp_path: Path) -> None:
    """Joints in the order of bodies, soles 5 mm over the floor: left as it is."""
    pose = "0 0 0.27 1 0 0 0 " + "0 -0.3 0.6 -0.3 " * 2
    tail = f'<keyframe><key name="walk"/><key name="home" qpos="{pose}"/></keyframe>'
    loaded = load_robot(write_stranger(tmp_path, tail=tail, home=None))
    assert loaded.robot.joint_home.tolist() == pytest.approx([0, -0.3, 0.6, -0.3] * 2)
    assert loaded.model.nkey == 1


BOTH = (("left", "a"), ("right", "b"))
UNDER = '<keyframe><key name="home" qpos="0 0 0.2 1 0 0 0 0 -.3 .6 -.3 0 -.3 .6 -.3"/></keyframe>'


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"free": ""}, "no free joint"),
        ({"feet": "none"}, "no geometry that collides"),
        ({"servo_default": '<position kp="15"/>'}, "without a torque limit; give its max_torque"),
        ({"actuators": ""}, "has no servo; give kp and kv"),
        ({"home": None}, "there is no home pose"),
        ({"home": None, "tail": UNDER}, "mm under the floor"),
        ({"arms": True, "held": None}, "'a_a' is not mentioned; put it under joints"),
        ({"model": "nowhere.xml"}, "no such file"),
        ({"root": {"body": "hip_a"}}, "'torso' has one"),
        ({"root": {"body": "torso", "forward": [0, 1, 0]}}, "root.forward"),
        ({"imu": {"site": "nose"}}, "imu.site is 'nose'; the model has none"),
        ({"feet_of": ("foot_a", "foot_a")}, "one foot hangs on no joint of its own"),
        ({"feet_of": ("foot_b", "foot_a")}, "left_foot is 100 mm to the right"),
        ({"pairs": {"p2_a": "p3_b", "p3_a": "p2_b"}}, "mirror map contradicts the kinematics"),
        ({"pairs": {"r1_a": "p3_b", "p3_a": "r1_b"}}, "off the mirror image of"),
        ({"legs": {s: [f"p2_{n}", f"p1_{n}"] for s, n in BOTH}}, "a leg has 2 joints"),
        ({"legs": {s: [f"p2_{n}", f"p1_{n}", f"p3_{n}"] for s, n in BOTH}}, "not from the root"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, settings: dict[str, object], expected: str) -> None:
    settings = dict(settings)
    feet = settings.pop("feet_of", None)
    if isinstance(feet, tuple):
        both = zip(("left_foot", "right_foot"), feet, strict=True)
        settings["feet"] = "box"
        folder = write_stranger(tmp_path)
        path = folder / "robot.yaml"
        text = path.read_text(encoding="utf-8")
        for foot, body in both:
            own = "foot_a" if foot == "left_foot" else "foot_b"
            text = text.replace(f"{foot}:\n    body: {own}", f"{foot}:\n    body: {body}")
        path.write_text(text, encoding="utf-8")
    elif isinstance(pairs := settings.pop("pairs", None), dict):
        folder = write_stranger(tmp_path)
        path = folder / "robot.yaml"
        text = path.read_text(encoding="utf-8")
        both = pairs | {other: one for one, other in pairs.items()}
        for name, other in both.items():
            kind, side = name.split("_")
            own = f"  {name}:\n    mirror: {kind}_{'b' if side == 'a' else 'a'}\n"
            assert own in text
            text = text.replace(own, f"  {name}:\n    mirror: {other}\n")
        text = text.replace("action_sign: -1", "action_sign: 1").replace(
            "mirror_sign: -1", "mirror_sign: 1"
        )
        path.write_text(text, encoding="utf-8")
    else:
        folder = write_stranger(tmp_path, **settings)
    with pytest.raises(UserError) as caught:
        load_robot(folder)
    message = str(caught.value)
    assert expected in message and "\n" not in message


def test_which_robot(tmp_path: Path) -> None:
    assert robot_directory("biped12").name == "biped12"
    with pytest.raises(UserError, match="did you mean 'biped12'"):
        robot_directory("biped21")
    with pytest.raises(UserError, match="wildrobot describe"):
        robot_directory(tmp_path)

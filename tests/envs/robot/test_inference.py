"""envs.robot.inference against robots whose truth is known: WildRobot, and bipeds to order."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml

from envs.robot.description import RobotDescriptionError
from envs.robot.inference.draft import Draft, draft_robot
from envs.robot.inference.writing import robot_yaml, told
from envs.robot.model import ROBOT_DIRECTORY, ROBOTS, load_robot
from tests.envs.robot.strangers import Biped

Array = np.ndarray


def _turn(about: str, degrees: float) -> Array:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[about]


def _draft(biped: Biped, folder: Path) -> tuple[Draft, dict]:
    file = folder / "stranger.xml"
    file.write_text(biped.xml())
    draft = draft_robot(file)
    return draft, yaml.safe_load(robot_yaml(draft, folder))


def _surety(draft: Draft, item: str) -> str:
    """The least sure finding of an item."""
    order = ("sure", "likely", "guess", "unknown")
    return max((f.surety for f in draft.findings if f.item == item), key=order.index)


def test_the_robot_that_ships_is_described_as_its_own_file_does() -> None:
    draft = draft_robot(ROBOT_DIRECTORY / "scene_flat.xml")
    found = yaml.safe_load(robot_yaml(draft, ROBOT_DIRECTORY))
    told_by_hand = yaml.safe_load((ROBOT_DIRECTORY / "robot.yaml").read_text())
    assert list(found["joints"]) == list(told_by_hand["joints"])
    for name, joint in told_by_hand["joints"].items():
        for key in ("mirror", "mirror_sign", "action_sign"):
            assert found["joints"][name][key] == joint[key], (name, key)
    assert found["root"] == told_by_hand["root"]
    assert found["mass"] == pytest.approx(told_by_hand["mass"], rel=1e-6)
    assert found["plates"] == told_by_hand["plates"]
    assert list(found["plates"]) == list(told_by_hand["plates"])
    assert found["imu"] == {"site": "imu"}
    robot = load_robot()
    for foot, entry in told_by_hand["feet"].items():
        sole = found["feet"][foot]["sole"]
        assert found["feet"][foot]["body"] == entry["body"]
        np.testing.assert_allclose(sole["pos"], robot.model.site(entry["site"]).pos, atol=1e-5)
        assert sole["heel"] == pytest.approx(robot.robot.leg.heel, abs=1e-3)
        assert sole["toe"] == pytest.approx(robot.robot.leg.toe, abs=1e-3)
        assert sole["width"] == pytest.approx(robot.robot.leg.sole_width, abs=1e-4)
    assert draft.home_from == "keyframe home"
    assert draft.length == pytest.approx(robot.robot.leg.leg_length, abs=1e-3)


@pytest.mark.parametrize("name", ["biped12", "wildrobot17"])
def test_the_other_robots_are_described_as_their_own_files_do(name: str) -> None:
    draft = draft_robot(ROBOTS / name / f"{name}.xml")
    found = yaml.safe_load(robot_yaml(draft, ROBOTS / name))
    told_by_hand = yaml.safe_load((ROBOTS / name / "robot.yaml").read_text())
    assert found["root"]["body"] == told_by_hand["root"]["body"]
    for joint, entry in found["joints"].items():
        for key in ("mirror", "mirror_sign", "action_sign"):
            assert entry[key] == told_by_hand["joints"][joint][key], (joint, key)
    # What the policy does not drive, it may: waist and arms are held in a draft.
    known = {*found["joints"], *found.get("held", ())}
    assert known == {*told_by_hand["joints"], *told_by_hand.get("held", ())}
    loaded = load_robot(name)
    for side, foot in enumerate(("left_foot", "right_foot")):
        assert found["feet"][foot]["body"] == told_by_hand["feet"][foot]["body"]
        assert tuple(found["legs"][foot[: -len("_foot")]]) == tuple(
            loaded.robot.joint_names[i] for i in loaded.robot.leg_joints[side]
        )
    # By the loader's own measure of the sole.
    sole = found["feet"]["left_foot"]["sole"]
    assert sole["toe"] - sole["heel"] == pytest.approx(
        loaded.robot.leg.toe - loaded.robot.leg.heel, abs=1e-3
    )
    assert sole["width"] == pytest.approx(loaded.robot.leg.sole_width, abs=1e-3)


def test_a_file_that_needs_a_floor_from_its_scene_is_read_without_it() -> None:
    draft = draft_robot(ROBOT_DIRECTORY / "wildrobot.xml")
    assert len(draft.driven) == 8
    assert any("floor" in finding.text for finding in draft.findings)


STRANGERS = {
    "plain": Biped(),
    "flipped on the right": Biped(flipped=("yaw", "pitch", "knee", "ankle_roll")),
    "reversed": Biped(reversed=("pitch", "knee"), flipped=("roll", "knee")),
    "other order": Biped(order=("pitch", "roll", "yaw", "knee", "ankle_pitch")),
    "ten joints": Biped(order=("roll", "yaw", "pitch", "knee", "ankle_pitch")),
    "three joints": Biped(order=("roll", "pitch", "knee"), flipped=("roll",)),
    "y forward": Biped(axes=_turn("z", 90)),
    "turned by 33 degrees": Biped(axes=_turn("z", 33), flipped=("pitch",)),
    "y upwards": Biped(axes=_turn("x", -90), flipped=("ankle_pitch",)),
    "lying on its back": Biped(axes=_turn("x", -90), upright=False),
    "no names": Biped(names=("a", "b")),
    "names of the other side": Biped(names=("right", "left")),
    "head and arms": Biped(upper=True, flipped=("roll",)),
    "spheres": Biped(foot="spheres"),
    "capsules": Biped(foot="capsules"),
    "mesh": Biped(foot="mesh", axes=_turn("z", 90)),
    "two boxes": Biped(foot="boxes"),
    "off the middle": Biped(middle=0.07),
    "knee slid": Biped(slid=0.18),
    "motors": Biped(actuator="motor", upper=True),
    "no actuators": Biped(actuator="none"),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_stranger_is_described_as_it_was_made(kind: str, tmp_path: Path) -> None:
    biped = STRANGERS[kind]
    draft, found = _draft(biped, tmp_path)
    root = found["root"]
    np.testing.assert_allclose(root.get("forward", (1, 0, 0)), biped.axes[:, 0], atol=1e-5)
    np.testing.assert_allclose(root.get("up", (0, 0, 1)), biped.axes[:, 2], atol=1e-5)
    assert root["body"] == "base"
    for side, name in ((1, "left"), (-1, "right")):
        assert found["legs"][name] == [biped.joint(kind, side) for kind in biped.order]
        foot = found["feet"][f"{name}_foot"]
        assert foot["body"] == biped.body(biped.order[-1], side)
        if "ankle_pitch" in biped.order:  # else there is nothing to put the origin under
            for key, value in biped.sole.items():
                assert foot["sole"][key] == pytest.approx(value, abs=1e-5), key
            place = biped.axes.T @ foot["sole"]["pos"]
            np.testing.assert_allclose(place, (0, 0, -0.45 + 0.38), atol=1e-5)
        for joint in biped.order:
            entry = found["joints"][biped.joint(joint, side)]
            assert entry["mirror"] == biped.joint(joint, -side)
            assert entry["mirror_sign"] == biped.mirror_sign(joint), joint
            assert entry["action_sign"] == biped.action_sign(joint, side), joint
    assert set(found["joints"]) == {biped.joint(k, s) for k in biped.order for s in (1, -1)}
    assert max(pair.gap for pair in draft.pairs) < 1e-6
    assert "no mirror images" not in told(draft)


def test_the_order_of_joints_is_that_of_the_actuators(tmp_path: Path) -> None:
    biped = Biped(upper=True)
    _, found = _draft(biped, tmp_path)
    expected = [biped.joint(kind, side) for side in (1, -1) for kind in biped.order][::-1]
    assert list(found["joints"]) == expected
    assert set(found["held"]) == {
        *("waist", "neck", "left_shoulder", "left_elbow", "right_shoulder", "right_elbow"),
    }


def test_pairs_beyond_the_legs_are_found(tmp_path: Path) -> None:
    draft, _ = _draft(Biped(upper=True), tmp_path)
    name = draft.tree.joint_name
    pairs = {(name(p.left), name(p.right)): p.sign for p in draft.pairs}
    assert pairs["waist", "waist"] == -1
    assert pairs["neck", "neck"] == 1
    assert pairs["left_shoulder", "right_shoulder"] == -1
    assert pairs["left_elbow", "right_elbow"] == 1


def test_what_is_no_position_servo_gets_guesses_and_is_said(tmp_path: Path) -> None:
    draft, found = _draft(Biped(actuator="motor", upper=True), tmp_path)
    assert "fixed" in found and "held" not in found
    assert all(joint["kp"] > 0 and joint["kv"] > 0 for joint in found["joints"].values())
    # Gear 30, control up to 1.
    assert {joint["max_torque"] for joint in found["joints"].values()} == {30.0}
    assert "no position servos" in told(draft)


def test_a_servo_without_limits_is_named_and_gets_a_guess(tmp_path: Path) -> None:
    draft, found = _draft(Biped(limited=False), tmp_path)
    assert all(joint["max_torque"] > 0 for joint in found["joints"].values())
    line = next(f for f in draft.findings if "no torque limit" in f.text)
    assert line.surety == "guess" and "left_yaw" in line.text
    assert "# To check:" in robot_yaml(draft, tmp_path)


def test_names_that_contradict_the_geometry_make_it_less_sure(tmp_path: Path) -> None:
    right, _ = _draft(Biped(), tmp_path)
    wrong, _ = _draft(Biped(names=("right", "left")), tmp_path)
    assert _surety(right, "axes") == "sure"
    assert _surety(wrong, "axes") == "likely"
    assert "Against it: names" in told(wrong)


def test_legs_that_are_no_mirror_images_are_said_with_their_miss(tmp_path: Path) -> None:
    file = tmp_path / "askew.xml"
    text = Biped().xml()
    # The right foot hangs 5 mm further out: the mirrored sole is missed by as much.
    body = 'name="right_ankle_roll_link" pos="0 0 0"'
    assert body in text
    file.write_text(text.replace(body, 'name="right_ankle_roll_link" pos="0 -0.005 0"'))
    draft = draft_robot(file)
    gap = max(pair.gap for pair in draft.pairs)
    assert gap == pytest.approx(0.005, abs=0.003)
    assert "missed by" in told(draft)


def test_home_is_a_crouch_that_physics_keeps(tmp_path: Path) -> None:
    draft, found = _draft(Biped(upper=True), tmp_path)
    assert draft.home is not None and draft.home_from == "search"
    spec = mujoco.MjSpec.from_string(Biped(upper=True).xml())
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.1])
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[2] = draft.home.height
    for name, angle in found["home"].items():
        data.joint(name).qpos = angle
    for actuator in range(model.nu):
        joint = model.joint(model.actuator_trnid[actuator, 0])
        data.ctrl[actuator] = found["home"].get(joint.name, 0.0)
    start = data.qpos.copy()
    for _ in range(round(3.0 / model.opt.timestep)):
        mujoco.mj_step(model, data)
    assert data.qpos[2] == pytest.approx(draft.home.height, abs=0.01)
    np.testing.assert_allclose(data.qpos[7:], start[7:], atol=0.1)
    for joint, torque in draft.home.torque.items():
        held = data.qfrc_actuator[model.jnt_dofadr[joint]]
        assert held == pytest.approx(torque, abs=0.35), draft.tree.joint_name(joint)
    knees = [data.joint(f"{side}_knee").qpos[0] for side in ("left", "right")]
    assert min(np.abs(knees)) > 0.3


def test_a_keyframe_that_stands_is_home_and_one_that_does_not_is_refused(tmp_path: Path) -> None:
    biped = Biped()
    angles = "0 0 -.3 .6 -.3 0"
    leaning = "0 0 .9 0 0 0"
    frames = "".join(
        f'<key name="{name}" qpos="0 0 {z} 1 0 0 0 {legs} {legs}"/>'
        for name, z, legs in (("home", 0.5, leaning), ("stand", 0.48, angles))
    )
    file = tmp_path / "keys.xml"
    file.write_text(biped.xml().replace("</mujoco>", f"<keyframe>{frames}</keyframe></mujoco>"))
    draft = draft_robot(file)
    assert draft.home_from == "keyframe stand"
    assert "keyframe 'home' is not taken" in told(draft)
    home = yaml.safe_load(robot_yaml(draft, tmp_path))["home"]
    assert home["left_knee"] == 0.6 and home["right_pitch"] == -0.3


@pytest.mark.parametrize(
    ("biped", "words"),
    [
        (Biped(free=False), "no body has a free joint"),
        (Biped(legs=1), "one limb reaches the ground"),
        (Biped(legs=4), "4 limbs reach the ground"),
        (Biped(foot="none"), "no geom that collides"),
        (Biped(foot="visual"), "for the eye alone"),
        (Biped(order=("pitch", "knee")), "2 driven joints"),
        (Biped(order=("yaw", "roll", "ankle_roll", "pitch")), "a leg needs two"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_biped_is_refused_in_one_line(biped: Biped, words: str, tmp_path: Path) -> None:
    file = tmp_path / "refused.xml"
    file.write_text(biped.xml())
    with pytest.raises(ValueError) as caught:
        draft_robot(file)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_mjcf_are_refused_in_one_line(tmp_path: Path) -> None:
    broken, unknown = tmp_path / "broken.xml", tmp_path / "unknown.xml"
    broken.write_text("<mujoco><worldbody>")
    unknown.write_text("<mujoco><worldbody><body><joint type='hinge'/></body></worldbody></mujoco>")
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "absent.xml", "no such file"),
        (broken, "cannot be read as MJCF"),
        (unknown, "does not compile"),
    ):
        with pytest.raises(RobotDescriptionError) as caught:
            draft_robot(path)
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_mesh_for_the_eye_is_left_out_and_one_that_collides_is_named(
    tmp_path: Path,
) -> None:
    file = tmp_path / "meshes.xml"
    text = Biped().xml().replace("<asset>", '<asset><mesh name="shell" file="shell.stl"/>')
    shell = '<geom type="mesh" mesh="shell" {}/>'
    inertial = '<inertial pos="0 0 .1" mass="2" diaginertia=".01 .01 .01"/>'
    start = text.index("<freejoint/>") + len("<freejoint/>")
    eye = shell.format('contype="0" conaffinity="0"')
    file.write_text(text[:start] + inertial + eye + text[start:])
    assert any("left out" in finding.text for finding in draft_robot(file).findings)
    file.write_text(text[:start] + inertial + shell.format("") + text[start:])
    with pytest.raises(RobotDescriptionError, match=r"shell\.stl"):
        draft_robot(file)

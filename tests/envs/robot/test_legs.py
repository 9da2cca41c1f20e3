"""Legs as screws against MuJoCo's kinematics, on small legs written here."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.errors import UserError
from envs.robot.legs import LegChain, leg_chain
from envs.robot.model import load_robot

LAYOUTS = {
    # Kinds -> joints from the root on: (name, offset from the joint before, axis).
    ("yaw", "roll", "pitch", "knee", "ankle_pitch", "ankle_roll"): [
        ("a", "0 .05 -.03", "0 0 1"),
        ("b", ".02 0 -.02", "-1 .05 0"),
        ("c", "-.02 .01 0", "0 -1 .08"),
        ("d", "0 0 -.12", "0 1 0"),
        ("e", "0 -.004 -.11", ".06 1 0"),
        ("f", ".01 0 -.02", "1 0 0"),
    ],
    ("pitch", "roll", "yaw", "knee", "ankle_roll", "ankle_pitch"): [
        ("a", "0 .06 -.02", "0 1 0"),
        ("b", "0 .02 -.03", "1 0 .1"),
        ("c", "0 0 -.04", "0 0 -1"),
        ("d", ".01 0 -.15", "0 -1 0"),
        ("e", "0 0 -.16", "-1 0 0"),
        ("f", "0 0 -.01", "0 1 0"),
    ],
    ("roll", "pitch", "knee"): [
        ("a", "0 .04 0", "1 0 0"),
        ("b", "0 .01 -.02", "0 1 0"),
        ("c", "0 0 -.1", "0 1 0"),
    ],
    ("roll", "pitch", "ankle_pitch"): [
        ("a", "0 .04 0", "1 0 0"),
        ("b", "0 .01 -.02", "0 1 0"),
        ("c", "0 0 -.2", "0 1 0"),
    ],
}


def leg_model(joints: list[tuple[str, str, str]], last: float = 0.03) -> mujoco.MjModel:
    """A trunk with a leg of the joints, the last one so high over its sole, and an arm's joint."""
    body = '<geom type="sphere" size=".01" mass=".1"/>'
    sole = f'{body}<site name="sole" pos=".02 0 {-last}" quat=".999 0 .03 .02"/>'
    for name, pos, axis in reversed(joints):
        inner = f'<joint name="{name}" axis="{axis}" pos=".003 0 .002" range="-2 2"/>'
        sole = f'<body pos="{pos}">{inner}{body}{sole}</body>'
    arm = f'<body pos="0 0 .1"><joint name="arm"/>{body}</body>'
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><worldbody><body name="trunk" pos="0 0 1" euler="0 0 40"><freejoint name="root"/>'
        f"{body}{sole}{arm}</body></worldbody></mujoco>"
    )


def engine_sole(
    model: mujoco.MjModel, names: list[str], angles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Place and axes of the sole in the trunk's frame, under a trunk that is turned and moved."""
    data = mujoco.MjData(model)
    data.qpos[:7] = [0.3, -0.2, 0.5, 0.8, 0.2, -0.4, 0.4]
    for name, angle in zip(names, angles, strict=True):
        data.joint(name).qpos = angle
    mujoco.mj_kinematics(model, data)
    rot = data.body("trunk").xmat.reshape(3, 3)
    site = data.site("sole")
    return (site.xpos - data.body("trunk").xpos) @ rot, rot.T @ site.xmat.reshape(3, 3)


@pytest.mark.parametrize("kinds", LAYOUTS, ids="-".join)
def test_kinds_by_geometry_and_forward_as_the_engine(kinds: tuple[str, ...]) -> None:
    joints = LAYOUTS[kinds]
    names = [name for name, _, _ in joints]
    model = leg_model(joints, 0.1 if kinds[-1] == "knee" else 0.03)
    chain = leg_chain(model, names, "sole")
    assert chain.kinds == kinds
    angles = np.random.default_rng(0).uniform(-1.2, 1.2, (30, len(names)))
    pos, rot = chain.forward(angles)
    for row, place, axes in zip(angles, pos, rot, strict=True):
        expected_pos, expected_rot = engine_sole(model, names, row)
        assert np.allclose(place, expected_pos, atol=1e-12)
        assert np.allclose(axes, expected_rot, atol=1e-12)


def test_a_double_knee_keeps_one_hip_and_one_ankle() -> None:
    joints = [
        ("a", "0 .05 0", "1 0 0"),
        *(("b", "0 0 -.02", "0 1 0"), ("c", "0 0 -.1", "0 1 0"), ("d", "0 0 -.02", "0 1 0")),
        *(("e", "0 0 -.1", "0 1 0"), ("f", "0 0 -.01", "1 0 0"), ("g", "0 0 0", "0 0 1")),
    ]
    kinds = leg_chain(leg_model(joints), list("abcdefg"), "sole").kinds
    assert kinds == ("roll", "pitch", "knee", "knee", "ankle_pitch", "ankle_roll", "yaw")


def test_other_joints_stay_where_the_posture_has_them() -> None:
    joints = LAYOUTS[("yaw", "roll", "pitch", "knee", "ankle_pitch", "ankle_roll")]
    model = leg_model(joints)
    names = [name for name, _, _ in joints]
    posture = np.zeros(model.nq)
    posture[model.joint("f").qposadr] = 0.3
    chain = leg_chain(model, names[:-1], "sole", posture)
    pos, rot = chain.forward(np.full(5, 0.2))
    expected_pos, expected_rot = engine_sole(model, names, np.array([0.2] * 5 + [0.3]))
    assert np.allclose(pos, expected_pos, atol=1e-12)
    assert np.allclose(rot, expected_rot, atol=1e-12)


def test_the_packaged_robots_leg() -> None:
    model = load_robot().model
    names = ["hip_pitch", "hip_roll", "knee_pitch", "ankle_pitch"]
    left, right = (
        leg_chain(model, [f"{side}_{name}" for name in names], f"{side}_sole")
        for side in ("left", "right")
    )
    assert left.kinds == right.kinds == ("pitch", "roll", "knee", "ankle_pitch")
    assert np.allclose(left.sole_pos * [1, -1, 1], right.sole_pos, atol=1e-6)
    assert left.index("knee") == 2 and left.index("yaw") is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "a leg has 2 joints"),
        (["a", "b", "c", "arm"], "'arm' does not carry the foot.*a, b, c, d, e, f"),
        (["b", "a", "c"], "that is: a, b, c"),
        (["a", "b", "c"], "1 turn about the sideways axis"),
        (["root", "c", "d"], "'root' is no hinge"),
    ],
)
def test_what_is_no_leg_is_refused(names: list[str], message: str) -> None:
    joints = LAYOUTS[("yaw", "roll", "pitch", "knee", "ankle_pitch", "ankle_roll")]
    with pytest.raises(UserError, match=message):
        leg_chain(leg_model(joints), names, "sole")


def test_a_chain_can_be_made_by_hand() -> None:
    """A pitch of a quarter turn about an axis 0.2 m up takes a sole below it straight back."""
    chain = LegChain(
        ("pitch", "knee", "ankle_pitch"),
        np.tile([0.0, 1.0, 0.0], (3, 1)),
        np.array([[0.0, 0.0, 0.2], [0.0, 0.0, 0.1], [0.0, 0.0, 0.0]]),
        np.zeros(3),
        np.eye(3),
    )
    pos, rot = chain.forward(np.array([np.pi / 2, 0.0, 0.0]))
    assert np.allclose(pos, [-0.2, 0.0, 0.2], atol=1e-15)
    assert np.allclose(rot[:, 0], [0.0, 0.0, -1.0], atol=1e-15)

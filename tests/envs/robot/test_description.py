"""robot.yaml: what is refused."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: wildrobot", "name: [wildrobot", "cannot be read as YAML"),
        ("name: wildrobot", "", "key 'name' is missing"),
        ("name: wildrobot", "name: 7", "name"),
        ("name: wildrobot", "name: wildrobot\ncolour: red", "unknown key 'colour'"),
        ("mass: 3.3022456", "mass: 3.3022456\nmass: 3.3022456", "'mass' is given twice in line 7"),
        ("site: left_sole}", "site: left_sole, site: right_sole}", "'site' is given twice"),
        ("joint: root}", "joint: root, fixed: false}", "unknown key 'root.fixed'"),
        (
            "max_velocity: 10.0,",
            "max_velocity: 10.0, gear: 3,",
            "joints.left_hip_pitch: unknown key 'gear'",
        ),
        ("max_velocity: 10.0, ", "", "key 'max_velocity' is missing"),
        ("max_velocity: 10.0", "max_velocity: 0", "max_velocity"),
        ("max_velocity: 10.0", "max_velocity: .inf", "max_velocity"),
        ("max_velocity: 10.0", "max_velocity: true", "max_velocity"),
        ("max_torque: 4.0", "max_torque: -4.0", "max_torque"),
        ("max_torque: 4.0", "max_torque: 229.18", "max_torque is 229.18 N m in robot.yaml"),
        ("mass: 3.3022456", "mass: heavy", "mass"),
        ("mass: 3.3022456", "mass: 3.383", "mass is 3.383 kg in robot.yaml and 3.3022456 kg"),
        ("body: waist", "body: chest", "no body 'chest'; it has world, waist,"),
        ("joint: root}", "joint: left_knee_pitch}", "is not the free joint of body 'waist'"),
        ("range: [0.0, 1.396263]", "range: [0.0, 1.4]", "[0.000000, 1.396263] rad"),
        ("range: [0.0, 1.396263]", "range: [0.0, 80.0]", "[0.000000, 1.396263] rad"),
        ("range: [0.0, 1.396263]", "range: [1.396263, 0.0]", "[0.000000, 1.396263] rad"),
        ("range: [0.0, 1.396263]", "range: 1.4", "range"),
        ("mirror: right_knee_pitch", "mirror: knee", "mirror is 'knee'; allowed: left_hip_pitch,"),
        ("mirror: right_knee_pitch", "mirror: right_ankle_pitch", "each other's mirror"),
        ("mirror_sign: -1, action_sign: 1", "mirror_sign: 1, action_sign: 1", "must be equal"),
        ("mirror_sign: -1", "mirror_sign: 0", "mirror_sign"),
        ("mirror_sign: -1, action_sign: -1", "mirror_sign: -1, action_sign: 1", "be opposite"),
        ("left_foot: {body: left_foot", "left_foot: {body: left_toes", "no body 'left_toes'"),
        ("site: left_sole", "site: imu", "site 'imu' is on body 'waist', not on 'left_foot'"),
        ("  left_foot: {body", "  front_foot: {body", "allowed: left_foot, right_foot"),
        ("left_toe: left_foot", "left_toe: right_foot", "'left_toe' is on body 'left_foot'"),
        ("left_toe: left_foot", "left_toe: third_foot", "plates.left_toe is 'third_foot'"),
        ("left_toe: left_foot", "left_tip: left_foot", "no geom 'left_tip'; it has floor"),
        ("  left_toe: left_foot\n  left_heel: left_foot\n", "", "no plate belongs to 'left_foot'"),
    ],
)
def test_refused_description(edit, refusal, old: str, new: str, expected: str) -> None:
    assert expected in refusal(edit("robot.yaml", old, new))


def test_mirror_map_that_contradicts_the_kinematics(edit, refusal, folder) -> None:
    # Consistent in itself, but the hips' pitch axes point opposite ways.
    old = "left_hip_pitch: {mirror: right_hip_pitch, mirror_sign: -1"
    edit("robot.yaml", old, old.replace("-1", "1"))
    old = "right_hip_pitch: {mirror: left_hip_pitch, mirror_sign: -1, action_sign: -1"
    edit("robot.yaml", old, old.replace("-1", "1"))
    assert "mirror image of left_hip_pitch misses the other foot" in refusal(folder)


def test_joints_out_of_actuator_order(folder, refusal) -> None:
    lines = (folder / "robot.yaml").read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("  left_hip_pitch"))
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    (folder / "robot.yaml").write_text("\n".join(lines), encoding="utf-8")
    assert "order of the actuators" in refusal(folder)


def test_missing_joint(folder, refusal) -> None:
    lines = (folder / "robot.yaml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.lstrip().startswith(("left_knee", "right_knee"))]
    (folder / "robot.yaml").write_text("\n".join(kept), encoding="utf-8")
    assert "joint 'left_knee_pitch' is missing" in refusal(folder)

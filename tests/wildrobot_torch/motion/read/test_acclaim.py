"""Acclaim files, by a hand-made skeleton whose bone tips are worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from envs.robot.model import load_robot
from wildrobot_torch.motion.clip import ClipError
from wildrobot_torch.motion.read.acclaim import CapturedMotion, read_motion, read_skeleton
from wildrobot_torch.motion.read.files import load_clip

ROBOT = load_robot().robot

ASF = """:version 1.10
:name toy
:units
  mass 1.0
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name thigh
     direction 0 -2 0
     length 4.5
     axis 0 0 0  XYZ
    dof rx ry rz
    limits (-160.0 20.0)
           (-70.0 70.0)
  end
  begin
     id 2
     name shank
     direction 0 -1 0
     length 9
     axis 0 0 90  XYZ
    dof rx
  end
:hierarchy
  begin
    root thigh
    thigh shank
  end
"""
AMC = """#!OML:ASF
:FULLY-SPECIFIED
:DEGREES
1
root 0 0 0 0 0 0
thigh 0 0 0
shank 0
2
root 1 0 0 0 90 0
thigh 90 0 0
shank 90
"""
INCHES = 0.0254 / 0.45


def toy(folder: Path, asf: str = ASF, amc: str = AMC) -> tuple[Path, Path]:
    paths = folder / "09.asf", folder / "09_toy.amc"
    paths[0].write_text(asf)
    paths[1].write_text(amc)
    return paths


def read(folder: Path, asf: str = ASF, amc: str = AMC) -> CapturedMotion:
    skeleton, motion = toy(folder, asf, amc)
    return read_motion(motion, read_skeleton(skeleton))


def swapped(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def assert_toy_motion(motion: CapturedMotion) -> None:
    """The motion of `AMC`, in inches.

    Frame 2: the thigh turns by 90 deg about x, (0,-1,0) -> (0,0,-1), then with the root by 90 deg
    about y, -> (-1,0,0). The shank turns about its own x axis, which is (0,1,0) in the thigh's
    axes: its direction (0,-1,0) lies along it and stays.
    """
    tips = {bone: tip / INCHES for bone, tip in motion.tips.items()}
    assert np.allclose(tips["thigh"], [[0.0, -4.5, 0.0], [1.0 - 4.5, 0.0, 0.0]])
    assert np.allclose(tips["shank"], [[0.0, -13.5, 0.0], [1.0 - 13.5, 0.0, 0.0]])


def test_forward_kinematics(tmp_path: Path) -> None:
    motion = read(tmp_path)
    assert_toy_motion(motion)
    assert motion.fps == 120.0


def test_radians_and_other_length_units(tmp_path: Path) -> None:
    motion = read(
        tmp_path,
        swapped(ASF, ("length 0.45", "length 1.0"), ("deg", "rad"), ("0 0 90", "0 0 1.5707963")),
        swapped(AMC, ("DEGREES", "RADIANS"), ("90", "1.5707963")),
    )
    assert np.allclose(motion.tips["thigh"][1] / 0.0254, [1.0 - 4.5, 0.0, 0.0], atol=1e-6)
    assert np.allclose(motion.tips["shank"][1] / 0.0254, [1.0 - 13.5, 0.0, 0.0], atol=1e-6)


def test_capitals_make_no_difference(tmp_path: Path) -> None:
    assert_toy_motion(read(tmp_path, ASF.upper(), AMC.upper()))
    assert_toy_motion(read(tmp_path, ASF.lower(), AMC.lower()))


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_bone(tmp_path: Path, mark: str) -> None:
    asf, amc = toy(tmp_path)
    asf.write_bytes(ASF.encode(mark))
    # A motion without header lines: the mark stands before its first frame number.
    amc.write_bytes(AMC[AMC.index("1\n") :].encode(mark))
    assert_toy_motion(read_motion(amc, read_skeleton(asf)))


def test_commas_and_parentheses_are_spaces(tmp_path: Path) -> None:
    assert_toy_motion(
        read(tmp_path, swapped(ASF, ("direction 0 -2 0", "direction (0, -2, 0)")), AMC)
    )


@pytest.mark.parametrize(
    ("letters", "tip"),
    [
        # About the fixed axes, x first: the bone's x axis goes x -> x -> y, and a turn about y
        # leaves the tip where it is.
        ("XYZ", [0.0, -9.0, 0.0]),
        # z first: x -> y -> z, and a turn by 90 deg about z takes (0,-1,0) to (1,0,0).
        ("ZYX", [9.0, 0.0, 0.0]),
        ("zyx", [9.0, 0.0, 0.0]),
    ],
)
def test_the_letters_of_axis_order_its_turns(
    tmp_path: Path, letters: str, tip: list[float]
) -> None:
    asf = swapped(ASF, ("axis 0 0 90  XYZ", f"axis 90 0 90  {letters}"))
    amc = swapped(AMC, ("root 1 0 0 0 90 0", "root 0 0 0 0 0 0"), ("thigh 90 0 0", "thigh 0 0 0"))
    tips = read(tmp_path, asf, amc).tips
    assert np.allclose((tips["shank"] - tips["thigh"])[1] / INCHES, tip)


@pytest.mark.parametrize(
    ("order", "numbers", "tip"),
    [
        # 90 deg about x, then about z: (0,-1,0) -> (0,0,-1) -> (0,0,-1).
        ("TX TY TZ RX RY RZ", "1 2 3 90 0 90", [1.0, 2.0, 3.0 - 4.5]),
        # 90 deg about z, then about x: (0,-1,0) -> (1,0,0) -> (1,0,0).
        ("TX TY TZ RZ RY RX", "1 2 3 90 0 90", [1.0 + 4.5, 2.0, 3.0]),
        # The columns follow the letters: 90 deg about z alone, (0,-1,0) -> (1,0,0).
        ("RZ RX RY TZ TX TY", "90 0 0 3 1 2", [1.0 + 4.5, 2.0, 3.0]),
    ],
)
def test_the_roots_order_is_that_of_columns_and_turns(
    tmp_path: Path, order: str, numbers: str, tip: list[float]
) -> None:
    amc = swapped(AMC, ("root 1 0 0 0 90 0", f"root {numbers}"), ("thigh 90 0 0", "thigh 0 0 0"))
    motion = read(tmp_path, swapped(ASF, ("TX TY TZ RX RY RZ", order)), amc)
    assert np.allclose(motion.tips["thigh"][1] / INCHES, tip)


@pytest.mark.parametrize(
    ("dof", "numbers", "tip"),
    [
        ("rx rz", "90 90", [0.0, 0.0, -4.5]),  # x first: (0,-1,0) -> (0,0,-1) -> (0,0,-1)
        ("RX RZ", "90 90", [0.0, 0.0, -4.5]),
        ("rz rx", "90 90", [4.5, 0.0, 0.0]),  # z first: (0,-1,0) -> (1,0,0) -> (1,0,0)
        ("rz rx", "0 90", [0.0, 0.0, -4.5]),  # the second column is the turn about x
    ],
)
def test_a_bones_dof_is_the_order_of_columns_and_turns(
    tmp_path: Path, dof: str, numbers: str, tip: list[float]
) -> None:
    amc = swapped(
        AMC,
        ("root 1 0 0 0 90 0", "root 0 0 0 0 0 0"),
        ("thigh 90 0 0", f"thigh {numbers}"),
        ("thigh 0 0 0", "thigh 0 0"),
    )
    motion = read(tmp_path, swapped(ASF, ("dof rx ry rz", f"dof {dof}")), amc)
    assert np.allclose(motion.tips["thigh"][1] / INCHES, tip)


def test_a_rate_in_the_file_is_the_motions(tmp_path: Path) -> None:
    amc = swapped(AMC, (":DEGREES", ":DEGREES\n:SAMPLES-PER-SECOND 60"))
    assert read(tmp_path, amc=amc).fps == 60.0


def test_frames_may_begin_at_any_number(tmp_path: Path) -> None:
    motion = read(tmp_path, amc=swapped(AMC, ("\n1\n", "\n41\n"), ("\n2\n", "\n42\n")))
    assert_toy_motion(motion)


def test_a_bone_without_extent_ends_where_it_begins(tmp_path: Path) -> None:
    motion = read(tmp_path, swapped(ASF, ("-1 0\n     length 9", "0 0\n     length 0")))
    assert np.array_equal(motion.tips["shank"], motion.tips["thigh"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("shank 90\n", "", ("frame 2", "shank", "cut short")),
        ("thigh 90 0 0", "thigh 90 0", ("frame 2", "2 value(s)", "3 needed")),
        ("thigh 90 0 0", "thigh 90 0 x", ("frame 2", "not numbers")),
        ("thigh 90 0 0", "thigh 90 0 nan", ("thigh", "not finite")),
        ("thigh 90 0 0", "tail 90 0 0", ("'tail'", "no bone")),
        ("shank 90", "shank 90\nshank 80", ("frame 2", "shank twice")),
        ("2\nroot 1 0 0 0 90 0\nthigh 90 0 0\nshank 90\n", "", ("1 frame(s)",)),
        (":DEGREES", ":RADIANS", ("radians", "angle deg")),
        (":DEGREES", ":degrees\n:radians", ("radians", "angle deg")),
        (":DEGREES", ":SAMPLES-PER-SECOND 0", ("samples-per-second is 0", "5 to 1000")),
        (":DEGREES", ":FORCE-ALL-JOINTS-BE-3DOF", (":force-all", "unknown")),
        ("\n2\n", "\n1\n", ("frame 1 follows frame 1",)),
        ("\n2\n", "\n3\n", ("frame 3 follows frame 1",)),
        ("\n2\n", "\n0\n", ("frame 0 follows frame 1",)),
    ],
)
def test_damaged_motions_are_refused(
    tmp_path: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    asf, amc = toy(tmp_path, amc=swapped(AMC, (old, new)))
    with pytest.raises(ClipError) as error:
        read_motion(amc, read_skeleton(asf))
    assert "\n" not in str(error.value)
    for word in ("09_toy.amc", *words):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (":hierarchy", ":tree", "hierarchy"),
        ("    thigh shank\n", "", "shank.*hierarchy"),
        ("root thigh", "pelvis thigh", "hang together"),
        ("thigh shank", "thigh shank\n    root shank", "'shank' stands twice"),
        ("thigh shank", "thigh shank\n    shank foot", "hang together, at 'foot'"),
        ("name shank", "name thigh", "'thigh' stands twice"),
        ("     direction 0 -1 0\n", "", "'shank' lacks its direction"),
        ("length 9", "length nine", "nine"),
        ("length 9", "length -9", "'shank' is -9 long.*allowed: 0 or more"),
        ("direction 0 -1 0", "direction 0 0 0", "'shank'.*a direction other than 0 0 0"),
        ("direction 0 -1 0", "direction 0 -1", "2 value.* 3 needed"),
        ("direction 0 -1 0", "direction 0 -1 inf", "not finite"),
        ("length 0.45", "length 0", "length of :units is 0"),
        ("angle deg", "angle grad", "'grad'; allowed: deg, rad"),
        ("axis 0 0 90  XYZ", "axis 0 0 90  XYY", "XYY"),
        ("dof rx\n", "dof rx rx\n", "dof of bone 'shank'"),
        ("dof rx\n", "dof rx tx\n", "dof of bone 'shank'"),
        ("order TX TY TZ RX RY RZ", "order TX TY TZ", "root order"),
        ("orientation 0 0 0", "orientation 0 90 0", "orientation is 0 90 0; allowed: 0 0 0"),
        ("position 0 0 0", "position 1 0 0", "position is 1 0 0; allowed: 0 0 0"),
    ],
)
def test_damaged_skeletons_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    asf, _ = toy(tmp_path, asf=swapped(ASF, (old, new)))
    with pytest.raises(ClipError, match=words) as error:
        read_skeleton(asf)
    assert "09.asf" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("asf", "amc"), [("S9.ASF", "S9_WALK.AMC"), ("s9.Asf", "S9_walk.amc")])
def test_a_skeleton_is_found_whatever_its_capitals(tmp_path: Path, asf: str, amc: str) -> None:
    (tmp_path / asf).write_text(ASF)
    (tmp_path / amc).write_text(AMC)
    # The skeleton was read: what it lacks for walking is known.
    with pytest.raises(ClipError, match=f"{re.escape(amc)}: no legs found among 4 points"):
        load_clip(tmp_path / amc, ROBOT)


def test_a_motion_without_its_skeleton_is_refused(tmp_path: Path) -> None:
    (tmp_path / "07_walk.amc").write_text(AMC)
    with pytest.raises(ClipError, match=r"07_walk\.amc.*07\.asf is not beside it"):
        load_clip(tmp_path / "07_walk.amc", ROBOT)

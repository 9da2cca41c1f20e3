"""One walk in every dialect: the same joint centres, whatever the axes, units, names and rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.wildrobot_torch.motion.read.walkers import (
    BIPED,
    DIALECTS,
    LAFAN,
    NAMELESS,
    Dialect,
    Walk,
    body_arrays,
    body_figure,
    bvh_text,
    walk,
    write_acclaim,
    write_bvh,
)
from wildrobot_torch.motion.clip import ClipError
from wildrobot_torch.motion.read.bvh import read_bvh
from wildrobot_torch.motion.read.kinds import read_skeleton_motion
from wildrobot_torch.motion.read.skeleton import ROLES, SkeletonMotion

MILLIMETRE = 1e-3


@pytest.fixture(scope="module")
def truth() -> Walk:
    return walk(seconds=2.5).every(4)


def assert_same(motion: SkeletonMotion, truth: Walk, roles: int = len(ROLES)) -> None:
    """Joint centres within 1 mm of the walk's."""
    assert len(motion.positions) == roles
    assert motion.fps == pytest.approx(truth.fps)
    for role, points in motion.positions.items():
        assert np.abs(points - truth.at[role]).max() < MILLIMETRE, role


@pytest.mark.parametrize("name", DIALECTS)
def test_a_bvh_dialect(tmp_path: Path, truth: Walk, name: str) -> None:
    motion = read_skeleton_motion(write_bvh(tmp_path / "walk.bvh", truth, DIALECTS[name]))
    assert_same(motion, truth)
    dialect = DIALECTS[name]
    assert any(note == f"{dialect.up} up" for note in motion.notes)
    assert ("left-handed" in " ".join(motion.notes)) == dialect.left_handed
    metres = {0.01: "centimetre", 1.0: "metre", 0.001: "millimetre", 0.0254: "inch"}
    assert metres.get(dialect.unit, "inch / 0.45") in motion.notes[0]
    if dialect.names is not NAMELESS:
        assert motion.joints["left_knee"] == dialect.names["left_knee"]


def test_a_bvh_and_an_amc_of_one_walk_are_one_motion(tmp_path: Path, truth: Walk) -> None:
    amc = read_skeleton_motion(write_acclaim(tmp_path, "01_walk", truth))
    assert_same(amc, truth)
    for name in ("cmu", "lafan1"):
        bvh = read_skeleton_motion(write_bvh(tmp_path / "walk.bvh", truth, DIALECTS[name]))
        for role, points in bvh.positions.items():
            assert np.abs(points - amc.positions[role]).max() < MILLIMETRE
        assert len(bvh.rotations) == {"cmu": 18, "lafan1": 7}[name]
        for role, quats in bvh.rotations.items():
            apart = Rotation.from_quat(quats).inv() * Rotation.from_quat(amc.rotations[role])
            assert np.degrees(apart.magnitude()).max() < 2.0, role


def test_orientations_are_those_of_level_segments(tmp_path: Path, truth: Walk) -> None:
    motion = read_skeleton_motion(write_bvh(tmp_path / "walk.bvh", truth, DIALECTS["soma"]))
    # Of a knee: the shank, which hangs along its -z and is 0.41 m long.
    shank = Rotation.from_quat(motion.rotations["left_knee"], scalar_first=True)
    ankle = motion.positions["left_knee"] + shank.apply([0.0, 0.0, -0.41])
    assert np.abs(ankle - truth.at["left_ankle"]).max() < MILLIMETRE
    pelvis = Rotation.from_quat(motion.rotations["pelvis"], scalar_first=True)
    hips = (truth.at["left_hip"] - truth.at["right_hip"]) / 0.18
    assert np.abs(pelvis.apply([0.0, 1.0, 0.0]) - hips).max() < 1e-6


@pytest.mark.parametrize(
    ("step", "written", "fps"),
    [
        (10, "0.0416667", 24.0),
        (10, "0.0417", 24.0),
        (8, "0.0333", 30.0),
        (8, "0.0333667", 29.97),  # a rate that is no whole number stays
        (4, "0.016667", 60.0),
        (2, "0.008333", 120.0),
        (1, ".004166667", 240.0),
        (1, "4.166667e-03", 240.0),
    ],
)
def test_rates_from_24_to_240(tmp_path: Path, step: int, written: str, fps: float) -> None:
    short = walk(seconds=1.5).every(step)
    text = bvh_text(short, Dialect(LAFAN)).split("\n")
    line = next(i for i, row in enumerate(text) if row.startswith("Frame Time"))
    text[line] = f"Frame Time: {written}"
    (tmp_path / "walk.bvh").write_text("\n".join(text))
    motion = read_bvh(tmp_path / "walk.bvh")
    assert motion.fps == pytest.approx(fps, abs=1e-3)
    assert motion.num_frames == len(short.at["pelvis"])


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"])
@pytest.mark.parametrize("last", [False, True])
def test_any_order_of_channels(tmp_path: Path, truth: Walk, order: str, last: bool) -> None:
    dialect = Dialect(LAFAN, order=order, position_last=last)
    assert_same(read_bvh(write_bvh(tmp_path / "walk.bvh", truth, dialect)), truth)


def test_other_writings_of_the_same_file(tmp_path: Path, truth: Walk) -> None:
    path = tmp_path / "walk.bvh"
    text = bvh_text(truth, Dialect(LAFAN))
    braces = text.replace("\n\t{", " {").replace("\n{", "{")
    for other in (
        text.replace("\n", "\r\n"),
        text.replace("\t", "    ")
        .replace("Xposition", "XPOSITION")
        .replace("End Site", "END SITE"),
        braces.replace("Frames: ", "Frames:\t").replace("Frame Time: ", "Frame Time:"),
        "\ufeff" + text,
    ):
        path.write_text(other, newline="", encoding="utf-8")
        assert_same(read_bvh(path), truth)
    path.write_text(text, encoding="utf-16")
    assert_same(read_bvh(path), truth)


def test_six_numbers_of_an_offset_are_the_rest_pose(tmp_path: Path, truth: Walk) -> None:
    # As SOMA writes: the joint's angles about x, y, z in the rest pose stand in OFFSET, too.
    quarter = Rotation.from_euler("xyz", [90.0, 0.0, 90.0], degrees=True)
    hips = Rotation.from_matrix(_y_up(truth.turned["pelvis"])) * quarter
    text = bvh_text(truth, Dialect(LAFAN, order="ZYX", digits=9)).split("\n")
    text[text.index("\tOFFSET 0.000000000 0.000000000 0.000000000")] = "\tOFFSET 0 0 0 90 0 90"
    # All below the hips, seen from the turned joint.
    children = [i for i, row in enumerate(text) if row.startswith("\t\tOFFSET")]
    for i in children:
        offset = quarter.inv().apply([float(word) for word in text[i].split()[1:]])
        text[i] = "\t\tOFFSET " + " ".join(f"{v:.9f}" for v in offset)
    first = text.index("MOTION") + 3
    table = np.array([[float(w) for w in row.split()] for row in text[first:-1]])
    table[:, 3:6] = hips.as_euler("ZYX", degrees=True)
    column = 6
    parents = {"pelvis": ("spine", "left_hip", "right_hip")}
    for name in (n for n, _ in _joints(text)):
        if name in [LAFAN[child] for child in parents["pelvis"]]:
            local = Rotation.from_euler("ZYX", table[:, column : column + 3], degrees=True)
            table[:, column : column + 3] = (quarter.inv() * local).as_euler("ZYX", degrees=True)
        column += 0 if name == "Hips" else 3
    rows = [" ".join(f"{v:.9f}" for v in row) for row in table]
    (tmp_path / "walk.bvh").write_text("\n".join([*text[:first], *rows]) + "\n")
    motion = read_bvh(tmp_path / "walk.bvh")
    assert_same(motion, truth)
    # Its rest pose turns with the joint: the pelvis is level where the walk's is.
    level = Rotation.from_quat(motion.rotations["pelvis"], scalar_first=True)
    apart = level.inv() * Rotation.from_matrix(truth.turned["pelvis"])
    assert np.degrees(apart.magnitude()).max() < 1e-3


def _y_up(turned: np.ndarray) -> np.ndarray:
    axes = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    return axes @ turned @ axes.T


def _joints(text: list[str]) -> list[tuple[str, int]]:
    return [
        (row.split()[-1], i)
        for i, row in enumerate(text)
        if row.strip().startswith(("ROOT", "JOINT"))
    ]


def test_a_thigh_in_two_pieces_is_one_thigh(tmp_path: Path, truth: Walk) -> None:
    figure = {}
    for name, (parent, offset) in truth.figure.items():
        if name.endswith("_knee"):  # twist joints halfway
            figure[f"{name[:-5]}_twist"] = (parent, (0.0, 0.0, -0.2))
            parent, offset = f"{name[:-5]}_twist", (0.0, 0.0, -0.22)
        figure[name] = (parent, offset)
    twisted = Walk(truth.fps, figure, dict(truth.at), dict(truth.turned))
    for side in ("left", "right"):
        hip = truth.at[f"{side}_hip"]
        twisted.turned[f"{side}_twist"] = truth.turned[f"{side}_hip"]
        twisted.at[f"{side}_twist"] = hip + truth.turned[f"{side}_hip"] @ [0.0, 0.0, -0.2]
    names = {**BIPED, "left_twist": "Bip01 L ThighTwist", "right_twist": "Bip01 R ThighTwist"}
    assert_same(read_bvh(write_bvh(tmp_path / "walk.bvh", twisted, Dialect(names))), truth)


@pytest.mark.parametrize("up", ["z", "y", "-y"])
@pytest.mark.parametrize("height", [1.5, 1.9])
def test_joint_angles_without_the_body_model(tmp_path: Path, height: float, up: str) -> None:
    """Feet that do not slide give the height; then all is where it was."""
    truth = walk(seconds=3.0, figure=body_figure(height)).every(4)
    arrays = body_arrays(truth, up)
    np.savez(tmp_path / "amass.npz", **arrays)
    motion = read_skeleton_motion(tmp_path / "amass.npz")
    assert_same(motion, truth)
    assert f"{height:.2f} m tall by feet" in motion.notes[-1]
    split = {
        "root_orient": arrays["poses"][:, :3],
        "pose_body": arrays["poses"][:, 3:66],
        "trans": arrays["trans"],
        "mocap_frame_rate": np.array(60.0),
        "surface_model_type": np.array("smplx"),
    }
    np.savez(tmp_path / "smplx.npz", **split)
    assert_same(read_skeleton_motion(tmp_path / "smplx.npz"), truth)
    level = Rotation.from_quat(motion.rotations["pelvis"], scalar_first=True)
    apart = level.inv() * Rotation.from_matrix(truth.turned["pelvis"])
    assert np.degrees(apart.magnitude()).max() < 1e-3


def test_joint_angles_of_someone_who_stands_are_of_an_assumed_height(tmp_path: Path) -> None:
    truth = walk(seconds=1.0, amplitude=0.0, figure=body_figure(1.5)).every(4)
    np.savez(tmp_path / "amass.npz", **body_arrays(truth))
    assert "1.7 m tall (assumed" in read_skeleton_motion(tmp_path / "amass.npz").notes[-1]


def locomujoco(truth: Walk, names: list[str]) -> dict[str, np.ndarray]:
    count = len(truth.at["pelvis"])
    at = [np.zeros((count, 3)), *(truth.at[name] for name in names)]
    return {
        "qpos": np.zeros((count, 9)),
        "joint_names": np.array(["root", "a", "b"]),
        "jnt_type": np.array([0, 3, 3]),
        "frequency": np.float64(truth.fps),
        "split_points": np.array([0, count]),
        "body_names": np.array(["world", *names]),
        "xpos": np.stack(at, 1),
        "metadata": np.array(None),
    }


def test_bodies_without_a_tree_find_theirs(tmp_path: Path, truth: Walk) -> None:
    names = [name for name in truth.figure if not name.endswith("end")]
    shuffled = [names[0], *np.random.default_rng(0).permutation(names[1:])]
    np.savez(tmp_path / "loco.npz", **locomujoco(truth, shuffled))
    motion = read_skeleton_motion(tmp_path / "loco.npz")
    assert motion.joints["right_ankle"] == "right_ankle"
    assert_same(motion, truth, roles=len(motion.positions))
    assert len(motion.positions) >= 15 and not motion.rotations


def test_a_file_is_read_by_its_content(tmp_path: Path, truth: Walk) -> None:
    path = write_bvh(tmp_path / "walk.amc", truth, DIALECTS["xsens"])
    assert_same(read_skeleton_motion(path), truth)
    write_acclaim(tmp_path, "02_walk", truth)
    (tmp_path / "02_walk.amc").rename(tmp_path / "02_walk.bvh")
    assert_same(read_skeleton_motion(tmp_path / "02_walk.bvh"), truth)


def _replaced(old: str, new: str):
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def _row(number: int, change) -> object:
    def changed(text: str) -> str:
        lines = text.split("\n")
        row = lines.index("MOTION") + 2 + number
        lines[row] = change(lines[row])
        return "\n".join(lines)

    return changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[:600], "no MOTION section; the BVH file is cut short"),
        (lambda t: t[: int(len(t) * 0.7)], r"frame \d+ has \d+ values.*cut short"),
        (lambda t: "\n".join(t.split("\n")[:-20]), r"Frames: 150, but 131 follow; .*cut short"),
        (
            _replaced("Frames: 150", "Frames: 149"),
            "Frames: 149, but 150 follow; correct the number",
        ),
        (_replaced("Frames: 150", "Frames: many"), "Frames: 'many' is no whole number"),
        (
            _replaced("Frame Time: 0.016667", "Frame Time: 0"),
            "Frame Time is 0 s; allowed: 0.001 to",
        ),
        (_replaced("Frame Time", "Rate"), "follows Frames; needed: Frame Time"),
        (_row(7, lambda r: r.replace(r.split()[4], "nan", 1)), "frame 7: Hips .rotation is nan"),
        (_row(9, lambda r: r.replace(r.split()[2], "0,5", 1)), "frame 9: '0,5' is no number"),
        (_row(3, lambda r: r + " 1.0"), "frame 3 has 67 values, the channels need 66$"),
        (_replaced("JOINT Spine1", "JOINT Spine"), "joint 'Spine' stands twice"),
        (_replaced("Zrotation", "Zscale"), "channel 'zscale' of 'Hips' is unknown; allowed"),
        (_replaced("CHANNELS 6", "CHANNELS 7"), "CHANNELS of 'Hips': 6 named, 7 announced"),
        (_replaced("OFFSET", "OFSET"), "is no line of a BVH hierarchy"),
        (_replaced("ROOT Hips", "ROOT"), "a ROOT without a name"),
        (_replaced("End Site", "ROOT Hips2"), "a second ROOT 'Hips2'; allowed: one figure"),
        (_replaced("}", ""), "braces are missing"),
    ],
)
def test_damaged_bvh_files_are_one_clear_line(tmp_path: Path, truth: Walk, change, words) -> None:
    path = tmp_path / "walk.bvh"
    path.write_text(change(bvh_text(truth, Dialect(LAFAN))))
    with pytest.raises(ClipError, match=words) as error:
        read_skeleton_motion(path)
    assert "\n" not in str(error.value) and "walk.bvh" in str(error.value)


def changed_figure(truth: Walk, **offsets: tuple[str | None, tuple[float, float, float]]) -> str:
    figure = {**truth.figure, **offsets}
    return bvh_text(Walk(truth.fps, figure, truth.at, truth.turned), Dialect(LAFAN))


def test_figures_that_are_none_are_refused(tmp_path: Path, truth: Walk) -> None:
    path = tmp_path / "walk.bvh"
    flat = {name: (parent, (0.0, 0.0, 0.0)) for name, (parent, _) in truth.figure.items()}
    path.write_text(changed_figure(truth, **flat))
    with pytest.raises(ClipError, match="all bones have zero length"):
        read_bvh(path)
    zero = {f"{s}_knee": (f"{s}_hip", (0.0, 0.0, 0.0)) for s in ("left", "right")}
    path.write_text(changed_figure(truth, **zero))
    with pytest.raises(ClipError, match=r"no legs found.*of zero length: LeftLeg, RightLeg"):
        read_bvh(path)
    path.write_text(bvh_text(truth, Dialect(LAFAN, unit=0.25)))
    with pytest.raises(ClipError, match=r"legs are 3.32 long; no unit .*inch.* makes them 0.4 to"):
        read_bvh(path)
    lying = Rotation.from_euler("X", 45.0, degrees=True).as_matrix()
    tipped = Walk(
        truth.fps,
        truth.figure,
        {name: points @ lying.T for name, points in truth.at.items()},
        {name: lying @ turn for name, turn in truth.turned.items()},
    )
    path.write_text(bvh_text(tipped, Dialect(LAFAN)))
    with pytest.raises(ClipError, match="no axis is up: the legs point along"):
        read_bvh(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"poses": None}, "no root angles; needed: one of the keys root_orient, global_orient"),
        ({"trans": None}, "no root path; needed: one of the keys trans, transl"),
        ({"mocap_framerate": None}, "no frame rate; needed: one of the keys mocap_frame_rate"),
        ({"poses": np.zeros((60, 30))}, r"poses has shape \(60, 30\)"),
        ({"trans": np.zeros((59, 3))}, r"trans has shape \(59, 3\), the angles have 60 frames"),
        ({"trans": np.full((60, 3), np.nan)}, "trans are not finite"),
        ({"mocap_framerate": np.array(0.0)}, "fps is 0; allowed: 5 to 1000"),
    ],
)
def test_damaged_joint_angles_are_refused(tmp_path: Path, change: dict, words: str) -> None:
    arrays = body_arrays(walk(seconds=1.0, figure=body_figure(1.7)).every(4)) | change
    np.savez(tmp_path / "a.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(ClipError, match=words) as error:
        read_skeleton_motion(tmp_path / "a.npz")
    assert "\n" not in str(error.value) and "a.npz" in str(error.value)


def test_a_body_model_that_is_asked_for_and_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = walk(seconds=1.0, figure=body_figure(1.7)).every(4)
    np.savez(tmp_path / "a.npz", **body_arrays(truth))
    monkeypatch.setenv("WILDROBOT_BODY_MODELS", str(tmp_path))
    with pytest.raises(ClipError, match="WILDROBOT_BODY_MODELS") as error:
        read_skeleton_motion(tmp_path / "a.npz")
    text = str(error.value)
    assert "pip install smplx" in text or ("licence" in text and "SMPLH_NEUTRAL.npz" in text)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.bvh", b"", "the file is empty"),
        ("a.fbx", b"Kaydara FBX Binary  \x00", "an FBX file; export it as BVH"),
        ("a.asf", b":version 1.10\n:name VICON\n", "an ASF skeleton without motion"),
        ("a.npz", b"HIERARCHY\nROOT Hips\n", "not a readable npz"),
        ("a.txt", b"once upon a time", "unknown kind '.txt'; allowed: BVH"),
        ("a.bvh", b"once upon a time", "no MOTION section"),
    ],
)
def test_what_is_no_motion_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ClipError, match=words):
        read_skeleton_motion(tmp_path / name)

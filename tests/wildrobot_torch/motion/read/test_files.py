"""Clips: what is refused, what is kept, and derived velocities against hand-made motion."""

from __future__ import annotations

import os
import pickle
import stat
import struct
from collections import OrderedDict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from envs.robot.model import load_robot
from wildrobot_torch.motion.clip import Clip, ClipError, clip_states
from wildrobot_torch.motion.read.files import load_clip, load_clips, save_clip
from wildrobot_torch.motion.rotations import quat_from_euler, quat_multiply, yaw_quat

ROBOT = load_robot().robot


def spinning(frames: int = 51, fps: float = 50.0, rate: float = 0.5) -> Clip:
    """Turns about the vertical at `rate` [rad/s], pitched by 0.1 rad, moving at (0.3, -0.1, 0)."""
    t = np.arange(frames) / fps
    tilt = quat_from_euler(np.zeros(frames), np.full(frames, 0.1), np.zeros(frames))
    return Clip(
        name="spin",
        fps=fps,
        root_pos=np.stack([0.3 * t, -0.1 * t, np.full(frames, 0.45)], -1),
        root_quat=quat_multiply(yaw_quat(rate * t), tilt),
        joint_pos=np.outer(t, np.arange(8.0)),
        source="hand-made",
    )


def legacy(frames: int = 10) -> dict[str, object]:
    quat_xyzw = np.tile([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)], (frames, 1))
    return {
        "fps": 33.3,
        "root_pos": np.tile([0.0, 0.0, 0.47], (frames, 1)),
        "root_rot": quat_xyzw,
        "dof_pos": np.tile(np.arange(8) / 10.0, (frames, 1)),
        "local_body_pos": None,
        "num_frames": np.int64(frames),
    }


def written(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def one_line(error: pytest.ExceptionInfo[ClipError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_velocities_of_a_steady_turn() -> None:
    linvel, angvel, joint_vel = spinning().velocities(ROBOT)
    assert np.allclose(linvel, [0.3, -0.1, 0.0])
    # About the vertical, seen from a body pitched by 0.1 rad: (-sin 0.1, 0, cos 0.1) * 0.5.
    assert np.allclose(angvel, [-0.0499167, 0.0, 0.4975021], atol=1e-6)
    assert np.allclose(joint_vel, np.arange(8.0))


def test_states_in_mujoco_order() -> None:
    qpos, qvel = clip_states(spinning(), ROBOT)
    assert qpos.shape == (51, 15) and qvel.shape == (51, 14) and qpos.dtype == torch.float32
    assert torch.allclose(qpos[50, :3], torch.tensor([0.3, -0.1, 0.45]))
    assert torch.allclose(qpos[50, 7:], torch.arange(8.0))
    assert torch.allclose(qvel[3, :3], torch.tensor([0.3, -0.1, 0.0]), atol=1e-6)
    assert torch.allclose(qvel[3, 6:], torch.arange(8.0), atol=1e-5)


def test_resample_keeps_the_motion() -> None:
    clip = spinning(frames=101, fps=100.0)
    half = clip.resample(50.0)
    assert half.num_frames == 51 and half.duration_s == pytest.approx(1.0)
    assert np.allclose(half.root_quat, clip.root_quat[::2])
    between = clip.resample(80.0)  # most frames lie between the old ones; slerp is exact here
    assert np.allclose(between.velocities(ROBOT)[1], clip.velocities(ROBOT)[1][0], atol=1e-9)
    assert np.allclose(between.joint_pos[:, 1], np.arange(81) / 80.0)


def test_quaternion_signs_are_made_continuous() -> None:
    clip = spinning()
    flipped = clip.root_quat * np.where(np.arange(51) % 3 == 0, -1.0, 1.0)[:, None]
    same = Clip("spin", 50.0, clip.root_pos, flipped, clip.joint_pos, "hand-made")
    assert (np.sum(same.root_quat[1:] * same.root_quat[:-1], axis=1) > 0.9).all()
    assert np.allclose(same.velocities(ROBOT)[1], clip.velocities(ROBOT)[1])


def test_quaternions_off_by_little_are_renormalised_and_by_more_refused() -> None:
    clip = spinning()
    near = Clip("c", 50.0, clip.root_pos, clip.root_quat * 1.0005, clip.joint_pos, "")
    assert np.allclose(np.linalg.norm(near.root_quat, axis=1), 1.0, atol=1e-12)
    with pytest.raises(ClipError, match=r"length 1\.01"):
        Clip("c", 50.0, clip.root_pos, clip.root_quat * 1.01, clip.joint_pos, "")


@pytest.mark.parametrize("fps", [0.0, -50.0, float("nan"), float("inf"), 4.9, 1001.0, "50"])
def test_unusable_rates_are_refused(fps: float) -> None:
    clip = spinning()
    with pytest.raises(ClipError) as error:
        Clip("c", fps, clip.root_pos, clip.root_quat, clip.joint_pos, "")
    one_line(error, "fps", "5 to 1000")


@pytest.mark.parametrize("field", ["root_pos", "root_quat", "joint_pos"])
def test_nan_is_refused_by_frame(field: str) -> None:
    clip = spinning()
    arrays = {n: getattr(clip, n).copy() for n in ("root_pos", "root_quat", "joint_pos")}
    arrays[field][7, 1] = np.nan
    with pytest.raises(ClipError) as error:
        Clip(name="c", fps=50.0, source="", **arrays)
    one_line(error, field, "frame 7")


def test_frame_counts_must_agree_and_one_is_too_few() -> None:
    clip = spinning()
    with pytest.raises(ClipError, match="root_pos has 50 frames, joint_pos 51"):
        Clip("c", 50.0, clip.root_pos[1:], clip.root_quat, clip.joint_pos, "")
    with pytest.raises(ClipError, match="2 or more"):
        clip.frames(0, 1)


def test_npz_round_trip(tmp_path: Path) -> None:
    clip = spinning()
    save_clip(clip, tmp_path / "new" / "spin.npz", ROBOT)
    back = load_clip(tmp_path / "new" / "spin.npz", ROBOT)
    assert back.name == "spin" and back.fps == 50.0 and back.source == "hand-made"
    for field in ("root_pos", "root_quat", "joint_pos"):
        assert np.allclose(getattr(back, field), getattr(clip, field), atol=1e-15)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["spin.npz"]
    (tmp_path / "plain").touch()
    modes = [
        stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "plain", tmp_path / "new/spin.npz")
    ]
    assert modes[0] == modes[1], "as readable as any new file"


def test_table_round_trip_whatever_the_order_of_columns(tmp_path: Path) -> None:
    clip = spinning(frames=31, fps=30.0)
    path = tmp_path / "spin.csv"
    save_clip(clip, path, ROBOT)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    assert rows[0][0] == "time_s" and rows[0][-1] == ROBOT.joint_names[-1]
    order = np.random.default_rng(0).permutation(len(rows[0]))
    path.write_text("\n".join(", ".join(row[i] for i in order) for row in rows))
    back = load_clip(path, ROBOT)
    assert back.fps == 30.0 and back.num_frames == 31
    for field in ("root_pos", "root_quat", "joint_pos"):
        assert np.allclose(getattr(back, field), getattr(clip, field), atol=1e-7)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("left_knee_pitch", "left_knee", ("left_knee_pitch missing", "did you mean 'left_knee'")),
        ("root_qw", "root_w", ("root_qw missing",)),
        ("time_s", "time", ("needed: time_s",)),
        ("\n0.02,", "\n0.03,", ("time_s goes on by 0.01 to 0.03 s",)),
        ("\n0.02,", "\n", ("row 2 has 15 values, 16 needed",)),
        ("\n0.02,", "\nx,", ("not all values are numbers",)),
        ("\n0.02,0.006", "\n0.02,nan", ("root_pos is not finite in frame 1",)),
    ],
)
def test_damaged_tables_are_refused(
    tmp_path: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "spin.csv"
    save_clip(spinning(), path, ROBOT)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ClipError) as error:
        load_clip(path, ROBOT)
    one_line(error, "spin.csv", *words)


def test_a_locomujoco_file_of_this_robot_in_another_order(tmp_path: Path) -> None:
    clip = spinning()
    order = [3, 0, 7, 1, 2, 6, 5, 4]
    np.savez(
        tmp_path / "loco.npz",
        qpos=np.concatenate([clip.root_pos, clip.root_quat, clip.joint_pos[:, order]], 1),
        joint_names=np.array(["root", *(ROBOT.joint_names[i] for i in order)]),
        jnt_type=np.array([0] + [3] * 8),
        frequency=np.float64(50.0),
        split_points=np.array([0, 30, 51]),
    )
    back = load_clip(tmp_path / "loco.npz", ROBOT)
    assert back.num_frames == 30, "the first of two trajectories"
    assert np.allclose(back.joint_pos, clip.joint_pos[:30])
    np.savez(
        tmp_path / "other.npz",
        qpos=np.zeros((10, 9)),
        joint_names=np.array(["root", "hip", "knee"]),
        jnt_type=np.array([0, 3, 3]),
        frequency=np.float64(50.0),
    )
    with pytest.raises(ClipError) as error:
        load_clip(tmp_path / "other.npz", ROBOT)
    one_line(error, "other.npz", "joints are hip, knee", "needs left_hip_pitch")


def test_npz_of_another_robot_is_refused(tmp_path: Path) -> None:
    clip = spinning()
    np.savez(
        tmp_path / "other.npz",
        fps=50.0,
        root_pos=clip.root_pos,
        root_quat=clip.root_quat,
        joint_pos=clip.joint_pos,
        joint_names=np.array([f"joint_{i}" for i in range(8)]),
        source=np.array("x"),
    )
    with pytest.raises(ClipError) as error:
        load_clip(tmp_path / "other.npz", ROBOT)
    one_line(error, "other.npz", "joint_0", "left_hip_pitch")


def test_npz_without_a_key_or_with_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", fps=50.0)
    with pytest.raises(ClipError) as error:
        load_clip(tmp_path / "a.npz", ROBOT)
    one_line(error, "a.npz", "root_pos", "missing")
    keys = ("fps", "root_pos", "root_quat", "joint_pos", "joint_names", "source")
    np.savez(tmp_path / "b.npz", **{k: np.array([object()]) for k in keys})
    with pytest.raises(ClipError) as error:
        load_clip(tmp_path / "b.npz", ROBOT)
    one_line(error, "b.npz")


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    save_clip(spinning(), tmp_path / "spin.npz", ROBOT)
    written(tmp_path / "old.pkl", legacy())
    for name in ("spin.npz", "old.pkl"):
        whole = (tmp_path / name).read_bytes()
        for share in (0.0, 0.3, 0.95):
            (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(ClipError) as error:
                load_clip(tmp_path / name, ROBOT)
            one_line(error, name)


@pytest.mark.parametrize("protocol", range(6))
def test_legacy_pickle_is_read_with_its_xyzw_order(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "old.pkl"
    path.write_bytes(pickle.dumps(legacy(), protocol=protocol))
    clip = load_clip(path, ROBOT)
    # (x, y, z, w) = (0, 0, .707, .707) is a quarter turn to the left.
    assert np.allclose(clip.root_quat, [np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])
    assert np.allclose(clip.joint_pos[3], np.arange(8) / 10.0)
    assert clip.fps == 33.3 and clip.num_frames == 10


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_a_pickle_of_numpy_1_is_read(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps(legacy() | {"link_body_list": b""}, protocol=protocol)
    older = content.replace(b"numpy._core", b"numpy.core")
    assert older != content and b"_codecs" in older
    (tmp_path / "old.pkl").write_bytes(older)
    assert np.allclose(load_clip(tmp_path / "old.pkl", ROBOT).joint_pos[3], np.arange(8) / 10.0)


class _Python2Pickler(pickle._Pickler):  # the one in Python, whose methods can be replaced
    """Writes bytes as Python 2 writes its text, which is bytes: by the opcode BINSTRING."""

    def save_bytes(self, data: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(data)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, bytes: save_bytes}


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    with (tmp_path / "old.pkl").open("wb") as file:
        _Python2Pickler(file, protocol=2).dump(legacy())
    assert np.allclose(load_clip(tmp_path / "old.pkl", ROBOT).joint_pos[3], np.arange(8) / 10.0)


def global_call(module: str, name: str, *arguments: str) -> bytes:
    """A pickle of protocol 0 that calls a function with texts."""
    texts = "".join(f"V{argument}\n" for argument in arguments)
    return f"c{module}\n{name}\n({texts}tR.".encode()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (global_call("_codecs", "encode", "text", "rot13"), "'rot13'"),
        (global_call("_codecs", "decode", "text"), "_codecs.decode"),
        (global_call("__builtin__", "bytes", "9999999999"), "takes 0 positional"),
        (global_call("__builtin__", "eval", "1"), "eval"),
    ],
)
def test_only_latin_1_bytes_are_made(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "old.pkl").write_bytes(content)
    with pytest.raises(ClipError, match=word):
        load_clip(tmp_path / "old.pkl", ROBOT)


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_that_calls_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = written(tmp_path / "evil.pkl", legacy() | {"extra": _Malicious(marker)})
    with pytest.raises(ClipError) as error:
        load_clip(path, ROBOT)
    one_line(error, "evil.pkl", "posix.system", "numpy arrays")
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the pickle is live: what was refused would have run
    assert marker.exists()


def test_other_classes_in_a_pickle_are_refused_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "old.pkl", OrderedDict(legacy()))
    with pytest.raises(ClipError) as error:
        load_clip(path, ROBOT)
    one_line(error, "collections.OrderedDict")
    objects = legacy() | {"root_pos": np.array([Path("x")], dtype=object)}
    with pytest.raises(ClipError, match="pathlib"):
        load_clip(written(path, objects), ROBOT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fps": 0.0}, ("fps", "5 to 1000")),
        ({"fps": -30.0}, ("fps",)),
        ({"fps": float("nan")}, ("fps",)),
        ({"fps": "fast"}, ("fps", "one number")),
        ({"dof_pos": np.zeros((10, 9))}, ("9 joints", "left_hip_pitch")),
        ({"dof_pos": np.full((10, 8), np.nan)}, ("joint_pos", "frame 0")),
        ({"root_rot": np.zeros((10, 4))}, ("root_quat", "length 0")),
        ({"root_rot": np.zeros((10, 3))}, ("root_rot", "xyzw")),
        ({"root_pos": "here"}, ("root_pos",)),
        ({"root_pos": np.ones((10, 3)) + 1j}, ("root_pos", "complex128")),
        ({"root_rot": np.ones((10, 4)) / 2.0 + 0j}, ("root_quat", "complex128")),
        ({"dof_pos": np.full((10, 8), "0.1")}, ("joint_pos", "<U3")),
        ({"joint_names": [f"joint_{i}" for i in range(8)]}, ("joint_0", "left_hip_pitch")),
        ({"joint_names": ROBOT.joint_names[::-1]}, ("in this order", "left_hip_pitch")),
    ],
)
def test_legacy_pickles_with_unusable_values(
    tmp_path: Path, change: dict[str, object], words: tuple[str, ...]
) -> None:
    path = written(tmp_path / "old.pkl", legacy() | change)
    with pytest.raises(ClipError) as error:
        load_clip(path, ROBOT)
    one_line(error, "old.pkl", *words)


def test_a_pickle_with_the_robots_joint_names_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "old.pkl", legacy() | {"joint_names": list(ROBOT.joint_names)})
    assert load_clip(path, ROBOT).num_frames == 10


def test_names_in_a_pickle_decide_not_the_count_of_joints(tmp_path: Path) -> None:
    path = tmp_path / "old.pkl"
    for key in ("joint_names", "dof_names", "joint_order"):
        with pytest.raises(ClipError, match=f"robot {ROBOT.name!r} has, in this order"):
            load_clip(written(path, legacy() | {key: [f"joint_{i}" for i in range(8)]}), ROBOT)
    with pytest.raises(ClipError) as error:
        load_clip(written(path, legacy() | {"robot": "unitree_g1"}), ROBOT)
    one_line(error, "old.pkl", "'unitree_g1'", "names no joints", "joint_names")
    named = {"robot": "other", "dof_names": list(ROBOT.joint_names)}
    assert load_clip(written(path, legacy() | named), ROBOT).num_frames == 10


def test_a_pickle_of_several_motions_that_has_one(tmp_path: Path) -> None:
    content = legacy()
    inner = {"root_trans_offset": content["root_pos"], "root_rot": content["root_rot"],
             "dof": content["dof_pos"], "fps": 30}  # fmt: skip
    clip = load_clip(written(tmp_path / "old.pkl", {"walk": inner}), ROBOT)
    assert clip.fps == 30.0 and np.allclose(clip.joint_pos[3], np.arange(8) / 10.0)


def test_legacy_pickle_without_a_key_or_dictionary(tmp_path: Path) -> None:
    content = legacy()
    del content["dof_pos"]
    with pytest.raises(ClipError) as error:
        load_clip(written(tmp_path / "old.pkl", content), ROBOT)
    one_line(error, "old.pkl", "dof_pos missing")
    with pytest.raises(ClipError, match="holds a list"):
        load_clip(written(tmp_path / "old.pkl", [1, 2]), ROBOT)


def test_folders_and_lists(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="no motion in it"):
        load_clips(tmp_path, ROBOT)
    with pytest.raises(ClipError, match="no such folder"):
        load_clips(tmp_path / "missing", ROBOT)
    with pytest.raises(ClipError, match="no such file"):
        load_clip(tmp_path / "missing.npz", ROBOT)
    (tmp_path / "walk.mov").write_bytes(b"film")
    with pytest.raises(ClipError, match=r"\.mov.*allowed"):
        load_clip(tmp_path / "walk.mov", ROBOT)
    save_clip(spinning(), tmp_path / "b.npz", ROBOT)
    written(tmp_path / "a.pkl", legacy())
    (tmp_path / "notes.txt").write_text("not motion")
    assert [clip.name for clip in load_clips(tmp_path, ROBOT)] == ["a", "b"]
    assert [clip.name for clip in load_clips(tmp_path / "b.npz", ROBOT)] == ["b"]


def test_saving_elsewhere_than_npz_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"\.npz"):
        save_clip(spinning(), tmp_path / "clip.pkl", ROBOT)
    assert list(tmp_path.iterdir()) == []

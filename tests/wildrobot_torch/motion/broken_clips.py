"""Clips with the faults of the earlier system's files, made from the built-in walk."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import legs_of, sole_corners
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.posing import FootPath, pose
from wildrobot_torch.motion.repair import stances
from wildrobot_torch.motion.rotations import Array
from wildrobot_torch.motion.synthesis.walk import walking_clip
from wildrobot_torch.reference.generate import ReferenceConfig

SPEEDS = (0.10, 0.12, 0.15, 0.18, 0.21, 0.24, 0.27, 0.30, 0.34, 0.38, 0.40, 0.43)
SECONDS = (7.2, 7.1, 6.6, 6.4, 6.1, 5.9, 5.6, 5.3, 5.2, 5.1, 4.6, 3.2)
FPS = 100.0 / 3.0
BACKWARDS = (2, 6, 10)
"""Clips whose root goes against where it faces; the others face and go along -x."""


def clean_clip(robot: RobotSpec, number: int) -> Clip:
    """The walk that clip `number` is made from."""
    walk = ReferenceConfig().walk
    return walking_clip(robot, SPEEDS[number], SECONDS[number], FPS, config=walk)


def broken_clip(robot: RobotSpec, number: int) -> Clip:
    """Clip `number` (0 to 11): what a careless retargeting makes of a walk at SPEEDS[number]."""
    rng = np.random.default_rng(number)
    clean = clean_clip(robot, number)
    legs = legs_of(robot)
    time = np.arange(clean.num_frames) / FPS
    # The trunk swings as a human pelvis does, the legs let the feet where they were.
    swing = 2.0 * np.pi * time / 0.76
    tilt = rotations.quat_from_euler(
        0.05 * np.sin(swing), 0.14 + 0.1 * np.sin(2.0 * swing), 0.08 * np.sin(swing + 1.0)
    )
    hip = legs.hip * [1.0, 0.0, 1.0]
    hips = clean.root_pos + rotations.quat_rotate(clean.root_quat, hip)
    root = hips - rotations.quat_rotate(tilt, hip)
    motion = stances.take_apart(legs, clean, np.zeros(clean.num_frames))
    paths = [FootPath(sole, pitch) for sole, pitch in zip(motion.soles, motion.pitch, strict=True)]
    joints = pose(legs, root, tilt, (paths[0], paths[1]), FPS).clip.joint_pos.copy()
    for side in (0, 1):
        leg = legs.joints(side, joints[:, legs.index[side]])
        # Knees straightened and thighs behind, as far as the stops go; feet under the middle.
        leg[:, 2] -= 0.3
        leg[:, 0] -= 0.18
        leg[:, 3] += 0.12
        leg[:, 1] += 0.1 + 0.02 * rng.standard_normal()
        leg += 0.008 * rng.standard_normal(leg.shape)
        joints[:, legs.index[side]] = legs.joints(
            side, np.clip(leg, legs.lower[side], legs.upper[side])
        )
    root = root * [0.9, 1.0, 1.0] + 0.002 * rng.standard_normal(root.shape)
    quat = tilt
    root[:, 2] += _sinking(legs, joints, quat, root) - 0.02 - 0.02 * rng.random()
    backwards = number in BACKWARDS
    turn = rotations.yaw_quat((0.0 if backwards else np.pi - 0.2) - 0.02 * time)
    quat = rotations.quat_multiply(turn, quat)
    way = rotations.yaw_quat(np.pi - 0.1)
    root = rotations.quat_rotate(way, root) + np.array([0.5, 0.1, 0.0])
    return Clip(f"walking_{number:02d}", FPS, root, quat, joints, "broken on purpose")


def write_legacy(path: Path, clip: Clip) -> Path:
    """The clip as the earlier system wrote it: a pickled dictionary, orientations xyzw."""
    content: dict[str, Any] = {
        "fps": clip.fps,
        "root_pos": clip.root_pos,
        "root_rot": clip.root_quat[:, [1, 2, 3, 0]],
        "dof_pos": clip.joint_pos,
        "local_body_pos": None,
        "link_body_list": None,
        "num_frames": clip.num_frames,
        "duration_sec": clip.num_frames / clip.fps,
        "robot": "wildrobot",
        "source_file": "made up",
    }
    path.write_bytes(pickle.dumps(content))
    return path


def write_all(folder: Path, robot: RobotSpec) -> list[Path]:
    """All twelve as files in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = [broken_clip(robot, number) for number in range(len(SPEEDS))]
    return [write_legacy(folder / f"{clip.name}.pkl", clip) for clip in clips]


def _sinking(legs: Legs, joints: Array, quat: Array, root: Array) -> float:
    """What lifts the clip so that its lower sole is on the floor in the median frame [m]."""
    clip = Clip("", FPS, root, quat, joints, "")
    return -float(np.median(sole_corners(legs, clip)[..., 2].min((1, 2))))

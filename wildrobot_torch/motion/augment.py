"""More motion from a clip: mirrored, faster or slower, turned, and as long as wanted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from envs.robot import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.rotations import Array


def mirror(clip: Clip, robot: RobotSpec) -> Clip:
    """The clip seen in a mirror along the robot's forward axis: left is right (y -> -y).

    Lateral position, roll and yaw change sign; joints swap sides by `RobotSpec.mirror_joints`.

    Raises:
        ClipError: the clip has another number of joints than the robot.
    """
    clip.require(robot)
    return replace(
        clip,
        name=f"{clip.name}_mirror",
        root_pos=clip.root_pos * [1.0, -1.0, 1.0],
        root_quat=clip.root_quat * [1.0, -1.0, 1.0, -1.0],
        joint_pos=robot.to("cpu").mirror_joints(torch.from_numpy(clip.joint_pos)).numpy(),
        source=f"{clip.source}; mirrored",
    )


def time_warp(clip: Clip, factor: float) -> Clip:
    """The clip played `factor` times as fast, at the same frame rate.

    Raises:
        ClipError: factor outside 0.5 to 2, beyond which it is another motion.
    """
    if not 0.5 <= factor <= 2.0:
        raise ClipError(f"time warp factor is {factor}; allowed: 0.5 to 2")
    warped = replace(clip, fps=clip.fps * factor).resample(clip.fps)
    return replace(
        warped, name=f"{clip.name}_x{factor:g}", source=f"{clip.source}; played x{factor:g}"
    )


def turn(clip: Clip, angle: float) -> Clip:
    """The clip turned by `angle` [rad] about the vertical through the world's origin."""
    quat = rotations.yaw_quat(float(angle))
    return replace(
        clip,
        root_pos=rotations.quat_rotate(quat, clip.root_pos),
        root_quat=rotations.quat_multiply(
            np.broadcast_to(quat, clip.root_quat.shape), clip.root_quat
        ),
        source=f"{clip.source}; turned {np.degrees(angle):.1f} deg",
    )


def loop_clip(clip: Clip, robot: RobotSpec, duration_s: float, blend_s: float = 0.2) -> Clip:
    """The clip's most repeatable part, played over and over for `duration_s`.

    Of all pairs of frames at least a stride (half a second) and a blend apart, the loop goes
    between the two most alike in joints, joint velocities, root height and tilt, at no less than
    0.8 times the clip's mean speed (standing is alike at all times). Over `blend_s` before the
    seam the end fades into what precedes the start; heading and place carry on.

    Args:
        clip: the motion; walking, or anything else that comes back to itself.
        robot: whose joints these are.
        duration_s: of the result [s].
        blend_s: of the cross-fade [s].

    Raises:
        ClipError: the clip is too short for a stride and a blend, or a value is out of range.
    """
    if not 0.1 <= duration_s <= 3600.0:
        raise ClipError(f"loop duration is {duration_s} s; allowed: 0.1 to 3600")
    blend = round(blend_s * clip.fps)
    if blend < 1:
        raise ClipError(f"loop blend is {blend_s} s; allowed: a frame ({1.0 / clip.fps:g} s) up")
    start, stop = _loop_points(clip, robot, blend)
    period = stop - start
    # One period, its last `blend` frames fading into the frames before the start, moved on.
    once = clip.frames(start, stop + 1)
    moved = _moved(clip.frames(start - blend, start + 1), clip, start, stop)
    share = (np.arange(blend + 1) / blend)[:, None]
    share = share * share * (3.0 - 2.0 * share)
    tail = slice(period - blend, period + 1)
    root_pos, root_quat = once.root_pos.copy(), once.root_quat.copy()
    joint_pos = once.joint_pos.copy()
    root_pos[tail] += share * (moved.root_pos - root_pos[tail])
    root_quat[tail] = rotations.slerp(root_quat[tail], moved.root_quat, share[:, 0])
    joint_pos[tail] += share * (moved.joint_pos - joint_pos[tail])
    once = replace(once, root_pos=root_pos, root_quat=root_quat, joint_pos=joint_pos)

    frames = round(duration_s * clip.fps) + 1
    parts, current = [], once
    for _ in range(-(-frames // period)):
        parts.append(current)
        current = _moved(current, current, 0, period)
    return replace(
        clip,
        name=f"{clip.name}_loop",
        root_pos=np.concatenate([p.root_pos[:period] for p in parts])[:frames],
        root_quat=np.concatenate([p.root_quat[:period] for p in parts])[:frames],
        joint_pos=np.concatenate([p.joint_pos[:period] for p in parts])[:frames],
        source=f"{clip.source}; frames {start} to {stop} looped",
    )


def _loop_points(clip: Clip, robot: RobotSpec, blend: int) -> tuple[int, int]:
    linvel, _, joint_vel = clip.velocities(robot)
    tilt = rotations.quat_multiply(
        rotations.yaw_quat(-rotations.yaw(clip.root_quat)), clip.root_quat
    )
    # A radian per second of joint velocity counts like 0.1 rad, a cm of height like 0.1 rad.
    features = np.concatenate(
        [
            clip.joint_pos,
            0.1 * joint_vel,
            10.0 * clip.root_pos[:, 2:],
            linvel[:, 2:],
            rotations.rotation_vector(tilt),
        ],
        axis=1,
    )
    least = max(round(0.5 * clip.fps), blend + 1)
    starts = np.arange(blend, clip.num_frames - least)
    if len(starts) == 0:
        raise ClipError(
            f"clip {clip.name!r}: {clip.duration_s:.2f} s is too short to loop; it takes a stride "
            f"and a blend, {(blend + least) / clip.fps:.2f} s"
        )
    best = (np.inf, 0, 0)
    for start in starts:
        distance = np.square(features[start + least :] - features[start]).sum(1)
        way = np.linalg.norm(clip.root_pos[start + least :, :2] - clip.root_pos[start, :2], axis=1)
        seconds = np.arange(least, clip.num_frames - start) / clip.fps
        distance[way < 0.8 * clip.mean_speed * seconds] = np.inf
        place = int(np.argmin(distance))
        best = min(best, (float(distance[place]), int(start), int(start + least + place)))
    if not np.isfinite(best[0]):
        raise ClipError(f"clip {clip.name!r} has no stretch near its mean speed to loop")
    return best[1], best[2]


def _moved(part: Clip, clip: Clip, start: int, stop: int) -> Clip:
    """`part` moved along the floor and turned as frame `start` of `clip` is to become `stop`."""
    headings = rotations.yaw(clip.root_quat[[start, stop]])
    quat = rotations.yaw_quat(headings[1] - headings[0])
    floor: Array = np.array([1.0, 1.0, 0.0])
    from_, to = clip.root_pos[start] * floor, clip.root_pos[stop] * floor
    return replace(
        part,
        root_pos=rotations.quat_rotate(quat, part.root_pos - from_) + to,
        root_quat=rotations.quat_multiply(
            np.broadcast_to(quat, part.root_quat.shape), part.root_quat
        ),
    )

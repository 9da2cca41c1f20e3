"""More motion from a clip: mirrored, faster or slower, turned, and repeated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from envs.robot.spec import RobotSpec
from envs.settings import NonNegativeFloat, check
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.kinematics import legs_of, sole_corners
from wildrobot_torch.motion.ranges import Warp
from wildrobot_torch.motion.rotations import Array
from wildrobot_torch.motion.series import smoothstep
from wildrobot_torch.motion.synthesis.bridge import into_stance, out_of_stance

RETURNS = 0.05
"""Largest difference between the ends of a loop, as `loop_clip` measures it, of a motion of eight
joints that returns to its start: 0.08 rad in each. Captured walks have a tenth of it."""
BLEND_S = 0.4
"""Time from the end of a repetition into neutral stance, and again out of it, or else in which the
end of a clip fades into its start [s]."""


@dataclass(frozen=True, kw_only=True)
class VariantConfig:
    """Which variants of a clip to make: every combination."""

    mirror: bool = True
    """Make the mirror image too, except of a motion that equals it."""
    warps: tuple[Warp, ...] = (1.0,)
    """Factors on the speed of playback. A clip that does not move gets one speed only."""
    align: bool = True
    """Start at the origin facing +x, the lowest sole on the floor; else where the clip does."""
    headings: tuple[float, ...] = (0.0,)
    """Angles to turn by after that [rad], counter-clockwise."""
    loop_s: NonNegativeFloat = 0.0
    """Repeat shorter clips until they last this long [s]; 0 repeats nothing."""

    def __post_init__(self) -> None:
        check(self)
        for name in ("warps", "headings"):
            values = getattr(self, name)
            if not 0 < len(values) == len(set(values)) or not all(map(math.isfinite, values)):
                raise ClipError(
                    f"variants.{name} is {values}; allowed: one or more numbers, none twice"
                )


def variants(clip: Clip, robot: RobotSpec, config: VariantConfig) -> list[Clip]:
    """Every combination of speed, mirror image and heading, aligned and looped.

    The first is the clip itself at the first speed and heading. Their names begin with the clip's.
    """
    made: list[Clip] = []
    for factor in config.warps if _moves(clip) else (1.0,):
        warped = clip if factor == 1.0 else time_warp(clip, factor)
        if warped.duration_s < config.loop_s:
            warped = loop(warped, robot, config.loop_s)
        warped = align(warped, robot) if config.align else warped
        image = mirror(warped, robot)
        images = [warped, image] if config.mirror and not _same(image, warped) else [warped]
        made += [
            image if heading == 0.0 else turn(image, heading)
            for image in images
            for heading in config.headings
        ]
    return made


def align(clip: Clip, robot: RobotSpec) -> Clip:
    """The clip moved as a whole to start over the world's origin, facing +x, on the floor.

    The lowest corner of a sole over all frames is then at height 0.

    Raises:
        ClipError: the clip has another number of joints than the robot.
    """
    lowest = sole_corners(legs_of(robot), clip.require(robot))[..., 2].min()
    moved = replace(clip, root_pos=clip.root_pos - [*clip.root_pos[0, :2], lowest])
    moved = _turned(moved, -float(rotations.yaw(clip.root_quat[0])))
    return replace(moved, source=f"{clip.source}; aligned")


def mirror(clip: Clip, robot: RobotSpec) -> Clip:
    """The clip in a mirror along the robot's forward axis: left is right (y -> -y).

    Lateral position, roll and yaw change sign; joints swap sides by `RobotSpec.mirror_joints`.

    Raises:
        ClipError: the clip has another number of joints than the robot.
    """
    return replace(
        clip.require(robot),
        name=f"{clip.name}_mirror",
        root_pos=clip.root_pos * [1.0, -1.0, 1.0],
        root_quat=clip.root_quat * [1.0, -1.0, 1.0, -1.0],
        joint_pos=robot.to("cpu").mirror_joints(torch.from_numpy(clip.joint_pos)).numpy(),
        source=f"{clip.source}; mirrored",
    )


def time_warp(clip: Clip, factor: float) -> Clip:
    """The clip played `factor` times as fast, at the same frame rate.

    Raises:
        ClipError: factor outside 0.5 to 2.
    """
    if not 0.5 <= factor <= 2.0:
        raise ClipError(f"time warp factor is {factor}; allowed: 0.5 to 2")
    name, source = f"{clip.name}_x{factor:g}", f"{clip.source}; played x{factor:g}"
    warped = replace(clip, fps=clip.fps * factor).resample(clip.fps)
    return replace(warped, name=name, source=source)


def turn(clip: Clip, angle: float) -> Clip:
    """The clip turned by `angle` [rad] about the vertical through the world's origin."""
    degrees = np.degrees(angle)
    name, source = f"{clip.name}_turn{degrees:+.4g}", f"{clip.source}; turned {degrees:.1f} deg"
    return replace(_turned(clip, angle), name=name, source=source)


def _turned(clip: Clip, angle: float) -> Clip:
    quat = rotations.yaw_quat(float(angle))
    return replace(
        clip,
        root_pos=rotations.quat_rotate(quat, clip.root_pos),
        root_quat=rotations.quat_multiply(
            np.broadcast_to(quat, clip.root_quat.shape), clip.root_quat
        ),
    )


def loop(clip: Clip, robot: RobotSpec, duration_s: float) -> Clip:
    """The clip repeated for `duration_s`, directly where it returns to its start, else by a stance.

    By `loop_clip` where the clip holds a stride and two of its frames differ by no more than
    `RETURNS`; otherwise by `loop_through_stance`, which takes any clip.
    """
    try:
        returns = _loop_points(clip, robot, max(round(BLEND_S * clip.fps), 1))[0] <= (
            RETURNS * robot.num_joints / 8
        )
    except ClipError:
        returns = False
    return (loop_clip if returns else loop_through_stance)(clip, robot, duration_s, BLEND_S)


def loop_through_stance(clip: Clip, robot: RobotSpec, duration_s: float, blend_s: float) -> Clip:
    """The whole clip repeated for `duration_s`, coming to rest in neutral stance in between.

    Every repetition begins at the place and heading at which the last one came to rest; going to
    rest and rising take `blend_s` [s] each.

    Raises:
        ClipError: a value is out of range.
    """
    _check_duration(duration_s)
    rest, rise = into_stance(clip, robot, blend_s), out_of_stance(clip, robot, blend_s)
    frames = round(duration_s * clip.fps) + 1
    if frames > clip.num_frames:
        clip = _repeated(_joined(_joined(clip, rest), rise), frames)
    return replace(
        clip.frames(0, frames),
        name=f"{clip.name}_loop",
        source=f"{clip.source}; looped through stance, {blend_s:g} s each way",
    )


def loop_clip(clip: Clip, robot: RobotSpec, duration_s: float, blend_s: float = 0.2) -> Clip:
    """The part of the clip that repeats best, repeated for `duration_s`.

    Of all pairs of frames at least a stride (half a second) and a blend apart, the loop connects
    the two most alike in joints, joint velocities, root height and tilt, at no less than 0.8 times
    the clip's mean speed (any two frames of standing are alike). During `blend_s` before the seam,
    the end fades into the frames before the start; place and heading continue.

    Raises:
        ClipError: the clip is too short for a stride and a blend, or a value is out of range.
    """
    _check_duration(duration_s)
    blend = round(blend_s * clip.fps)
    if blend < 1:
        raise ClipError(f"loop blend is {blend_s} s; allowed: a frame ({1.0 / clip.fps:g} s) up")
    _, start, stop = _loop_points(clip, robot, blend)
    period = stop - start
    # One period, its last `blend` frames fading into the frames before the start, moved on.
    once = clip.frames(start, stop + 1)
    moved = _moved(clip.frames(start - blend, start + 1), clip, start, clip, stop)
    share = smoothstep(np.arange(blend + 1) / blend)[:, None]
    tail = slice(period - blend, period + 1)
    root_pos, root_quat, joint_pos = map(np.copy, (once.root_pos, once.root_quat, once.joint_pos))
    root_pos[tail] += share * (moved.root_pos - root_pos[tail])
    root_quat[tail] = rotations.slerp(root_quat[tail], moved.root_quat, share[:, 0])
    joint_pos[tail] += share * (moved.joint_pos - joint_pos[tail])
    once = replace(once, root_pos=root_pos, root_quat=root_quat, joint_pos=joint_pos)
    return replace(
        _repeated(once, round(duration_s * clip.fps) + 1),
        name=f"{clip.name}_loop",
        source=f"{clip.source}; frames {start} to {stop} looped",
    )


def _check_duration(duration_s: float) -> None:
    if not 0.1 <= duration_s <= 3600.0:
        raise ClipError(f"loop duration is {duration_s} s; allowed: 0.1 to 3600")


def _repeated(once: Clip, frames: int) -> Clip:
    """`frames` frames of a motion that ends in its first frame, moved along the floor."""
    period = once.num_frames - 1
    parts = [once.frames(0, period)]
    for _ in range(-(-frames // period) - 1):
        once = _moved(once, once, 0, once, period)
        parts.append(once.frames(0, period))
    return _chained(parts).frames(0, frames)


def _joined(first: Clip, second: Clip) -> Clip:
    """Both in a row; the second is moved to begin with the last frame of the first."""
    return _chained([first.frames(0, -1), _moved(second, second, 0, first, -1)])


def _chained(parts: Sequence[Clip]) -> Clip:
    """All frames of all parts, with the first one's name, rate and source."""
    names = ("root_pos", "root_quat", "joint_pos")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **arrays)


def _loop_points(clip: Clip, robot: RobotSpec, blend: int) -> tuple[float, int, int]:
    """Summed squared difference of the ends of the best loop, and its two frames."""
    linvel, _, joint_vel = clip.velocities(robot)
    tilt = rotations.quat_multiply(
        rotations.yaw_quat(-rotations.yaw(clip.root_quat)), clip.root_quat
    )
    # A radian per second of joint velocity counts like 0.1 rad, a cm of height like 0.1 rad.
    parts = (clip.joint_pos, 0.1 * joint_vel, 10.0 * clip.root_pos[:, 2:], linvel[:, 2:])
    features = np.concatenate([*parts, rotations.rotation_vector(tilt)], axis=1)
    least = max(round(0.5 * clip.fps), blend + 1)
    starts = np.arange(blend, clip.num_frames - least)
    if len(starts) == 0:
        needed = f"a stride and a blend, {(blend + least) / clip.fps:.2f} s"
        raise ClipError(f"clip {clip.name!r} is too short to loop; needed: {needed}")
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
    return best


def _moved(part: Clip, from_: Clip, start: int, to: Clip, stop: int) -> Clip:
    """`part` moved on the floor by what moves frame `start` of `from_` to frame `stop` of `to`."""
    angle = rotations.yaw(to.root_quat[stop]) - rotations.yaw(from_.root_quat[start])
    floor: Array = np.array([1.0, 1.0, 0.0])
    moved = replace(part, root_pos=part.root_pos - from_.root_pos[start] * floor)
    moved = _turned(moved, float(angle))
    return replace(moved, root_pos=moved.root_pos + to.root_pos[stop] * floor)


def _moves(clip: Clip) -> bool:
    return any(np.ptp(x, axis=0).max() > 1e-6 for x in (clip.root_pos, clip.joint_pos))


def _same(one: Clip, other: Clip) -> bool:
    """Whether two clips hold the same motion."""
    pairs = ((one.root_pos, other.root_pos), (one.joint_pos, other.joint_pos))
    turned = np.abs(np.sum(one.root_quat * other.root_quat, axis=1)).min()
    return all(np.allclose(a, b, atol=1e-6) for a, b in pairs) and bool(turned > 1.0 - 1e-9)

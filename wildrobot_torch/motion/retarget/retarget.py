"""Human walking for the robot: captured hips and ankles, scaled, then closed-form leg kinematics.

Legs of any other kind have theirs in `figures`.

Space is scaled by the legs' lengths, time by its square root, which keeps the Froude number
v^2 / (g L) and with it the balance of the walk. The robot has no hip yaw, no ankle roll and hardly
any hip extension, so the trunk's roll, its varying pitch and its heading are given up: the trunk
is level across, leans by a constant and heads along +x.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from envs.robot.spec import SIDES, RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.kinematics import legs_of
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.posing import FootPath, pose
from wildrobot_torch.motion.read.skeleton import SkeletonMotion
from wildrobot_torch.motion.retarget.figures import retarget_figure
from wildrobot_torch.motion.rotations import Array
from wildrobot_torch.motion.series import low_pass, smoothstep

FPS = 50.0
"""Frames per second of the robot's clip [1/s]."""

_LEG_FACTOR, _STRIDE_FACTOR = 0.975, 0.85
"""Robot's hip-to-ankle distance as a share of the exact scaling: bends the knees; and share of the
scaled step length."""
_LEAN = 0.14
"""Forward pitch of the trunk [rad]: lets the thigh reach behind the hip's 5 degree stop."""
_MAX_CLAMPED = 0.05
"""Largest share of frames in which a joint may have to be moved off a stop."""
_LOWPASS_HZ = 7.0
"""Cut-off of the zero-phase low-pass over the motion, in the robot's time [Hz]."""
_CLEARANCE_SHARE, _FOOT_PITCH_SHARE = 0.5, 0.35
"""Lift of the robot's swinging sole as a share of the human ankle's scaled rise, and pitch of its
foot as a share of the human foot's."""
_FEET_AHEAD, _FEET_APART = -0.015, 0.105
"""Middle of the feet ahead of the hips, on average; least distance of soles sideways [m]."""
_MARGIN = 0.03
"""Distance that joints keep from their stops [rad]."""
_STRIDE_S = 1.3
"""Captured time in which each foot rests once [s]."""
_TOES_REST, _TOES_SWING = 0.008, 0.03
"""Height of the toes above rest [m] below which a foot stands, and above which it swings."""

_BONES = {"hipjoint": "hip", "femur": "knee", "tibia": "ankle", "foot": "toe"}
"""Bone of a leg -> the joint that it ends at."""


def retarget(motion: SkeletonMotion, robot: RobotSpec) -> Clip:
    """The walk of a captured figure as a clip of the robot along +x from the origin.

    Raises:
        ClipError: it is no straight walk ahead, or too many frames are beyond the robot.
    """
    legs = legs_of(robot)
    if not legs.exact:
        return retarget_figure(motion, robot)
    if motion.num_frames < 30:
        raise ClipError(f"{motion.num_frames} frames; a walk to retarget needs 30 or more")
    tips = _facing_x(
        {
            f"{side[0]}{bone}": motion.positions[f"{side}_{joint}"]
            for side in SIDES
            for bone, joint in _BONES.items()
        }
    )
    thigh, shank = tips["lfemur"] - tips["lhipjoint"], tips["ltibia"] - tips["lfemur"]
    human_leg = float(np.linalg.norm(thigh[0]) + np.linalg.norm(shank[0]))
    scale = legs.reach / human_leg
    fps = motion.fps / math.sqrt(scale)

    def smooth(series: Array) -> Array:
        return low_pass(series, _LOWPASS_HZ, fps, pad=9)

    along = scale * _LEG_FACTOR * _STRIDE_FACTOR
    hips = smooth((tips["lhipjoint"] + tips["rhipjoint"]) / 2.0)
    start = hips[0, :2].copy()
    feet, ground = [], []
    for letter in "lr":
        toes, ankle = smooth(tips[f"{letter}foot"]), smooth(tips[f"{letter}tibia"])
        sole = np.empty_like(toes)
        sole[:, 0] = along * (toes[:, 0] - start[0])
        sole[:, 1] = scale * (toes[:, 1] - start[1])
        rise = smooth(_clearance(toes[:, 2], ankle[:, 2], motion.fps))
        sole[:, 2] = _CLEARANCE_SHARE * scale * rise
        feet.append(FootPath(sole, _FOOT_PITCH_SHARE * smooth(_foot_pitch(tips, letter))))
        ground.append(_floor(ankle[:, 2], motion.fps))
    root_pos = np.empty_like(hips)
    root_pos[:, 0] = along * (hips[:, 0] - start[0])
    root_pos[:, 1] = scale * (hips[:, 1] - start[1])
    # Hip-pitch axes at the scaled height of the human hips over the resting ankle.
    root_pos[:, 2] = scale * _LEG_FACTOR * (hips[:, 2] - np.mean(ground, axis=0))
    root_pos[:, 2] += robot.leg.ankle_height - math.cos(_LEAN) * legs.hip[2]
    _under_the_hips(feet, root_pos, legs)
    quat = rotations.quat_from_euler(np.zeros(()), np.array(_LEAN), np.zeros(()))
    quats = np.tile(quat, (len(hips), 1))
    posing = pose(legs, root_pos, quats, (feet[0], feet[1]), fps, _MARGIN)
    joint_pos = legs.within_stops(posing.clip.joint_pos, _MARGIN)
    clamped = (joint_pos != posing.clip.joint_pos).mean(0)
    out_of_reach = float(posing.out_of_reach.mean())
    if max(*clamped, out_of_reach) > _MAX_CLAMPED:
        beyond = [f"{j} {x:.0%}" for j, x in zip(robot.joint_names, clamped, strict=True) if x > 0]
        stops = f"{', '.join(beyond) or 'none'} on a stop, {out_of_reach:.0%} out of reach"
        raise ClipError(f"too many frames beyond the robot: {stops}; allowed {_MAX_CLAMPED:.0%}")
    source = f"{motion.source}, retargeted (leg x{_LEG_FACTOR}, stride x{_STRIDE_FACTOR})"
    clip = replace(posing.clip, name=motion.name, joint_pos=joint_pos, source=source)
    return clip.resample(FPS)


def _facing_x(tips: dict[str, Array]) -> dict[str, Array]:
    """All points turned about the vertical so that the hips travel along +x."""
    middle = (tips["lhipjoint"] + tips["rhipjoint"]) / 2.0
    travel = middle[-1, :2] - middle[0, :2]
    far = float(np.linalg.norm(travel))
    if far < 0.3:
        raise ClipError(f"the hips travel {far:.2f} m; only straight walks are retargeted")
    across = (tips["lhipjoint"] - tips["rhipjoint"])[:, :2].mean(0)
    if across[1] * travel[0] - across[0] * travel[1] <= 0.0:
        raise ClipError("the hips travel backwards; only forward walks are retargeted")
    turn = rotations.yaw_quat(-np.arctan2(travel[1], travel[0]))
    return {bone: rotations.quat_rotate(turn, points) for bone, points in tips.items()}


def _foot_pitch(tips: dict[str, Array], letter: str) -> Array:
    """Slope of a foot (N,) [rad], > 0 toes down, 0 where the foot usually rests."""
    bone = tips[f"{letter}foot"] - tips[f"{letter}tibia"]
    pitch = np.arctan2(-bone[:, 2], bone[:, 0])
    speed = np.linalg.norm(np.gradient(tips[f"{letter}foot"], axis=0), axis=1)
    return pitch - float(np.median(pitch[speed <= np.quantile(speed, 0.3)]))


def _clearance(toes: Array, ankle: Array, fps: float) -> Array:
    """Height of a foot over the ground (N,) [m]: 0 while its toes rest, then that of the ankle.

    The toes' own height is only 2 cm in mid-swing, with which the scaled robot would stumble.
    """
    toes_up, ankle_up = toes - _floor(toes, fps), ankle - _floor(ankle, fps)
    return ankle_up * smoothstep((toes_up - _TOES_REST) / (_TOES_SWING - _TOES_REST))


def _floor(height: Array, fps: float) -> Array:
    """Height at rest (N,) [m], stance by stance, because captured floors vary by up to 2 cm."""
    window = round(_STRIDE_S * fps)
    lowest = minimum_filter1d(height, window, mode="nearest")
    return uniform_filter1d(lowest, window, mode="nearest")


def _under_the_hips(feet: list[FootPath], root_pos: Array, legs: Legs) -> None:
    """Move each foot as a whole: sideways under its hip, and along to be centred under both.

    Human toes are ahead of the ankles and turn out, and feet stand closer than the hips: constant
    offsets that the robot does not share. Where the feet are still closer to each other than
    `_FEET_APART`, both give way alike.
    """
    hips_x = math.sin(_LEAN) * legs.hip[2]
    both = (feet[0].sole[:, 0] + feet[1].sole[:, 0]) / 2.0
    offset = float(np.mean(both - root_pos[:, 0])) - hips_x - _FEET_AHEAD * legs.robot.scale
    for side, foot in enumerate(feet):
        foot.sole[:, 0] -= offset
        wanted = (1.0 - 2.0 * side) * legs.robot.leg.leg_y
        foot.sole[:, 1] += wanted - float(np.mean(foot.sole[:, 1] - root_pos[:, 1]))
    lack = np.maximum(
        _FEET_APART * legs.robot.scale - (feet[0].sole[:, 1] - feet[1].sole[:, 1]), 0.0
    )
    feet[0].sole[:, 1] += lack / 2.0
    feet[1].sole[:, 1] -= lack / 2.0

"""From a motion to rest in neutral stance and back, between repetitions of a clip.

The foot on the floor stays in place and the other one is lifted and set down beside it, so that
the robot steps between two repetitions and does not slide.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.robot.chain import Kind
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.kinematics import legs_of, sole_corners, soles
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.rotations import Array
from wildrobot_torch.motion.series import smoothstep
from wildrobot_torch.motion.synthesis.walk import standing_clip

MIN_BLEND_S, MAX_BLEND_S = 0.2, 0.4
"""Allowed times into stance, or out of it [s]."""

_LIFT = 0.3
"""Extra bend of the moving foot's hip halfway [rad]; the knee bends twice that, the ankle takes it
back."""
_FOLD: dict[Kind, float] = {"pitch": 1.0, "knee": 2.0, "ankle_pitch": -1.0}
"""Share of it in each joint: hip forward, knee bent twice that, toes up. The foot rises, level."""
_FAR = 0.04
"""A foot that moves less than this [m] is lifted less, on a robot of the WildRobot's size."""


def into_stance(clip: Clip, robot: RobotSpec, blend_s: float) -> Clip:
    """From the clip's last frame, at its speed, to rest in neutral stance `blend_s` [s] later.

    The first frame is the clip's last. The trunk becomes upright and keeps its heading, and the
    soles reach the floor, wherever the clip had them.

    Raises:
        ClipError: `blend_s` is out of range, or the clip has another number of joints.
    """
    if not MIN_BLEND_S <= blend_s <= MAX_BLEND_S:
        raise ClipError(
            f"the blend through stance takes {blend_s} s; allowed: {MIN_BLEND_S} to {MAX_BLEND_S}"
        )
    legs, last = legs_of(robot), clip.num_frames - 1
    stance = standing_clip(robot, 0.1).joint_pos[0]
    _, angvel, joint_vel = clip.velocities(robot)
    pos, quat, joints = clip.root_pos[last], clip.root_quat[last], clip.joint_pos[last]
    count = round(blend_s * clip.fps)
    share = np.arange(count + 1)[:, None] / count

    upright = rotations.yaw_quat(rotations.yaw(quat))
    left = rotations.quat_multiply(rotations.quat_conjugate(quat), upright)
    left = rotations.rotation_vector(left)
    turn = _to_rest(np.zeros(3), angvel[last], left, share, blend_s)
    turned = rotations.from_rotation_vector(turn)
    root_quat = rotations.quat_multiply(np.broadcast_to(quat, (count + 1, 4)), turned)

    joint_pos = _to_rest(joints, joint_vel[last], stance, share, blend_s)
    root_pos = np.broadcast_to(pos, (count + 1, 3))
    bridge = replace(clip, root_pos=root_pos, root_quat=root_quat, joint_pos=joint_pos)
    support = int(np.argmin(sole_corners(legs, bridge)[0, ..., 2].min(-1)))
    joint_pos = joint_pos + _lift(legs, bridge, 1 - support, share)
    low, high = robot.joint_range.cpu().double().numpy().T
    low, high = np.minimum(low, joints), np.maximum(high, joints)  # the clip's end may be beyond
    bridge = replace(bridge, joint_pos=np.clip(joint_pos, low, high))

    held = soles(legs, bridge)[:, support]
    lowest = sole_corners(legs, bridge)[..., 2].min((1, 2))
    root_pos = bridge.root_pos + (held[0] - held)
    clearance = lowest[0] * (1.0 - smoothstep(share[:, 0]))
    root_pos[:, 2] = pos[2] - lowest + clearance
    return replace(bridge, root_pos=root_pos)


def out_of_stance(clip: Clip, robot: RobotSpec, blend_s: float) -> Clip:
    """From rest in neutral stance to the clip's first frame, at its speed: `into_stance` backwards.

    The last frame is the clip's first.
    """
    return into_stance(clip.backwards(), robot, blend_s).backwards()


def _to_rest(start: Array, velocity: Array, end: Array, share: Array, duration_s: float) -> Array:
    """Cubic from `start`, at `velocity` [1/s], to rest at `end`, after `share` of the time."""
    slope = share * (1.0 - share) ** 2 * duration_s * velocity
    return start + smoothstep(share) * (end - start) + slope


def _lift(legs: Legs, bridge: Clip, side: int, share: Array) -> Array:
    """Joint angles (N, J) [rad] to add so that one foot leaves the floor on its way."""
    between = soles(legs, bridge)
    between = (between[:, side] - between[:, 1 - side])[:, :2]
    size = _FAR * legs.robot.scale
    far = min(float(np.linalg.norm(between[-1] - between[0])) / size, 1.0)
    bend = far * _LIFT * np.sin(np.pi * share) ** 2
    added = np.zeros_like(bridge.joint_pos)
    fold = np.zeros(len(legs.kinds))
    for kind, share_of_bend in _FOLD.items():
        if (column := legs.column(kind)) is not None:
            fold[column] = share_of_bend
    added[:, legs.index[side]] = legs.joints(side, bend * fold)
    return added

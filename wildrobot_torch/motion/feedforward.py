"""Position targets with which the robot's servos follow a motion without lag and sag.

A position servo needs an error to hold a load: torque = kp (target - q) - kv qd. So the target for
a motion is the motion plus (torque + kv qd) / kp, with the torque that the motion needs. That is
inverse dynamics with a floating base (R. Featherstone, "Rigid Body Dynamics Algorithms", 2008,
ch. 9): the standing feet supply the wrench that the root would need in thin air.
"""

from __future__ import annotations

import copy

import mujoco
import numpy as np

from envs.robot.model import RobotModel
from envs.robot.spec import FEET
from wildrobot_torch.motion.clip import Clip, clip_states
from wildrobot_torch.motion.kinematics import legs_of, sole_corners
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.rotations import Array

STANDS = 5e-4
"""A sole whose lowest corner is below this height carries weight [m]; this and all other such
heights are meant for legs as long as the WildRobot's."""

# The result must contain what the floor, the stops and the servos would do, so these are disabled.
_OFF = (
    mujoco.mjtDisableBit.mjDSBL_CONTACT
    | mujoco.mjtDisableBit.mjDSBL_LIMIT
    | mujoco.mjtDisableBit.mjDSBL_ACTUATION
)


def position_targets(clip: Clip, robot_model: RobotModel, stands: float = STANDS) -> Array:
    """Servo targets (N, J) [rad] for a clip at the control rate; not limited to joint ranges.

    Target i belongs to the control step that ends in frame i. With these targets alone, without
    support or feedback, the robot walks the slow built-in walks from their first frame. The clip's
    second differences are accelerations, so it must be smooth. A sole whose lowest corner is below
    `stands` [m] carries weight.

    Raises:
        ClipError: the clip has another number of joints than the robot.
    """
    robot = robot_model.robot
    torque, _ = inverse_dynamics(clip, robot_model, stands)
    velocity = clip.velocities(robot)[2]
    kp, kv = robot.kp.double().numpy(), robot.kv.double().numpy()
    return clip.joint_pos + (torque + kv * velocity) / kp


def inverse_dynamics(
    clip: Clip, robot_model: RobotModel, stands: float = STANDS
) -> tuple[Array, Array]:
    """Joint torques (N, J) [N m] that a clip needs, and its zero-moment point (N, 2) [m].

    That is the point on the floor through which the reaction has to act. Outside the bearing
    soles, the motion is out of balance.

    Raises:
        ClipError: the clip has another number of joints than the robot.
    """
    robot = robot_model.robot
    model = copy.copy(robot_model.model)
    model.opt.disableflags |= int(_OFF)
    data = mujoco.MjData(model)
    qpos, qvel = (state.double().numpy() for state in clip_states(clip, robot))
    qacc = np.gradient(qvel, 1.0 / clip.fps, axis=0)
    weight = carried(legs_of(robot), clip, stands)
    sites = [int(model.sensor(f"{foot}_pos").objid[0]) for foot in FEET]
    joint_dofs = robot.joint_qvel_adr.numpy()
    jac_pos, jac_rot = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    torque, zmp = np.empty((clip.num_frames, robot.num_joints)), np.empty((clip.num_frames, 2))
    for i in range(clip.num_frames):
        data.qpos[:], data.qvel[:], data.qacc[:] = qpos[i], qvel[i], qacc[i]
        mujoco.mj_inverse(model, data)
        needed = data.qfrc_inverse
        force = needed[:3].copy()
        moment = data.body(robot.root_body).xmat.reshape(3, 3) @ needed[3:6]
        moment = moment + np.cross(qpos[i, :3], force)  # about the world's origin
        zmp[i] = np.array([-moment[1], moment[0]]) / force[2]
        feet = data.site_xpos[sites]
        rest = moment - np.cross(weight[i] @ feet, force)
        total = needed.copy()
        for share, site in zip(weight[i], sites, strict=True):
            mujoco.mj_jacSite(model, data, jac_pos, jac_rot, site)
            total -= share * (jac_pos.T @ force + jac_rot.T @ rest)
        torque[i] = total[joint_dofs]
    return torque, zmp


def carried(legs: Legs, clip: Clip, stands: float = STANDS) -> Array:
    """Share (N, 2) of the weight on each foot, by the soles that are on the floor.

    One sole carries all of it. While both or none are down, it moves evenly in time from the foot
    that carried before to the one that carries after.
    """
    down = sole_corners(legs, clip)[..., 2].min(-1) < stands * legs.robot.scale
    known = down[:, 0] != down[:, 1]
    if not known.any():
        return np.full((clip.num_frames, 2), 0.5)
    frames = np.arange(clip.num_frames)
    left = np.interp(frames, frames[known], down[known, 0].astype(np.float64))
    return np.stack([left, 1.0 - left], -1)

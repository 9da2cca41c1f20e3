"""The tracking task: follow a clip frame by frame, without support, by corrections of its joints.

Lengths, speeds and times are those of a robot of the WildRobot's size and eight joints.

Peng et al. 2018 (DeepMimic, arXiv:1804.02717), section 5, with residual actions: the joint targets
are the clip's next frame plus what the policy adds; an untrained policy plays the clip open loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from torch import Tensor

from envs.config import TerminationConfig
from envs.frames import projected_gravity, turn, wrap_angle, yaw
from envs.layout import Field, Layout
from envs.measurements import Measurements
from envs.reality.servo import ServoConfig
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from envs.settings import NonNegativeFloat, PositiveFloat, PositiveInt, check
from wildrobot_torch.motion.clip import Clip, clip_states
from wildrobot_torch.motion.feedforward import carried, position_targets
from wildrobot_torch.motion.kinematics import legs_of
from wildrobot_torch.ppo.config import PPOConfig

STANDS = 2e-3
"""A clip's sole carries weight where its lowest corner is below this height [m]. Soles of repaired
clips are up to 1 mm off, where a joint's stop bends a leg that should be straight."""
MAX_LEAD = 0.25
"""Largest lead of a servo target over its joint [rad]; a larger one exceeds the servo's torque.
For servos of another stiffness it is in proportion to torque limit over gain."""
_STANDARD_LEAD = 4.0 / 21.1
"""Torque limit over gain of the WildRobot's servos [rad]."""
STOP_ROOM = 0.06
"""Distance from its stop at which a joint begins to cost [rad]."""
ARRIVAL_S = 1.0
"""End of a clip in which no training episode starts [s]; shorter clips start at frame 0."""
PREVIEW = (1, 5, 12)
"""Frames ahead whose joint positions the policy sees."""
IMITATION = {
    "joint_pos": (0.25, 6.0),
    "joint_vel": (0.05, 0.02),
    "linvel": (0.37, 5.0),
    "height": (0.05, 60.0),
    "gravity": (0.10, 8.0),
    "yaw": (0.05, 4.0),
    "root_pos": (0.13, 6.0),
}
"""Imitation reward: weight w and decay k of each error e, for the sum of w exp(-k e).

e is a sum of squares, for `linvel` and `root_pos` its square root; units as in the clip's state.
"""
COSTS = {
    "slip": 1.5,
    "contact": 0.3,
    "turning": 0.1,
    "load": 0.1,
    "stop": 0.1,
    "smoothness": 0.02,
}
"""Weights of the costs: each loaded foot's speed over the floor, up to 0.3 m/s [s/m]; each foot
that carries weight against the clip; squared yaw rate beyond the clip's [s^2/rad^2]; squared
difference of the feet's load from the weight, in weights, at most 1; each joint on its stop; summed
squared change of the action."""
FALL = TerminationConfig(min_height=0.36, max_roll=0.6, max_pitch=0.6)
"""Limits of a fall."""
MAX_JOINT_ERROR = 3.0
"""Summed squared joint error beyond which an episode ends [rad^2]."""
MAX_DISTANCE = 0.3
"""Horizontal distance from the clip's root beyond which an episode ends [m]. Without it, robots
that had fallen behind stayed slow, and clips of 0.5 m/s were walked at 0.35."""


_ppo = partial(
    PPOConfig, gamma=0.98, learning_rate=5e-4, learning_rate_max=1e-3, entropy_coef=0.001,
    low_noise_env_fraction=0.0,
)  # fmt: skip


def fall_limits(robot: RobotSpec) -> TerminationConfig:
    """Limits of a fall of a robot of any size."""
    return replace(FALL, min_height=robot.scaled_height(FALL.min_height))


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """The tracking task and its training."""

    env_steps: PositiveInt = 2_000_000
    """Environment steps of training."""
    num_envs: PositiveInt = 1024
    """Robots simulated together."""
    num_steps: PositiveInt = 24
    """Control steps of a rollout."""
    ppo: PPOConfig = field(default_factory=_ppo)
    """The learning algorithm."""
    hidden: tuple[PositiveInt, ...] = (128, 128)
    """Widths of the hidden layers of actor and critic."""
    init_std: PositiveFloat = 0.3
    """Standard deviation of the actions at the start, in units of `residual_scale`."""
    residual_scale: PositiveFloat = 0.3
    """Joint angle one unit of action adds to the clip [rad]."""
    push_impulse: NonNegativeFloat = 0.48
    """Largest random push during training [N s], for robustness."""
    servo: ServoConfig = field(default_factory=ServoConfig)
    """The servo of the robots that follow clips without support."""
    seed: int = 0
    """Of start frames, pushes and exploration."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ClipStates:
    """Frames of C clips, one after the other; N frames in all."""

    qpos: Tensor
    """(N, nq)."""
    qvel: Tensor
    """(N, nv)."""
    first: Tensor
    """(C,) long: index of each clip's first frame."""
    length: Tensor
    """(C,) long: frames of each clip."""
    servo: Tensor
    """(N, J) [rad]: targets with which the servos make the joints of each frame."""
    stands: Tensor
    """(N, 2) bool: feet that carry weight."""
    speed: Tensor
    """(C,) [m/s]: mean speed of each clip, the velocity command that goes with it."""

    @classmethod
    def of(cls, clips: Sequence[Clip], robot_model: RobotModel) -> ClipStates:
        """The frames of clips at the control rate."""
        legs = legs_of(robot_model.robot)
        states = [clip_states(clip, robot_model.robot) for clip in clips]
        length = torch.tensor([clip.num_frames for clip in clips])
        return cls(
            qpos=torch.cat([qpos for qpos, _ in states]),
            qvel=torch.cat([qvel for _, qvel in states]),
            first=torch.cumsum(length, 0) - length,
            length=length,
            servo=torch.cat([servo_targets(clip, robot_model) for clip in clips]),
            stands=torch.cat([torch.from_numpy(carried(legs, c, STANDS) > 0.0) for c in clips]),
            speed=torch.tensor([clip.mean_speed for clip in clips]),
        )

    def to(self, device: torch.device | str) -> ClipStates:
        """The same clips on another device."""
        return ClipStates(*(getattr(self, f.name).to(device) for f in fields(self)))

    def index(self, clip: Tensor, frame: Tensor) -> Tensor:
        """(E,) index of `frame` (E,) of `clip` (E,); frames past the end are the last one."""
        return self.first[clip] + torch.minimum(frame, self.length[clip] - 1)


def servo_targets(clip: Clip, robot_model: RobotModel) -> Tensor:
    """Servo targets (N, J) [rad] by `position_targets`, within what the servos' torque can do."""
    lead = position_targets(clip, robot_model, STANDS) - clip.joint_pos
    lead = uniform_filter1d(lead, 3, axis=0, mode="nearest")
    robot = robot_model.robot
    strength = (robot.torque_limit / robot.kp).double().cpu().numpy() / _STANDARD_LEAD
    most = MAX_LEAD * np.round(strength, 5)
    return torch.from_numpy(clip.joint_pos + np.clip(lead, -most, most)).float()


def tracking_layout(observation: Layout, robot: RobotSpec) -> Layout:
    """Layout of the tracker's observation: the environment's, then the clip seen from the robot."""
    joints = robot.num_joints
    return Layout(
        "tracking_" + observation.name,
        (
            *observation.fields,
            Field("clip_error", joints, "rad", "joint", "clip's next joints minus present ones"),
            Field("clip_joints", joints * len(PREVIEW), "rad", "joint", f"clip at +{PREVIEW}"),
            Field("clip_joint_vel", joints, "rad/s / 10", "joint", "clip's next velocities"),
            Field("clip_linvel", 3, "m/s", "heading", "clip's next root velocity"),
            Field("clip_gravity", 3, "1", "body", "clip's next gravity direction"),
            Field("clip_height", 1, "m", "world", "10 times clip's next height minus present one"),
            Field("clip_yaw", 1, "rad", "world", "clip's heading minus present one"),
            Field("clip_way", 2, "m", "heading", "clip's root from the robot's, within 0.3 m"),
        ),
    )


def clip_observation(
    m: Measurements,
    root_pos_w: Tensor,
    clips: ClipStates,
    clip: Tensor,
    frame: Tensor,
    robot: RobotSpec,
) -> Tensor:
    """The clip seen from the robot (E, .), in `tracking_layout` order after the environment's part.

    Robots with the measurements `m` and the root positions `root_pos_w` (E, 3) [m] are at `frame`
    (E,) of `clip` (E,).
    """
    joints = robot.joint_qpos_adr
    following = clips.index(clip, frame + 1)
    qpos, qvel = clips.qpos[following], clips.qvel[following]
    preview = [clips.qpos[clips.index(clip, frame + ahead)][:, joints] for ahead in PREVIEW]
    ahead = turn(qpos[:, :3] - root_pos_w, -m.yaw)[:, :2] / robot.scale
    clip_yaw = yaw(qpos[:, 3:7])
    return torch.cat(
        [
            qpos[:, joints] - m.joint_pos,
            *preview,
            0.1 * qvel[:, robot.joint_qvel_adr],
            turn(qvel[:, :3], -clip_yaw) / robot.speed_scale,
            projected_gravity(qpos[:, 3:7]),
            10.0 * (qpos[:, 2:3] - m.height[:, None]) / robot.scale,
            wrap_angle(clip_yaw - m.yaw)[:, None],
            ahead.clamp(-0.3, 0.3),
        ],
        dim=-1,
    )


def tracking_reward(
    m: Measurements,
    root_pos_w: Tensor,
    qpos: Tensor,
    qvel: Tensor,
    stands: Tensor,
    action: Tensor,
    prev_action: Tensor,
    robot: RobotSpec,
) -> Tensor:
    """Reward (E,) for matching the clip's state, at most 0.1.

    `m` and `root_pos_w` (E, 3) [m] are the robot's after the step; `qpos` (E, nq), `qvel` (E, nv)
    and `stands` (E, 2) bool, the feet that carry weight, the clip's at that frame; `action` and
    `prev_action` (E, J) the residuals of this step and the one before.
    """
    clip_yaw = yaw(qpos[:, 3:7])
    linvel = turn(qvel[:, :3], -clip_yaw)
    size, pace, count = robot.scale, robot.speed_scale, robot.num_joints / 8
    errors = {
        "joint_pos": (qpos[:, robot.joint_qpos_adr] - m.joint_pos).square().sum(-1) / count,
        "joint_vel": (qvel[:, robot.joint_qvel_adr] - m.joint_vel).square().sum(-1)
        * (size / count),
        "linvel": (linvel - m.linvel_h)[:, :2].square().sum(-1).sqrt() / pace,
        "height": ((qpos[:, 2] - m.height) / size).square(),
        "gravity": (projected_gravity(qpos[:, 3:7]) - m.gravity_b).square().sum(-1),
        "yaw": wrap_angle(clip_yaw - m.yaw).square(),
        "root_pos": (qpos[:, :2] - root_pos_w[:, :2]).square().sum(-1).sqrt() / size,
    }
    reward = torch.zeros_like(m.height)
    for name, (weight, decay) in IMITATION.items():
        reward = reward + weight * torch.exp(-decay * errors[name])
    loaded = m.foot_force > 0.1 * robot.weight
    speed = torch.linalg.vector_norm(m.sole_linvel_w[..., :2], dim=-1) / pace
    low, high = robot.joint_range.unbind(-1)
    room = torch.minimum(m.joint_pos - low, high - m.joint_pos)
    costs = {
        "slip": (speed.clamp(max=0.3) * loaded).sum(-1),
        "contact": (loaded != stands).sum(-1),
        "turning": ((qvel[:, 5] - m.angvel_b[:, 2]) * pace).square().clamp(max=4.0),
        "load": (m.foot_force.sum(-1) / robot.weight - 1.0).square().clamp(max=1.0),
        "stop": (1.0 - room / STOP_ROOM).clamp(0.0, 1.0).sum(-1),
        "smoothness": (action - prev_action).square().sum(-1) / count,
    }
    for name, weight in COSTS.items():
        reward = reward - weight * costs[name]
    return 0.1 * reward

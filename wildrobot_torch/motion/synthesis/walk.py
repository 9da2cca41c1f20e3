"""Built-in motion: a walking-pattern generator, and standing; for two legs of four joints each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.kinematics import Legs, foot_yaw
from wildrobot_torch.motion.posing import pose
from wildrobot_torch.motion.rotations import Array
from wildrobot_torch.motion.synthesis.footsteps import FootstepPlan
from wildrobot_torch.motion.synthesis.pendulum import com_over_zmp

MIN_SPEED, MAX_SPEED = 0.05, 0.6
"""Speeds [m/s] the generator is made for."""
STAND_S = 1.2
"""Time a clip stands before it walks off, and after it has stopped [s]."""
LEAD_STEPS = 4
"""Steps after which a walk is the same one step after the other."""

_COM_HEIGHT = 0.66
"""Height of the centre of mass over the floor, as a share of the straight leg."""


@dataclass(frozen=True, kw_only=True)
class WalkConfig:
    """Shape of the built-in walk. Defaults were tuned for open-loop playback in physics."""

    step_s: float | None = None
    """Duration of a step [s]; None takes `natural_step_s`."""
    double_share: float = 0.16
    """Share of a step in double support."""
    clearance: float = 0.03
    """Highest point of the swinging sole above the floor [m]."""
    lean: float = 0.05
    """Forward pitch of the trunk [rad]: lets the thigh reach behind the hip's 5 degree stop."""
    crouch: float = 0.02
    """Least lowering of the hip below the straight leg [m]; more where joint ranges need it."""
    com_offset: float | None = None
    """Centre of mass ahead of the root origin [m]; None takes `natural_com_offset`."""
    zmp_back: float = 0.02
    """Zero-moment point ahead of the ankle at the start of single support [m]."""
    zmp_front: float = 0.02
    """The same at its end [m]."""
    zmp_half_width: float = 0.05
    """Zero-moment point from the centre line in single support [m]."""
    sway: float = 1.75
    """Lateral motion of the trunk per motion of the centre of mass: the feet stay, and with them
    part of the legs, which are 60 % of the mass."""
    swing_share: float = 0.06
    """How far the pendulum goes with each foot along x, as a share of the foot's way. A leg's mass
    alone would say 0.2; its swinging, seen from the hips, takes most of that back."""
    heel_lift: float = 0.2
    """Slope up to which a standing sole may roll over its toes, its ankle at its stop [rad]; fast
    walks need some at the end of a step, slow ones never."""
    hike: float = 0.0
    """Roll of the trunk that lifts the swinging leg's hip, at mid-swing [rad]."""
    margin: float = 0.02
    """Distance that joints keep from their stops [rad], but for the straight knee."""

    def __post_init__(self) -> None:
        allowed = {
            "step_s": (self.step_s is None or 0.15 <= self.step_s <= 1.0, "0.15 to 1.0 s, or None"),
            "double_share": (0.05 <= self.double_share <= 0.6, "0.05 to 0.6"),
            "clearance": (0.005 <= self.clearance <= 0.1, "0.005 to 0.1 m"),
            "lean": (abs(self.lean) <= 0.5, "-0.5 to 0.5 rad"),
            "crouch": (0.0 < self.crouch <= 0.1, "more than 0, up to 0.1 m"),
            "sway": (0.0 <= self.sway <= 3.0, "0 to 3"),
            "swing_share": (0.0 <= self.swing_share <= 0.4, "0 to 0.4"),
            "heel_lift": (0.0 <= self.heel_lift <= 0.5, "0 to 0.5 rad"),
            "hike": (abs(self.hike) <= 0.3, "-0.3 to 0.3 rad"),
            "margin": (0.0 <= self.margin <= 0.2, "0 to 0.2 rad"),
        }
        for name, (good, words) in allowed.items():
            if not good:
                raise ClipError(f"walk.{name} is {getattr(self, name)}; allowed: {words}")


def natural_step_s(robot: RobotSpec, speed: float) -> float:
    """Duration of a step [s] at a speed [m/s].

    Legs of length L swing like pendula: periods go with sqrt(L / g), speeds with sqrt(g L).
    People's strides scale to 0.86 s at 0.27 m/s and 0.72 s at 0.7 m/s here, 0.43 to 0.36 s a step.
    But this robot has no ankle roll and stands wide, so each step is a sideways tip from foot to
    foot and back, and playback in physics stays up longest near 0.31 s, 1.5 sqrt(L / g), at low
    speed; faster, steps also get quicker instead of longer than the hip's extension allows.
    """
    unit = math.sqrt(robot.leg.leg_length / robot.gravity)
    froude_speed = speed / (robot.gravity * unit)
    return float(np.interp(froude_speed, [0.1, 0.3], [1.5, 1.3])) * unit


def natural_com_offset(speed: float) -> float:
    """Centre of mass ahead of the root origin [m] that suits a speed [m/s].

    Slow walks are longest in balance with 0.01 m. Fast ones put the feet further ahead, lest the
    ankle of the trailing leg comes to its stop.
    """
    return float(np.interp(speed, [0.4, 0.6], [0.01, 0.035]))


def walking_clip(
    robot: RobotSpec,
    speed: float,
    duration_s: float,
    fps: float = 50.0,
    *,
    start_standing: bool = False,
    end_standing: bool = False,
    config: WalkConfig | None = None,
) -> Clip:
    """Straight walking along +x at constant speed, feet and stops respected by construction.

    The soles' places are planned, the centre of mass follows as a linear inverted pendulum over
    its zero-moment point (`pendulum`), the trunk goes with it and closed-form leg kinematics give
    the joints. The hip is as high as `crouch` and the joint ranges allow.

    Args:
        robot: with two legs as in `kinematics.Legs`.
        speed: [m/s], forward.
        duration_s: [s].
        fps: frames per second [1/s].
        start_standing: begin at rest, feet together, instead of mid-walk.
        end_standing: end so.
        config: shape of the walk.

    Raises:
        ClipError: a value out of range, or no hip height at which the legs can do it.
    """
    config = config or WalkConfig()
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise ClipError(
            f"walking speed is {speed} m/s; allowed: {MIN_SPEED} to {MAX_SPEED} "
            "(standing_clip stands)"
        )
    _check_time(duration_s, fps)
    step_s = config.step_s or natural_step_s(robot, speed)
    start_s = 0.0 if start_standing else STAND_S + (LEAD_STEPS + 0.5) * step_s
    rest_s = 0.0 if end_standing else STAND_S + LEAD_STEPS * step_s
    steps = (start_s + duration_s + rest_s - 2.0 * STAND_S) / step_s - config.double_share
    num_steps = math.floor(steps) if end_standing else math.ceil(steps)
    if num_steps < 2:
        raise ClipError(
            f"duration is {duration_s} s; a walk from and to standing at this speed takes "
            f"{2 * STAND_S + (2 + config.double_share) * step_s:.2f} s or more"
        )
    plan = FootstepPlan(
        num_steps=num_steps,
        step_s=step_s,
        double_share=config.double_share,
        step_length=speed * step_s,
        half_width=robot.leg.leg_y,
        stand_s=STAND_S,
    )
    frames = round(duration_s * fps) + 1
    times = np.minimum(start_s + np.arange(frames) / fps, plan.duration_s)
    offset = natural_com_offset(speed) if config.com_offset is None else config.com_offset
    clip = _highest_hip(robot, plan, times, fps, config, offset)
    root_pos = clip.root_pos - np.array([clip.root_pos[0, 0], 0.0, 0.0])
    return replace(
        clip,
        name=f"walk_{speed:.2f}",
        root_pos=root_pos,
        source=f"walking pattern generator, {speed:.3f} m/s, step {step_s:.3f} s",
    )


def standing_clip(
    robot: RobotSpec, duration_s: float, fps: float = 50.0, *, crouch: float = 0.003
) -> Clip:
    """Standing still, soles flat on the floor, the hip `crouch` [m] below the straight leg.

    The knees are a little bent, off their stops, as no walk begins from a locked knee.

    Raises:
        ClipError: a value out of range.
    """
    _check_time(duration_s, fps)
    if not 0.0 < crouch <= 0.1:
        raise ClipError(f"crouch is {crouch} m; allowed: more than 0, up to 0.1")
    legs = Legs(robot)
    times = np.arange(round(duration_s * fps) + 1) / fps
    plan = FootstepPlan(0, 0.4, 0.2, 0.0, robot.leg.leg_y, 0.4)
    root_pos = np.zeros((len(times), 3))
    root_pos[:, 2] = robot.leg.ankle_height + legs.reach - crouch - legs.hip[2]
    upright = rotations.yaw_quat(np.zeros(len(times)))
    clip = pose(legs, root_pos, upright, plan.feet(times, 0.0), fps).clip
    return replace(clip, name="stand", source="standing pose")


def _check_time(duration_s: float, fps: float) -> None:
    if not 0.1 <= duration_s <= 3600.0:
        raise ClipError(f"duration is {duration_s} s; allowed: 0.1 to 3600")
    if not 5.0 <= fps <= 1000.0:
        raise ClipError(f"fps is {fps}; allowed: 5 to 1000")


def _highest_hip(
    robot: RobotSpec,
    plan: FootstepPlan,
    times: Array,
    fps: float,
    config: WalkConfig,
    com_offset: float,
) -> Clip:
    """The walk with the highest hip that the joints allow: the straighter, the less torque."""
    legs = Legs(robot)
    above = -math.cos(config.lean) * legs.hip[2]  # root origin over the hip-pitch axis
    knots, zmp = plan.zmp(config.zmp_back, config.zmp_front, config.zmp_half_width)
    omega = math.sqrt(robot.gravity / (_COM_HEIGHT * robot.leg.leg_length))
    com = com_over_zmp(knots, zmp, omega, times)
    feet = plan.feet(times, config.clearance)
    # com = root + offset + share * (both feet - 2 root), along x
    share, both = config.swing_share, feet[0].sole[:, 0] + feet[1].sole[:, 0]
    ahead = (com[:, 0] - com_offset - share * both) / (1.0 - 2.0 * share)
    standing = np.stack([foot.sole[:, 2] < 1e-9 for foot in feet])
    weight = plan.weight(times)
    lifted = (feet[1].sole[:, 2] - feet[0].sole[:, 2]) / config.clearance
    roll, lean = -config.hike * lifted, np.full(len(times), config.lean)
    worst = ""
    for lowering in np.arange(config.crouch, 0.15, 0.002):
        root_pos = np.empty((len(times), 3))
        root_pos[:, 0], root_pos[:, 1] = ahead, config.sway * com[:, 1]
        root_pos[:, 2] = robot.leg.ankle_height + legs.reach - lowering + above
        yaw = np.zeros(len(times))
        for _ in range(3):
            quat = rotations.quat_from_euler(roll, lean, yaw)
            posing = pose(legs, root_pos, quat, feet, fps, config.margin + 0.002)
            # Tilted sideways, a bent leg turns its foot; the trunk turns back, so that the foot
            # that carries does not swivel.
            yaw = yaw - (foot_yaw(legs, posing.clip) * weight).sum(1)
        worst = _trouble(legs, posing.clip, config.margin)
        if posing.pitch_given_up[standing].max() > config.heel_lift + 1e-9:
            worst = "ankle_pitch at its stop"
        if posing.out_of_reach.any():
            worst = "legs too short"
        if not worst:
            return posing.clip
    raise ClipError(
        f"no hip height lets the legs walk steps of {plan.step_length:.3f} m: {worst}; "
        "walk slower, step faster or lean more"
    )


def _trouble(legs: Legs, clip: Clip, margin: float) -> str:
    """The first joint that comes too near a stop or moves too fast; empty if none does."""
    robot = legs.robot
    velocity = np.abs(np.diff(clip.joint_pos, axis=0)) * clip.fps
    for side in (0, 1):
        pos = legs.joints(side, clip.joint_pos[:, legs.index[side]])
        for i, name in enumerate(("hip_pitch", "hip_roll", "knee_pitch", "ankle_pitch")):
            low = legs.lower[i] + (margin if name != "knee_pitch" else 0.0)
            if pos[:, i].min() < low or pos[:, i].max() > legs.upper[i] - margin:
                return f"{name} at its stop"
            limit = float(robot.joint_max_velocity[legs.index[side][i]])
            if velocity[:, legs.index[side][i]].max() > limit:
                return f"{name} too fast"
    return ""

"""Built-in motion: a walking-pattern generator, and standing; for any two legs.

Lengths and speeds here and in `WalkConfig` are meant for a robot of the WildRobot's size, and
scaled to the robot's (`RobotSpec.scale`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d

from envs.robot.spec import RobotSpec
from envs.settings import NonNegativeFloat, OpenUnitInterval, PositiveFloat, check
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import MAX_FPS, MIN_FPS, Clip, ClipError
from wildrobot_torch.motion.kinematics import foot_yaw, legs_of, sole_corners
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.posing import Posing, pose
from wildrobot_torch.motion.ranges import JointMargin, StepTime, SwingShare
from wildrobot_torch.motion.rotations import Array, Flags
from wildrobot_torch.motion.synthesis.footsteps import CurvedPlan, FootstepPlan
from wildrobot_torch.motion.synthesis.pendulum import COM_HEIGHT, com_over_zmp

MIN_SPEED, MAX_SPEED = 0.05, 0.6
"""Speeds [m/s] the generator is made for."""
STAND_S = 1.2
"""Time a clip stands before and after its walk [s]."""
LEAD_STEPS = 4
"""Steps after which a walk repeats itself."""
ROOM = 0.01
"""Least room between the soles of a side step [m]."""
LOWEST, LOWERING = 0.15, 0.002
"""Most that the hip is lowered, and by how much at a time [m]."""


@dataclass(frozen=True, kw_only=True)
class WalkConfig:
    """Shape of the built-in walk. Defaults were tuned for open-loop playback in physics."""

    step_s: StepTime | None = None
    """Duration of a step [s]; None takes `natural_step_s`."""
    double_share: OpenUnitInterval = 0.16
    """Share of a step in double support."""
    clearance: PositiveFloat = 0.03
    """Highest point of the swinging sole above the floor [m]."""
    lean: float = 0.05
    """Forward pitch of the trunk [rad]: lets the thigh reach behind the hip's 5 degree stop."""
    crouch: PositiveFloat = 0.02
    """Least lowering of the hip below the straight leg [m]; more where joint ranges need it."""
    com_offset: float | None = None
    """Centre of mass ahead of the root origin [m]; None takes 0.01, with which slow
    walks stay in balance longest, and up to 0.035 in fast ones: feet further ahead keep the
    trailing leg's ankle off its stop."""
    zmp_back: float = 0.02
    """Zero-moment point ahead of the ankle at the start of single support [m]."""
    zmp_front: float = 0.02
    """The same at its end [m]."""
    zmp_half_width: float = 0.05
    """Zero-moment point from the centre line in single support [m]."""
    sway: NonNegativeFloat = 1.75
    """Lateral motion of the trunk per motion of the centre of mass: the feet, and with them part of
    the legs' mass, which is 60 % of all, do not move sideways."""
    swing_share: SwingShare = 0.06
    """Motion of the centre of mass with each foot along x, as a share of the foot's. A leg's mass
    alone would give 0.2; the acceleration of the swinging leg takes most of that back."""
    heel_lift: NonNegativeFloat = 0.2
    """Largest slope of a standing sole that rolls over its toes, its ankle at its stop [rad]; fast
    walks need some at the end of a step, slow ones none."""
    margin: JointMargin = 0.02
    """Distance that joints keep from their stops [rad], except the straight knee."""

    def __post_init__(self) -> None:
        check(self)


def natural_step_s(robot: RobotSpec, speed: float) -> float:
    """Duration of a step [s] at a speed [m/s].

    Legs of length L swing like pendula: periods go with sqrt(L / g), speeds with sqrt(g L). Human
    steps scale to 0.43 s at 0.27 m/s and 0.36 s at 0.7 m/s here. But this robot has no ankle roll
    and a wide stance, so it tips sideways from foot to foot, and playback in physics stays up
    longest near 0.31 s, 1.5 sqrt(L / g), at low speed. Faster steps become quicker, because the
    hip's extension limits their length. With ankle roll a foot bears level, and steps are human.
    """
    unit = math.sqrt(robot.leg.leg_length / robot.gravity)
    froude_speed = speed / (robot.gravity * unit)
    times = [2.0, 1.7] if legs_of(robot).rolls else [1.5, 1.3]
    return float(np.interp(froude_speed, [0.1, 0.3], times)) * unit


def walking_clip(
    robot: RobotSpec,
    speed: float,
    duration_s: float,
    fps: float = 50.0,
    *,
    lateral: float = 0.0,
    yaw_rate: float = 0.0,
    start_standing: bool = False,
    end_standing: bool = False,
    config: WalkConfig | None = None,
) -> Clip:
    """Walking at constant speed [m/s], without slip, within the joints' ranges.

    Straight along +x, or also to the left at `lateral` [m/s], and turning left at `yaw_rate`
    [rad/s]. Footsteps are planned, the centre of mass is a linear inverted pendulum over its
    zero-moment point (`pendulum`), the trunk follows it, and leg kinematics give the joints. The
    hip is as high as `crouch`, home and the joint ranges allow. The clip begins and ends mid-walk,
    or where told at rest, feet together.

    Raises:
        ClipError: a value is out of range, the legs cannot turn or step aside, or no hip height
            lets them do it.
    """
    config, legs = config or WalkConfig(), legs_of(robot)
    scale, pace = robot.scale, robot.speed_scale
    slowest, fastest = MIN_SPEED * pace, MAX_SPEED * pace
    bends = lateral != 0.0 or yaw_rate != 0.0
    if not (bends and speed == 0.0) and not slowest * (1.0 - 1e-9) <= speed <= fastest:
        allowed = f"{slowest:.3g} to {fastest:.3g} (standing_clip stands)"
        raise ClipError(f"walking speed is {speed} m/s; allowed: {allowed}")
    if yaw_rate != 0.0 and not legs.turns:
        raise ClipError(f"yaw rate is {yaw_rate} rad/s; allowed: 0, the legs have no yaw joint")
    if lateral != 0.0 and not legs.rolls:
        raise ClipError(f"lateral speed is {lateral} m/s; allowed: 0, the legs have no ankle roll")
    _check_time(duration_s, fps)
    step_s = config.step_s or natural_step_s(robot, speed)
    stand_s = STAND_S * pace
    start_s = 0.0 if start_standing else stand_s + (LEAD_STEPS + 0.5) * step_s
    rest_s = 0.0 if end_standing else stand_s + LEAD_STEPS * step_s
    steps = (start_s + duration_s + rest_s - 2.0 * stand_s) / step_s - config.double_share
    num_steps = math.floor(steps) if end_standing else math.ceil(steps)
    if num_steps < 2:
        least = f"{2 * stand_s + (2 + config.double_share) * step_s:.2f} s"
        raise ClipError(
            f"duration is {duration_s} s; from and to standing it takes {least} or more"
        )
    length, half_width = speed * step_s, robot.leg.leg_y
    shape = (num_steps, step_s, config.double_share, length, half_width, stand_s)
    plan = FootstepPlan(*shape)
    if bends:
        plan = CurvedPlan(*shape, aside=lateral * step_s, turn=yaw_rate * step_s)
        room = 2.0 * half_width - robot.leg.sole_width - ROOM * scale
        if abs(plan.aside) > room:
            most = f"{max(room, 0.0) / step_s:.3g}"
            raise ClipError(f"lateral speed is {lateral} m/s; allowed: up to {most}, or feet meet")
    frames = round(duration_s * fps) + 1
    times = np.minimum(start_s + np.arange(frames) / fps, plan.duration_s)
    offset = config.com_offset
    if offset is None:
        offset = float(np.interp(speed / pace, [0.4, 0.6], [0.01, 0.035]))
    shaped = replace(
        config,
        clearance=config.clearance * scale,
        crouch=config.crouch * scale,
        zmp_back=config.zmp_back * scale,
        zmp_front=config.zmp_front * scale,
        zmp_half_width=config.zmp_half_width * scale,
    )
    if legs.exact:
        clip = _highest_hip(legs, plan, times, fps, shaped, offset * scale)
    else:
        clip = _hip_near_home(legs, plan, times, fps, shaped)
    root_pos = clip.root_pos - np.array([clip.root_pos[0, 0], 0.0, 0.0])
    way = f"{speed:.3f} m/s"
    name = f"walk_{speed:.2f}"
    if lateral:
        way, name = f"{way} ahead, {lateral:+.3f} m/s left", f"{name}_side{lateral:+.2f}"
    if yaw_rate:
        way, name = f"{way}, {yaw_rate:+.3f} rad/s", f"{name}_turn{yaw_rate:+.2f}"
    source = f"walking pattern generator, {way}, step {step_s:.3f} s"
    return replace(clip, name=name, root_pos=root_pos, source=source)


def standing_clip(
    robot: RobotSpec, duration_s: float, fps: float = 50.0, *, crouch: float = 0.003
) -> Clip:
    """Standing still, soles flat on the floor, the hip `crouch` [m] below the straight leg.

    The knees are slightly bent, off their stops: no walk begins from a locked knee. Legs without a
    closed form stand at home.

    Raises:
        ClipError: a value out of range.
    """
    _check_time(duration_s, fps)
    if not 0.0 < crouch <= 0.1:
        raise ClipError(f"crouch is {crouch} m; allowed: more than 0, up to 0.1")
    legs, scale = legs_of(robot), robot.scale
    times = np.arange(round(duration_s * fps) + 1) / fps
    root_pos = np.zeros((len(times), 3))
    if not legs.exact:
        # Home is what stands.
        root_quat = np.tile(robot.home_qpos[3:7].double().cpu().numpy(), (len(times), 1))
        joint_pos = np.tile(robot.joint_home.double().cpu().numpy(), (len(times), 1))
        clip = Clip("stand", fps, root_pos, root_quat, joint_pos, "standing pose")
        root_pos[:, 2] = -sole_corners(legs, clip)[..., 2].min()
        return replace(clip, root_pos=root_pos)
    plan = FootstepPlan(0, 0.4, 0.2, 0.0, robot.leg.leg_y, 0.4)
    lowered = crouch * scale
    root_pos[:, 2] = robot.leg.ankle_height + legs.reach - lowered - legs.hip[2]
    upright = rotations.yaw_quat(np.zeros(len(times)))
    clip = pose(legs, root_pos, upright, plan.feet(times, 0.0), fps).clip
    return replace(clip, name="stand", source="standing pose")


def _check_time(duration_s: float, fps: float) -> None:
    if not 0.1 <= duration_s <= 3600.0:
        raise ClipError(f"duration is {duration_s} s; allowed: 0.1 to 3600")
    if not MIN_FPS <= fps <= MAX_FPS:
        raise ClipError(f"fps is {fps}; allowed: {MIN_FPS:g} to {MAX_FPS:g}")


def _highest_hip(
    legs: Legs, plan: FootstepPlan, times: Array, fps: float, config: WalkConfig, ahead: float
) -> Clip:
    """The walk with the highest hip that the joints allow: straighter legs need less torque."""
    robot, size = legs.robot, legs.robot.scale
    above = -math.cos(config.lean) * legs.hip[2]  # root origin over the hip-pitch axis
    knots, zmp = plan.zmp(config.zmp_back, config.zmp_front, config.zmp_half_width)
    omega = math.sqrt(robot.gravity / (COM_HEIGHT * robot.leg.leg_length))
    com = com_over_zmp(knots, zmp, omega, times)
    feet = plan.feet(times, config.clearance)
    # com = root + offset + share * (both feet - 2 root), along x
    share, both = config.swing_share, feet[0].sole[:, 0] + feet[1].sole[:, 0]
    root_x = (com[:, 0] - ahead - share * both) / (1.0 - 2.0 * share)
    standing = np.stack([foot.sole[:, 2] < 1e-9 for foot in feet])
    weight = plan.weight(times)
    upright, lean = np.zeros(len(times)), np.full(len(times), config.lean)
    worst = ""
    for lowering in np.arange(config.crouch, LOWEST * size, LOWERING * size):
        root_pos = np.empty((len(times), 3))
        root_pos[:, 0], root_pos[:, 1] = root_x, config.sway * com[:, 1]
        root_pos[:, 2] = robot.leg.ankle_height + legs.reach - lowering + above
        yaw = upright
        for _ in range(3):
            quat = rotations.quat_from_euler(upright, lean, yaw)
            posing = pose(legs, root_pos, quat, feet, fps, config.margin + 0.002)
            # A bent leg that tilts sideways turns its foot; the trunk turns back, so that the
            # bearing foot does not swivel.
            yaw = yaw - (foot_yaw(legs, posing.clip) * weight).sum(1)
        worst = _trouble(legs, posing, standing, config)
        if not worst:
            return posing.clip
    raise _no_hip_height(plan, worst)


def _hip_near_home(
    legs: Legs, plan: FootstepPlan, times: Array, fps: float, config: WalkConfig
) -> Clip:
    """The walk with the hip as high as at home, or as little lower as the joints allow.

    Home stands, so it says how far the weight is ahead of the hips. The zero-moment point stays
    within the soles; the trunk's sideways path is that of the centre of mass.
    """
    robot, size = legs.robot, legs.robot.scale
    leg, quat = robot.leg, robot.home_qpos[3:7].double().cpu().numpy()
    hip = legs.hip * [1.0, 0.0, 1.0]
    tilt = rotations.euler(quat[None])[0]
    home = standing_clip(robot, 0.1, fps)
    home_hip = float((home.root_pos[0] + rotations.quat_rotate(quat, hip))[2])
    straight = leg.ankle_height + legs.reach
    middle = (config.zmp_back + config.zmp_front) / 2.0
    knots, zmp = plan.zmp(config.zmp_back, config.zmp_front, leg.leg_y - leg.sole_width / 4.0)
    omega = math.sqrt(robot.gravity / (COM_HEIGHT * leg.leg_length))
    com = com_over_zmp(knots, zmp, omega, times)
    feet = plan.feet(times, config.clearance)
    standing = np.stack([foot.sole[:, 2] < 1e-9 for foot in feet])
    yaw = np.zeros(len(times))
    if feet[0].yaw is not None and feet[1].yaw is not None:
        step = max(round(plan.step_s * fps), 1)
        yaw = uniform_filter1d((feet[0].yaw + feet[1].yaw) / 2.0, step, mode="nearest")
    zero = np.zeros(len(times))
    root_quat = rotations.quat_from_euler(zero, zero + tilt[1], yaw)
    arm = rotations.quat_rotate(root_quat, hip)
    # The weight's point over the soles is the middle of the zero-moment points.
    ahead = rotations.quat_rotate(
        rotations.yaw_quat(yaw), np.array([legs.balance + middle, 0.0, 0.0])
    )
    hips = np.zeros((len(times), 3))
    hips[:, :2] = com - ahead[:, :2]
    worst = ""
    first = max(straight - home_hip, config.crouch)
    weight = plan.weight(times)
    for lowering in first + np.linspace(0.0, LOWEST * size, 12):
        hips[:, 2] = straight - lowering
        turned = root_quat
        for _ in range(1 if legs.turns else 3):
            posing = pose(legs, hips - arm, turned, feet, fps, config.margin + 0.002)
            if not legs.turns:
                yaw = yaw - (foot_yaw(legs, posing.clip) * weight).sum(1)
                turned = rotations.quat_from_euler(zero, zero + tilt[1], yaw)
        worst = _trouble(legs, posing, standing, config)
        if not worst:
            return posing.clip
    raise _no_hip_height(plan, worst)


def _no_hip_height(plan: FootstepPlan, worst: str) -> ClipError:
    steps = f"steps of {plan.step_length:.3f} m: {worst}; walk slower, step faster or lean more"
    return ClipError(f"no hip height lets the legs walk {steps}")


def _trouble(legs: Legs, posing: Posing, standing: Flags, config: WalkConfig) -> str:
    """The first joint too near a stop or faster than its servo; empty if there is none."""
    if posing.out_of_reach.any():
        return "legs too short"
    if posing.pitch_given_up[standing].max() > config.heel_lift + 1e-9:
        return "the ankle's pitch at its stop"
    clip = posing.clip
    limits = legs.robot.joint_max_velocity.cpu().double().numpy()
    velocity = np.abs(np.diff(clip.joint_pos, axis=0)).max(0) * clip.fps
    for side, index in enumerate(legs.index):
        pos = legs.joints(side, clip.joint_pos[:, index])
        for i, kind in enumerate(legs.kinds):
            name = legs.robot.joint_names[index[i]]
            low = legs.lower[side, i] + (config.margin if kind != "knee" else 0.0)
            if pos[:, i].min() < low or pos[:, i].max() > legs.upper[side, i] - config.margin:
                return f"{name} at its stop"
            if velocity[index[i]] > limits[index[i]]:
                return f"{name} too fast"
    return ""

"""Repair of clips: noise, heading, ground, stance width, sliding feet, joint stops.

A clip is taken apart into a trunk and two soles (`stances`); faults beyond their tolerances are
mended; leg kinematics make a clip of the parts again (`fitting`). A clip without faults changes its
frame rate, place and heading only. Lengths and speeds here and in `RepairConfig` are meant for legs
as long as the WildRobot's, and scaled with the robot's (`RobotSpec.scale`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from envs.robot.spec import RobotSpec
from envs.settings import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, check
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.kinematics import legs_of, sole_corners
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.ranges import JointMargin
from wildrobot_torch.motion.repair import stances
from wildrobot_torch.motion.repair.fitting import Fit, fitted
from wildrobot_torch.motion.repair.stances import ClipParts
from wildrobot_torch.motion.rotations import Array, Flags
from wildrobot_torch.motion.series import low_pass

MIN_DURATION_S = 0.5
"""Least length of a clip [s]: no stride fits into less."""
MAX_JUMP, MAX_STEP = 0.5, 0.2
"""Most that a joint or the trunk turns [rad], or the root moves [m], from frame to frame."""
MAX_SUNK, MAX_TILT = 0.05, 0.8
"""Largest depth of the lower sole in its highest frame [m]; largest median tilt of the trunk
[rad]."""

_STRAIGHT, _STEADY = 0.35, 0.06
"""A heading that changes by less than the first [rad] is straightened, as a fault; a change of less
than the second is none."""
_LEAST_WAY = 0.1
"""Hips that travel less than this [m] have no direction."""
_SLOW = 0.15
"""Slower walks [m/s] may slip as much as one of this speed."""

# Faults up to these sizes are left alone.
_NOISE, _SHAKE = 0.006, 0.002
"""What the low-pass removes from the joints [rad], and from the root's path, RMS [m]."""
_TRUNK_HZ = 1.0
"""Cut-off for the trunk's tilt [Hz]: what swings faster is the human pelvis."""
_TRUNK_SWING = 0.03
"""Swinging of the trunk, RMS [rad]."""
_SUNK = 0.003
"""Height of a standing sole over or under the floor, or of any sole under it [m]."""
_SLOPE = 0.03
"""Slope of a standing sole, median [rad]."""
_ASIDE = 0.02
"""Mean distance of the feet from where upright legs have them, sideways [m]."""
_BALANCE = 0.02
"""Largest distance of the bearing feet, on average, from where a balanced walk has them [m]."""
_SLIP = 0.2
"""Mean speed of low soles, as a share of walking speed."""


@dataclass(frozen=True, kw_only=True)
class RepairConfig:
    """What a repaired clip is like."""

    lowpass_hz: PositiveFloat = 7.0
    """Cut-off of the zero-phase low-pass over joints and root [Hz]."""
    gap: NonNegativeFloat = 0.015
    """Least room between the soles, side by side [m]."""
    clearance: NonNegativeFloat = 0.02
    """Least lift of a swinging sole [m], where the feet are locked."""
    margin: JointMargin = 0.04
    """Distance that joints are kept from their stops [rad], where one rests on its stop."""
    max_lean: ClosedUnitInterval = 0.2
    """Most forward lean added to keep the hips off their extension stops [rad]."""
    max_lowering: ClosedUnitInterval = 0.06
    """Most lowering of the hips added to bend straight knees [m]."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Repaired:
    """A clip and what was done to it."""

    clip: Clip
    changes: tuple[str, ...]
    """One line per step that changed something: its name, what it found, what it did."""


def check_clip(clip: Clip, robot: RobotSpec) -> str | None:
    """Why a clip cannot be repaired, in one line without its name; None if it can."""
    if clip.joint_pos.shape[1] != robot.num_joints:
        return f"{clip.joint_pos.shape[1]} joints; robot {robot.name!r} has {robot.num_joints}"
    if clip.duration_s < MIN_DURATION_S - 1e-9:
        return f"{clip.duration_s:.2f} s; needed: {MIN_DURATION_S} s or more"
    size = robot.scale
    before, after = clip.root_quat[:-1], clip.root_quat[1:]
    turn = rotations.quat_multiply(rotations.quat_conjugate(before), after)
    turns = np.linalg.norm(rotations.rotation_vector(turn), axis=1)
    steps = np.linalg.norm(np.diff(clip.root_pos, axis=0), axis=1)
    jumps = np.abs(np.diff(clip.joint_pos, axis=0))
    for name, sizes, unit, most in (
        (robot.joint_names[jumps.max(0).argmax()], jumps.max(1), "rad", MAX_JUMP),
        ("the root's rotation", turns, "rad", MAX_JUMP),
        ("the root", steps, "m", MAX_STEP * size),
    ):
        if sizes.max() > most:
            where = f"{name} jumps by {sizes.max():.2f} {unit} at frame {sizes.argmax() + 1}"
            return f"{where}; allowed: {most:g} {unit} per frame"
    up = rotations.matrix(clip.root_quat)[:, 2, 2]
    tilt = float(np.median(np.arccos(np.clip(up, -1.0, 1.0))))
    if tilt > MAX_TILT:
        tilted = f"the trunk is tilted by {tilt:.2f} rad in the median; allowed: {MAX_TILT} rad"
        return f"{tilted} (are its quaternions in another order?)"
    highest = sole_corners(legs_of(robot), clip)[..., 2].min((1, 2)).max()
    if highest < -MAX_SUNK * size:
        most = f"allowed: {MAX_SUNK * size:g} m"
        return f"below the floor throughout, by {-highest:.2f} m or more; {most}"
    return None


def repair(
    clip: Clip, robot: RobotSpec, config: RepairConfig | None = None, fps: float = 50.0
) -> Repaired:
    """The clip walking along +x from the origin, on the floor, with feet that stay in place.

    Steps, in this order, each only if its fault exceeds the tolerance: smooth and resample;
    heading and travel; ground; trunk; stance width; balance; foot lock; joint stops.

    Raises:
        ClipError: `check_clip` finds a reason.
    """
    config, scale, pace = config or RepairConfig(), robot.scale, robot.speed_scale
    config = replace(
        config,
        lowpass_hz=config.lowpass_hz / pace,
        gap=config.gap * scale,
        clearance=config.clearance * scale,
        max_lowering=config.max_lowering * scale,
    )
    reason = check_clip(clip, robot)
    if reason is not None:
        raise ClipError(f"clip {clip.name!r}: {reason}")
    legs = legs_of(robot)
    changes: list[str] = []
    clip = _smooth(clip, fps, config, _SHAKE * scale, changes)
    parts = _heading(legs, clip, changes)
    parts = _ground(parts, fps, changes)
    parts, steadied = _trunk(parts, fps, changes)
    parts = _width(parts, legs, config, changes)
    parts = _balance(parts, legs, fps, changes)
    parts, share = _feet(parts, fps, config, changes)
    limits = (config.margin, config.max_lean, config.max_lowering)
    result, fit, before, after = fitted(parts, legs, fps, *limits, share if steadied else None)
    if fit != Fit():
        changes.append(
            f"stops: {before:.0%} of frames on a stop or out of reach, now {after:.0%} "
            f"(lean {fit.lean:.2f} rad, {1e3 * fit.lowering:.0f} mm lower, "
            f"{1e3 * fit.widening:.0f} mm wider, stride x{fit.stride:.2f})"
        )
    source = f"{clip.source}; repaired" if changes else clip.source
    root_pos = result.root_pos - result.root_pos[0] * [1.0, 1.0, 0.0]
    result = replace(result, name=clip.name, source=source, root_pos=root_pos)
    return Repaired(result, tuple(changes))


def _smooth(
    clip: Clip, fps: float, config: RepairConfig, most_shake: float, changes: list[str]
) -> Clip:
    """The clip at the wanted rate, low-passed if that removes more than the tolerated noise."""

    def smooth(series: Array) -> Array:
        return low_pass(series, config.lowpass_hz, clip.fps)

    joints = smooth(clip.joint_pos)
    # The median sees noise, which is everywhere, and not touch-downs, which are sharp but few.
    noise = 1.4826 * float(np.median(np.abs(joints - clip.joint_pos)))
    root = smooth(clip.root_pos)
    shake = float(np.sqrt(np.mean(np.sum((root - clip.root_pos) ** 2, axis=1))))
    if noise > _NOISE or shake > most_shake:
        quat = smooth(clip.root_quat)
        quat /= np.linalg.norm(quat, axis=1, keepdims=True)
        clip = replace(clip, root_pos=root, root_quat=quat, joint_pos=joints)
        taken = f"{noise:.4f} rad from the joints, {1e3 * shake:.1f} mm from the root"
        changes.append(f"smooth: low-pass {config.lowpass_hz:g} Hz took {taken}")
    if clip.fps != fps:
        changes.append(f"rate: {clip.fps:.2f} to {fps:g} frames per second")
        clip = clip.resample(fps)
    return clip


def _heading(legs: Legs, clip: Clip, changes: list[str]) -> ClipParts:
    """The clip's parts, facing +x at the origin, and travelling where the legs walk."""
    scale = legs.robot.scale
    heading = stances.slow_heading(clip, scale)
    bend = float(np.ptp(heading))
    if bend < _STEADY:
        mean = float(np.angle(np.exp(1j * heading.mean())))
        heading = np.full_like(heading, mean if abs(mean) > _STEADY else 0.0)
    parts = stances.take_apart(legs, clip, heading)
    first = float(heading.mean() if bend < _STRAIGHT else heading[0])
    straightened = np.zeros_like(heading) if bend < _STRAIGHT else heading - first
    # The path is turned step by step, so that a drifting walk becomes a straight one.
    turn = rotations.yaw_quat(straightened - heading)
    hips = parts.hips.copy()
    way = rotations.quat_rotate(turn[1:], np.diff(parts.hips, axis=0))
    hips[:, :2] = np.concatenate([np.zeros((1, 2)), np.cumsum(way[:, :2], axis=0)])
    parts = replace(parts, heading=straightened, hips=hips)
    first = float(np.angle(np.exp(1j * first)))
    drifts = _STEADY <= bend < _STRAIGHT
    if abs(first) > _STEADY or drifts:
        drift = f", a drift of {bend:.2f} rad taken out" if drifts else ""
        changes.append(f"heading: faced {first:+.2f} rad, turned to +x{drift}")
    legs_way = stances.walked(parts, clip.fps).way
    legs_net, net = legs_way[-1] - legs_way[0], hips[-1, :2] - hips[0, :2]
    far = min(np.linalg.norm(legs_net), np.linalg.norm(net)) > _LEAST_WAY * scale
    if far and float(legs_net @ net) < 0.0:
        hips[:, :2] = legs_way
        changes.append(f"travel: went {net[0]:+.2f} m, now as its legs do, {legs_net[0]:+.2f} m")
    return parts


def _ground(parts: ClipParts, fps: float, changes: list[str]) -> ClipParts:
    """Standing soles on the floor, stance by stance, and level on average."""
    scale = parts.scale
    floors = stances.floors(parts.soles[..., 2], fps, scale)
    walk = stances.walked(parts, fps)
    pairs = zip(parts.pitch, walk.stands, strict=True)
    slopes = np.array([np.median(pitch[foot]) if foot.any() else 0.0 for pitch, foot in pairs])
    if np.abs(slopes).max() > _SLOPE:
        parts = replace(parts, pitch=parts.pitch - slopes[:, None])
        sloped = f"{slopes[0]:+.2f} (left) and {slopes[1]:+.2f} rad"
        changes.append(f"ground: standing soles sloped by {sloped}, levelled")
    if np.abs(floors).max() > _SUNK * scale:
        # The hips follow the floor of the bearing foot; each foot makes up the difference.
        level = low_pass((walk.share * floors).sum(0), _TRUNK_HZ / math.sqrt(scale), fps)
        hips, feet = parts.hips.copy(), parts.feet.copy()
        hips[:, 2] -= level
        feet[..., 2] -= floors - level
        parts = replace(parts, hips=hips, feet=feet)
        stood = f"{1e3 * floors.min():+.0f} to {1e3 * floors.max():+.0f} mm"
        changes.append(f"ground: soles stood at {stood}, now at 0")
    return parts


def _trunk(parts: ClipParts, fps: float, changes: list[str]) -> tuple[ClipParts, bool]:
    """The trunk without the swinging of a human pelvis, and whether there was any."""
    tilt = parts.tilt
    slow = low_pass(tilt, _TRUNK_HZ / math.sqrt(parts.scale), fps)
    slow[:, [0, 2]] -= slow[:, [0, 2]].mean(0)
    swing = np.sqrt(np.mean((tilt - slow) ** 2, axis=0))
    if swing.max() <= _TRUNK_SWING:
        return parts, False
    slow[:, 2] = 0.0
    swung = ", ".join(f"{size:.3f}" for size in swing)
    changes.append(f"trunk: swung by {swung} rad RMS (roll, pitch, yaw), steadied")
    return replace(parts, tilt=slow), True


def _width(parts: ClipParts, legs: Legs, config: RepairConfig, changes: list[str]) -> ClipParts:
    """Feet with room between them, on average under their hips."""
    least = legs.robot.leg.sole_width + config.gap
    feet = parts.feet.copy()
    apart = feet[0, :, 1] - feet[1, :, 1]
    shift = np.array([1.0, -1.0]) * legs.robot.leg.leg_y - feet[..., 1].mean(1)
    if apart.min() >= least and np.abs(shift).max() <= _ASIDE * parts.scale:
        return parts
    # Without ankle roll, soles are level under upright legs only: the feet go under the hips first,
    # and only then is missing room made frame by frame.
    feet[..., 1] += shift[:, None]
    lack = np.maximum(least - (feet[0, :, 1] - feet[1, :, 1]), 0.0)
    feet[0, :, 1] += lack / 2.0
    feet[1, :, 1] -= lack / 2.0
    moved = f"left {1e3 * shift[0]:+.0f}, right {1e3 * shift[1]:+.0f} mm"
    changes.append(f"width: soles came as near as {1e3 * apart.min():.0f} mm; moved {moved}")
    return replace(parts, feet=feet)


def _balance(parts: ClipParts, legs: Legs, fps: float, changes: list[str]) -> ClipParts:
    """Bearing feet under the robot's weight, on average."""
    wanted = legs.balance
    ahead = float((stances.walked(parts, fps).share * parts.feet[..., 0]).sum(0).mean())
    if abs(ahead - wanted) <= _BALANCE * parts.scale:
        return parts
    feet = parts.feet + np.array([wanted - ahead, 0.0, 0.0])
    changes.append(f"balance: bearing feet were {1e3 * ahead:+.0f} mm ahead of the hips, centred")
    return replace(parts, feet=feet)


def _feet(
    parts: ClipParts, fps: float, config: RepairConfig, changes: list[str]
) -> tuple[ClipParts, Array]:
    """Standing feet that stay in place, hips that follow them, and bearing shares (2, N)."""
    walk = stances.walked(parts, fps)
    speed = walk.speed(fps)
    slip = _slip(parts.soles, walk.low, fps)
    sunk = -float(parts.soles[..., 2].min())
    scale = parts.scale
    if slip <= _SLIP * max(speed, _SLOW * math.sqrt(scale)) and sunk <= _SUNK * scale:
        return parts, walk.share
    hips = parts.hips.copy()
    hips[:, :2] = low_pass(walk.way, config.lowpass_hz, fps)
    led = replace(parts, hips=hips)
    soles = stances.locked(led.soles, walk.stands, config.clearance, fps, scale)
    back = rotations.yaw_quat(-parts.heading)
    locked = replace(led, feet=rotations.quat_rotate(back, soles - hips))
    now = _slip(soles, soles[..., 2] < stances.LOCK_HEIGHT * scale, fps)
    slid = f"{slip:.3f} m/s on the mean, now {now:.3f}"
    changes.append(f"feet: low soles slid at {slid}, and were up to {1e3 * sunk:.0f} mm deep")
    return locked, walk.share


def _slip(soles: Array, stands: Flags, fps: float) -> float:
    """Mean speed [m/s] over the floor of feet that stand in both of two neighbouring frames."""
    speed = np.linalg.norm(np.diff(soles[..., :2], axis=1), axis=-1) * fps
    still = stands[:, 1:] & stands[:, :-1]
    return float(speed[still].mean()) if still.any() else 0.0

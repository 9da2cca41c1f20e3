"""Clips made fit for the floor: heading, ground, stance width, joint stops, noise, sliding feet.

A clip is taken apart into a trunk and two soles (`stances`), each fault is measured, what exceeds
its tolerance is mended, and closed-form leg kinematics put it together again. A clip without
faults comes back as it was, but for its frame rate, its place and its heading.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.kinematics import Legs, sole_corners
from wildrobot_torch.motion.repair import stances
from wildrobot_torch.motion.repair.fitting import Fit, fitted
from wildrobot_torch.motion.repair.stances import Motion
from wildrobot_torch.motion.rotations import Array, Flags

MIN_DURATION_S = 0.5
"""A clip is not shorter [s]: nothing can be measured on it, and no stride fits in."""
MAX_JUMP = 0.5
"""A joint, or the trunk's orientation, does not turn further from frame to frame [rad]."""
MAX_STEP = 0.2
"""The root does not move further from frame to frame [m]."""
MAX_SUNK = 0.05
"""A clip whose lower sole is deeper than this in every frame is below the floor [m]."""
MAX_TILT = 0.8
"""A trunk that is tilted further in most frames does not walk [rad]."""

_STRAIGHT = 0.35
"""Heading that changes by less [rad] is meant to be straight; by less than `_STEADY`, is."""
_STEADY = 0.06
_LEAST_WAY = 0.1
"""Hips that go no further [m] have no direction."""
_SLOW = 0.15
"""Slower walks [m/s] may slip as much as one of this speed."""
_SHAKE = 0.002
"""What the low-pass would take from the root's way, RMS [m], that is left alone."""
_ASIDE = 0.02
"""Feet further in or out than upright legs would have them, by this on the mean [m], are moved."""
_SLOPE = 0.03
"""Slope of a standing sole, median [rad], that is left alone."""


@dataclass(frozen=True, kw_only=True)
class RepairConfig:
    """What a repaired clip is like, and which faults are left alone."""

    lowpass_hz: float = 7.0
    """Cut-off of the zero-phase low-pass over joints and root [Hz]."""
    noise: float = 0.006
    """Noise of the joints [rad], by what the low-pass takes, that is left alone."""
    trunk_hz: float = 1.0
    """Cut-off for the trunk's tilt [Hz]: what swings faster is the human pelvis'."""
    trunk_swing: float = 0.03
    """Swinging of the trunk, RMS [rad], that is left alone."""
    sunk: float = 0.003
    """Height of a standing sole over or under the floor, or of any under it [m], left alone."""
    gap: float = 0.015
    """Least room between the soles, side by side [m]."""
    feet_ahead: float = 0.004
    """Where bearing feet are put ahead of the hips, on the mean [m]: there walks are in balance."""
    balance: float = 0.02
    """How far from there they are left [m]."""
    slip: float = 0.2
    """Mean speed of low soles, as a share of walking speed, that is left alone."""
    clearance: float = 0.02
    """Least lift of a swinging sole [m], where the feet have to be locked."""
    margin: float = 0.04
    """Distance that joints are kept from their stops [rad], where one rests on its stop."""
    stop_share: float = 0.02
    """Share of frames on a stop (within 0.02 rad), worst joint, that is left alone."""
    max_lean: float = 0.2
    """Most forward lean added to spare the hip's extension stop [rad]."""
    max_lowering: float = 0.06
    """Most lowering of the hips added to bend straight knees [m]."""

    def __post_init__(self) -> None:
        allowed = {
            "lowpass_hz": (1.0 <= self.lowpass_hz <= 30.0, "1 to 30 Hz"),
            "noise": (0.0 <= self.noise <= 0.1, "0 to 0.1 rad"),
            "trunk_hz": (0.1 <= self.trunk_hz <= 30.0, "0.1 to 30 Hz"),
            "trunk_swing": (0.0 <= self.trunk_swing <= 0.5, "0 to 0.5 rad"),
            "sunk": (0.0 <= self.sunk <= 0.02, "0 to 0.02 m"),
            "gap": (0.0 <= self.gap <= 0.1, "0 to 0.1 m"),
            "feet_ahead": (abs(self.feet_ahead) <= 0.1, "-0.1 to 0.1 m"),
            "balance": (0.0 <= self.balance <= 0.1, "0 to 0.1 m"),
            "slip": (0.0 <= self.slip <= 1.0, "0 to 1"),
            "clearance": (0.0 <= self.clearance <= 0.1, "0 to 0.1 m"),
            "margin": (0.0 <= self.margin <= 0.2, "0 to 0.2 rad"),
            "stop_share": (0.0 <= self.stop_share <= 1.0, "0 to 1"),
            "max_lean": (0.0 <= self.max_lean <= 0.5, "0 to 0.5 rad"),
            "max_lowering": (0.0 <= self.max_lowering <= 0.15, "0 to 0.15 m"),
        }
        for name, (good, words) in allowed.items():
            if not good:
                raise ClipError(f"repair.{name} is {getattr(self, name)}; allowed: {words}")


@dataclass(frozen=True)
class Repaired:
    """A clip and what was done to it."""

    clip: Clip
    changes: tuple[str, ...]
    """One line per step that changed something: its name, what it found, what it did."""


def check_clip(clip: Clip, robot: RobotSpec) -> str | None:
    """Why a clip is beyond repair, in one line without its name; None if it is not."""
    if clip.joint_pos.shape[1] != robot.num_joints:
        return f"{clip.joint_pos.shape[1]} joints; robot {robot.name!r} has {robot.num_joints}"
    if clip.duration_s < MIN_DURATION_S - 1e-9:
        return f"{clip.duration_s:.2f} s; needed: {MIN_DURATION_S} s or more"
    jumps = np.abs(np.diff(clip.joint_pos, axis=0))
    frame, joint = np.unravel_index(int(np.argmax(jumps)), jumps.shape)
    if jumps[frame, joint] > MAX_JUMP:
        return (
            f"{robot.joint_names[joint]} jumps by {jumps[frame, joint]:.2f} rad at frame "
            f"{frame + 1}; allowed: {MAX_JUMP} rad per frame"
        )
    turns = rotations.quat_multiply(
        rotations.quat_conjugate(clip.root_quat[:-1]), clip.root_quat[1:]
    )
    angles = np.linalg.norm(rotations.rotation_vector(turns), axis=1)
    if angles.max() > MAX_JUMP:
        return (
            f"the root turns by {angles.max():.2f} rad at frame {int(np.argmax(angles)) + 1}; "
            f"allowed: {MAX_JUMP} rad per frame"
        )
    steps = np.linalg.norm(np.diff(clip.root_pos, axis=0), axis=1)
    if steps.max() > MAX_STEP:
        return (
            f"the root jumps by {steps.max():.2f} m at frame {int(np.argmax(steps)) + 1}; "
            f"allowed: {MAX_STEP} m per frame"
        )
    up = rotations.quat_rotate(clip.root_quat, np.array([0.0, 0.0, 1.0]))
    tilt = float(np.median(np.arccos(np.clip(up[:, 2], -1.0, 1.0))))
    if tilt > MAX_TILT:
        return (
            f"the trunk is tilted by {tilt:.2f} rad in the median; allowed: {MAX_TILT} rad "
            "(is the order of its quaternions another?)"
        )
    lowest = sole_corners(Legs(robot), clip)[..., 2].min((1, 2))
    if lowest.max() < -MAX_SUNK:
        return (
            f"below the floor throughout, by {-lowest.max():.2f} m or more; allowed: {MAX_SUNK} m"
        )
    return None


def repair(
    clip: Clip, robot: RobotSpec, config: RepairConfig | None = None, fps: float = 50.0
) -> Repaired:
    """The clip walking along +x from the origin, on the floor, with feet that stay where they are.

    Steps, in this order, each only as far as its fault exceeds the configured tolerance: smooth
    and resample; heading and travel; ground; trunk; stance width; balance; foot lock; joint stops.

    Raises:
        ClipError: `check_clip` finds a reason.
    """
    config = config or RepairConfig()
    reason = check_clip(clip, robot)
    if reason is not None:
        raise ClipError(f"clip {clip.name!r}: {reason}")
    legs = Legs(robot)
    changes: list[str] = []
    clip = _smooth(clip, fps, config, changes)
    motion = _heading(legs, clip, changes)
    motion = _ground(motion, clip.fps, config, changes)
    motion, steadied = _trunk(motion, clip.fps, config, changes)
    motion = _width(motion, legs, config, changes)
    motion = _balance(motion, clip.fps, config, changes)
    motion, share = _feet(motion, clip.fps, config, changes)
    straight = bool(np.ptp(motion.heading) == 0.0)
    result, fit, before, after = fitted(
        motion,
        legs,
        clip.fps,
        margin=config.margin,
        stop_share=config.stop_share,
        max_lean=config.max_lean,
        max_lowering=config.max_lowering,
        straight=straight,
        bearing=share if steadied else None,
    )
    if fit != Fit():
        changes.append(
            f"stops: {before:.0%} of frames on a stop or out of reach, now {after:.0%} "
            f"(leaned {fit.lean:.2f} rad, lowered {1e3 * fit.lowering:.0f} mm, feet "
            f"{1e3 * fit.widening:.0f} mm further out, stride x{fit.stride:.2f})"
        )
    source = f"{clip.source}; repaired" if changes else clip.source
    root_pos = result.root_pos - result.root_pos[0] * [1.0, 1.0, 0.0]
    result = replace(result, name=clip.name, source=source, root_pos=root_pos)
    return Repaired(result, tuple(changes))


def _smooth(clip: Clip, fps: float, config: RepairConfig, changes: list[str]) -> Clip:
    """Low-passed where that takes away more than the noise allowed, and at the wanted rate."""

    def smooth(series: Array) -> Array:
        return stances.low_pass(series, config.lowpass_hz, clip.fps)

    joints = smooth(clip.joint_pos)
    # The median tells noise, which is everywhere, from touch-downs, which are sharp but few.
    noise = 1.4826 * float(np.median(np.abs(joints - clip.joint_pos)))
    root = smooth(clip.root_pos)
    shake = float(np.sqrt(np.mean(np.sum((root - clip.root_pos) ** 2, axis=1))))
    if noise > config.noise or shake > _SHAKE:
        quat = smooth(clip.root_quat)
        quat /= np.linalg.norm(quat, axis=1, keepdims=True)
        clip = replace(clip, root_pos=root, root_quat=quat, joint_pos=joints)
        changes.append(
            f"smooth: low-pass {config.lowpass_hz:g} Hz took {noise:.4f} rad from the joints "
            f"and {1e3 * shake:.1f} mm from the root"
        )
    if clip.fps != fps:
        changes.append(f"rate: {clip.fps:.2f} to {fps:g} frames per second")
        clip = clip.resample(fps)
    return clip


def _heading(legs: Legs, clip: Clip, changes: list[str]) -> Motion:
    """Taken apart, facing +x from the origin on, and going where the legs walk."""
    heading = stances.slow_heading(clip)
    bend = float(np.ptp(heading))
    if bend < _STEADY:
        mean = float(np.angle(np.exp(1j * heading.mean())))
        heading = np.full_like(heading, mean if abs(mean) > _STEADY else 0.0)
    motion = stances.taken_apart(legs, clip, heading)
    if bend < _STRAIGHT:
        straightened, first = np.zeros_like(heading), float(heading.mean())
    else:
        straightened, first = heading - heading[0], float(heading[0])
    # The way is turned step by step, so that a drifting walk becomes a straight one.
    turn = rotations.yaw_quat(straightened - heading)
    hips = motion.hips.copy()
    way = rotations.quat_rotate(turn[1:], np.diff(motion.hips, axis=0))
    hips[:, :2] = np.concatenate([np.zeros((1, 2)), np.cumsum(way[:, :2], axis=0)])
    motion = replace(motion, heading=straightened, hips=hips)
    first = float(np.angle(np.exp(1j * first)))
    if abs(first) > _STEADY or _STEADY <= bend < _STRAIGHT:
        drift = f", a drift of {bend:.2f} rad taken out" if _STEADY <= bend < _STRAIGHT else ""
        changes.append(f"heading: faced {first:+.2f} rad, turned to +x{drift}")
    legs_way = stances.walked(motion, clip.fps).way
    legs_net, net = legs_way[-1] - legs_way[0], hips[-1, :2] - hips[0, :2]
    far = min(np.linalg.norm(legs_net), np.linalg.norm(net)) > _LEAST_WAY
    if far and float(legs_net @ net) < 0.0:
        hips[:, :2] = legs_way
        changes.append(
            f"travel: went {net[0]:+.2f} m along its heading where its legs walk "
            f"{legs_net[0]:+.2f} m; goes with its legs"
        )
    return motion


def _ground(motion: Motion, fps: float, config: RepairConfig, changes: list[str]) -> Motion:
    """Standing soles on the floor, stance by stance, and level there on the whole."""
    floors = stances.floors(motion.soles[..., 2], fps)
    walk = stances.walked(motion, fps)
    pairs = zip(motion.pitch, walk.stands, strict=True)
    slopes = np.array([np.median(pitch[foot]) if foot.any() else 0.0 for pitch, foot in pairs])
    if np.abs(slopes).max() > _SLOPE:
        motion = replace(motion, pitch=motion.pitch - slopes[:, None])
        changes.append(
            f"ground: standing soles sloped by {slopes[0]:+.2f} (left) and {slopes[1]:+.2f} rad, "
            "levelled"
        )
    if np.abs(floors).max() > config.sunk:
        # The hips follow the bearing foot's floor; what the feet differ by is taken from them.
        level = stances.low_pass((walk.share * floors).sum(0), config.trunk_hz, fps)
        hips, feet = motion.hips.copy(), motion.feet.copy()
        hips[:, 2] -= level
        feet[..., 2] -= floors - level
        motion = replace(motion, hips=hips, feet=feet)
        changes.append(
            f"ground: soles stood at {1e3 * floors.min():+.0f} to {1e3 * floors.max():+.0f} mm, "
            "now at 0"
        )
    return motion


def _trunk(
    motion: Motion, fps: float, config: RepairConfig, changes: list[str]
) -> tuple[Motion, bool]:
    """The trunk without the human pelvis' swinging; and whether it had any."""
    tilt = motion.tilt
    slow = stances.low_pass(tilt, config.trunk_hz, fps)
    slow[:, [0, 2]] -= slow[:, [0, 2]].mean(0)
    swing = np.sqrt(np.mean((tilt - slow) ** 2, axis=0))
    if swing.max() <= config.trunk_swing:
        return motion, False
    slow[:, 2] = 0.0
    changes.append(
        f"trunk: swung by {swing[0]:.3f} roll, {swing[1]:.3f} pitch, {swing[2]:.3f} yaw (rad RMS), "
        f"steadied; its yaw follows the standing foot"
    )
    return replace(motion, tilt=slow), True


def _width(motion: Motion, legs: Legs, config: RepairConfig, changes: list[str]) -> Motion:
    """Feet side by side with room between them, on the whole under their hips."""
    least = legs.robot.leg.sole_width + config.gap
    feet = motion.feet.copy()
    apart = feet[0, :, 1] - feet[1, :, 1]
    shift = np.array([1.0, -1.0]) * legs.robot.leg.leg_y - feet[..., 1].mean(1)
    if apart.min() >= least and np.abs(shift).max() <= _ASIDE:
        return motion
    # Soles without ankle roll are level on upright legs only: the feet go under the hips first,
    # and only room that is still missing is made frame by frame.
    feet[..., 1] += shift[:, None]
    lack = np.maximum(least - (feet[0, :, 1] - feet[1, :, 1]), 0.0)
    feet[0, :, 1] += lack / 2.0
    feet[1, :, 1] -= lack / 2.0
    changes.append(
        f"width: soles' middles came as near as {1e3 * apart.min():.0f} mm, now "
        f"{1e3 * (feet[0, :, 1] - feet[1, :, 1]).min():.0f} mm (left {1e3 * shift[0]:+.0f}, right "
        f"{1e3 * shift[1]:+.0f} mm)"
    )
    return replace(motion, feet=feet)


def _balance(motion: Motion, fps: float, config: RepairConfig, changes: list[str]) -> Motion:
    """Feet that bear the robot where its weight is, on the mean."""
    ahead = float((stances.walked(motion, fps).share * motion.feet[..., 0]).sum(0).mean())
    if abs(ahead - config.feet_ahead) <= config.balance:
        return motion
    feet = motion.feet + np.array([config.feet_ahead - ahead, 0.0, 0.0])
    changes.append(
        f"balance: bearing feet were {1e3 * ahead:+.0f} mm ahead of the hips, now "
        f"{1e3 * config.feet_ahead:+.0f}"
    )
    return replace(motion, feet=feet)


def _feet(
    motion: Motion, fps: float, config: RepairConfig, changes: list[str]
) -> tuple[Motion, Array]:
    """Standing feet that stay where they are, the hips led by them; and bearing shares (2, N)."""
    walk = stances.walked(motion, fps)
    speed = walk.speed(fps)
    slip = _slip(motion.soles, walk.low, fps)
    sunk = -float(motion.soles[..., 2].min())
    if slip <= config.slip * max(speed, _SLOW) and sunk <= config.sunk:
        return motion, walk.share
    hips = motion.hips.copy()
    hips[:, :2] = stances.low_pass(walk.way, config.lowpass_hz, fps)
    led = replace(motion, hips=hips)
    soles = stances.locked(led.soles, walk.stands, config.clearance, fps)
    back = rotations.yaw_quat(-motion.heading)
    locked = replace(led, feet=rotations.quat_rotate(back, soles - hips))
    moved = float(np.sqrt(np.mean(np.sum((locked.feet - motion.feet)[..., :2] ** 2, axis=-1))))
    now = _slip(soles, soles[..., 2] < stances.LOCK_HEIGHT, fps)
    changes.append(
        f"feet: low soles slid at {slip:.3f} m/s on the mean, now {now:.3f}, and were up to "
        f"{1e3 * max(sunk, 0.0):.0f} mm deep; they moved by {1e3 * moved:.0f} mm RMS against the "
        f"hips, which walk at {speed:.2f} m/s"
    )
    return locked, walk.share


def _slip(soles: Array, stands: Flags, fps: float) -> float:
    """Mean speed [m/s] over the floor of feet that are down before and after a step of time."""
    speed = np.linalg.norm(np.diff(soles[..., :2], axis=1), axis=-1) * fps
    still = stands[:, 1:] & stands[:, :-1]
    return float(speed[still].mean()) if still.any() else 0.0

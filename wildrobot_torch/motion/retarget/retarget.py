"""Human walking for the robot: captured hips and ankles, scaled, then closed-form leg kinematics.

Space is scaled by the legs' lengths, time by the square root of it, so that the Froude number
v^2 / (g L) and with it the balance of the walk stay what they were. What the robot cannot do (no
hip yaw, no ankle roll, hardly any hip extension) is given up on purpose: trunk level across,
constant forward lean, constant heading.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.signal import butter, sosfiltfilt

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.kinematics import Legs
from wildrobot_torch.motion.posing import FootPath, pose
from wildrobot_torch.motion.read.acclaim import CapturedMotion, read_motion, read_skeleton
from wildrobot_torch.motion.rotations import Array

_STRIDE_S = 1.3
"""Time within which each foot rests once [s], captured."""
_TOES_REST, _TOES_SWING = 0.008, 0.03
"""Height of the toes above rest [m] below which a foot stands, and above which it swings."""

# y up, facing z, left x (the captures) -> x forward, y left, z up
_TO_Z_UP = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, kw_only=True)
class RetargetConfig:
    """How a human walk becomes the robot's."""

    fps: float = 50.0
    """Frames per second of the clip [1/s]."""
    leg_factor: float = 0.975
    """Robot's hip-to-ankle distance as a share of the exact scaling: bends the knees."""
    stride_factor: float = 0.85
    """Share of the scaled step length."""
    feet_ahead: float = -0.015
    """Middle of the feet ahead of the hips, on average [m]."""
    lean: float = 0.14
    """Forward pitch of the trunk [rad]: lets the thigh reach behind the hip's 5 degree stop."""
    lowpass_hz: float = 7.0
    """Cut-off of the zero-phase low-pass over the motion, in the robot's time [Hz]."""
    clearance_share: float = 0.5
    """Share of the scaled rise of the swinging foot's ankle that the robot's sole is lifted."""
    foot_pitch_share: float = 0.35
    """Share of the human foot's pitch that the robot's foot makes; 0 keeps the soles level."""
    feet_apart: float = 0.105
    """Least lateral distance between the soles' middles [m]."""
    margin: float = 0.03
    """Distance that joints keep from their stops [rad]."""
    max_clamped: float = 0.05
    """Largest share of frames in which a joint may have to be moved off a stop."""

    def __post_init__(self) -> None:
        allowed = {
            "fps": (5.0 <= self.fps <= 1000.0, "5 to 1000"),
            "leg_factor": (0.5 <= self.leg_factor <= 1.0, "0.5 to 1"),
            "stride_factor": (0.1 <= self.stride_factor <= 1.2, "0.1 to 1.2"),
            "feet_ahead": (abs(self.feet_ahead) <= 0.1, "-0.1 to 0.1 m"),
            "lean": (abs(self.lean) <= 0.5, "-0.5 to 0.5 rad"),
            "lowpass_hz": (1.0 <= self.lowpass_hz <= 30.0, "1 to 30 Hz"),
            "clearance_share": (0.05 <= self.clearance_share <= 1.0, "0.05 to 1"),
            "foot_pitch_share": (0.0 <= self.foot_pitch_share <= 1.0, "0 to 1"),
            "feet_apart": (0.0 <= self.feet_apart <= 0.3, "0 to 0.3 m"),
            "margin": (0.0 <= self.margin <= 0.2, "0 to 0.2 rad"),
            "max_clamped": (0.0 <= self.max_clamped <= 1.0, "0 to 1"),
        }
        for name, (good, words) in allowed.items():
            if not good:
                raise ClipError(f"retarget.{name} is {getattr(self, name)}; allowed: {words}")


@dataclass(frozen=True)
class RetargetReport:
    """What retargeting had to give up."""

    human_speed: float
    """Of the captured hips [m/s]."""
    robot_speed: float
    """Of the clip [m/s]."""
    clamped: dict[str, float]
    """Joint -> share of frames in which it was moved off a stop."""
    out_of_reach: float
    """Share of frames in which an ankle could not get where it should."""
    pitch_given_up: float
    """Share of frames in which an ankle's stop changed the pitch of its foot."""


def retarget_asf_amc(
    asf: Path | str, amc: Path | str, robot: RobotSpec, config: RetargetConfig | None = None
) -> Clip:
    """The walk in an AMC file as a clip of the robot, along +x from the origin.

    Raises:
        ClipError: a file cannot be used, or too many frames are beyond the robot.
    """
    return retarget_with_report(asf, amc, robot, config)[0]


def retarget_with_report(
    asf: Path | str, amc: Path | str, robot: RobotSpec, config: RetargetConfig | None = None
) -> tuple[Clip, RetargetReport]:
    """As `retarget_asf_amc`, and what had to be given up."""
    asf, amc = Path(asf), Path(amc)
    for path in (asf, amc):
        if not path.is_file():
            raise ClipError(f"{path}: no such file")
    motion = read_motion(amc, read_skeleton(asf))
    try:
        return _retarget(motion, amc.stem, robot, config or RetargetConfig())
    except ClipError as error:
        raise ClipError(f"{amc}: {error}") from None


def _retarget(
    motion: CapturedMotion, name: str, robot: RobotSpec, config: RetargetConfig
) -> tuple[Clip, RetargetReport]:
    legs = Legs(robot)
    needed = [f"{s}{bone}" for s in "lr" for bone in ("hipjoint", "femur", "tibia", "foot")]
    missing = [bone for bone in needed if bone not in motion.tips]
    if missing:
        raise ClipError(f"the skeleton has no bone {', '.join(missing)}")
    if len(motion.root_pos) < 30:
        raise ClipError(f"{len(motion.root_pos)} frames; a walk to retarget needs 30 or more")
    tips = _facing_x({bone: motion.tips[bone] @ _TO_Z_UP.T for bone in needed})
    human_leg = float(
        np.linalg.norm(tips["lfemur"][0] - tips["lhipjoint"][0])
        + np.linalg.norm(tips["ltibia"][0] - tips["lfemur"][0])
    )
    scale = legs.reach / human_leg
    fps = motion.fps / math.sqrt(scale)
    smooth = _LowPass(config.lowpass_hz, fps)

    along = scale * config.leg_factor * config.stride_factor
    hips = smooth((tips["lhipjoint"] + tips["rhipjoint"]) / 2.0)
    start = hips[0, :2].copy()
    feet, ground = [], []
    for letter in "lr":
        toes, ankle = smooth(tips[f"{letter}foot"]), smooth(tips[f"{letter}tibia"])
        sole = np.empty_like(toes)
        sole[:, 0] = along * (toes[:, 0] - start[0])
        sole[:, 1] = scale * (toes[:, 1] - start[1])
        sole[:, 2] = (
            config.clearance_share * scale * smooth(_clearance(toes[:, 2], ankle[:, 2], motion.fps))
        )
        pitch = config.foot_pitch_share * smooth(_foot_pitch(tips, letter))
        feet.append(FootPath(sole, pitch))
        ground.append(_floor(ankle[:, 2], motion.fps))
    root_pos = np.empty_like(hips)
    root_pos[:, 0] = along * (hips[:, 0] - start[0])
    root_pos[:, 1] = scale * (hips[:, 1] - start[1])
    # Hip-pitch axes at the scaled height of the human hips over the resting ankle.
    root_pos[:, 2] = scale * config.leg_factor * (hips[:, 2] - np.mean(ground, axis=0))
    root_pos[:, 2] += robot.leg.ankle_height - math.cos(config.lean) * legs.hip[2]
    _under_the_hips(feet, root_pos, config, legs)
    quat = rotations.quat_from_euler(np.zeros(()), np.array(config.lean), np.zeros(()))
    posing = pose(
        legs, root_pos, np.tile(quat, (len(hips), 1)), (feet[0], feet[1]), fps, config.margin
    )
    joint_pos, clamped = _off_the_stops(posing.clip.joint_pos, legs, config.margin)
    out_of_reach = float(posing.out_of_reach.mean())
    if max(*clamped.values(), out_of_reach) > config.max_clamped:
        beyond = [f"{joint} {share:.0%}" for joint, share in clamped.items() if share > 0.0]
        raise ClipError(
            f"beyond the robot in too many frames ({', '.join(beyond) or 'none'} on a stop, "
            f"{out_of_reach:.0%} out of reach; allowed {config.max_clamped:.0%}): lower "
            "stride_factor or leg_factor, or raise lean"
        )
    source = f"CMU {name}, retargeted (leg x{config.leg_factor}, stride x{config.stride_factor})"
    clip = replace(posing.clip, name=name, joint_pos=joint_pos, source=source).resample(config.fps)
    duration = (len(hips) - 1) / motion.fps
    return clip, RetargetReport(
        human_speed=float(np.linalg.norm(hips[-1, :2] - hips[0, :2]) / duration),
        robot_speed=clip.mean_speed,
        clamped=clamped,
        out_of_reach=out_of_reach,
        pitch_given_up=float((posing.pitch_given_up > 1e-6).any(0).mean()),
    )


class _LowPass:
    """Zero-phase Butterworth low-pass along the first axis (second order, forth and back)."""

    def __init__(self, cutoff_hz: float, fps: float) -> None:
        self.sections = butter(2, cutoff_hz, fs=fps, output="sos")

    def __call__(self, series: Array) -> Array:
        return np.asarray(sosfiltfilt(self.sections, series, axis=0))


def _facing_x(tips: dict[str, Array]) -> dict[str, Array]:
    """All points turned about the vertical so that the hips travel along +x."""
    middle = (tips["lhipjoint"] + tips["rhipjoint"]) / 2.0
    travel = middle[-1, :2] - middle[0, :2]
    if np.linalg.norm(travel) < 0.3:
        raise ClipError(
            f"the hips travel {np.linalg.norm(travel):.2f} m; only straight walks are retargeted"
        )
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

    The toes' own height would do, but is 2 cm in mid-swing, and the scaled robot would stumble.
    """
    toes_up, ankle_up = toes - _floor(toes, fps), ankle - _floor(ankle, fps)
    share = np.clip((toes_up - _TOES_REST) / (_TOES_SWING - _TOES_REST), 0.0, 1.0)
    return ankle_up * share * share * (3.0 - 2.0 * share)


def _floor(height: Array, fps: float) -> Array:
    """Height at rest (N,) [m], stance by stance: captured floors are level within 2 cm only."""
    window = round(_STRIDE_S * fps)
    lowest = minimum_filter1d(height, window, mode="nearest")
    return uniform_filter1d(lowest, window, mode="nearest")


def _under_the_hips(
    feet: list[FootPath], root_pos: Array, config: RetargetConfig, legs: Legs
) -> None:
    """Move the feet as a whole: sideways under their hips, and along so that they are centred.

    Toes are ahead of ankles and turn out, people's feet stand closer than their hips: constant
    offsets, which the robot does not share. Where the feet still come closer to each other than
    `feet_apart`, both give way alike.
    """
    hips_x = math.sin(config.lean) * legs.hip[2]
    both = (feet[0].sole[:, 0] + feet[1].sole[:, 0]) / 2.0
    offset = float(np.mean(both - root_pos[:, 0])) - hips_x - config.feet_ahead
    for side, foot in enumerate(feet):
        foot.sole[:, 0] -= offset
        wanted = legs.robot.leg.leg_y if side == 0 else -legs.robot.leg.leg_y
        foot.sole[:, 1] += wanted - float(np.mean(foot.sole[:, 1] - root_pos[:, 1]))
    lack = config.feet_apart - (feet[0].sole[:, 1] - feet[1].sole[:, 1])
    feet[0].sole[:, 1] += np.maximum(lack, 0.0) / 2.0
    feet[1].sole[:, 1] -= np.maximum(lack, 0.0) / 2.0


def _off_the_stops(joint_pos: Array, legs: Legs, margin: float) -> tuple[Array, dict[str, float]]:
    """Joints kept `margin` off their stops, and per joint the share of frames that needed it."""
    limits = legs.robot.joint_range.cpu().double().numpy()
    kept = np.clip(joint_pos, limits[:, 0] + margin, limits[:, 1] - margin)
    moved = (kept != joint_pos).mean(0)
    return kept, dict(zip(legs.robot.joint_names, moved.tolist(), strict=True))

"""Human walking for legs of any kind: space by the leg, time by the Froude number, feet that stand.

The trunk heads where the person does, slowly; legs without a yaw joint get straight walks only.
Feet rest where the person's toes rest and stay there. What the robot's stops and servos do not
allow is taken back by lean, hip height, width and stride, as little as they need (`fitting`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from envs.robot.spec import SIDES, RobotSpec
from envs.settings import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, check
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.kinematics import legs_of, sole_corners
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.read.skeleton import SkeletonMotion
from wildrobot_torch.motion.repair import stances
from wildrobot_torch.motion.repair.fitting import fitted
from wildrobot_torch.motion.repair.planting import planted_path
from wildrobot_torch.motion.repair.stances import ClipParts
from wildrobot_torch.motion.rotations import Array, Flags
from wildrobot_torch.motion.series import low_pass, runs, smoothstep
from wildrobot_torch.motion.synthesis.walk import standing_clip

FPS = 50.0
"""Frames per second of the robot's clip [1/s]."""
_HUMAN_LEG = 0.82
"""Hip over knee to ankle of the person whose lengths and speeds below are [m]."""
_TOES_STILL, _TOES_LOW = 0.35, 0.03
"""Toes slower than this over the floor [m/s], and lower than this over their rest [m], stand."""
_HEADING_HZ = 0.5
"""Cut-off for the direction that the person faces [Hz]: what is faster is the pelvis' swing."""
_TURNS = 0.5
"""Largest change of heading that is taken out for legs that cannot turn [rad]."""
_LOWPASS_HZ = 6.0
"""Cut-off of the zero-phase low-pass over the person's motion [Hz]."""
_LEAST_STRIDE, _LEAST_PACE, _NEAR = 0.5, 0.5, 0.06
"""Smallest stride and pace that are tried, as shares of the scaled ones; how near the search comes
to the least that has to be taken back."""
_MAX_LOWERING = 0.03
"""Most that the hips are lowered, in leg lengths."""
_MAX_STOPPED = 0.05
"""Largest share of frames on a stop or out of reach."""
_LIFT, _MOST_LIFT = 0.5, 0.15
"""Lift of the swinging sole as a share of the ankle's scaled one; most of it, in leg lengths."""
_LIFTING = 0.35
"""Share of a swing, at each end, in which the foot rises and comes down."""
_LEAST_FRAMES = 30


@dataclass(frozen=True, kw_only=True)
class FigureConfig:
    """How a person's walk becomes a robot's. None is found from the robot and the motion."""

    stride: PositiveFloat | None = None
    """Step length as a share of the scaled one; None for the most that stops and servos allow."""
    pace: PositiveFloat | None = None
    """Speed of time as a share of that with the person's Froude number; None for the most."""
    lean: float | None = None
    """Forward pitch of the trunk [rad]; None for that of home, and more where hips need it."""
    width: PositiveFloat | None = None
    """Distance of the soles' middles sideways, on average [m]; None for that of the hips, or more
    where the soles would touch."""
    clearance: NonNegativeFloat = 0.06
    """Least lift of a swinging sole, in leg lengths."""
    foot_pitch: ClosedUnitInterval = 0.35
    """Pitch of the swinging foot as a share of the person's."""
    gap: NonNegativeFloat = 0.04
    """Least room between the soles, in leg lengths."""
    margin: NonNegativeFloat = 0.03
    """Distance that joints keep from their stops [rad]."""
    max_lean: NonNegativeFloat = 0.2
    """Most lean that is added where hips need it [rad]."""

    def __post_init__(self) -> None:
        check(self)


def retarget_figure(
    motion: SkeletonMotion, robot: RobotSpec, config: FigureConfig | None = None
) -> Clip:
    """The walk of a captured figure as a clip of the robot, from the origin, first facing +x.

    Raises:
        ClipError: the motion is too short, turns where the robot cannot, or too many frames are
            beyond the robot.
    """
    config, legs = config or FigureConfig(), legs_of(robot)
    if motion.num_frames < _LEAST_FRAMES:
        raise ClipError(f"{motion.num_frames} frames; a walk to retarget needs {_LEAST_FRAMES}")
    walk = _Walk.of(_thinned(motion, legs), legs)
    tried = _tried(walk, legs, 0.0, config)
    if tried.trouble and None in (config.stride, config.pace):
        # As little as possible is taken back of stride and pace, by bisection.
        low, high = 0.0, 1.0
        tried = least = _tried(walk, legs, high, config)
        while not least.trouble and high - low > _NEAR:
            middle = (low + high) / 2.0
            new = _tried(walk, legs, middle, config)
            low, high = (middle, high) if new.trouble else (low, middle)
            tried = tried if new.trouble else new
    if tried.trouble:
        how = f"stride x{tried.stride:.2f} and pace x{tried.pace:.2f}"
        raise ClipError(f"beyond the robot even at {how}: {tried.trouble}")
    clip, lean = tried.clip, tried.lean
    clip = replace(
        clip,
        name=motion.name,
        root_pos=clip.root_pos - clip.root_pos[0] * [1.0, 1.0, 0.0],
        source=(
            f"{motion.source}, retargeted (stride x{tried.stride:.2f}, pace x{tried.pace:.2f}, "
            f"lean {lean:+.2f} rad)"
        ),
    ).resample(FPS)
    lowest = float(np.quantile(sole_corners(legs, clip)[..., 2].min((1, 2)), 0.1))
    return replace(clip, root_pos=clip.root_pos - [0.0, 0.0, lowest])


class _Tried(NamedTuple):
    """A clip at shares of scaled stride and pace, the lean it took, and what is wrong with it."""

    clip: Clip
    stride: float
    pace: float
    lean: float
    trouble: str


def _tried(walk: _Walk, legs: Legs, back: float, config: FigureConfig) -> _Tried:
    """The walk with so much of stride and pace taken back: 0 nothing, 1 the most."""
    stride = config.stride or 1.0 - back * (1.0 - _LEAST_STRIDE)
    pace = config.pace or 1.0 - back * (1.0 - _LEAST_PACE)
    parts, fps = walk.parts(legs, stride, config)
    fps *= pace
    robot = legs.robot
    most_lean = config.max_lean if config.lean is None else 0.0
    most_lower = _MAX_LOWERING * robot.leg.leg_length
    # Lower hips help legs that are too short, and are no help to slow servos.
    for lowering in (0.0, most_lower):
        clip, fit, _, stopped = fitted(parts, legs, fps, config.margin, most_lean, lowering)
        if stopped <= _MAX_STOPPED:
            break
    speed = np.abs(np.diff(clip.joint_pos, axis=0)).max(0) * fps
    over = speed / robot.joint_max_velocity.cpu().double().numpy()
    trouble = ""
    if stopped > _MAX_STOPPED:
        trouble = f"{stopped:.0%} of frames on a stop or out of reach"
    elif over.max() > 1.0:
        name = robot.joint_names[int(over.argmax())]
        trouble = f"{name} at {over.max():.2f} of its servo's speed"
    return _Tried(clip, stride * fit.stride, pace, fit.lean, trouble)


def _thinned(motion: SkeletonMotion, legs: Legs) -> SkeletonMotion:
    """The motion at the least whole part of its rate that is enough for the robot's clip."""
    leg = legs.robot.leg
    fps = motion.fps / math.sqrt((leg.thigh + leg.shank) / motion.leg_length)
    every = max(int(fps / (2.0 * FPS)), 1)
    if every == 1:
        return motion
    # The low-pass of the walk comes later, so that it has to be done here first.
    kept = {
        role: low_pass(points, 0.4 * motion.fps / every, motion.fps)[::every]
        for role, points in motion.positions.items()
    }
    return replace(motion, fps=motion.fps / every, positions=kept, rotations={})


def contacts(motion: SkeletonMotion) -> Flags:
    """Whether the toes of each foot rest on the floor, (2, N).

    They hardly move over it, and are as low as where they rest.
    """
    size = motion.leg_length / _HUMAN_LEG
    rests = []
    for side in SIDES:
        toes = motion.positions[f"{side}_toe"]
        speed = np.linalg.norm(np.gradient(toes[:, :2], axis=0), axis=1) * motion.fps
        low = toes[:, 2] - _rest(toes[:, 2], motion.fps, size) < _TOES_LOW * size
        rests.append(low & (speed < _TOES_STILL * math.sqrt(size)))
    # Short flickers are chatter of the thresholds.
    shortest = max(round(0.1 * motion.fps), 1)
    result = np.stack(rests)
    for foot in result:
        for kind in (False, True):
            for start, stop in runs(foot == kind):
                if stop - start < shortest and start > 0 and stop < len(foot):
                    foot[start:stop] = not kind
    return result


def _rest(height: Array, fps: float, size: float) -> Array:
    """Height at rest (N,) [m], over a stride: captured floors are not quite level."""
    return stances.floors(height[None], fps, size * _HUMAN_LEG / 0.4)[0]


@dataclass(frozen=True)
class _Walk:
    """What is taken of a person's motion, at the person's size and rate; N frames."""

    fps: float
    leg: float
    heading: Array
    """(N,) [rad], from 0 on."""
    hips: Array
    """(N, 3) [m]."""
    feet: Array
    """(2, N, 3) [m]: toes over the floor; z is the lift of the ankle, 0 where the toes rest."""
    yaw: Array
    """(2, N) [rad]: toes out of the heading, steady while they rest."""
    pitch: Array
    """(2, N) [rad]: slope of the foot against its rest, > 0 toes down."""
    stands: Flags
    """(2, N)."""

    @classmethod
    def of(cls, motion: SkeletonMotion, legs: Legs) -> _Walk:
        """The walk, turned to face +x at its start."""
        size = motion.leg_length / _HUMAN_LEG
        heading = _slow(motion.heading(), _HEADING_HZ / math.sqrt(size), motion.fps)
        motion = motion.turned(-float(heading[0]))
        heading = heading - heading[0]
        stands = contacts(motion)

        def smooth(series: Array) -> Array:
            return low_pass(series, _LOWPASS_HZ / math.sqrt(size), motion.fps)

        hips = smooth((motion.positions["left_hip"] + motion.positions["right_hip"]) / 2.0)
        feet, yaw, pitch = [], [], []
        for side, foot in zip(SIDES, stands, strict=True):
            toes, ankle = (smooth(motion.positions[f"{side}_{part}"]) for part in ("toe", "ankle"))
            bone = toes - ankle
            slope = np.arctan2(-bone[:, 2], np.hypot(bone[:, 0], bone[:, 1]))
            pitch.append(slope - float(np.median(slope[foot] if foot.any() else slope)))
            out = np.arctan2(bone[:, 1], bone[:, 0]) - heading
            out = np.unwrap(out) - 2.0 * np.pi * round(float(np.median(out)) / (2.0 * np.pi))
            yaw.append(_held(out, foot))
            rise = ankle[:, 2] - _rest(ankle[:, 2], motion.fps, size)
            lift = np.maximum(rise, 0.0) * _airborne(foot)
            feet.append(np.column_stack([toes[:, :2], lift]))
        walk = cls(
            motion.fps, motion.leg_length, heading, hips, np.stack(feet), np.stack(yaw),
            np.stack(pitch), stands,
        )  # fmt: skip
        return walk if legs.turns else walk.straightened()

    def straightened(self) -> _Walk:
        """The walk along +x, its path turned step by step.

        Raises:
            ClipError: it turns too far for that.
        """
        bend = float(np.ptp(self.heading))
        if bend > _TURNS:
            raise ClipError(
                f"the walk turns by {math.degrees(bend):.0f} deg and the legs have no yaw joint; "
                f"allowed: up to {math.degrees(_TURNS):.0f} deg, or cut the turn out"
            )
        back = rotations.yaw_quat(-self.heading)
        way = rotations.quat_rotate(back[1:], np.diff(self.hips, axis=0))
        hips = self.hips.copy()
        hips[1:, :2] = hips[0, :2] + np.cumsum(way[:, :2], axis=0)
        apart = rotations.quat_rotate(back, (self.feet - self.hips) * [1.0, 1.0, 0.0])
        feet = np.concatenate([(hips + apart)[..., :2], self.feet[..., 2:]], -1)
        return replace(self, heading=np.zeros_like(self.heading), hips=hips, feet=feet)

    def parts(self, legs: Legs, stride: float, config: FigureConfig) -> tuple[ClipParts, float]:
        """Trunk and soles of the robot at a share of the scaled step length, and their rate."""
        robot, leg = legs.robot, legs.robot.leg
        scale = (leg.thigh + leg.shank) / self.leg
        fps = self.fps / math.sqrt(scale * 9.81 / robot.gravity)
        turn, back = rotations.yaw_quat(self.heading), rotations.yaw_quat(-self.heading)
        home = standing_clip(robot, 0.1, FPS)
        hip = legs.hip * [1.0, 0.0, 1.0]
        home_hip = home.root_pos[0] + rotations.quat_rotate(home.root_quat[0], hip)
        hips = scale * self.hips
        hips[:, :2] *= stride
        # As high as at home, and no straighter: home stands, and its servos can hold it.
        hips[:, 2] += home_hip[2] - float(np.quantile(hips[:, 2], 0.9))
        feet = scale * self.feet
        feet[..., :2] *= stride
        feet[..., 2] = np.minimum(_LIFT * feet[..., 2], _MOST_LIFT * leg.leg_length)
        # Constant offsets, in the walker's frame: feet under the hips, and under the weight.
        apart = rotations.quat_rotate(back, (feet - hips) * [1.0, 1.0, 0.0])
        least = leg.sole_width + config.gap * leg.leg_length
        width = max(2.0 * leg.leg_y, least) if config.width is None else config.width
        ahead = float(apart[..., 0].mean())
        for side, outwards in ((0, 1.0), (1, -1.0)):
            apart[side, :, 0] += legs.balance - ahead
            apart[side, :, 1] += outwards * width / 2.0 - float(apart[side, :, 1].mean())
        lack = np.maximum(least - (apart[0, :, 1] - apart[1, :, 1]), 0.0)
        apart[0, :, 1] += lack / 2.0
        apart[1, :, 1] -= lack / 2.0
        soles = hips * [1.0, 1.0, 0.0] + rotations.quat_rotate(turn, apart)
        soles[..., 2] = feet[..., 2]
        lift = config.clearance * leg.leg_length
        soles = np.stack(
            [
                planted_path(sole, runs(foot), fps / robot.speed_scale, lift)
                for sole, foot in zip(soles, self.stands, strict=True)
            ]
        )
        pitch = np.array(
            rotations.euler(home.root_quat[:1])[0, 1] + (config.lean or 0.0)
        ) * np.ones(len(hips))
        zero = np.zeros(len(hips))
        tilt = np.stack([zero, pitch, zero], -1)
        parts = ClipParts(
            heading=self.heading,
            hips=hips,
            tilt=tilt,
            feet=rotations.quat_rotate(back, soles - hips),
            pitch=np.stack([config.foot_pitch * p * _airborne(s) for p, s in
                            zip(self.pitch, self.stands, strict=True)]),
            yaw=self._toes() if legs.turns else None,
            scale=robot.scale,
        )  # fmt: skip
        return parts, fps

    def _toes(self) -> Array:
        """(2, N) [rad]: headings of the feet against the trunk, constant in the world in stance."""
        world = self.heading + np.clip(self.yaw, -0.3, 0.3)
        held = np.stack([_held(w, s) for w, s in zip(world, self.stands, strict=True)])
        return held - self.heading


def _held(series: Array, foot: Flags) -> Array:
    """A series (N,) that is constant while the foot stands, and passes on in the swings."""
    spans = runs(foot)
    if not spans:
        return np.full_like(series, float(np.median(series)))
    frames = [frame for start, stop in spans for frame in (start, stop - 1)]
    values = [float(np.median(series[start:stop])) for start, stop in spans for _ in range(2)]
    return np.interp(np.arange(len(series)), frames, values)


def _airborne(foot: Flags) -> Array:
    """(N,) from 0 while the foot stands, and at the ends of a swing, to 1 in its middle."""
    share = np.zeros(len(foot))
    for start, stop in runs(~foot):
        frames = np.arange(start, stop)
        left = np.inf if start == 0 else frames - start + 1.0
        right = np.inf if stop == len(foot) else stop - frames
        near = np.minimum(left, right) * np.ones(stop - start)
        share[start:stop] = smoothstep(near / (_LIFTING * (stop - start + 1)))
    return share


def _slow(heading: Array, cutoff_hz: float, fps: float) -> Array:
    """Heading (N,) [rad] without the pelvis' swing; a straight line where the motion is short."""
    if len(heading) / fps >= 1.5 / cutoff_hz:
        return low_pass(heading, cutoff_hz, fps)
    time = np.arange(len(heading), dtype=np.float64)
    return np.asarray(np.polyval(np.polyfit(time, heading, 1), time), dtype=np.float64)

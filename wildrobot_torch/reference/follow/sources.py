"""Clips for the tracking policy: built-in walks, clips from files after repair, and their loops.

Speeds are those of a robot of the WildRobot's size; another has them at the same Froude numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from envs.errors import UserError
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from envs.settings import NonNegativeFloat, PositiveFloat, check
from wildrobot_torch.motion.augment import loop_clip, time_warp
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.kinematics import legs_of
from wildrobot_torch.motion.repair.planting import PlantingConfig, balance, plant
from wildrobot_torch.motion.repair.repair import RepairConfig, repair
from wildrobot_torch.motion.repair.stances import slow_heading
from wildrobot_torch.motion.synthesis.walk import WalkConfig, standing_clip, walking_clip

LOOP_SPEED = 0.65
"""Faster loops are slowed down to this [m/s]."""
BEND_SPEEDS = (0.15, 0.25)
"""Speeds of walks that turn or step aside [m/s]."""
TURNS = 0.35
"""Change of heading from which a clip turns [rad]."""
TURN_RATE, SIDE_SPEED = 0.5, 0.06
"""Yaw rate [rad/s] and sideways speed [m/s] of those."""


_tracked_walk = partial(WalkConfig, double_share=0.3, clearance=0.027, crouch=0.025, margin=0.03)
"""The walk in balance without support: its zero-moment point stays on the soles."""


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """The clips that the tracking policy follows."""

    speeds: tuple[NonNegativeFloat, ...] = (
        0.0, 0.1, 0.12, 0.15, 0.17, 0.2, 0.22, 0.25, 0.27, 0.3, 0.35, 0.4, 0.45, 0.5,
    )  # fmt: skip
    """Speeds of the built-in clips [m/s]; 0 stands. Faster walks need more torque than the servos
    have."""
    from_rest: tuple[PositiveFloat, ...] = (0.1, 0.2, 0.3, 0.35)
    """Speeds of the built-in walks that begin and end standing [m/s]."""
    duration_s: PositiveFloat = 8.0
    """Length of each built-in clip [s]."""
    walk: WalkConfig = field(default_factory=_tracked_walk)
    """Shape of the built-in clips' walk."""
    repair: RepairConfig = field(default_factory=RepairConfig)
    """How faults of clips from files are mended."""
    planting: PlantingConfig = field(default_factory=PlantingConfig)
    """How clips from files are made to balance."""
    loop_s: NonNegativeFloat = 8.0
    """Length of the loop that is made of every clip from a file and followed as well [s]; 0 makes
    none."""

    def __post_init__(self) -> None:
        check(self)
        if not self.speeds:
            raise UserError("tracked.speeds is empty; allowed: one speed or more")
        for name in ("speeds", "from_rest"):
            values = getattr(self, name)
            if len({round(speed, 2) for speed in values}) < len(values):
                raise UserError(
                    f"tracked.{name} is {values}; allowed: speeds that differ in their first two "
                    "decimals, by which clips are named"
                )


def tracked_walks(
    robot_model: RobotModel, config: SourceConfig, progress: Callable[[str], None] = print
) -> list[Clip]:
    """Built-in clips that a robot can do by itself: standing, walking, walking off and stopping.

    Legs without a closed form get no tuned shape: their walks are moved over the feet, and those
    that the legs cannot do are left out, which `progress` is told. With a yaw joint they turn as
    well, with an ankle roll they step aside.
    """
    robot, legs = robot_model.robot, legs_of(robot_model.robot)
    pace, walk = robot.speed_scale, partial(walking_clip, robot, config=config.walk)
    clips, too_much = [], []

    def made(speed: float, **shape: Any) -> None:
        if speed == 0.0:
            clips.append(standing_clip(robot, config.duration_s))
            return
        if legs.exact:
            clip = walk(speed * pace, config.duration_s, **shape)
        else:
            try:
                clip = walk(speed * pace, config.duration_s, **shape)
            except ClipError as error:
                too_much.append(str(error))
                return
            clip = balance(clip, robot_model, config.planting)
        rests = "start_standing" in shape
        clips.append(replace(clip, name=f"{clip.name}_from_rest") if rests else clip)

    for speed in config.speeds:
        made(speed)
    for speed in config.from_rest:
        made(speed, start_standing=True, end_standing=True)
    for speed in BEND_SPEEDS:
        if legs.turns:
            made(speed, yaw_rate=TURN_RATE)
        if legs.rolls:
            made(speed, lateral=SIDE_SPEED * pace)
    for error in too_much:
        progress(f"left out: {error}")
    return clips


@dataclass(frozen=True)
class Prepared:
    """Clips ready to be followed, and what was done to them."""

    clips: list[Clip]
    originals: dict[str, Clip]
    """Clips as they were loaded, by name; at the rate of those that are followed."""
    notes: list[str]
    """A line per repair, per loop that cannot be made, and per clip that cannot be followed."""


def prepared(
    clips: Sequence[Clip], robot_model: RobotModel, fps: float, config: SourceConfig
) -> Prepared:
    """Clips from files at the control rate `fps` [1/s], repaired and planted, each with its loop.

    A clip that cannot be mended is left out, and a note says why.
    """
    robot = robot_model.robot
    result = Prepared([], {}, [])
    for clip in clips:
        try:
            mended, changes = _mended(clip, robot, fps, config.repair)
            once = _stood(mended, robot_model, config.planting)
        except ClipError as error:
            result.notes.append(f"left out: {error}")
            continue
        result.notes.extend(f"{clip.name}: {change}" for change in changes)
        result.clips.append(once)
        result.originals[once.name] = clip.resample(fps)
        try:
            if config.loop_s > 0.0:
                loop = _loop(mended, robot, config)
                result.clips.append(_stood(loop, robot_model, config.planting))
        except ClipError as error:
            result.notes.append(f"no loop: {error}")
    return result


def _stood(clip: Clip, robot_model: RobotModel, config: PlantingConfig) -> Clip:
    """The clip planted; where it turns, with feet that stand already, moved over them only."""
    robot = robot_model.robot
    turns = legs_of(robot).turns and float(np.ptp(slow_heading(clip, robot.scale))) > TURNS
    return balance(clip, robot_model, config) if turns else plant(clip, robot_model, config)


def _mended(
    clip: Clip, robot: RobotSpec, fps: float, config: RepairConfig
) -> tuple[Clip, tuple[str, ...]]:
    """The clip repaired, and what was done; as it was where only feet slide or joints stop.

    These planting mends as well, and changes the motion less: fast captured walks that were
    repaired first fell when they were tracked.
    """
    repaired = repair(clip, robot, config, fps)
    slight = ("feet:", "stops:", "rate:")
    if all(change.startswith(slight) for change in repaired.changes):
        return clip.resample(fps), ()
    return repaired.clip, repaired.changes


def _loop(clip: Clip, robot: RobotSpec, config: SourceConfig) -> Clip:
    fastest = LOOP_SPEED * robot.speed_scale
    if clip.mean_speed > fastest:
        clip = time_warp(clip, max(0.5, round(fastest / clip.mean_speed, 2)))
    return loop_clip(clip, robot, config.loop_s)

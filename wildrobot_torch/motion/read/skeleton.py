"""The motion of a captured figure, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from envs.robot.spec import SIDES
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import MAX_FPS, MIN_FPS, ClipError
from wildrobot_torch.motion.rotations import Array

LEG_ROLES = tuple(f"{side}_{part}" for side in SIDES for part in ("hip", "knee", "ankle", "toe"))
ARM_ROLES = tuple(f"{side}_{part}" for side in SIDES for part in ("shoulder", "elbow", "wrist"))
NEEDED_ROLES = ("pelvis", *LEG_ROLES)
"""What every figure has. The toe is the joint or point after the ankle: the ball of the foot."""
ROLES = (*NEEDED_ROLES, "spine", "neck", "head", *ARM_ROLES)
"""All parts of a body that have a name here."""


@dataclass(frozen=True)
class SkeletonMotion:
    """Joint centres and orientations of a captured figure; z up, right-handed, metres, seconds.

    Raises:
        ClipError: a role is missing, a shape, rate or value is none that a motion has.
    """

    name: str
    fps: float
    """Frames per second [1/s]."""
    source: str
    """Kind of the file and where the motion came from."""
    joints: dict[str, str]
    """Role -> name in the file."""
    positions: dict[str, Array]
    """Role -> centre of the joint (N, 3) [m] in the world."""
    rotations: dict[str, Array]
    """Role -> orientation (N, 4) wxyz to the world of the segment beyond the joint (of the knee:
    the shank), where the file has one. In the file's rest pose a segment is level: x ahead, y
    left, z up."""
    notes: tuple[str, ...] = ()
    """What was detected, a line each: unit, up axis, handedness, roles."""

    def __post_init__(self) -> None:
        if missing := [role for role in NEEDED_ROLES if role not in self.positions]:
            raise self._error(f"the figure has no {', '.join(missing)}")
        if unknown := [role for role in self.positions if role not in ROLES]:
            raise self._error(f"{unknown[0]!r} is no role; allowed: {', '.join(ROLES)}")
        if not MIN_FPS <= self.fps <= MAX_FPS:
            raise self._error(f"fps is {self.fps:g}; allowed: {MIN_FPS:g} to {MAX_FPS:g}")
        count = len(self.positions["pelvis"])
        if count < 2:
            raise self._error(f"{count} frame(s); allowed: 2 or more")
        for arrays, width in ((self.positions, 3), (self.rotations, 4)):
            for role, array in arrays.items():
                if array.shape != (count, width):
                    raise self._error(f"{role} has shape {array.shape}, not {(count, width)}")
                if not np.isfinite(array).all():
                    frame = int(np.argwhere(~np.isfinite(array))[0, 0])
                    raise self._error(f"{role} is not finite in frame {frame}; allowed: numbers")

    def _error(self, text: str) -> ClipError:
        return ClipError(f"{self.name}: {text}")

    @property
    def num_frames(self) -> int:
        """N."""
        return len(self.positions["pelvis"])

    @property
    def duration_s(self) -> float:
        """Time from the first to the last frame [s]."""
        return (self.num_frames - 1) / self.fps

    @property
    def leg_length(self) -> float:
        """Hip over knee to ankle, mean of frames and sides [m]."""
        at = self.positions
        lengths = [
            np.linalg.norm(at[f"{side}_{upper}"] - at[f"{side}_{lower}"], axis=1).mean()
            for side in SIDES
            for upper, lower in (("hip", "knee"), ("knee", "ankle"))
        ]
        return float(sum(lengths)) / len(SIDES)

    def heading(self) -> Array:
        """Direction the hips face (N,) [rad], 0 along +x, unwrapped."""
        left = self.positions["left_hip"] - self.positions["right_hip"]
        return np.unwrap(np.arctan2(-left[:, 0], left[:, 1]))

    def frames(self, start: int, stop: int) -> SkeletonMotion:
        """Frames `start` to `stop` (exclusive) as a motion of their own."""
        return replace(
            self,
            positions={role: array[start:stop] for role, array in self.positions.items()},
            rotations={role: array[start:stop] for role, array in self.rotations.items()},
        )

    def turned(self, angle: float) -> SkeletonMotion:
        """The same motion turned by `angle` [rad] about the vertical through the origin."""
        quat = rotations.yaw_quat(angle)
        return replace(
            self,
            positions={r: rotations.quat_rotate(quat, p) for r, p in self.positions.items()},
            rotations={r: rotations.quat_multiply(quat, q) for r, q in self.rotations.items()},
        )

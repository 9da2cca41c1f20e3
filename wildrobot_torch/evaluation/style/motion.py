"""Recorded motion in the one form that style metrics compare: a policy's, or the reference's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from envs.frames import heading_to_world, world_to_heading
from envs.layout import Layout
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.thresholds import MOVING
from wildrobot_torch.motion import gait, rotations
from wildrobot_torch.motion.kinematics import Legs
from wildrobot_torch.motion.rotations import Array
from wildrobot_torch.motion.tracking import running_mean
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.splits import family

FIELDS = ("gravity", "linvel", "angvel", "joint_pos", "joint_vel", "sole_pos")
"""Features that are compared, whatever else a layout has or a checkpoint's prior was shown.

Contacts and height are left out: both differ between floors and engines.
"""
STEADY = 0.9
"""Least share of a motion's own speed at which it walks steadily."""
POINTS = ("hip", "knee", "ankle", "toe")
"""Points of each leg whose places are compared."""


@dataclass(frozen=True)
class Motion:
    """E stretches of motion of at most T steps, each from one episode or reference segment."""

    ctrl_dt: float
    """[s]."""
    features: Tensor
    """(T, E, F): `FIELDS` of the style features."""
    points: Tensor
    """(T, E, P, 3) [m]: `POINTS` of both legs relative to the root, heading frame."""
    joint_pos: Tensor
    """(T, E, J) [rad]."""
    touchdown: Tensor
    """(T, E, 2) bool."""
    valid: Tensor
    """(T, E) bool: the step belongs to the stretch; one unbroken run each."""
    speed: Tensor
    """(E,) [m/s]: mean forward speed of the stretch's family, or the speed asked for."""
    family: tuple[str, ...]
    """E names: stretches that share a motion, and are kept together where data are divided."""

    @property
    def num_stretches(self) -> int:
        """E."""
        return self.features.shape[1]

    def select(self, families: Sequence[str]) -> Motion:
        """The stretches of some families."""
        keep = [i for i, name in enumerate(self.family) if name in families]
        return replace(
            self,
            **{
                name: getattr(self, name)[:, keep]
                for name in ("features", "points", "joint_pos", "touchdown", "valid")
            },
            speed=self.speed[keep],
            family=tuple(self.family[i] for i in keep),
        )

    def family_speeds(self) -> dict[str, float]:
        """Speed of each family [m/s], slowest first."""
        speeds = dict(zip(self.family, self.speed.tolist(), strict=True))
        return dict(sorted(speeds.items(), key=lambda item: (item[1], item[0])))

    def windows(self, frames: int) -> tuple[Tensor, Tensor]:
        """All windows (N, frames, F) that lie within a stretch, and their stretches (N,)."""
        return windows(self.features, self.valid, frames)


def windows(features: Tensor, valid: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """All windows (N, frames, F) of valid steps, and the stretches (N,) they lie in.

    Args:
        features: (T, E, F).
        valid: (T, E) bool.
        frames: length of a window.
    """
    if features.shape[0] < frames:
        return features.new_empty(0, frames, features.shape[-1]), torch.empty(0).long()
    whole = valid.unfold(0, frames, 1).all(-1)
    stretch, start = whole.T.nonzero().unbind(-1)
    steps = start[:, None] + torch.arange(frames)
    return features[steps, stretch[:, None]], stretch


def compared(layout: Layout) -> Layout:
    """Layout of `Motion.features`: the fields of `FIELDS` of the style features' layout."""
    return Layout(layout.name, tuple(f for f in layout.fields if f.name in FIELDS))


def compared_features(amp: Tensor, layout: Layout) -> Tensor:
    """The columns (..., F) of `compared(layout)` among style features (..., S) of `layout`."""
    parts = layout.unpack(amp)
    return torch.cat([parts[f.name] for f in compared(layout).fields], dim=-1)


def dimension_names(layout: Layout, robot: RobotSpec) -> tuple[str, ...]:
    """A name for each column of a layout: its field and joint, side or axis."""
    names: list[str] = []
    for field in layout.fields:
        if field.frame == "joint" and field.size == robot.num_joints:
            parts = robot.joint_names
        elif field.size == 3:
            parts = ("x", "y", "z")
        elif field.size == 6:
            parts = tuple(f"{side}_{axis}" for side in ("left", "right") for axis in "xyz")
        else:
            parts = tuple(str(i) for i in range(field.size))
        names += [f"{field.name}[{part}]" for part in parts]
    return tuple(names)


def as_motion(
    recording: Recording,
    robot: RobotSpec,
    layout: Layout,
    speed: Tensor,
    families: Sequence[str],
    settle_s: float,
) -> Motion:
    """Motion of a recording after its first `settle_s` seconds.

    Args:
        recording: E episodes.
        robot: the robot, on the CPU.
        layout: of the recording's features.
        speed: (E,) [m/s].
        families: E names.
        settle_s: [s].
    """
    standing = gait.stance(recording.loaded(robot), recording.valid, recording.ctrl_dt)
    touchdown = gait.touchdowns(standing, recording.valid)
    valid = recording.settled(settle_s)
    return Motion(
        ctrl_dt=recording.ctrl_dt,
        features=compared_features(recording.amp, layout),
        points=leg_points(recording.qpos, robot),
        joint_pos=recording.joint_pos(robot),
        touchdown=touchdown & valid[..., None],
        valid=valid,
        speed=speed,
        family=tuple(families),
    )


def leg_points(qpos: Tensor, robot: RobotSpec) -> Tensor:
    """`POINTS` of the left, then the right leg (..., 8, 3) [m], from the root, heading frame.

    Args:
        qpos: (..., nq).
        robot: the robot, on the CPU.
    """
    return _placed(qpos, robot, _points_of)


def sole_places(qpos: Tensor, robot: RobotSpec) -> Tensor:
    """Left and right sole centre under the ankle (..., 2, 3) [m], from the root, heading frame.

    What the field `sole_pos` of the style features holds, for poses that no engine has been in.
    """
    return _placed(qpos, robot, _sole_of)


def _points_of(legs: Legs, joint_pos: Array, side: int) -> list[Array]:
    leg, foot = legs.robot.leg, legs.forward(joint_pos, side)
    hip = np.broadcast_to(legs.hip * [1.0, 1.0 - 2.0 * side, 1.0], foot.ankle.shape)
    toe = foot.ankle + foot.rotation @ np.array([leg.toe, 0.0, -leg.ankle_height])
    return [hip, legs.knee(joint_pos, side), foot.ankle, toe]


def _sole_of(legs: Legs, joint_pos: Array, side: int) -> list[Array]:
    foot = legs.forward(joint_pos, side)
    return [foot.ankle + foot.rotation @ np.array([0.0, 0.0, -legs.robot.leg.ankle_height])]


def _placed(
    qpos: Tensor, robot: RobotSpec, points: Callable[[Legs, Array, int], list[Array]]
) -> Tensor:
    legs, joint_pos = Legs(robot), qpos[..., robot.joint_qpos_adr].double().numpy()
    places = np.stack([p for side in (0, 1) for p in points(legs, joint_pos, side)], -2)
    quat = qpos[..., None, 3:7].double()
    turned = torch.from_numpy(rotations.quat_rotate(quat.numpy(), places))
    return world_to_heading(turned, quat).to(qpos.dtype)


def steady_walking(speed: Tensor, width: int) -> tuple[int, int]:
    """First frame, and the one after the last, of a motion's longest part at its own walking speed.

    What it walks at is the upper quartile of the speed averaged over `width` frames; where that
    average is below `STEADY` of it, the robot stands, sets off or stops.

    Args:
        speed: (N,) forward [m/s].
        width: frames to average over: a stride or so.
    """
    mean = running_mean(speed, width)
    walks_at = float(mean.quantile(0.75))
    fast = mean >= min(STEADY * walks_at, walks_at)  # who stands may drift backwards
    edges = torch.diff(fast.int(), prepend=torch.zeros(1).int(), append=torch.zeros(1).int())
    begins, ends = (edges == 1).nonzero()[:, 0], (edges == -1).nonzero()[:, 0]
    longest = int((ends - begins).argmax())
    return int(begins[longest]), int(ends[longest])


def reference_recording(
    dataset: ReferenceDataset, robot: RobotSpec
) -> tuple[Recording, tuple[str, ...]]:
    """The steady walking of a reference's segments as a recording, and the family of each.

    How a walk begins and ends is left out, as it is of a policy's episodes; so are segments that
    stand. The command of a segment is the mean speed of its family. Torques and actions are not
    recorded in a reference and are NaN.

    Raises:
        DatasetError: no segment walks.
    """
    fps = round(1.0 / dataset.ctrl_dt)
    heading_velocity = world_to_heading(dataset.qvel[:, :3], dataset.qpos[:, 3:7])[:, 0]
    stretches: list[tuple[int, int]] = []
    names: list[str] = []
    for clip, start, length in zip(
        dataset.segment_clip,
        dataset.segment_start.tolist(),
        dataset.segment_length.tolist(),
        strict=True,
    ):
        begin, end = steady_walking(heading_velocity[start : start + length], fps)
        first, stop = start + begin, start + end
        if stop - first < fps or float(heading_velocity[first:stop].mean()) < MOVING:
            continue
        stretches.append((first, stop))
        names.append(family(clip))
    if not stretches:
        raise DatasetError(
            f"no segment of the reference walks for a second faster than {MOVING} m/s"
        )
    steps, num = max(stop - first for first, stop in stretches), len(stretches)
    index = torch.zeros(steps, num, dtype=torch.long)
    valid = torch.zeros(steps, num, dtype=torch.bool)
    for column, (first, stop) in enumerate(stretches):
        # Beyond its end a stretch holds its last frame, which is never read.
        index[:, column] = torch.arange(first, first + steps).clamp(max=stop - 1)
        valid[: stop - first, column] = True
    qpos, qvel, amp = dataset.qpos[index], dataset.qvel[index], dataset.amp[index]
    soles = dataset.amp_layout.unpack(amp)["sole_pos"].unflatten(-1, (2, 3))
    sole_pos_w = heading_to_world(soles, qpos[..., None, 3:7]) + qpos[..., None, :3]
    (sole_linvel_w,) = torch.gradient(sole_pos_w, spacing=dataset.ctrl_dt, dim=0)
    speeds = _family_speeds(names, world_to_heading(qvel[..., :3], qpos[..., 3:7])[..., 0], valid)
    recording = Recording(
        ctrl_dt=dataset.ctrl_dt,
        command=speeds,
        qpos=qpos,
        qvel=qvel,
        foot_force=dataset.foot_force[index],
        sole_pos_w=sole_pos_w,
        sole_linvel_w=sole_linvel_w,
        amp=amp,
        valid=valid,
        terminated=torch.zeros(num, dtype=torch.bool),
    )
    return recording, tuple(names)


def _family_speeds(names: Sequence[str], velocity: Tensor, valid: Tensor) -> Tensor:
    """Mean over all steps of the family of each stretch (E,) [m/s]."""
    total = torch.where(valid, velocity, torch.zeros_like(velocity)).sum(0)
    count = valid.sum(0)
    speeds = torch.empty(len(names))
    for name in dict.fromkeys(names):
        mine = torch.tensor([other == name for other in names])
        speeds[mine] = total[mine].sum() / count[mine].sum()
    return speeds

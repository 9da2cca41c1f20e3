"""Recorded motion in the form that style metrics compare: of a policy, or of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from envs.frames import heading_to_world, world_to_heading
from envs.layout import Layout
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.thresholds import MOVING
from wildrobot_torch.evaluation.style.space import compared_features, windows
from wildrobot_torch.motion import gait, rotations
from wildrobot_torch.motion.kinematics import legs_of
from wildrobot_torch.motion.series import running_mean
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.splits import family

STEADY = 0.9
"""Least share of a motion's own speed at which it walks steadily."""
SOLE = 4
"""Number of the sole centre among `leg_points`."""


@dataclass(frozen=True)
class Motion:
    """E episodes or reference segments of at most T steps each."""

    ctrl_dt: float
    """[s]."""
    features: Tensor
    """(T, E, F): the compared style features."""
    points: Tensor
    """(T, E, P, 3) [m]: hips, knees, ankles and toes from the root, heading frame."""
    joint_pos: Tensor
    """(T, E, J) [rad]."""
    touchdown: Tensor
    """(T, E, 2) bool."""
    valid: Tensor
    """(T, E) bool: the step belongs to the episode; one unbroken run each."""
    speed: Tensor
    """(E,) [m/s]: the commanded speed; of the reference, the mean speed of the family."""
    family: tuple[str, ...]
    """E names: episodes of one family share a motion, and stay together where data are divided."""

    @classmethod
    def of(
        cls,
        recording: Recording,
        robot: RobotSpec,
        layout: Layout,
        families: Sequence[str],
        settle_s: float = 0.0,
    ) -> Motion:
        """Motion of a recording of E episodes, on the CPU, after its first `settle_s` seconds.

        `layout` is that of its style features, `families` are E names.
        """
        standing = gait.stance(recording.loaded(robot), recording.valid, recording.ctrl_dt)
        valid = recording.settled(settle_s)
        return cls(
            ctrl_dt=recording.ctrl_dt,
            features=compared_features(recording.amp, layout),
            points=leg_points(recording.qpos, robot)[..., :SOLE, :].flatten(-3, -2),
            joint_pos=recording.joint_pos(robot),
            touchdown=gait.touchdowns(standing, recording.valid) & valid[..., None],
            valid=valid,
            speed=recording.command,
            family=tuple(families),
        )

    def select(self, families: Sequence[str]) -> Motion:
        """The episodes of some families."""
        keep = [i for i, name in enumerate(self.family) if name in families]
        series = ("features", "points", "joint_pos", "touchdown", "valid")
        return replace(
            self,
            **{name: getattr(self, name)[:, keep] for name in series},
            speed=self.speed[keep],
            family=tuple(self.family[i] for i in keep),
        )

    def family_speeds(self) -> dict[str, float]:
        """Speed of each family [m/s], slowest first."""
        speeds = dict(zip(self.family, self.speed.tolist(), strict=True))
        return dict(sorted(speeds.items(), key=lambda item: (item[1], item[0])))

    def windows(self) -> tuple[Tensor, Tensor]:
        """All windows (N, K, F) that lie within an episode, and their episodes (N,)."""
        return windows(self.features, self.valid)


def leg_points(qpos: Tensor, robot: RobotSpec) -> Tensor:
    """Hip, knee, ankle, toe and sole centre of each leg (..., 2, 5, 3) [m].

    From the root, in the heading frame, of poses (..., nq) on the CPU. The sole centre is what the
    field `sole_pos` of the style features holds, here for poses that no engine has simulated.
    """
    legs, leg = legs_of(robot), robot.leg
    joint_pos = qpos[..., robot.joint_qpos_adr].double().numpy()
    sides = []
    for side in (0, 1):
        foot = legs.forward(joint_pos, side)
        hip = np.broadcast_to(legs.hip * [1.0, 1.0 - 2.0 * side, 1.0], foot.ankle.shape)
        toe, sole = (
            foot.ankle + foot.rotation @ np.array([x, 0.0, -leg.ankle_height])
            for x in (leg.toe, 0.0)
        )
        sides.append(np.stack([hip, legs.knee(joint_pos, side), foot.ankle, toe, sole], -2))
    quat = qpos[..., None, None, 3:7].double()
    turned = torch.from_numpy(rotations.quat_rotate(quat.numpy(), np.stack(sides, -3)))
    return world_to_heading(turned, quat).to(qpos.dtype)


def steady_walking(speed: Tensor, width: int) -> tuple[int, int]:
    """First frame, and the one after the last, of a motion's longest part at its walking speed.

    The walking speed is the upper quartile of the forward speed (N,) [m/s], averaged over `width`
    frames. Where that average is below `STEADY` of it, the robot stands, sets off or stops.
    """
    mean = running_mean(speed, width)
    walks_at = float(mean.quantile(0.75))
    # Of a robot that drifts backwards 0.9 of the speed is more than the speed.
    fast = mean >= min(STEADY * walks_at, walks_at)
    edges = torch.diff(torch.nn.functional.pad(fast.int(), (1, 1)))
    begins, ends = (edges == 1).nonzero()[:, 0], (edges == -1).nonzero()[:, 0]
    longest = int((ends - begins).argmax())
    return int(begins[longest]), int(ends[longest])


def reference_recording(
    dataset: ReferenceDataset, robot: RobotSpec
) -> tuple[Recording, tuple[str, ...]]:
    """The steady walking of a reference's segments as a recording, and the family of each.

    Starts and stops of a walk are left out, as they are of a policy's episodes; so are segments
    that stand. The command of a segment is the mean speed of its family. A DatasetError where no
    segment walks.
    """
    fps = round(1.0 / dataset.ctrl_dt)
    velocity = world_to_heading(dataset.qvel[:, :3], dataset.qpos[:, 3:7])[:, 0]
    moving = MOVING * robot.speed_scale
    spans: list[tuple[int, int]] = []
    names: list[str] = []
    starts, lengths = dataset.segment_start.tolist(), dataset.segment_length.tolist()
    for clip, start, length in zip(dataset.segment_clip, starts, lengths, strict=True):
        begin, end = (start + i for i in steady_walking(velocity[start : start + length], fps))
        if end - begin >= fps and float(velocity[begin:end].mean()) >= moving:
            spans.append((begin, end))
            names.append(family(clip))
    if not spans:
        raise DatasetError(
            f"no segment of the reference walks for a second faster than {moving:g} m/s"
        )
    first, stop = torch.tensor(spans).unbind(-1)
    step = torch.arange(int((stop - first).max()))[:, None]
    valid = step < stop - first
    # Beyond its end an episode holds its last frame, which is never read.
    index = (first + step).minimum(stop - 1)
    qpos, qvel, amp = dataset.qpos[index], dataset.qvel[index], dataset.amp[index]
    soles = dataset.amp_layout.unpack(amp)["sole_pos"].unflatten(-1, (2, 3))
    sole_pos_w = heading_to_world(soles, qpos[..., None, 3:7]) + qpos[..., None, :3]
    (sole_linvel_w,) = torch.gradient(sole_pos_w, spacing=dataset.ctrl_dt, dim=0)
    recording = Recording(
        ctrl_dt=dataset.ctrl_dt,
        command=_family_speeds(names, velocity[index], valid),
        qpos=qpos,
        qvel=qvel,
        foot_force=dataset.foot_force[index],
        sole_pos_w=sole_pos_w,
        sole_linvel_w=sole_linvel_w,
        amp=amp,
        valid=valid,
        terminated=torch.zeros(len(names), dtype=torch.bool),
    )
    return recording, tuple(names)


def _family_speeds(names: Sequence[str], velocity: Tensor, valid: Tensor) -> Tensor:
    """Mean over all valid steps (T, E) of the family of each episode (E,) [m/s]."""
    total, count = velocity.masked_fill(~valid, 0.0).sum(0), valid.sum(0)
    speeds = torch.empty(len(names))
    for name in dict.fromkeys(names):
        mine = torch.tensor([other == name for other in names])
        speeds[mine] = total[mine].sum() / count[mine].sum()
    return speeds

"""The dataset under test, with what every test needs of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from envs.frames import yaw
from envs.measurements import lowest_sole_points, measure
from envs.physics.native import NativePhysics
from envs.recorder import stacked
from envs.recording import Recording
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from envs.task.features import style_features
from envs.thresholds import LOADED, MOVING
from wildrobot_torch.motion import gait
from wildrobot_torch.reference.dataset import ReferenceDataset

CHUNK = 1024
"""States in one forward pass."""


@dataclass(frozen=True)
class Subject:
    """A dataset of N frames in S segments, and the robot that it claims to show."""

    dataset: ReferenceDataset
    """On the CPU."""
    loaded: RobotModel
    """Its model's timestep is the one the dataset was simulated with."""

    @property
    def robot(self) -> RobotSpec:
        """The robot."""
        return self.loaded.robot

    @cached_property
    def qpos(self) -> Tensor:
        """(N, nq), unit quaternions."""
        qpos = self.dataset.qpos.clone()
        qpos[:, 3:7] = torch.nn.functional.normalize(qpos[:, 3:7], dim=-1)
        return qpos

    @property
    def qvel(self) -> Tensor:
        """(N, nv)."""
        return self.dataset.qvel

    @cached_property
    def forward(self) -> Recording:
        """Every frame as a step of one episode, recomputed from its state."""
        return forward(self.qpos, self.qvel, self.loaded, self.dataset.ctrl_dt)

    @property
    def sole_height(self) -> Tensor:
        """(N, 2) [m]: lowest point of each sole above the floor."""
        assert self.forward.sole_height is not None
        return self.forward.sole_height[:, 0]

    @cached_property
    def loaded_feet(self) -> Tensor:
        """(N, 2) bool, by the recorded forces."""
        return self.dataset.foot_force > LOADED * self.robot.weight

    def standing(self, frames: slice) -> Tensor:
        """(T, 1, 2) bool: feet that stand in T frames of one segment, chatter removed."""
        contact = self.loaded_feet[frames, None]
        return gait.stance(contact, torch.ones_like(contact[..., 0]), self.dataset.ctrl_dt)

    @cached_property
    def heading(self) -> Tensor:
        """(N,) [rad]."""
        return yaw(self.qpos[:, 3:7])

    @cached_property
    def moving(self) -> Tensor:
        """(S,) bool: segments that walk, by their net displacement over the floor."""
        moved = [self.qpos[f.stop - 1, :2] - self.qpos[f.start, :2] for _, f in self.segments()]
        times = (self.dataset.segment_length - 1).clamp(min=1) * self.dataset.ctrl_dt
        return torch.linalg.vector_norm(torch.stack(moved), dim=-1) / times >= (
            MOVING * self.robot.speed_scale
        )

    @cached_property
    def segment_of(self) -> Tensor:
        """(N,) long: segment of each frame."""
        length = self.dataset.segment_length
        return torch.repeat_interleave(torch.arange(len(length)), length)

    def steps(self, moving: bool = False, margin: int = 0) -> Tensor:
        """(P,) long: frames whose successor is in the same segment.

        Args:
            moving: of walking segments only.
            margin: frames left out at either end of a segment, beside the last frame.
        """
        inside = torch.zeros(self.dataset.num_frames, dtype=torch.bool)
        for number, frames in self.segments():
            if not moving or bool(self.moving[number]):
                first, last = frames.start + margin, frames.stop - max(margin, 1)
                inside[first : max(last, first)] = True
        return torch.nonzero(inside).squeeze(-1)

    def segments(self) -> Iterator[tuple[int, slice]]:
        """Number and frames of every segment."""
        starts, lengths = self.dataset.segment_start.tolist(), self.dataset.segment_length.tolist()
        for number, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            yield number, slice(start, start + length)

    def per_segment(self, values: Tensor) -> Tensor:
        """Mean (S, ...) over each segment of values (N, ...)."""
        return torch.stack([values[frames].mean(0) for _, frames in self.segments()])

    def metrics(self) -> list[dict[str, float]]:
        """The manifest's metrics of each segment; empty where it does not have all segments."""
        rows = [entry.get("metrics", {}) for entry in self.dataset.manifest.get("segments", [])]
        return rows if len(rows) == self.dataset.num_segments else []

    def worst(self, values: Tensor) -> str:
        """`worst in <clip>` for values (S,) of the segments."""
        return f"worst in {self.dataset.segment_clip[int(values.argmax())]}"


def forward(qpos: Tensor, qvel: Tensor, loaded: RobotModel, ctrl_dt: float) -> Recording:
    """States (N, nq), (N, nv) as one episode of N steps, recomputed from the states alone.

    `foot_force` is what the floor would answer if the joints' targets were where the joints are.
    """
    robot = loaded.robot
    size = min(CHUNK, len(qpos))
    physics = NativePhysics(loaded.model, size)
    everywhere = torch.ones(size, dtype=torch.bool)
    parts = []
    for first in range(0, len(qpos), size):
        # The last pass repeats the last state.
        rows = torch.arange(first, first + size).clamp(max=len(qpos) - 1)
        position, velocity = qpos[rows].float(), qvel[rows].float()
        physics.reset(everywhere, position, velocity, position[:, robot.joint_qpos_adr])
        state = physics.state()
        m = measure(state, robot)
        parts.append(
            {
                "foot_force": m.foot_force,
                "sole_pos_w": m.sole_pos_w,
                "sole_linvel_w": m.sole_linvel_w,
                "sole_height": lowest_sole_points(state, robot),
                "amp": style_features(m, robot),
            }
        )
    series = {name: x.flatten(0, 1)[: len(qpos), None] for name, x in stacked(parts).items()}
    return Recording(
        ctrl_dt=ctrl_dt,
        command=torch.tensor([math.nan]),
        qpos=qpos[:, None],
        qvel=qvel[:, None],
        valid=torch.ones(len(qpos), 1, dtype=torch.bool),
        terminated=torch.zeros(1, dtype=torch.bool),
        **series,
    )

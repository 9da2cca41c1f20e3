"""The dataset under test, with what every test needs of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from envs.frames import yaw
from envs.recording import Recording
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from envs.thresholds import LOADED
from wildrobot_torch.motion import gait
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.verify.states import forward

MOVING = 0.05
"""A segment that gets on slower than this over the floor stands [m/s]."""


@dataclass(frozen=True)
class Subject:
    """A dataset and the robot that it is said to show."""

    dataset: ReferenceDataset
    loaded: RobotModel
    """Its model's timestep is the one the dataset was simulated with."""

    @property
    def robot(self) -> RobotSpec:
        """The robot."""
        return self.loaded.robot

    @cached_property
    def qpos(self) -> Tensor:
        """(N, nq), unit quaternions."""
        qpos = self.dataset.qpos.cpu().clone()
        qpos[:, 3:7] = torch.nn.functional.normalize(qpos[:, 3:7], dim=-1)
        return qpos

    @cached_property
    def qvel(self) -> Tensor:
        """(N, nv)."""
        return self.dataset.qvel.cpu()

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
    def foot_force(self) -> Tensor:
        """(N, 2) [N]: as recorded."""
        return self.dataset.foot_force.cpu()

    @cached_property
    def loaded_feet(self) -> Tensor:
        """(N, 2) bool."""
        return self.foot_force > LOADED * self.robot.weight

    def standing(self, frames: slice) -> Tensor:
        """(T, 1, 2) bool: feet that stand in T frames of one segment, chatter removed."""
        contact = self.loaded_feet[frames, None]
        return gait.stance(contact, torch.ones_like(contact[..., 0]), self.dataset.ctrl_dt)

    @cached_property
    def displacement(self) -> Tensor:
        """(S, 2) [m/s]: each segment's net motion over the floor per time, from positions alone."""
        rows = []
        for _, frames in self.segments():
            first, last = self.qpos[frames.start, :2], self.qpos[frames.stop - 1, :2]
            rows.append((last - first) / max((frames.stop - frames.start - 1), 1))
        return torch.stack(rows) / self.dataset.ctrl_dt

    @cached_property
    def moving(self) -> Tensor:
        """(S,) bool: segments that go somewhere."""
        return torch.linalg.vector_norm(self.displacement, dim=-1) >= MOVING

    @cached_property
    def steps(self) -> Tensor:
        """(P,) long: frames whose successor is in the same segment."""
        last = self.dataset.segment_start + self.dataset.segment_length - 1
        inside = torch.ones(self.dataset.num_frames, dtype=torch.bool)
        inside[last.cpu()] = False
        return torch.nonzero(inside).squeeze(-1)

    @cached_property
    def moving_steps(self) -> Tensor:
        """(P,) long: those of `steps` in segments that go somewhere."""
        return self.steps[self.moving[self.segment_of[self.steps]]]

    @cached_property
    def segment_of(self) -> Tensor:
        """(N,) long: segment of each frame."""
        length = self.dataset.segment_length.cpu()
        return torch.repeat_interleave(torch.arange(len(length)), length)

    @cached_property
    def heading(self) -> Tensor:
        """(N,) [rad]."""
        return yaw(self.qpos[:, 3:7])

    def segments(self) -> Iterator[tuple[int, slice]]:
        """Number and frames of every segment."""
        starts, lengths = self.dataset.segment_start.tolist(), self.dataset.segment_length.tolist()
        for number, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            yield number, slice(start, start + length)

    def worst(self, values: Tensor) -> str:
        """`worst in <clip>` for values (S,) of the segments."""
        return f"worst in {self.dataset.segment_clip[int(values.argmax())]}"

"""Test 6: is the reference plausible, alive, and unlike a robot that acts at random?"""

from __future__ import annotations

import torch
from scipy.stats import wasserstein_distance
from tensordict import TensorDict
from torch import Tensor

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.robot.model import RobotModel
from wildrobot_torch.reference.verify.finding import Finding, bounded
from wildrobot_torch.reference.verify.subject import Subject

TEST = "6"
ROBOTS, STEPS = 64, 160
"""Size of the random rollout: 10,240 windows."""
SAMPLES = 10_000
"""Frames of each side that are compared."""
DEAD = 1e-4
"""A feature of the reference that varies less, relative to the random policy's, is dead."""
FAINT = 0.01
"""One that varies less is faint: hardly any of its variation can be learned."""


def random_windows(loaded: RobotModel, seed: int) -> Tensor:
    """Windows (ROBOTS, STEPS, 2, F) of robots whose actions are drawn uniformly, as in training."""
    env = LocomotionEnv(LocomotionConfig(), ROBOTS, seed=seed, robot_dir=loaded.directory)
    generator = torch.Generator().manual_seed(seed)
    tensordict = env.reset()
    pairs = []
    for _ in range(STEPS):
        action = 2.0 * torch.rand(ROBOTS, env.robot.num_joints, generator=generator) - 1.0
        tensordict.set("action", action)
        stepped, following = env.step_and_maybe_reset(tensordict)
        pairs.append(torch.stack([tensordict["amp"], stepped["next", "amp"]], dim=-2))
        assert isinstance(following, TensorDict)
        tensordict = following
    return torch.stack(pairs, dim=1)


def distribution(subject: Subject, random: Tensor, generator: torch.Generator) -> list[Finding]:
    """Blocks of features against a random policy's (.., F), then plausible ranges."""
    reference = subject.dataset.amp.cpu()
    layout = subject.dataset.amp_layout
    fake = random.reshape(-1, reference.shape[1])
    real, fake = (
        x[torch.randint(len(x), (SAMPLES,), generator=generator)] for x in (reference, fake)
    )
    spread = fake.std(0).clamp(min=1e-6)
    findings = []
    for name, columns in layout.slices.items():
        distances = [
            wasserstein_distance(real[:, i].numpy(), fake[:, i].numpy()) / float(spread[i])
            for i in range(columns.start, columns.stop)
        ]
        mean = sum(distances) / len(distances)
        findings.append(
            bounded(TEST, f"{name}: distance to a random policy (W1 / std)", mean, "1",
                    low=0.0, warn_low=0.05, warn_high=10.0,
                    detail=f"largest {max(distances):.2g} in component {_argmax(distances)}")
        )  # fmt: skip
    variation = reference.std(0) / spread
    least = int(variation.argmin())
    faint = int((variation < FAINT).sum())
    findings.append(
        bounded(TEST, "variation of the least varied feature, of a random policy's",
                float(variation[least]), "1", low=DEAD, warn_low=FAINT,
                detail=f"feature {least} ({_block(layout.slices, least)}); {faint} below {FAINT}")
    )  # fmt: skip
    return [*findings, *_ranges(subject)]


def _ranges(subject: Subject) -> list[Finding]:
    robot = subject.robot
    height = subject.qpos[:, 2] / robot.home_qpos[2]
    speed = torch.linalg.vector_norm(subject.qvel[:, :3], dim=-1).max()
    turning = torch.linalg.vector_norm(subject.qvel[:, 3:6], dim=-1)
    joints = (subject.qvel[:, robot.joint_qvel_adr] / robot.joint_max_velocity).abs()
    return [
        bounded(TEST, "root speed, largest", float(speed), "m/s", high=2.0),
        bounded(TEST, "root turning, 99th percentile", float(turning.quantile(0.99)), "rad/s",
                high=5.0),
        bounded(TEST, "joint speed, 99th percentile of the fastest joint",
                float(joints.quantile(0.99, dim=0).max()), "of the servo's", high=1.5,
                warn_high=1.0),
        bounded(TEST, "root height, lowest", float(height.min()), "of home", low=0.75),
        bounded(TEST, "root height, highest", float(height.max()), "of home", high=1.15),
    ]  # fmt: skip


def _argmax(values: list[float]) -> int:
    return max(range(len(values)), key=lambda i: values[i])


def _block(slices: dict[str, slice], column: int) -> str:
    return next(name for name, s in slices.items() if s.start <= column < s.stop)

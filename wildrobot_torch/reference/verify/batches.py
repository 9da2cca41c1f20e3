"""Tests 4 and 6: does a minibatch show enough of a reference that is plausible and alive?"""

from __future__ import annotations

import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.robot.model import RobotModel
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.verify.finding import Finding, bounded, skipped
from wildrobot_torch.reference.verify.subject import Subject

WINDOW = 2
"""Frames in a window, as the discriminator's default."""
BATCH, BATCHES = 64, 50
"""Windows in a minibatch, which is small, and minibatches drawn."""
CLIPS = 3
"""Clips that each minibatch must show."""
ROBOTS, STEPS = 64, 160
"""Size of the random policy's rollout: 10,240 windows."""
SAMPLES = 10_000
"""Frames of each side that are compared."""
DEAD, FAINT = 1e-4, 0.01
"""A feature whose variation is below these shares of the random policy's is dead, or faint: hardly
any of its variation can be learned."""


def coverage(dataset: ReferenceDataset, generator: torch.Generator) -> list[Finding]:
    """4: clips per minibatch, in windows that no cut runs through; mirror images count once."""
    source = [name.removesuffix("_mirror") for name in dataset.segment_clip]
    names = sorted(set(source))
    segment = torch.repeat_interleave(torch.arange(dataset.num_segments), dataset.segment_length)
    clip = torch.tensor([names.index(name) for name in source])
    first = torch.stack([dataset.draw_windows(BATCH, WINDOW, generator) for _ in range(BATCHES)])
    last = first + WINDOW - 1
    clips = clip[segment[first]]
    inside = (last < dataset.num_frames) & (
        segment[first] == segment[last.clamp(max=len(segment) - 1)]
    )
    cut = bounded("4", "windows across a cut", float((~inside).float().mean()), "1", high=0.0)
    if len(names) < CLIPS:
        reason = f"the dataset has {len(names)} of the {CLIPS} clips that a minibatch needs"
        return [cut, skipped("4", "clips per minibatch", reason)]
    least, never = min(len(row.unique()) for row in clips), len(names) - len(clips.unique())
    return [
        cut,
        bounded("4", f"clips in a minibatch of {BATCH}, fewest", least, "1", low=CLIPS,
                detail=f"{len(names)} clips, {never} of them never drawn"),
    ]  # fmt: skip


def random_windows(loaded: RobotModel, seed: int) -> Tensor:
    """Windows (ROBOTS, STEPS, 2, F) of robots whose actions are drawn uniformly, as in training."""
    env = LocomotionEnv(LocomotionConfig(), ROBOTS, seed=seed, robot_dir=loaded.directory)
    generator = torch.Generator().manual_seed(seed)
    tensordict, pairs = env.reset(), []
    for _ in range(STEPS):
        action = 2.0 * torch.rand(ROBOTS, env.robot.num_joints, generator=generator) - 1.0
        stepped, following = env.step_and_maybe_reset(tensordict.set("action", action))
        pairs.append(torch.stack([tensordict["amp"], stepped["next", "amp"]], dim=-2))
        tensordict = following
    return torch.stack(pairs, dim=1)


def distribution(subject: Subject, random: Tensor, generator: torch.Generator) -> list[Finding]:
    """6: blocks of features against a random policy's (.., F), then plausible ranges."""
    layout, reference = subject.dataset.amp_layout, subject.dataset.amp
    both = (reference, random.reshape(-1, reference.shape[1]))
    real, fake = (x[torch.randint(len(x), (SAMPLES,), generator=generator)] for x in both)
    spread = fake.std(0).clamp(min=1e-6)
    findings = []
    for name, columns in layout.slices.items():
        distances = [
            wasserstein_distance(real[:, i].numpy(), fake[:, i].numpy()) / float(spread[i])
            for i in range(columns.start, columns.stop)
        ]
        largest = f"largest {max(distances):.2g} in component {distances.index(max(distances))}"
        findings.append(
            bounded("6", f"{name}: distance to a random policy (W1 / std)",
                    sum(distances) / len(distances), "1", low=0.0, warn_low=0.05, warn_high=10.0,
                    detail=largest)
        )  # fmt: skip
    variation = reference.std(0) / spread
    least, faint = int(variation.argmin()), int((variation < FAINT).sum())
    block = next(name for name, s in layout.slices.items() if s.start <= least < s.stop)
    findings.append(
        bounded("6", "variation of the least varied feature, of a random policy's",
                float(variation[least]), "1", low=DEAD, warn_low=FAINT,
                detail=f"feature {least} ({block}); {faint} below {FAINT}")
    )  # fmt: skip
    return [*findings, *_ranges(subject)]


def _ranges(subject: Subject) -> list[Finding]:
    robot, qvel = subject.robot, subject.qvel
    height = subject.qpos[:, 2] / robot.home_qpos[2]
    speed = torch.linalg.vector_norm(qvel[:, :3], dim=-1).max()
    turning = torch.linalg.vector_norm(qvel[:, 3:6], dim=-1).quantile(0.99)
    joints = (qvel[:, robot.joint_qvel_adr] / robot.joint_max_velocity).abs().quantile(0.99, dim=0)
    return [
        bounded("6", "root speed, largest", float(speed), "m/s", high=2.0),
        bounded("6", "root turning, 99th percentile", float(turning), "rad/s", high=5.0),
        bounded("6", "joint speed, 99th percentile of the fastest joint", float(joints.max()),
                "of the servo's", high=1.5, warn_high=1.0),
        bounded("6", "root height, lowest", float(height.min()), "of home", low=0.75),
        bounded("6", "root height, highest", float(height.max()), "of home", high=1.15),
    ]  # fmt: skip

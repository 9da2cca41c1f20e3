"""All tests on one dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.robot.model import RobotModel
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.judge.gates import GOOD_TIERS
from wildrobot_torch.reference.verify.batches import coverage, distribution, random_windows
from wildrobot_torch.reference.verify.contacts import contacts, support
from wildrobot_torch.reference.verify.determinism import reading, regeneration
from wildrobot_torch.reference.verify.dynamics import STRETCHES, redone
from wildrobot_torch.reference.verify.features import assembly, invariance
from wildrobot_torch.reference.verify.finding import Finding, bounded
from wildrobot_torch.reference.verify.kinematics import consistency, floor, posture
from wildrobot_torch.reference.verify.subject import Subject

MicroTraining = Callable[[ReferenceDataset, Tensor, int], list[Finding]]
"""Trains a discriminator on a dataset against a random policy's windows (E, T, 2, F), by a seed."""


def verify(
    dataset: ReferenceDataset,
    loaded: RobotModel,
    path: Path,
    micro_train: MicroTraining,
    seed: int = 0,
    num_stretches: int = STRETCHES,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Finding]:
    """What every test of the suite finds in a dataset; the same each time for the same seed.

    Args:
        dataset: the reference.
        loaded: the robot that it was made for; its model's timestep is set to the task's.
        path: the file it came from, which is read a second time.
        micro_train: the last test, `wildrobot_torch.amp.micro_training.micro_train`.
        seed: of everything that is drawn.
        num_stretches: stretches that 1B redoes for each kind of support.
        progress: called with the name of each test before it.
    """
    loaded.model.opt.timestep = LocomotionConfig().sim_dt
    whole = Subject(dataset.to("cpu"), loaded)
    # Lower tiers may break the physical limits, which is why they exist.
    trained = _good_tiers(whole.dataset)
    subject = Subject(trained or whole.dataset, loaded)
    generator = torch.Generator().manual_seed(seed)
    seconds = 0.0 if trained is None else trained.duration_s
    findings = [
        bounded("0", f"motion of tiers {' and '.join(GOOD_TIERS)}, for 1B, 1C and 4 to 7", seconds,
                "s", low=2.0 * dataset.ctrl_dt, detail=f"of {dataset.duration_s:.1f} s")
    ]  # fmt: skip
    random = random_windows(loaded, seed)
    tests: dict[str, Callable[[], list[Finding]]] = {
        "1A features": lambda: assembly(whole),
        "1B positions and velocities": lambda: consistency(subject),
        "1B floor": lambda: floor(subject),
        "1B posture": lambda: posture(subject),
        "1B steps redone": lambda: redone(subject, num_stretches),
        "1C reading": lambda: reading(path, whole),
        "1C made again": lambda: regeneration(subject),
        "2 yaw, 3 quaternion sign": lambda: invariance(whole, generator),
        "4 batches": lambda: coverage(subject.dataset, generator),
        "5 contacts": lambda: contacts(subject),
        "6 distribution": lambda: distribution(subject, random[..., 0, :], generator),
        "7 support": lambda: support(subject),
        "micro-train": lambda: micro_train(subject.dataset, random, seed),
    }
    for name, test in tests.items():
        progress(name)
        findings += test()
    return sorted(findings, key=lambda finding: finding.test)


def _good_tiers(dataset: ReferenceDataset) -> ReferenceDataset | None:
    """The segments of `GOOD_TIERS`, with their rows of the manifest; None without any."""
    chosen = [i for i, tier in enumerate(dataset.segment_tier) if tier in GOOD_TIERS]
    if not chosen:
        return None
    rows = dataset.manifest.get("segments", [])
    rows = [rows[i] for i in chosen] if len(rows) == dataset.num_segments else []
    return replace(dataset.select(GOOD_TIERS), manifest={**dataset.manifest, "segments": rows})

"""All tests on one dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.robot.model import load_robot
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
    path: Path,
    micro_train: MicroTraining,
    seed: int = 0,
    num_stretches: int = STRETCHES,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Finding]:
    """What every test of the suite finds in a dataset; the same each time for the same seed.

    Args:
        dataset: the reference.
        path: the file it came from, which is read a second time.
        micro_train: the last test, `wildrobot_torch.amp.micro_training.micro_train`.
        seed: of everything that is drawn.
        num_stretches: stretches that 1B redoes for each kind of support.
        progress: called with the name of each test before it.
    """
    loaded = load_robot(sim_dt=LocomotionConfig().sim_dt)
    whole = Subject(dataset.to("cpu"), loaded)
    # Lower tiers may break the physical limits, which is why they exist.
    chosen = [i for i, tier in enumerate(dataset.segment_tier) if tier in GOOD_TIERS]
    trained = whole.dataset.take(chosen) if chosen else whole.dataset
    rows = [dataset.manifest["segments"][i] for i in chosen] or dataset.manifest["segments"]
    trained = replace(trained, manifest={**dataset.manifest, "segments": rows})
    subject = Subject(trained, loaded)
    generator = torch.Generator().manual_seed(seed)
    seconds = trained.duration_s if chosen else 0.0
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

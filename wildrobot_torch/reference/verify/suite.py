"""All tests on one dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.robot.model import RobotModel
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.verify.contacts import contacts
from wildrobot_torch.reference.verify.determinism import reading, regeneration
from wildrobot_torch.reference.verify.distribution import distribution, random_windows
from wildrobot_torch.reference.verify.feasibility import STRETCHES, feasibility
from wildrobot_torch.reference.verify.features import assembly, invariance
from wildrobot_torch.reference.verify.finding import Finding, bounded
from wildrobot_torch.reference.verify.kinematics import consistency, floor, posture
from wildrobot_torch.reference.verify.sampling import coverage
from wildrobot_torch.reference.verify.subject import Subject
from wildrobot_torch.reference.verify.support import support
from wildrobot_torch.reference.verify.training import micro_train

TRAINED = ("0+", "0")
"""Tiers that training takes; the others may break the physical limits, which is why they exist."""


def verify(
    dataset: ReferenceDataset,
    loaded: RobotModel,
    path: Path | None = None,
    seed: int = 0,
    num_stretches: int = STRETCHES,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Finding]:
    """What every test of the suite finds in a dataset; the same each time for the same seed.

    Args:
        dataset: the reference.
        loaded: the robot that it was made for; its model's timestep is set to the task's.
        path: the file it came from, read a second time; None leaves that out.
        seed: of everything that is drawn.
        num_stretches: stretches that 1B redoes for each kind of support.
        progress: called with the name of each test before it.

    Raises:
        ValueError: no stretch is to be redone.
    """
    if num_stretches < 1:
        raise UserError(f"num_stretches is {num_stretches}; it must be positive")
    loaded.model.opt.timestep = LocomotionConfig().sim_dt
    whole = Subject(dataset.to("cpu"), loaded)
    trained = fit_for_training(whole.dataset)
    subject = Subject(trained or whole.dataset, loaded)
    generator = torch.Generator().manual_seed(seed)
    seconds = 0.0 if trained is None else trained.duration_s
    findings = [
        bounded("0", f"motion of tiers {' and '.join(TRAINED)}, which 1B and 4 to 7 judge", seconds,
                "s", low=2.0 * dataset.ctrl_dt, detail=f"of {dataset.duration_s:.1f} s")
    ]  # fmt: skip

    def run(name: str, test: Callable[[], list[Finding]]) -> None:
        progress(name)
        findings.extend(test())

    run("1A features", lambda: assembly(whole))
    run("1B positions and velocities", lambda: consistency(subject))
    run("1B floor", lambda: floor(subject))
    run("1B posture", lambda: posture(subject))
    run("1B steps redone", lambda: feasibility(subject, num_stretches))
    if path is not None:
        run("1C reading", lambda: reading(path, whole))
    run("1C made again", lambda: regeneration(subject))
    run("2 yaw, 3 quaternion sign", lambda: invariance(whole, generator))
    run("4 batches", lambda: coverage(subject.dataset, generator))
    run("5 contacts", lambda: contacts(subject))
    progress("random policy")
    random = random_windows(loaded, seed)
    run("6 distribution", lambda: distribution(subject, random[..., 0, :], generator))
    run("7 support", lambda: support(subject))
    run("micro-train", lambda: micro_train(subject.dataset, random, seed))
    return sorted(findings, key=lambda finding: finding.test)


def fit_for_training(dataset: ReferenceDataset) -> ReferenceDataset | None:
    """The segments of the tiers in `TRAINED`, with their rows of the manifest; None without any."""
    chosen = [i for i, tier in enumerate(dataset.segment_tier) if tier in TRAINED]
    if not chosen:
        return None
    rows = dataset.manifest.get("segments", [])
    rows = [rows[i] for i in chosen] if len(rows) == dataset.num_segments else []
    return replace(dataset.select(TRAINED), manifest={**dataset.manifest, "segments": rows})

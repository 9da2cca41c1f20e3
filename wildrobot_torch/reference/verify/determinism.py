"""Test 1C: the same file reads the same, and the same settings make the same motion."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser

from envs.locomotion import LocomotionEnv
from envs.robot.model import load_robot
from wildrobot_torch.motion.augment import mirror
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.follow.rollout import Task, follow
from wildrobot_torch.reference.generate import (
    CTRL_DT,
    ReferenceConfig,
    builtin_clips,
    clip_hash,
    reference_env_config,
)
from wildrobot_torch.reference.verify.finding import WARN, Finding, bounded, skipped
from wildrobot_torch.reference.verify.subject import Subject

TEST = "1C"


def reading(path: Path, subject: Subject) -> list[Finding]:
    """A second reading has the same hash; written again, the file has the same bytes."""
    dataset = subject.dataset
    again = ReferenceDataset.load(path, dataset.amp_layout, dataset.robot_digest)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.npz"
        again.save(copy)
        same = copy.read_bytes() == path.read_bytes()
    alike = float(again.content_hash == dataset.content_hash)
    return [
        bounded(TEST, "two readings with one hash", alike, "1", low=1.0),
        bounded(TEST, "written again, the same bytes", float(same), "1", low=1.0),
    ]


def regeneration(subject: Subject) -> list[Finding]:
    """One built-in clip followed again in the harness: the same states, bit by bit.

    What policies did has no clip to be made from again, and their files are not in the dataset.
    """
    name = "made again from its settings, the same states"
    dataset = subject.dataset
    try:
        config = _config(dataset.manifest["config"])
    except Exception as error:  # jsonargparse raises almost anything
        reason = " ".join(str(error).split())[:120]
        return [skipped(TEST, name, f"the manifest's settings are not this version's: {reason}")]
    mined = {clip["name"]: p for p in dataset.manifest.get("policies", []) for clip in p["clips"]}
    if mined and set(dataset.segment_clip) <= set(mined):
        files = {f"{p['file']} (sha256 {p['sha256'][:16]})" for p in mined.values()}
        reason = (
            f"not applicable: all of it is what {', '.join(sorted(files))} did, and there is no "
            "clip; mine the file again and compare the datasets"
        )
        return [Finding(TEST, name, WARN, detail=reason)]
    if config.physics != "native":
        return [skipped(TEST, name, "another engine than native made it")]
    found = _candidate(subject, config)
    if found is None:
        reason = (
            "no segment is of a built-in clip followed in the harness from its first frame, and "
            "other clips, trained trackers and policies are not in the file"
        )
        return [skipped(TEST, name, reason)]
    number, clip = found
    entry = dataset.manifest["segments"][number]
    length = int(dataset.segment_length[number])
    # Only as far as the segment goes: what follows cannot change what came before.
    clip = clip.frames(0, entry["clip_frame"] + length)
    env = LocomotionEnv(reference_env_config(config.harness), 1, robot_dir=subject.loaded.directory)
    (rollout,) = follow(env, [Task(clip, 0)], load_robot(subject.loaded.directory), config.balance)
    start = int(dataset.segment_start[number])
    first = entry["clip_frame"] - 1
    again = torch.cat([rollout.recording.qpos, rollout.recording.qvel], -1)[:, 0][
        first : first + length
    ]
    stored = torch.cat([dataset.qpos, dataset.qvel], -1)[start : start + length]
    difference = (
        float((again - stored).abs().max()) if again.shape == stored.shape else float("inf")
    )
    # Another processor or compiler rounds otherwise, and walking magnifies it.
    return [bounded(TEST, name, difference, "", high=0.05, warn_high=0.0,
                    detail=f"{clip.name}, {length} frames")]  # fmt: skip


def _candidate(subject: Subject, config: ReferenceConfig) -> tuple[int, Clip] | None:
    """The shortest segment that can be made again here, and its clip."""
    dataset = subject.dataset
    if config.start_interval_s > 0.0:
        return None
    here = {}
    for clip in builtin_clips(subject.robot, config):
        clip = clip.resample(1.0 / CTRL_DT)
        here |= {clip_hash(variant): variant for variant in (clip, mirror(clip, subject.robot))}
    hashes = {entry["name"]: entry["sha256"] for entry in dataset.manifest["clips"]}
    numbers = [
        number
        for number, name in enumerate(dataset.segment_clip)
        if subject.dataset.segment_support[number] == "harness"
        and bool(subject.moving[number])
        and hashes.get(name) in here
    ]
    if not numbers:
        return None
    number = min(numbers, key=lambda n: int(dataset.segment_length[n]))
    return number, here[hashes[dataset.segment_clip[number]]]


def _config(settings: Mapping[str, Any]) -> ReferenceConfig:
    """The manifest's plain settings as the dataclass they came from.

    Raises:
        Exception: they are of another version of it.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ReferenceConfig, "reference")
    parsed = parser.parse_object({"reference": dict(settings)})
    return parser.instantiate(parsed).reference

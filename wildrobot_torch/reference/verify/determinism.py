"""Test 1C: the same file reads the same, and the same settings make the same motion.

Motion is made again only where the dataset is enough for it: built-in clips followed in the harness
on the native engine. Other motion needs files that are not in the dataset: a tracking policy, a
policy or clips. To test it, run the same command again and compare the two content hashes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from jsonargparse import ArgumentParser

from envs.robot.model import load_robot
from wildrobot_torch.motion.augment import mirror
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.follow.rollout import Task, clip_env, follow
from wildrobot_torch.reference.generate import (
    CTRL_DT,
    ReferenceConfig,
    builtin_clips,
    clip_hash,
)
from wildrobot_torch.reference.verify.finding import Finding, bounded, skipped
from wildrobot_torch.reference.verify.subject import Subject


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
        bounded("1C", "two readings with one hash", alike, "1", low=1.0),
        bounded("1C", "written again, the same bytes", float(same), "1", low=1.0),
    ]


def regeneration(subject: Subject) -> list[Finding]:
    """The shortest walk in the harness followed again: the same states, bit by bit."""
    name = "made again from its settings, the same states"
    dataset = subject.dataset
    try:
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(ReferenceConfig, "reference")
        parsed = parser.parse_object({"reference": dict(dataset.manifest["config"])})
        config: ReferenceConfig = parser.instantiate(parsed).reference
    except Exception as error:  # jsonargparse raises almost anything
        reason = " ".join(str(error).split())[:120]
        return [skipped("1C", name, f"the manifest's settings are not this version's: {reason}")]
    here = {}
    if config.start_interval_s == 0.0 and config.physics == "native":
        for clip in builtin_clips(subject.robot, config):
            clip = clip.resample(1.0 / CTRL_DT)
            here |= {clip_hash(variant): variant for variant in (clip, mirror(clip, subject.robot))}
    hashes = {entry["name"]: entry["sha256"] for entry in dataset.manifest["clips"]}
    numbers = [
        number
        for number, clip_name in enumerate(dataset.segment_clip)
        if dataset.segment_support[number] == "harness"
        and bool(subject.moving[number])
        and hashes.get(clip_name) in here
    ]
    if not numbers:
        reason = (
            "no walk of a built-in clip in the harness on the native engine; tracking policies, "
            "policies and clip files are not in the dataset: make it again and compare the hashes"
        )
        return [skipped("1C", name, reason)]
    number = min(numbers, key=lambda n: int(dataset.segment_length[n]))
    length, start = int(dataset.segment_length[number]), int(dataset.segment_start[number])
    first = dataset.manifest["segments"][number]["clip_frame"]
    # Only as far as the segment goes: what follows cannot change what came before.
    clip = here[hashes[dataset.segment_clip[number]]].frames(0, first + length)
    env = clip_env(1, support=config.harness)
    (rollout,) = follow(env, [Task(clip, 0)], load_robot(), config.balance)
    again = torch.cat([rollout.recording.qpos, rollout.recording.qvel], -1)[first - 1 :, 0]
    stored = torch.cat([dataset.qpos, dataset.qvel], -1)[start : start + length]
    same_length = again.shape == stored.shape
    difference = float((again - stored).abs().max()) if same_length else float("inf")
    # Another processor or compiler rounds otherwise, and walking magnifies it.
    detail = f"{clip.name}, {length} frames; all other motion is not made again"
    return [bounded("1C", name, difference, "", high=0.05, warn_high=0.0, detail=detail)]

"""What a reference dataset holds and whether it is enough to train on, from its file alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from wildrobot_torch.files import to_json
from wildrobot_torch.motion.metrics import METRICS
from wildrobot_torch.motion.series import running_mean
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.judge.gates import GOOD_TIERS, TIERS
from wildrobot_torch.reference.report.comparison import table

GO_S, CAUTION_S = 60.0, 30.0
"""Motion that is enough to train on, and motion below which training is not worth its while [s]."""
NEAR_CONSTANT = 0.01
"""A feature with a smaller standard deviation, in its own unit, tells nothing."""
ENOUGH_CLIPS, ENOUGH_SEGMENTS = 5, 10
LARGEST_SHARE = 0.5
"""A clip that makes up more of a minibatch than this drowns the others."""
SPEED_BIN = 0.1
"""Width of a bin of speeds [m/s]."""
WANTED_SPEEDS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Bins that a walk for all commands needs, by where they begin [m/s]."""
WINDOW = 2
"""Frames that the discriminator sees at once."""
STANDING, WALKING = 0.03, 0.10
"""The robot stands below the one speed and walks above the other [m/s]."""
SPEED_AVERAGE_S = 1.0
"""Time over which that speed is averaged, so that the sway of a stride is no stop [s]."""

Decision = Literal["go", "caution", "stop"]
ADVICE: dict[str, str] = {
    "go": f"at least {GO_S:g} s: train.",
    "caution": f"{CAUTION_S:g} to {GO_S:g} s: train, and watch the style reward for copying.",
    "stop": f"less than {CAUTION_S:g} s: make more reference, or train without a style reward.",
}


def decide(seconds: float) -> Decision:
    """Whether so much motion [s] of the best tier is enough to train on."""
    # A sum of frame times may fall short of a whole second by rounding alone.
    rounded = round(seconds, 6)
    return "go" if rounded >= GO_S else "caution" if rounded >= CAUTION_S else "stop"


@dataclass(frozen=True)
class ClipCoverage:
    """What there is of one clip."""

    name: str
    source: str
    seconds: dict[str, float]
    """Tier -> [s]."""
    segments: int
    speed: float
    """Mean forward speed [m/s]."""
    batch_share: float
    """Expected share of a minibatch."""


@dataclass(frozen=True)
class Block:
    """One block of the features: spread of its dimensions, each in the block's unit."""

    name: str
    unit: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def near_constant(self) -> tuple[int, ...]:
        """Dimensions that hardly vary."""
        return tuple(i for i, std in enumerate(self.std) if std < NEAR_CONSTANT)


@dataclass(frozen=True)
class Analysis:
    """A dataset in numbers; features are those of the good tiers, where there are any."""

    decision: Decision
    seconds: dict[str, dict[str, float]]
    """Tier -> support -> [s]."""
    clips: tuple[ClipCoverage, ...]
    num_sources: int
    """Clips that are not mirrored or otherwise made from each other."""
    num_segments: int
    speed_bins: tuple[float, ...]
    """Where the bins of the segments' mean speed begin, `SPEED_BIN` wide [m/s]."""
    speeds: dict[str, tuple[float, ...]]
    """Tier -> seconds per bin [s]."""
    standing_s: float
    starts: int
    """Changes from standing to walking within a segment."""
    stops: int
    """Changes from walking to standing within a segment."""
    blocks: tuple[Block, ...]
    metrics: dict[str, tuple[float, float, float]]
    """Metric -> mean weighted by frames, least and most over the segments."""
    notes: tuple[str, ...] = ()
    """What is missing or one-sided."""

    @property
    def best_s(self) -> float:
        """Motion of tier 0+, which alone decides [s]."""
        return sum(self.seconds.get(TIERS[0], {}).values())

    @property
    def good_s(self) -> float:
        """Motion of the good tiers [s]."""
        return sum(sum(self.seconds.get(tier, {}).values()) for tier in GOOD_TIERS)

    def as_dict(self) -> dict[str, Any]:
        """Plain containers for JSON."""
        return {**asdict(self), "best_s": self.best_s, "good_s": self.good_s}


def analyse(dataset: ReferenceDataset) -> Analysis:
    """Decision, coverage, features and quality of a dataset on the CPU."""
    lengths = (dataset.segment_length.double() * dataset.ctrl_dt).tolist()
    labels = zip(dataset.segment_tier, dataset.segment_support, lengths, strict=True)
    seconds: dict[str, dict[str, float]] = {
        tier: {} for tier in TIERS if tier in dataset.segment_tier
    }
    for tier, support, s in labels:
        seconds[tier][support] = seconds[tier].get(support, 0.0) + s
    chance = segment_chances(dataset)
    clips = tuple(_coverage(dataset, name, chance) for name in dict.fromkeys(dataset.segment_clip))
    bins, speeds = _speeds(dataset)
    changes = [_standing(dataset, i) for i in range(dataset.num_segments)]
    good = any(tier in GOOD_TIERS for tier in dataset.segment_tier)
    found = Analysis(
        decision=decide(sum(seconds.get(TIERS[0], {}).values())),
        seconds=seconds,
        clips=clips,
        num_sources=len({clip.source for clip in clips}),
        num_segments=dataset.num_segments,
        speed_bins=bins,
        speeds=speeds,
        standing_s=sum(change[0] for change in changes),
        starts=sum(change[1] for change in changes),
        stops=sum(change[2] for change in changes),
        blocks=_blocks(dataset.select(GOOD_TIERS) if good else dataset),
        metrics=_metrics(dataset),
    )
    return replace(found, notes=tuple(_notes(found, chance)))


def segment_chances(dataset: ReferenceDataset) -> Tensor:
    """Share (S,) of each segment in what training draws: by weight and windows, of good tiers."""
    windows = (dataset.segment_length - WINDOW + 1).clamp(min=0)
    used = [tier in GOOD_TIERS for tier in dataset.segment_tier]
    if any(used):
        windows = windows * torch.tensor(used)
    share = (dataset.segment_weight * windows).double()
    return share / share.sum()


def _coverage(dataset: ReferenceDataset, name: str, chance: Tensor) -> ClipCoverage:
    mine = [i for i, clip in enumerate(dataset.segment_clip) if clip == name]
    frames = dataset.segment_length[mine]
    tiers = [dataset.segment_tier[i] for i in mine]
    source = next(e["source"] for e in dataset.manifest["clips"] if e["name"] == name)
    return ClipCoverage(
        name=name,
        # What augmentation did to a clip is told after its source.
        source=source.split(";")[0],
        seconds={
            tier: int(frames[[t == tier for t in tiers]].sum()) * dataset.ctrl_dt
            for tier in dict.fromkeys(tiers)
        },
        segments=len(mine),
        speed=float((dataset.segment_velocity[mine] * frames).sum() / frames.sum()),
        batch_share=float(chance[mine].sum()),
    )


def _speeds(dataset: ReferenceDataset) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    """Where bins of the segments' mean speed begin, and seconds of each tier per bin."""
    # Rounded, so that a clip of 0.3 m/s that came out at 0.29999 stays in its bin.
    bins = np.floor((dataset.segment_velocity.double().numpy() + 1e-3) / SPEED_BIN).astype(int)
    seconds = dataset.segment_length.numpy() * dataset.ctrl_dt
    tiers = np.array(dataset.segment_tier)
    low = int(bins.min())
    counts = {
        tier: np.bincount(bins - low, seconds * (tiers == tier)) for tier in TIERS if tier in tiers
    }
    begin = (low + np.arange(bins.max() - low + 1)) * SPEED_BIN
    return tuple(begin.tolist()), {tier: tuple(x.tolist()) for tier, x in counts.items()}


def _standing(dataset: ReferenceDataset, segment: int) -> tuple[float, int, int]:
    """Time spent standing [s], starts and stops in one segment."""
    first, length = int(dataset.segment_start[segment]), int(dataset.segment_length[segment])
    velocity = dataset.amp_layout.unpack(dataset.amp[first : first + length])["linvel"][:, :2]
    mean = running_mean(velocity, round(SPEED_AVERAGE_S / dataset.ctrl_dt))
    speed = torch.linalg.vector_norm(mean, dim=-1)
    # Between the two limits nothing changes.
    walks = (speed > WALKING)[(speed > WALKING) | (speed < STANDING)].int().diff()
    standing_s = float((speed < STANDING).sum()) * dataset.ctrl_dt
    return standing_s, int((walks > 0).sum()), int((walks < 0).sum())


def _blocks(dataset: ReferenceDataset) -> tuple[Block, ...]:
    rows = dataset.amp.double()
    std, mean = torch.std_mean(rows, dim=0, correction=0)
    spread = (mean, std, rows.amin(0), rows.amax(0))
    return tuple(
        Block(field.name, field.unit, *(tuple(x[where].tolist()) for x in spread))
        for field, where in zip(
            dataset.amp_layout.fields, dataset.amp_layout.slices.values(), strict=True
        )
    )


def _metrics(dataset: ReferenceDataset) -> dict[str, tuple[float, float, float]]:
    segments = dataset.manifest["segments"]
    found = {}
    for name in segments[0]["metrics"]:
        rows = [(s["metrics"][name], s["frames"]) for s in segments]
        rows = [(value, frames) for value, frames in rows if value is not None]
        if rows:
            values, frames = zip(*rows, strict=True)
            found[name] = (float(np.average(values, weights=frames)), min(values), max(values))
    return found


def _notes(found: Analysis, chance: Tensor) -> list[str]:
    notes = []
    if found.num_sources < ENOUGH_CLIPS:
        notes.append(f"{found.num_sources} sources; {ENOUGH_CLIPS} or more make a style")
    if found.num_segments < ENOUGH_SEGMENTS:
        notes.append(f"{found.num_segments} segments; {ENOUGH_SEGMENTS} or more are wanted")
    harness = sum(by.get("harness", 0.0) for t, by in found.seconds.items() if t in GOOD_TIERS)
    if harness > 0.0:
        notes.append(f"{harness:.1f} s of the {found.good_s:.1f} s were held up by a harness")
    if found.standing_s == 0.0:
        notes.append("the robot never stands")
    elif not found.starts or not found.stops:
        notes.append(f"{found.starts} starts and {found.stops} stops: no way in or out of a walk")
    there = {
        round(begin, 6)
        for tier in GOOD_TIERS
        for begin, s in zip(found.speed_bins, found.speeds.get(tier, ()), strict=False)
        if s > 0.0
    }
    missing = [f"{speed:.1f}" for speed in WANTED_SPEEDS if speed not in there]
    if missing:
        notes.append(f"no good motion in the {SPEED_BIN:g} m/s from {', '.join(missing)} m/s on")
    largest = max(found.clips, key=lambda clip: clip.batch_share)
    if largest.batch_share > LARGEST_SHARE:
        notes.append(f"{largest.batch_share:.0%} of every minibatch come from {largest.name}")
    flat = [f"{block.name} {i}" for block in found.blocks for i in block.near_constant]
    if flat:
        notes.append(f"hardly vary (standard deviation < {NEAR_CONSTANT:g}): {', '.join(flat)}")
    if unused := int((chance == 0).sum()):
        notes.append(f"{unused} segments are never drawn at the tiers {', '.join(GOOD_TIERS)}")
    return notes


def verdict(found: Analysis) -> str:
    """The decision in one line."""
    both = f"{found.good_s:.1f} s of tiers {' and '.join(GOOD_TIERS)}"
    seconds = f"{found.best_s:.1f} s of tier {GOOD_TIERS[0]} ({both})"
    return f"{found.decision}: {seconds}; {ADVICE[found.decision]}"


def analysis_markdown(found: Analysis) -> str:
    """All that `analyse` found, without a title."""
    features = []
    for block in found.blocks:
        spans = (f"{min(x):.3g} to {max(x):.3g}" for x in (block.mean, block.std))
        whole = f"{min(block.low):.3g} to {max(block.high):.3g}"
        flat = ", ".join(map(str, block.near_constant)) or "-"
        features.append((block.name, block.unit, str(len(block.mean)), *spans, whole, flat))
    tiers = [f"tier {tier}, s" for tier in found.seconds]
    parts = [
        f"**{verdict(found)}**",
        "\n".join(f"- {note}" for note in found.notes),
        "### Coverage",
        table(
            ("tier", "support none, s", "support harness, s"),
            [
                (tier, *(f"{by.get(support, 0.0):.2f}" for support in ("none", "harness")))
                for tier, by in found.seconds.items()
            ],
        ),
        f"{len(found.clips)} clips from {found.num_sources} sources, {found.num_segments} segments;"
        f" {found.standing_s:.1f} s standing, {found.starts} starts, {found.stops} stops.",
        table(
            ("m/s from", *tiers),
            [
                (f"{low:.1f}", *(f"{s:.2f}" for s in seconds))
                for low, *seconds in zip(found.speed_bins, *found.speeds.values(), strict=True)
            ],
        ),
        table(
            ("clip", *tiers, "segments", "m/s", "of a minibatch", "source"),
            [
                (
                    clip.name,
                    *(f"{clip.seconds.get(tier, 0.0):.2f}" for tier in found.seconds),
                    str(clip.segments),
                    f"{clip.speed:.3f}",
                    f"{clip.batch_share:.1%}",
                    clip.source,
                )
                for clip in found.clips
            ],
        ),
        "### Features",
        table(
            ("block", "unit", "size", "mean", "standard deviation", "range", "hardly varying"),
            features,
        ),
        "### Quality of the segments",
        table(
            ("metric", "unit", "mean", "least", "most", "meaning"),
            [
                (name, METRICS[name].unit, *(f"{x:.4g}" for x in values), METRICS[name].meaning)
                for name, values in found.metrics.items()
            ],
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_analysis(found: Analysis, folder: Path, title: str) -> Path:
    """Write analysis.md and analysis.json into a folder; returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "analysis.json").write_text(to_json(found.as_dict()), encoding="utf-8")
    path = folder / "analysis.md"
    path.write_text(f"# {title}\n\n{analysis_markdown(found)}", encoding="utf-8")
    return path

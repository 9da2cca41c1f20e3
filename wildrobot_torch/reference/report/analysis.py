"""What a reference dataset holds and whether it is enough to train on, from its file alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from envs.errors import UserError
from wildrobot_torch.motion.series import running_mean
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.judge.gates import GOOD_TIERS, TIERS

GO_S, CAUTION_S = 60.0, 30.0
"""Seconds from which on training is worth its while, and below which it is not [s]."""

NEAR_CONSTANT = 0.01
"""A feature with less standard deviation than this, in its own unit, tells nothing."""
ENOUGH_CLIPS, ENOUGH_SEGMENTS = 5, 10
LARGEST_SHARE = 0.5
"""A clip that makes up more of a minibatch than this drowns the others."""
SPEED_BIN = 0.1
"""Width of a bin of speeds [m/s]."""
SPEED_RANGE = (0.15, 0.6)
"""Speeds that a walk for all commands needs [m/s]."""
BATCH = 1024
"""Windows in a minibatch, unless told otherwise."""
WINDOW = 2
"""Frames that the discriminator sees at once."""
DRAWN = 32
"""Minibatches drawn to see what they hold."""
STANDING, WALKING = 0.03, 0.10
"""Slower than the one the robot stands, faster than the other it walks [m/s]."""
SPEED_AVERAGE_S = 1.0
"""Time over which that speed is averaged, so that the sway of a stride is no stop [s]."""
DURATION_EDGES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, math.inf)
"""Bins of the histogram of segment durations [s]."""

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
    harness_s: float
    """Of them held up by a harness [s]."""
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
class Diversity:
    """What minibatches hold, as the dataset's sampler draws them."""

    batch: int
    """Windows in it."""
    clips: float
    """Distinct clips, mean over minibatches."""
    least_clips: int
    """Distinct clips in the minibatch that has the fewest."""
    segments: float
    """Distinct segments, mean over minibatches."""
    effective_clips: float
    """exp of the entropy of the clips' shares: as many equal clips would be as diverse."""


@dataclass(frozen=True)
class Analysis:
    """A dataset in numbers; features and diversity are those of the good tiers, where there are."""

    decision: Decision
    seconds: dict[str, dict[str, float]]
    """Tier -> support -> [s]."""
    clips: tuple[ClipCoverage, ...]
    num_sources: int
    """Clips that are not mirrored or otherwise made from each other."""
    num_segments: int
    speeds: dict[str, tuple[float, ...]]
    """Tier -> seconds per bin of `SPEED_BIN` [s], first bin from `speed_low` on."""
    speed_low: float
    """[m/s]."""
    standing_s: float
    starts: int
    """Changes from standing to walking within a segment."""
    stops: int
    """Changes from walking to standing within a segment."""
    durations: tuple[int, ...]
    """Segments per bin of `DURATION_EDGES`."""
    blocks: tuple[Block, ...]
    diversity: Diversity
    metrics: dict[str, tuple[float, float, float]]
    """Metric -> mean weighted by frames, least and most over the segments."""
    notes: tuple[str, ...]
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
        content = asdict(self)
        for block, plain in zip(self.blocks, content["blocks"], strict=True):
            plain["near_constant"] = list(block.near_constant)
        edges = [edge if math.isfinite(edge) else None for edge in DURATION_EDGES]
        return {
            **content,
            "best_s": self.best_s,
            "good_s": self.good_s,
            "limits": {"go_s": GO_S, "caution_s": CAUTION_S, "tiers": [TIERS[0]]},
            "speed_bin": SPEED_BIN,
            "duration_edges": edges,
        }


def analyse(dataset: ReferenceDataset, batch: int = BATCH) -> Analysis:
    """Decision, coverage, features and diversity of a dataset.

    Args:
        dataset: on the CPU.
        batch: windows in a minibatch of the discriminator.

    Raises:
        ValueError: `batch` is not positive.
    """
    if batch < 1:
        raise UserError(f"batch is {batch}; allowed: 1 or more")
    seconds = (dataset.segment_length.double() * dataset.ctrl_dt).tolist()
    by_tier: dict[str, dict[str, float]] = {}
    for tier, support, s in zip(
        dataset.segment_tier, dataset.segment_support, seconds, strict=True
    ):
        supports = by_tier.setdefault(tier, {})
        supports[support] = supports.get(support, 0.0) + s
    by_tier = {tier: by_tier[tier] for tier in sorted(by_tier, key=TIERS.index)}
    chance = segment_chances(dataset)
    clips = _clips(dataset, chance)
    speeds, speed_low = _speeds(dataset)
    changes = [_standing(dataset, i) for i in range(dataset.num_segments)]
    counted = torch.bucketize(
        torch.tensor(seconds), torch.tensor(DURATION_EDGES[1:-1]), right=True
    ).bincount(minlength=len(DURATION_EDGES) - 1)
    found = Analysis(
        decision=decide(sum(by_tier.get(TIERS[0], {}).values())),
        seconds=by_tier,
        clips=clips,
        num_sources=len({clip.source for clip in clips}),
        num_segments=dataset.num_segments,
        speeds=speeds,
        speed_low=speed_low,
        standing_s=sum(change[0] for change in changes),
        starts=sum(change[1] for change in changes),
        stops=sum(change[2] for change in changes),
        durations=tuple(counted.tolist()),
        blocks=_blocks(training_set(dataset)),
        diversity=_diversity(training_set(dataset), [c.batch_share for c in clips], batch),
        metrics=_metrics(dataset),
        notes=(),
    )
    return Analysis(**{**vars(found), "notes": tuple(_notes(found, chance))})


def training_set(dataset: ReferenceDataset) -> ReferenceDataset:
    """What training uses unless told otherwise: the good tiers; everything, without them."""
    good = any(tier in GOOD_TIERS for tier in dataset.segment_tier)
    return dataset.select(GOOD_TIERS) if good else dataset


def segment_chances(dataset: ReferenceDataset) -> Tensor:
    """Share (S,) of each segment in what training draws: by weight and windows."""
    windows = (dataset.segment_length - WINDOW + 1).clamp(min=0)
    used = [tier in GOOD_TIERS for tier in dataset.segment_tier]
    if any(used):
        windows = windows * torch.tensor(used)
    share = (dataset.segment_weight * windows).double()
    return share / share.sum()


def _clips(dataset: ReferenceDataset, chance: Tensor) -> tuple[ClipCoverage, ...]:
    sources = {entry["name"]: entry["source"] for entry in dataset.manifest["clips"]}
    found = []
    for name in dict.fromkeys(dataset.segment_clip):
        mine = [i for i, clip in enumerate(dataset.segment_clip) if clip == name]
        frames = dataset.segment_length[mine]
        seconds: dict[str, float] = {}
        for i in mine:
            tier = dataset.segment_tier[i]
            s = int(dataset.segment_length[i]) * dataset.ctrl_dt
            seconds[tier] = seconds.get(tier, 0.0) + s
        held = [dataset.segment_support[i] == "harness" for i in mine]
        found.append(
            ClipCoverage(
                name=name,
                # What augmentation did to a clip is told after its source.
                source=sources[name].split(";")[0],
                seconds=seconds,
                harness_s=int((frames * torch.tensor(held)).sum()) * dataset.ctrl_dt,
                segments=len(mine),
                speed=float((dataset.segment_velocity[mine] * frames).sum() / frames.sum()),
                batch_share=float(chance[mine].sum()),
            )
        )
    return tuple(found)


def _speeds(dataset: ReferenceDataset) -> tuple[dict[str, tuple[float, ...]], float]:
    """Seconds per bin of the segments' mean speed, and where the first bin begins."""
    # Rounded, so that a clip of 0.3 m/s that came out at 0.29999 stays in its bin.
    bins = torch.floor((dataset.segment_velocity.double() + 1e-3) / SPEED_BIN).long()
    low = int(bins.min())
    counts = {}
    for tier in sorted(set(dataset.segment_tier), key=TIERS.index):
        mine = torch.tensor([t == tier for t in dataset.segment_tier])
        seconds = dataset.segment_length.double() * dataset.ctrl_dt * mine
        total = torch.zeros(int(bins.max()) - low + 1, dtype=torch.float64)
        counts[tier] = tuple(total.index_add(0, bins - low, seconds).tolist())
    return counts, low * SPEED_BIN


def _standing(dataset: ReferenceDataset, segment: int) -> tuple[float, int, int]:
    """Time spent standing [s], starts and stops in one segment."""
    first, length = int(dataset.segment_start[segment]), int(dataset.segment_length[segment])
    velocity = dataset.amp_layout.unpack(dataset.amp[first : first + length])["linvel"][:, :2]
    mean = running_mean(velocity, round(SPEED_AVERAGE_S / dataset.ctrl_dt))
    speed = torch.linalg.vector_norm(mean, dim=-1)
    starts, stops, walks = 0, 0, None
    for value in speed.tolist():
        # In between the two limits nothing changes.
        if value > WALKING:
            starts += walks is False
            walks = True
        elif value < STANDING:
            stops += walks is True
            walks = False
    return float((speed < STANDING).sum()) * dataset.ctrl_dt, starts, stops


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


def _diversity(dataset: ReferenceDataset, shares: Sequence[float], batch: int) -> Diversity:
    """Distinct clips and segments in minibatches that the dataset's own sampler draws."""
    number = {name: i for i, name in enumerate(dict.fromkeys(dataset.segment_clip))}
    clip = torch.tensor([number[name] for name in dataset.segment_clip])
    first = dataset.draw_windows(
        DRAWN * batch, WINDOW, torch.Generator().manual_seed(0), batches=DRAWN
    )
    segment = torch.searchsorted(dataset.segment_start, first, right=True) - 1

    def distinct(values: Tensor) -> list[int]:
        return [len(row.unique()) for row in values.view(DRAWN, batch)]

    clips, segments = distinct(clip[segment]), distinct(segment)
    entropy = -sum(p * math.log(p) for p in shares if p > 0.0)
    return Diversity(
        batch=batch,
        clips=sum(clips) / DRAWN,
        least_clips=min(clips),
        segments=sum(segments) / DRAWN,
        effective_clips=math.exp(entropy),
    )


def _metrics(dataset: ReferenceDataset) -> dict[str, tuple[float, float, float]]:
    segments = dataset.manifest["segments"]
    found = {}
    for name in segments[0]["metrics"]:
        rows = [(s["metrics"][name], s["frames"]) for s in segments]
        rows = [(value, frames) for value, frames in rows if value is not None]
        if rows:
            values = [value for value, _ in rows]
            mean = sum(value * frames for value, frames in rows) / sum(f for _, f in rows)
            found[name] = (mean, min(values), max(values))
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
    missing = [f"{speed:.1f}" for speed in _gaps(found)]
    if missing:
        notes.append(f"no good motion in the {SPEED_BIN:g} m/s from {', '.join(missing)} m/s on")
    largest = max(found.clips, key=lambda clip: clip.batch_share)
    if largest.batch_share > LARGEST_SHARE:
        notes.append(f"{largest.batch_share:.0%} of every minibatch come from {largest.name}")
    flat = [f"{block.name} {i}" for block in found.blocks for i in block.near_constant]
    if flat:
        notes.append(f"hardly vary (standard deviation < {NEAR_CONSTANT:g}): {', '.join(flat)}")
    if int((chance > 0).sum()) < found.num_segments:
        unused = found.num_segments - int((chance > 0).sum())
        notes.append(f"{unused} segments are never drawn at the tiers {', '.join(GOOD_TIERS)}")
    return notes


def _gaps(found: Analysis) -> list[float]:
    """Bins within `SPEED_RANGE` without motion of the good tiers, by where they begin [m/s]."""
    first = math.floor(SPEED_RANGE[0] / SPEED_BIN + 1e-6)
    last = math.ceil(SPEED_RANGE[1] / SPEED_BIN - 1e-6)
    offset = round(found.speed_low / SPEED_BIN)
    empty = []
    for k in range(first, last):
        columns = [found.speeds[tier] for tier in GOOD_TIERS if tier in found.speeds]
        if not any(0 <= k - offset < len(c) and c[k - offset] > 0 for c in columns):
            empty.append(k * SPEED_BIN)
    return empty

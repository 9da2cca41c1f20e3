"""Validation split of a reference: motion that is never trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from envs.errors import UserError
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.sampling import MIN_CLIPS

_VARIANT = re.compile(r"_(mirror|loop|from_rest|x[\d.]+|turn[+-][\d.e+-]+)$")


def family(clip: str) -> str:
    """Name of the motion that a clip shows: the clip's name without the suffixes of its variants.

    Mirror images, loops, other speeds and headings of a clip and walks from rest contain the same
    motion, so they must fall on the same side of a split.
    """
    while (shorter := _VARIANT.sub("", clip)) != clip:
        clip = shorter
    return clip


def _distances(dataset: ReferenceDataset, members: Sequence[int]) -> Tensor:
    """(N, N): how far N families are from each other, in feature deviations of the dataset.

    `members` are the families of the segments, 0 to N - 1. Infinity from a family to itself.
    """
    frames: list[list[Tensor]] = [[] for _ in range(max(members) + 1)]
    starts, lengths = dataset.segment_start.tolist(), dataset.segment_length.tolist()
    for member, start, length in zip(members, starts, lengths, strict=True):
        frames[member].append(dataset.amp[start : start + length])
    scale = dataset.amp.std(0, correction=0).clamp(min=1e-6)
    scaled = [torch.cat(parts) / scale for parts in frames]
    moments = torch.stack([torch.cat([x.mean(0), x.std(0, correction=0)]) for x in scaled])
    return torch.cdist(moments, moments).fill_diagonal_(float("inf"))


def split(dataset: ReferenceDataset, share: float) -> tuple[ReferenceDataset, ReferenceDataset]:
    """The part to train on, and the part held out: about `share` of the clip families.

    Families (`family`) stay whole. All but the slowest and the fastest are ordered by mean speed
    and cut into as many stretches as families are held out, at least one. Of each stretch the
    family with the nearest neighbour, by means and standard deviations of the features, is held
    out. So held-out motions lie between trained ones, and a motion without a similar one is
    trained on. The split is deterministic; each part has feature statistics of its own.

    Raises:
        DatasetError: there are fewer than 3 families, or fewer than 3 clips would be left to train
            on; names the setting and the remedy.
        ValueError: `share` is not between 0 and 1.
    """
    if not 0.0 < share < 1.0:
        raise UserError(f"the share of held-out reference is {share}; allowed: above 0, below 1")
    number = {name: i for i, name in enumerate(dict.fromkeys(map(family, dataset.segment_clip)))}
    seconds, metres = [0.0] * len(number), [0.0] * len(number)
    members = [number[family(clip)] for clip in dataset.segment_clip]
    lengths, speeds = dataset.segment_length.tolist(), dataset.segment_velocity.tolist()
    for member, length, speed in zip(members, lengths, speeds, strict=True):
        seconds[member] += length
        metres[member] += length * speed
    order = sorted(range(len(number)), key=lambda f: (metres[f] / seconds[f], f))
    between = order[1:-1]
    count = min(max(1, round(share * len(order))), len(between))
    held: set[int] = set()
    kept: set[int] = set()
    distance = _distances(dataset, members)
    for i in range(count):
        stretch = between[i * len(between) // count : (i + 1) * len(between) // count]
        least, likest = (x.tolist() for x in distance.min(1))
        chosen = min(set(stretch) - kept or stretch, key=lambda f: (least[f], f))
        # Its nearest neighbour stays in training; a held-out family is nobody's neighbour.
        kept.add(likest[chosen])
        held.add(chosen)
        distance[:, chosen] = float("inf")
    train = [i for i, member in enumerate(members) if member not in held]
    clips = len({dataset.segment_clip[i] for i in train})
    if not held or clips < MIN_CLIPS:
        raise DatasetError(
            f"the reference has {len(number)} kinds of motion in "
            f"{len(set(dataset.segment_clip))} clips, too few to hold {share:g} of it out and "
            f"train on {MIN_CLIPS} clips; make it from more clips (a motion prior needs "
            f"{MIN_CLIPS}), or hold out none with --data.validation_split 0"
        )
    rest = [i for i, member in enumerate(members) if member in held]
    return dataset.take(train, own_statistics=True), dataset.take(rest, own_statistics=True)

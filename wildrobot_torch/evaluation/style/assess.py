"""Policies against the reference, between what the reference itself reaches and wrong motions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.layout import Layout
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.evaluate import Verdict
from wildrobot_torch.evaluation.style.compare import STYLE_METRICS, compare
from wildrobot_torch.evaluation.style.controls import CONTROLS
from wildrobot_torch.evaluation.style.motion import Motion, reference_recording
from wildrobot_torch.evaluation.style.space import Space, compared
from wildrobot_torch.motion.metrics import EPISODE_METRICS, Limit, measure
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.splits import family, split

SETTLE_S = 2.0
"""Time at the start of an episode that is left out [s]."""
STANDING, AGAINST, REPLICATE = "standing", "against", "replicate"
HELD_OUT, WHOLE = "held out", "whole"
SCOPES = {
    HELD_OUT: "families kept from training; noise floor: the training families nearest in speed",
    WHOLE: "all walking families; noise floor: every other family by speed against the rest",
}
UNDEFINED = ("fall_rate", "survival", "velocity_error_episode")
"""Metrics that mean nothing of a reference: it has no commands, so that its speeds are compared
with the mean of their family."""
FRECHET_SHARE = 0.5
"""Largest Frechet distance, as a share of that of the policy trained without style."""
STYLE_LIMITS = {"auc": Limit(max=0.85), "dtw": Limit(max=0.02)}
GAIT_LIMITS = {
    "foot_slip": Limit(max=0.08),
    "phase_offset": Limit(min=0.45, max=0.55),
    "symmetry_index": Limit(max=15.0),
}
"""`symmetry_index` is the worst of the symmetry indices."""
REWARD_LIMIT = Limit(min=0.3)
"""Of the mean style reward of a checkpoint's own prior, which is in [0, 1]."""


@dataclass(frozen=True)
class References:
    """A reference prepared for assessments."""

    dataset: ReferenceDataset
    recording: Recording
    """Its steady walking."""
    motion: Motion
    held: tuple[str, ...]
    """Families kept from training."""
    space: Space
    """Of the training reference."""
    robot: RobotSpec
    layout: Layout
    """Of the style features."""

    @classmethod
    def of(cls, dataset: ReferenceDataset, robot: RobotSpec, share: float) -> References:
        """Prepare a dataset, of which `share` is held out as in training; or a DatasetError."""
        layout = dataset.amp_layout
        recording, names = reference_recording(dataset, robot)
        motion = Motion.of(recording, robot, layout, names)
        _, rest = split(dataset, share)
        kept = set(map(family, rest.segment_clip))
        held = tuple(f for f in motion.family_speeds() if f in kept)
        train = [f for f in motion.family_speeds() if f not in held]
        if len(held) < 2 or len(train) < len(held):
            raise DatasetError(
                f"the reference has {len(held)} walking families held out and {len(train)} to "
                "train on; a verdict needs at least 2 held out and as many to train on: make it "
                "from more clips, or change --held_out"
            )
        windows, _ = motion.select(train).windows()
        space = Space.fit(windows, compared(layout))
        return cls(dataset, recording, motion, held, space, robot, layout)

    def commands(self, episodes: int) -> tuple[Tensor, tuple[str, ...]]:
        """Speeds (E,) [m/s] to command, and their families: each family's equally often.

        E is the largest multiple of their number that is at most `episodes`, and at least it.
        """
        speeds = self.motion.family_speeds()
        each = max(1, episodes // len(speeds))
        names = tuple(name for name in speeds for _ in range(each))
        return torch.tensor([speeds[name] for name in names]), names

    def replicate(self, other: ReferenceDataset) -> Motion:
        """The walking of another dataset of the same clips, by another tracking policy.

        A DatasetError where it is this reference, has other time steps, or lacks a family.
        """
        recording, names = reference_recording(other, self.robot)
        mine, fault = self.dataset.ctrl_dt, ""
        if torch.equal(other.amp, self.dataset.amp):
            fault = "is the reference itself"
        elif other.ctrl_dt != mine:
            fault = f"has frames {other.ctrl_dt:g} s apart, the reference's {mine:g} s"
        elif lacks := sorted(set(self.motion.family) - set(names)):
            fault = f"has no walking of {', '.join(lacks)}"
        if fault:
            raise DatasetError(
                f"the replicate {fault}; make it from the reference's clips with another "
                "--reference.tracking.seed"
            )
        return Motion.of(recording, self.robot, self.layout, names)

    def controls(self) -> dict[str, Motion]:
        """Wrong motions made from the reference, by name."""
        robot, layout = self.robot, self.layout
        return {
            name: Motion.of(make(self.recording, robot, layout), robot, layout, self.motion.family)
            for name, make in CONTROLS.items()
        }

    def neighbours(self) -> tuple[str, ...]:
        """For each held-out family the nearest training family in speed, each once."""
        speeds = self.motion.family_speeds()
        free = [name for name in speeds if name not in self.held]
        chosen: list[str] = []
        for name in self.held:
            nearest = min(free, key=lambda other: (abs(speeds[other] - speeds[name]), other))
            free.remove(nearest)
            chosen.append(nearest)
        return tuple(chosen)


@dataclass(frozen=True)
class Scope:
    """Comparisons with one part of the reference."""

    families: dict[str, float]
    """Name -> speed [m/s]."""
    floor_families: tuple[str, ...]
    """The part of the reference that takes a policy's place in the noise floor."""
    noise_floor: dict[str, float]
    """Metric of `STYLE_METRICS` -> value; NaN where undefined."""
    columns: dict[str, dict[str, float]]
    """The same of the controls, of `replicate`, where there is one, and of the policies."""
    detected: dict[str, dict[str, bool]]
    """Metric -> control -> whether the metric tells it from the noise floor."""

    def evidence(self, metric: str) -> bool:
        """Whether a metric detects every control that it must."""
        needed = (*STYLE_METRICS[metric].must_detect, AGAINST)
        return all(seen for name, seen in self.detected[metric].items() if name in needed)


@dataclass(frozen=True)
class Assessment:
    """The style of several policies."""

    scopes: dict[str, Scope]
    gait: dict[str, dict[str, float]]
    """Column (reference, standing, policies) -> metric -> value."""

    def verdicts(self, policy: str, style_reward: float = math.nan) -> list[Verdict]:
        """The limits of walking in style, for a policy on the held-out reference.

        The limit of a style metric is not applied where the metric misses a control that it must
        detect, or where the replicate misses the limit. An undefined gait fails. `style_reward` is
        the mean of the policy's own prior's reward, NaN if it has none.
        """
        columns, gait = self.scopes[HELD_OUT].columns, self.gait[policy]
        limits = STYLE_LIMITS
        if AGAINST in columns and policy != AGAINST:
            limit = Limit(max=FRECHET_SHARE * columns[AGAINST]["frechet"])
            limits = {"frechet": limit, **limits}
        found = [self._style_verdict(policy, metric, limit) for metric, limit in limits.items()]
        indices = [value for name, value in gait.items() if name.startswith("symmetry_")]
        worst = math.nan if any(map(math.isnan, indices)) else max(indices)
        values = {**gait, "symmetry_index": worst, "style_reward": style_reward}
        reward = {} if math.isnan(style_reward) else {"style_reward": REWARD_LIMIT}
        return found + [
            Verdict(name, values[name], limit) for name, limit in (GAIT_LIMITS | reward).items()
        ]

    def _style_verdict(self, policy: str, metric: str, limit: Limit) -> Verdict:
        scope = self.scopes[HELD_OUT]
        value, note = scope.columns[policy][metric], ""
        if not scope.evidence(metric):
            note = "misses a control that it must detect"
        elif REPLICATE in scope.columns:
            reached = scope.columns[REPLICATE][metric]
            note = "" if limit.holds(reached) else f"the replicate has {reached:.4g}"
        return Verdict(metric, value, limit, note)


def assess(
    references: References,
    recordings: Mapping[str, Recording],
    families: Sequence[str],
    replicate: Motion | None = None,
) -> Assessment:
    """Policies against the reference.

    Args:
        references: what they are compared with.
        recordings: `standing`, then policies by name (`against` is one); E episodes each.
        families: E names; these and the commands as `References.commands` gives them.
        replicate: as `References.replicate` gives it.
    """
    robot = references.robot
    motions = {
        name: Motion.of(recording, robot, references.layout, families, SETTLE_S)
        for name, recording in recordings.items()
    }
    controls = {STANDING: motions.pop(STANDING), **references.controls()}
    others = motions if replicate is None else {REPLICATE: replicate, **motions}
    whole = tuple(references.motion.family_speeds())
    scopes = {
        HELD_OUT: _scope(references, references.held, references.neighbours(), controls, others),
        WHOLE: _scope(references, whole, None, controls, others),
    }
    gait = {"reference": measure(references.recording, robot, 0.0, EPISODE_METRICS)}
    gait["reference"] |= dict.fromkeys(UNDEFINED, math.nan)
    gait |= {name: measure(r, robot, SETTLE_S, EPISODE_METRICS) for name, r in recordings.items()}
    return Assessment(scopes, gait)


def _scope(
    references: References,
    families: Sequence[str],
    neighbours: tuple[str, ...] | None,
    controls: Mapping[str, Motion],
    others: Mapping[str, Motion],
) -> Scope:
    """Comparisons with some families; noise floor: `neighbours` against them, or their halves."""
    motion, space = references.motion, references.space
    target = motion.select(families)
    speeds = target.family_speeds()
    floor_families = neighbours or tuple(speeds)[1::2]
    floor_target = target if neighbours else motion.select(tuple(speeds)[0::2])
    noise_floor = compare(motion.select(floor_families), floor_target, space)
    motions = {**controls, **others}
    columns = {n: compare(other.select(families), target, space) for n, other in motions.items()}
    wrong = [name for name in motions if name in controls or name == AGAINST]
    detected = {
        name: {n: metric.detects(columns[n][name], noise_floor[name]) for n in wrong}
        for name, metric in STYLE_METRICS.items()
    }
    return Scope(speeds, floor_families, noise_floor, columns, detected)

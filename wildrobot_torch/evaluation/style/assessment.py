"""Policies against the reference, between what the reference itself reaches and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.layout import Layout
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.style.comparison import (
    STYLE_METRICS,
    Comparison,
    Yardstick,
    style_metrics,
)
from wildrobot_torch.evaluation.style.controls import CONTROLS
from wildrobot_torch.evaluation.style.distance import wasserstein
from wildrobot_torch.evaluation.style.motion import (
    Motion,
    as_motion,
    compared,
    dimension_names,
    reference_recording,
)
from wildrobot_torch.evaluation.style.phase import phase_error
from wildrobot_torch.evaluation.style.space import FRAMES, Space
from wildrobot_torch.evaluation.style.warping import pose_errors
from wildrobot_torch.motion.metrics import EPISODE_METRICS, measure
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.splits import family, split

SETTLE_S = 2.0
"""Time at the start of an episode that is left out [s]."""
STANDING, AGAINST, TWIN = "standing", "against", "twin"
SCOPES = {
    "held out": "families kept from training; floor: the training families nearest in speed",
    "whole": "all walking families; floor: every other family by speed against the rest",
}
PER_COMMAND = ("wasserstein", "dtw", "phase_rmse", "phase_r")
"""Style metrics that make sense for a single speed."""
UNDEFINED = ("fall_rate", "survival", "velocity_error_episode")
"""Metrics that mean nothing of a reference: it has no commands, so that its speeds are compared
with the mean of their family."""


@dataclass(frozen=True)
class References:
    """A reference prepared for assessments."""

    dataset: ReferenceDataset
    recording: Recording
    """Its steady walking."""
    motion: Motion
    held: tuple[str, ...]
    """Families kept from training."""
    yardstick: Yardstick
    robot: RobotSpec
    layout: Layout

    @classmethod
    def of(cls, dataset: ReferenceDataset, robot: RobotSpec, share: float) -> References:
        """Prepare a dataset, of which `share` is held out as in training.

        Raises:
            DatasetError: too few clips, or none that walks; names the remedy.
        """
        layout = dataset.amp_layout
        recording, names = reference_recording(dataset, robot)
        motion = as_motion(recording, robot, layout, recording.command, names, 0.0)
        families = motion.family_speeds()
        _, rest = split(dataset, share)
        held = tuple(f for f in families if f in set(map(family, rest.segment_clip)))
        train = [f for f in families if f not in held]
        if len(held) < 2 or len(train) < len(held):
            raise DatasetError(
                f"the reference has {len(held)} walking families held out and {len(train)} to "
                "train on; a verdict needs at least 2 held out and as many to train on: make it "
                "from more clips, or change --held-out"
            )
        windows, _ = motion.select(train).windows(FRAMES)
        names = dimension_names(compared(layout), robot)
        yardstick = Yardstick(
            Space.fit(windows, compared(layout)), names, robot.joint_names, robot.leg.leg_length
        )
        return cls(dataset, recording, motion, held, yardstick, robot, layout)

    def commands(self, episodes: int) -> tuple[Tensor, tuple[str, ...]]:
        """Speeds (E,) [m/s] to command, and their families: each family's equally often.

        E is the largest multiple of the number of families that is not above `episodes`, or that
        number.
        """
        speeds = self.motion.family_speeds()
        each = max(1, episodes // len(speeds))
        return torch.tensor(list(speeds.values())).repeat_interleave(each), tuple(
            name for name in speeds for _ in range(each)
        )

    def copy(self, other: ReferenceDataset) -> Motion:
        """The walking of another dataset, of the same clips.

        Raises:
            DatasetError: it is this very reference, its frames are not as far apart, or it lacks a
                family.
        """
        remedy = "make it from the reference's clips with another --reference.tracking.seed"
        recording, names = reference_recording(other, self.robot)
        motion = as_motion(recording, self.robot, self.layout, recording.command, names, 0.0)
        if torch.equal(other.amp, self.dataset.amp):
            raise DatasetError(f"the twin is the reference itself; {remedy}")
        if other.ctrl_dt != self.dataset.ctrl_dt:
            raise DatasetError(
                f"the twin's frames are {other.ctrl_dt:g} s apart, the reference's "
                f"{self.dataset.ctrl_dt:g} s; {remedy}"
            )
        if lacks := sorted(set(self.motion.family) - set(names)):
            raise DatasetError(f"the twin has no walking of {', '.join(lacks)}; {remedy}")
        return motion

    def controls(self) -> dict[str, Motion]:
        """Wrong motions made from the reference, by name."""
        return {
            name: as_motion(
                make(self.recording, self.robot, self.layout), self.robot, self.layout,
                self.motion.speed, self.motion.family, 0.0,
            )
            for name, make in CONTROLS.items()
        }  # fmt: skip


@dataclass(frozen=True)
class Scope:
    """Everything compared with one part of the reference."""

    families: dict[str, float]
    """Name -> speed [m/s]."""
    floor_families: tuple[str, ...]
    """The part of the reference that stands in for a policy in the floor."""
    floor: Comparison
    columns: dict[str, Comparison]
    """Controls, `standing` among them, then `twin`, where there is one, and policies."""
    told: dict[str, dict[str, bool]]
    """Metric -> control -> whether it is told from the floor."""

    def evidence(self, metric: str) -> bool:
        """Whether a metric tells every control apart that it has to see."""
        sees = (*STYLE_METRICS[metric].sees, AGAINST)
        return all(seen for name, seen in self.told[metric].items() if name in sees)


@dataclass(frozen=True)
class Assessment:
    """What policies are worth in style."""

    scopes: dict[str, Scope]
    gait: dict[str, dict[str, float]]
    """Column (reference, standing, policies) -> gait metric -> value."""
    per_command: dict[str, list[dict[str, float | str]]]
    """Policy -> rows of family, command [m/s] and metrics."""


def assess(
    references: References,
    recordings: Mapping[str, Recording],
    families: Sequence[str],
    twin: Motion | None = None,
) -> Assessment:
    """Policies against the reference.

    Args:
        references: what they are compared with.
        recordings: `standing`, then policies by name (`against` is one); E episodes each, with the
            commands of `References.commands`.
        families: E names, likewise.
        twin: the same clips, done by another tracking policy: what a faithful copy reaches. As
            `References.copy` returns it.
    """
    robot = references.robot
    motions = {
        name: as_motion(recording, robot, references.layout, recording.command, families, SETTLE_S)
        for name, recording in recordings.items()
    }
    controls = {STANDING: motions.pop(STANDING), **references.controls()}
    held = motions if twin is None else {TWIN: twin, **motions}
    whole = tuple(references.motion.family_speeds())
    scopes = {
        "held out": _scope(references, references.held, _neighbours(references), controls, held),
        "whole": _scope(references, whole, None, controls, held),
    }
    gait = {"reference": measure(references.recording, robot, 0.0, EPISODE_METRICS)}
    gait["reference"] |= dict.fromkeys(UNDEFINED, float("nan"))
    gait |= {name: measure(r, robot, SETTLE_S, EPISODE_METRICS) for name, r in recordings.items()}
    per_command = {
        name: [
            _row(references, recordings[name], motion, family_name, speed, families)
            for family_name, speed in references.motion.family_speeds().items()
        ]
        for name, motion in motions.items()
    }
    return Assessment(scopes, gait, per_command)


def _neighbours(references: References) -> tuple[str, ...]:
    """For each held-out family the nearest training family in speed that is not taken yet."""
    speeds = references.motion.family_speeds()
    free = [name for name in speeds if name not in references.held]
    chosen: list[str] = []
    for name in references.held:
        nearest = min(free, key=lambda other: (abs(speeds[other] - speeds[name]), other))
        free.remove(nearest)
        chosen.append(nearest)
    return tuple(chosen)


def _scope(
    references: References,
    families: Sequence[str],
    stand_in: tuple[str, ...] | None,
    controls: Mapping[str, Motion],
    motions: Mapping[str, Motion],
) -> Scope:
    """Comparisons with some families; the floor is `stand_in` against them, or their halves."""
    motion, yardstick = references.motion, references.yardstick
    target = motion.select(families)
    speeds = target.family_speeds()
    floor_families = stand_in or tuple(speeds)[1::2]
    floor_target = target if stand_in else motion.select(tuple(speeds)[0::2])
    floor = style_metrics(motion.select(floor_families), floor_target, yardstick)
    columns = {
        name: style_metrics(other.select(families), target, yardstick)
        for name, other in {**controls, **motions}.items()
    }
    wrong = [*controls, *([AGAINST] if AGAINST in motions else [])]
    told = {
        name: {
            control: metric.told_apart(columns[control].values[name], floor.values[name])
            for control in wrong
        }
        for name, metric in STYLE_METRICS.items()
    }
    return Scope(speeds, floor_families, floor, columns, told)


def _row(
    references: References,
    recording: Recording,
    motion: Motion,
    name: str,
    speed: float,
    families: Sequence[str],
) -> dict[str, float | str]:
    """A policy at the speed of one family, against that family."""
    mine, theirs = motion.select([name]), references.motion.select([name])
    space = references.yardstick.space
    apart = wasserstein(
        space.normalize(mine.features[mine.valid]), space.normalize(theirs.features[theirs.valid])
    )
    phase = phase_error(mine, theirs)
    episodes = torch.tensor([other == name for other in families])
    measured = measure(recording.select(episodes), references.robot, SETTLE_S, EPISODE_METRICS)
    return {
        "family": name,
        "command": speed,
        "wasserstein": float(apart.mean()),
        "dtw": float(pose_errors(mine, references.motion).nanmean()),
        "phase_rmse": float(phase.rmse.mean()),
        "phase_r": float(phase.correlation.mean()),
        **{key: measured[key] for key in EPISODE_METRICS},
    }

"""All style metrics of one motion against another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wildrobot_torch.evaluation.style import classifier, distance
from wildrobot_torch.evaluation.style.motion import Motion
from wildrobot_torch.evaluation.style.phase import phase_error
from wildrobot_torch.evaluation.style.space import FRAMES, Space
from wildrobot_torch.evaluation.style.warping import pose_errors

NEIGHBOUR_SAMPLES = 2000
"""Windows of each side, at most, that coverage and density are counted on."""
WORST = 5
"""Dimensions that are named for being furthest apart."""
ALL = ("standing", "reversed", "jittered")
POSES = ("standing", "reversed")


@dataclass(frozen=True)
class StyleMetric:
    """What a style metric is, and what it has to see."""

    unit: str
    meaning: str
    sees: tuple[str, ...]
    """Negative controls it must tell from the reference to count as evidence."""
    higher: bool = False
    """Whether more is better."""

    def told_apart(self, control: float, floor: float) -> bool:
        """Whether a control is clearly worse than the reference is against itself.

        Worse by half, or for a share of pairs (AUC) by 0.1; an undefined value is worse than any.
        """
        if math.isnan(control) or math.isnan(floor):
            return math.isnan(control) and not math.isnan(floor)
        if self.unit == "AUC":
            return control > max(floor, 0.5) + 0.1
        return control < floor / 1.5 if self.higher else control > 1.5 * floor


STYLE_METRICS: dict[str, StyleMetric] = {
    "frechet": StyleMetric(
        "1", f"Frechet distance of {FRAMES}-frame windows, squared, PCA-whitened", ALL
    ),
    "wasserstein": StyleMetric(
        "std", "Wasserstein-1 distance of single features, mean over dimensions", ALL
    ),
    "auc": StyleMetric("AUC", "of a fresh classifier on clips and speeds it was not shown", ALL),
    "coverage": StyleMetric("1", "share of the reference that is done", ALL, higher=True),
    "density": StyleMetric(
        "1", "how deep in the reference the policy's motion lies", ALL, higher=True
    ),
    "dtw": StyleMetric("m", "pose error to the best-matching clip of that speed, warped", POSES),
    "dtw_leg": StyleMetric("1", "the same over the leg's length", POSES),
    "phase_rmse": StyleMetric("rad", "joint error of the mean stride, mean over joints", POSES),
    "phase_r": StyleMetric(
        "1", "Pearson's r of the mean stride, mean over joints", POSES, higher=True
    ),
}
"""Every style metric by name.

What a metric has to see was settled after controls had been measured once. Damping is on nobody's
list, since a slower walk of the reference is as small: it is shown, and what misses it is named.
Jitter leaves poses and mean strides nearly as they are, so the metrics of poses are not asked to
see it; held to it as well, they would count as no evidence.
"""


@dataclass(frozen=True)
class Comparison:
    """What one motion is against another."""

    values: dict[str, float]
    """Metric of `STYLE_METRICS` -> value; NaN where undefined."""
    auc_spread: float
    """Standard deviation of the AUC over the folds."""
    dimensions: dict[str, float]
    """Wasserstein-1 of each dimension [std of the training reference], worst first."""
    joint_rmse: dict[str, float]
    """[rad] of the mean stride."""
    joint_r: dict[str, float]
    """[1] of the mean stride."""

    @property
    def worst(self) -> tuple[str, ...]:
        """The dimensions furthest apart."""
        return tuple(self.dimensions)[:WORST]


@dataclass(frozen=True)
class Yardstick:
    """What everything is measured with: one for all policies that are compared."""

    space: Space
    dimensions: tuple[str, ...]
    """F names of features."""
    joints: tuple[str, ...]
    """J names."""
    leg_length: float
    """[m]."""


def style_metrics(
    policy: Motion, reference: Motion, yardstick: Yardstick, seed: int = 0
) -> Comparison:
    """Every style metric of a motion against a reference.

    Args:
        policy: whose style is asked for.
        reference: what it should look like.
        yardstick: fitted to the training reference.
        seed: of subsampling and of the classifier.
    """
    space = yardstick.space
    windows, stretch = policy.windows(FRAMES)
    reference_windows, reference_stretch = reference.windows(FRAMES)
    x, y = space.whiten(windows), space.whiten(reference_windows)
    apart = distance.wasserstein(
        space.normalize(policy.features[policy.valid]),
        space.normalize(reference.features[reference.valid]),
    )
    family = _family_numbers(reference)
    fold_reference, fold_policy = classifier.folds_by_speed(reference.speed, family, policy.speed)
    generator = torch.Generator().manual_seed(seed)
    mine, theirs = (_drawn(len(w), classifier.SAMPLES, generator) for w in (x, y))
    auc, auc_spread = classifier.fresh_auc(
        space.normalize(reference_windows[theirs]).flatten(1),
        space.normalize(windows[mine]).flatten(1),
        fold_reference[reference_stretch[theirs]],
        fold_policy[stretch[mine]],
        seed,
    )
    mine, theirs = (_drawn(len(w), NEIGHBOUR_SAMPLES, generator) for w in (x, y))
    coverage, density = distance.coverage_density(
        y[theirs], x[mine], family[reference_stretch[theirs]]
    )
    dtw = float(pose_errors(policy, reference).nanmean())
    phase = phase_error(policy, reference)
    values = {
        "frechet": distance.frechet(x, y),
        "wasserstein": float(apart.mean()),
        "auc": auc,
        "coverage": coverage,
        "density": density,
        "dtw": dtw,
        "dtw_leg": dtw / yardstick.leg_length,
        "phase_rmse": float(phase.rmse.mean()),
        "phase_r": float(phase.correlation.mean()),
    }
    order = apart.argsort(descending=True).tolist()
    return Comparison(
        values={name: values[name] for name in STYLE_METRICS},
        auc_spread=auc_spread,
        dimensions={yardstick.dimensions[i]: float(apart[i]) for i in order},
        joint_rmse=dict(zip(yardstick.joints, phase.rmse.tolist(), strict=True)),
        joint_r=dict(zip(yardstick.joints, phase.correlation.tolist(), strict=True)),
    )


def _family_numbers(motion: Motion) -> Tensor:
    number = {name: i for i, name in enumerate(motion.family_speeds())}
    return torch.tensor([number[name] for name in motion.family])


def _drawn(number: int, largest: int, generator: torch.Generator) -> Tensor:
    """Indices of at most `largest` of `number`, without repetition."""
    return torch.randperm(number, generator=generator)[:largest]

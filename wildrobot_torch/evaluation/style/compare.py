"""All style metrics of one motion against another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wildrobot_torch.evaluation.style import classifier, distance
from wildrobot_torch.evaluation.style.motion import Motion
from wildrobot_torch.evaluation.style.poses import phase_error, pose_errors
from wildrobot_torch.evaluation.style.space import FRAMES, Space

NEIGHBOUR_SAMPLES = 2000
"""Windows of each side, at most, that coverage is counted on."""
ALL = ("standing", "reversed", "jittered")
POSES = ("standing", "reversed")


@dataclass(frozen=True)
class StyleMetric:
    """A style metric, and the controls it must detect."""

    unit: str
    meaning: str
    must_detect: tuple[str, ...]
    """Negative controls it must tell from the reference; otherwise it is no evidence."""
    higher: bool = False
    """Whether more is better."""

    def detects(self, control: float, noise_floor: float) -> bool:
        """Whether a control is clearly worse than the reference against itself.

        Worse by half, or an AUC by 0.1; an undefined value is worse than any.
        """
        if math.isnan(control) or math.isnan(noise_floor):
            return math.isnan(control) and not math.isnan(noise_floor)
        if self.unit == "AUC":
            return control > max(noise_floor, 0.5) + 0.1
        return control < noise_floor / 1.5 if self.higher else control > 1.5 * noise_floor


STYLE_METRICS: dict[str, StyleMetric] = {
    "frechet": StyleMetric(
        "1", f"Frechet distance of {FRAMES}-frame windows, squared, PCA-whitened", ALL
    ),
    "wasserstein": StyleMetric(
        "std", "Wasserstein-1 distance of single features, mean over dimensions", ALL
    ),
    "auc": StyleMetric("AUC", "of a fresh classifier on clips and speeds it did not train on", ALL),
    "coverage": StyleMetric(
        "1", "share of the reference that the policy comes close to", ALL, higher=True
    ),
    "dtw": StyleMetric("m", "pose error to the best-matching clip of that speed, warped", POSES),
    "phase_rmse": StyleMetric("rad", "joint error of the mean stride, mean over joints", POSES),
}
"""Every style metric by name.

The controls that a metric must detect were fixed after one measurement. None must detect `damped`,
because slower reference walks have the same amplitude; the report still lists metrics that miss it.
Metrics of poses need not detect `jittered`: noise of zero mean hardly changes poses and mean
strides.
"""


def compare(policy: Motion, reference: Motion, space: Space) -> dict[str, float]:
    """Every style metric of a motion against a reference; NaN where undefined.

    Args:
        policy: the motion to measure.
        reference: the motion it should be like.
        space: fitted to the training reference; one space makes the results comparable.
    """
    windows, episode = policy.windows()
    reference_windows, reference_episode = reference.windows()
    x, y = space.whiten(windows), space.whiten(reference_windows)
    number = {name: i for i, name in enumerate(reference.family_speeds())}
    family = torch.tensor([number[name] for name in reference.family])
    folds, policy_folds = classifier.folds_by_speed(reference.speed, family, policy.speed)
    generator = torch.Generator().manual_seed(0)
    mine, theirs = (_drawn(len(w), classifier.SAMPLES, generator) for w in (x, y))
    auc = classifier.fresh_auc(
        space.normalize(reference_windows[theirs]).flatten(1),
        space.normalize(windows[mine]).flatten(1),
        folds[reference_episode[theirs]],
        policy_folds[episode[mine]],
    )
    frames = (space.normalize(motion.features[motion.valid]) for motion in (policy, reference))
    mine, theirs = (_drawn(len(w), NEIGHBOUR_SAMPLES, generator) for w in (x, y))
    return {
        "frechet": distance.frechet(x, y),
        "wasserstein": float(distance.wasserstein(*frames).mean()),
        "auc": auc,
        "coverage": distance.coverage(y[theirs], x[mine], family[reference_episode[theirs]]),
        "dtw": float(pose_errors(policy, reference).nanmean()),
        "phase_rmse": float(phase_error(policy, reference).mean()),
    }


def _drawn(number: int, largest: int, generator: torch.Generator) -> Tensor:
    """Indices of at most `largest` of `number`, without repetition."""
    return torch.randperm(number, generator=generator)[:largest]

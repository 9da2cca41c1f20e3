"""All style metrics of one motion against another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.layout import Layout
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.style import classifier, distance
from wildrobot_torch.evaluation.style.motion import Motion
from wildrobot_torch.evaluation.style.phase import phase_error
from wildrobot_torch.evaluation.style.space import FRAMES, Space
from wildrobot_torch.evaluation.style.warping import pose_errors

NEIGHBOUR_SAMPLES = 2000
"""Windows of each side, at most, that coverage and density are counted on."""
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
    "density": StyleMetric(
        "1", "number of reference neighbourhoods a policy window lies in, over k", ALL, higher=True
    ),
    "dtw": StyleMetric("m", "pose error to the best-matching clip of that speed, warped", POSES),
    "phase_rmse": StyleMetric("rad", "joint error of the mean stride, mean over joints", POSES),
    "phase_r": StyleMetric(
        "1", "Pearson's r of the mean stride, mean over joints", POSES, higher=True
    ),
}
"""Every style metric by name.

The controls that a metric must detect were fixed after one measurement. None must detect `damped`,
because slower reference walks have the same amplitude; the report still lists metrics that miss it.
Metrics of poses need not detect `jittered`: noise of zero mean hardly changes poses and mean
strides.
"""


@dataclass(frozen=True)
class Comparison:
    """One motion against another."""

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


@dataclass(frozen=True)
class Comparer:
    """Compares motions in one space, so that the results of several policies are comparable."""

    space: Space
    """Fitted to the training reference."""
    dimensions: tuple[str, ...]
    """F names of features."""
    joints: tuple[str, ...]
    """J names."""

    @classmethod
    def fit(cls, train: Motion, layout: Layout, robot: RobotSpec) -> Comparer:
        """Comparer for motions like the training reference.

        Args:
            train: the training reference.
            layout: of its compared features.
            robot: the robot.
        """
        windows, _ = train.windows()
        return cls(Space.fit(windows, layout), dimension_names(layout, robot), robot.joint_names)

    def compare(self, policy: Motion, reference: Motion, seed: int = 0) -> Comparison:
        """Every style metric of a motion against a reference.

        Args:
            policy: the motion to measure.
            reference: the motion it should be like.
            seed: of subsampling and of the classifier.
        """
        windows, episode = policy.windows()
        reference_windows, reference_episode = reference.windows()
        x, y = self.space.whiten(windows), self.space.whiten(reference_windows)
        apart = self.wasserstein(policy, reference)
        number = {name: i for i, name in enumerate(reference.family_speeds())}
        family = torch.tensor([number[name] for name in reference.family])
        folds, policy_folds = classifier.folds_by_speed(reference.speed, family, policy.speed)
        generator = torch.Generator().manual_seed(seed)
        mine, theirs = (_drawn(len(w), classifier.SAMPLES, generator) for w in (x, y))
        auc, auc_spread = classifier.fresh_auc(
            self.space.normalize(reference_windows[theirs]).flatten(1),
            self.space.normalize(windows[mine]).flatten(1),
            folds[reference_episode[theirs]],
            policy_folds[episode[mine]],
            seed,
        )
        mine, theirs = (_drawn(len(w), NEIGHBOUR_SAMPLES, generator) for w in (x, y))
        coverage, density = distance.coverage_density(
            y[theirs], x[mine], family[reference_episode[theirs]]
        )
        rmse, correlation = phase_error(policy, reference)
        return Comparison(
            values={
                "frechet": distance.frechet(x, y),
                "wasserstein": float(apart.mean()),
                "auc": auc,
                "coverage": coverage,
                "density": density,
                "dtw": float(pose_errors(policy, reference).nanmean()),
                "phase_rmse": float(rmse.mean()),
                "phase_r": float(correlation.mean()),
            },
            auc_spread=auc_spread,
            dimensions={
                self.dimensions[i]: float(apart[i]) for i in apart.argsort(descending=True).tolist()
            },
            joint_rmse=dict(zip(self.joints, rmse.tolist(), strict=True)),
            joint_r=dict(zip(self.joints, correlation.tolist(), strict=True)),
        )

    def wasserstein(self, policy: Motion, reference: Motion) -> Tensor:
        """Wasserstein-1 distance of single frames in each dimension (F,)."""
        return distance.wasserstein(
            self.space.normalize(policy.features[policy.valid]),
            self.space.normalize(reference.features[reference.valid]),
        )


def dimension_names(layout: Layout, robot: RobotSpec) -> tuple[str, ...]:
    """A name for each column of a layout: its field and joint, side or axis."""
    names: list[str] = []
    for field in layout.fields:
        if field.frame == "joint" and field.size == robot.num_joints:
            parts = robot.joint_names
        elif field.size == 3:
            parts = ("x", "y", "z")
        elif field.size == 6:
            parts = tuple(f"{side}_{axis}" for side in ("left", "right") for axis in "xyz")
        else:
            parts = tuple(str(i) for i in range(field.size))
        names += [f"{field.name}[{part}]" for part in parts]
    return tuple(names)


def _drawn(number: int, largest: int, generator: torch.Generator) -> Tensor:
    """Indices of at most `largest` of `number`, without repetition."""
    return torch.randperm(number, generator=generator)[:largest]

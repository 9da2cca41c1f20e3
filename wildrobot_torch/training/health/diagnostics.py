"""Metrics of a motion prior during training: one dictionary per iteration."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from envs.layout import Layout
from wildrobot_torch.amp.discriminator import score
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.evaluation.statistics import auc

NUM_WINDOWS = 1024
"""Windows of each kind that `diagnose` draws."""
DECIDED = 0.95
"""Score beyond which a window counts as decided: 1 is the target of reference, -1 the policy's."""
NEAR_CONSTANT = 1e-3
"""Standard deviation below which a feature counts as constant, in its unit (m, rad, m/s, rad/s)."""
QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}

Sample = Callable[[int, int], Tensor]
"""(num, frames) -> windows (num, frames, F)."""


def diagnose(
    prior: MotionPrior,
    rollout: Tensor,
    style_reward: Tensor,
    sample_reference: Sample,
    sample_held_out: Sample | None,
    layout: Layout,
) -> dict[str, float]:
    """State of a motion prior, by metric name, at 1024 windows of each kind drawn at random.

    Args:
        prior: the prior that gave `style_reward`.
        rollout: (E, T, K, F) policy windows.
        style_reward: (E, T).
        sample_reference: source of windows of the reference it learns from.
        sample_held_out: source of windows it never learns from; None for none.
        layout: of the F features.
    """
    flat, window = rollout.flatten(0, 1), prior.config.window
    drawn = torch.randint(len(flat), (min(NUM_WINDOWS, len(flat)),), device=flat.device)
    real = sample_reference(NUM_WINDOWS, window)
    held_out = None if sample_held_out is None else sample_held_out(NUM_WINDOWS, window)
    return window_metrics(prior, flat[drawn], real, held_out, style_reward, layout)


@torch.no_grad()
def window_metrics(
    prior: MotionPrior,
    policy_windows: Tensor,
    reference_windows: Tensor,
    held_out_windows: Tensor | None,
    style_reward: Tensor,
    layout: Layout,
) -> dict[str, float]:
    """State of a motion prior, by metric name, at given windows; the cost grows with their number.

    Args:
        prior: the prior that gave `style_reward`.
        policy_windows: (N, K, F) raw windows of the present rollout.
        reference_windows: (N, K, F) raw windows of the reference it learns from.
        held_out_windows: (N, K, F) raw windows of reference motion it never learns from, or None.
        style_reward: (E, T) of the whole rollout.
        layout: of the F features.
    """
    disc, loss = prior.discriminator, prior.config.loss
    disc.eval()  # in training mode each call updates the spectral norm's estimate
    fake, real = disc.normalize(policy_windows), disc.normalize(reference_windows)
    fake_logit, real_logit = disc(fake), disc(real)
    fake_score, real_score = score(fake_logit, loss), score(real_logit, loss)
    seen = disc.mask > 0.0
    values = {
        "accuracy": accuracy(real_score, fake_score),
        "auc": auc(real_logit, fake_logit),
        "logit_real": real_logit.mean(),
        "logit_real_std": real_logit.std(),
        "logit_fake": fake_logit.mean(),
        "logit_fake_std": fake_logit.std(),
        "saturated_real": (real_score > DECIDED).float().mean(),
        "saturated_fake": (fake_score < -DECIDED).float().mean(),
        "near_constant": (near_constant(policy_windows, reference_windows) & seen).sum(),
        "distinct_reference": distinct_share(reference_windows),
        "diversity_real": pairwise_distance(real),
        "diversity_fake": pairwise_distance(fake),
        **style_statistics(style_reward),
    }
    if held_out_windows is not None:
        held_out_logit = disc(disc.normalize(held_out_windows))
        values |= {
            "auc_held_out": auc(held_out_logit, fake_logit),
            "logit_held_out": held_out_logit.mean(),
        }
    shown = seen.tolist()
    apart = separation(policy_windows, reference_windows)
    for name, where in layout.slices.items():
        group = "separation" if shown[where.start] else "separation_unseen"
        values[f"{group}/{name}"] = apart[where].max()
    # One transfer for all of them: on a GPU each transfer waits.
    numbers = torch.stack([value.float() for value in values.values()]).tolist()
    return {f"AMP/{name}": number for name, number in zip(values, numbers, strict=True)}


def accuracy(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """Share () of scores on their side of 0; reference and policy count half each."""
    return 0.5 * ((real_score > 0.0).float().mean() + (fake_score < 0.0).float().mean())


def style_statistics(style_reward: Tensor) -> dict[str, Tensor]:
    """Mean, spread, quantiles and share of zeros of style rewards (...), by metric name."""
    flat = style_reward.flatten().float()
    return {
        "style_reward": flat.mean(),
        "style_reward_std": flat.std(correction=0),
        "style_reward_zero": (flat <= 0.0).float().mean(),
        **{f"style_reward_{name}": _quantile(flat, q) for name, q in QUANTILES.items()},
    }


def _quantile(flat: Tensor, q: float) -> Tensor:
    # The nearest lower order statistic: torch.quantile refuses more than 2^24 values.
    return flat.kthvalue(1 + int(q * (flat.shape[0] - 1))).values


def separation(policy_windows: Tensor, reference_windows: Tensor) -> Tensor:
    """Distance (F,) of the two means of each feature, in pooled standard deviations.

    |mean_p - mean_r| / sqrt((var_p + var_r) / 2), Cohen's d for equal numbers: above 2 the feature
    alone tells nearly all windows apart. Windows are (N, K, F). A feature constant on both sides
    has 0 where the constants agree, and a very large value where they do not.
    """
    var_p, mean_p = torch.var_mean(policy_windows.flatten(0, -2), dim=0, correction=0)
    var_r, mean_r = torch.var_mean(reference_windows.flatten(0, -2), dim=0, correction=0)
    pooled = (0.5 * (var_p + var_r)).sqrt()
    return (mean_p - mean_r).abs() / pooled.clamp(min=1e-6)


def near_constant(policy_windows: Tensor, reference_windows: Tensor) -> Tensor:
    """Which features (F,) hardly vary over the windows (N, K, F), be it on one side alone."""
    varied = [
        windows.flatten(0, -2).std(dim=0, correction=0) >= NEAR_CONSTANT
        for windows in (policy_windows, reference_windows)
    ]
    return ~(varied[0] & varied[1])


def distinct_share(windows: Tensor) -> Tensor:
    """Share () of windows (N, K, F) that are not copies of another: low where motion is scarce."""
    flat = windows.flatten(1).double()
    # One number per window, almost surely another for another window: rows need not be sorted.
    weight = torch.arange(1, flat.shape[1] + 1, device=flat.device, dtype=flat.dtype).sqrt()
    count = torch.unique(flat @ weight).numel()
    return torch.tensor(count / flat.shape[0], device=flat.device)


def pairwise_distance(normalized: Tensor) -> Tensor:
    """Root mean square distance () between two different rows of (N, D): 0 for copies of one."""
    return (2.0 * normalized.var(dim=0).sum()).sqrt()

"""Metrics of a motion prior during training: one dictionary per iteration."""

from __future__ import annotations

import torch
from torch import Tensor

from wildrobot_torch.amp.discriminator import score
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.evaluation.statistics import auc

NUM_WINDOWS = 1024
"""Windows of each kind that are looked at in an iteration."""
DECIDED = 0.95
"""Score beyond which a window counts as decided: 1 is the target of reference, -1 the policy's."""
NEAR_CONSTANT = 1e-3
"""Standard deviation below which a feature counts as constant, in its unit (m, rad, m/s, rad/s)."""


@torch.no_grad()
def diagnose(
    prior: MotionPrior,
    policy: Tensor,
    reference: Tensor,
    held_out: Tensor | None,
    style_reward: Tensor,
) -> dict[str, float]:
    """State of a motion prior, by metric name; changes nothing.

    Raw windows (N, K, F) are of the present rollout, of the reference that the prior learns from
    and of reference motion that it never learns from; its `style_reward` (E, T) is that of the
    whole rollout.
    """
    disc, loss = prior.discriminator, prior.config.loss
    disc.eval()  # in training mode each call updates the spectral norm's estimate
    fake, real = disc.normalize(policy), disc.normalize(reference)
    fake_logit, real_logit = disc(fake), disc(real)
    fake_score, real_score = score(fake_logit, loss), score(real_logit, loss)
    apart, constant = separation(disc.extend(policy), disc.extend(reference))
    seen = disc.mask > 0.0
    values = {
        # Reference and policy count half each.
        "accuracy": 0.5 * ((real_score > 0.0).float().mean() + (fake_score < 0.0).float().mean()),
        "auc": auc(real_logit, fake_logit),
        "logit_real": real_logit.mean(),
        "logit_real_std": real_logit.std(),
        "logit_fake": fake_logit.mean(),
        "logit_fake_std": fake_logit.std(),
        "saturated_real": (real_score > DECIDED).float().mean(),
        "saturated_fake": (fake_score < -DECIDED).float().mean(),
        "near_constant": (constant & seen).sum(),
        "distinct_reference": distinct_share(reference),
        "diversity_real": pairwise_distance(real),
        "diversity_fake": pairwise_distance(fake),
        **style_statistics(style_reward),
    }
    if held_out is not None:
        logit = disc(disc.normalize(held_out))
        values |= {"auc_held_out": auc(logit, fake_logit), "logit_held_out": logit.mean()}
    shown = seen.tolist()
    for name, where in prior.layout.slices.items():
        group = "separation" if shown[where.start] else "separation_unseen"
        values[f"{group}/{name}"] = apart[where].max()
    # One transfer for all of them: on a GPU each transfer waits.
    numbers = torch.stack([value.float() for value in values.values()]).tolist()
    return {f"AMP/{name}": number for name, number in zip(values, numbers, strict=True)}


def style_statistics(style_reward: Tensor) -> dict[str, Tensor]:
    """Mean, spread, share of zeros and quantiles of style rewards (...), by metric name."""
    flat = style_reward.flatten().float()
    statistics = {
        "style_reward": flat.mean(),
        "style_reward_std": flat.std(correction=0),
        "style_reward_zero": (flat <= 0.0).float().mean(),
    }
    for percent in (10, 50, 90):
        # The nearest lower order statistic: torch.quantile refuses more than 2^24 values.
        rank = 1 + int(percent / 100 * (flat.shape[0] - 1))
        statistics[f"style_reward_p{percent}"] = flat.kthvalue(rank).values
    return statistics


def separation(policy: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """How far the features of policy and reference windows (N, K, F) lie apart.

    Returns:
        Distance (F,) of the two means in pooled standard deviations, |mean_p - mean_r| /
        sqrt((var_p + var_r) / 2), Cohen's d for equal numbers: above 2 the feature alone separates
        nearly all windows; it is very large for two different constants. And which features (F,)
        hardly vary, be it on one side alone.
    """
    var_p, mean_p = torch.var_mean(policy.flatten(0, -2), dim=0, correction=0)
    var_r, mean_r = torch.var_mean(reference.flatten(0, -2), dim=0, correction=0)
    pooled = (0.5 * (var_p + var_r)).sqrt()
    distance = (mean_p - mean_r).abs() / pooled.clamp(min=1e-6)
    return distance, torch.minimum(var_p, var_r).sqrt() < NEAR_CONSTANT


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

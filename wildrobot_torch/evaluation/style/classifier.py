"""Can a fresh classifier tell a policy's motion from the reference's?"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wildrobot_torch.evaluation.statistics import auc

HIDDEN = 64
STEPS = 400
BATCH = 256
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2
SAMPLES = 4000
"""Samples of each side, at most; equal for whatever is compared, like all of the above."""


def folds_by_speed(
    speed_reference: Tensor, family_reference: Tensor, speed_policy: Tensor, largest: int = 5
) -> tuple[Tensor, Tensor]:
    """Fold of each reference and each policy stretch, (E,) and (E',) long.

    Families of the reference go round the folds by speed, whole; a policy's stretch goes with the
    family nearest in speed, so that what is tested has speeds and clips that were not trained on.

    Args:
        speed_reference: (E,) [m/s], equal within a family.
        family_reference: (E,) number of its family.
        speed_policy: (E',) [m/s].
        largest: number of folds, if there are so many families.
    """
    families = family_reference.unique()
    speeds = torch.stack([speed_reference[family_reference == f].mean() for f in families])
    order = speeds.argsort(stable=True)
    num = min(largest, len(families))
    fold = torch.empty(len(families), dtype=torch.long)
    fold[order] = torch.arange(len(families)) % num
    mine = fold[torch.searchsorted(families, family_reference)]
    nearest = (speed_policy[:, None] - speeds).abs().argmin(1)
    return mine, fold[nearest]


def fresh_auc(
    reference: Tensor, policy: Tensor, fold_reference: Tensor, fold_policy: Tensor
) -> float:
    """AUC [1] of a classifier trained afresh on other clips and episodes, mean over the folds.

    0.5 where it cannot tell reference from policy, 1 where it always can. A classifier two-sample
    test (Lopez-Paz and Oquab 2017, arXiv:1610.06545) with the AUC in place of the accuracy; a
    network of one hidden layer, trained by equally many steps on equally many samples of both
    sides, whatever is compared. NaN when fewer than two folds hold both.

    Reference and policy are (N, D) and (M, D), their folds (N,) and (M,) long.
    """
    scores = []
    for fold in fold_reference.unique().tolist():
        test_x, test_y = reference[fold_reference == fold], policy[fold_policy == fold]
        train_x, train_y = reference[fold_reference != fold], policy[fold_policy != fold]
        if not all(map(len, (test_x, test_y, train_x, train_y))):
            continue
        score = _trained(train_x.float(), train_y.float())
        with torch.no_grad():
            scores.append(float(auc(score(test_x.float()), score(test_y.float()))))
    return float(torch.tensor(scores, dtype=torch.double).mean()) if len(scores) > 1 else math.nan


def _trained(real: Tensor, fake: Tensor) -> Callable[[Tensor], Tensor]:
    """Scores (N,) of samples (N, D): higher for those like `real` than for those like `fake`."""
    generator = torch.Generator().manual_seed(0)
    size = real.shape[1]
    net = nn.Sequential(nn.Linear(size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    for layer in (net[0], net[2]):
        assert isinstance(layer, nn.Linear)
        bound = 1.0 / math.sqrt(layer.in_features)
        with torch.no_grad():
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.zero_()
    std, mean = torch.std_mean(torch.cat([real, fake]), dim=0)
    std = std.clamp(min=1e-6)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    target = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)])
    for _ in range(STEPS):
        batch = torch.cat(
            [side[torch.randint(len(side), (BATCH,), generator=generator)] for side in (real, fake)]
        )
        loss = nn.functional.binary_cross_entropy_with_logits(
            net((batch - mean) / std)[:, 0], target
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def score(samples: Tensor) -> Tensor:
        return net((samples - mean) / std)[:, 0]

    return score

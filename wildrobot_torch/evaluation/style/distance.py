"""How far apart two sets of samples are: Frechet, Wasserstein and coverage."""

from __future__ import annotations

import math

import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

NEIGHBOURS = 5
"""Neighbours that span a sample's neighbourhood, as in Naeem et al."""


def frechet(x: Tensor, y: Tensor) -> float:
    """Frechet distance of the normal distributions with two samples' moments [1], squared.

    |mu_x - mu_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^1/2): Dowson and Landau 1982; Heusel et al. 2017
    (arXiv:1706.08500), as there without a root over the whole. 0 for equal moments,
    NaN where there are no samples. The samples are (N, D) and (M, D).
    """
    if not len(x) or not len(y):
        return math.nan
    (mean_x, cov_x), (mean_y, cov_y) = _moments(x), _moments(y)
    # tr (C_x C_y)^1/2 = tr (C_x^1/2 C_y C_x^1/2)^1/2, whose argument is symmetric.
    value, vector = torch.linalg.eigh(cov_x)
    root = (vector * value.clamp(min=0.0).sqrt()) @ vector.T
    cross = torch.linalg.eigvalsh(root @ cov_y @ root).clamp(min=0.0).sqrt().sum()
    distance = (mean_x - mean_y).square().sum() + cov_x.trace() + cov_y.trace() - 2.0 * cross
    return max(float(distance), 0.0)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.double()
    mean = x.mean(0)
    return mean, (x - mean).T @ (x - mean) / len(x)


def wasserstein(x: Tensor, y: Tensor) -> Tensor:
    """Wasserstein-1 distance of each dimension (D,), in its unit: integral of |F_x - F_y|.

    Ramdas et al. 2017 (arXiv:1509.02237), eq. 7: the area between two distribution functions. NaN
    where there are no samples. The samples are (N, D) and (M, D).
    """
    if not len(x) or not len(y):
        return torch.full((x.shape[1],), math.nan, dtype=torch.double)
    columns = zip(x.double().T.numpy(), y.double().T.numpy(), strict=True)
    return torch.tensor([wasserstein_distance(a, b) for a, b in columns], dtype=torch.double)


def coverage(
    reference: Tensor, policy: Tensor, family: Tensor, neighbours: int = NEIGHBOURS
) -> float:
    """Share [1] of the reference that the policy does.

    Around each reference sample lies a ball that reaches its k-th nearest neighbour; coverage is
    the share of the balls with a policy sample in them. Naeem et al. 2020 (arXiv:2002.09797), eq.
    4, with one difference: neighbours are sought in other families. A walk repeats itself, so that
    the nearest neighbours within a family are the next stride's, and such balls catch no other
    motion at all.

    Args:
        reference: (N, D).
        policy: (M, D).
        family: (N,) number of the family of each reference sample; as many as samples for the
            measure as published.
        neighbours: k.
    """
    apart = torch.cdist(reference, reference)
    apart = apart.masked_fill(family[:, None] == family, torch.inf)
    radius = apart.kthvalue(min(neighbours, len(reference)), dim=1).values
    inside = torch.cdist(reference, policy) <= radius[:, None]
    return float(inside.any(1).double().mean())

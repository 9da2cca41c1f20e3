"""Statistics of scores."""

from __future__ import annotations

import torch
from torch import Tensor


def auc(positive: Tensor, negative: Tensor) -> Tensor:
    """Chance () that a score of `positive` (N,) exceeds one of `negative` (M,); ties count half.

    The area under the ROC curve by ranks (Mann and Whitney 1947): 0.5 where scores do not separate
    the two, 1 where they always do. NaN when either is empty.
    """
    ordered = negative.sort().values
    below = torch.searchsorted(ordered, positive.contiguous())
    not_above = torch.searchsorted(ordered, positive.contiguous(), right=True)
    return 0.5 * (below + not_above).double().mean() / ordered.shape[0]

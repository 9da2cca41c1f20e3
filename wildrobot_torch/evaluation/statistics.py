"""Statistics of scores."""

from __future__ import annotations

import torch
from torch import Tensor


def auc(real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """Chance () that a reference logit (R,) exceeds a policy logit (P,), ties counting half.

    The area under the ROC curve by ranks (Mann and Whitney 1947): 0.5 where the discriminator
    cannot tell, 1 where it always can.
    """
    fake = fake_logit.sort().values
    below = torch.searchsorted(fake, real_logit.contiguous())
    not_above = torch.searchsorted(fake, real_logit.contiguous(), right=True)
    return 0.5 * (below + not_above).double().mean() / fake.shape[0]

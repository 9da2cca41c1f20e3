"""What the discriminator minimises and what the policy gets for its style."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.discriminator import Discriminator


def style_reward(disc_logit: Tensor) -> Tensor:
    """Reward (...) in [0, 1]: max(0, 1 - (D - 1)^2 / 4).

    Peng et al. 2021 (AMP, arXiv:2104.02180), eq. 7. 0.75 where the discriminator cannot tell
    (D = 0).
    """
    return (1.0 - 0.25 * (disc_logit - 1.0).square()).clamp(min=0.0)


def lsgan_loss(real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """1/2 [mean (D_real - 1)^2 + mean (D_fake + 1)^2]: least squares, targets 1 and -1."""
    return 0.5 * ((real_logit - 1.0).square().mean() + (fake_logit + 1.0).square().mean())


def grad_penalty(disc: Callable[[Tensor], Tensor], normalized: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared norm of the logits' gradients at normalised windows (B, D), and the logits (B,).

    Zero-centred and at reference windows alone (R1: Mescheder et al. 2018, arXiv:1801.04406,
    eq. 9); the gradient is that at the input the network sees, after the normaliser.
    """
    normalized = normalized.detach().requires_grad_(True)
    logit = disc(normalized)
    (gradient,) = torch.autograd.grad(logit.sum(), normalized, create_graph=True)
    return gradient.square().sum(-1).mean(), logit


def discriminator_loss(
    disc: Discriminator, real: Tensor, fake: Tensor, config: AMPConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss to minimise on reference and policy windows (B, 2, F), and its parts by name (detached).

    lsgan + (grad_penalty / 2) R1 + logit_penalty |w_out|^2. `config.grad_penalty` is thus the
    weight of R1 relative to the sum of the two squared errors; Peng et al. 2021, eq. 8, has 5.
    """
    penalty, real_logit = grad_penalty(disc, disc.normalize(real))
    fake_logit = disc(disc.normalize(fake))
    lsgan = lsgan_loss(real_logit, fake_logit)
    loss = lsgan + 0.5 * config.grad_penalty * penalty
    loss = loss + config.logit_penalty * disc.output_weight.square().sum()
    with torch.no_grad():
        correct = (real_logit > 0).to(loss.dtype).mean() + (fake_logit < 0).to(loss.dtype).mean()
    return loss, {
        "disc_loss": loss.detach(),
        "lsgan_loss": lsgan.detach(),
        "grad_penalty": penalty.detach(),
        "accuracy": 0.5 * correct,
        "real_logit": real_logit.detach().mean(),
        "fake_logit": fake_logit.detach().mean(),
    }

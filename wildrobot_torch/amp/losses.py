"""Losses that the discriminator minimises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.discriminator import Discriminator

MAX_PENALTY_WINDOWS = 1024
"""Reference windows, at most, at which the gradient penalty is taken."""


def adversarial_loss(loss: str, real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """The loss () named in `AMPConfig.loss` of logits (B,).

    lsgan and lsgan01: 1/2 [mean (D_real - 1)^2 + mean (D_fake - a)^2] with a = -1 and a = 0. Mao et
    al. 2017 (LSGAN, arXiv:1611.04076), eq. 2; a = -1 is Peng et al. 2021 (AMP, arXiv:2104.02180),
    eq. 6.

    bce: 1/2 [mean log(1 + exp -D_real) + mean log(1 + exp D_fake)], the cross-entropy of the
    probability 1 / (1 + exp -D) that a window is reference. Goodfellow et al. 2014
    (arXiv:1406.2661), eq. 1, as Ho and Ermon 2016 (GAIL, arXiv:1606.03476) use it.
    """
    if loss == "bce":
        return 0.5 * (softplus(-real_logit).mean() + softplus(fake_logit).mean())
    fake_target = 0.0 if loss == "lsgan01" else -1.0
    real, fake = (real_logit - 1.0).square().mean(), (fake_logit - fake_target).square().mean()
    return 0.5 * (real + fake)


def gradient_penalty(disc: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Mean squared norm () of the logits' gradients at normalised reference windows (B, D).

    The zero-centred penalty R1 (Mescheder et al. 2018, arXiv:1801.04406, eq. 9). The gradient is
    taken at the network's input, after the normaliser. Of more than 1024 windows evenly spaced
    ones are used, because the penalty costs more than all the rest of the loss.
    """
    real = real[:: math.ceil(len(real) / MAX_PENALTY_WINDOWS)].detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(disc(real).sum(), real, create_graph=True)
    return gradient.square().sum(-1).mean()


def discriminator_loss(
    disc: Discriminator, real: Tensor, fake: Tensor, config: AMPConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss to minimise on reference and policy windows (B, K, F), and its parts by name (detached).

    adversarial + (grad_penalty / 2) R1 + logit_penalty |w_out|^2. `config.grad_penalty` is thus the
    weight of the penalty relative to the sum of both sides' errors; Peng et al. 2021, eq. 8, has 5.
    """
    inputs = [disc.normalize(real), disc.normalize(fake)]
    if config.input_noise > 0.0:
        # Instance noise (Sonderby et al. 2017, arXiv:1610.04490), the same on both sides.
        inputs = [x + config.input_noise * torch.randn_like(x) for x in inputs]
    squared = gradient_penalty(disc, inputs[0])
    adversarial = adversarial_loss(config.loss, *disc(torch.cat(inputs)).split(len(real)))
    penalty = 0.5 * config.grad_penalty * squared
    loss = adversarial + penalty
    output = cast(nn.Linear, disc.net[-1]).weight
    loss = loss + config.logit_penalty * output.square().sum()
    return loss, {
        "disc_loss": loss.detach(),
        "adversarial": adversarial.detach(),
        "penalty": penalty.detach(),
        "grad_penalty": squared.detach(),
    }

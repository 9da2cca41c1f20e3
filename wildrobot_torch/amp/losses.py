"""What the discriminator minimises and what the policy gets for its style."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.discriminator import Discriminator

WGAN_SOFTNESS = 0.3
"""eta of tanh(eta D), which keeps the Wasserstein loss bounded."""
GREATEST_SOFTPLUS = 9.2
"""Where the softplus reward is cut off: -log of a chance of 1e-4."""

PENALISED = 1024
"""Windows of a side, at most, at which a gradient penalty is taken."""


# Losses: half the sum of a term for reference logits and one for policy logits, (B,) each.


def lsgan_loss(real_logit: Tensor, fake_logit: Tensor, fake_target: float = -1.0) -> Tensor:
    """1/2 [mean (D_real - 1)^2 + mean (D_fake - fake_target)^2].

    Mao et al. 2017 (LSGAN, arXiv:1611.04076), eq. 2, with a = `fake_target` and b = 1; Peng et al.
    2021 (AMP, arXiv:2104.02180), eq. 6, has a = -1.
    """
    real, fake = (real_logit - 1.0).square().mean(), (fake_logit - fake_target).square().mean()
    return 0.5 * (real + fake)


def bce_loss(real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """1/2 [mean log(1 + exp -D_real) + mean log(1 + exp D_fake)].

    Binary cross-entropy of the chance 1 / (1 + exp -D) that a window is reference: Goodfellow et
    al. 2014 (arXiv:1406.2661), eq. 1, as Ho and Ermon 2016 (GAIL, arXiv:1606.03476) use it.
    """
    return 0.5 * (softplus(-real_logit).mean() + softplus(fake_logit).mean())


def wgan_loss(real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """1/2 [mean tanh(eta D_fake) - mean tanh(eta D_real)], eta 0.3.

    The Wasserstein loss (Arjovsky et al. 2017, arXiv:1701.07875) with the soft bounds of Tang et
    al. 2023 (HumanMimic, arXiv:2309.14225), without which its zero drifts.
    """
    real, fake = torch.tanh(WGAN_SOFTNESS * real_logit), torch.tanh(WGAN_SOFTNESS * fake_logit)
    return 0.5 * (fake.mean() - real.mean())


def adversarial_loss(loss: str, real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """The loss named in `AMPConfig.loss` of logits (B,)."""
    if loss == "bce":
        return bce_loss(real_logit, fake_logit)
    if loss == "wgan":
        return wgan_loss(real_logit, fake_logit)
    return lsgan_loss(real_logit, fake_logit, 0.0 if loss == "lsgan01" else -1.0)


# Rewards


def score(disc_logit: Tensor, loss: str = "lsgan") -> Tensor:
    """Logits (...) on the scale of the paper's: 1 stands for reference, -1 for the policy.

    bce: twice the chance of being reference, minus 1; wgan: what the loss compares.
    """
    if loss == "lsgan01":
        return 2.0 * disc_logit - 1.0
    if loss == "bce":
        return torch.tanh(0.5 * disc_logit)
    if loss == "wgan":
        return torch.tanh(WGAN_SOFTNESS * disc_logit)
    return disc_logit


def canonical_reward(scored: Tensor) -> Tensor:
    """Reward (...) in [0, 1]: max(0, 1 - (s - 1)^2 / 4) of scores s.

    Peng et al. 2021 (AMP, arXiv:2104.02180), eq. 7. 0.75 where the discriminator cannot tell
    (s = 0).
    """
    return (1.0 - 0.25 * (scored - 1.0).square()).clamp(min=0.0)


def clipped_reward(scored: Tensor) -> Tensor:
    """Reward (...) in [0, 1]: (s + 1) / 2, cut off. 0.5 where the discriminator cannot tell."""
    return (0.5 * (scored + 1.0)).clamp(0.0, 1.0)


def softplus_reward(disc_logit: Tensor) -> Tensor:
    """Reward (...): log(1 + exp D), at most 9.2. 0.69 where the discriminator cannot tell (D = 0).

    -log(1 - chance of being reference), Ho and Ermon 2016 (GAIL, arXiv:1606.03476): it has no flat
    part, so the worst motion still feels which way is better.
    """
    return softplus(disc_logit).clamp(max=GREATEST_SOFTPLUS)


def style_reward(disc_logit: Tensor, loss: str = "lsgan", reward: str = "canonical") -> Tensor:
    """Reward (...) of logits (...), by the names in `AMPConfig.loss` and `AMPConfig.reward`."""
    if reward == "softplus":
        centred = score(disc_logit, loss) if loss == "lsgan01" else disc_logit
        return softplus_reward(centred)
    scored = score(disc_logit, loss)
    return clipped_reward(scored) if reward == "clipped" else canonical_reward(scored)


# Gradient penalties


def squared_gradient(disc: Callable[[Tensor], Tensor], normalized: Tensor) -> Tensor:
    """Squared norms (B,) of the logits' gradients at normalised windows (B, D).

    The gradient is that at the input the network sees, after the normaliser.
    """
    normalized = normalized.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(disc(normalized).sum(), normalized, create_graph=True)
    return gradient.square().sum(-1)


def interpolated_penalty(
    disc: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """Mean of (|grad D| - 1)^2 at mix real + (1 - mix) fake, normalised windows (B, D).

    Gulrajani et al. 2017 (WGAN-GP, arXiv:1704.00028), eq. 3; `mix` is (B,) in [0, 1].
    """
    between = torch.lerp(fake, real, mix[:, None])
    return ((squared_gradient(disc, between) + 1e-12).sqrt() - 1.0).square().mean()


def gradient_penalty(
    disc: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, penalty: str
) -> Tensor:
    """The penalty () named in `AMPConfig.penalty` at normalised windows (B, D) of both sides.

    real: zero-centred, at reference windows alone (R1: Mescheder et al. 2018, arXiv:1801.04406,
    eq. 9). both: the mean over all windows of either side. interpolated: see there. Of more than
    1024 windows on a side evenly spaced ones stand for all: it costs more than all the rest.
    """
    stride = math.ceil(len(real) / PENALISED)
    real, fake = real[::stride], fake[::stride]
    if penalty == "interpolated":
        return interpolated_penalty(disc, real, fake, torch.rand_like(real[:, 0]))
    return squared_gradient(disc, torch.cat([real, fake]) if penalty == "both" else real).mean()


def discriminator_loss(
    disc: Discriminator, real: Tensor, fake: Tensor, config: AMPConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss to minimise on reference and policy windows (B, K, F), and its parts by name (detached).

    adversarial + (grad_penalty / 2) P + logit_penalty |w_out|^2. `config.grad_penalty` is thus the
    weight of the penalty P relative to the sum of both sides' errors; Peng et al. 2021, eq. 8,
    has 5.
    """
    inputs = [disc.normalize(real), disc.normalize(fake)]
    if config.input_noise > 0.0:
        # Instance noise (Sonderby et al. 2017, arXiv:1610.04490): on both sides alike.
        inputs = [x + config.input_noise * torch.randn_like(x) for x in inputs]
    squared = gradient_penalty(disc, *inputs, config.penalty)
    adversarial = adversarial_loss(config.loss, *disc(torch.cat(inputs)).split(len(real)))
    penalty = 0.5 * config.grad_penalty * squared
    loss = adversarial + penalty
    loss = loss + config.logit_penalty * disc.output_weight.square().sum()
    return loss, {
        "disc_loss": loss.detach(),
        "adversarial": adversarial.detach(),
        "penalty": penalty.detach(),
        "grad_penalty": squared.detach(),
    }

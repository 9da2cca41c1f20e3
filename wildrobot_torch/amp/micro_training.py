"""Smoke test of reference motion: does a discriminator learn anything from it?"""

from __future__ import annotations

import torch
from torch import Tensor

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.discriminator import style_reward
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.verify.finding import Finding, bounded

TEST = "micro-train"
ITERATIONS = 75
"""Iterations of four discriminator updates each."""
HELD_OUT = 0.25
"""Share of the random policy's robots that the discriminator never trains on."""


def micro_train(dataset: ReferenceDataset, random: Tensor, seed: int) -> list[Finding]:
    """Findings after 300 updates of the project's motion prior, reference against a random policy.

    `random` (E, T, 2, F) has windows of that policy, on the CPU as the reference.
    """
    config = AMPConfig(batch_size=128, learning_rate=5e-4)
    generator = torch.Generator().manual_seed(seed)
    held_out = max(round(HELD_OUT * len(random)), 1)
    unseen, rollout = random[:held_out].flatten(0, 1), random[held_out:]
    unseen = unseen[torch.randperm(len(unseen), generator=generator)[:2000]]
    real = dataset.sample_windows(2000, config.window, generator)

    def sample(num: int, frames: int) -> Tensor:
        return dataset.sample_windows(num, frames, generator)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prior = MotionPrior(dataset.amp_layout, config)
        optimizer = torch.optim.Adam(prior.discriminator.parameters(), config.learning_rate)
        losses = []
        for iteration in range(ITERATIONS):
            prior.sample_batches(rollout, sample, iteration)
            for update in range(config.num_updates):
                loss, parts = prior.loss(update)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(parts["AMP/adversarial"])
    with torch.no_grad():
        discriminator = prior.discriminator
        logits = [discriminator(discriminator.normalize(x)) for x in (real, unseen)]
    series = torch.stack(losses)
    rewards = style_reward(torch.cat(logits))
    accuracy = 0.5 * float((logits[0] > 0).float().mean() + (logits[1] < 0).float().mean())
    finite = all(bool(torch.isfinite(x).all()) for x in (series, rewards, *logits))
    remaining = float(series[-20:].mean() / series[:4].mean())
    return [
        bounded(TEST, "numbers that are finite", float(finite), "1", low=1.0,
                detail=f"{len(losses)} updates"),
        bounded(TEST, "accuracy, policy's windows not trained on", accuracy, "1", low=0.55,
                detail="0.5 is chance"),
        bounded(TEST, "loss at the end, of that at the start", remaining, "1", high=0.95),
        bounded(TEST, "style reward, standard deviation", float(rewards.std()), "1", low=0.01),
    ]  # fmt: skip

"""The motion prior of one training: discriminator, replay and how they see data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.discriminator import WINDOW, Discriminator
from wildrobot_torch.amp.losses import discriminator_loss, style_reward
from wildrobot_torch.amp.replay import Replay
from wildrobot_torch.ppo.normalizer import Reduce

SampleReference = Callable[[int, int], Tensor]
"""(num, frames) -> reference windows (num, frames, F)."""


class MotionPrior(nn.Module):
    """A discriminator with its past fakes.

    One iteration: `style_reward` of the rollout (by the discriminator as it is), `begin` to draw
    the iteration's windows, then `loss` once per update.
    """

    def __init__(self, num_features: int, config: AMPConfig) -> None:
        """An untrained prior on `num_features` features F."""
        super().__init__()
        self.config = config
        self.discriminator = Discriminator(num_features, config.hidden, config.activation)
        self.replay = Replay(config.replay_size)
        self._real = self._fake = torch.empty(0)

    @torch.no_grad()
    def style_reward(self, rollout: Tensor) -> Tensor:
        """Style reward (E, T) in [0, 1] of the windows (E, T, 2, F) of a rollout."""
        return style_reward(self.discriminator(self.discriminator.normalize(rollout)))

    @torch.no_grad()
    def begin(
        self,
        rollout: Tensor,
        sample_reference: SampleReference,
        iteration: int,
        reduce: Reduce | None = None,
    ) -> None:
        """Draw the windows of an iteration's updates, keep some for later, update the normaliser.

        Args:
            rollout: (E, T, 2, F) policy windows.
            sample_reference: source of reference windows.
            iteration: iterations done before; from `normalizer_iterations` on the normaliser is
                frozen.
            reduce: sums over processes.
        """
        config = self.config
        fake = rollout.flatten(0, 1)

        def drawn(num: int) -> Tensor:
            return fake[torch.randint(fake.shape[0], (num,), device=fake.device)]

        shape = (config.num_updates, config.batch_size, *fake.shape[1:])
        total = config.num_updates * config.batch_size
        real = sample_reference(total, WINDOW).reshape(shape)
        past = round(config.replay_share * config.batch_size) if len(self.replay) else 0
        parts = [drawn(config.num_updates * (config.batch_size - past))]
        if past:
            parts.append(self.replay.sample(config.num_updates * past))
        parts = [part.reshape(config.num_updates, -1, *fake.shape[1:]) for part in parts]
        self._real, self._fake = real, torch.cat(parts, dim=1)
        if iteration < config.normalizer_iterations:
            self.discriminator.update_normalizer(real.flatten(0, 1), drawn(total), reduce)
        self.replay.insert(drawn(config.replay_insert))

    def loss(self, update: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the iteration's update number `update`, and its parts by name (detached)."""
        return discriminator_loss(
            self.discriminator, self._real[update], self._fake[update], self.config
        )

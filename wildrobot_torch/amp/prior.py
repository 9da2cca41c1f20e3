"""The motion prior of one training: discriminator, replay and how they see data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from envs.layout import Layout
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.discriminator import Discriminator, feature_mask
from wildrobot_torch.amp.losses import discriminator_loss, style_reward
from wildrobot_torch.amp.replay import Replay
from wildrobot_torch.ppo.normalizer import Reduce

CHUNK = 4096
"""Windows judged at once: more of them do not fit a processor's cache."""

SampleReference = Callable[[int, int], Tensor]
"""(num, frames) -> reference windows (num, frames, F)."""


class MotionPrior(nn.Module):
    """A discriminator with its past fakes.

    One iteration: `style_reward` of the rollout (by the discriminator as it is), `begin` to draw
    the iteration's windows, then `loss` once per update. After an evaluation `advance`.
    """

    stage: Tensor
    """() long: stages of more features reached."""

    def __init__(self, layout: Layout, config: AMPConfig) -> None:
        """An untrained prior on frames packed by a layout.

        Raises:
            ValueError: the settings name a field that a frame does not have.
        """
        super().__init__()
        self.config = config
        seen = list(config.features)
        self._masks = [feature_mask(layout, seen)]
        for stage in config.stages:
            seen += stage.add
            self._masks.append(feature_mask(layout, seen))
        self.register_buffer("stage", torch.zeros((), dtype=torch.long))
        self.discriminator = Discriminator(
            layout.size,
            config.hidden,
            config.activation,
            window=config.window,
            mask=self._masks[0],
            spectral_norm=config.spectral_norm,
        )
        self.replay = Replay(config.replay_size)
        self._real = self._fake = torch.empty(0)

    def batch_size(self, samples: int) -> int:
        """Windows of reference in each update, for a rollout of so many samples."""
        if self.config.batch_size is not None:
            return self.config.batch_size
        return math.ceil(self.config.data_budget * samples / self.config.num_updates)

    @torch.no_grad()
    def style_reward(self, rollout: Tensor) -> Tensor:
        """Style reward (E, T) of the windows (E, T, K, F) of a rollout; changes nothing."""
        self.discriminator.eval()  # in training each look turns the spectral norm's estimate
        disc = self.discriminator
        parts = rollout.flatten(0, 1).split(CHUNK)
        logit = torch.cat([disc(disc.normalize(part)) for part in parts])
        reward = style_reward(logit, self.config.loss, self.config.reward)
        return reward.unflatten(0, rollout.shape[:2])

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
            rollout: (E, T, K, F) policy windows.
            sample_reference: source of reference windows.
            iteration: iterations done before; from `normalizer_iterations` on the normaliser is
                frozen.
            reduce: sums over processes.
        """
        config = self.config
        fake = rollout.flatten(0, 1)
        size = self.batch_size(len(fake))

        def drawn(num: int) -> Tensor:
            return fake[torch.randint(fake.shape[0], (num,), device=fake.device)]

        shape = (config.num_updates, size, *fake.shape[1:])
        total = config.num_updates * size
        real = sample_reference(total, config.window).reshape(shape)
        past = round(config.replay_share * size) if len(self.replay) else 0
        parts = [drawn(config.num_updates * (size - past))]
        if past:
            parts.append(self.replay.sample(config.num_updates * past))
        parts = [part.reshape(config.num_updates, -1, *fake.shape[1:]) for part in parts]
        self._real, self._fake = real, torch.cat(parts, dim=1)
        if iteration < config.normalizer_iterations:
            self.discriminator.update_normalizer(real.flatten(0, 1), drawn(total), reduce)
        self.replay.insert(drawn(config.replay_insert))

    def loss(self, update: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the iteration's update number `update`, and its parts by name (detached)."""
        self.discriminator.train()
        return discriminator_loss(
            self.discriminator, self._real[update], self._fake[update], self.config
        )

    def advance(self, evaluation: Mapping[str, float]) -> bool:
        """Show the features of the next stage if an evaluation keeps to its limits.

        Returns:
            Whether it does.

        Raises:
            ValueError: the limits name what the evaluation does not measure.
        """
        stage = int(self.stage)
        if stage == len(self.config.stages) or not self.config.stages[stage].reached(evaluation):
            return False
        self.stage += 1
        self.discriminator.mask.copy_(self._masks[stage + 1])
        return True

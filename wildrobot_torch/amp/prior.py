"""The motion prior of one training: from frames of a rollout to its style reward, and learning."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from envs.config import LocomotionConfig
from envs.layout import Layout
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.derived import Derivation
from wildrobot_torch.amp.discriminator import Discriminator, feature_mask, style_reward
from wildrobot_torch.amp.losses import discriminator_loss
from wildrobot_torch.amp.replay import Replay
from wildrobot_torch.amp.windows import History
from wildrobot_torch.ppo.normalizer import Reduce

CHUNK = 4096
"""Windows judged at once; more of them do not fit a processor's cache."""
REPLAY_INSERT = 500
"""Windows of each rollout, drawn at random, that enter the replay."""
NORMALIZER_ITERATIONS = 200
"""Iterations after which the features' normaliser is frozen."""
DATA_BUDGET = 0.5
"""Reference windows per iteration for each sample of the rollout, without a set batch size."""

SampleReference = Callable[[int, int], Tensor]
"""(num, frames) -> reference windows (num, frames, F)."""


class MotionPrior(nn.Module):
    """A discriminator with its history of frames, its replay and the clock of its weight.

    One iteration: `history.windows` of the rollout, `style_reward` by the discriminator as it is,
    `sample_batches` for the updates, `loss` once per update, `count_steps`. After an evaluation:
    `advance`.

    History, replay and clock are no buffers: they differ between processes, which must not
    broadcast them. `resume_state` holds them.
    """

    stage: Tensor
    """() long: stages of more features reached."""

    def __init__(
        self, frame: Layout, config: AMPConfig, ctrl_dt: float = LocomotionConfig.ctrl_dt
    ) -> None:
        """An untrained prior on frames packed by a layout, `ctrl_dt` [s] apart.

        Raises:
            UserError: the settings name a field that there is not.
        """
        super().__init__()
        self.config = config
        shares = config.shares
        derive = Derivation.of(frame, shares[-1], ctrl_dt)
        self.layout = derive.layout
        """Of the frames that the discriminator sees."""
        self._masks = [feature_mask(self.layout, share) for share in shares]
        self.register_buffer("stage", torch.zeros((), dtype=torch.long))
        self.discriminator = Discriminator(
            self.layout.size,
            config.hidden,
            config.activation,
            window=config.window,
            mask=self._masks[0],
            spectral_norm=config.spectral_norm,
            derive=derive,
        )
        self.history = History(config.window)
        self.replay = Replay(config.replay_size)
        self.gated_steps = 0
        """Environment steps of the iterations in which the gate of the ramp was open."""
        self._real = self._fake = torch.empty(0)

    # Reward

    @torch.no_grad()
    def style_reward(self, windows: Tensor) -> Tensor:
        """Style reward (E, T) of windows (E, T, K, F); changes nothing."""
        self.discriminator.eval()  # in training mode each call updates the spectral norm's estimate
        disc = self.discriminator
        parts = windows.flatten(0, 1).split(CHUNK)
        logit = torch.cat([disc(disc.normalize(part)) for part in parts])
        reward = style_reward(logit, self.config.loss, self.config.reward)
        return reward.unflatten(0, windows.shape[:2])

    def weight(self, env_steps: int) -> float:
        """Weight of the style reward after `env_steps` environment steps."""
        counted = env_steps if self.config.ramp_gate is None else self.gated_steps
        return self.config.weight_at(counted)

    def count_steps(self, env_steps: int, auc: float) -> None:
        """Count an iteration's environment steps, of all processes, for the gated ramp.

        `auc` is that on held-out reference; the gate is shut where it is undefined (NaN).
        """
        if self.config.ramp_gate is not None:
            low, high = self.config.ramp_gate
            self.gated_steps += env_steps if low <= auc <= high else 0

    # Learning

    @torch.no_grad()
    def sample_batches(
        self,
        rollout: Tensor,
        sample_reference: SampleReference,
        iteration: int,
        reduce: Reduce | None = None,
    ) -> None:
        """Draw the windows of an iteration's updates, fill the replay, update the normaliser.

        Args:
            rollout: (E, T, K, F) policy windows.
            sample_reference: source of reference windows.
            iteration: iterations done before.
            reduce: sums over processes; None for one process.
        """
        updates, window = self.config.num_updates, self.config.window
        fresh = rollout.flatten(0, 1)
        size = self.config.batch_size or math.ceil(DATA_BUDGET * len(fresh) / updates)
        past = round(self.config.replay_share * size) if len(self.replay) else 0

        def drawn(num: int) -> Tensor:
            return fresh[torch.randint(len(fresh), (num,), device=fresh.device)]

        def batches(windows: Tensor, size: int) -> Tensor:
            return windows.reshape(updates, size, *windows.shape[1:])

        self._real = batches(sample_reference(updates * size, window), size)
        self._fake = batches(drawn(updates * (size - past)), size - past)
        if past:
            old = batches(self.replay.sample(updates * past), past)
            self._fake = torch.cat([self._fake, old], dim=1)
        if iteration < NORMALIZER_ITERATIONS:
            # As many policy windows: by the reference alone early policies would be far outside the
            # normal range, where the discriminator saturates.
            both = torch.cat([self._real.flatten(0, 1), drawn(updates * size)])
            self.discriminator.normalizer.update(self.discriminator.extend(both), reduce)
        self.replay.insert(drawn(min(REPLAY_INSERT, self.replay.capacity)))

    def loss(self, update: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the iteration's update number `update`, and its parts by metric (detached)."""
        self.discriminator.train()
        real, fake = self._real[update], self._fake[update]
        loss, parts = discriminator_loss(self.discriminator, real, fake, self.config)
        return loss, {f"AMP/{name}": part for name, part in parts.items()}

    def advance(self, evaluation: Mapping[str, float], env_steps: int) -> bool:
        """Show the features of the next stage if it is reached; whether so.

        `evaluation` has the metrics after `env_steps` environment steps.
        """
        stage, stages = int(self.stage), self.config.stages
        if stage == len(stages) or not stages[stage].reached(evaluation, env_steps):
            return False
        self.stage += 1
        self.discriminator.mask.copy_(self._masks[stage + 1])
        return True

    # Resume

    def resume_state(self) -> dict[str, Any]:
        """What an exact resume needs beside the networks."""
        return {
            "replay": self.replay.state_dict(),
            "history": self.history.state_dict(),
            "gated_steps": self.gated_steps,
        }

    def load_resume_state(self, state: Mapping[str, Any], device: torch.device | str) -> None:
        """Put back what `resume_state` returned."""
        self.replay.load_state_dict(state["replay"], device)
        self.history.load_state_dict(state["history"], device)
        self.gated_steps = state["gated_steps"]

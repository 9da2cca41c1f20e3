"""One iteration of a motion prior: windows, style reward, weight, diagnosis, data to learn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from envs.layout import Layout
from wildrobot_torch.amp.diagnostics import diagnose
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.amp.schedule import Schedule
from wildrobot_torch.amp.windows import History
from wildrobot_torch.ppo.normalizer import Reduce
from wildrobot_torch.reference.curriculum import Curriculum
from wildrobot_torch.reference.dataset import ReferenceDataset

DIAGNOSED = 1024
"""Windows of each kind that a diagnosis looks at."""


class StyleJudge:
    """Style of one rollout after the other, by a motion prior that learns from them.

    Not a module: its content differs between processes and must not be broadcast between them.
    """

    def __init__(self, prior: MotionPrior, layout: Layout) -> None:
        """Nothing is judged yet; `layout` is that of a frame."""
        self.prior, self.layout = prior, layout
        self.history = History(prior.config.window)
        self.schedule = Schedule(prior.config)

    def judge(
        self,
        amp: Tensor,
        following: Tensor,
        start: Tensor,
        *,
        reference: ReferenceDataset,
        curriculum: Curriculum,
        env_steps: int,
        iteration: int,
        processes: int = 1,
        reduce: Reduce | None = None,
    ) -> tuple[Tensor, float, dict[str, float]]:
        """Style reward (E, T) by the discriminator as it is, its weight, and metrics by name.

        Draws what the discriminator learns from in this iteration (`MotionPrior.begin`).

        Args:
            amp: (E, T, F) frames before each step.
            following: (E, T, F) frames after each step, before any reset.
            start: (E, T, 1) long, as the environment writes it.
            reference: what is trained on at present.
            curriculum: where it comes from.
            env_steps: environment steps done, those of the rollout included.
            iteration: iterations done before.
            processes: training processes.
            reduce: sums over them; None for one.
        """
        seen = self.history.windows(amp, following, start.squeeze(-1), curriculum.frames)
        style = self.prior.style_reward(seen)
        weight = self.schedule.weight(env_steps)
        metrics = self._diagnosis(seen, style, reference, curriculum.held_out)
        metrics |= {"AMP/weight": weight, "AMP/stage": float(self.prior.stage)}
        auc = metrics.get("AMP/auc_held_out", math.nan)
        if reduce is not None:
            # All processes must go by the same clock.
            auc = float(reduce(torch.tensor(auc, device=amp.device))) / processes
        self.schedule.observe(style.numel() * processes, auc)
        sample = _sampler(reference, self.prior.config.num_updates)
        self.prior.begin(seen, sample, iteration, reduce)
        return style, weight, metrics

    def _diagnosis(
        self,
        seen: Tensor,
        style: Tensor,
        reference: ReferenceDataset,
        held_out: ReferenceDataset | None,
    ) -> dict[str, float]:
        flat, window = seen.flatten(0, 1), self.prior.config.window
        drawn = torch.randint(len(flat), (min(DIAGNOSED, len(flat)),), device=flat.device)
        real = reference.sample_windows(DIAGNOSED, window)
        unseen = None if held_out is None else held_out.sample_windows(DIAGNOSED, window)
        return diagnose(self.prior, flat[drawn], real, unseen, style, self.layout)

    def state_dict(self) -> dict[str, Any]:
        """What is not in the networks, for an exact resume."""
        return {
            "replay": self.prior.replay.state_dict(),
            "history": self.history.state_dict(),
            "clock": self.schedule.clock,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str) -> None:
        """Put back what `state_dict` returned."""
        self.prior.replay.load_state_dict(state["replay"], device)
        self.history.load_state_dict(state["history"], device)
        self.schedule.clock = state["clock"]


def _sampler(reference: ReferenceDataset, batches: int) -> Callable[[int, int], Tensor]:
    """Draws (num, frames, F) windows, in as many minibatches."""
    return lambda num, frames: reference.sample_windows(num, frames, batches=batches)

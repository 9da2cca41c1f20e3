"""Watching a training: metrics, and refusal of numbers that are not finite."""

from __future__ import annotations

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

GUARDED = ("observation", "critic_observation", "amp", "action", ("next", "reward"))
"""Rollout entries that must be finite."""
EPISODE_DECAY = 0.8
"""Share of the past kept per iteration in the means over finished episodes."""


class TrainingDiverged(ArithmeticError):
    """A number that is not finite; the message names tensor and iteration."""


def require_finite(batch: TensorDictBase, iteration: int) -> None:
    """Refuse a rollout [E, T] with a number that is not finite.

    Raises:
        TrainingDiverged: names tensor, iteration, environment, step and column.
    """
    # One answer for all of them: on a GPU each question waits.
    fine = torch.stack([torch.isfinite(batch.get(key)).all() for key in GUARDED]).tolist()
    for key in (key for key, all_finite in zip(GUARDED, fine, strict=True) if not all_finite):
        env, step, column = (~torch.isfinite(batch.get(key))).nonzero()[0].tolist()
        name = key if isinstance(key, str) else " ".join(key)
        value = float(batch.get(key)[env, step, column])
        raise TrainingDiverged(
            f"{name} is {value} in iteration {iteration} (environment {env}, step {step}, "
            f"column {column})"
        )


def require_finite_weights(module: nn.Module, iteration: int) -> None:
    """Refuse networks with a parameter or running statistic that is not finite.

    Raises:
        TrainingDiverged: names the tensor and the iteration that made it so.
    """
    state = {name: x for name, x in module.state_dict().items() if x.is_floating_point()}
    # The largest magnitude is not finite where any number is not; one answer for all of them.
    largest = torch.stack(
        [torch.linalg.vector_norm(x.flatten(), torch.inf).float() for x in state.values()]
    )
    if bool(torch.isfinite(largest).all()):
        return
    name = next(name for name, x in state.items() if not bool(torch.isfinite(x).all()))
    bad = state[name][~torch.isfinite(state[name])]
    raise TrainingDiverged(
        f"the networks are not finite after iteration {iteration}: {name} holds {float(bad[0])} "
        f"({bad.numel()} of {state[name].numel()} values); lower ppo.learning_rate_max or "
        "ppo.max_grad_norm"
    )


def loss_name(name: str) -> str:
    """The metric that a part of the losses is logged as: AMP/ for the discriminator's, or Loss/."""
    disc = {"disc_loss", "adversarial", "penalty", "grad_penalty"}
    return name if "/" in name else f"AMP/{name}" if name in disc else f"Loss/{name}"


def gradient_norms(**modules: nn.Module | None) -> dict[str, Tensor]:
    """Euclidean norm () of each module's gradient as `Gradient/<name>`; none without gradients."""
    norms = {}
    for name, module in modules.items():
        parameters = [] if module is None else module.parameters()
        gradients = [p.grad for p in parameters if p.grad is not None]
        if gradients:
            norms[f"Gradient/{name}"] = nn.utils.get_total_norm(gradients)
    return norms


def step_metrics(batch: TensorDictBase) -> dict[str, float]:
    """Means over a rollout [E, T] of reward, its terms and velocity error [m/s]; failures."""
    following = batch.get("next")
    metrics = following.get("metrics")
    values = {
        **{f"Episode_Reward/{name}": x.mean() for name, x in following.get("terms").items()},
        "Episode_Reward/total": following.get("reward").mean(),
        "Metrics/velocity_error": metrics.get("velocity_error").mean(),
        "Metrics/physics_failures": metrics.get("physics_failure").sum(),
    }
    return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))


class EpisodeMeans:
    """Means over finished episodes, older ones counting less with each rollout.

    A rollout is much shorter than an episode, so its own ended episodes are few, or none.
    """

    def __init__(self) -> None:
        # Decayed sums: number of episodes, falls, returns, lengths [steps].
        self.sums = [0.0, 0.0, 0.0, 0.0]

    def update(self, batch: TensorDictBase) -> dict[str, float]:
        """Add the episodes that end in a rollout [E, T]; the means, none before any has ended."""
        following = batch.get("next")
        done, metrics = following.get("done"), following.get("metrics")
        ended = torch.stack(
            [
                done.sum(),
                following.get("terminated").sum(),
                metrics.get("episode_return")[done].sum(),
                metrics.get("episode_length")[done].sum(),
            ]
        ).tolist()
        self.sums = [EPISODE_DECAY * old + new for old, new in zip(self.sums, ended, strict=True)]
        number, falls, returns, steps = self.sums
        if number == 0.0:
            return {}
        return {
            "Metrics/episode_return": returns / number,
            "Metrics/episode_length": steps / number,
            "Metrics/fall_rate": falls / number,
        }

"""Refusal of numbers that are not finite, before a checkpoint can hold them."""

from __future__ import annotations

import torch
from tensordict import TensorDictBase
from torch import nn

from envs.errors import RunError

GUARDED = ("observation", "critic_observation", "amp", "action", ("next", "reward"))
"""Rollout entries that must be finite."""


class TrainingDiverged(RunError):
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

"""Refusal of numbers that are not finite, before a checkpoint can hold them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from envs.errors import RunError

REMEDY = "lower ppo.learning_rate_max or ppo.max_grad_norm"


class TrainingDiverged(RunError):
    """A number that is not finite; the message names tensor and iteration."""


def require_finite(rollout: Mapping[str, Tensor], iteration: int) -> None:
    """Refuse tensors (E, T, ...) of a rollout with a number that is not finite.

    Raises:
        TrainingDiverged: names tensor, iteration, environment, step and column.
    """
    # One answer for all of them: on a GPU each question waits.
    fine = torch.stack([torch.isfinite(values).all() for values in rollout.values()]).tolist()
    for name in (name for name, all_finite in zip(rollout, fine, strict=True) if not all_finite):
        values = rollout[name].flatten(2) if rollout[name].ndim > 2 else rollout[name][..., None]
        env, step, column = (~torch.isfinite(values)).nonzero()[0].tolist()
        raise TrainingDiverged(
            f"{name} is {float(values[env, step, column])} in iteration {iteration} "
            f"(environment {env}, step {step}, column {column})"
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
        f"({bad.numel()} of {state[name].numel()} values); {REMEDY}"
    )

"""Refusal of numbers that are not finite, before a checkpoint can hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from envs.errors import RunError
from wildrobot_torch.ppo.normalizer import Reduce

REMEDY = "lower ppo.learning_rate_max or ppo.max_grad_norm"


class TrainingDiverged(RunError):
    """A number that is not finite; the message names tensor and iteration."""


def fail_together(
    check: Callable[[], None], iteration: int, reduce: Reduce | None, device: torch.device
) -> None:
    """Run a check that may raise a RunError; where it fails in one process, all raise.

    All processes call this: one that stopped alone would leave the others waiting for its
    gradients. `reduce` sums tensors of a device over them; None for one process.
    """
    error = None
    try:
        check()
    except RunError as found:
        error = found
    if reduce is not None:
        failed = reduce(torch.tensor(float(error is not None), device=device))
        if error is None and failed > 0.0:
            error = TrainingDiverged(f"another process failed in iteration {iteration}")
    if error is not None:
        raise error


def require_finite_means(metrics: Mapping[str, float], iteration: int) -> None:
    """Refuse metrics of an iteration with a number that is not finite."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrainingDiverged(f"{name} is {value} in iteration {iteration}; {REMEDY}")


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
    # One answer for all of them, as above.
    fine = torch.stack([torch.isfinite(x).all() for x in state.values()]).tolist()
    for name in (name for name, all_finite in zip(state, fine, strict=True) if not all_finite):
        bad = state[name][~torch.isfinite(state[name])]
        raise TrainingDiverged(
            f"the networks are not finite after iteration {iteration}: {name} holds "
            f"{float(bad[0])} ({bad.numel()} of {state[name].numel()} values); {REMEDY}"
        )

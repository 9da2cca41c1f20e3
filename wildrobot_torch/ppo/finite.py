"""Refusal of numbers that are not finite, before a checkpoint can hold them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from envs.errors import RunError
from wildrobot_torch.ppo.normalizer import Reduce

REMEDY = "lower ppo.learning_rate_max or ppo.max_grad_norm"


class TrainingDiverged(RunError):
    """A number that is not finite; the message names tensor and iteration."""


def fail_together(
    error: RunError | None, iteration: int, reduce: Reduce | None, device: torch.device
) -> None:
    """Raise `error`, or what stands for it where another process has one; all must call this.

    A process that stopped alone would leave the others waiting for its gradients.

    Args:
        error: fault of this process; None for none.
        iteration: in which it was looked for.
        reduce: sums over processes; None for one process.
        device: of the tensors that `reduce` takes.

    Raises:
        RunError: a process has failed.
    """
    if reduce is not None:
        failed = reduce(torch.tensor(float(error is not None), device=device))
        if error is None and failed > 0.0:
            error = TrainingDiverged(f"another process failed in iteration {iteration}")
    if error is not None:
        raise error


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

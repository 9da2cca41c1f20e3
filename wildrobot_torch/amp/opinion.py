"""The style reward a checkpoint's own motion prior gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jsonargparse import ArgumentError, ArgumentParser
from torch import Tensor

from envs.errors import UserError
from envs.layout import Layout
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.ppo.policy_file import PolicyFileError, load_checkpoint

PREFIX = "prior."
"""Beginning of the prior's names in a checkpoint's state_dict."""


@dataclass(frozen=True)
class StyleReward:
    """Style reward over all windows of a motion, by a prior that learns no more."""

    mean: float
    std: float
    """Over windows."""
    between_episodes: float
    """Standard deviation of the episodes' means."""
    p10: float
    p90: float
    zero: float
    """Share of windows with none."""


def load_prior(path: Path, layout: Layout) -> MotionPrior | None:
    """The motion prior of a checkpoint; None where it has none.

    Args:
        path: a checkpoint (.ckpt), or a policy without a prior (.onnx).
        layout: of the features that it is to judge.

    Raises:
        LayoutMismatch: it judges other features; with a field-by-field difference.
        PolicyFileError: there is a prior that this version cannot read.
    """
    if path.suffix != ".ckpt":
        return None
    content = load_checkpoint(path)
    settings = content["training"]["amp"]
    if settings is None:
        return None
    found = Layout.from_dict(content["wildrobot"]["amp_layout"])
    layout.require(found, f"the motion prior of {path} (its exported policy can be measured)")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(AMPConfig, "amp")
    try:
        prior = MotionPrior(layout, parser.instantiate(parser.parse_object({"amp": settings})).amp)
        prior.load_state_dict(
            {
                name.removeprefix(PREFIX): value
                for name, value in content["state_dict"].items()
                if name.startswith(PREFIX)
            }
        )
    except (ArgumentError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise PolicyFileError(f"{path} has a motion prior that cannot be read: {reason}") from error
    return prior.eval()


def held_out_in_training(path: Path) -> set[str] | None:
    """Kinds of reference motion that a checkpoint's training held out; None where it says nothing.

    Args:
        path: a checkpoint (.ckpt), or a policy that has forgotten its training (.onnx).
    """
    if path.suffix != ".ckpt":
        return None
    content = load_checkpoint(path)
    if content["training"]["amp"] is None:
        return None
    return set(content["RolloutData"]["held_out"])


def style_reward(prior: MotionPrior, amp: Tensor, valid: Tensor) -> StyleReward:
    """Style reward of a recording.

    Args:
        prior: from a checkpoint.
        amp: (T, E, F) style features.
        valid: (T, E) bool: steps that count; a window counts when all of it does.

    Raises:
        ValueError: no window counts.
    """
    frames = prior.config.window
    whole = valid.unfold(0, frames, 1).all(-1).T
    windows = amp.unfold(0, frames, 1).permute(1, 0, 3, 2)
    if not bool(whole.any()):
        raise UserError(f"no episode has {frames} steps that count; nothing to reward")
    reward = prior.style_reward(windows).reshape(whole.shape)
    counted = reward[whole].double()
    episodes = torch.stack(
        [row[keep].double().mean() for row, keep in zip(reward, whole, strict=True) if keep.any()]
    )
    low, high = torch.quantile(counted, torch.tensor([0.1, 0.9], dtype=torch.double)).tolist()
    return StyleReward(
        mean=float(counted.mean()),
        std=float(counted.std(correction=0)),
        between_episodes=float(episodes.std(correction=0)),
        p10=low,
        p90=high,
        zero=float((counted == 0.0).double().mean()),
    )

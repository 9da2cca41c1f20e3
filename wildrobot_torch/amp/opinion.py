"""The motion prior of a checkpoint, and the style reward that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from envs.errors import UserError
from envs.layout import Layout
from envs.yaml_files import from_mapping
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.ppo.policy_file import PolicyFileError, load_checkpoint, with_prefix


@dataclass(frozen=True)
class CheckpointPrior:
    """A motion prior that learns no more."""

    prior: MotionPrior
    held_out: frozenset[str] | None
    """Families of reference motion that its training held out; None where it does not say."""

    def style_reward(self, amp: Tensor, valid: Tensor) -> dict[str, float]:
        """Figures of the style reward over the windows of style features (T, E, F).

        mean, std over windows, between_episodes (standard deviation of the episodes' means), p10,
        p90, and zero (share of windows without reward). A window counts when all its steps are
        `valid` (T, E).

        Raises:
            UserError: no window counts.
        """
        frames = self.prior.config.window
        whole = valid.unfold(0, frames, 1).all(-1).T
        windows = amp.unfold(0, frames, 1).permute(1, 0, 3, 2)
        if not bool(whole.any()):
            raise UserError(f"no episode has {frames} steps that count; there is nothing to reward")
        reward = self.prior.style_reward(windows).reshape(whole.shape).double()
        counted = reward[whole]
        episodes = torch.stack(
            [row[keep].mean() for row, keep in zip(reward, whole, strict=True) if keep.any()]
        )
        low, high = torch.quantile(counted, torch.tensor([0.1, 0.9], dtype=torch.double)).tolist()
        return {
            "mean": float(counted.mean()),
            "std": float(counted.std(correction=0)),
            "between_episodes": float(episodes.std(correction=0)),
            "p10": low,
            "p90": high,
            "zero": float((counted == 0.0).double().mean()),
        }


def load_prior(path: Path, layout: Layout) -> CheckpointPrior | None:
    """The motion prior of a checkpoint, for style features of a layout.

    None where there is none, as in an exported policy (.onnx).

    Raises:
        LayoutMismatch: it judges other features; with a field-by-field difference.
        PolicyFileError: there is a prior that this version cannot read.
    """
    if path.suffix != ".ckpt":
        return None
    content = load_checkpoint(path)
    settings = content.get("training", {}).get("amp")
    if settings is None:
        return None
    found = Layout.from_dict(content["wildrobot"]["amp_layout"])
    layout.require(found, f"the motion prior of {path} (its exported policy can be measured)")
    where = f"{path}: settings of the motion prior"
    config = from_mapping(AMPConfig, settings, where, PolicyFileError)
    prior = MotionPrior(layout, config, content["wildrobot"]["env_config"]["ctrl_dt"])
    try:
        prior.load_state_dict(with_prefix("prior.", content["state_dict"]))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise PolicyFileError(f"{path} has a motion prior that cannot be read: {reason}") from error
    held_out = content.get("RolloutData", {}).get("held_out")
    return CheckpointPrior(prior.eval(), None if held_out is None else frozenset(held_out))

"""Policies that know nothing: to see what the task does by itself, and what metrics make of it."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.recording import PolicyFunction


def zero_policy(num_actions: int) -> PolicyFunction:
    """Action 0 (E, num_actions) always; with the action mapping `home` the robot stands."""

    def act(observation: Tensor) -> Tensor:
        return observation.new_zeros(len(observation), num_actions)

    return act


def random_policy(num_actions: int, seed: int) -> PolicyFunction:
    """Actions (E, num_actions) from U(-1, 1), the same series for the same seed."""
    generator = torch.Generator().manual_seed(seed)

    def act(observation: Tensor) -> Tensor:
        draw = torch.rand(len(observation), num_actions, generator=generator)
        return (2.0 * draw - 1.0).to(observation.device)

    return act

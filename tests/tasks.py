"""Tasks that tests of several packages speak of."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch

from envs.config import LocomotionConfig
from envs.reality.servo import ServoConfig
from envs.shares import Shares
from envs.task.observations import ObservationConfig

SIMULATOR = ObservationConfig(profile="simulator")
"""What a policy observes in the ideal simulator: the 39 values of the design documents."""


def ideal_task(**changes: Any) -> LocomotionConfig:
    """The task in the ideal simulator, with changes: an ideal servo, the true state observed."""
    ideal = {"servo": ServoConfig(model="ideal"), "observation": SIMULATOR}
    return LocomotionConfig(**(ideal | changes))


def shares(device: torch.device | str = "cpu", num_terms: int = 0, **changes: float) -> Shares:
    """The whole of a task's ranges but for the named ones, of which there is such a share."""
    values = {field.name: changes.get(field.name, 1.0) for field in fields(Shares)}
    terms = torch.full((num_terms,), values.pop("terms"), device=device)
    scalars = {name: torch.full((), value, device=device) for name, value in values.items()}
    return Shares(terms=terms, **scalars)

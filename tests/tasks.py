"""Tasks that tests of several packages speak of."""

from __future__ import annotations

from typing import Any

from envs.config import LocomotionConfig
from envs.reality.servo import ServoConfig
from envs.task.observations import ObservationConfig

SIMULATOR = ObservationConfig(profile="simulator")
"""What a policy observes in the ideal simulator: the 39 values of the design documents."""


def ideal_task(**changes: Any) -> LocomotionConfig:
    """The task in the ideal simulator, with changes: an ideal servo, the true state observed."""
    ideal = {"servo": ServoConfig(model="ideal"), "observation": SIMULATOR}
    return LocomotionConfig(**(ideal | changes))

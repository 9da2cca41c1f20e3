"""What the steps of a completion share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np

from envs.robot.description import RobotDescription, RobotDescriptionError

Array = np.ndarray
Notes = list[str]


@dataclass
class Work:
    """A model on its way to be completed."""

    spec: mujoco.MjSpec
    description: RobotDescription
    where: Path
    """robot.yaml, for messages."""
    notes: Notes = field(default_factory=list)

    def require(self, condition: object, message: str) -> None:
        """Refuse the description with `message` unless the condition holds."""
        if not condition:
            raise RobotDescriptionError(f"{self.where}: {message}")

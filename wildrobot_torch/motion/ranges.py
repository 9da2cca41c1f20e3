"""Number types for the settings of motion, used as those of `envs.settings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    JointMargin = float
    StepTime = float
    SwingShare = float
    Warp = float
else:
    from jsonargparse.typing import restricted_number_type

    JointMargin = restricted_number_type("JointMargin", float, [(">=", 0), ("<=", 0.2)])
    StepTime = restricted_number_type("StepTime", float, [(">=", 0.15), ("<=", 1)])
    SwingShare = restricted_number_type("SwingShare", float, [(">=", 0), ("<=", 0.4)])
    Warp = restricted_number_type("Warp", float, [(">=", 0.8), ("<=", 1.2)])

"""Thresholds that rewards, gates and evaluations share: one meaning for each word.

Speeds and times are those of a robot of the WildRobot's size; for another they are multiplied by
its `speed_scale`.
"""

from __future__ import annotations

LOADED = 0.10
"""A foot with more than this share of the robot's weight on it is loaded: in contact."""
MOVING = 0.05
"""A command or mean speed of at least this asks for, or is, walking; below it the robot stands
[m/s]."""
TURNING = 0.1
"""A commanded yaw rate of at least this asks for stepping; a foot is then as fast as in the slowest
walk forwards [rad/s]."""
SATURATED = 0.95
"""A servo at this share of its torque limit or above is saturated."""
JOINT_STOP = 0.02
"""A joint closer than this to an end of its range is on its stop [rad]."""
MIN_AIR_S = 0.06
"""A foot must be unloaded for this long before its next contact is a touchdown [s]."""
MIN_STANCE_S = 0.04
"""A foot must stay loaded for this long for its contact to be a touchdown [s]."""

"""The task of the robot that is asked for."""

from __future__ import annotations

from dataclasses import replace

from envs.config import LocomotionConfig
from envs.robot.model import ROBOT_DIRECTORY, ROBOTS, load_robot, robot_directory
from envs.sizing import sized


def task_for(config: LocomotionConfig, robot: str | None = None) -> LocomotionConfig:
    """The task of a robot, for its size; `robot` is its name or folder, None for the task's own.

    Raises:
        UserError: there is no such robot, or it cannot be used.
    """
    directory = robot_directory(robot or config.robot)
    name = directory.name if directory.parent == ROBOTS else str(directory)
    if name != config.robot:
        config = replace(config, robot=name)
    return config if directory == ROBOT_DIRECTORY else sized(config, load_robot(directory).robot)

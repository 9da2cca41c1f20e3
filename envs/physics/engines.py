"""Engines by name."""

from __future__ import annotations

import mujoco

from envs.physics.base import PhysicsBackend
from envs.physics.native import NativePhysics


def make_physics(
    name: str, model: mujoco.MjModel, num_envs: int, num_threads: int | None
) -> PhysicsBackend:
    """The physics engine called `name`.

    Raises:
        ValueError: no engine has that name.
    """
    if name == "native":
        return NativePhysics(model, num_envs, num_threads)
    raise ValueError(f"physics is {name!r}; allowed: native")

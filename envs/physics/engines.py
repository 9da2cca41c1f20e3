"""Physics engines by name."""

from __future__ import annotations

import torch

from envs.errors import UserError
from envs.physics.base import PhysicsBackend
from envs.physics.capacities import read_capacities
from envs.physics.native import NativePhysics
from envs.robot.model import RobotModel

ENGINE_NAMES = ("native", "warp", "warp-cpu", "auto")
"""native: MuJoCo on CPU threads. warp: MuJoCo Warp on the current CUDA device. warp-cpu: MuJoCo
Warp on Warp's CPU device, for tests. auto: warp where there is a CUDA device, else native."""


def resolve_engine(name: str) -> str:
    """The engine that `name` means on this machine: native, warp or warp-cpu.

    Raises:
        UserError: no engine has that name, or it needs a CUDA device and the machine has none.
    """
    if name not in ENGINE_NAMES:
        raise UserError(f"physics is {name!r}; allowed: {', '.join(ENGINE_NAMES)}")
    if name == "auto":
        return "warp" if torch.cuda.is_available() else "native"
    if name == "warp" and not torch.cuda.is_available():
        raise UserError(
            "physics is 'warp', but torch finds no CUDA device; use native (`wildrobot doctor` "
            "says what is missing)"
        )
    return name


def make_physics(
    name: str, loaded: RobotModel, num_envs: int, num_threads: int | None
) -> PhysicsBackend:
    """The physics engine called `name`, simulating a robot in its scene.

    Args:
        name: one of `ENGINE_NAMES`.
        loaded: the robot; the options of its model are used.
        num_envs: number of simulations.
        num_threads: CPU threads of the native engine; None for all physical cores.

    Raises:
        UserError: the name, the machine or the robot's capacities do not allow it.
        PhysicsError: the driver or the memory do not allow it.
    """
    engine = resolve_engine(name)
    if engine == "native":
        return NativePhysics(loaded.model, num_envs, num_threads)
    try:
        from envs.physics.warp import WarpPhysics
    except ImportError as error:
        raise UserError(f"physics is {name!r}, but {error}") from error
    capacities = read_capacities(loaded)
    device = f"cuda:{torch.cuda.current_device()}" if engine == "warp" else "cpu"
    return WarpPhysics(loaded.model, num_envs, capacities, device)

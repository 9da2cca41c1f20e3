"""Two engines compared from the states that a training meets, and through the environment."""

from __future__ import annotations

from dataclasses import replace

import torch
from tensordict import NestedKey, TensorDict, TensorDictBase
from torch import Tensor

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.physics.native import NativePhysics
from envs.physics.parity import Difference, Snapshot, largest
from envs.recorder import PolicyFunction
from envs.robot.model import RobotModel

KINDS = ("standing", "walking", "pushed", "fallen")
"""Kinds of states: what the robots were doing."""


def draw_states(
    kind: str, policy: PolicyFunction, loaded: RobotModel, config: LocomotionConfig, num: int
) -> Snapshot:
    """States of `num` robots from native physics, of one of `KINDS`.

    `config` is the task of the policy, which walks: it moves the walking and the pushed robots.
    """
    if kind == "standing":
        return _uncontrolled(loaded, config, num, seconds=0.5, spread=0.1)
    if kind == "fallen":
        return _uncontrolled(loaded, config, num, seconds=2.0, spread=1.0)
    impulse = 1.8 if kind == "pushed" else 0.0
    push = replace(config.push, impulse_min=0.0, impulse_max=impulse, interval_s=0.5)
    task = replace(config, terrain=loaded.scene, push=push, support=None, auto_reset=True)
    env = LocomotionEnv(task, num, num_threads=1, robot_dir=loaded.directory)
    root = env.reset()
    # The robots end at different phases of the stride because they started at different phases.
    for _ in range(round(2.0 / config.ctrl_dt)):
        root.set("action", policy(root.get("observation")))
        _, root = env.step_and_maybe_reset(root)
    return env.backend.snapshot()


def _uncontrolled(
    loaded: RobotModel, config: LocomotionConfig, num: int, seconds: float, spread: float
) -> Snapshot:
    """Robots whose targets jump at random around home by up to `spread` times the joint ranges."""
    robot = loaded.robot
    backend = NativePhysics(loaded.model, num, 1)
    generator = torch.Generator().manual_seed(0)
    home, everywhere = robot.joint_home.expand(num, -1), torch.ones(num, dtype=torch.bool)
    still = torch.zeros(num, loaded.model.nv)
    backend.reset(everywhere, robot.home_qpos.repeat(num, 1), still, home)
    low, high = robot.joint_range.unbind(-1)
    for _ in range(round(seconds / 0.1)):
        target = low + (high - low) * torch.rand(num, robot.num_joints, generator=generator)
        backend.step(home + spread * (target - home), None, round(0.1 / config.sim_dt))
    return backend.snapshot()


def environments(
    first: LocomotionEnv, second: LocomotionEnv, policy: PolicyFunction, steps: int, kind: str
) -> list[Difference]:
    """Differences when both environments make each of `steps` steps from the first one's state.

    The first one's episodes run on, resets included. Both have the same task and number of robots,
    and neither draws pushes. The policy acts in both, with noise added.
    """
    generator = torch.Generator().manual_seed(0)
    errors: dict[str, list[Tensor]] = {}
    first.set_commands(torch.linspace(0.1, 0.5, first.num_envs))
    second.set_commands(first.command.to(second.device))
    root = first.reset()
    for _ in range(steps):
        noise = 0.2 * torch.randn(first.num_envs, first.robot.num_joints, generator=generator)
        action = policy(root.get("observation")) + noise
        own = second.get_sim_state()
        generators = {name: own[name] for name in ("generator", "robot_generator")}
        second.set_sim_state(first.get_sim_state() | generators)
        root.set("action", action)
        moved, root = first.step_and_maybe_reset(root)
        same = TensorDict({"action": action.to(second.device)}, batch_size=second.batch_size)
        other = second.step(same)
        for name, error in _step_errors(moved.get("next"), other.get("next")).items():
            errors.setdefault(name, []).append(error)
    return [Difference.of(name, kind, torch.cat(values)) for name, values in errors.items()]


def _step_errors(first: TensorDictBase, second: TensorDictBase) -> dict[str, Tensor]:
    def apart(key: NestedKey) -> Tensor:
        return largest(first.get(key) - second.get(key).cpu())

    errors = {key: apart(key) for key in ("observation", "critic_observation", "amp", "reward")}
    names = list(first.get("terms").keys())
    errors["terms"] = torch.stack([apart(("terms", name)) for name in names]).amax(0)
    ends = [first.get(key) != second.get(key).cpu() for key in ("terminated", "truncated")]
    errors["ends"] = torch.cat(ends, dim=-1).any(-1).float()
    return errors

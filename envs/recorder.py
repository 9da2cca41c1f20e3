"""Recording robots: a policy's episodes, or single steps of another loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from tensordict import TensorDict
from torch import Tensor

from envs.errors import UserError
from envs.ground import above
from envs.locomotion import LocomotionEnv
from envs.measurements import lowest_sole_points
from envs.physics.base import require_capacities
from envs.reality.disturbances import Schedule
from envs.recording import Recording
from envs.task.commands import FORWARD, as_command
from envs.task.terminations import ENDS

PolicyFunction = Callable[[Tensor], Tensor]
"""From observations (E, O) to actions (E, J) in [-1, 1]."""


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


def record_step(env: LocomotionEnv, following: TensorDict) -> dict[str, Tensor]:
    """One step of a `Recording` (E, ...) by field, in memory of its own.

    Args:
        env: after the step.
        following: what the step returned as "next".
    """
    state, m = env.backend.state().clone(), env.measure()
    step = {
        "qpos": state.qpos,
        "qvel": state.qvel,
        "foot_force": m.foot_force,
        "sole_pos_w": m.sole_pos_w,
        "sole_linvel_w": m.sole_linvel_w,
        "sole_height": lowest_sole_points(state, env.robot, env.ground),
        "com_height": above(env.ground, state.sensordata[:, env.robot.sensors["com_pos"]]),
        "torque": m.torque,
        "amp": following["amp"],
    }
    if env.ground is not None:
        step["ground_height"] = env.ground.height(m.sole_pos_w)
    if env.config.push.impulse_max > 0.0 or env.config.faults.active:
        step["disturbed"] = env.disturbed
    if env.config.support is not None:
        step |= {"support": env.support.mean, "support_saturated": env.support.saturated}
    return step


def record(
    policy: PolicyFunction,
    env: LocomotionEnv,
    command: Tensor,
    num_steps: int,
    stop_steps: int = 0,
    schedule: Schedule | None = None,
    watch: Callable[[TensorDict], None] | None = None,
) -> Recording:
    """One deterministic episode of every robot, from home with the environment's reset noise.

    An episode ends at its robot's first `done`. The robot then stands at home until all episodes
    have ended. Its fall changes neither the pushes nor the noise of other robots, so two policies
    are given the same of both.

    The environment's start states and commands are overwritten, and drawn at random afterwards.

    Args:
        policy: from observations (E, O) to actions (E, J).
        env: E robots without support, with `auto_reset`, and with episodes of at least `num_steps`.
        command: (E,) forward velocities [m/s], or (E, 3) commands, see `Episode.command`, held
            throughout; or (T, E, 3) the command of each step.
        num_steps: control steps T.
        stop_steps: last steps of these in which the command is 0 instead.
        schedule: when pushes and passing faults begin; None for random times.
        watch: is given what each step returned as "next"; None for nobody.

    Raises:
        UserError: the policy returns another shape or a number that is not finite.
        ValueError: the environment has a support, no `auto_reset`, or shorter episodes.
        PhysicsError: the engine dropped contacts for lack of capacity.
    """
    config, robot, num = env.config, env.robot, env.num_envs
    if config.support is not None or not config.auto_reset:
        raise ValueError("the environment has a support or no auto_reset; record without and with")
    if config.episode_steps < num_steps:
        raise ValueError(
            f"cannot record {num_steps} steps: the environment ends episodes after "
            f"{config.episode_steps}; raise its episode_length_s"
        )
    home = robot.home_qpos.expand(num, -1)
    still = torch.zeros(num, robot.home_qpos.shape[0] - 1, device=home.device)
    command = command.to(home.device, torch.float32)
    held = as_command(command) if command.dim() == 1 else command
    commands = held.expand(num_steps, num, 3).clone()
    if stop_steps:
        commands[num_steps - stop_steps :] = 0.0
    changes = [False, *(commands[1:] != commands[:-1]).flatten(1).any(-1).tolist()]
    env.set_start_states(home[:1], still[:1], home.new_zeros(1), probability=0.0)
    env.set_commands(commands[0])
    env.set_schedule(schedule)
    running = torch.ones(num, dtype=torch.bool, device=home.device)
    terminated = torch.zeros_like(running)
    end_cause = torch.full_like(running, ENDS.index("time"), dtype=torch.long)
    steps: list[dict[str, Tensor]] = []
    try:
        observation = env.reset()["observation"]
        while len(steps) < num_steps and bool(running.any()):
            if changes[len(steps)]:
                env.set_commands(commands[len(steps)])
                # A simulation that failed has no numbers, and its episode has ended.
                observation = env.observe(env.measure())["observation"].nan_to_num()
            action = _act(policy, observation, (num, robot.num_joints))
            following = env.step(TensorDict({"action": action}, batch_size=[num]))["next"]
            if watch is not None:
                watch(following)
            step = record_step(env, following)
            # Nothing can be measured of a simulation that failed.
            known = torch.isfinite(torch.cat([step["qpos"], step["qvel"]], dim=-1)).all(-1)
            steps.append({**step, "action": action, "valid": running & known})
            done = following["done"][:, 0]
            terminated = terminated | (running & following["terminated"][:, 0])
            ends = torch.cat([following["metrics", f"end_{cause}"] for cause in ENDS], dim=-1)
            end_cause = torch.where(running & done, ends.argmax(-1), end_cause)
            running = running & ~done
            observation = following["observation"]
            if bool(done.any()):
                env.set_state(done, home, still)
    finally:
        env.set_commands(None)
        env.set_schedule(None)
    require_capacities(env.backend)
    after = {**steps[-1], "valid": torch.zeros_like(running)}
    steps += [after] * (num_steps - len(steps))
    return Recording(
        ctrl_dt=config.ctrl_dt,
        command=held[0, :, FORWARD] if held.dim() == 3 else held[:, FORWARD],
        commands=None if command.dim() == 1 else commands,
        terminated=terminated,
        end_cause=end_cause,
        **stacked(steps),
    )


def stacked(steps: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Series (T, E, ...) by field of T steps (E, ...), as `record_step` returns them."""
    return {name: torch.stack([step[name] for step in steps]) for name in steps[0]}


def _act(policy: PolicyFunction, observation: Tensor, shape: tuple[int, int]) -> Tensor:
    with torch.no_grad():
        action = policy(observation)
    if action.shape != shape:
        raise UserError(f"the policy returned shape {tuple(action.shape)}; expected {shape}")
    if not bool(torch.isfinite(action).all()):
        raise UserError("the policy returned an action that is not finite")
    return action.detach().to(observation).clamp(-1.0, 1.0)

"""Golden vectors: readings, observations and joint targets from the training's own environment.

The runtime must make the same of the same readings. It shares no code with the environment, so a
mistake in one of the two shows.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import torch
from tensordict import TensorDict

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.reality.randomization import Draw
from envs.task.actions import filtered_action_to_ctrl
from wildrobot_torch.deploy.runtime.bundle import GoldenRun
from wildrobot_torch.ppo.policy_file import LoadedPolicy

STEPS = 200
"""Control steps of a run."""
SEEDS = range(8)
"""Of the robots that are tried."""
POLLED = {"joint_period": Draw(low=22.0, high=33.0), "joint_loss": Draw(low=0.0066, high=0.0066)}
"""What the second run adds: servos that are read one after another, each at its own time, and
readings that get lost, as on the robot."""


def require_measured(policy: LoadedPolicy, task: LocomotionConfig) -> None:
    """Refuse a policy that observes what no robot measures.

    Raises:
        UserError: names it.
    """
    unmeasured = {"linvel", "joint_pos", "joint_vel"} & {f.name for f in policy.layout.fields}
    if unmeasured or task.observation.profile == "simulator":
        raise UserError(
            f"{policy.path} observes {', '.join(sorted(unmeasured)) or 'the true state'}, which no "
            "robot measures; a bundle is for a robot: train with observation.profile robot"
        )


def golden_runs(policy: LoadedPolicy, task: LocomotionConfig) -> dict[str, GoldenRun]:
    """`trained`: the task that the policy was trained in; `polled`: with `POLLED`, too."""
    polled = replace(task, randomization=replace(task.randomization, **POLLED))
    return {"trained": record(policy, task), "polled": record(policy, polled)}


def record(policy: LoadedPolicy, task: LocomotionConfig) -> GoldenRun:
    """A run of one robot under commands from standing to the highest speed.

    It is that of the first of `SEEDS` whose robot does not fall, or of the last one.

    Raises:
        UserError: its simulation failed.
    """
    for seed in SEEDS:
        run, upright = _run(policy, replace(task, auto_reset=False), seed)
        if upright:
            break
    return run


def _run(policy: LoadedPolicy, task: LocomotionConfig, seed: int) -> tuple[GoldenRun, bool]:
    """A run, and whether the robot stayed upright."""
    env = LocomotionEnv(task, 1, num_threads=1, seed=seed)
    env.set_commands(_command(task, 0))
    root = env.reset()
    commands = env.reality.state.commands
    begun = env.get_sim_state()
    targets = filtered_action_to_ctrl(begun["action"], env.robot, task.action)
    start = (targets if commands is None else commands.goal)[0].double().numpy()
    heading = float(begun["heading"][0])
    rows: list[dict[str, np.ndarray]] = []
    for step in range(STEPS):
        sensors = env.reality.state.sensors
        assert sensors is not None  # the policy observes them
        observation = root["observation"]
        action = policy(observation)
        row = {
            "gravity": sensors.gravity, "angvel": sensors.angvel, "heading": sensors.heading,
            "joint_pos": sensors.joint_pos, "switches": sensors.switches,
            "command": env.command, "observation": observation, "action": action,
        }  # fmt: skip
        since = sensors.since_sample[0].double().numpy()
        rows.append({name: value[0].numpy().copy() for name, value in row.items()})
        read_at = step * task.ctrl_dt - since
        if rows[:-1]:  # a reading that is not new keeps its time to the last bit
            last = rows[-2]["joint_time"]
            read_at = np.where(np.abs(read_at - last) < 1e-5, last, read_at)
        rows[-1] |= {"joint_time": read_at, "age": np.array(task.ctrl_dt)}
        env.set_commands(_command(task, step + 1))
        root = env.step(TensorDict({"action": action}, batch_size=[1]))["next"]
        filtered = env.get_sim_state()["action"]
        rows[-1]["target"] = (
            filtered_action_to_ctrl(filtered, env.robot, task.action)[0].double().numpy()
        )
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise UserError("the simulation of the golden vectors failed; the policy is no use")
    run = GoldenRun(start_targets=start, start_heading=heading, **arrays)
    return run, bool((run.gravity[:, 2] < 0.0).all())


def _command(task: LocomotionConfig, step: int) -> torch.Tensor:
    """(1, 3): standing where it was trained, then the middle and the highest velocity.

    The yaw rate is half the highest all the time: a heading that turns must be followed, too.
    """
    command = task.command
    middle = 0.5 * (command.velocity_min + command.velocity_max)
    slow = 0.0 if command.standing_probability else command.velocity_min
    forward = slow if step < 20 else middle if step < 110 else command.velocity_max
    return torch.tensor([[forward, 0.5 * command.lateral_max, 0.5 * command.yaw_rate_max]])


def golden_bytes(runs: Mapping[str, GoldenRun], robot_digest: str) -> bytes:
    """A golden.npz; the same for the same runs."""
    arrays = {f"{name}.{k}": v for name, run in runs.items() for k, v in asdict(run).items()}
    file = io.BytesIO()
    np.savez_compressed(
        file, allow_pickle=False, runs=np.array(list(runs)), robot_digest=robot_digest, **arrays
    )
    return file.getvalue()

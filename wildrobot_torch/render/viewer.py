"""Driving a policy by keyboard in MuJoCo's interactive viewer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mujoco
import numpy as np
import torch
from tensordict import TensorDict

from envs.locomotion import LocomotionEnv
from envs.recorder import PolicyFunction
from envs.task.commands import FORWARD, LATERAL, YAW
from envs.task.terminations import ENDS

Array = np.ndarray

KEYS = (
    "arrow up / down: faster / slower by 0.05 m/s; left / right: turn by 0.1 rad/s; "
    "page up / down: to the left / right by 0.05 m/s; End: stand; Home: start over"
)
_HOME, _END = 268, 269  # GLFW key codes, which the viewer reports
_STEPS = {
    265: (FORWARD, 0.05), 264: (FORWARD, -0.05), 263: (YAW, 0.1), 262: (YAW, -0.1),
    266: (LATERAL, 0.05), 267: (LATERAL, -0.05),
}  # fmt: skip
"""Key -> column of the command, and what a press adds to it [m/s, rad/s]."""


@dataclass
class Controls:
    """What the keyboard asks for."""

    velocity: float
    """Commanded forward velocity [m/s]."""
    lateral: float = 0.0
    """Commanded velocity to the left [m/s]."""
    yaw_rate: float = 0.0
    """Commanded yaw rate to the left [rad/s]."""
    start_over: bool = False
    """Put the robot back at home before the next step."""

    def press(self, key: int) -> None:
        """Take in a key of `KEYS`; others are left to the viewer."""
        command = self.command
        if key in _STEPS:
            column, added = _STEPS[key]
            command[column] = round(command[column] + added, 3)
            self.velocity, self.lateral, self.yaw_rate = command
        elif key == _END:
            self.velocity = self.lateral = self.yaw_rate = 0.0
        elif key == _HOME:
            self.start_over = True
        else:
            return
        print(
            f"command {self.velocity:.2f} m/s, to the left {self.lateral:.2f} m/s and "
            f"{self.yaw_rate:.1f} rad/s",
            flush=True,
        )

    @property
    def command(self) -> list[float]:
        """The command, in the order of its columns."""
        return [self.velocity, self.lateral, self.yaw_rate]


def drive(policy: PolicyFunction, env: LocomotionEnv, controls: Controls) -> Iterator[Array]:
    """Positions (nq,) of one robot under `policy`, step by step, for ever; home after an end.

    Prints why an episode ends, and how many have ended for each cause.
    """
    everyone = torch.ones(1, dtype=torch.bool, device=env.robot.home_qpos.device)
    home = env.robot.home_qpos[None]
    ends: Counter[str] = Counter()
    env.reset()
    while True:
        env.set_commands(torch.tensor([controls.command]))
        # Observed anew: the state may be that of a fresh start, and the command has changed.
        observation = env.observe(env.measure())["observation"]
        with torch.no_grad():
            action = policy(observation)
        following = env.step(TensorDict({"action": action}, batch_size=[1])).get("next")
        yield env.backend.state().qpos[0].cpu().numpy().astype(float)
        done = bool(following.get("done").any())
        if done:
            metrics = following.get("metrics")
            ends.update(cause for cause in ENDS if bool(metrics.get(f"end_{cause}").any()))
            counts = ", ".join(f"{cause} {number}" for cause, number in ends.items())
            steps = int(metrics.get("episode_length"))
            print(f"ended after {steps * env.config.ctrl_dt:.1f} s; so far: {counts}", flush=True)
        if controls.start_over or done:
            controls.start_over = False
            env.set_state(everyone, home, torch.zeros_like(home[:, 1:]))


def show(
    model: mujoco.MjModel,
    root_body: int,
    positions: Iterator[Array],
    step_dt: float,
    press: Callable[[int], None],
) -> None:
    """Show positions (nq,), one every `step_dt` [s], in a window, until they end or it is closed.

    The camera follows `root_body`; `press` is called with the code of each key pressed.
    """
    import mujoco.viewer  # needs a display already on import on some systems

    data = mujoco.MjData(model)
    with mujoco.viewer.launch_passive(
        model, data, key_callback=press, show_left_ui=False, show_right_ui=False
    ) as window:
        window.cam.type = mujoco.mjtCamera.mjCAMERA_TRACKING
        window.cam.trackbodyid = root_body
        window.cam.distance, window.cam.azimuth, window.cam.elevation = 1.6, 125.0, -14.0
        due = time.monotonic()
        for qpos in positions:
            if not window.is_running():
                return
            data.qpos[:] = qpos
            mujoco.mj_forward(model, data)
            window.sync()
            due = max(due + step_dt, time.monotonic() - step_dt)
            time.sleep(max(0.0, due - time.monotonic()))

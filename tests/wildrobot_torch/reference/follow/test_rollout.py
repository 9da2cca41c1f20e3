"""Rollouts: physics from one state on, or forced upon the robot and labelled so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from envs.locomotion import LocomotionEnv
from envs.physics.native import NativePhysics
from envs.reality.servo import UPDATES_PER_STEP
from envs.robot.model import load_robot
from envs.task.actions import ActionConfig
from envs.task.support import SupportConfig
from tests.tasks import ideal_task
from wildrobot_torch.motion.augment import turn
from wildrobot_torch.motion.clip import clip_states
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip
from wildrobot_torch.reference.follow.balance import BalanceConfig
from wildrobot_torch.reference.follow.rollout import Rollout, Task, follow, force
from wildrobot_torch.reference.judge.gates import GateResult
from wildrobot_torch.reference.judge.segments import Stretch
from wildrobot_torch.reference.judge.selection import label

HARNESS = SupportConfig()
BALANCE = BalanceConfig()
SLACK = SupportConfig(force_cap=0.0, torque_cap=0.0)


class TakenDown:
    """Passes everything on to an engine, and keeps what was done to it."""

    def __init__(self, backend: NativePhysics) -> None:
        self._backend = backend
        self.events: list[tuple[str, list[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._backend, name)
        if name not in ("reset", "step", "restore"):
            return method

        def kept(*args: Any, **options: Any) -> None:
            values = [a.clone() if isinstance(a, Tensor) else a for a in args]
            self.events.append((name, values))
            method(*args, **options)

        return kept

    def done(self, name: str) -> list[int]:
        return [i for i, (what, _) in enumerate(self.events) if what == name]


def make_env(num: int, harness: SupportConfig = HARNESS) -> LocomotionEnv:
    action = ActionConfig(mapping="full_range", filter=0.0)
    return LocomotionEnv(
        ideal_task(action=action, support=harness, auto_reset=False), num, num_threads=1
    )


def wrench_of(rollout: Rollout) -> Tensor:
    assert rollout.recording.support is not None
    return rollout.recording.support[:, 0]


def capped_of(rollout: Rollout) -> Tensor:
    assert rollout.recording.support_saturated is not None
    return rollout.recording.support_saturated[:, 0]


@pytest.fixture(scope="module")
def tasks(robot) -> list[Task]:
    """A walk, the same from its middle on, and standing for longer than both."""
    walk = walking_clip(robot, 0.2, 1.2)
    return [Task(walk, 0), Task(walk, 20), Task(standing_clip(robot, 1.6), 0)]


@pytest.fixture(scope="module")
def followed(robot_model, tasks) -> tuple[list[Rollout], TakenDown]:
    env = make_env(len(tasks))
    env.backend = taken = TakenDown(env.backend)
    return follow(env, tasks, robot_model, BALANCE), taken


def test_the_state_is_set_once_and_then_there_is_physics(followed, tasks, robot):
    rollouts, taken = followed
    assert taken.done("reset") == [0] and taken.done("restore") == []
    assert len(taken.done("step")) == 80 * UPDATES_PER_STEP
    mask, qpos, qvel, _ = taken.events[0][1]
    assert mask.all()
    for task, position, velocity in zip(tasks, qpos, qvel, strict=True):
        states = clip_states(task.clip, robot)
        assert torch.equal(position, states[0][task.first_frame])
        assert torch.equal(velocity, states[1][task.first_frame])
    assert [r.method for r in rollouts] == ["harness"] * 3
    assert [r.num_frames for r in rollouts] == [60, 40, 80]


def test_targets_and_wrenches_alone_make_the_same_motion_to_the_last_bit(followed):
    rollouts, taken = followed
    # Timestep as the environment sets it; several threads instead of one.
    engine = NativePhysics(load_robot(sim_dt=0.002).model, len(rollouts), num_threads=2)
    states = []
    for name, arguments in taken.events:
        getattr(engine, name)(*arguments)
        states.append(engine.state().clone())
    per_step = UPDATES_PER_STEP
    wrenches = 0.0
    for i, rollout in enumerate(rollouts):
        for frame in range(rollout.num_frames):
            state = states[(frame + 1) * per_step]
            assert torch.equal(state.qpos[i], rollout.recording.qpos[frame, 0]), (i, frame)
            assert torch.equal(state.qvel[i], rollout.recording.qvel[frame, 0]), (i, frame)
        wrenches += float(wrench_of(rollout)[:, 3:].abs().sum())
    assert wrenches > 1.0, "the harness must have helped for this to say something of it"


def test_what_is_logged_of_the_harness_is_what_acted_on_the_root(followed, robot):
    """Newtons and newton metres of every step, and their shares of m g and m g h."""
    rollouts, taken = followed
    per_step = UPDATES_PER_STEP
    acted = torch.stack([taken.events[i][1][1] for i in taken.done("step")])
    assert not acted[:, :, [b for b in range(acted.shape[2]) if b != robot.root_body]].any()
    mean = acted[:, :, robot.root_body].unflatten(0, (-1, per_step)).mean(1)
    for i, rollout in enumerate(rollouts):
        recording, mine = rollout.recording, mean[: rollout.num_frames, i]
        assert torch.allclose(wrench_of(rollout), mine, atol=1e-6)
        newtons = mine[:, :3].norm(dim=-1)
        assert torch.allclose(
            recording.support_force(robot)[:, 0] * robot.mass * 9.81, newtons, rtol=1e-3
        )
        assert recording.com_height is not None
        moment = robot.mass * 9.81 * recording.com_height[:, 0]
        assert torch.allclose(
            recording.support_torque(robot)[:, 0] * moment, mine[:, 3:].norm(dim=-1), rtol=1e-3
        )


def test_the_flag_says_in_which_steps_a_cap_was_met(robot_model, robot):
    """A clip that hangs 10 cm above the floor asks for 6 N of 4; one on the floor does not."""
    clip = standing_clip(robot, 0.6)
    high = replace(clip, root_pos=clip.root_pos + np.array([0.0, 0.0, 0.1]))
    env = make_env(2, SupportConfig())
    lifted, stood = follow(env, [Task(high, 0), Task(clip, 0)], robot_model, BALANCE)
    # It falls first: 60 g t^2 / 2 + 10 g t reaches 4 N after 0.036 s, and the wrench is computed
    # anew every 4 ms, so next at 0.040 s.
    assert capped_of(lifted)[:, 0].tolist() == [False] * 2 + [True] * 28
    assert not capped_of(stood)[2:].any()
    assert torch.allclose(wrench_of(lifted)[2:, 2], torch.tensor(4.0), atol=1e-4)
    slack = follow(make_env(1, SLACK), [Task(high, 0)], robot_model, BALANCE)[0]
    assert not capped_of(slack).any(), "what is not there is not at its cap"


def test_teacher_forcing_puts_the_robot_back_before_every_step(robot):
    clip = walking_clip(robot, 0.2, 1.0)
    env = make_env(1, SLACK)
    env.backend = taken = TakenDown(env.backend)
    forced = force(env, [Task(clip, 5)])[0]
    # One control step is one call to the engine for each update of the harness.
    period = 1 + UPDATES_PER_STEP
    assert taken.done("reset") == [i * period for i in range(45)]
    qpos, qvel = clip_states(clip, robot)
    for frame, event in enumerate(taken.done("reset")):
        assert torch.equal(taken.events[event][1][1][0], qpos[5 + frame])
        assert torch.equal(taken.events[event][1][2][0], qvel[5 + frame])
    # A frame is a control step of physics away from the clip: near it, but not on it.
    error = (forced.recording.qpos[:, 0] - qpos[6:])[:, :3].norm(dim=-1)
    assert forced.survival == 1.0 and 0.0 < error.max() < 0.01
    assert (forced.recording.qpos[:, 0, 7:] - qpos[6:, 7:]).abs().max() < 0.15
    assert 0.5 < float(forced.recording.load(robot).mean()) < 1.5


def test_forced_motion_is_labelled_and_of_the_lowest_tier_whatever_the_gates_say(robot):
    """A standing robot that is put back 50 times a second measures perfectly; it did nothing."""
    task = [Task(standing_clip(robot, 1.0), 0)]
    forced = force(make_env(1, SLACK), task)[0]
    assert forced.method == "forced"
    assert not wrench_of(forced).any()
    assert forced.support(0, 20) == "harness"
    best = Stretch(0, 20, GateResult({}, (), (), "0+"))
    assert label(forced, best) == "2"
    stood = replace(forced, method="harness")
    assert stood.support(0, 20) == "none"
    assert label(stood, best) == "0+"


def test_support_is_told_of_the_frames_asked_for(followed):
    rollout = followed[0][0]
    wrench = torch.zeros_like(rollout.recording.qpos[..., :6])
    wrench[30, 0, 4] = 0.01
    some = replace(rollout, recording=replace(rollout.recording, support=wrench))
    assert [some.support(*span) for span in ((0, 30), (30, 31), (31, 60))] == [
        "none",
        "harness",
        "none",
    ]


def test_rollouts_do_not_depend_on_what_the_environment_did_before(robot_model, tasks):
    env = make_env(len(tasks))
    first, again = (follow(env, tasks, robot_model, BALANCE) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.recording.qpos, other.recording.qpos)
        assert torch.equal(one.recording.amp, other.recording.amp)
        assert torch.equal(wrench_of(one), wrench_of(other))


def test_a_turned_clip_is_done_turned(robot_model, robot):
    """Heading variation changes the heading and nothing else, until rounding has grown."""
    clip = walking_clip(robot, 0.2, 0.4)
    env = make_env(2)
    tasks = [Task(clip, 0), Task(turn(clip, 1.0), 0)]
    straight, turned = follow(env, tasks, robot_model, BALANCE)
    # Joint velocities reach 5 rad/s, the pyramid of friction has sides: 0.03 was measured.
    assert torch.allclose(turned.recording.amp, straight.recording.amp, atol=0.06)
    turned_by = turned.recording.yaw - straight.recording.yaw
    assert torch.allclose(turned_by, torch.tensor(1.0), atol=1e-2)

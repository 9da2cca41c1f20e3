"""Tests of envs.step: its arithmetic by hand, and that no step waits for the device.

Waiting is looked for without a GPU: the environment runs on torch's `meta` device, whose tensors
have no values. Reading one on the host is an error there, as is mixing devices; two modes refuse
what `meta` lets pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import envs.step
from envs.config import LocomotionConfig, RewardConfig, RewardWeights
from envs.episode import Episode
from envs.locomotion import LocomotionEnv
from envs.measurements import measure
from envs.physics.base import PhysicsState
from envs.reality.disturbances import PushConfig
from envs.reality.faults import FaultConfig
from envs.reality.randomization import TERMS, RandomizationConfig
from envs.reality.reality import Reality
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from envs.shares import Shares
from envs.step import METRICS, act, reset, step
from envs.task.commands import CommandConfig, as_command
from envs.task.observations import ObservationConfig, critic_layout, frame_size, observation_layout
from envs.task.rewards import term_factors
from envs.task.starts import ResetConfig, start_from
from envs.task.support import SupportConfig, SupportState
from tests.tasks import ideal_task, shares

META = torch.device("meta")
NUM = 4


class HostAccess(AssertionError):
    """Something would have made the device and the host wait for each other."""


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part)
    else:
        yield value


class NoHostData(TorchFunctionMode):
    """Refuses tensors made of Python numbers, and lists as an index: each is uploaded."""

    MAKERS = (torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, Tensor.new_tensor)
    INDEXING = (Tensor.__getitem__, Tensor.__setitem__)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        index = args[1] if func in self.INDEXING else ()
        lists = [part for part in (index if isinstance(index, tuple) else (index,))
                 if isinstance(part, list)]  # fmt: skip
        if func in self.MAKERS or lists:
            raise HostAccess(f"{func.__name__} of Python numbers")
        return func(*args, **(kwargs or {}))


class OneDevice(TorchDispatchMode):
    """Refuses operations that touch the host's memory, and masks as an index: they are counted."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in leaves((args, kwargs or {}, result)):
            if isinstance(leaf, Tensor) and leaf.device != META:
                raise HostAccess(f"{func} on {leaf.device}")
        masks = [i for i in leaves(args[1]) if isinstance(i, Tensor) and i.dtype == torch.bool
                 ] if "index" in str(func) and len(args) > 1 else []  # fmt: skip
        if masks:
            raise HostAccess(f"{func} by a mask")
        return result


class ShapesOnly:
    """A physics engine without values: it checks what it is given and reports empty tensors."""

    device = META

    num_envs = NUM

    def __init__(self, loaded: RobotModel) -> None:
        self.model = loaded.model
        sizes = (self.model.nq, self.model.nv, self.model.nsensordata)
        self._state = PhysicsState(*(torch.empty(NUM, size, device=META) for size in sizes))

    def step(
        self, ctrl: Tensor, xfrc_applied: Tensor | None, decimation: int, refresh: bool = True
    ) -> None:
        assert ctrl.shape == (NUM, self.model.nu) and ctrl.device == META
        assert xfrc_applied is None or xfrc_applied.shape == (NUM, self.model.nbody, 6)
        assert xfrc_applied is None or xfrc_applied.device == META

    def reset(self, mask: Tensor, qpos: Tensor, qvel: Tensor, ctrl: Tensor) -> None:
        assert mask.dtype == torch.bool and {x.device for x in (mask, qpos, qvel, ctrl)} == {META}
        assert qpos.shape == self._state.qpos.shape and qvel.shape == self._state.qvel.shape

    def expand(self, field: str) -> Tensor:
        owner = self.model.opt if field.startswith("opt.") else self.model
        shape = getattr(owner, field.removeprefix("opt.")).shape
        return torch.empty(NUM, *shape, device=META)

    def set_const(self, mask: Tensor) -> None:
        assert mask.dtype == torch.bool and mask.device == META

    def state(self) -> PhysicsState:
        return self._state

    def health(self) -> Tensor:
        return torch.empty(NUM, dtype=torch.int32, device=META)


def on_meta(config: LocomotionConfig, loaded: RobotModel) -> LocomotionEnv:
    """The environment with everything a step reads on the `meta` device."""
    env = LocomotionEnv(config, NUM)
    env.backend = ShapesOnly(loaded)
    observed = config.observation
    history = (observed.past, frame_size(env.robot, observed))
    env.robot = env.robot.to(META)
    env.support = SupportState.none(NUM, META)
    env._episode = Episode.blank(NUM, env.robot.num_joints, META, history)
    draws = env._uniform, env._uniform_at_start
    env.reality = Reality(config, env.robot, env.backend, observed.readers, *draws)
    env._record()
    return env


def step_twice(env: LocomotionEnv) -> TensorDict:
    root, taken = env._reset(), []
    with NoHostData(), OneDevice():
        for _ in range(2):
            root.set("action", torch.empty(NUM, 8, device=META))
            step, root = env.step_and_maybe_reset(root)
            taken.append(step)
    return taken[-1]


FAULTS_THAT_PASS = FaultConfig(dropout_interval_s=1.0, displacement_interval_s=1.0)
REAL = LocomotionConfig(
    observation=ObservationConfig(profile="switches", history=3),
    randomization=RandomizationConfig(**{name: term.typical for name, term in TERMS.items()}),
    faults=replace(FAULTS_THAT_PASS, burst_interval_s=1.0),
)
"""All terms, all faults and the servo of robot.yaml."""

SETTINGS = {
    "default": LocomotionConfig(),
    "ideal": ideal_task(),
    "pushed": ideal_task(push=PushConfig(impulse_max=0.36)),
    "full range, all rewards": ideal_task(
        action=replace(ideal_task().action, mapping="full_range"),
        observation=ObservationConfig(fields=("gravity", "joint_pos"), critic_fields=()),
        reward=RewardConfig(weights=RewardWeights(**dict.fromkeys(vars(RewardWeights()), 1.0))),
    ),
    "support": ideal_task(support=SupportConfig(), auto_reset=False),
    "real": REAL,
    "real, support, pushed": replace(
        REAL, support=SupportConfig(), push=PushConfig(impulse_max=0.36, direction=0.5)
    ),
    "passing faults": ideal_task(faults=FAULTS_THAT_PASS),
    "support, pushed": ideal_task(support=SupportConfig(), push=PushConfig(impulse_max=0.36)),
}


@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("given", [False, True], ids=["drawn", "given"])
def test_no_step_waits_for_the_device_or_mixes_devices(
    robot_model: RobotModel, config: LocomotionConfig, given: bool
) -> None:
    env = on_meta(config, robot_model)
    if config.support is not None:
        env.set_support_targets(torch.empty(NUM, device=META), torch.empty(NUM, 4, device=META))
    if given:
        env.set_commands(torch.full((NUM,), 0.2))
        env.set_start_states(torch.zeros(5, 15), torch.zeros(5, 14), torch.zeros(5), 0.5)
    taken = step_twice(env)
    for key, value in taken.items(include_nested=True, leaves_only=True):
        assert value.device == META, key
        assert value.shape[0] == NUM, key


def test_no_step_waits_for_the_device_in_a_curriculum(robot_model: RobotModel) -> None:
    push, lean = PushConfig(impulse_max=0.36), ResetConfig(lean=0.1)
    env = on_meta(replace(REAL, push=push, reset=lean), robot_model)
    env.set_shares(shares(META, len(REAL.randomization.active())))
    env.reality.judge_terms()
    assert step_twice(env)["next", "reward"].device == META


FAULTS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda fell: fell.sum().item(),
    "bool": lambda fell: bool(fell.any()),
    "nonzero": lambda fell: fell.nonzero(),
    "mask": lambda fell: fell[fell],
    "mask written": lambda fell: fell.clone().__setitem__(fell, False),
    "cpu": lambda fell: fell.cpu(),
    "numbers": lambda fell: fell & torch.tensor([True] * NUM, device=META),
    "list": lambda fell: fell[[0, 1]],
    "mixed": lambda fell: fell & torch.ones(NUM, dtype=torch.bool),
    "scalar of the host": lambda fell: fell & torch.ones((), dtype=torch.bool),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_planted_faults_are_found(
    robot_model: RobotModel, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Tensor], Any]
) -> None:
    honest = envs.step.fall_causes

    def planted(*args: Any) -> Tensor:
        causes = honest(*args)
        fault(causes.any(-1))
        return causes

    monkeypatch.setattr(envs.step, "fall_causes", planted)
    with pytest.raises((HostAccess, RuntimeError)):
        step_twice(on_meta(ideal_task(), robot_model))


# Arithmetic


@pytest.fixture
def state(robot: RobotSpec) -> PhysicsState:
    """Two robots at home, in the air; the second turned by 1 rad."""
    qpos = robot.home_qpos.repeat(2, 1)
    half = torch.tensor(0.5)
    qpos[1, 3:7] = torch.stack([half.cos(), torch.zeros(()), torch.zeros(()), half.sin()])
    size = max(where.stop for where in robot.sensors.values())
    return PhysicsState(qpos, torch.zeros(2, 14), torch.zeros(2, size))


def stepped(
    episode: Episode,
    state: PhysicsState,
    robot: RobotSpec,
    config: LocomotionConfig,
    health: tuple[int, int] = (0, 0),
    draws: Tensor | None = None,
    given: Shares | None = None,
) -> Any:
    return step(
        episode,
        state,
        torch.tensor(health, dtype=torch.int32),
        draws,
        None,
        given,
        robot=robot,
        config=config,
        layouts=(
            observation_layout(robot, config.observation),
            critic_layout(robot, config.observation),
        ),
        factors=term_factors(config.reward),
    )


def blank(robot: RobotSpec) -> Episode:
    return Episode.blank(2, robot.num_joints, torch.device("cpu"))


COMMANDS = torch.tensor([[0.2, 0.0, 0.0], [0.3, -0.1, 0.5]])


def test_reset_changes_the_masked_episodes_only(robot: RobotSpec, state: PhysicsState) -> None:
    ones = {f.name: torch.ones_like(getattr(blank(robot), f.name)) for f in fields(Episode)}
    start = start_from(state.qpos, state.qvel, COMMANDS, robot, ideal_task())
    got = reset(Episode(**ones), torch.tensor([False, True]), start, state)
    for name in ones:
        assert (getattr(got, name)[0] == 1).all(), name
    assert got.heading[1].item() == pytest.approx(1.0)
    assert got.command[1].tolist() == pytest.approx([0.3, -0.1, 0.5])
    assert got.action[1].abs().max() < 0.1  # home
    for name in ("steps", "episode_return", "air_time", "stance_time", "push_steps"):
        assert not getattr(got, name)[1].any(), name


def test_act_filters_and_pushes(robot: RobotSpec) -> None:
    config = ideal_task(push=PushConfig(impulse_max=0.16, duration_s=0.04, interval_s=1.0))
    action = torch.full((2, 8), 0.2)
    # A push starts for draws below 0.02 s / 1 s; half of 0.16 N s in 0.04 s, a quarter turn: +y.
    draws = torch.tensor([[0.01, 0.03], [0.25, 0.25], [0.5, 0.5]])
    quat = robot.home_qpos[3:7].expand(2, 4)
    got, ctrl = act(blank(robot), action, draws, quat, robot=robot, config=config)
    assert torch.allclose(got.action, torch.full((2, 8), 0.1))
    assert torch.allclose(ctrl, (robot.joint_home + robot.action_sign * 0.14).expand(2, -1)
                          .clamp(*robot.joint_range.T))  # fmt: skip
    assert torch.allclose(got.push, torch.tensor([[0.0, 2.0], [0.0, 0.0]]), atol=1e-6)
    assert got.push_steps.tolist() == [1, 0]


def test_step_counts_and_totals(robot: RobotSpec, state: PhysicsState) -> None:
    config = ideal_task(episode_length_s=0.08)
    episode = replace(
        blank(robot), steps=torch.tensor([3, 1]), episode_return=torch.tensor([2.0, 0.0]),
        air_time=torch.tensor([[0.1, 0.0], [0.0, 0.0]]),
        command=as_command(torch.tensor([0.25, 0.0])),
    )  # fmt: skip
    after, result = stepped(episode, state, robot, config)
    assert after.steps.tolist() == [4, 2]
    assert result.truncated.tolist() == result.done.tolist() == [True, False]
    assert not result.terminated.any()
    assert torch.allclose(after.episode_return, torch.tensor([2.0, 0.0]) + result.reward)
    assert torch.allclose(result.terms.sum(-1), result.reward)
    air_time = torch.tensor([[0.12, 0.02], [0.02, 0.02]])
    assert torch.allclose(after.air_time, air_time)
    seen = critic_layout(robot, config.observation).unpack(
        result.observations["critic_observation"]
    )
    assert torch.allclose(seen["air_time"], air_time)
    metrics = dict(zip(METRICS, result.metrics.unbind(-1), strict=True))
    assert metrics["episode_length"].tolist() == [4.0, 2.0]
    assert metrics["velocity_error"].tolist() == pytest.approx([0.25, 0.0])


def test_a_share_of_the_episodes_length_ends_it(robot: RobotSpec, state: PhysicsState) -> None:
    """A quarter of 2000 steps."""
    config = ideal_task(episode_length_s=40.0)
    episode = replace(blank(robot), steps=torch.tensor([499, 498]))
    _, result = stepped(episode, state, robot, config, given=shares(episode_length=0.25))
    assert result.truncated.tolist() == [True, False]
    _, result = stepped(episode, state, robot, config)
    assert result.truncated.tolist() == [False, False]


def test_time_on_both_feet_counts_while_asked_to_walk_until_one_is_lifted(
    robot: RobotSpec, state: PhysicsState
) -> None:
    sensors = state.sensordata.clone()
    for name, where in robot.sensors.items():
        if name.endswith("_contact"):
            sensors[0, where] = torch.tensor([1.0, 0.0, 0.0, 8.0])
    stands = replace(state, sensordata=sensors)  # the first; the second is in the air
    assert (measure(stands, robot).foot_force > 5.0).tolist() == [[True, True], [False, False]]
    walking = replace(blank(robot), command=as_command(torch.tensor([0.2, 0.2])))
    once, _ = stepped(walking, stands, robot, ideal_task())
    twice, result = stepped(once, stands, robot, ideal_task())
    assert torch.allclose(twice.stance_time, torch.tensor([0.04, 0.0]))
    layout = critic_layout(robot, ideal_task().observation)
    seen = layout.unpack(result.observations["critic_observation"])["stance_time"]
    assert torch.allclose(seen, torch.tensor([[0.04], [0.0]]))
    lifted, _ = stepped(twice, state, robot, ideal_task())
    assert lifted.stance_time.tolist() == [0.0, 0.0]
    asked_to_stand, _ = stepped(blank(robot), stands, robot, ideal_task())
    assert asked_to_stand.stance_time.tolist() == [0.0, 0.0]


def test_speed_is_tracked_as_its_average(robot: RobotSpec, state: PhysicsState) -> None:
    """It begins with the speed along the heading; after 0.02 s of 0.1 s, exp(-0.2) is left."""
    qvel = state.qvel.clone()
    qvel[:, :2] = 0.5 * torch.tensor([[1.0, 0.0], [math.cos(1.0), math.sin(1.0)]])
    start = start_from(state.qpos, qvel, as_command(torch.tensor([0.3, 0.3])), robot, ideal_task())
    begun = reset(blank(robot), torch.tensor([True, True]), start, replace(state, qvel=qvel))
    assert begun.mean_velocity.tolist() == pytest.approx([0.5, 0.5])
    averaging = ideal_task(reward=RewardConfig(tracking_time=0.1))
    after, result = stepped(begun, state, robot, averaging)  # at rest
    left = 0.5 * math.exp(-0.2)
    assert after.mean_velocity.tolist() == pytest.approx([left, left])
    assert result.terms[:, 0].tolist() == pytest.approx([0.4 * math.exp(-4 * (left - 0.3))] * 2)
    now, result = stepped(begun, state, robot, ideal_task(reward=RewardConfig(tracking_time=0)))
    assert now.mean_velocity.tolist() == [0.0, 0.0]
    assert result.terms[:, 0].tolist() == pytest.approx([0.4 * math.exp(-4 * 0.3)] * 2)


def test_nothing_of_a_step_is_the_engines_memory(robot: RobotSpec, state: PhysicsState) -> None:
    """States may be views that change with the next step; what is kept must not."""
    engine = {x.untyped_storage().data_ptr() for x in vars(state).values()}
    after, result = stepped(blank(robot), state, robot, ideal_task())
    mask, start = (
        torch.ones(2, dtype=torch.bool),
        start_from(
            robot.home_qpos.repeat(2, 1),
            state.qvel.clone(),
            torch.zeros(2, 3),
            robot,
            ideal_task(),
        ),
    )
    kept = [after, result, reset(after, mask, start, state)]
    for value in leaves([list(vars(x).values()) for x in kept]):
        assert value.untyped_storage().data_ptr() not in engine


def test_ends_are_counted_by_cause(robot: RobotSpec, state: PhysicsState) -> None:
    """One robot lies on its side when its time is up, the other's time is up."""
    state.qpos[0, 3:7] = torch.tensor([0.7071, 0.7071, 0.0, 0.0])
    episode = replace(blank(robot), steps=torch.tensor([3, 3]))
    config = ideal_task(episode_length_s=0.08)
    _, result = stepped(episode, state, robot, config)
    ends = {name: column.tolist() for name, column in zip(METRICS, result.metrics.T, strict=True)}
    assert {name: who for name, who in ends.items() if name.startswith("end_")} == {
        "end_physics": [0, 0], "end_pitch": [0, 0], "end_roll": [1, 0], "end_height": [0, 0],
        "end_contact": [0, 0], "end_time": [0, 1],
    }  # fmt: skip
    assert result.terminated.tolist() == [True, False]
    assert result.truncated.tolist() == [False, True]


def remembering(**weights: float) -> LocomotionConfig:
    return ideal_task(reward=RewardConfig(weights=RewardWeights(**weights)))


def test_the_mean_height_is_that_of_a_second(robot: RobotSpec, state: PhysicsState) -> None:
    """Half a second after a rise of 10 cm, 1 - exp(-0.5) of it are in the mean."""
    config = remembering(base_height_variance=-1.0)
    start = start_from(state.qpos, state.qvel, COMMANDS, robot, config)
    episode = reset(blank(robot), torch.tensor([True, True]), start, state)
    home = state.qpos[0, 2].item()
    assert episode.mean_height.tolist() == pytest.approx([home, home])
    state.qpos[1, 2] += 0.1
    for _ in range(25):
        episode, _ = stepped(episode, state, robot, config)
    assert episode.mean_height.tolist() == pytest.approx([home, home + 0.1 * 0.39347], abs=1e-5)


def test_drift_is_the_way_to_the_side_of_the_commanded_path(
    robot: RobotSpec, state: PhysicsState
) -> None:
    """In 0.02 s: 0.5 m/s at 30 degrees to the path; 0.3 m/s to the left of 0.1 commanded."""
    config = remembering(xy_drift=-1.0)
    state.qvel[0, :2] = torch.tensor([0.5, 0.0])
    left = 1.0 + math.pi / 2.0  # the second robot faces 1 rad
    state.qvel[1, :2] = 0.3 * torch.tensor([math.cos(left), math.sin(left)])
    episode = replace(
        blank(robot), heading=torch.tensor([-math.pi / 6, 1.0]), drift=torch.tensor([0.0, 0.5]),
        command=torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.1, 0.0]]),
    )  # fmt: skip
    after, _ = stepped(episode, state, robot, config)
    assert after.drift.tolist() == pytest.approx([0.005, 0.504])
    start = start_from(state.qpos, state.qvel, COMMANDS, robot, config)
    begun = reset(after, torch.tensor([False, True]), start, state)
    assert begun.drift.tolist() == pytest.approx([0.005, 0.0])


def test_what_no_reward_reads_is_not_remembered(robot: RobotSpec, state: PhysicsState) -> None:
    state.qvel[:, :2] = 1.0
    episode = blank(robot)
    after, _ = stepped(episode, state, robot, ideal_task())
    assert after.drift is episode.drift and after.mean_height is episode.mean_height


def test_a_failed_simulation_leaves_what_is_remembered_finite(
    robot: RobotSpec, state: PhysicsState
) -> None:
    state.qpos[1], state.qvel[1] = float("nan"), float("nan")
    config = remembering(xy_drift=-1.0, base_height_variance=-1.0)
    after, _ = stepped(blank(robot), state, robot, config, health=(0, 2))
    assert after.drift.isfinite().all() and after.mean_height.isfinite().all()


def test_failed_simulations_end_with_finite_values(robot: RobotSpec, state: PhysicsState) -> None:
    state.qvel[1] = float("nan")
    _, result = stepped(blank(robot), state, robot, ideal_task(), health=(0, 2))
    assert result.terminated.tolist() == [False, True]
    for value in (result.reward, result.metrics, *result.observations.values()):
        assert torch.isfinite(value).all()
    assert not result.observations["observation"][1].any()


def test_a_failed_simulation_pays_for_its_end_as_a_fall_does(
    robot: RobotSpec, state: PhysicsState
) -> None:
    state.qvel[0] = float("nan")
    state.qpos[1, 2] = 0.1  # fallen
    _, result = stepped(blank(robot), state, robot, ideal_task(), health=(2, 0))
    last = result.terms[:, list(vars(ideal_task().reward.weights)).index("termination")]
    assert last.tolist() == pytest.approx([-1.0, -1.0])  # weight -10, scale 0.1
    assert float(result.reward[0]) == pytest.approx(-1.0)


def test_a_swing_that_a_start_begins_in_is_paid_by_its_whole_length(
    robot: RobotSpec, state: PhysicsState
) -> None:
    """0.24 s in the air at the start and 0.02 s after it exceed `swing_time` 0.25 s."""
    command = as_command(torch.tensor([0.3, 0.3]))
    air_time = torch.tensor([[0.24, 0.0], [0.0, 0.0]])
    config = ideal_task()
    start = start_from(state.qpos, state.qvel, command, robot, config, air_time=air_time)
    begun = reset(blank(robot), torch.tensor([True, True]), start, state)
    swung, _ = stepped(begun, state, robot, config)  # both feet in the air
    sensors = state.sensordata.clone()
    for name, where in robot.sensors.items():
        if name.endswith("_contact"):
            sensors[:, where] = torch.tensor([1.0, 0.0, 0.0, 8.0])
    _, landed = stepped(swung, replace(state, sensordata=sensors), robot, config)
    paid = landed.terms[:, list(vars(config.reward.weights)).index("feet_air_time")]
    # Left foot: no charge. The other three landed after 0.02 s: 1 - 0.02 / 0.25 each.
    each = 0.1 * config.reward.weights.feet_air_time * (1.0 - 0.02 / 0.25)
    assert paid.tolist() == pytest.approx([each, 2 * each])


def test_without_auto_reset_a_fall_is_recorded_and_the_episode_goes_on(
    robot: RobotSpec, state: PhysicsState
) -> None:
    state.qpos[0, 2] = 0.1
    config = ideal_task(auto_reset=False)
    _, result = stepped(blank(robot), state, robot, config)
    assert result.fallen.tolist() == [True, False]
    assert not result.done.any()


def test_commands_whose_time_is_up_are_drawn_unless_held(
    robot: RobotSpec, state: PhysicsState
) -> None:
    command = CommandConfig(velocity_min=0.1, velocity_max=0.3, resample_s=0.1)
    config = ideal_task(command=command)
    episode = replace(blank(robot), steps=torch.tensor([4, 3]), command=torch.full((2, 3), 0.9))
    draws = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    after, _ = stepped(episode, state, robot, config, draws=draws)
    assert after.command[0].tolist() == pytest.approx([0.2, 0.0, 0.0])
    assert after.command[1].tolist() == pytest.approx([0.9, 0.9, 0.9])
    after, _ = stepped(episode, state, robot, config)
    assert after.command.flatten().tolist() == pytest.approx([0.9] * 6)


def test_the_heading_to_hold_turns_with_the_commanded_yaw_rate(
    robot: RobotSpec, state: PhysicsState
) -> None:
    """Start heading plus the integral of the command: 3 steps of 0.02 s at 0.5 and 2 at -1 rad/s.

    The robots keep the headings they started with, 0 and 1 rad.
    """
    config = ideal_task()
    start = start_from(state.qpos, state.qvel, COMMANDS, robot, config)
    episode = reset(blank(robot), torch.tensor([True, True]), start, state)
    for _ in range(3):
        episode, result = stepped(episode, state, robot, config)
    command = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    episode = replace(episode, command=command)
    for _ in range(2):
        episode, result = stepped(episode, state, robot, config)
    assert episode.heading.tolist() == pytest.approx([0.0, 1.0 + 3 * 0.01 - 2 * 0.02], abs=1e-6)
    layout = observation_layout(robot, config.observation)
    seen = layout.unpack(result.observations["observation"])["heading_error"][:, 0]
    assert seen.tolist() == pytest.approx([0.0, 0.01], abs=1e-5)
    free = ideal_task(command=CommandConfig(heading_hold=False))
    _, result = stepped(episode, state, robot, free)
    assert not layout.unpack(result.observations["observation"])["heading_error"].any()

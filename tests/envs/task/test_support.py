"""Direction, caps, gate, the short way round, low-pass; and its physics."""

from __future__ import annotations

import math

import pytest
import torch
from tensordict import TensorDict

from envs.frames import quat_from_euler
from envs.locomotion import LocomotionConfig, LocomotionEnv
from envs.physics.base import PhysicsState
from envs.task.actions import ActionConfig
from envs.task.support import SupportConfig, SupportState, supporting_wrench

UPRIGHT = torch.tensor([[1.0, 0.0, 0.0, 0.0]])


def state(height: float = 0.45, roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0,
          qvel: tuple[float, ...] = (0.0,) * 6) -> PhysicsState:  # fmt: skip
    angles = (torch.tensor([a]) for a in (roll, pitch, yaw))
    qpos = torch.cat([torch.tensor([[0.0, 0.0, height]]), quat_from_euler(*angles)], dim=-1)
    return PhysicsState(qpos, torch.tensor([qvel]), torch.zeros(1, 0))


def wrench(
    at: PhysicsState, height: float = 0.45, quat: torch.Tensor = UPRIGHT, **config: float
) -> torch.Tensor:
    """What the support without a low-pass does at once."""
    asked = SupportConfig(**config)
    slack, target = torch.zeros(1, 6), torch.tensor([height])
    return supporting_wrench(slack, at, target, quat, config=asked, dt=0.004)[0][0]


def test_spring_and_damper_by_hand() -> None:
    got = wrench(state(height=0.44, qvel=(0, 0, 0.02, 0, 0, 0)))
    # 60 N/m * 0.01 m - 10 N s/m * 0.02 m/s
    assert torch.allclose(got, torch.tensor([0, 0, 0.4, 0, 0, 0]), atol=1e-5)


def test_force_is_capped_both_ways() -> None:
    assert wrench(state(height=0.0))[2].item() == pytest.approx(4.0)
    assert wrench(state(height=1.0))[2].item() == pytest.approx(-4.0)


def test_torque_turns_back_upright_and_is_capped() -> None:
    got = wrench(state(pitch=0.01), torque_cap=8.0)
    assert torch.allclose(got[3:], torch.tensor([0.0, -0.4, 0.0]), atol=1e-3)  # 40 * 0.01
    got = wrench(state(roll=0.3), torque_cap=2.0)
    assert torch.allclose(got[3:], torch.tensor([-2.0, 0.0, 0.0]), atol=1e-3)


def test_torque_is_in_the_world_frame() -> None:
    """A robot that faces +y and leans forward is turned back about the world's x axis."""
    at = state(pitch=0.02, yaw=math.pi / 2)
    target = quat_from_euler(torch.zeros(1), torch.zeros(1), torch.tensor([math.pi / 2]))
    got = wrench(at, quat=target, torque_cap=8.0)
    assert torch.allclose(got[3:], torch.tensor([0.8, 0.0, 0.0]), atol=1e-3)


def test_angular_velocity_is_damped_in_the_body() -> None:
    at = state(yaw=math.pi / 2, qvel=(0, 0, 0, 0, 0.3, 0))
    target = quat_from_euler(torch.zeros(1), torch.zeros(1), torch.tensor([math.pi / 2]))
    got = wrench(at, quat=target, torque_cap=8.0)
    # -2 N m s/rad * 0.3 rad/s about body y, which is world -x at this heading.
    assert torch.allclose(got[3:], torch.tensor([0.6, 0.0, 0.0]), atol=1e-4)


def test_it_lets_go_of_a_falling_robot() -> None:
    assert wrench(state(height=0.3, pitch=0.43)).abs().max() > 0
    assert not wrench(state(height=0.3, pitch=0.44)).any()
    assert not wrench(state(height=0.3, roll=-0.44)).any()


def test_quaternion_sign_means_nothing() -> None:
    at = state(pitch=0.1)
    flipped = PhysicsState(
        torch.cat([at.qpos[:, :3], -at.qpos[:, 3:]], dim=-1), at.qvel, at.sensordata
    )
    assert torch.allclose(wrench(at), wrench(flipped), atol=1e-6)


def test_refuses_negative_gains() -> None:
    with pytest.raises(ValueError, match="force_cap"):
        SupportConfig(force_cap=-1.0)
    with pytest.raises(ValueError, match="lowpass_hz"):
        SupportConfig(lowpass_hz=float("nan"))


# From one wrench to the next


def held(
    previous: torch.Tensor,
    at: PhysicsState,
    height: float = 0.45,
    dt: float = 0.004,
    **config: float,
) -> tuple[torch.Tensor, list[bool]]:
    found, saturated = supporting_wrench(
        previous[None], at, torch.tensor([height]), UPRIGHT, config=SupportConfig(**config), dt=dt
    )
    return found[0], saturated[0].tolist()


def test_without_a_low_pass_the_wrench_before_means_nothing() -> None:
    at = state(height=0.44, pitch=0.01)
    found, _ = held(torch.full((6,), 3.0), at)
    assert torch.equal(found, wrench(at))


def test_a_low_pass_of_first_order_by_hand() -> None:
    """After a time constant, 1 - 1/e of the way is done, in one call or in five."""
    at, cutoff = state(height=0.44, pitch=0.01), 5.0
    constant = 1.0 / (2.0 * math.pi * cutoff)
    goal = wrench(at)
    once, _ = held(torch.zeros(6), at, dt=constant, lowpass_hz=cutoff)
    assert torch.allclose(once, (1.0 - math.exp(-1.0)) * goal, atol=1e-6)
    found = torch.zeros(6)
    for _ in range(5):
        found, _ = held(found, at, dt=constant / 5, lowpass_hz=cutoff)
    assert torch.allclose(found, once, atol=1e-6)


def test_a_low_pass_takes_out_what_is_fast() -> None:
    """Of 10 Hz, a cut-off of 1 Hz leaves a tenth: 1 / sqrt(1 + (f / f_c)^2)."""
    found, largest = torch.zeros(6), 0.0
    for i in range(1000):
        at = state(height=0.45 + 0.01 * math.sin(2.0 * math.pi * 10.0 * i * 0.004))
        found, _ = held(found, at, lowpass_hz=1.0)
        largest = max(largest, abs(found[2].item())) if i > 500 else 0.0
    assert largest == pytest.approx(60.0 * 0.01 / math.sqrt(101.0), rel=0.05)


def test_a_tilted_robot_is_let_go_at_once_and_taken_up_slowly() -> None:
    far = state(height=0.3, pitch=0.44)
    found, saturated = held(torch.full((6,), 1.0), far, lowpass_hz=1.0)
    assert not found.any() and saturated == [False, False]
    found, _ = held(found, state(height=0.44), lowpass_hz=1.0)
    assert 0.0 < found[2].item() < 0.1 * 0.6


def test_meeting_a_cap_is_told_of_force_and_torque_apart() -> None:
    nothing = torch.zeros(6)
    low, tilted = state(height=0.38), state(pitch=0.06)  # 60 * 0.07 = 4.2 N; 40 * 0.06 = 2.4 N m
    assert held(nothing, low)[1] == [True, False]
    assert held(nothing, tilted)[1] == [False, True]
    assert held(nothing, state(height=0.39, pitch=0.04))[1] == [False, False]
    # A low-pass does not hide that more was asked for than is allowed.
    assert held(nothing, low, lowpass_hz=1.0)[1] == [True, False]
    assert held(nothing, low, force_cap=0.0, torque_cap=0.0)[1] == [False, False]


def test_filtered_wrenches_stay_within_the_caps() -> None:
    found = torch.zeros(6)
    for height, pitch in ((0.3, 0.3), (0.6, -0.3), (0.3, 0.3), (0.45, -0.3)) * 50:
        found, _ = held(found, state(height, pitch=pitch), lowpass_hz=20.0)
        assert found[2].abs() <= 4.0 and found[3:].norm() <= 2.0 + 1e-6


def test_letting_go_forgets_the_masked_robots_alone() -> None:
    ones = torch.ones(2, 6)
    support = SupportState(ones, ones.clone(), torch.ones(2, 2, dtype=torch.bool))
    after = support.let_go(torch.tensor([True, False]))
    for values in (after.wrench, after.mean, after.saturated):
        assert not values[0].any() and values[1].all()


# In the environment


def supported(num: int = 1, **config: float) -> LocomotionEnv:
    """Robots at home that are told to stay there."""
    action = ActionConfig(mapping="full_range", filter=0.0)
    task = LocomotionConfig(action=action, support=SupportConfig(**config), auto_reset=False)
    env = LocomotionEnv(task, num, num_threads=1)
    put_home(env, torch.ones(num, dtype=torch.bool))
    return env


def put_home(env: LocomotionEnv, mask: torch.Tensor) -> None:
    num, home = env.num_envs, env.robot.home_qpos
    env.set_state(mask, home.repeat(num, 1), torch.zeros(num, 14))


def stand(env: LocomotionEnv, steps: int, above: float = 0.0) -> torch.Tensor:
    """Weight on the feet (steps, E) [m g]; the support holds the root `above` home [m]."""
    num, home = env.num_envs, env.robot.home_qpos
    env.set_support_targets(home[2].repeat(num) + above, home[3:7].repeat(num, 1))
    action = env.joint_targets_to_action(env.robot.joint_home.repeat(num, 1))
    loads = []
    for _ in range(steps):
        env.step(TensorDict({"action": action}, batch_size=[num]))
        loads.append(env.measure().foot_force.sum(-1) / env.robot.weight)
    return torch.stack(loads)


def test_standing_still_carries_its_own_weight_for_seconds() -> None:
    """4 s at home: 1.00 m g within 0.02 in every step, by its feet alone."""
    env = supported(force_cap=4.0)
    load = stand(env, 200)
    assert (load - 1.0).abs().max() < 0.02
    assert env.support.mean[0].abs().max() < 0.1 and not env.support.saturated.any()


@pytest.mark.parametrize(("above", "asked"), [(0.05, 3.0), (0.5, 30.0), (1.0, 60.0)])
def test_the_cap_keeps_the_robot_from_hanging(above: float, asked: float) -> None:
    """Held too high, a cap of 4 N leaves 0.88 m g on the feet; one of 40 N leaves hardly any."""
    weight = 3.302 * 9.81
    capped, strong = supported(force_cap=4.0), supported(force_cap=40.0)
    load = stand(capped, 100, above)[50:].mean().item()
    assert load == pytest.approx(1.0 - min(asked, 4.0) / weight, abs=0.005)
    assert capped.support.saturated[0].tolist() == [asked > 4.0, False]
    load = stand(strong, 100, above)[50:].mean().item()
    assert load == pytest.approx(max(1.0 - asked / weight, 0.0), abs=0.005)
    assert (strong.measure().height[0] > 0.6) == (asked > weight)


def test_the_low_pass_begins_anew_with_an_episode_and_goes_on_after_a_resume() -> None:
    slow = {"lowpass_hz": 0.5, "force_cap": 4.0}
    env, other = supported(2, **slow), supported(2, **slow)
    stand(env, 25, above=1.0)
    state = {key: value.clone() for key, value in env.get_sim_state().items()}
    put_home(env, torch.tensor([True, False]))
    assert not env.support.wrench[0].any() and env.support.wrench[1, 2] > 2.0
    stand(env, 1, above=1.0)
    # 4 N (1 - exp(-2 pi f t)), on average over the five updates of a step and over 26 of them.
    times = 0.004 * torch.arange(1, 6)
    fresh = 4.0 * (1.0 - torch.exp(-2.0 * math.pi * 0.5 * times)).mean()
    late = 4.0 * (1.0 - torch.exp(-2.0 * math.pi * 0.5 * (times + 0.5))).mean()
    assert torch.allclose(env.support.mean[:, 2], torch.stack([fresh, late]), atol=1e-3)
    other.set_sim_state(state)
    stand(other, 1, above=1.0)
    assert other.support.mean[1, 2] == env.support.mean[1, 2]

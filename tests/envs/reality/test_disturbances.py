"""A push lasts as long as it should, is as strong, comes as often, goes where it should."""

from __future__ import annotations

import mujoco
import pytest
import torch

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.reality.disturbances import PushConfig, push_force


def simulate(config: PushConfig, num: int, steps: int) -> torch.Tensor:
    """Forces (steps, num, 2) at a control step of 0.02 s."""
    generator = torch.Generator().manual_seed(0)
    force, remaining = torch.zeros(num, 2), torch.zeros(num, dtype=torch.long)
    forces = []
    for _ in range(steps):
        draws = torch.rand(3, num, generator=generator)
        force, remaining = push_force(force, remaining, draws, torch.zeros(num), config, 0.02)
        forces.append(force)
    return torch.stack(forces)


def test_pushes_last_keep_their_force_and_end() -> None:
    forces = simulate(PushConfig(impulse_max=0.36, duration_s=0.12, interval_s=4.0), 64, 500)
    acting = forces.norm(dim=-1) > 0
    starts = acting[1:] & ~acting[:-1]
    step, env = starts[:-6].nonzero()[0].tolist()
    push = forces[step + 1 : step + 7, env]  # 0.12 s are six steps
    assert acting[step + 1 : step + 7, env].all()
    assert torch.equal(push, push[:1].expand_as(push))
    assert 2.5 < forces.norm(dim=-1).max() <= 3.0 + 1e-6


def test_rate_and_size() -> None:
    config = PushConfig(impulse_max=0.2, duration_s=0.1, interval_s=1.0)
    forces = simulate(config, 512, 1000)
    acting = forces.norm(dim=-1) > 0
    starts = (acting[1:] & ~acting[:-1]).float().sum().item()
    # 20 s hold 20 pushes; one in 46 begins in the step after the last push and merges with it.
    assert starts / 512 == pytest.approx(20 * 45 / 46, rel=0.03)
    assert forces.norm(dim=-1)[acting].mean().item() == pytest.approx(1.0, rel=0.05)
    assert forces.mean().abs() < 0.01  # all directions


def test_no_push_is_smaller_than_the_least() -> None:
    config = PushConfig(impulse_min=0.2, impulse_max=0.3, duration_s=0.1, interval_s=1.0)
    sizes = simulate(config, 256, 500).norm(dim=-1)
    sizes = sizes[sizes > 0]
    assert sizes.min() >= 2.0 - 1e-6 and sizes.max() <= 3.0 + 1e-6
    assert sizes.mean().item() == pytest.approx(2.5, rel=0.03)


def test_no_force_without_a_size() -> None:
    assert not simulate(PushConfig(impulse_max=0.0), 32, 500).any()


@pytest.mark.parametrize(
    "bad",
    [{"impulse_max": -1.0}, {"impulse_min": 1.0}, {"duration_s": 0.0}, {"interval_s": 0.1},
     {"direction": 90.0}, {"direction": float("nan")}],
)  # fmt: skip
def test_refuses_settings_that_cannot_work(bad: dict) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        PushConfig(**bad)


@pytest.mark.parametrize("body", [None, "left_foot"])
def test_a_push_gives_its_impulse_in_its_direction_to_its_body(body: str | None) -> None:
    """In free flight the momentum of all bodies is the impulse, a quarter of a turn to the left."""
    # One push of 0.07 s, in whole control steps 0.08 s, which begins at once.
    push = PushConfig(impulse_min=0.3, impulse_max=0.3, duration_s=0.07, interval_s=0.08,
                      direction=torch.pi / 2, body=body)  # fmt: skip
    env = LocomotionEnv(LocomotionConfig(push=push, auto_reset=False), 1)
    env.reset()
    model, robot = env.backend.model, env.robot
    qpos, yaw = robot.home_qpos[None].clone(), torch.tensor(1.0)
    qpos[0, 2] += 0.3
    qpos[0, 3:7] = torch.stack([(yaw / 2).cos(), yaw * 0, yaw * 0, (yaw / 2).sin()])
    env.set_state(torch.tensor([True]), qpos, torch.zeros(1, model.nv))
    for _ in range(4):
        env.step(env.rand_action().zero_())
    number = robot.root_body if body is None else model.body(body).id
    pushed = env.backend.snapshot()["xfrc_applied"][0].any(-1).nonzero().tolist()
    assert pushed == [[number]]
    data, state = mujoco.MjData(model), env.backend.snapshot()
    data.qpos[:], data.qvel[:] = state["qpos"][0], state["qvel"][0]
    mujoco.mj_forward(model, data)
    mujoco.mj_subtreeVel(model, data)
    momentum = model.body_mass.sum() * torch.from_numpy(data.subtree_linvel[0, :2])
    left = torch.stack([-yaw.sin(), yaw.cos()])
    assert torch.allclose(momentum.float(), 0.3 * left, atol=3e-3)


def test_a_body_of_another_name_is_refused() -> None:
    config = LocomotionConfig(push=PushConfig(impulse_max=0.1, body="left_foo"))
    with pytest.raises(UserError, match=r"push.body is 'left_foo' \(did you mean 'left_foot'"):
        LocomotionEnv(config, 1)

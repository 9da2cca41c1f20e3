"""A push lasts as long as it should, is as strong, comes as often."""

from __future__ import annotations

import pytest
import torch

from envs.errors import UserError
from envs.reality.disturbances import PushConfig, push_force


def simulate(config: PushConfig, num: int, steps: int) -> torch.Tensor:
    """Forces (steps, num, 2) at a control step of 0.02 s."""
    generator = torch.Generator().manual_seed(0)
    force, remaining = torch.zeros(num, 2), torch.zeros(num, dtype=torch.long)
    forces = []
    for _ in range(steps):
        draws = torch.rand(3, num, generator=generator)
        force, remaining = push_force(force, remaining, draws, config, 0.02)
        forces.append(force)
    return torch.stack(forces)


def test_pushes_last_keep_their_force_and_end() -> None:
    forces = simulate(PushConfig(force_max=3.0, duration_s=0.12, interval_s=4.0), 64, 500)
    acting = forces.norm(dim=-1) > 0
    starts = acting[1:] & ~acting[:-1]
    step, env = starts[:-6].nonzero()[0].tolist()
    push = forces[step + 1 : step + 7, env]  # 0.12 s are six steps
    assert acting[step + 1 : step + 7, env].all()
    assert torch.equal(push, push[:1].expand_as(push))
    assert forces.norm(dim=-1).max() <= 3.0


def test_rate_and_size() -> None:
    config = PushConfig(force_max=2.0, duration_s=0.1, interval_s=1.0)
    forces = simulate(config, 512, 1000)
    acting = forces.norm(dim=-1) > 0
    starts = (acting[1:] & ~acting[:-1]).float().sum().item()
    # 20 s hold 20 pushes; one in 46 begins in the step after the last push and merges with it.
    assert starts / 512 == pytest.approx(20 * 45 / 46, rel=0.03)
    assert forces.norm(dim=-1)[acting].mean().item() == pytest.approx(1.0, rel=0.05)
    assert forces.mean().abs() < 0.01  # all directions


def test_no_push_is_smaller_than_the_least() -> None:
    config = PushConfig(force_min=2.0, force_max=3.0, duration_s=0.1, interval_s=1.0)
    sizes = simulate(config, 256, 500).norm(dim=-1)
    sizes = sizes[sizes > 0]
    assert sizes.min() >= 2.0 - 1e-6 and sizes.max() <= 3.0 + 1e-6
    assert sizes.mean().item() == pytest.approx(2.5, rel=0.03)


def test_no_force_without_a_size() -> None:
    assert not simulate(PushConfig(force_max=0.0), 32, 500).any()


@pytest.mark.parametrize(
    "bad", [{"force_max": -1.0}, {"force_min": 1.0}, {"duration_s": 0.0}, {"interval_s": 0.1}]
)
def test_refuses_settings_that_cannot_work(bad: dict) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        PushConfig(**bad)

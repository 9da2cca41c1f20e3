"""Passing faults: how often they come, how long they last, whom they hit."""

from __future__ import annotations

import pytest
import torch

from envs.errors import UserError
from envs.reality.faults import FaultConfig, FaultState, next_faults

STEPS, ROBOTS = 1000, 256


def simulated(config: FaultConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Limp servos (steps, E, 8), factors on noise (steps, E), displacements (steps, E)."""
    generator = torch.Generator().manual_seed(0)
    state, rows = FaultState.none(ROBOTS, torch.device("cpu")), []
    for _ in range(STEPS):
        draws = torch.rand(ROBOTS, 4, generator=generator)
        state, limp, noise, displaced = next_faults(state, draws, 8, config, 0.02)
        rows.append((limp, noise, displaced))
    return tuple(torch.stack(part) for part in zip(*rows, strict=True))


def test_a_servo_goes_limp_for_half_a_second() -> None:
    limp, noise, displaced = simulated(FaultConfig(dropout_interval_s=4.0))
    assert limp.sum(-1).max() == 1  # one servo at a time
    assert (noise == 1.0).all() and not displaced.any()
    # 25 of 200 steps on average, each servo alike.
    assert limp.any(-1).float().mean().item() == pytest.approx(0.125, rel=0.05)
    shares = limp.float().mean((0, 1))
    assert shares.min() > 0.9 / 64 and shares.max() < 1.1 / 64
    acting = limp.any(-1)
    starts = (acting[1:] & ~acting[:-1]).nonzero()
    step, robot = next((s, r) for s, r in starts.tolist() if s < STEPS - 30)
    first = limp[step + 1, robot]
    assert (limp[step + 1 : step + 26, robot] == first).all()


def test_bursts_and_displacements() -> None:
    config = FaultConfig(
        burst_interval_s=2.0, burst_s=0.2, burst_factor=3.0, displacement_interval_s=1.0
    )
    limp, noise, displaced = simulated(config)
    assert not limp.any()
    assert set(noise.unique().tolist()) == {1.0, 3.0}
    assert (noise == 3.0).float().mean().item() == pytest.approx(0.1, rel=0.05)
    assert displaced.float().mean().item() == pytest.approx(0.02, rel=0.05)


def test_without_an_interval_nothing_happens() -> None:
    limp, noise, displaced = simulated(FaultConfig())
    assert not FaultConfig().active
    assert not limp.any() and (noise == 1.0).all() and not displaced.any()


@pytest.mark.parametrize(
    "bad",
    [
        {"dropout_interval_s": -1.0},
        {"dropout_interval_s": 0.3},  # shorter than the fault
        {"burst_interval_s": 0.1},
        {"displacement": 0.0},
        {"dropout_s": float("nan")},
    ],
)
def test_bad_faults_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UserError):
        FaultConfig(**bad)

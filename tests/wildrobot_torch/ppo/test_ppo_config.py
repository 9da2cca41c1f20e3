"""wildrobot_torch.ppo.config: impossible settings are refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wildrobot_torch.ppo.config import GammaRamp, PPOConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.5}, r"gamma: 1\.5"),
        ({"num_epochs": 0}, "num_epochs: 0"),
        ({"learning_rate": 1.0}, r"learning_rate is 1\.0; allowed: learning_rate_min"),
        ({"learning_rate_factor": 0.5}, r"learning_rate_factor is 0\.5; allowed: 1 or more"),
        ({"kl_low": 0.5}, r"kl_low is 0\.5; allowed: below ppo\.kl_high, 0\.02"),
        ({"kl_max": 0.01}, r"kl_max is 0\.01; allowed: above ppo\.kl_high, 0\.02"),
    ],
)
def test_refused(settings: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**settings)


def test_updates_per_iteration():
    assert PPOConfig(num_epochs=3, num_minibatches=5).num_updates == 15


def test_minibatches_part_a_rollout_even_where_it_does_not_divide():
    parts = PPOConfig(num_minibatches=8).minibatches(20, torch.device("cpu"))
    assert sorted(map(len, parts)) == [2] * 4 + [3] * 4
    assert sorted(torch.cat(parts).tolist()) == list(range(20))
    with pytest.raises(ValueError, match=r"of 7 samples .* ppo\.num_minibatches 8; raise"):
        PPOConfig(num_minibatches=8).minibatches(7, torch.device("cpu"))


RATES = PPOConfig(
    kl_low=0.005, kl_high=0.02, learning_rate_factor=1.5, learning_rate=2e-4,
    learning_rate_min=1e-5, learning_rate_max=1e-3,
)  # fmt: skip


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(0.03, 2e-4 / 1.5), (0.001, 3e-4), (0.01, 2e-4)],
)
def test_learning_rate_follows_the_kl(kl: float, expected: float):
    assert RATES.adapted(2e-4, kl) == pytest.approx(expected)


def test_learning_rate_stays_in_its_bounds():
    assert RATES.adapted(9e-4, 0.0) == 1e-3
    assert RATES.adapted(1.1e-5, 1.0) == 1e-5


def test_a_resumed_learning_rate_is_brought_into_bounds_or_to_the_constant_one():
    assert [RATES.resumed(rate) for rate in (2e-3, 1e-6, 7e-4)] == [1e-3, 1e-5, 7e-4]
    assert replace(RATES, learning_rate_factor=1.0).resumed(7e-4) == 2e-4


def test_gamma_ramp_multiplies_the_horizon_in_equal_steps():
    ramp = GammaRamp(start=0.96, begin=1000, end=3000)
    # Horizons of 25 and 100 steps; half way between them by factors is 50.
    for env_steps, horizon in ((0, 25), (1000, 25), (2000, 50), (3000, 100), (9000, 100)):
        assert ramp.discount(0.99, env_steps) == pytest.approx(1.0 - 1.0 / horizon)


@pytest.mark.parametrize(
    ("gamma", "settings", "message"),
    [
        (
            0.99,
            {"begin": 5, "end": 5},
            r"begin is 5; allowed: below gamma_ramp\.end, 5",
        ),
        (0.99, {"start": 1.0, "begin": 0, "end": 5}, r"start: 1\.0"),
        (0.95, {"begin": 0, "end": 5}, r"gamma is 0\.95; .* above gamma_ramp\.start 0\.97"),
        (1.0, {"begin": 0, "end": 5}, r"gamma is 1\.0; .* below 1"),
    ],
)
def test_gamma_ramp_refuses(gamma: float, settings: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        GammaRamp(**settings).require(PPOConfig(gamma=gamma))

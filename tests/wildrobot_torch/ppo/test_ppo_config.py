"""wildrobot_torch.ppo.config: impossible settings are refused by name."""

from __future__ import annotations

import pytest

from wildrobot_torch.ppo.config import PPOConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.5}, "ppo.gamma is 1.5; allowed: 0 to 1"),
        ({"quiet_share": 2.0}, "ppo.quiet_share is 2.0; allowed: 0 to 1"),
        ({"quiet_noise": 0.0}, "ppo.quiet_noise is 0.0"),
        ({"clip": 0.0}, "ppo.clip is 0.0"),
        ({"num_epochs": 0}, "ppo.num_epochs is 0"),
        ({"value_clip": -1.0}, "ppo.value_clip is -1.0"),
        ({"learning_rate": 1.0}, "ppo.learning_rate is 1.0"),
        ({"learning_rate_factor": 0.5}, "ppo.learning_rate_factor is 0.5"),
        ({"kl_low": 0.5}, "ppo.kl_low 0.5"),
    ],
)
def test_refused(settings: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**settings)


def test_updates_per_iteration():
    assert PPOConfig(num_epochs=3, num_minibatches=5).num_updates == 15

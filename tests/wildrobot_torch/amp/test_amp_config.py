"""wildrobot_torch.amp.config: impossible settings are refused by name."""

from __future__ import annotations

import pytest

from wildrobot_torch.amp.config import AMPConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ramp_start": 5, "ramp_end": 1}, "amp.ramp_end 1"),
        ({"weight": -1.0}, "amp.weight is -1.0"),
        ({"replay_share": 2.0}, "amp.replay_share is 2.0"),
        ({"replay_size": 10}, "amp.replay_insert 500 exceeds amp.replay_size 10"),
        ({"num_updates": 0}, "amp.num_updates is 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        AMPConfig(**settings)

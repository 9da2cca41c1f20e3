"""wildrobot_torch.amp.replay: a ring, drawn from uniformly."""

from __future__ import annotations

import pytest
import torch

from envs.errors import UserError
from wildrobot_torch.amp.replay import Replay


def _filled(capacity: int, *values: list[float]) -> Replay:
    replay = Replay(capacity)
    for chunk in values:
        replay.insert(torch.tensor(chunk)[:, None])
    return replay


def _content(replay: Replay) -> set[float]:
    return set(replay.sample(500).flatten().tolist())


def test_oldest_are_overwritten_first():
    assert _content(_filled(4, [1.0, 2.0, 3.0])) == {1.0, 2.0, 3.0}
    assert _content(_filled(4, [1.0, 2.0, 3.0], [4.0, 5.0])) == {2.0, 3.0, 4.0, 5.0}
    assert len(_filled(4, [1.0, 2.0, 3.0], [4.0, 5.0])) == 4


def test_a_restored_replay_goes_on_where_it_was():
    for filled in (_filled(4, [1.0, 2.0]), _filled(4, [1.0, 2.0, 3.0], [4.0, 5.0])):
        copy = Replay(4)
        copy.load_state_dict(filled.state_dict(), "cpu")
        assert len(copy) == len(filled)
        for replay in (filled, copy):
            replay.insert(torch.tensor([[7.0], [8.0]]))
        assert _content(copy) == _content(filled)


def test_another_capacity_is_refused():
    with pytest.raises(UserError, match=r"amp\.replay_size 3"):
        Replay(3).load_state_dict(_filled(4, [1.0] * 4).state_dict(), "cpu")

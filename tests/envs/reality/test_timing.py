"""Targets on their way and readings of the past, against hand-worked numbers.

A control step is 20 ms, of which the servos are computed five times, every 4 ms.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from envs.reality.servo import ServoConfig
from envs.reality.timing import CommandState, history_depth, send, value_at_age


def sent(
    targets: list[list[float]],
    servo: ServoConfig | None = None,
    missed: set[int] | None = None,
    **drawn: Tensor,
) -> Tensor:
    """The servos' own targets (steps, 5, J) of a robot at rest at 0."""
    servo = servo or ServoConfig(count=0.0, deadband=0.0, travel_time=0.0)
    state = CommandState.at(torch.zeros(1, len(targets[0])), 12)
    seen = []
    for index, target in enumerate(targets):
        lost = torch.tensor([index in missed]) if missed else None
        state, own = send(state, torch.tensor([target]), lost, drawn, servo=servo, ctrl_dt=0.02)
        seen.append(own[:, 0])
    return torch.stack(seen)


@pytest.mark.parametrize(
    ("delay_ms", "updates"),
    [(0.0, 0), (8.0, 2), (10.0, 3), (20.0, 5), (30.0, 8), (40.0, 10), (41.0, 11)],
)
def test_a_target_arrives_after_its_delay(delay_ms: float, updates: int) -> None:
    """It is seen at the first update that is not before it."""
    own = sent([[1.0]] * 4, action_delay=torch.tensor([[delay_ms]])).flatten()
    assert own.tolist() == [0.0] * updates + [1.0] * (20 - updates)


def test_delays_keep_the_order_of_targets() -> None:
    own = sent([[1.0], [2.0], [3.0], [4.0]], action_delay=torch.tensor([[30.0]])).flatten()
    assert own.tolist() == [0.0] * 8 + [1.0] * 5 + [2.0] * 5 + [3.0] * 2


def test_each_servo_has_its_own_place_on_the_bus() -> None:
    """8 ms for all, and 0, 4 and 16 ms for one after the other."""
    own = sent(
        [[1.0, 1.0, 1.0]] * 2,
        action_delay=torch.tensor([[8.0]]),
        bus_delay=torch.tensor([[0.0, 4.0, 16.0]]),
    )
    first = (own.reshape(10, 3) == 0.0).sum(0)
    assert first.tolist() == [2, 3, 6]


def test_targets_are_whole_counts() -> None:
    servo = ServoConfig(count=0.01, deadband=0.0, travel_time=0.0)
    own = sent([[0.014, 0.016, -0.016]], servo)
    assert torch.allclose(own[0, 0], torch.tensor([0.01, 0.02, -0.02]))


def test_a_target_within_the_deadband_of_the_last_one_sent_is_not_sent() -> None:
    """0.02 is measured from the last target sent, 0.03, and not from the last wanted."""
    servo = ServoConfig(count=0.0, deadband=0.02, travel_time=0.0)
    own = sent([[0.03], [0.045], [0.015], [0.05], [0.0699], [0.07]], servo)[:, 0, 0]
    assert own.tolist() == pytest.approx([0.03, 0.03, 0.03, 0.05, 0.05, 0.07])


def test_a_missed_tick_sends_nothing() -> None:
    own = sent([[1.0], [2.0], [3.0]], missed={1})[:, -1, 0]
    assert own.tolist() == [1.0, 1.0, 3.0]


def test_the_servo_travels_to_its_target_at_uniform_speed() -> None:
    """In 40 ms from 0 to 1: 0.1 within each update of 4 ms, whose middle counts."""
    servo = ServoConfig(count=0.0, deadband=0.0, travel_time=0.04)
    own = sent([[1.0]] * 3, servo).flatten()
    expected = [0.05 + 0.1 * update for update in range(10)] + [1.0] * 5
    assert own.tolist() == pytest.approx(expected, abs=1e-5)


def test_a_new_target_restarts_the_travel() -> None:
    """Half way to 1 the target becomes 0: the way back of 0.5 takes 40 ms again."""
    servo = ServoConfig(count=0.0, deadband=0.0, travel_time=0.04)
    own = sent([[1.0], [0.0], [0.0], [0.0]], servo).flatten()
    back = [0.5 - 0.025 - 0.05 * update for update in range(10)]
    assert own[5:15].tolist() == pytest.approx(back, abs=1e-5)
    assert own[15:].tolist() == pytest.approx([0.0] * 5, abs=1e-5)


def test_a_value_of_the_past_lies_between_two_steps() -> None:
    """Values 5, 3, 2 at 0, 20 and 40 ms ago."""
    history = torch.tensor([[[5.0], [3.0], [2.0]]])
    for age, value in [
        (0.0, 5.0),
        (0.01, 4.0),
        (0.02, 3.0),
        (0.035, 2.25),
        (0.04, 2.0),
        (1.0, 2.0),
    ]:
        found = value_at_age(history, torch.tensor([[age]]), 0.02)
        assert found.item() == pytest.approx(value, abs=1e-5)


def test_each_column_has_its_own_age() -> None:
    history = torch.tensor([[[5.0, 50.0], [3.0, 30.0]]])
    found = value_at_age(history, torch.tensor([[0.01, 0.02]]), 0.02)
    assert found[0].tolist() == pytest.approx([4.0, 30.0], abs=1e-4)


@pytest.mark.parametrize(("longest", "depth"), [(0.0, 2), (20.0, 3), (30.0, 4), (400.0, 22)])
def test_the_history_is_as_long_as_the_longest_delay(longest: float, depth: int) -> None:
    """A value 400 ms old lies 20 steps back: 21 values, and one more for what lies between."""
    assert history_depth(longest, 0.02) == depth

"""Tests of wildrobot_torch/motion/gait.py, on gaits drawn by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wildrobot_torch.motion import gait

DT = 0.02


def feet(left: str, right: str) -> Tensor:
    """Contact (T, 1, 2) from two lines, # for contact and anything else for air."""
    rows = [[a == "#", b == "#"] for a, b in zip(left, right, strict=True)]
    return torch.tensor(rows)[:, None]


def always(contact: Tensor) -> Tensor:
    return torch.ones(contact.shape[:2], dtype=torch.bool)


def touchdowns(left: str, right: str) -> Tensor:
    contact = feet(left, right)
    return gait.touchdowns(gait.stance(contact, always(contact), DT), always(contact))


def steps_of(touchdown: Tensor) -> list[tuple[int, int]]:
    return [(step, foot) for step, _, foot in touchdown.nonzero().tolist()]


def walk(strides: int = 5, episodes: int = 1) -> Tensor:
    """Contact of a perfect walk: strides of 20 steps, 12 in stance, feet half a stride apart."""
    left = ("#" * 12 + "." * 8) * strides
    return feet(left, left[10:] + left[:10]).expand(-1, episodes, -1)


def test_chatter_is_no_touchdown() -> None:
    # Two steps of air in a stance, one step of contact in a swing: neither is an event.
    assert steps_of(touchdowns("##..####....#...####", "." * 20)) == [(16, 0)]


def test_three_steps_of_air_and_two_of_contact_are_a_touchdown() -> None:
    assert steps_of(touchdowns("##...##....", "." * 11)) == [(5, 0)]


def test_the_stance_an_episode_begins_in_is_no_touchdown() -> None:
    assert steps_of(touchdowns("#" * 10, "#" * 10)) == []


def test_chatter_at_the_beginning_takes_the_first_state_that_counts() -> None:
    contact = feet("#.####", ".#....")
    standing = gait.stance(contact, always(contact), DT)
    assert standing[:, 0, 0].all()
    assert not standing[:, 0, 1].any()


def test_nothing_beyond_the_end_counts() -> None:
    # The contact at steps 5 to 8 lies half beyond the end; one step of it is too short to count.
    contact = feet("##...####", "#########")
    valid = torch.tensor([True] * 6 + [False] * 3)[:, None]
    standing = gait.stance(contact, valid, DT)
    assert not standing[6:].any()
    assert not gait.touchdowns(standing, valid).any()


def test_touchdowns_of_different_episodes_do_not_mix() -> None:
    left_only = touchdowns("##...###...###", "." * 14)
    right_only = touchdowns("." * 14, "##...###...###")
    both = torch.cat([left_only, right_only], dim=1)
    assert gait.alternation(both, DT) == 0.0


def test_walking_alternates_always() -> None:
    contact = walk()
    touchdown = gait.touchdowns(gait.stance(contact, always(contact), DT), always(contact))
    assert gait.alternation(touchdown, DT) == 1.0


def test_alternation_by_hand() -> None:
    # L R L L R: four touchdowns have a successor, three of them on the other foot.
    touchdown = touchdowns(
        "...##.......##...##.......",
        ".......##.............##..",
    )
    assert [foot for _, foot in steps_of(touchdown)] == [0, 1, 0, 0, 1]
    good, pairs = gait.alternation_counts(touchdown, DT)
    assert (int(good), int(pairs)) == (3, 4)
    assert gait.alternation(touchdown, DT) == 0.75


def test_standing_has_no_alternation() -> None:
    assert math.isnan(gait.alternation(touchdowns("#" * 50, "#" * 50), DT))


def test_a_single_touchdown_has_no_alternation() -> None:
    assert math.isnan(gait.alternation(touchdowns("...###", "######"), DT))


def test_hopping_on_one_foot_does_not_alternate() -> None:
    assert gait.alternation(touchdowns("....####" * 4, "." * 32), DT) == 0.0


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_jumping_with_both_feet_does_not_alternate(lag: int) -> None:
    # Every second jump the other foot is first, so in order of time the feet do take turns.
    early, late = "....######....######", "." * (4 + lag) + "#" * (6 - lag) + "....######"
    assert gait.alternation(touchdowns(early * 3, late * 3), DT) == 0.0


def test_strides_of_a_perfect_walk() -> None:
    contact = walk(strides=5, episodes=3)
    valid = always(contact)
    standing = gait.stance(contact, valid, DT)
    touchdown = gait.touchdowns(standing, valid)
    strides = gait.find_strides(touchdown)
    # Touchdowns: left at 20, 40, 60, 80 (the stance at 0 is none), right at 10, 30, ... 90.
    assert strides.steps.tolist() == [20] * 3 * (3 + 4)
    assert strides.of_foot(0).start.tolist() == [20, 40, 60] * 3
    assert strides.of_foot(1).episode.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert gait.stride_frequency(strides, DT) == pytest.approx(1.0 / 0.4)
    assert gait.duty_factors(strides, standing).tolist() == [0.6] * 21
    assert gait.phases(strides, touchdown).tolist() == [0.5] * 9
    assert gait.step_times(touchdown, DT).tolist() == pytest.approx([0.2, 0.2])


def test_a_limp_shows_in_phase_and_step_time() -> None:
    # The right foot follows the left after 5 of 20 steps, the left the right after 15.
    left, right = "....######..........", ".........######....."
    touchdown = touchdowns(left * 4, right * 4)
    strides = gait.find_strides(touchdown)
    assert gait.circular_mean(gait.phases(strides, touchdown)) == pytest.approx(0.25)
    to_left, to_right = gait.step_times(touchdown, DT).tolist()
    assert (to_left, to_right) == pytest.approx((0.3, 0.1))
    # 2 * 0.2 / 0.4 = 1
    assert gait.symmetry_index(torch.tensor([to_left, to_right])) == pytest.approx(100.0)


def test_standing_has_no_strides_and_says_so() -> None:
    contact = feet("#" * 50, "#" * 50)
    standing = gait.stance(contact, always(contact), DT)
    touchdown = gait.touchdowns(standing, always(contact))
    strides = gait.find_strides(touchdown)
    numbers = [
        gait.stride_frequency(strides, DT),
        gait.stride_length(strides, torch.zeros(50, 1, 3)),
        gait.circular_mean(gait.phases(strides, touchdown)),
        float(gait.duty_factors(strides, standing).mean()),
        gait.symmetry_index(gait.step_times(touchdown, DT)),
        *gait.step_times(touchdown, DT).tolist(),
    ]
    assert all(math.isnan(number) for number in numbers)
    assert gait.stride_ranges(strides, torch.zeros(50, 1, 2)).numel() == 0


def test_phases_are_averaged_on_the_circle() -> None:
    mean = gait.circular_mean(torch.tensor([0.98, 0.02, 0.0]))
    assert min(mean, 1.0 - mean) == pytest.approx(0.0, abs=1e-6)


def test_stride_length_is_the_way_on_the_floor() -> None:
    # 3-4-5: 0.3 m ahead and 0.4 m aside per 20 steps; up and down does not count.
    strides = gait.find_strides(touchdowns("....######.........." * 4, "." * 80))
    t = torch.arange(80) / 20.0
    position = torch.stack([0.3 * t, 0.4 * t, torch.sin(t)], dim=-1)[:, None]
    assert gait.stride_length(strides, position) == pytest.approx(0.5, abs=1e-6)


def test_ranges_are_those_of_the_strides_own_foot() -> None:
    # Strides of the left foot from 4 to 24 and from 24 to 44; the right foot has none.
    strides = gait.find_strides(touchdowns("....######.........." * 3, "." * 60))
    value = torch.zeros(60, 1, 2)
    value[10, 0, 0], value[15, 0, 0] = 0.5, -0.1  # first stride: 0.6
    value[24, 0, 0] = 0.2  # first step of the second stride
    value[50, 0, 0] = 9.0  # after the last stride
    value[12, 0, 1] = 9.0  # the other foot's
    assert gait.stride_ranges(strides, value).tolist() == pytest.approx([0.6, 0.2])


def test_ranges_stay_within_their_episode() -> None:
    one = touchdowns("....######.........." * 3, "." * 60)
    touchdown = torch.cat([one, one], dim=1)
    value = torch.zeros(60, 2, 2)
    value[10, 1, 0] = 1.0
    assert gait.stride_ranges(gait.find_strides(touchdown), value).tolist() == [0, 0, 1, 0]


def test_symmetry_index_by_hand() -> None:
    # 2 * |10 - 8| / 18 = 22.2 %
    assert gait.symmetry_index(torch.tensor([10.0, 8.0])) == pytest.approx(22.2222, abs=1e-3)
    assert gait.symmetry_index(torch.tensor([3.0, 3.0])) == 0.0


def test_thresholds_are_times_not_steps() -> None:
    # Twice as many steps of half the length: the same events.
    contact = feet("##...##....", "." * 11).repeat_interleave(2, 0)
    valid = always(contact)
    assert steps_of(gait.touchdowns(gait.stance(contact, valid, DT / 2), valid)) == [(10, 0)]
    # At the longer step the runs are as long again, so that chatter of 2 steps of air counts.
    short = feet("##..####", "." * 8)
    assert not gait.touchdowns(gait.stance(short, always(short), DT), always(short)).any()
    assert gait.touchdowns(gait.stance(short, always(short), 2 * DT), always(short)).any()

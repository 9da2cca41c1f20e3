"""Curricula by hand arithmetic: when the difficulty moves, and what of the task it leaves out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from envs.errors import UserError
from envs.reality.disturbances import PushConfig
from envs.reality.faults import FaultConfig
from envs.reality.randomization import Draw, RandomizationConfig
from envs.task.commands import CommandConfig
from envs.task.starts import ResetConfig
from tests.tasks import ideal_task
from wildrobot_torch.training.difficulty import Difficulty, DifficultyConfig, Stages

TASK = ideal_task(
    episode_length_s=40.0,
    command=CommandConfig(lateral_max=0.2, yaw_rate_max=0.5),
    randomization=RandomizationConfig(mass=Draw(low=0.9, high=1.1), zero_error=Draw(sd=0.03)),
    faults=FaultConfig(dropout_interval_s=4.0),
    push=PushConfig(impulse_max=0.8),
    reset=ResetConfig(lean=0.1),
)
"""A task with everything that can grow."""


def difficulty(**settings: Any) -> Difficulty:
    """One that decides on each 10 episodes and moves by a quarter."""
    given: dict[str, Any] = {"stages": Stages(terms=(0.0, 1.0)), "step": 0.25, "episodes": 10}
    return Difficulty(DifficultyConfig(**(given | settings)), TASK)


def value(of: Difficulty) -> float:
    return of.metrics["Curriculum/difficulty"]


@pytest.mark.parametrize(
    ("fallen", "after"),
    [(0, 0.75), (1, 0.75), (2, 0.5), (3, 0.5), (4, 0.5), (5, 0.25), (10, 0.25)],
)
def test_success_of_more_than_80_percent_raises_and_of_less_than_60_lowers(
    fallen: int, after: float
) -> None:
    level = difficulty(start=0.5)
    level.follow(10, fallen)
    assert value(level) == after


def test_a_decision_waits_for_enough_episodes_and_the_next_is_about_others() -> None:
    level = difficulty(start=0.5)
    level.follow(4, 0)  # lucky, but few
    assert value(level) == 0.5
    level.follow(5, 5)
    assert value(level) == 0.5
    level.follow(3, 0)  # 7 of 12 without a fall
    assert value(level) == 0.25
    # Were the falls above still counted, these would be 17 of 22.
    level.follow(9, 0)
    assert value(level) == 0.25
    level.follow(1, 0)
    assert value(level) == 0.5


def test_an_iteration_without_an_end_decides_nothing() -> None:
    level = difficulty(episodes=1, start=0.5)
    level.follow(0, 0)
    assert value(level) == 0.5


def test_the_difficulty_stays_in_its_bounds() -> None:
    level = difficulty(start=0.9)
    level.follow(10, 0)
    assert value(level) == 1.0
    level.follow(10, 0)
    assert value(level) == 1.0
    for _ in range(5):
        level.follow(10, 10)
    assert value(level) == 0.0


STAGES = Stages(
    velocity=(0.0, 0.25), lateral=(0.25, 0.5), yaw_rate=(0.25, 0.75), terms=(0.5, 1.0),
    faults=(0.0, 1.0), push=(0.5, 0.75), lean=(0.4, 0.6), episode_length=(0.0, 1.0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        # velocity, lateral, yaw_rate, terms, faults, push, lean, episode_length (10 s to 40 s)
        (0.0, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25)),
        (0.5, (1.0, 1.0, 0.5, 0.0, 0.5, 0.0, 0.5, 0.625)),
        (0.75, (1.0, 1.0, 1.0, 0.5, 0.75, 1.0, 1.0, 0.8125)),
        (1.0, (1.0,) * 8),
    ],
)
def test_each_stage_grows_over_its_part_of_the_difficulty(
    start: float, expected: tuple[float, ...]
) -> None:
    level = difficulty(stages=STAGES, start=start)
    given = dict(zip(vars(STAGES), expected, strict=True))
    shares = level.shares(torch.device("cpu"))
    assert shares.terms.tolist() == pytest.approx([given["terms"]] * 2)
    found = {name: float(getattr(shares, name)) for name in given if name != "terms"}
    assert found == pytest.approx({k: v for k, v in given.items() if k != "terms"})
    logged = {f"Curriculum/{name}": share for name, share in given.items()}
    assert level.metrics == pytest.approx({"Curriculum/difficulty": start} | logged)


def test_what_has_no_stage_is_whole_from_the_start() -> None:
    shares = difficulty().shares(torch.device("cpu"))
    assert shares.terms.tolist() == [0.0, 0.0]
    assert all(float(share) == 1.0 for name, share in vars(shares).items() if name != "terms")


def test_a_saved_difficulty_goes_on_in_the_middle_of_a_decision() -> None:
    level, again = difficulty(start=0.5), difficulty()
    level.follow(10, 10)
    level.follow(6, 1)
    again.load_state_dict(level.state_dict())
    for one in (level, again):
        assert value(one) == 0.25
        one.follow(4, 0)  # 9 of 10
        assert value(one) == 0.5


@pytest.mark.parametrize(
    ("without", "stages", "message"),
    [
        ({}, {}, r"has no stages.*velocity, lateral, .*terms: \[0, 1\]"),
        ({"command": CommandConfig(lateral_max=0.2)}, {"yaw_rate": (0, 1)},
         "stages.yaw_rate would grow nothing: data.env.command.yaw_rate_max"),
        ({"command": CommandConfig(velocity_min=0.3, velocity_max=0.3)}, {"velocity": (0, 1)},
         "stages.velocity would grow nothing: data.env.command.velocity_max"),
        ({"randomization": RandomizationConfig()}, {"terms": (0, 1)}, "data.env.randomization"),
        ({"push": PushConfig()}, {"push": (0, 1)}, "data.env.push.impulse_max"),
        ({"faults": FaultConfig()}, {"faults": (0, 1)}, "data.env.faults"),
        ({"reset": ResetConfig()}, {"lean": (0, 1)}, "data.env.reset.lean"),
        ({"episode_length_s": 10.0}, {"episode_length": (0, 1)}, "data.env.episode_length_s"),
    ],
)  # fmt: skip
def test_a_stage_that_would_grow_nothing_is_refused(
    without: dict[str, Any], stages: dict[str, Any], message: str
) -> None:
    config = DifficultyConfig(stages=Stages(**stages))
    with pytest.raises(UserError, match=message):
        Difficulty(config, replace(TASK, **without))


def test_the_width_of_a_term_follows_the_robots_at_its_edge() -> None:
    level = difficulty(stages=Stages(push=(0.0, 1.0)), per_term=True, start=0.5)
    level.follow(10, 3, [[10, 0], [9, 9]])
    assert level.shares(torch.device("cpu")).terms.tolist() == [0.75, 0.5]
    level.follow(0, 0, [[3, 3], [1, 0]])  # 1 of 10 for the second
    assert level.shares(torch.device("cpu")).terms.tolist() == [0.75, 0.25]
    assert level.metrics == {
        "Curriculum/difficulty": 0.5, "Curriculum/push": 0.5, "Curriculum/terms": 0.5,
        "Curriculum/width_mass": 0.75, "Curriculum/width_zero_error": 0.25,
    }  # fmt: skip
    again = difficulty(stages=Stages(push=(0.0, 1.0)), per_term=True)
    again.load_state_dict(level.state_dict())
    again.follow(0, 0, [[7, 7], [10, 0]])
    assert again.shares(torch.device("cpu")).terms.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("randomization", "stages", "message"),
    [
        (TASK.randomization, Stages(terms=(0, 1)), "leave one out"),
        (RandomizationConfig(), Stages(), "data.env.randomization has no terms"),
    ],
)
def test_widths_without_terms_or_beside_their_stage_are_refused(
    randomization: RandomizationConfig, stages: Stages, message: str
) -> None:
    config = DifficultyConfig(per_term=True, stages=stages)
    with pytest.raises(UserError, match=message):
        Difficulty(config, replace(TASK, randomization=randomization))


def test_a_stage_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UserError, match=r"stages\.push is \[0\.5, 0\.5\]; allowed: two numbers"):
        difficulty(stages=Stages(push=(0.5, 0.5)))


def test_limits_that_cross_are_refused() -> None:
    with pytest.raises(UserError, match=r"lower_below 0\.9 is above .*raise_above 0\.8"):
        difficulty(lower_below=0.9)

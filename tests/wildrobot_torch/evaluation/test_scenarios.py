"""Tests of wildrobot_torch/evaluation/scenarios.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.reality.disturbances import PushConfig
from envs.task.support import SupportConfig
from wildrobot_torch.evaluation.scenarios import Scenario, load_scenario, scenario_names
from wildrobot_torch.motion.metrics import Limit

PLAIN = "commands: [0.1, 0.3]\nepisodes: 4\nseconds: 5\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_walking_is_what_acceptance_says() -> None:
    walking = load_scenario("walking")
    assert walking.commands == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert (walking.episodes, walking.seconds, walking.settle_s) == (256, 20.0, 2.0)
    assert walking.limits == {
        "fall_rate": Limit(max=0.02),
        "velocity_error_1s": Limit(max=0.05),
        "alternation": Limit(min=0.95),
        "heading_drift": Limit(max=20.0),
        "torque_saturation": Limit(max=0.10),
    }


def test_every_scenario_loads() -> None:
    assert {"walking", "quick", "standing"} <= set(scenario_names())
    for name in scenario_names():
        assert load_scenario(name).name == name


def test_a_file_of_ones_own_loads(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, PLAIN + "limits: {foot_slip: {max: 0.1}}\n"))
    assert scenario.name == "mine"
    assert scenario.commands == (0.1, 0.3)
    assert scenario.limits["foot_slip"] == Limit(max=0.1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PLAIN + "sceonds: 3\n", "unknown key 'sceonds'"),
        ("commands: [0.1]\nseconds: 5\n", "key 'episodes' is missing"),
        (PLAIN + "limits: {elegance: {max: 1}}\n", "limits.elegance: no such metric"),
        (PLAIN + "limits: {fall_rate: 0.1}\n", "limits.fall_rate is 0.1"),
        (PLAIN + "limits: {fall_rate: {most: 0.1}}\n", "limits.fall_rate is {'most': 0.1}"),
        (PLAIN + "settle_s: 5\n", "settle_s is 5.0 s and must end within the 5.0 s"),
        (PLAIN + "push_impulse: -1\n", "push_impulse is -1.0 N s; it must be 0"),
        ("commands: [fast]\nepisodes: 4\nseconds: 5\n", "Got value: fast"),
        ("commands: []\nepisodes: 4\nseconds: 5\n", "at least one"),
        ("commands: [0.1, 0.2]\nepisodes: 1\nseconds: 5\n", "each of 2 commands needs one"),
        ("commands: [0.1]\nepisodes: 1.5\nseconds: 5\n", "Got value: 1.5"),
        ("commands: [0.1]\nepisodes: 1\nseconds: .nan\n", "within the nan s"),
        ("- 1\n", "must hold the keys"),
        ("a: [\n", "cannot be read as YAML"),
        (PLAIN + "episodes: 4\n", "key 'episodes' is given twice"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        load_scenario(write(tmp_path, text))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UserError, match=r"allowed: .*quick, .*speeds, .*walking"):
        load_scenario("wlaking")


def test_the_task_gets_the_scenarios_time_and_pushes() -> None:
    config = LocomotionConfig(
        push=PushConfig(impulse_max=0.7), support=SupportConfig(), auto_reset=False
    )
    scenario = Scenario(name="s", commands=(0.1,), episodes=1, seconds=5.0, push_impulse=0.3)
    task = scenario.task(config)
    assert (task.episode_length_s, task.push.impulse_max, task.support) == (5.0, 0.3, None)
    assert task.auto_reset
    assert replace(scenario, push_impulse=None).task(config).push.impulse_max == 0.7


def test_commands_of_all_kinds_by_hand(tmp_path: Path) -> None:
    """At 0.25 s of 1 s a sine is at its top, at 0.75 s at its bottom; a step is up from 0.5 s."""
    both, forward = torch.arange(2), torch.tensor([0.1, 0.3])
    plain = load_scenario(write(tmp_path, PLAIN))
    assert torch.equal(plain.commanded(both, 4, 0.25), forward)
    aside = load_scenario(write(tmp_path, PLAIN + "lateral: 0.1\nyaw: -0.2\n"))
    expected = [[0.1, 0.1, -0.2], [0.3, 0.1, -0.2]]
    torch.testing.assert_close(aside.commanded(both, 4, 0.25), torch.tensor(expected))
    text = PLAIN + "yaw: 0.1\nwave: {kind: sine, amplitude: 0.5, period_s: 1.0, axis: yaw}\n"
    series = load_scenario(write(tmp_path, text)).commanded(both, 4, 0.25)
    assert series.shape == (4, 2, 3)
    torch.testing.assert_close(series[:, 1, 2], torch.tensor([0.1, 0.6, 0.1, -0.4]))
    torch.testing.assert_close(series[:, 1, 0], torch.full((4,), 0.3))
    text = PLAIN + "wave: {kind: step, amplitude: 0.2, period_s: 1.0}\n"
    series = load_scenario(write(tmp_path, text)).commanded(both, 4, 0.25)
    torch.testing.assert_close(series[:, 0, 0], torch.tensor([0.1, 0.1, 0.3, 0.3]))
    with pytest.raises(UserError, match="period_s"):
        load_scenario(write(tmp_path, PLAIN + "wave: {kind: sine, amplitude: 0.2, period_s: 0}\n"))


def test_the_ground_is_the_scenarios_or_the_tasks(tmp_path: Path) -> None:
    rough = LocomotionConfig(terrain="rough")
    assert load_scenario(write(tmp_path, PLAIN)).task(rough).terrain == "rough"
    steps = load_scenario(write(tmp_path, PLAIN + "terrain: steps\n"))
    assert steps.task(rough).terrain == "steps"


def test_a_policy_trained_with_a_coarse_physics_step_is_judged_by_the_fine_one(
    tmp_path: Path,
) -> None:
    trained = LocomotionConfig(sim_dt=0.004)
    assert load_scenario(write(tmp_path, PLAIN)).task(trained).sim_dt == 0.002
    assert load_scenario(write(tmp_path, PLAIN + "sim_dt: 0.001\n")).task(trained).sim_dt == 0.001
    with pytest.raises(UserError, match="sim_dt"):
        load_scenario(write(tmp_path, PLAIN + "sim_dt: 0\n")).task(trained)


def test_several_lateral_velocities_and_yaw_rates_are_met_by_every_speed(tmp_path: Path) -> None:
    text = "commands: [0.1, 0.3]\nlateral: [-0.2, 0.2]\nyaw: [0.0, 0.5]\nepisodes: 8\nseconds: 5\n"
    command = load_scenario(write(tmp_path, text)).commanded(torch.arange(8), 4, 0.25)
    assert len({tuple(row) for row in command.tolist()}) == 8
    torch.testing.assert_close(command[:3, 0], torch.tensor([0.1, 0.3, 0.1]))
    torch.testing.assert_close(command[:5, 1], torch.tensor([-0.2, -0.2, 0.2, 0.2, -0.2]))
    torch.testing.assert_close(command[3:6, 2], torch.tensor([0.0, 0.5, 0.5]))


def test_pushes_at_given_times_by_hand(tmp_path: Path) -> None:
    """Two impulses in two directions are 4 episodes; the next 4 are an eighth of 0.8 s later."""
    text = (
        "disturbances: {at_s: [2.0, 6.0], spread_s: 0.8, impulses: [1.0, 3.0], "
        "directions: [0.0, 1.5]}\n"
    )
    scenario = load_scenario(write(tmp_path, PLAIN + text))
    assert scenario.disturbances is not None
    plan = scenario.disturbances.schedule(torch.arange(5), 0.02)
    assert plan.steps.tolist() == [[100, 300]] * 4 + [[105, 305]]
    assert plan.impulse.tolist() == [1.0, 3.0, 1.0, 3.0, 1.0]
    assert plan.direction.tolist() == [0.0, 0.0, 1.5, 1.5, 0.0]
    push = scenario.task(LocomotionConfig()).push
    assert (push.impulse_min, push.impulse_max, push.direction) == (1.0, 3.0, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("disturbances: {at_s: [2.0]}\n", "no impulses, and there are no faults"),
        ("disturbances: {at_s: [], impulses: [1.0]}\n", "at least one value each"),
        ("push_impulse: 0.3\npush: {impulse_max: 0.4}\n", "exclude each other"),
        ("lateral: []\n", "lateral"),
        ("yaw: [.nan]\n", "must be finite"),
    ],
)
def test_disturbances_that_cannot_be_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_scenario(write(tmp_path, PLAIN + text))

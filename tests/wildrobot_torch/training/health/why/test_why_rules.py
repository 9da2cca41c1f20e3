"""Rules of a diagnosis: each finds the fault that is planted in the evidence, and it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.config import LocomotionConfig, RewardConfig, RewardWeights
from envs.reality.disturbances import PushConfig
from envs.task.commands import CommandConfig
from tests.tasks import ideal_task
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.cli.fit import parser
from wildrobot_torch.files import CONFIGS
from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.training.health.why import rules
from wildrobot_torch.training.health.why.acting import drawn_commands
from wildrobot_torch.training.health.why.evidence import (
    Acts,
    Evidence,
    Input,
    Reference,
    Run,
    progress,
)

SPEEDS = torch.linspace(0.1, 0.6, 6)
LEARNS = {
    "Loss/kl": 0.01,
    "Loss/clip_fraction": 0.1,
    "Loss/learning_rate": 3e-4,
    "Loss/explained_variance": 0.8,
    "Policy/mean_std": 0.1,
    "Gradient/policy": 0.5,
}


def acts(speed: torch.Tensor = SPEEDS, command: torch.Tensor = SPEEDS, **changes: Any) -> Acts:
    """Robots that walk ahead at some speeds [m/s], as told unless changes say otherwise."""

    def ahead(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x[:, None], (0, 2))

    values = {
        "commands": ahead(command),
        "velocities": ahead(speed),
        "lasted": torch.full((len(command),), 10.0),
        "ends": {"pitch": 0, "time": len(command)},
        "swinging": 0.7,
        "saturation": {"left_knee_pitch": 0.2},
        "at_limit": {"left_knee_pitch": 0.0},
        "terms": {"track_lin_vel_x": 0.5, "stall": -0.01},
    }
    return Acts(**(values | changes))


def run(iterations: int = 60, metrics: Mapping[str, float] = LEARNS, **changes: Any) -> Run:
    """A run that learns, all iterations alike but for what changes say."""
    values = {
        "folder": Path("run"),
        "ppo": PPOConfig(),
        "amp": None,
        "data": {"reference": None, "rsi_probability": 0.5, "difficulty": None},
        "env_steps": 5_000_000,
        "budget": 5_000_000,
        "history": [dict(metrics)] * iterations,
    }
    return Run(**(values | changes))


def good(**changes: Any) -> Evidence:
    """A policy that walks, of a run in which nothing is wrong, with changes."""
    task = changes.pop("task", LocomotionConfig())
    values = {
        "task": task,
        "policy": acts(),
        "inputs": (
            Input(name="imu_gravity", size=18, constant=0, effect=0.3),
            Input(name="command", size=3, constant=0, effect=0.1),
        ),
        "standing": acts(torch.zeros(6), terms={"track_lin_vel_x": 0.15, "healthy": 0.04}),
        "walk": acts(terms={"track_lin_vel_x": 0.5, "healthy": 0.04}),
        "drawn": drawn_commands(task, 400, 0),
        "std": (0.08,) * 8,
        "reference": Reference(file="walking.npz", speeds=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
        "run": run(),
    }
    return Evidence(**(values | changes))


def rewarded(**weights: float) -> LocomotionConfig:
    return LocomotionConfig(reward=RewardConfig(weights=RewardWeights(**weights)))


def commanded(**changes: Any) -> LocomotionConfig:
    return LocomotionConfig(command=CommandConfig(**changes))


def data(**changes: Any) -> dict[str, Any]:
    return {"reference": None, "rsi_probability": 0.5, "difficulty": None} | changes


STUCK = {**LEARNS, "Curriculum/difficulty": 0.0, "Metrics/fall_rate": 0.5}
PUSHED = LocomotionConfig(push=PushConfig(interval_s=2.0))

# rule, severity, changes of the good evidence, what the finding must name
FAULTS: list[tuple[Any, str, dict[str, Any], tuple[str, ...]]] = [
    (rules.diverged, "serious", {"run": run(diverged="Loss/kl is nan in iteration 7")},
     ("iteration 7",)),
    (rules.moves, "serious", {"policy": acts(0.05 * SPEEDS, swinging=0.0)},
     ("stands still", "5%", "0.10 to 0.60")),
    (rules.moves, "serious", {"policy": acts(0.05 * SPEEDS, swinging=0.6)}, ("steps in place",)),
    (rules.moves, "serious", {"policy": acts(-0.8 * SPEEDS)}, ("backwards", "-80%")),
    (rules.moves, "warning", {"policy": acts(0.6 * SPEEDS)}, ("slower", "60%")),
    (rules.moves, "warning", {"policy": acts(1.5 * SPEEDS)}, ("faster",)),
    (rules.falls, "serious", {"policy": acts(ends={"pitch": 4, "height": 1, "time": 1})},
     ("83%", "pitch 4")),
    (rules.standing_pays, "serious",
     {"task": rewarded(healthy=10.0, track_lin_vel_x=0.4),
      "standing": acts(terms={"track_lin_vel_x": 0.01, "healthy": 1.0}),
      "walk": acts(terms={"track_lin_vel_x": 0.04, "healthy": 1.0})},
     ("mostly by healthy", "97%", "weights.healthy 0.4")),
    (rules.dying_pays, "serious", {"walk": acts(terms={"torque": -0.3, "healthy": 0.04})},
     ("-0.260", "torque")),
    (rules.dying_pays, "warning",
     {"policy": acts(terms={"torque": -0.3, "termination": -0.1}, ends={"pitch": 6, "time": 0})},
     ("-0.300", "termination -30")),
    (rules.commands_rest, "serious", {"task": commanded(standing_probability=1.0)},
     ("100%", "standing_probability 0.1")),
    (rules.commands_rest, "warning", {"task": commanded(velocity_min=0.0, velocity_max=0.0)},
     ("nothing but standing",)),
    (rules.reference_covers, "serious", {"reference": Reference(file="r.npz", speeds=(0.3,))},
     ("r.npz", "velocity_max 0.35")),
    (rules.constant_action, "serious",
     {"inputs": (Input(name="imu_gravity", size=18, constant=0, effect=0.0),)}, ("same",)),
    (rules.noise, "serious", {"std": (0.005, 0.1)}, ("collapsed", "0.005", "entropy_coef 0.009")),
    (rules.noise, "serious", {"std": (0.5, 2.0)}, ("exploded", "2.000")),
    (rules.learning, "serious",
     {"run": run(metrics=LEARNS | {"Loss/kl": 1e-5, "Loss/clip_fraction": 0.0})}, ("stopped",)),
    (rules.critic, "warning", {"run": run(metrics=LEARNS | {"Loss/explained_variance": 0.02})},
     ("0.02",)),
    (rules.got_worse, "warning",
     {"run": run(ranks=[(1e6, 2.3), (2e6, 1.1)], best=Path("best-1000000.ckpt"))},
     ("1.10", "2.30", "use best-1000000.ckpt")),
    (rules.heeds_commands, "serious", {"policy": acts(torch.full((6,), 0.3))}, ("one speed",)),
    (rules.stands_at_some, "warning",
     {"policy": acts(torch.where(SPEEDS < 0.25, 0.0, SPEEDS))},
     ("2 of 6", "0.10 to 0.20", "stall -4")),
    (rules.drifts, "warning",
     {"policy": acts(velocities=torch.tensor([[0.3, 0.2, 0.0]] * 6),
                     command=torch.full((6,), 0.3))},
     ("side", "+0.20")),
    (rules.drifts, "warning",
     {"policy": acts(velocities=torch.tensor([[0.3, 0.0, -0.5]] * 6),
                     command=torch.full((6,), 0.3))}, ("turns", "-0.50")),
    (rules.rests, "warning", {"policy": acts(torch.full((6,), 0.3), command=torch.zeros(6))},
     ("0.30 m/s",)),
    (rules.inputs_read, "warning",
     {"inputs": (Input(name="imu_gravity", size=18, constant=0, effect=0.0),
                 Input(name="command", size=3, constant=0, effect=0.1))}, ("imu_gravity",)),
    (rules.inputs_read, "serious",
     {"inputs": (Input(name="imu_gravity", size=18, constant=0, effect=0.3),
                 Input(name="command", size=3, constant=0, effect=0.001))},
     ("command", "track_lin_vel_x")),
    (rules.inputs_vary, "warning",
     {"inputs": (Input(name="imu_gravity", size=18, constant=18, effect=0.0),
                 Input(name="command", size=3, constant=0, effect=0.1))},
     ("imu_gravity (18 of 18)",)),
    (rules.saturates, "serious", {"policy": acts(saturation={"left_ankle": 0.6, "x": 0.1})},
     ("left_ankle 60%",)),
    (rules.acts_at_limits, "warning", {"policy": acts(at_limit={"left_ankle": 0.3})},
     ("left_ankle 30%",)),
    (rules.curriculum, "warning",
     {"run": run(metrics=STUCK, data=data(difficulty={"stages": {"terms": [0, 1]}}))},
     ("never moved", "50%", "raise_above 0.7")),
    (rules.idle_randomisation, "warning", {"idle": "randomization.x changes nothing: look"},
     ("randomization.x",)),
    (rules.dead_settings, "warning", {"task": PUSHED}, ("push.interval_s is 2.0", "impulse_max")),
    (rules.dead_settings, "warning",
     {"run": run(amp=AMPConfig(weight=0.0), data=data(reference="walking.npz"))},
     ("data.reference", "amp.weight is 0")),
    (rules.young, "note", {"run": run(env_steps=100_000)}, ("100,000",)),
]  # fmt: skip


def test_the_good_evidence_has_no_fault() -> None:
    assert rules.diagnosis(good()) == []


@pytest.mark.parametrize(("rule", "severity", "changes", "named"), FAULTS)
def test_a_rule_finds_its_fault(
    rule: rules.Rule, severity: str, changes: dict[str, Any], named: tuple[str, ...]
) -> None:
    found = rule(good(**changes))
    assert found is not None and found.severity == severity
    text = f"{found.what} {found.evidence} {found.remedy}"
    assert [word for word in named if word not in text] == []
    assert found in rules.diagnosis(good(**changes))


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule for rule, *_ in FAULTS} == set(rules.RULES)


def test_alarms_that_hold_at_the_end_are_findings() -> None:
    silent = LEARNS | {"AMP/style_reward_std": 0.2, "AMP/style_reward": 0.5, "AMP/weight": 1.0,
                       "Reward/total": 0.5}  # fmt: skip
    flat = silent | {"AMP/style_reward_std": 0.001, "AMP/style_reward": 0.0}
    amp = AMPConfig()
    won = rules.diagnosis(good(run=run(metrics=flat, amp=amp)))
    assert {"Style reward constant (alarm of the training).",
            "Style reward faint (alarm of the training)."} <= {f.what for f in won}  # fmt: skip
    assert won[0].severity == "serious"
    # It held once, and has ceased to.
    over = [flat] * 40 + [silent] * 60
    assert rules.diagnosis(good(run=run(amp=amp, history=over))) == []


def test_the_most_serious_comes_first() -> None:
    found = rules.diagnosis(good(policy=acts(0.0 * SPEEDS, at_limit={"x": 0.3}), task=PUSHED))
    assert [finding.severity for finding in found] == sorted(
        (finding.severity for finding in found), key=rules.SEVERITIES.index
    )
    assert found[0].what.startswith("It st")


def test_progress_is_along_the_commanded_velocity() -> None:
    sideways = acts(
        velocities=torch.tensor([[0.3, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 0.0]]),
        commands=torch.tensor([[0.0, 0.3, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 0.5]]),
    )
    assert progress(sideways)[:2].tolist() == pytest.approx([0.0, 1.0])
    assert progress(sideways)[2].isnan()


def test_robots_that_were_not_measured_say_nothing_of_the_motion() -> None:
    nothing = acts(SPEEDS * torch.nan)
    for rule in (rules.moves, rules.drifts, rules.heeds_commands, rules.stands_at_some):
        assert rule(good(policy=nothing)) is None


def test_drawn_commands_are_spread_as_the_task_says() -> None:
    task = commanded(velocity_min=0.2, velocity_max=0.6, standing_probability=0.25)
    drawn = drawn_commands(task, 200, 3)
    standing = drawn[:, 0] == 0.0
    assert int(standing.sum()) == 50
    assert float(drawn[~standing, 0].mean()) == pytest.approx(0.4, abs=0.03)
    assert drawn.shape == (200, 3) and not drawn[:, 1:].any()


# Without gates and the overlays.
TRAININGS = [p for p in CONFIGS.glob("*.yaml") if p.stem not in ("gates", "gpu", "stages")]


@pytest.mark.parametrize("path", sorted(TRAININGS), ids=lambda p: p.stem)
def test_settings_of_shipped_trainings_are_not_dead(path: Path) -> None:
    settings_parser = parser()
    settings = settings_parser.read(["--config", str(path)])
    made = settings_parser.construct(settings)
    evidence = good(task=made.data.config, run=run(amp=made.model.amp))
    assert rules.dead_settings(evidence) is None
    assert rules.commands_rest(evidence) is None or "standing" in path.stem


def test_evidence_of_a_file_alone_is_judged_by_what_a_policy_shows() -> None:
    bare = Evidence(task=ideal_task(), policy=replace(acts(), terms={}))
    assert rules.diagnosis(bare) == []

"""wildrobot_torch.deploy.runtime.pilot: who drives, and the way from one policy to the next."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from envs.errors import UserError
from wildrobot_torch.contract import Array, ContractError, Readings
from wildrobot_torch.deploy.runtime.pilot import Pilot, Policy, load_policy

WALK, STAND = np.array([0.3, 0.0, 0.0]), np.zeros(3)
CALM = Readings(np.array([0.0, 0.0, -1.0]), np.zeros(3), 0.4, np.zeros(8), np.zeros(8),
                np.zeros(0), 0.02)  # fmt: skip


def constant(policy: Policy, action: float) -> Policy:
    """The policy with a network that always says the same."""
    return replace(policy, network=lambda _: np.full(8, action))


def driven(
    pilot: Pilot, commands: list[Array], begin: float = 0.0, running: bool = True
) -> list[tuple[str, Array]]:
    """Who asked for which targets in ticks of 20 ms."""
    asked = []
    for number, command in enumerate(commands):
        request = pilot.ask(begin + 0.02 * number, CALM, command, running)
        asked.append((request.policy, request.targets.copy()))
    return asked


def test_home_comes_first_and_the_policy_when_the_robot_stands_there(walking: Policy) -> None:
    pilot = Pilot(walking)
    led = driven(pilot, [WALK] * 5, running=False)
    assert [name for name, _ in led] == ["home"] * 5
    assert all((targets == walking.contract.home).all() for _, targets in led)
    assert driven(pilot, [WALK], 0.1)[0][0] == "walking"


def test_targets_go_over_in_half_a_second(walking: Policy) -> None:
    pilot = Pilot(constant(walking, 0.1))
    targets = [targets for _, targets in driven(pilot, [WALK] * 60)]
    # In units of the action from home: a share of what the filter (0.5) makes of the last one.
    expected, last = [], 0.0
    for number in range(60):
        share = min(0.02 * number / 0.5, 1.0)
        last = share * (0.5 * last + 0.5 * 0.1)
        expected.append(last)
    found = [(t - walking.contract.offset) / walking.contract.gain for t in targets]
    assert np.array(found) == pytest.approx(np.array(expected)[:, None] * np.ones(8))
    assert (targets[0] == walking.contract.home).all()


def test_the_standing_policy_drives_two_seconds_before_and_a_second_after_walks(
    walking: Policy,
) -> None:
    pilot = Pilot(constant(walking, 0.2), constant(walking, 0.0))
    commands = [WALK] * 200 + [STAND] * 30 + [WALK] * 20 + [STAND] * 100 + [WALK] * 150
    names = [name for name, _ in driven(pilot, commands)]
    changes = [(n, b) for n, (a, b) in enumerate(pairwise(names), 1) if a != b]
    # Told to stand for 0.6 s only, the walking policy stays; told so at 5 s, it leaves at 6 s.
    assert names[0] == "standing"
    assert changes == [(100, "walking"), (300, "standing"), (400, "walking")]


def test_without_a_standing_policy_the_walking_one_stands(walking: Policy) -> None:
    names = {name for name, _ in driven(Pilot(walking), [STAND] * 100 + [WALK] * 50 + [STAND] * 99)}
    assert names == {"walking"}


def test_policies_of_two_robots_are_refused(walking: Policy) -> None:
    other = replace(walking, contract=replace(walking.contract, robot_digest="other"))
    with pytest.raises(UserError, match="differ in robot_digest"):
        Pilot(walking, other)


def test_a_file_that_is_no_policy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("nothing")
    with pytest.raises(ContractError, match=r"a\.onnx is no policy: "):
        load_policy(tmp_path / "a.onnx")

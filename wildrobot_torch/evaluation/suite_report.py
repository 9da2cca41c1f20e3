"""The account of a suite: suite.json with every number, suite.md to read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.measures import MEASURES
from wildrobot_torch.evaluation.outcomes import (
    HOME_HOLD,
    EntryResult,
    Outcome,
    SuiteResult,
    Target,
    as_dict,
)
from wildrobot_torch.evaluation.report import environment, number, plain, table
from wildrobot_torch.evaluation.statistics import LEVEL, Estimate

EFFORT = (
    "speed_error",
    "drift",
    "torque_mean",
    "torque_rms",
    "saturation",
    "power",
    "energy_per_metre",
    "transport",
)
"""Columns of the table of measures."""
GAIT = ("alternation", "stride_frequency", "stride_length", "duty_factor", "clearance", "foot_slip")
"""Columns of the table of the gait."""
TRACKING = (
    "speed",
    "speed_error_share",
    "lateral_error",
    "turn_rate",
    "turn_share",
    "command_gain",
    "command_lag",
)
"""Columns of the table of commands."""
POSTURE = ("tilt", "end_tilt", "end_rate", "recovery_time", "heading", "height_sd")
"""Columns of the table of the posture."""
COMPARED = ("success", "speed_error", "torque_mean", "power", "drift")
"""Columns of the comparison of two policies."""


def write_suite(
    result: SuiteResult,
    robot: RobotSpec,
    folder: Path,
    about: Mapping[str, Mapping[str, Any]],
    physics: str,
) -> list[Path]:
    """Write suite.json and suite.md into `folder`; returns their paths.

    Args:
        result: of the suite.
        robot: the robot.
        folder: made where it is not.
        about: column -> what describes its policy.
        physics: name of the engine.
    """
    content = plain({
        **as_dict(result), "policies": about, "environment": environment(robot, physics),
    })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "suite.json", folder / "suite.md"]
    paths[0].write_text(json.dumps(content, allow_nan=False, indent=1) + "\n", encoding="utf-8")
    paths[1].write_text(markdown(result, robot, about, physics), encoding="utf-8")
    return paths


def markdown(
    result: SuiteResult,
    robot: RobotSpec,
    about: Mapping[str, Mapping[str, Any]],
    physics: str,
) -> str:
    """The suite as a page."""
    policy = result.columns[0]
    episodes = sum(entry.entry.scenario.episodes for entry in result.entries)
    lines = [
        f"# Suite {result.suite.name}: {policy}",
        "",
        f"**{'Passed' if result.passed() else 'Failed'}.** {len(result.entries)} scenarios, "
        f"{episodes} episodes. Brackets are {LEVEL:.0%} intervals, those of rates exact "
        "(Clopper and Pearson); a target is met by the end of the interval, not by the mean.",
        *_section("Targets", _targets(result)),
        *_section("Groups", _groups(result)),
        *_section("Success rates", _rates(result)),
        *_section("Push ladder", _ladders(result)),
        *_section("Why episodes ended", _ends(result)),
        *_section("Falls, and the second before", _falls(result)),
        *_section("Commands", _measures(result, TRACKING)),
        *_section("Posture", _measures(result, POSTURE)),
        *_section("Effort and path", _measures(result, EFFORT)),
        *_section("Servos", _servos(result, robot)),
        *_section("Gait", _gait(result)),
    ]
    for other in result.columns[1:]:
        lines += _section(f"{policy} less {other}", _differences(result, other))
    lines += ["", "## Policies and environment", ""]
    what = [(f"{name}: {key}", value) for name, one in about.items() for key, value in one.items()]
    lines += table(("what", "value"), [*what, *environment(robot, physics).items()])
    return "\n".join(lines) + "\n"


def _section(title: str, lines: list[str]) -> list[str]:
    """A heading and its table, or nothing for a table without rows."""
    return ["", f"## {title}", "", *lines] if len(lines) > 2 else []


def _mine(result: SuiteResult) -> list[tuple[EntryResult, Outcome]]:
    """Entries that the policy was run in."""
    column = result.columns[0]
    return [(e, e.outcomes[column]) for e in result.entries if column in e.outcomes]


def _percent(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    return f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"


def _bracket(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def _target(target: Target) -> tuple[str, str, str, str]:
    unit = "" if target.what == "success" else f" {MEASURES[target.what].unit}"
    value = target.estimate
    shown = _percent(value) if target.what == "success" else _bracket(value)
    word = "pass" if target.passed else "**FAIL**"
    return f"{target.what}", f"{target.limit}{unit}", shown, word


def _targets(result: SuiteResult) -> list[str]:
    column, rows = result.columns[0], []
    for one in result.entries:
        if column in one.absent and one.entry.judged:
            rows.append((one.entry.title, "-", "-", f"not run: {one.absent[column]}", "**FAIL**"))
        elif column in one.outcomes:
            rows += [(one.entry.title, *_target(target)) for target in one.targets(column)]
    return table(("scenario", "what", "target", "measured", "verdict"), rows)


def _groups(result: SuiteResult) -> list[str]:
    rows = []
    for group in result.suite.groups:
        count, enough = result.group_passes(result.columns[0])[group.name]
        need, word = f"{group.passing} of {len(group.entries)}", "pass" if enough else "**FAIL**"
        rows.append((group.name, need, count, word))
    return table(("group", "needed", "passed", "verdict"), rows)


def _rates(result: SuiteResult) -> list[str]:
    rows, policy = [], result.columns[0]
    for one in result.entries:
        if one.entry.ladder is None:
            missed = one.outcomes[policy].misses if policy in one.outcomes else {}
            why = ", ".join(f"{name} {count}" for name, count in missed.items() if count)
            success = ", ".join(f"{name} {limit}" for name, limit in one.entry.success.items())
            shown = (
                _percent(one.outcomes[c].rate) if c in one.outcomes else "not run"
                for c in result.columns
            )  # fmt: skip
            scenario = one.entry.scenario
            size = f"{scenario.episodes} x {scenario.seconds:g} s"
            rows.append((one.entry.title, size, success, *shown, why, f"{one.wall_s:.1f}"))
    head = ("scenario", "episodes", "success of an episode", *result.columns, "missed by", "took s")
    return table(head, rows)


def _ladders(result: SuiteResult) -> list[str]:
    rows = []
    for one, outcome in _mine(result):
        for rung in outcome.rungs:
            least, most = min(rung.survived), max(rung.survived)
            average = sum(rung.survived) / len(rung.survived)
            rows.append((
                one.entry.title, f"{math.degrees(rung.direction):.0f}", f"{average:.2f}",
                f"{least:.2f} to {most:.2f}", f"{average / rung.momentum:.0%}",
                f"{average / rung.one_step:.0%}", f"{rung.one_step:.2f}",
            ))  # fmt: skip
    head = ("scenario", "direction deg", "survived N s", "over the stride", "of m sqrt(g z)",
            "of one step's limit", "that limit N s")  # fmt: skip
    return table(head, rows)


def _ends(result: SuiteResult) -> list[str]:
    rows = [
        (one.entry.title, ", ".join(f"{cause} {n}" for cause, n in outcome.ends.items()))
        for one, outcome in _mine(result)
        if set(outcome.ends) - {"time"}
    ]
    return table(("scenario", "episodes by the cause of their end"), rows)


def _falls(result: SuiteResult) -> list[str]:
    rows = [
        (
            one.entry.title, fall.cause, fall.count, f"{fall.time_s:.1f}", f"{fall.pitch_deg:.1f}",
            f"{fall.roll_deg:.1f}", f"{fall.speed:.2f}", f"{fall.saturation:.1%}",
        )
        for one, outcome in _mine(result)
        for fall in outcome.falls
    ]  # fmt: skip
    head = ("scenario", "cause", "falls", "after s", "pitch deg", "roll deg", "speed m/s",
            "saturated")  # fmt: skip
    return table(head, rows)


def _measures(result: SuiteResult, names: Sequence[str]) -> list[str]:
    """A row of means for each entry in which any of them is defined."""
    means = [(one, [outcome.mean(name).value for name in names]) for one, outcome in _mine(result)]
    rows = [
        (one.entry.title, *map(number, values))
        for one, values in means
        if not all(map(math.isnan, values))
    ]
    head = (f"{name} {MEASURES[name].unit}".removesuffix(" 1") for name in names)
    return table(("scenario", *head), rows)


def _servos(result: SuiteResult, robot: RobotSpec) -> list[str]:
    rows = [
        (
            one.entry.title,
            *(
                f"{outcome.servo_rms[name]:.2f} / {outcome.servo_saturation[name]:.1%}"
                for name in robot.joint_names
            ),
        )
        for one, outcome in _mine(result)
    ]
    return table(("scenario (RMS N m / saturated)", *robot.joint_names), rows)


def _gait(result: SuiteResult) -> list[str]:
    rows = [
        (one.entry.title, *(number(outcome.gait[name]) for name in GAIT))
        for one, outcome in _mine(result)
    ]
    return table(("scenario", *GAIT), rows)


def _differences(result: SuiteResult, other: str) -> list[str]:
    rows, mine = [], result.columns[0]
    names = COMPARED[:1] if other == HOME_HOLD else COMPARED
    for one in result.entries:
        if one.entry.ladder is None and {mine, other} <= set(one.outcomes):
            found = one.differences(mine, other)
            cells = [_percent(found["success"]), *(_bracket(found[name]) for name in names[1:])]
            rows.append((one.entry.title, *cells))
    return table(("scenario", *names), rows)

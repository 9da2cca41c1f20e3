"""The account of a suite: suite.json with every number, suite.md and suite.html to read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation import page, suite_plots
from wildrobot_torch.evaluation.measures import MEASURES
from wildrobot_torch.evaluation.outcomes import (
    HOME_HOLD,
    EntryResult,
    Outcome,
    SuiteResult,
    Target,
    as_dict,
)
from wildrobot_torch.evaluation.page import Bar, Cell, Section, Table, Verdict
from wildrobot_torch.evaluation.report import environment, number, plain
from wildrobot_torch.evaluation.statistics import LEVEL, Estimate
from wildrobot_torch.motion.metrics import Limit

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


About = Mapping[str, Mapping[str, Any]]
"""Column -> what describes its policy."""


def write_suite(
    result: SuiteResult, robot_model: RobotModel, folder: Path, about: About, physics: str
) -> list[Path]:
    """Write suite.json, suite.md and suite.html into `folder`; returns their paths.

    Args:
        result: of the suite.
        robot_model: the robot, on a level floor.
        folder: made where it is not.
        about: column -> what describes its policy.
        physics: name of the engine.
    """
    robot = robot_model.robot
    content = plain({
        **as_dict(result), "policies": about, "environment": environment(robot, physics),
    })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"suite.{kind}" for kind in ("json", "md", "html")]
    paths[0].write_text(json.dumps(content, allow_nan=False, indent=1) + "\n", encoding="utf-8")
    paths[1].write_text(markdown(result, robot, about, physics), encoding="utf-8")
    paths[2].write_text(html(result, robot_model, about, physics), encoding="utf-8")
    return paths


def markdown(result: SuiteResult, robot: RobotSpec, about: About, physics: str) -> str:
    """The suite as a page of markdown."""
    found = sections(result, robot, about, physics)
    word = "Passed" if result.passed() else "Failed"
    return page.markdown(_title(result), word, _lead(result), found)


def html(result: SuiteResult, robot_model: RobotModel, about: About, physics: str) -> str:
    """The suite as one HTML page: the sections of `markdown`, with pictures."""
    pictures = {
        "Push ladder": suite_plots.roses(result),
        "Pushes": suite_plots.push_maps(result, robot_model),
        "Where it breaks": suite_plots.curves(result),
        "Recovery from a lean": suite_plots.recovery_maps(result, robot_model.robot),
        "Falls, and the second before": suite_plots.falls(result, robot_model),
        "Gait": suite_plots.rasters(result),
    }
    found = [
        replace(section, pictures=pictures.get(section.title, ()))
        for section in sections(result, robot_model.robot, about, physics)
    ]
    return page.html(_title(result), Verdict(result.passed()), _lead(result), found)


def _title(result: SuiteResult) -> str:
    return f"Suite {result.suite.name}: {result.columns[0]}"


def _lead(result: SuiteResult) -> str:
    episodes = sum(entry.entry.scenario.episodes for entry in result.entries)
    column, judged = result.columns[0], [e for e in result.entries if e.entry.judged]
    met = sum(bool(entry.passed(column)) for entry in judged)
    return (
        f"{len(result.entries)} scenarios, {episodes} episodes; {met} of the {len(judged)} "
        "scenarios with targets meet all of theirs. "
        f"Brackets are {LEVEL:.0%} "
        "intervals, those of rates exact (Clopper and Pearson); a target is met by the end of the "
        "interval, not by the mean."
    )


def sections(result: SuiteResult, robot: RobotSpec, about: About, physics: str) -> list[Section]:
    """Everything that the pages say, as tables; some are for the pictures beside them alone."""
    policy = result.columns[0]
    what = [(f"{name}: {key}", str(v)) for name, one in about.items() for key, v in one.items()]
    what += [(key, str(value)) for key, value in environment(robot, physics).items()]
    return [
        Section("Targets", _targets(result)),
        Section("Groups", _groups(result)),
        Section("Success rates", _rates(result)),
        Section("Where it breaks", _breaks(result)),
        Section("Push ladder", _ladders(result)),
        Section("Pushes", _pushes(result)),
        Section("Recovery from a lean", Table((), ())),
        Section("Why episodes ended", _ends(result)),
        Section("Falls, and the second before", _falls(result)),
        Section("Commands", _measures(result, TRACKING)),
        Section("Posture", _measures(result, POSTURE)),
        Section("Effort and path", _measures(result, EFFORT)),
        Section("Servos", _servos(result, robot), _rating(result)),
        Section("Gait", _gait(result)),
        *(
            Section(f"{policy} less {other}", _differences(result, other))
            for other in result.columns[1:]
        ),
        Section("Policies and environment", Table(("what", "value"), what)),
    ]


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


def _bar(text: str, estimate: Estimate, **scale: Any) -> Bar:
    return Bar(text, estimate.value, estimate.low, estimate.high, **scale)


def _ends_of(limit: Limit) -> tuple[float, ...]:
    return tuple(end for end in (limit.min, limit.max) if end is not None)


def _target(one: EntryResult, target: Target) -> tuple[Cell, ...]:
    value = target.estimate
    if target.what == "success":
        assert one.entry.above is not None
        shown = _bar(_percent(value), value, marks=(one.entry.above,))
        return target.what, target.limit, shown, Verdict(target.passed)
    ends = _ends_of(one.entry.limits[target.what])
    reach = [abs(x) for x in (value.value, value.low, value.high, *ends) if math.isfinite(x)]
    least = -1.25 * max(reach) if min((value.value, *ends)) < 0.0 else 0.0
    shown = _bar(_bracket(value), value, least=least, most=1.25 * max(reach), marks=ends)
    limit = f"{target.limit} {MEASURES[target.what].unit}".removesuffix(" 1")
    return target.what, limit, shown, Verdict(target.passed)


def _targets(result: SuiteResult) -> Table:
    column = result.columns[0]
    rows: list[tuple[Cell, ...]] = []
    for one in result.entries:
        if column in one.absent and one.entry.judged:
            why = f"not run: {one.absent[column]}"
            rows.append((one.entry.title, "-", "-", why, Verdict(False)))
        elif column in one.outcomes:
            rows += [(one.entry.title, *_target(one, target)) for target in one.targets(column)]
    return Table(("scenario", "what", "target", "measured", "verdict"), rows, stacked=True)


def _groups(result: SuiteResult) -> Table:
    rows = []
    for group in result.suite.groups:
        count, enough = result.group_passes(result.columns[0])[group.name]
        need = f"{group.passing} of {len(group.entries)}"
        rows.append((group.name, need, str(count), Verdict(enough)))
    return Table(("group", "needed", "passed", "verdict"), rows, stacked=True)


def _rates(result: SuiteResult) -> Table:
    rows, policy = [], result.columns[0]
    for one in result.entries:
        if one.entry.ladder is None:
            missed = one.outcomes[policy].misses if policy in one.outcomes else {}
            why = ", ".join(f"{name} {count}" for name, count in missed.items() if count)
            success = ", ".join(f"{name} {limit}" for name, limit in one.entry.success.items())
            marks = () if one.entry.above is None else (one.entry.above,)
            shown = (
                _bar(_percent(one.outcomes[c].rate), one.outcomes[c].rate, marks=marks, tone=tone)
                if c in one.outcomes
                else "not run"
                for tone, c in enumerate(result.columns)
            )
            scenario = one.entry.scenario
            size = f"{scenario.episodes} x {scenario.seconds:g} s"
            rows.append((one.entry.title, size, success, *shown, why, f"{one.wall_s:.1f}"))
    head = ("scenario", "episodes", "success of an episode", *result.columns, "missed by", "took s")
    return Table(head, rows, stacked=True)


def _breaks(result: SuiteResult) -> Table:
    rows = []
    for entries in suite_plots.families(result).values():
        found = suite_plots.breaks(entries, result.columns[0])
        if found is not None:
            rows.append((suite_plots.family_title(entries[0]), *found))
    return Table(("fault", "success by its size", "fewer than half succeed at"), rows, stacked=True)


def _ladders(result: SuiteResult) -> Table:
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
    return Table(head, rows)


def _pushes(result: SuiteResult) -> Table:
    rows = []
    for entries in suite_plots.pushed(result).values():
        for one in entries:
            found = suite_plots.counts(one, one.outcomes[result.columns[0]])
            shown = ", ".join(
                f"{math.degrees(angle):.0f} deg {won} of {number}"
                for (_, angle), (won, number) in found.items()
            )
            rows.append((one.entry.title, shown))
    return Table(
        ("scenario", "succeeded by the push's direction, 0 forwards, 90 to the left"),
        rows,
        stacked=True,
    )


def _ends(result: SuiteResult) -> Table:
    rows = [
        (one.entry.title, ", ".join(f"{cause} {n}" for cause, n in outcome.ends.items()))
        for one, outcome in _mine(result)
        if set(outcome.ends) - {"time"}
    ]
    return Table(("scenario", "episodes by the cause of their end"), rows, stacked=True)


def _falls(result: SuiteResult) -> Table:
    rows = [
        (
            one.entry.title, fall.cause, str(fall.count), f"{fall.time_s:.1f}",
            f"{fall.pitch_deg:.1f}", f"{fall.roll_deg:.1f}", f"{fall.speed:.2f}",
            f"{fall.saturation:.1%}",
        )
        for one, outcome in _mine(result)
        for fall in outcome.falls
    ]  # fmt: skip
    head = ("scenario", "cause", "falls", "after s", "pitch deg", "roll deg", "speed m/s",
            "saturated")  # fmt: skip
    return Table(head, rows)


def _measures(result: SuiteResult, names: Sequence[str]) -> Table:
    """A row of means for each entry in which any of them is defined."""
    means = [(one, [outcome.mean(name).value for name in names]) for one, outcome in _mine(result)]
    rows = [
        (one.entry.title, *map(number, values))
        for one, values in means
        if not all(map(math.isnan, values))
    ]
    head = (f"{name} {MEASURES[name].unit}".removesuffix(" 1") for name in names)
    return Table(("scenario", *head), rows)


def _rated(result: SuiteResult) -> tuple[float, ...]:
    """Limits of the suite on the RMS torque of a servo [N m]."""
    limits = [
        e.entry.limits["torque_rms"] for e in result.entries if "torque_rms" in e.entry.limits
    ]
    return tuple(dict.fromkeys(limit.max for limit in limits if limit.max is not None))


def _rating(result: SuiteResult) -> str:
    rated = ", ".join(f"{limit:g}" for limit in _rated(result))
    return f"RMS torque to stay below: {rated} N m, the rating of such a servo." if rated else ""


def _servos(result: SuiteResult, robot: RobotSpec) -> Table:
    mine, rated = _mine(result), _rated(result)
    largest = max(
        (x for _, o in mine for x in (*o.servo_rms.values(), *rated) if x > 0.0), default=1.0
    )

    def cell(outcome: Outcome, name: str) -> Bar:
        rms, nothing = outcome.servo_rms[name], math.nan
        text = "-" if math.isnan(rms) else f"{rms:.2f} / {outcome.servo_saturation[name]:.1%}"
        return Bar(text, rms, nothing, nothing, most=1.1 * largest, marks=rated)

    rows = [
        (one.entry.title, *(cell(outcome, name) for name in robot.joint_names))
        for one, outcome in mine
    ]
    return Table(("scenario (RMS N m / saturated)", *robot.joint_names), rows)


def _gait(result: SuiteResult) -> Table:
    rows = [
        (one.entry.title, *(number(outcome.gait[name]) for name in GAIT))
        for one, outcome in _mine(result)
    ]
    return Table(("scenario", *GAIT), rows)


def _differences(result: SuiteResult, other: str) -> Table:
    """A row for each entry; bars of one column have one scale, 0 in its middle."""
    mine = result.columns[0]
    names = COMPARED[:1] if other == HOME_HOLD else COMPARED
    found = [
        (one, one.differences(mine, other))
        for one in result.entries
        if one.entry.ladder is None and {mine, other} <= set(one.outcomes)
    ]
    reach = {
        name: max(
            (abs(x) for _, less in found for x in (less[name].low, less[name].high)
             if math.isfinite(x)), default=0.0,
        )
        for name in names
    }  # fmt: skip
    rows = [
        (
            one.entry.title,
            *(
                _bar(
                    (_percent if name == "success" else _bracket)(less[name]),
                    less[name], least=-reach[name], most=reach[name],
                )
                for name in names
            ),
        )
        for one, less in found
    ]  # fmt: skip
    units = ("" if name == "success" else f" {MEASURES[name].unit}" for name in names)
    head = (f"{name}{unit}" for name, unit in zip(names, units, strict=True))
    return Table(("scenario", *head), rows, stacked=True)

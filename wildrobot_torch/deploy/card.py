"""MODEL_CARD.md: what a policy is, what it was trained for, and what it did.

All of it is filled in from the contract, the limits and the suite's report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wildrobot_torch.deploy.inspect import markdown_table, result_rows, safety_rows, sections
from wildrobot_torch.deploy.quantize import MOST_LOST, Int8

CLAIM = """\
**Transfer to hardware is not claimed.** Every figure on this page is of simulation. Whether the
policy walks on a robot depends on the robot: calibrate it, run its self-test, hang it up, and begin
with a hand on the emergency stop."""


def model_card(
    spec: Mapping[str, Any],
    safety: Mapping[str, Any],
    report: Mapping[str, Any] | None,
    golden: Mapping[str, int],
    int8: Int8 | str,
) -> str:
    """The card as markdown.

    Args:
        spec: the contract.
        safety: content of safety.yaml.
        report: content of a suite's suite.json; None without one.
        golden: control steps of each golden run.
        int8: what int8 did to the success, or why it was not tried.
    """
    commands = spec.get("envelope", {}).get("commands", {})
    lines = [
        f"# Policy for {spec['robot']}",
        "",
        f"A neural network that turns {_observed(spec)} observed values into joint targets of "
        f"{len(spec['joint_names'])} position servos, {1.0 / spec['ctrl_dt']:g} times a second. "
        f"Trained in simulation for {spec['env_steps']:,} control steps in its last training.",
        "",
        CLAIM,
        "",
        "## Use",
        "",
        "* For this robot alone: its digest is "
        f"`{spec['robot_digest']}`, the observation's `{spec['observation_layout']['digest']}`.",
    ]
    if "forward" in commands:
        low, high = commands["forward"]
        words = f"* Commands: {low:g} to {high:g} m/s forward"
        words += ", and 0, which stands" if commands.get("standing") else ""
        lines.append(f"{words}. Other commands are not trained; the runtime cuts them and says so.")
    lines += [
        "* On a level, firm floor. Stairs, carpets, people, and carrying things are not trained.",
        "* The whole contract is in policy.onnx, metadata entry `policy_spec`, as JSON.",
        "",
        "## Contract",
        "",
    ]
    for title, rows in sections(spec):
        lines += [f"### {title[0].upper()}{title[1:]}", "", *markdown_table(rows), ""]
    lines += ["## Limits that the runtime keeps", ""]
    lines += [*markdown_table([("limit", "value"), *safety_rows(safety)]), ""]
    lines += ["## Results", "", *_results(report), ""]
    lines += ["## Proof", ""]
    runs = ", ".join(f"{name} ({steps} steps)" for name, steps in golden.items())
    lines += [
        f"* golden.npz: what the training's own environment made of its readings ({runs}).",
        "  The runtime makes the same of them, observations to 1e-6 and joint targets to 1e-6 rad,",
        "  or this bundle would not have been written. `polled` reads each joint at its own time.",
        "* policy.onnx gives the actions of the trained network to 1e-5.",
        "* checksums.json has the SHA-256 of every file; it shows damage, not who made the bundle.",
        f"* {_int8(int8)}",
        "",
    ]
    return "\n".join(lines)


def _observed(spec: Mapping[str, Any]) -> int:
    return sum(field["size"] for field in spec["observation_layout"]["fields"])


def _results(report: Mapping[str, Any] | None) -> list[str]:
    if report is None:
        return ["No report of a suite was given to the export; nothing is known of how it fares."]
    column = report["columns"][0]
    judged = [e for e in report["entries"] if e["passed"].get(column) is not None]
    missed = [e for e in judged if not e["passed"][column]]
    lines = [
        f"Suite `{report['suite']}`: {len(judged) - len(missed)} of {len(judged)} scenarios with "
        "targets meet all of theirs. A target is met by the end of the 95 % interval. The whole "
        "report is in suite.md and suite.html.",
        "",
        *markdown_table(result_rows(report)),
    ]
    return lines


def _int8(found: Int8 | str) -> str:
    if isinstance(found, str):
        return f"There is no policy_int8.onnx: {found}."
    word = "is here" if found.passes else "was left out"
    return (
        f"policy_int8.onnx {word}: {100 * found.int8_success:.1f} % of {found.episodes} episodes "
        f"succeed with it, {100 * found.success:.1f} % with policy.onnx; "
        f"{100 * MOST_LOST:.0f} points less are allowed. It saves space, not time: a network of "
        "this size takes about as long in float (docs/bundle.md has the measurement), so run "
        "policy.onnx unless space is short."
    )

"""Make the tables of faults and responses: `python tools/fault_table.py --page docs/safety.md`.

Three tables: the rules of the safety layer with their limits, its drills on a scripted robot, and
the shipped policy walking on the simulated robot when a fault is injected. Prints them, or writes
them into a page between the lines `<!-- begin table: NAME -->` and `<!-- end table: NAME -->`
(rules, drills, simulated). Exit code 0 when every response is right, 1 when one is not. The third
table takes about a minute.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import Parser
from wildrobot_torch.contract import Controller, Readings, read
from wildrobot_torch.deploy.runtime import drill, rules
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.remote import RemoteRobot
from wildrobot_torch.deploy.runtime.safety import MOVING, SafeRobot
from wildrobot_torch.evaluation.report import table
from wildrobot_torch.files import WALKING_POLICY
from wildrobot_torch.study.tables import placed

COMMAND = np.array([0.3, 0.0, 0.0])
"""Velocity forward and to the left [m/s], yaw rate [rad/s]."""
WALKED_S, WATCHED_S = 2.0, 5.0
"""Time of walking before a fault, and of looking at what follows [s]."""


@dataclass(frozen=True)
class Injected:
    """A fault of the simulated robot, and what must follow."""

    what: str
    fault: str
    """As `python -m wildrobot_torch.deploy.simulated --help` says; its time counts from now."""
    response: str
    """released, stopped, or survived."""


FAULTS = (
    Injected("servo silent for good", "silent:left_knee_pitch@0", "released"),
    Injected("servo silent for 0.1 s", "silent:left_knee_pitch@0+0.1", "survived"),
    Injected("every fifth reading lost", "lost@0+3=0.2", "survived"),
    Injected("servo without torque", "limp:left_knee_pitch@0", "released"),
    Injected("encoder frozen, its time goes on", "frozen:left_knee_pitch@0", "released"),
    Injected("encoder off by 0.5 rad", "jump:left_knee_pitch@0=0.5", "released"),
    Injected("encoder reads NaN", "nan:left_knee_pitch@0", "released"),
    Injected("IMU silent", "imu_silent@0", "released"),
    Injected("IMU silent for 0.1 s", "imu_silent@0+0.1", "survived"),
    Injected("IMU frozen, its time goes on", "imu_frozen@0", "released"),
    Injected("IMU pitched by 60 deg", "imu_jump@0=60", "released"),
    Injected("IMU reads NaN", "imu_nan@0", "released"),
    Injected("foot switch stays open", "switch_open:left_toe@0", "survived"),
    Injected("foot switch stays closed", "switch_closed:left_toe@0", "survived"),
    Injected("battery at 9.0 V", "battery@0=9.0", "stopped or released"),
    Injected("servo at 88 deg C", "hot:left_knee_pitch@0=88", "stopped or released"),
    Injected("pushed forwards, 8 N for 0.1 s", "push:x@0+0.1=8", "survived"),
    Injected("thrown over, 100 N for 0.15 s", "push:x@0+0.15=100", "released"),
    Injected("clock steps back by 0.5 s", "clock@0=0.5", "released"),
    Injected("the process ends", "crash@0", "released"),
)


@dataclass(frozen=True)
class Followed:
    """What followed a fault."""

    response: str
    rule: str
    after: float
    """Time from the fault to the response [s]; NaN if there was none."""
    upright: bool
    """Whether the robot still leaned by less than 60 degrees when it was released."""


def parser() -> Parser:
    """The command line of this tool."""
    parser = Parser(
        "fault_table",
        "Make the tables of faults and responses of the safety layer.",
        "python tools/fault_table.py --page docs/safety.md",
    )
    parser.add_argument("--page", type=Path, help="write into this page in place of printing")
    parser.add_argument("--drills", action="store_true", help="the drills alone, without a policy")
    return parser


def main(words: list[str]) -> int:
    """Exit code."""
    options = parser().parse_args(words)
    lines, right = drills()
    tables = {"rules": rule_table(), "drills": lines}
    if not options.drills:
        tables["simulated"], also = simulated(FAULTS)
        right = right and also
    if options.page is None:
        print("\n\n".join("\n".join(lines) for lines in tables.values()))
        return 0 if right else 1
    page = options.page.read_text(encoding="utf-8")
    for name, lines in tables.items():
        page = placed(page, name, "\n".join(lines))
    options.page.write_text(page, encoding="utf-8")
    print(f"wrote tables {', '.join(tables)} into {options.page}")
    return 0 if right else 1


def rule_table() -> list[str]:
    """Rows of the rules: what each says, the limits that it reads, what follows, its drills."""
    limits, rows = SafetyLimits.load(), []
    for name, rule in vars(rules).items():
        if not inspect.isfunction(rule) or rule.__module__ != rules.__name__:
            continue
        names = dict.fromkeys(re.findall(r"limits\.(\w+)", inspect.getsource(rule)))
        found = [one for one in drill.DRILLS if one.rule == name]
        responses = dict.fromkeys(one.response for one in found)
        says = (inspect.getdoc(rule) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")
        rows.append([
            f"`{name}`", says,
            ", ".join(f"{limit} {getattr(limits, limit):g}" for limit in names) or "-",
            ", ".join(responses) or "-", "; ".join(one.name for one in found) or "topples",
        ])  # fmt: skip
    return table(["rule", "what it says", "limits", "response", "drills"], rows)


def drills() -> tuple[list[str], bool]:
    """Rows of the drills, and whether each was answered as it must be."""
    rows, right = [], True
    for one in drill.DRILLS:
        trace = drill.run(one)
        try:
            drill.judge(one, trace)
            ticks = str(drill.response_ticks(one, trace))
        except AssertionError as error:
            ticks, right = f"WRONG: {error}", False
        if one.response in ("refused", "survived"):
            ticks = "-" if ticks == "0" else ticks
        rows.append([one.name, f"`{one.rule}`" if one.rule else "-", one.limit or "-",
                     one.response, ticks])  # fmt: skip
    return table(["fault", "rule", "limit", "response", "ticks"], rows), right


def simulated(faults: Sequence[Injected]) -> tuple[list[str], bool]:
    """Rows of faults of the walking robot, and whether each was answered as it must be."""
    rows, right = [], True
    for fault in faults:
        followed = follow(fault)
        good = followed.response in fault.response
        right = right and good
        after = "-" if np.isnan(followed.after) else f"{1000.0 * followed.after:.0f}"
        response = followed.response if good else f"{followed.response}, NOT {fault.response}"
        rows.append([fault.what, response, f"`{followed.rule}`" if followed.rule else "-", after])
    return table(["fault while walking at 0.3 m/s", "response", "rule", "after [ms]"], rows), right


def follow(fault: Injected) -> Followed:
    """Walk, inject a fault, and see what follows."""
    contract, network = read(WALKING_POLICY)
    with RemoteRobot.start({"start": "holding", "seed": 1}, lockstep=True) as robot:
        calibration = Calibration.identity(contract.joint_names, robot.description["plates"])
        safe = SafeRobot(robot, calibration, contract, SafetyLimits.load())
        controller, walking, begun = Controller(contract, network), 0.0, np.inf
        while begun == np.inf or robot.clock() - begun < WATCHED_S:
            robot.sleep(contract.ctrl_dt)
            readings = safe.read()
            if begun < np.inf and safe.state not in ("ready", "running"):
                break
            if safe.state == "off" and not safe.not_ready:
                safe.arm()
            targets = contract.home
            if safe.state == "running":
                if walking == 0.0:
                    controller.begin(contract.home, readings.heading)
                targets = controller.act(readings, COMMAND)
                walking += contract.ctrl_dt
            safe.apply(targets, robot.clock())
            if walking > WALKED_S and begun == np.inf:
                begun = robot.clock()
                robot.inject(fault.fault)
        return _followed(safe, begun, readings)


def _followed(safe: SafeRobot, begun: float, readings: Readings) -> Followed:
    answers = [e for e in safe.events if e.time >= begun and e.response in ("released", "stopped")]
    if not answers or safe.state in MOVING[:2]:
        return Followed("survived", "", np.nan, True)
    answer = answers[0]
    return Followed(
        answer.response, answer.rule, answer.time - begun, bool(readings.gravity[2] < -0.5)
    )


if __name__ == "__main__":
    sys.exit(run(main))

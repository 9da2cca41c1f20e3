"""Options of the runtime's programs; only the standard library is imported, so help is quick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Add = Callable[..., Any]
"""Adds an option to a parser, as `argparse` does."""


def run(add: Add) -> None:
    """Drive a robot by a policy: read, observe, act, keep it safe, log.

    Nothing moves because the program started. When the robot has passed the start gate the program
    says so and waits for the signal USR1 (`kill -USR1 PID`), or arms at once with --arm. TERM, HUP
    and Ctrl-C stop softly: the robot is told to stand, then let go. Exit code 0 is an end that was
    asked for, 1 a safety stop, 2 bad input.
    """
    add("policy", type=Path, help="walking policy: bundle or exported policy (.onnx)")
    robots = (
        "simulated: in a process that is started; 127.0.0.1:PORT or a path: one that runs; "
        "MODULE:FUNCTION: what this function of yours returns"
    )
    add("--robot", default="simulated", help=robots)
    add("--arm", action="store_true", help="arm as soon as the start gate lets it")
    add("--standing", type=Path, metavar="POLICY", help="policy that stands before and after walks")
    add(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="of the robot (default: built as the contract says, simulated robots only)",
    )
    add("--safety", type=Path, metavar="FILE", help="limits (default: the bundle's, or ours)")
    numbers = ("FORWARD", "LEFT", "TURN")
    command = "held for the whole run [m/s, m/s, rad/s] (default: 0 0 0, which stands)"
    add("--command", type=float, nargs=3, metavar=numbers, help=command)
    listen = "instead: UDP port of this machine for JSON lists [forward, left, turn]"
    add("--listen", type=int, metavar="PORT", help=listen)
    add("--seconds", type=float, help="time of driving, after which it stops softly [s]")
    add("--log", type=Path, metavar="FILE", help="to write (default: logs/DATE.wrlog)")


def replay(add: Add) -> None:
    """Do a logged run again and say where the first bit differs.

    Exit code 0 when all readings, observations and targets are the same, 1 when they are not.
    """
    add("log", type=Path, help="file that `wildrobot run` wrote (.wrlog)")
    add("--walking", type=Path, metavar="POLICY", help="the run's policy, where it was moved")
    add("--standing", type=Path, metavar="POLICY", help="likewise")
    add("--events", action="store_true", help="print what happened in the run")
    simulate = "send the logged targets to the simulated robot, too, and say how far joints differ"
    add("--simulate", action="store_true", help=simulate)


def calibrate(add: Add) -> None:
    """Find a robot's signs, zeros, IMU map and switches in a dialogue; write them to a file.

    Answers may come from a pipe, a line each. Joints move in the step `signs` alone, each by 2
    degrees and after a question. What was in the file before is kept beside it, with its date.
    """
    add("--out", type=Path, required=True, metavar="FILE", help="to write, as calibration.yaml")
    robots = "simulated, an address, or MODULE:FUNCTION, as of `wildrobot run`"
    add("--robot", default="simulated", help=robots)
    policy = "whose joints and home pose count (default: the policy that ships with the project)"
    add("--policy", type=Path, help=policy)
    steps = ("imu", "zeros", "signs", "switches")
    add("--steps", nargs="+", choices=steps, default=list(steps), help="what to do again")
    add("--safety", type=Path, metavar="FILE", help="limits of moving joints (default: ours)")
    add("--yes", action="store_true", help="answer yes; simulated robots only")


def runtime_benchmark(add: Add) -> None:
    """Measure the control loop here, in real time on one core, in a process of its own."""
    add("policy", type=Path, help="exported policy (.onnx)")
    add("--seconds", type=float, default=20.0, help="time of driving [s]")
    add("--json", action="store_true", help="print the figures as JSON")
    add("--gate", action="store_true", help="exit with 1 when a target is missed")

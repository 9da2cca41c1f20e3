"""The runtime's programs: `run`, `replay`, `calibrate`, `benchmark`; also verbs of `wildrobot`.

At the top only the standard library is imported, so help is quick.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from envs.errors import RunError, UserError
from wildrobot_torch.deploy.runtime import options

if TYPE_CHECKING:
    from wildrobot_torch.contract import Contract
    from wildrobot_torch.deploy.runtime.calibration import Calibration
    from wildrobot_torch.deploy.runtime.commands import Source
    from wildrobot_torch.deploy.runtime.hardware import Hardware
    from wildrobot_torch.deploy.runtime.limits import SafetyLimits
    from wildrobot_torch.deploy.runtime.loop import Runtime
    from wildrobot_torch.deploy.runtime.pilot import Policy


def main(words: Sequence[str] | None = None) -> int:
    """Run a program; returns the exit code: 2 after bad input, which is one line on stderr."""
    programs = {"run": (options.run, run), "replay": (options.replay, replay),
                "calibrate": (options.calibrate, calibrate),
                "benchmark": (options.runtime_benchmark, runtime_benchmark)}  # fmt: skip
    parser = _Parser(prog="python -m wildrobot_torch.deploy.runtime", description=__doc__)
    added = parser.add_subparsers(dest="program", required=True, metavar="PROGRAM")
    for name, (declare, _) in programs.items():
        text = inspect.getdoc(declare) or ""
        one = added.add_parser(
            name, help=text.partition("\n")[0], description=text, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        declare(one.add_argument)
    read = parser.parse_args(words)
    try:
        return programs[read.program][1](read)
    except (UserError, RunError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1


class _Parser(argparse.ArgumentParser):
    """A mistake is one line."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(2)


def run(read: argparse.Namespace) -> int:
    """`wildrobot run`: drive a robot."""
    from wildrobot_torch.deploy.runtime.release import released
    from wildrobot_torch.deploy.runtime.session import opened

    walking, limits = _walking(read.policy, read.safety)
    standing = None if read.standing is None else _walking(read.standing, read.safety)[0]
    path = read.log or Path("logs") / time.strftime("%Y-%m-%dT%H%M%S.wrlog")
    with ExitStack() as stack:
        source = _source(read)
        stack.callback(source.close)
        hardware = stack.enter_context(released(open_robot(read.robot, walking.contract.robot)))
        calibration = _calibration(read.calibration, hardware, walking.contract)
        runtime = stack.enter_context(
            opened(hardware, calibration, limits, walking, standing, source, path, _say, read.robot)
        )
        _say(f"policy {walking.path}, contract {walking.contract.digest}; log {path}")
        if not read.arm:
            runtime.hold_arming(f"kill -USR1 {os.getpid()}")
        _handle_signals(runtime, stack)
        # What is there by now stays: later collections of garbage need not look at it.
        gc.collect()
        gc.freeze()
        ending = runtime.run(read.seconds)
    for line in runtime.report():
        _say(line)
    return ending.code


def _handle_signals(runtime: Runtime, stack: ExitStack) -> None:
    """Until the end of `stack`: TERM, Ctrl-C and a lost terminal stop softly, USR1 arms."""

    def stop(number: int, _: object) -> None:
        runtime.ask_to_stop(f"asked by {signal.Signals(number).name}")

    def arm(*_: object) -> None:
        runtime.release_arming()

    handlers = {number: stop for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    for number, handler in (handlers | {signal.SIGUSR1: arm}).items():
        stack.callback(signal.signal, number, signal.signal(number, handler))


def _say(text: str) -> None:
    with suppress(OSError):  # nobody reads any more; the robot matters more
        print(text, flush=True)


def _walking(path: Path, safety: Path | None) -> tuple[Policy, SafetyLimits]:
    """A policy, of a bundle or a file, and the limits that go with it."""
    from wildrobot_torch.deploy.runtime.bundle import Bundle
    from wildrobot_torch.deploy.runtime.limits import SafetyLimits
    from wildrobot_torch.deploy.runtime.pilot import load_policy

    policy = load_policy(path)
    if safety is not None:
        return policy, SafetyLimits.load(safety)
    return policy, SafetyLimits.load() if path.suffix == ".onnx" else Bundle.open(path).limits


def _source(read: argparse.Namespace) -> Source:
    from wildrobot_torch.deploy.runtime.commands import Held, Listener

    if read.listen is None:
        return Held(read.command or (0.0, 0.0, 0.0))
    if read.command is not None:
        raise UserError("--command and --listen exclude each other; give one")
    return Listener(read.listen)


def open_robot(name: str, simulated: str | None = None) -> Hardware:
    """The robot that a name stands for; it does not move.

    `simulated` is a simulated robot in a process that is started, the one of this package that is
    called `simulated` (None for the usual one), `HOST:PORT` or a path one that
    runs, `MODULE:FUNCTION` what that function of yours returns.

    Raises:
        UserError: the name stands for none, or the robot does not answer.
    """
    from wildrobot_torch.deploy.runtime.hardware import HardwareError
    from wildrobot_torch.deploy.runtime.remote import RemoteRobot

    try:
        if name == "simulated":
            return RemoteRobot.start(None if simulated is None else {"robot": simulated})
        module, colon, function = name.rpartition(":")
        if colon and function.isidentifier() and "/" not in name:
            return _own(module, function)
        return RemoteRobot(name)
    except HardwareError as error:
        raise UserError(f"robot {name!r}: {error}") from error


def _own(module: str, function: str) -> Hardware:
    """A robot of the user's own."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # the folder that the program was started in
    try:
        found: Callable[[], Any] = getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UserError(
            f"robot '{module}:{function}' is not there ({error}); give simulated, an address, or "
            "MODULE:FUNCTION of a function that returns a Hardware"
        ) from error
    return found()


def _calibration(path: Path | None, hardware: Hardware, contract: Contract) -> Calibration:
    """Of a file, or of a robot that is built as the contract has it."""
    from wildrobot_torch.deploy.runtime.calibration import Calibration

    if path is not None:
        calibration = Calibration.load(path)
    elif (said := getattr(hardware, "description", None)) is not None:
        calibration = Calibration.identity(contract.joint_names, tuple(said["plates"]))
    else:
        raise UserError("a real robot needs --calibration FILE; `wildrobot calibrate` makes it")
    if calibration.joint_names != contract.joint_names:
        raise UserError(
            f"the calibration is of joints {', '.join(calibration.joint_names)}, the policy of "
            f"{', '.join(contract.joint_names)}; give this robot's calibration"
        )
    return calibration


def calibrate(read: argparse.Namespace) -> int:
    """`wildrobot calibrate`: find signs, zeros, IMU map and switches."""
    from wildrobot_torch.deploy.runtime import calibrate as calibrating

    return calibrating.main(read)


def replay(read: argparse.Namespace) -> int:
    """`wildrobot replay`: do a logged run again."""
    from wildrobot_torch.deploy.runtime import replay as replaying

    if read.simulate:
        raise UserError("--simulate needs MuJoCo: use `wildrobot replay`, which has it")
    return report_replay(read, replaying)


def report_replay(read: argparse.Namespace, replaying: Any) -> int:
    """Print what a replay finds; 0 where every bit is the same."""
    policies = {n: getattr(read, n) for n in ("walking", "standing") if getattr(read, n)}
    found = replaying.replay(read.log, policies)
    log = found.log
    if read.events:
        for when, text in log.events:
            print(f"{when:12.3f} s  {text}")
    print(f"{len(log.ticks)} ticks in the log of {log.header['date']}, {found.ticks} done again, "
          f"{found.driven} of them driven by a policy")  # fmt: skip
    if log.cut:
        print(f"the last {log.cut} bytes are no whole record: the run was cut off")
    if found.gap is not None:
        print(f"ticks are missing after tick {found.gap}: the disk was too slow")
    print(found.difference or "readings, observations and targets are the same, bit for bit")
    return 0 if found.difference is None else 1


def runtime_benchmark(read: argparse.Namespace) -> int:
    """`wildrobot runtime-benchmark`: measure the loop here."""
    from wildrobot_torch.deploy.runtime import benchmark

    return benchmark.main(read)

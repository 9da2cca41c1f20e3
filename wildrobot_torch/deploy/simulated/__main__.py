"""`python -m wildrobot_torch.deploy.simulated`: a robot that a runtime can connect to."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from envs.errors import UserError
from wildrobot_torch.deploy.simulated.faults import KINDS
from wildrobot_torch.deploy.simulated.options import RobotOptions, perfect

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

ADDRESS = "127.0.0.1:8474"
"""Where it listens unless told otherwise."""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the table of faults."""


def _parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser, set_parsing_settings

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    places = [
        f"  {kind:<14} {place or '-':<17} {unit or '-':<6} {meaning}"
        for kind, (place, unit, meaning) in KINDS.items()
    ]
    parser = ArgumentParser(
        prog="python -m wildrobot_torch.deploy.simulated",
        usage="python -m wildrobot_torch.deploy.simulated [--NAME VALUE ...]",
        description="A simulated robot that a runtime can connect to.",
        epilog="\n".join(["faults, KIND[:WHERE]@START[+DURATION][=SIZE]:", *places]),
        formatter_class=_Help,
        exit_on_error=False,
    )
    parser.add_argument(
        "--address",
        default=ADDRESS,
        help=f"127.0.0.1:PORT or the path of a Unix socket (default: {ADDRESS})",
    )
    parser.add_argument(
        "--lockstep",
        action="store_true",
        help="time goes on only when the client says so; runs of one seed are then the same",
    )
    parser.add_argument(
        "--perfect",
        action="store_true",
        help="ideal servos and perfect sensors, but for what other options say",
    )
    parser.add_argument("--owned", action="store_true", help="end when standard input ends")
    parser.add_class_arguments(RobotOptions)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Serve a robot until it is told to stop; returns the exit code."""
    words = sys.argv[1:] if words is None else words
    try:
        from wildrobot_torch.deploy.simulated.robot import SimulatedRobot
        from wildrobot_torch.deploy.simulated.server import Server

        parser = _parser()
        if "--perfect" in words:
            parser.set_defaults(perfect())
        chosen = parser.parse_args(list(words))
        options = {name: getattr(chosen, name) for name in RobotOptions.__dataclass_fields__}
        server = Server(
            SimulatedRobot(RobotOptions(**options)), chosen.address, chosen.lockstep, chosen.owned
        )
    except ModuleNotFoundError as error:
        print(
            f"error: a simulated robot needs {error.name}, which is not installed; run: pip "
            "install 'wildrobot-torch[train]'",
            file=sys.stderr,
        )
        return 2
    except (UserError, argparse.ArgumentError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"listening on {server.address}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())

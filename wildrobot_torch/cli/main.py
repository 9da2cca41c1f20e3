"""`wildrobot VERB`, and how every program of this project ends.

At the top only the standard library is imported: `wildrobot --help` answers at once, and
`wildrobot doctor` runs where nothing is installed yet.
"""

from __future__ import annotations

import difflib
import importlib
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from envs.errors import RunError, UserError
from wildrobot_torch.cli import options
from wildrobot_torch.cli.options import one_line

USES = ("--verify", "--analyze", "--export_clips")
"""What `wildrobot reference` does but make reference motion."""
VERBS = ("calibrate", "clips", "demo", "deploy", "describe", "doctor", "evaluate", "export", "fit",
         "inspect", "page", "play", "reference", "replay", "run", "runtime-benchmark", "style",
         "terms", "why")  # fmt: skip
TRAINING = {
    "PIL", "imageio", "imageio_ffmpeg", "jsonargparse", "lightning", "matplotlib", "mujoco", "onnx",
    "onnxscript", "rich", "scipy", "tensorboard", "tensordict", "torch", "torchrl",
}  # fmt: skip
"""Packages of the extra `train`, by the names that Python imports."""
HELP = """\
usage: wildrobot VERB [...]

From motion clips to a walking policy for a small biped.

  demo        reference motion, training, evaluation, export and film, one after another
  reference   make reference motion from clips; verify or analyze a file of it
  clips       say what is in motion files: people's or a robot's, of many kinds
  fit         train a policy
  evaluate    run a policy in a scenario and write a report
  why         say what is wrong with a run or a policy, and what to change
  style       measure how much policies move like the reference
  play        watch a policy or a clip, or film it
  page        write a web page that drives a policy in the browser
  export      write a checkpoint's policy as ONNX, or as a bundle for a robot
  inspect     say what a bundle or an exported policy is, after checking it
  deploy      write the folder that a robot's computer runs a bundle from
  calibrate   find a robot's signs, zeros, IMU map and switches
  run         drive a robot by a policy: safe, on time, logged
  replay      do a logged run again, bit for bit
  terms       what can be randomised, with units and typical ranges
  describe    draft the robot.yaml of a robot of your own from its MJCF
  doctor      what is here, what is missing, and the command that mends it
  runtime-benchmark  how fast the control loop is here

examples:
  wildrobot play                                    the policy that ships with the project
  wildrobot reference --out runs/reference/walking.npz
  wildrobot fit --config walking_amp_robot
  wildrobot evaluate runs/walking_amp_robot/DATE/checkpoints/last.ckpt --scenario robot

`wildrobot VERB --help` lists the options of a verb. Exit code 0 is success, 1 a result that failed,
2 bad input with nothing written.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    return run(_dispatch, arguments)


def _dispatch(words: list[str]) -> int:
    """Read the options of a verb, then import it and run it."""
    verb, *rest = words or ["help"]
    if verb in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(VERBS)}"
        options.fail(f"there is no verb {verb!r}; {hint}")
    uses = {word.partition("=")[0] for word in rest} & set(USES) if verb == "reference" else ()
    use = min(uses, default="--main")[2:]

    def program() -> Callable[..., int]:  # its module is imported once the options are read
        module = f"wildrobot_torch.cli.{verb.replace('-', '_')}"
        return getattr(importlib.import_module(module), use)

    if verb in options.PAGES and use == "main":
        if {"-h", "--help"} & set(rest):
            print(options.PAGES[verb], end="")
            return 0
        return program()(rest)
    parser = options.parser(verb.replace("-", "_") if use == "main" else use)
    read, others = parser.parse_known_args(rest)
    read.others = others
    if others and verb != "demo":
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    return program()(read)


def run(program: Callable[[list[str]], int], arguments: Sequence[str] | None = None) -> int:
    """Exit code of a program, which gets its options with underscores for hyphens.

    0 and 1 are the program's own. Bad input is one line on stderr and 2: a `UserError`, a file that
    the arguments name and the system refuses, or a package for training that is not installed. A
    `RunError` is one line and 1, an interrupt 130, output that nobody reads any more 141. Every
    other exception leaves with its traceback,
    for which Python exits with 1.
    """
    words = [_underscored(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    try:
        code = program(words)
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (UserError, RunError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in TRAINING:
            raise
        print(
            f"error: this needs {missing}, which is not installed: "
            "pip install 'wildrobot-torch[train]'",
            file=sys.stderr,
        )
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 128 + signal.SIGPIPE
        if not _names_a_refused_file(error, words):
            raise
        print(f"error: {error.filename}: {one_line(error.strerror)}", file=sys.stderr)
        return 2


def _underscored(word: str) -> str:
    """`--held-out=0.2` as `--held_out=0.2`, so that both spellings are read."""
    name, equals, value = word.partition("=")
    return name[:2] + name[2:].replace("-", "_") + equals + value if word[:2] == "--" else word


def _names_a_refused_file(error: OSError, words: Sequence[str]) -> bool:
    """Whether the system refused a file that the arguments name, or a folder on the way to it."""
    kinds = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
    if not isinstance(error, (*kinds, PermissionError)):
        return False
    given = {Path(word.partition("=")[2] or word).absolute() for word in words if word}
    on_the_way = given.union(*(path.parents for path in given))
    for refused in (Path(x).absolute() for x in (error.filename, error.filename2) if x):
        # In a folder that may not be written to, the refused file lies below a given one.
        below = given & set(refused.parents) if isinstance(error, PermissionError) else set()
        if refused in on_the_way or below:
            return True
    return False


def _nobody_reads() -> bool:
    """Whether stdout is a pipe that is closed at its other end; it then becomes /dev/null."""
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return closed

"""Options of every verb but those that read files of settings, and their help.

Only the standard library is imported: `wildrobot VERB --help` and misspelt options answer at once.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable
from inspect import getdoc
from pathlib import Path
from typing import Any, NoReturn

from wildrobot_torch.deploy.runtime.options import calibrate, replay, run, runtime_benchmark

ENGINES = "engine: native, warp, warp-cpu or auto"
"""Help text of `--physics`; the names are those of `envs.physics.engines.ENGINE_NAMES`."""

ROBOT = "robot of this package, or a folder with its robot.yaml (default: the policy's)"
"""Help text of `--robot`, where a policy names one."""
ITS_ROBOT = "robot of this package, or a folder with its robot.yaml"
"""Help text of `--robot` elsewhere."""

_FIT = """\
usage: wildrobot fit [--config FILE ...] [--NAME VALUE ...]

Train a policy. Writes runs/NAME/DATE: settings, metrics, checkpoints.

  wildrobot fit --config walking
  wildrobot fit --config walking_amp_robot --config gpu --model.ppo.gamma 0.99
  wildrobot fit --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt

options:
  --config FILE      settings; several are merged, later ones win; the name of a shipped file
                     will do: walking_amp_robot, walking_robot, walking, gpu, demo
  --ckpt_path FILE   checkpoint to resume from
  --data.robot NAME  robot of this package, or a folder with its robot.yaml
  --seed N           of everything random
  --wandb PROJECT    log to Weights & Biases as well as to CSV and TensorBoard
  --print_config     print all settings with their values
  --help_all         list all settings with units and meanings

Settings have dotted names: run, trainer, data, data.env, model.ppo, model.network, model.amp.
Ctrl-C saves a checkpoint and ends; a second one ends at once.
"""

_REFERENCE = """\
usage: wildrobot reference [--clips SOURCE ...] [--out FILE] [--NAME VALUE ...]
       wildrobot reference --verify FILE | --analyze FILE | --export_clips FOLDER [--help]

Follow motion clips in the simulation and keep what passes the gates.

  wildrobot reference --out runs/reference/walking.npz
  wildrobot reference --clips builtin my_clips/ --out runs/reference/mine.npz
  wildrobot reference --policy RUN/checkpoints/last.ckpt --clips none

options:
  --clips SOURCE ...    folders or files of clips, `builtin` walks, or none: followed without
                        support, by a tracking policy that is trained first
  --harness SOURCE ...  clips to follow in a support harness: quick, but held up
  --policy FILE         policy whose own motion becomes reference; may be given again
  --out FILE            dataset to write, with a report beside it
  --robot NAME          robot of this package, or a folder with its robot.yaml
  --config FILE         settings; later files win
  --physics NAME        engine: native, warp, warp-cpu or auto
  --print_config        print all settings with their values
  --help_all            list all settings with units and meanings

other uses:
  --verify FILE         test a dataset: features, physics, determinism, contacts and more
  --analyze FILE        seconds, coverage and diversity of a dataset: go, caution or stop
  --export_clips FOLDER write the built-in clips, and human ones with --cmu, as files
"""

Add = Callable[..., Any]
"""Adds an option to a parser, as `argparse` does."""
PAGES = {"fit": _FIT, "reference": _REFERENCE}
"""Help of the verbs that read files of settings."""


def fail(message: object) -> NoReturn:
    """End the program for bad input: `error: <message>` on stderr, exit code 2."""
    print(f"error: {one_line(message)}", file=sys.stderr)
    raise SystemExit(2)


def one_line(text: object) -> str:
    """The text without line breaks."""
    return " ".join(str(text).split())


class Parser(argparse.ArgumentParser):
    """A verb's or tool's options; a mistake is one line, with the name that may have been meant."""

    def __init__(self, prog: str, description: str, example: str = "") -> None:
        """`prog` is what the user types, `example` lines that follow the options in the help."""
        super().__init__(
            prog=prog,
            description=description,
            epilog=example and f"example:\n  {example}",
            allow_abbrev=False,
            formatter_class=_Formatter,
        )

    def error(self, message: str) -> NoReturn:
        """End with one line and exit code 2."""
        fail(with_hint(message, self._option_string_actions))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Names defaults, where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.default in (None, False, argparse.SUPPRESS) or action.default == []:
            return action.help or ""
        default = "%(default)s"
        if isinstance(action.default, list):
            default = " ".join(map(str, action.default))
        return f"{action.help} (default: {default})"


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}; allowed: 1 or more")
    return number


def within(low: float, high: float) -> Callable[[str], float]:
    """For argparse: a number from `low` to `high`."""

    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text}; allowed: {low:g} to {high:g}")
        return value

    return number


def with_hint(message: str, options: Iterable[str]) -> str:
    """The message, with the option that a misspelt one in it may stand for."""
    names = [option[2:] for option in options if option.startswith("--")]
    found = re.search(r"--([\w.]+)|[Oo]ption '([\w.]+)'", message)
    wrong = found and (found[1] or found[2])
    if not wrong or wrong in names:
        return message
    last = {name.rpartition(".")[2]: name for name in names}
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.75)
    if not close:
        ends = difflib.get_close_matches(wrong.rpartition(".")[2], last, n=1, cutoff=0.75)
        close = [last[end] for end in ends]
    return f"{message}; did you mean --{close[0]}?" if close else message


# The options of each verb, and of the uses of `reference`: declared by a function whose docstring
# is what the help says.


def clips(add: Add) -> None:
    """Say what is in motion files: kind, rate, unit, up axis, joints, and walking by the second.

    Kinds: BVH, CMU's ASF/AMC, AMASS and SMPL-X npz, LocoMuJoCo npz, and clips of robots (npz, pkl,
    csv). Exits with 1 when a file cannot be used.
    """
    add("paths", type=Path, nargs="+", metavar="PATH", help="files, or folders with all in them")
    add("--json", action="store_true", help="print it as JSON")


def demo(add: Add) -> None:
    """Reference motion, training, evaluation, export and film, one after another.

    Options that are not listed go to the training: see `wildrobot fit --help`.
    """
    add("--out", type=Path, help="folder to write, new or empty (default: runs/demo/DATE)")
    add("--clips", nargs="+", default=["builtin"], help="of the reference: folders, builtin")
    add("--reference", type=Path, help="reference motion (.npz), instead of making it")
    add("--physics", default="native", help=ENGINES)


def describe(add: Add) -> None:
    """Draft the robot.yaml of a robot from its MJCF, by geometry, and say how sure each item is.

    Writes robot.yaml and robot.png, pictures to check it by. Exits with 1 where something stays
    unknown.
    """
    add("model", type=Path, metavar="MODEL.xml", help="MJCF of the robot, or of a scene with it")
    add("--out", type=Path, metavar="DIR", help="folder to write (default: that of the MJCF)")
    add("--no_pictures", action="store_true", help="no robot.png")


def doctor(add: Add) -> None:
    """What is here, what is missing, and the command that mends it.

    With --robot instead whether a robot stands, is mirrored, strong and fast enough to be trained.
    """
    add("--json", action="store_true", help="print the report as JSON")
    add("--robot", metavar="NAME_OR_DIR", help=ITS_ROBOT)


def evaluate(add: Add) -> None:
    """Run a policy in a scenario, or in a suite of them, measure it and write a report.

    A scenario writes report.md, report.json and plots; a suite writes suite.md and suite.json and
    exits with 1 when a target is missed. Other simulators write simulators.md and simulators.json.
    """
    add("policy", type=Path, help="checkpoint (.ckpt) or exported policy (.onnx)")
    add("--scenario", help="name in configs/evaluation, or a .yaml file (default: walking)")
    suite = "instead: quick, full or a .yaml file; targets are met by the bounds of 95 %% intervals"
    add("--suite", help=suite)
    against = "with --suite: second policy, and the differences to it with intervals"
    add("--against", type=Path, metavar="POLICY", help=against)
    simulators = (
        "instead: other simulators, by the exported contract alone: mujoco, mujoco-implicit, warp, "
        "drake, ... or all; more than 10 points of success lost exit with 1"
    )
    add("--simulator", nargs="+", metavar="NAME", help=simulators)
    add("--out", type=Path, help="of the report (default: evaluation/NAME by the policy)")
    add("--num_envs", type=positive, help="robots side by side (default: one for each episode)")
    add("--physics", default="native", help=ENGINES)
    add("--robot", metavar="NAME_OR_DIR", help=ROBOT)
    add("--seed", type=int, help="of robots, start noise and pushes (default: the scenario's)")
    add("--terrain", help="the ground: flat, rough, steps (default: the scenario's)")
    add("--gate", action="store_true", help="exit with 1 when a limit of the scenario is missed")


def export(add: Add) -> None:
    """Write a checkpoint's policy as an ONNX file that agrees with torch, or as a bundle.

    A bundle has everything that a robot's computer needs, and proves itself before it is written.
    """
    add("checkpoint", type=Path, help="checkpoint of a training (.ckpt)")
    add("--out", type=Path, help="file to write (default: policy.onnx in the run's folder)")
    add("--bundle", type=Path, metavar="OUT", help="instead: bundle to write, a folder or a .zip")
    add("--report", type=Path, help="with --bundle: suite.json of this policy's evaluation")
    add("--robot", metavar="NAME_OR_DIR", help=ROBOT)
    no_int8 = "with --bundle: no policy_int8.onnx, and no suite that it is tried in"
    add("--no_int8", action="store_true", help=no_int8)


def deploy(add: Add) -> None:
    """Write what a robot's computer needs to run a bundle: runtime, settings, service, tests.

    It needs Python with numpy, onnxruntime and pyyaml there, and nothing of this project.
    """
    add("bundle", type=Path, help="bundle that `wildrobot export --bundle` wrote")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write; must not exist")


def inspect(add: Add) -> None:
    """Say what a policy or a bundle is: joints, observation, timing, envelope, safety, results.

    Everything is checked first; what is damaged or contradicts itself is an error.
    """
    add("subject", type=Path, metavar="BUNDLE_OR_POLICY", help="bundle, or exported policy (.onnx)")


def page(add: Add) -> None:
    """Write one static web page that drives a policy in the browser: simulator, network, robot.

    npm fetches the libraries once. Any web server shows the folder, `python -m http.server`, too.
    """
    what = "bundle (folder, .zip) or exported policy (.onnx) (default: the shipped walk)"
    add("policy", nargs="?", type=Path, metavar="BUNDLE_OR_POLICY", help=what)
    add("--out", type=Path, default=Path("page"), help="folder to write, new or empty")


def play(add: Add) -> None:
    """Watch a policy or a clip: in a window, or without a display as a film."""
    what = "checkpoint (.ckpt), exported policy (.onnx), zero or random (default: a shipped walk)"
    add("policy", nargs="?", help=what)
    add("--clip", type=Path, help="motion clip to show instead, without physics")
    accepted = "with --clip: dataset (.npz) whose motion of the clip is shown, the clip as a ghost"
    add("--reference", type=Path, help=accepted)
    beside = "distance of the ghost to the robot's left [m]; 0 lays it over the robot"
    add("--ghost_beside", type=within(-10.0, 10.0), help=beside)
    add("--velocity", type=within(-5.0, 5.0), default=0.3, help="command [m/s]")
    add("--seconds", type=within(0.1, 600.0), default=10.0, help="length of the film [s]")
    add("--physics", default="native", help=ENGINES)
    add("--seed", type=int, default=0, help="of start noise and random actions")
    add("--robot", metavar="NAME_OR_DIR", help=ROBOT)
    add("--terrain", default="flat", help="the ground: flat, rough, steps")
    add("--out", type=Path, help=".mp4, .gif or .png (default: a window, or runs/play.gif)")
    drawn = "of films: OpenGL where there is one (auto), or numpy alone (software)"
    add("--renderer", choices=("auto", "gl", "software"), default="auto", help=drawn)
    add("--size", default="320x240", help="of the film, WIDTHxHEIGHT [pixels]")


def style(add: Add) -> None:
    """Measure how much policies move like the reference; write style.md and style.json."""
    policies = "checkpoint (.ckpt) or exported policy (.onnx)"
    add("policies", type=Path, nargs="+", metavar="POLICY", help=policies)
    add("--reference", type=Path, required=True, help="reference motion (.npz)")
    add("--against", type=Path, help="policy trained without style, to be beaten by half")
    copy = (
        "the same clips followed by a tracking policy of another seed (`wildrobot reference "
        "--reference.tracking.seed 1`); a limit that this copy misses is not applied to policies"
    )
    add("--replicate", type=Path, help=copy)
    add("--out", type=Path, help="folder of the report (default: style by the first policy)")
    add("--held_out", type=float, default=0.15, help="share of the reference not trained on")
    add("--tiers", nargs="+", default=["0+", "0"], help="tiers used in training")
    add("--episodes", type=positive, default=64, help="per policy, spread over the speeds")
    add("--seconds", type=float, default=10.0, help="duration of an episode [s]")
    add("--physics", default="native", help=ENGINES)
    add("--seed", type=int, default=0, help="of start noise")


def terms(add: Add) -> None:
    """List what can be randomised: terms, passing faults and pushes, with units and ranges."""
    settings = (
        "settings of a training, whose ranges are shown beside the typical ones; may be given "
        "again, later files win; the name of a shipped file will do"
    )
    add("--config", action="append", default=[], metavar="FILE", help=settings)


def why(add: Add) -> None:
    """Say what is wrong with a run or a policy, on what evidence, and what to change.

    A few robots act for some seconds; of a run its settings, metrics, reference and checkpoints are
    looked at, too. Exits with 1 when something serious is found.
    """
    subject = "folder of a run, checkpoint (.ckpt) or exported policy (.onnx)"
    add("subject", type=Path, metavar="RUN_OR_POLICY", help=subject)
    add("--json", action="store_true", help="print the findings and the evidence as JSON")
    add("--num_envs", type=positive, default=32, help="robots side by side")
    add("--seconds", type=within(4.0, 60.0), default=10.0, help="that they act for [s]")
    add("--physics", default="native", help=ENGINES)
    add("--seed", type=int, default=0, help="of commands, start noise, robots and pushes")


def verify(add: Add) -> None:
    """Test a dataset: features, physics, determinism, invariances, coverage, contacts and more."""
    add("--verify", type=Path, required=True, metavar="FILE", help="dataset (.npz)")
    add("--out", type=Path, help="table, with a .json beside it (default: FILE.verified.md)")
    add("--robot", default="wildrobot", metavar="NAME_OR_DIR", help=ITS_ROBOT)
    add("--seed", type=int, default=0, help="of all draws")
    redone = "stretches of 12 control steps redone by inverse dynamics, per kind of support"
    add("--stretches", type=positive, help=redone)


def analyze(add: Add) -> None:
    """Seconds by tier, coverage, features and diversity of a dataset: go, caution or stop."""
    add("--analyze", type=Path, required=True, metavar="FILE", help="dataset (.npz)")
    add("--out", type=Path, help="folder for analysis.md and .json")
    add("--robot", default="wildrobot", metavar="NAME_OR_DIR", help=ITS_ROBOT)
    add("--gate", action="store_true", help="exit with 1 unless the decision is go")


def export_clips(add: Add) -> None:
    """Write motion clips (.npz): built-in standing and walking, and human walking retargeted."""
    add("--export_clips", type=Path, required=True, metavar="FOLDER", help="to write")
    speeds = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    add("--speeds", type=float, nargs="*", default=speeds, help="of the built-in walk [m/s]")
    add("--duration", type=float, default=10.0, help="of built-in clips [s]")
    add("--robot", default="wildrobot", metavar="NAME_OR_DIR", help=ITS_ROBOT)
    add("--cmu", type=Path, help="folder with CMU .asf and .amc files")


EXAMPLES = {
    calibrate: "calibrate --robot 127.0.0.1:8474 --out calibration.yaml",
    clips: "clips my_clips/ walk.bvh",
    demo: "demo --run.env_steps 1_000_000",
    describe: "describe robots/mine/mine.xml",
    doctor: "doctor",
    evaluate: "evaluate RUN/checkpoints/last.ckpt --suite quick",
    export: "export RUN/checkpoints/last.ckpt --bundle policy.zip --report SUITE/suite.json",
    deploy: "deploy policy.zip --out robot/",
    inspect: "inspect policy.zip",
    page: "page policy.onnx --out page",
    play: "play RUN/checkpoints/last.ckpt --velocity 0.4 --out walk.mp4",
    replay: "replay logs/DATE.wrlog",
    run: "run policy.onnx --robot simulated --command 0.3 0 0 --seconds 10 --arm",
    runtime_benchmark: "runtime-benchmark policy.onnx",
    style: "style RUN/checkpoints/last.ckpt --reference runs/reference/walking.npz",
    terms: "terms --config walking_robot",
    why: "why runs/walking/DATE",
    verify: "reference --verify runs/reference/walking.npz",
    analyze: "reference --analyze runs/reference/walking.npz --gate",
    export_clips: "reference --export_clips runs/clips --speeds 0.1 0.3",
}


def parser(name: str) -> Parser:
    """The parser of a verb, or of a use of `reference`, that has a function here."""
    declare, example = next((f, text) for f, text in EXAMPLES.items() if f.__name__ == name)
    verb = example.split()[0]
    made = Parser(f"wildrobot {verb}", getdoc(declare) or "", f"wildrobot {example}")
    declare(made.add_argument)
    return made

"""Measure how long trainings take to walk: `python tools/time_to_walk.py --help`.

For example, three trainings of a recipe, each to three times its time to WALK:

    python tools/time_to_walk.py --config configs/walking.yaml --config configs/laptop.yaml \
        --seeds 0 1 2 --out runs/time_to_walk/ppo --beyond 3

Exit code 0 when every seed reached WALK, 1 when one did not or a training broke off, 2 for a
request that cannot be met. The same command keeps what is finished, and resumes the rest.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from envs.physics.base import PhysicsError
from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.continuing import TrainingBroken
from wildrobot_torch.study.fitting import clock_seconds, fit_settings, require_free
from wildrobot_torch.study.history import read_json, write_json
from wildrobot_torch.study.walking import SeedResult, WalkPlan
from wildrobot_torch.study.walking_report import write_walking_report
from wildrobot_torch.study.walking_runner import SeedRun, run_seeds, say_now

ABOUT = "measurement.json"


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="time_to_walk",
        description="Train a recipe with several seeds until it walks; time and steps that took.",
        epilog="Other options are the recipe and go to the training, for example --config FILE; "
        "`wildrobot fit --help` lists them.",
        allow_abbrev=False,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--out", type=Path, required=True, help="folder of this measurement")
    parser.add_argument(
        "--max_time",
        help="training time after which a seed ends, DD:HH:MM:SS (default: none; run.env_steps "
        "ends it)",
    )
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--stop", action="store_true", help="end each training at WALK")
    end.add_argument(
        "--beyond",
        type=float,
        help="end each training at so many times its steps to WALK, whatever run.env_steps says",
    )
    parser.add_argument(
        "--every",
        type=int,
        default=10,
        help="iterations between two evaluations until WALK (default: 10)",
    )
    parser.add_argument(
        "--screening",
        default="screening",
        help="scenario a policy must pass before it is put to WALK: a name in configs/evaluation, "
        "a .yaml file, or none (default: screening)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the tool; nothing is written for a request that cannot be met."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options, recipe = parser().parse_known_args(words)
    command = shlex.join(["python", "tools/time_to_walk.py", *words])
    out: Path = options.out
    try:
        runs = prepared(options, recipe)

        def report(results: list[SeedResult]) -> None:
            write_walking_report(runs, results, out, command)

        code = run_seeds(runs, say_now, report)
    except (StudyError, ValueError, OSError, PhysicsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if isinstance(error, (TrainingBroken, PhysicsError)) else 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    say_now(f"wrote {out / 'report.md'}")
    return code


def prepared(options: argparse.Namespace, recipe: Sequence[str]) -> list[SeedRun]:
    """The seeds' trainings, when all that is asked for can be met.

    Raises:
        StudyError: it cannot.
    """
    require_free(recipe)
    if options.every < 1:
        raise StudyError(f"--every is {options.every}; it must be positive")
    if options.beyond is not None and not options.beyond > 1.0:
        raise StudyError(f"--beyond is {options.beyond}; it must exceed 1")
    if len(set(options.seeds)) < len(options.seeds):
        raise StudyError(f"--seeds names one twice: {options.seeds}")
    settings = fit_settings(recipe)
    screening = None if options.screening == "none" else load_scenario(options.screening)
    plan = WalkPlan(
        walk=load_scenario("walking"),
        screening=screening,
        every=options.every,
        iteration_steps=settings["data"]["num_envs"] * settings["data"]["num_steps"],
        env_steps=settings["run"]["env_steps"],
        max_time_s=math.inf if options.max_time is None else clock_seconds(options.max_time),
        stop=options.stop,
        beyond=options.beyond,
    )
    require_same(options.out, about(plan, settings))
    physics = settings["data"]["physics"]
    return [
        SeedRun(options.out / f"seed_{seed}", seed, recipe, plan, physics) for seed in options.seeds
    ]


def about(plan: WalkPlan, settings: dict[str, Any]) -> dict[str, Any]:
    """What the seeds of a measurement have in common."""
    plain = {name: value for name, value in settings.items() if name not in ("seed", "ckpt_path")}
    how = asdict(plan)
    if math.isinf(plan.max_time_s):
        how["max_time_s"] = None
    return json.loads(json.dumps({"plan": how, "settings": plain}))


def require_same(out: Path, found: dict[str, Any]) -> None:
    """Note what is measured in a folder; refuse one that holds something else.

    How long a training goes on may change: that resumes it.

    Raises:
        StudyError: with the first difference.
    """
    path = out / ABOUT
    if path.is_file():
        free = {"plan.env_steps", "plan.max_time_s", "plan.stop", "plan.beyond",
                "settings.run.env_steps"}  # fmt: skip
        before, now = _leaves(read_json(path)), _leaves(found)
        for name in sorted((before.keys() | now.keys()) - free):
            if before.get(name) != now.get(name):
                raise StudyError(
                    f"{out} holds a measurement with {name} {before.get(name)!r}, not "
                    f"{now.get(name)!r}; give another --out"
                )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StudyError(f"{out} is there already, and no measurement; give another --out")
    write_json(path, found)


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= _leaves(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


if __name__ == "__main__":
    sys.exit(main())

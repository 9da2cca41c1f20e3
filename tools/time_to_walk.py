"""Measure how long trainings take to walk: `python tools/time_to_walk.py --help`.

Exit code 0 when every seed reached WALK, 1 when one did not or a training was cut short, 2 for bad
input. The same command keeps what is finished, and resumes the rest.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from wildrobot_torch.cli.fit import read_options
from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import Parser, positive
from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.files import atomic_write
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.training import require_free
from wildrobot_torch.study.walking import SeedRun, write_walking_report

ABOUT = "measurement.json"


def parser() -> Parser:
    """The command line of this tool."""
    parser = Parser(
        "time_to_walk",
        "Train a recipe with several seeds until it walks; time and steps that took. Other options "
        "are the recipe and go to `wildrobot fit`.",
        "python tools/time_to_walk.py --config walking --out runs/time_to_walk/ppo",
    )
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--out", type=Path, required=True, help="folder of this measurement")
    add("--every", type=positive, default=10, help="iterations between evaluations")
    return parser


def main(words: list[str]) -> int:
    """Exit code; nothing is written for bad input."""
    options, recipe = parser().parse_known_args(words)
    runs = prepared(options, recipe)
    command = shlex.join(["python", "tools/time_to_walk.py", *words])
    for seed_run in runs:
        print(f"seed {seed_run.seed}: training in {seed_run.folder}", flush=True)
        seed_run.run()
        print(write_walking_report(runs, options.out, command), flush=True)
    print(f"wrote {options.out / 'report.md'}")
    return 0 if all(math.isfinite(seed_run.result()["walk_s"]) for seed_run in runs) else 1


def prepared(options: Namespace, recipe: Sequence[str]) -> list[SeedRun]:
    """The seeds' trainings, when the request is valid, or else a UserError."""
    require_free(recipe)
    if len(set(options.seeds)) < len(options.seeds):
        raise StudyError(f"--seeds names one twice: {options.seeds}")
    settings = read_options(recipe)
    # How long a training goes on may change: that resumes it.
    env_steps = settings["run"].pop("env_steps")
    require_same(options.out, {"every": options.every, **settings})
    walk = load_scenario("walking")
    return [
        SeedRun(options.out / f"seed_{seed}", seed, recipe, walk, options.every, env_steps)
        for seed in options.seeds
    ]


def require_same(out: Path, settings: dict[str, Any]) -> None:
    """Note the settings that are measured in a folder; StudyError where it holds others."""
    path, text = out / ABOUT, json.dumps(settings, default=str, indent=2, sort_keys=True)
    if path.is_file():
        before, now = (x.replace(",\n", "\n").splitlines() for x in (path.read_text(), text))
        if changed := [(a.strip(), b.strip()) for a, b in zip(before, now, strict=False) if a != b]:
            raise StudyError(
                f"{out} holds a measurement with {changed[0][0]}, not {changed[0][1]}; give "
                "another --out"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StudyError(f"{out} is there already, and no measurement; give another --out")
    with atomic_write(path) as file:
        file.write(text.encode())


if __name__ == "__main__":
    sys.exit(run(main))

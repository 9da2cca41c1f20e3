"""Run a study and write its tables: `python tools/study.py configs/study/amp.yaml`.

Trains each arm with each seed, one after another, and evaluates the last checkpoints. What is
finished is kept, what was interrupted is resumed. Exit code 0 when nothing is missing in what was
asked for, 1 when a training or an evaluation broke off, 2 for a request that cannot be met.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.plan import Study, load_study
from wildrobot_torch.study.results import load_results
from wildrobot_torch.study.runner import ArmRun, listing, run_missing
from wildrobot_torch.study.tables import write_tables


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="study", description="Run what is missing of a study, and write its tables."
    )
    parser.add_argument("study", type=Path, help="file of the study, in configs/study")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ARM",
        help="run this arm alone; may be given several times (default: all)",
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="of the study's seeds (default: all)")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the trainings, not of results and tables, whose places the study names "
        "(default: runs/study/STUDY)",
    )
    parser.add_argument(
        "--list", action="store_true", help="print what is finished, run and write nothing"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the tool; nothing is written for a request that cannot be met."""
    options = parser().parse_args(arguments)
    try:
        study = load_study(options.study)
        load_scenario(study.evaluation)
        arms = study.chosen(tuple(options.only))
        unknown = set(options.seeds or ()) - set(study.seeds)
        if unknown:
            raise StudyError(
                f"--seeds {min(unknown)} is none of the study's: {', '.join(map(str, study.seeds))}"
            )
        folder: Path = options.out or ROOT / "runs/study" / study.name
        settings = {arm.name: study.settings(arm) for arm in arms}
        recipes = {name: study.recipe(found) for name, found in settings.items()}
        runs = [
            ArmRun(study, arm, seed, folder, recipes[arm.name])
            for arm in arms
            for seed in study.seeds
            if options.seeds is None or seed in options.seeds
        ]
        if options.list:
            print("\n".join(listing(runs)))
            return 0
        missing = [run for run in runs if not run.finished]
        for run in missing:
            require_files(study, run.arm.name, settings[run.arm.name])
            run.require_same_training()
        physics = {name: found["data"]["physics"] for name, found in settings.items()}

        def tables() -> None:
            results = load_results(ROOT / study.results)
            write_tables(study, results, ROOT / study.page, str(options.study))

        tables()
        problems = run_missing(runs, physics, lambda line: print(line, flush=True), tables)
    except (StudyError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(f"wrote {study.page}")
    return 1 if problems else 0


def require_files(study: Study, arm: str, settings: dict[str, Any]) -> None:
    """Refuse an arm whose reference motion is not there.

    Raises:
        StudyError: with the command that makes it, where the study knows it.
    """
    reference = settings["data"]["reference"]
    if reference is not None and not (ROOT / reference).is_file():
        remedy = study.needs.get(reference)
        how = f"; make it: {remedy}" if remedy else ""
        raise StudyError(f"arm {arm!r} needs {reference}, which is not there{how}")


if __name__ == "__main__":
    sys.exit(main())

"""Run an ablation study and write its tables: `python tools/study.py configs/study/amp.yaml`.

Trains each arm with each seed, one after another, and evaluates the last checkpoints. What is
finished is kept, what was interrupted is resumed. Run it in the repository's root. Exit code 0 when
nothing of the request is missing, 1 when something was cut short, 2 for bad input.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from envs.errors import RunError
from wildrobot_torch.cli.fit import read_options
from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import Parser
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.arms import ArmRun, load_results
from wildrobot_torch.study.plan import load_study
from wildrobot_torch.study.tables import write_tables


def parser() -> Parser:
    """The command line of this tool."""
    parser = Parser(
        "study",
        "Run what is missing of a study, and write its tables.",
        "python tools/study.py configs/study/amp.yaml --only amp --seeds 0",
    )
    add = parser.add_argument
    add("study", type=Path, help="file of the study, in configs/study")
    add("--only", action="append", default=[], metavar="ARM", help="this arm; may be given again")
    add("--seeds", type=int, nargs="+", help="these of the study's seeds")
    add("--out", type=Path, help="folder of the trainings (default: runs/study/STUDY)")
    add("--list", action="store_true", help="print the state of each training, run nothing")
    add("--accept", action="store_true", help="keep results: only names of settings changed")
    return parser


def main(words: list[str]) -> int:
    """Exit code; nothing is written for bad input."""
    options = parser().parse_args(words)
    study = load_study(options.study)
    if unknown := set(options.seeds or ()) - set(study.seeds):
        allowed = ", ".join(map(str, study.seeds))
        raise StudyError(f"--seeds {min(unknown)} is not in the study; allowed: {allowed}")
    folder: Path = options.out or Path("runs/study") / options.study.stem
    runs = []
    for arm in map(study.arm, options.only) if options.only else study.arms:
        settings = read_options(study.fit_options(arm, study.seeds[0]))
        chosen = [seed for seed in study.seeds if options.seeds is None or seed in options.seeds]
        mine = [ArmRun(study, arm, seed, folder, settings) for seed in chosen]
        reference = settings["data"]["reference"]
        left = not options.list and any(run.state != "finished" for run in mine)
        if left and reference is not None and not Path(reference).is_file():
            remedy = study.needs.get(reference, "give another --data.reference")
            raise StudyError(f"arm {arm.name!r} needs {reference}, which is not there: {remedy}")
        runs += mine
    if options.list:
        print("\n".join(f"{run.name:<24}{run.state}" for run in runs))
        return 0
    if options.accept:
        for run in runs:
            if run.accept():
                print(f"accepted {run.result}")
    for run in runs:
        run.require_same()

    def tables() -> None:
        write_tables(study, load_results(Path(study.results)), str(options.study))

    tables()
    complete = True
    for run in runs:
        if run.state == "finished":
            continue
        print(f"{run.name}: training", flush=True)
        try:
            print(run.run(), flush=True)
            tables()
        except RunError as error:
            complete = False
            print(f"error: {error}", flush=True)
    print(f"wrote {study.page}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(run(main))

"""Search for good settings of a recipe: `python tools/search.py configs/study/search.yaml`.

Trains a trial after another, ends those that are worse than the median, and holds the others
against a suite. The same command goes on where it was interrupted. Run it in the repository's root.
Exit code 0 when there is a best trial, 1 without one or when a training was cut short, 2 for bad
input.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from wildrobot_torch.cli import fit
from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import Parser
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.search import Search, SearchRun, load_search, require_optuna


def parser() -> Parser:
    """The command line of this tool."""
    parser = Parser(
        "search",
        "Search for good settings of a recipe; writes search.md and best.yaml.",
        "python tools/search.py configs/study/search.yaml --out runs/search",
    )
    parser.add_argument("search", type=Path, help="file of the search, in configs/study")
    parser.add_argument("--out", type=Path, help="its folder (default: runs/NAME of the file)")
    return parser


def main(words: list[str]) -> int:
    """Exit code; nothing is written for bad input."""
    options = parser().parse_args(words)
    require_optuna()
    search = load_search(options.search)
    require_settings(search)
    about = search.about(fit.read_options(search.fit_options({})))
    folder: Path = options.out or Path("runs") / options.search.stem
    search_run = SearchRun(search, about, folder, str(options.search))
    search_run.run(lambda line: print(line, flush=True))
    print(f"wrote {folder / 'search.md'}")
    if not search_run.complete:
        print("no trial trained to its end: there is no best.yaml")
        return 1
    print(f"wrote {folder / 'best.yaml'}")
    return 0


def require_settings(search: Search) -> None:
    """Refuse searched settings that the recipe does not have or that it does not take."""
    for values in search.corners():
        settings_parser = fit.parser()
        settings = settings_parser.read(search.fit_options(values))
        settings_parser.construct(settings)
        reference = settings.data.reference
        if reference is not None and not Path(reference).is_file():
            raise StudyError(
                f"the recipe needs {reference}, which is not there: wildrobot reference"
            )


if __name__ == "__main__":
    # As for an interrupt, the training that runs saves a checkpoint.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(run(main))

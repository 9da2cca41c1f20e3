"""Whether a reference dataset is enough to train on: `python tools/analyze_reference.py DATASET`.

Exit code 0; with --gate 1 unless the decision is go; 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from envs.robot.model import load_robot
from envs.task.features import amp_layout
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.report.analysis import BATCH, analyse
from wildrobot_torch.reference.report.analysis_report import (
    analysis_json,
    analysis_markdown,
    verdict,
    write_analysis,
)


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="analyze_reference",
        description="Seconds by tier, coverage, features and diversity of a reference dataset, and "
        "whether to train on it: go, caution or stop.",
    )
    parser.add_argument("dataset", type=Path, help="file made by tools/make_reference.py (.npz)")
    parser.add_argument("--out", type=Path, help="folder for analysis.md, .json and pictures")
    parser.add_argument("--json", type=Path, help="file for the numbers as JSON")
    parser.add_argument(
        "--batch",
        type=int,
        default=BATCH,
        help="windows in the discriminator's minibatch (default: %(default)s)",
    )
    parser.add_argument("--gate", action="store_true", help="exit with 1 unless the decision is go")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the tool; nothing is written when it is 2."""
    options = parser().parse_args(arguments)
    try:
        robot = load_robot().robot
        dataset = ReferenceDataset.load(options.dataset, amp_layout(robot), robot.digest)
        found = analyse(dataset, options.batch)
        written = []
        if options.out is not None:
            written.append(write_analysis(found, options.out, f"Reference {options.dataset.name}"))
        if options.json is not None:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(analysis_json(found), encoding="utf-8")
            written.append(options.json)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if options.out is None:
        print(analysis_markdown(found))
    print(verdict(found))
    for path in written:
        print(f"wrote {path}")
    return 1 if options.gate and found.decision != "go" else 0


if __name__ == "__main__":
    sys.exit(main())

"""Can this reference be trained on? `python tools/verify_reference.py runs/reference/walking.npz`.

Exit code 0 when nothing failed (there may be warnings), 1 when a test did, 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch

from envs.robot.model import ROBOT_DIRECTORY, load_robot
from envs.task.features import amp_layout
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.verify.feasibility import STRETCHES
from wildrobot_torch.reference.verify.finding import as_json, markdown, passed
from wildrobot_torch.reference.verify.suite import verify


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="verify_reference",
        description="Run the whole test suite for reference motion on a dataset: features, "
        "physics, determinism, invariances, coverage, contacts, distribution, support, training.",
    )
    parser.add_argument("dataset", type=Path, help="file of reference motion, .npz")
    parser.add_argument(
        "--robot", type=Path, default=ROBOT_DIRECTORY, help="the robot's folder (default: ours)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default: 0)")
    parser.add_argument(
        "--stretches",
        type=int,
        default=STRETCHES,
        help="stretches of 12 control steps that are redone by inverse dynamics, for each kind of "
        f"support (default: {STRETCHES})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="file for the table, .md, with a .json beside it (default: <dataset>.verified.md)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the tool; nothing is written when it is 2."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        out = options.out or options.dataset.with_suffix(".verified.md")
        if out.suffix != ".md":
            raise ValueError(f"--out is {out}; the table is written as .md")
        loaded = load_robot(options.robot)
        robot = loaded.robot
        dataset = ReferenceDataset.load(options.dataset, amp_layout(robot), robot.digest)
        findings = verify(
            dataset, loaded, options.dataset, options.seed,
            options.stretches,
            progress=lambda name: print(f"testing {name}", file=sys.stderr, flush=True),
        )  # fmt: skip
        title = (
            f"{options.dataset.name}: {dataset.duration_s:.1f} s in {dataset.num_segments} segments"
        )
        table = markdown(findings, title)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(table, encoding="utf-8")
        out.with_suffix(".json").write_text(
            as_json(findings, dataset.content_hash), encoding="utf-8"
        )
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(table)
    print(f"wrote {out} and {out.with_suffix('.json')}")
    return 0 if passed(findings) else 1


if __name__ == "__main__":
    sys.exit(main())

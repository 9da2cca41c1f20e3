"""`wildrobot export`: write a checkpoint's policy as ONNX, or as a bundle that proves itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from envs.errors import UserError
from envs.robot.model import load_robot
from wildrobot_torch.deploy.bundle import write_bundle
from wildrobot_torch.deploy.export import export_onnx
from wildrobot_torch.evaluation.suites import load_suite


def main(options: argparse.Namespace) -> int:
    """0 when the file or the bundle was written."""
    if options.bundle is not None:
        return bundle(options)
    for name in ("report", "no_int8"):
        if getattr(options, name):
            raise UserError(f"--{name} goes with --bundle; give --bundle too, or leave it out")
    folder: Path = options.checkpoint.parent
    if folder.name == "checkpoints":
        folder = folder.parent
    out: Path = options.out or folder / "policy.onnx"
    robot = None if options.robot is None else load_robot(options.robot).robot
    difference = export_onnx(options.checkpoint, out, robot)
    print(
        f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB); onnxruntime and torch differ by at "
        f"most {difference:.1e}"
    )
    return 0


def bundle(options: argparse.Namespace) -> int:
    """0 when the bundle was written."""
    if options.out is not None:
        raise UserError("--out names an .onnx file and --bundle a bundle; give one of them")
    suite = None if options.no_int8 else load_suite("quick")
    made = write_bundle(
        options.checkpoint,
        options.bundle,
        options.report,
        suite,
        say=lambda line: print(line, flush=True),
        robot=options.robot,
    )
    print(f"wrote {options.bundle}; look at it with: wildrobot inspect {options.bundle}")
    if not options.no_int8 and "policy_int8.onnx" not in made.files:
        print("policy_int8.onnx was left out; MODEL_CARD.md says why")
    return 0

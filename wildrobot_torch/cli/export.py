"""`wildrobot export`: write a checkpoint's policy as ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path

from wildrobot_torch.deploy.export import export_onnx


def main(options: argparse.Namespace) -> int:
    """0 when the file was written."""
    folder: Path = options.checkpoint.parent
    if folder.name == "checkpoints":
        folder = folder.parent
    out: Path = options.out or folder / "policy.onnx"
    difference = export_onnx(options.checkpoint, out)
    print(
        f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB); onnxruntime and torch differ by at "
        f"most {difference:.1e}"
    )
    return 0

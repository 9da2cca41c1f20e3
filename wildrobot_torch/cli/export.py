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
    export = export_onnx(options.checkpoint, options.out or folder / "policy.onnx")
    print(
        f"wrote {export.path} ({export.size / 1e6:.2f} MB); onnxruntime and torch differ by at "
        f"most {export.max_difference:.1e} over {export.num_observations} observations"
    )
    return 0

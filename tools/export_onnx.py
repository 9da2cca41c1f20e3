"""Export a checkpoint's policy as ONNX: `python tools/export_onnx.py CHECKPOINT`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from jsonargparse import ArgumentParser

from wildrobot_torch.deploy.export import export_onnx


def parser() -> ArgumentParser:
    """The command line of this tool."""
    parser = ArgumentParser(
        prog="export_onnx",
        description="Write a checkpoint's policy as an ONNX file and compare it with torch.",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint of a training run (.ckpt)")
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="file to write; null for policy.onnx in the run's directory",
    )
    return parser


def default_out(checkpoint: Path) -> Path:
    """policy.onnx in the run directory of a checkpoint, or beside a checkpoint kept elsewhere."""
    folder = checkpoint.parent
    return (folder.parent if folder.name == "checkpoints" else folder) / "policy.onnx"


def main(arguments: list[str] | None = None) -> int:
    """0 when the file was written; 2, and nothing written, otherwise."""
    options = parser().parse_args(arguments)
    checkpoint = Path(options.checkpoint)
    out = default_out(checkpoint) if options.out is None else Path(options.out)
    try:
        export = export_onnx(checkpoint, out)
    except (ValueError, OSError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    print(
        f"wrote {export.path} ({export.size / 1e6:.2f} MB); onnxruntime and torch differ by at "
        f"most {export.max_difference:.1e} over {export.num_observations} observations"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

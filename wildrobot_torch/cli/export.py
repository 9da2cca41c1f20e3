"""`wildrobot export`: write a checkpoint's policy as ONNX."""

from __future__ import annotations

from pathlib import Path

from wildrobot_torch.cli.options import Parser
from wildrobot_torch.deploy.export import export_onnx


def main(words: list[str]) -> int:
    """0 when the file was written."""
    parser = Parser(
        "wildrobot export",
        "Write a checkpoint's policy as an ONNX file that agrees with torch.",
        "wildrobot export RUN/checkpoints/last.ckpt --out policy.onnx",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint of a training (.ckpt)")
    parser.add_argument(
        "--out", type=Path, help="file to write (default: policy.onnx in the run's folder)"
    )
    options = parser.parse_args(words)
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

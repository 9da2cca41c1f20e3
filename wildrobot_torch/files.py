"""Files: written whole or not at all, and read without running code in them."""

from __future__ import annotations

import json
import math
import os
import pickle
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from envs.errors import UserError

_PACKAGED = Path(__file__).parent / "configs"
CONFIGS = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1] / "configs"
"""Folder of the settings that ship with the project: in the wheel or in the checkout."""
WALKING_POLICY = Path(__file__).parent / "assets" / "walking.onnx"
"""Small trained policy that ships with the project; walking.txt beside it says how it was made."""


@contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` once the block has ended without an error.

    The parent folders are made. The file has the permissions that `open` would give it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(partial, 0o666 & ~umask)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def load_tensors(path: Path | str, what: str, remedy: str) -> dict[str, Any]:
    """Content of a file that `torch.save` wrote, with its tensors on the CPU.

    Only tensors and plain containers are read; code in the file never runs. Errors name the file
    by `what`, as in "model.warm_start", and end with the `remedy`.

    Raises:
        UserError: the file is absent, damaged, of another kind, or holds no dictionary.
    """
    import torch  # not at the top: `wildrobot --help` and `doctor` need this module without it

    path = Path(path)
    if not path.is_file():
        raise UserError(f"{what}: no file {path}; {remedy}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, KeyError, ValueError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        if isinstance(error, pickle.UnpicklingError):  # torch's words are about its own options
            reason = "it holds no tensors that torch saved"
        raise UserError(f"{what}: {path} cannot be read ({reason}); {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"{what}: {path} holds a {type(content).__name__}; {remedy}")
    return content


def finite(value: Any) -> Any:
    """The same containers with None for every number that is not finite, as JSON needs them."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(content: Any) -> str:
    """JSON text of plain containers; numbers that are not finite become null."""
    return json.dumps(finite(content), indent=1, allow_nan=False) + "\n"

"""Reading the earlier system's motion pickles without running what they say.

A pickle is a program: it may import any name and call it. The reader here resolves nothing but the
few names an array needs and refuses the file by the first other name.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from wildrobot_torch.motion.clip import ClipError

_ALLOWED = frozenset(
    f"numpy.{name}".replace("core", core)
    for core in ("core", "_core")  # of numpy 1 and 2
    for name in (
        *("ndarray", "dtype", "core.numeric._frombuffer"),
        *("core.multiarray._reconstruct", "core.multiarray.scalar"),
    )
)


def _encoded(text: str, encoding: str) -> bytes:
    """What protocols 0 to 2 write for bytes, in the one encoding they use for it."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ClipError(f"it encodes a {type(text).__name__} as {encoding!r}")
    return text.encode("latin-1")


# Harmless stand-ins for names that could do more; protocols 0 to 2 call bytes for no bytes.
_REPLACED = {"_codecs.encode": _encoded, "builtins.bytes": lambda: b""}


class _ArrayUnpickler(pickle.Unpickler):
    """Admits arrays, their types and scalars; plain containers and numbers need no name at all."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        # Pickles of Python 2 and of protocols 0 to 2 name the builtins by their old module.
        name = f"{module_name.replace('__builtin__', 'builtins')}.{global_name}"
        if name in _REPLACED:
            return _REPLACED[name]
        if name not in _ALLOWED:
            raise ClipError(f"it names {module_name}.{global_name}")
        return super().find_class(module_name, global_name)

    def persistent_load(self, pid: Any) -> Any:
        raise ClipError("it refers to objects outside the file")


def load_arrays(path: Path) -> dict[str, Any]:
    """The dictionary in a pickle of arrays, scalars, strings and plain containers.

    Raises:
        ClipError: it names any other class or function, is damaged, or holds no dictionary.
    """
    try:
        content = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except ClipError as error:
        may = "a motion pickle may hold numpy arrays, numbers, strings and plain containers only"
        raise ClipError(f"{path}: refused, {error}; {may}") from None
    except OSError as error:
        raise ClipError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ClipError(f"{path}: not a readable pickle ({reason}); export it again") from None
    if not isinstance(content, dict):
        needed = "needed: a dictionary with fps, root_pos, root_rot, dof_pos"
        raise ClipError(f"{path}: holds a {type(content).__name__}; {needed}")
    return content

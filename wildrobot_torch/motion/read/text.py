"""Text of motion files, whatever program wrote it."""

from __future__ import annotations

from pathlib import Path

from wildrobot_torch.motion.clip import ClipError


def read_text(path: Path) -> str:
    """A file's text: UTF-8 or, by its mark, UTF-16; what is neither becomes a replacement sign.

    Raises:
        ClipError: the system does not let it be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror}") from None
    return decoded(raw)


def decoded(raw: bytes) -> str:
    """The text in bytes of a file."""
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    return raw.decode("utf-16" if wide else "utf-8-sig", errors="replace")

"""Errors that programs report in one line: a user's mistake, and a run that cannot go on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: a setting, file or request that cannot be used.

    The message is one line: what is wrong, the value received, what is allowed, what to do.
    Programs print it without a traceback and exit with 2. Every exception that is neither this nor
    a `RunError` is a defect of ours and keeps its traceback.
    """


class RunError(RuntimeError):
    """A run that cannot go on, or whose numbers cannot be trusted, although its request was right.

    The message is one line. Programs print it without a traceback and exit with 1.
    """


def closest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the known name most like an unknown one; empty if none is."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""

"""Errors that programs report in one line: a user's mistake, and a run that cannot go on."""

from __future__ import annotations


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

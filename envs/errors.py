"""The family of errors that a user can mend."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input: a setting, file or request that cannot be used.

    The message is one line: what is wrong, the value received, what is allowed, what to do.
    Programs print it without a traceback and exit with 2. Every other exception is a defect of ours
    and keeps its traceback.
    """

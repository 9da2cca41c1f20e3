"""Studies: how long trainings take to walk, and what each setting of them is worth."""

from envs.errors import UserError


class StudyError(UserError):
    """A study that cannot be run, or files of one that cannot be read; the message is one line."""

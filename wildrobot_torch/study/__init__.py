"""Studies: how long trainings take to walk, and what each setting is worth."""

from envs.errors import RunError, UserError


class StudyError(UserError):
    """A study that cannot be run, or a file of one that cannot be read; the message is one line."""


class TrainingBroken(RunError):
    """A training or evaluation that was cut short; the same command resumes it."""

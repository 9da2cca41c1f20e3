"""Options that several verbs share."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterable
from typing import NoReturn

from wildrobot_torch.cli.main import fail

ENGINES = "engine: native, warp, warp-cpu or auto"
"""Help text of `--physics`; the names are those of `envs.physics.engines.ENGINE_NAMES`."""


class Parser(argparse.ArgumentParser):
    """A verb's or tool's options; a mistake is one line, with the name that may have been meant."""

    def __init__(self, prog: str, description: str, example: str = "") -> None:
        """`prog` is what the user types, `example` lines that follow the options in the help."""
        super().__init__(
            prog=prog,
            description=description,
            epilog=example and f"example:\n  {example}",
            allow_abbrev=False,
            formatter_class=_Formatter,
        )

    def error(self, message: str) -> NoReturn:
        """End with one line and exit code 2."""
        fail(with_hint(message, self._option_string_actions))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Names defaults, where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.default in (None, False, argparse.SUPPRESS) or action.default == []:
            return action.help or ""
        default = "%(default)s"
        if isinstance(action.default, list):
            default = " ".join(map(str, action.default))
        return f"{action.help} (default: {default})"


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}; allowed: 1 or more")
    return number


def within(low: float, high: float) -> Callable[[str], float]:
    """For argparse: a number from `low` to `high`."""

    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text}; allowed: {low:g} to {high:g}")
        return value

    return number


def with_hint(message: str, options: Iterable[str]) -> str:
    """The message, with the option that a misspelt one in it may stand for."""
    names = [option[2:] for option in options if option.startswith("--")]
    found = re.search(r"--([\w.]+)|[Oo]ption '([\w.]+)'", message)
    wrong = found and (found[1] or found[2])
    if not wrong or wrong in names:
        return message
    last = {name.rpartition(".")[2]: name for name in names}
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.75)
    if not close:
        ends = difflib.get_close_matches(wrong.rpartition(".")[2], last, n=1, cutoff=0.75)
        close = [last[end] for end in ends]
    return f"{message}; did you mean --{close[0]}?" if close else message

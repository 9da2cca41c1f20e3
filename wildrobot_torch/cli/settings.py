"""Settings of the verbs that have many: files that are merged, dotted names, errors of one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

import jsonargparse

from envs.errors import UserError
from envs.yaml_files import make_configs_strict
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.cli.options import fail, one_line, with_hint
from wildrobot_torch.files import CONFIGS

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "NoneType": "null",
}
"""What Python's types are called in errors."""
_SIGNS = {"v>=": "at least ", "v<=": "at most ", "v>": "above ", "v<": "below "}


make_configs_strict()


class SettingsParser(jsonargparse.ArgumentParser):
    """Reads `--config` files and dotted options; a mistake is one line and exit code 2."""

    @classmethod
    def of(cls, verb: str) -> SettingsParser:
        """Parser of a verb, with the option `--config`."""
        # Without abbreviations: a misspelt name must not set the setting that it is a prefix of.
        parser = cls(prog=f"wildrobot {verb}", allow_abbrev=False)
        parser.add_argument(
            "--config", action="config", help="file of settings; later ones win over earlier ones"
        )
        return parser

    def read(self, words: Sequence[str]) -> jsonargparse.Namespace:
        """The settings that the words ask for; `--help_all` prints all there are, and ends."""
        words = ["--help" if word == "--help_all" else word for word in words]
        return self.parse_args(named_configs(words))

    def construct(self, settings: jsonargparse.Namespace) -> jsonargparse.Namespace:
        """The objects that the settings describe; UserError where one refuses its values."""
        try:
            return self.instantiate(settings)
        except ValueError as error:
            raise UserError(str(error)) from error

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with one line and exit code 2."""
        if not self.exit_on_error:  # of a group within another parser, which reports it
            super().error(message, ex)
        names = [text for action in self._actions for text in action.option_strings]
        # A group that may be null is one option to the parser; its fields are named here.
        names += [f"--model.amp.{field.name}" for field in fields(AMPConfig)]
        fail(with_hint(readable(message), names))


def named_configs(words: Sequence[str]) -> list[str]:
    """The words, with `--config walking` as the path of the shipped file walking.yaml."""
    paths, after_config = [], False
    for word in words:
        option, equals, name = word.partition("=")
        if after_config or (option == "--config" and equals):
            name = word if after_config else name
            shipped = CONFIGS / f"{name}.yaml"
            if not Path(name).is_file() and shipped.is_file():
                word = f"{option}={shipped}" if not after_config else str(shipped)
        paths.append(word)
        after_config = word == "--config"
    return paths


def readable(message: str) -> str:
    """A parser's message in one line; one about a value as `NAME is VALUE; allowed: ...`."""
    text = one_line(message) or "the command line cannot be read"
    about = re.match(r'Parser key "([\w.]+)":? (.*)', text)
    if about is None:
        # A group that may be null, refused by its own check: what that check says.
        own = re.match(r"Does not validate against .*? Errors: - (.*?) - Expected a ", text)
        return own[1] if own else text
    name, reason = about.groups()
    if unknown := re.search(r"Option '([\w.]+)' is not accepted", reason):
        return f"{name}: option '{unknown[1]}' is not accepted"
    value = re.search(
        r"(?:Got|.*Given) value:(.*)|Not of type \w+: (\S+) does not|base 10: (.*)|to float: (.*)",
        reason,
    )
    allowed: list[str] = []
    for kind, choices, restricted, rule, group in re.findall(
        r"Expected a (?:<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.*?)\])"
        r"|Not of type (\w+):(?:(?:(?!- ).)*?restriction (\S+(?: (?:and|or) \S+)*))?"
        r"|(Expected a dot import path|Unexpected import path)",
        reason,
    ):
        words = re.sub("(?<=[a-z])(?=[A-Z])", " ", restricted).lower()
        for sign, meaning in _SIGNS.items():
            rule = rule.replace(sign, meaning)
        words = "a group of settings" if group else words
        allowed.append(KINDS.get(kind, kind) or choices or rule or words)
    if value is None or not allowed:
        return f"{name}: {reason}"
    given = next(filter(None, value.groups()), "").strip() or "''"
    if nested := re.fullmatch(r"NestedArg\(key='(.*)', val=(.*)\)", given):
        name, given = f"{name}.{nested[1]}", nested[2]
        allowed = [words for words in allowed if words != "null"]
    return f"{name} is {given}; allowed: {' or '.join(dict.fromkeys(allowed))}"

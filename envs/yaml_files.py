"""YAML files, read strictly: a key given twice is an error, as is a value of another type."""

from __future__ import annotations

from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from jsonargparse import ArgumentError, ArgumentParser, get_loader, set_loader

from envs.errors import UserError

T = TypeVar("T")


class _StrictLoader(yaml.SafeLoader):
    """Loads plain values only, and refuses a mapping that has a key twice."""

    def get_single_node(self) -> yaml.Node | None:
        """The document's tree, after its keys were checked."""
        node = super().get_single_node()
        _refuse_repeated_keys(node)
        return node


def read_yaml(path: Path | str, error: type[UserError] = UserError) -> Any:
    """Plain values in the YAML file `path`.

    Args:
        path: the file.
        error: the class of error to raise.

    Raises:
        UserError: no such file, no YAML, or a key given twice; one line with the place in the file.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as failure:
        raise error(f"{path}: cannot be read: {failure.strerror}") from failure
    except (yaml.YAMLError, UnicodeDecodeError) as failure:
        problem, mark = getattr(failure, "problem", None), getattr(failure, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        reason = " ".join(str(problem or failure).split())
        raise error(f"{path}: cannot be read as YAML: {reason}{place}") from failure


def from_mapping(kind: type[T], content: Any, where: str, error: type[UserError] = UserError) -> T:
    """An instance of the dataclass `kind` whose fields are the entries of `content`.

    The fields' types are checked, jsonargparse's restricted types included.

    Args:
        kind: the dataclass.
        content: what a file holds at this place.
        where: file and place, for the message.
        error: the class of error to raise.

    Raises:
        UserError: `content` is no mapping, or has an unknown, missing or wrong entry.
    """
    if not isinstance(content, dict):
        raise error(f"{where} is {content!r}; give names with values")
    known = {field.name: field for field in fields(cast(Any, kind))}
    for key, value in content.items():
        if key not in known:
            raise error(f"{where}: unknown key {key!r}; allowed: {', '.join(known)}")
        if isinstance(value, dict) and not all(isinstance(name, str) for name in value):
            raise error(f"{where}: {key} is {value!r}; names must be text")
    for key, field in known.items():
        if key not in content and field.default is MISSING and field.default_factory is MISSING:
            raise error(f"{where}: key {key!r} is missing")
    parser = _parser(kind)
    try:
        return parser.instantiate(parser.parse_object({"entry": content})).entry
    except (ArgumentError, ValueError) as failure:
        reason = " ".join(str(failure).split()).replace("entry.", "")
        reason = reason.replace("Group 'entry' does not accept option", "unknown key")
        raise error(f"{where}: {reason}") from failure


@cache
def _parser(kind: type) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "entry")
    return parser


def make_configs_strict() -> None:
    """Let jsonargparse refuse configuration files in which a key is given twice, from now on."""
    usual = get_loader("yaml")

    def strict(text: str) -> Any:
        yaml.compose(text, Loader=_StrictLoader)
        return usual(text)

    set_loader("yaml", strict, (yaml.YAMLError,))


def _refuse_repeated_keys(root: yaml.Node | None) -> None:
    pending, seen = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            found = set()
            for key, value in node.value:
                name = (key.tag, str(key.value))
                if name in found:
                    raise yaml.MarkedYAMLError(
                        problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark
                    )
                found.add(name)
                pending += [key, value]

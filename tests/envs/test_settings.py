from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from jsonargparse import ArgumentParser

from envs.errors import UserError
from envs.settings import NonNegativeFloat, PositiveInt, ShareBelowOne, check


@dataclass(frozen=True, kw_only=True)
class Example:
    count: PositiveInt = 1
    limit: NonNegativeFloat | None = None
    share: ShareBelowOne = 0.0
    widths: tuple[PositiveInt, ...] = (8, 8)
    span: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    mode: Literal["a", "b"] = "a"
    flag: bool = False

    def __post_init__(self) -> None:
        check(self)


GOOD = [
    {},
    {"count": 3, "limit": 0.0, "share": 0.99, "widths": (1,), "span": (0.0, 1.0), "mode": "b"},
    {"limit": None, "widths": (), "flag": True},
]
BAD = [
    ("count", 0),
    ("count", 1.5),
    ("count", True),
    ("limit", -0.1),
    ("limit", float("nan")),
    ("share", 1.0),
    ("widths", (4, 0)),
    ("span", (0.0, -1.0)),
    ("mode", "c"),
]


@pytest.mark.parametrize("values", GOOD)
def test_values_in_range_pass(values: dict[str, Any]) -> None:
    example = Example(**values)
    assert {name: getattr(example, name) for name in values} == values
    assert example.flag is values.get("flag", False)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_values_out_of_range_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"^Example\.{name}: "):
        Example(**{name: value})


@pytest.mark.parametrize(("name", "value"), BAD)
def test_the_parser_refuses_the_same_values(name: str, value: Any) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Example, "example")
    with pytest.raises(Exception, match=rf"example\.{name}"):
        parser.parse_object({"example": {name: value}})


def test_parsed_numbers_are_plain_ones() -> None:
    # A checkpoint holds settings, and its safe reader knows plain types only.
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Example, "example")
    parsed = parser.parse_args(["--example.count=3", "--example.share=0.5", "--example.widths=[2]"])
    example = parser.instantiate(parsed).example
    assert type(example.count) is int
    assert type(example.share) is float
    assert type(example.widths[0]) is int

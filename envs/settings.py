"""Ranges of settings: number types for annotations, and the check that holds a config to them.

A config dataclass states the range of a field in its annotation and nowhere else:

    @dataclass(frozen=True, kw_only=True)
    class ExampleConfig:
        duration_s: PositiveFloat = 10.0
        \"\"\"Length of an episode [s].\"\"\"

        def __post_init__(self) -> None:
            check(self)

The parser of the command line reads the same annotations, so a bad value is refused with the name
of its option. `check` protects the direct construction in Python.
"""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from envs.errors import UserError

if TYPE_CHECKING:
    PositiveInt = int
    NonNegativeInt = int
    PositiveFloat = float
    NonNegativeFloat = float
    ClosedUnitInterval = float
    OpenUnitInterval = float
    ShareBelowOne = float
else:
    from jsonargparse.typing import (
        ClosedUnitInterval,
        NonNegativeFloat,
        NonNegativeInt,
        OpenUnitInterval,
        PositiveFloat,
        PositiveInt,
        restricted_number_type,
    )

    ShareBelowOne = restricted_number_type("ShareBelowOne", float, [(">=", 0), ("<", 1)])

__all__ = [
    "ClosedUnitInterval",
    "NonNegativeFloat",
    "NonNegativeInt",
    "OpenUnitInterval",
    "PositiveFloat",
    "PositiveInt",
    "ShareBelowOne",
    "check",
]


def check(config: Any) -> None:
    """Refuse a config dataclass with a value outside the range that its annotation states.

    Looks at numbers, choices (`Literal`), tuples of them, and each of these or None. Values of
    other types are left to the parser. Numbers become plain `int` and `float`, which the safe
    reader of checkpoints knows.

    Raises:
        UserError: names class, field, value and what is allowed.
    """
    for name, hint in _hints(type(config)).items():
        value = getattr(config, name)
        try:
            plain = _plain(value, hint)
        except (TypeError, ValueError) as error:
            raise UserError(f"{type(config).__name__}.{name}: {error}") from error
        object.__setattr__(config, name, plain)


@cache
def _hints(config: type) -> dict[str, Any]:
    return get_type_hints(config)


def _plain(value: Any, hint: Any) -> Any:
    """The value, with plain numbers; a ValueError where it does not fit the type."""
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        # The one type beside None.
        return None if value is None else _plain(value, arguments[0])
    if kind is Literal and value not in arguments:
        raise ValueError(f"{value!r} is not one of {', '.join(map(str, arguments))}")
    if kind is tuple:
        each = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_plain(item, part) for item, part in zip(value, each, strict=True))
    if isinstance(hint, type) and hint.__base__ in (int, float) and hint is not bool:
        # The number types of jsonargparse are subclasses that refuse in their constructor.
        return hint.__base__(hint(value))
    return value

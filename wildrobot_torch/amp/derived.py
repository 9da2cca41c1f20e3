"""Fields that a discriminator may see besides those of a frame; each is computed from windows.

A new one is a function here with `derived_field`, and its name in `amp.features`. Reference and
policy go through the same function, and a field that no setting names costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.layout import Field, Layout

MIN_SPEED = 0.1
"""A root that is slower goes in no direction [m/s]."""
MAX_SPEED = 1.5
"""Largest component of a clipped velocity [m/s]."""
NEAR_GROUND = 0.02
"""Height of a foot at which its speed near the ground counts 1/e [m]."""

DerivedFunction = Callable[[Mapping[str, Tensor], float], Tensor]


@dataclass(frozen=True)
class DerivedField:
    """One field, and how to compute it."""

    field: Field
    function: DerivedFunction
    """From a frame's fields (..., K, n) of windows and the time between frames [s] to values
    (..., K, m)."""
    needs_past: bool
    """Whether it is a change between frames."""


DERIVED: dict[str, DerivedField] = {}
"""Name -> field."""


def derived_field(
    size: int, unit: str, frame: str, mirror: str, needs_past: bool = False
) -> Callable[[DerivedFunction], DerivedFunction]:
    """Register a function as the field of its name; its docstring is the field's meaning.

    Arguments as those of `Field` and `DerivedField`.
    """

    def register(function: DerivedFunction) -> DerivedFunction:
        name = function.__name__
        if name in DERIVED:
            raise ValueError(f"there is a derived field {name!r} already")
        meaning = " ".join((function.__doc__ or "").split())
        field = Field(name, size, unit, frame, meaning, mirror)
        DERIVED[name] = DerivedField(field, function, needs_past)
        return function

    return register


@derived_field(3, "1", "heading", "polar")
def linvel_direction(fields: Mapping[str, Tensor], dt: float) -> Tensor:
    """Direction of the root's velocity, a unit vector; 0 below 0.1 m/s."""
    velocity = fields["linvel"]
    speed = velocity.norm(dim=-1, keepdim=True)
    return velocity / speed.clamp(min=MIN_SPEED) * (speed >= MIN_SPEED)


@derived_field(3, "m/s", "heading", "polar")
def linvel_clipped(fields: Mapping[str, Tensor], dt: float) -> Tensor:
    """Root velocity, each component within 1.5 m/s."""
    return fields["linvel"].clamp(-MAX_SPEED, MAX_SPEED)


@derived_field(2, "m", "foot", "feet")
def foot_height(fields: Mapping[str, Tensor], dt: float) -> Tensor:
    """Sole centre over the floor."""
    return fields["height"] + _soles(fields)[..., 2]


@derived_field(2, "m/s", "foot", "feet", needs_past=True)
def foot_vel_z(fields: Mapping[str, Tensor], dt: float) -> Tensor:
    """Vertical velocity of the sole centre since the frame before."""
    return _change(foot_height(fields, dt)) / dt


@derived_field(2, "m/s", "foot", "feet", needs_past=True)
def foot_speed_near_ground(fields: Mapping[str, Tensor], dt: float) -> Tensor:
    """Horizontal speed of the sole centre, times exp(-(height / 2 cm)^2)."""
    soles, velocity = _soles(fields)[..., :2], fields["linvel"][..., None, :2]
    # The heading turns about the vertical, which is opposite to gravity.
    turn = -(fields["gravity"] * fields["angvel"]).sum(-1)[..., None, None]
    across = torch.stack([-soles[..., 1], soles[..., 0]], dim=-1)
    speed = (velocity + turn * across + _change(soles, dim=-3) / dt).norm(dim=-1)
    near = torch.exp(-(foot_height(fields, dt).clamp(min=0.0) / NEAR_GROUND).square())
    return speed * near


def _soles(fields: Mapping[str, Tensor]) -> Tensor:
    """Sole centres (..., K, 2, 3) [m], relative to the root, in the heading frame."""
    return fields["sole_pos"].unflatten(-1, (2, 3))


def _change(values: Tensor, dim: int = -2) -> Tensor:
    """What changes from frame to frame along `dim`; the first frame has the change of the second.

    A window does not say what was before it.
    """
    change = values.diff(dim=dim)
    return torch.cat([change.narrow(dim, 0, 1), change], dim=dim)


@dataclass(frozen=True)
class Derivation:
    """Frames of a layout with derived fields of these names behind their own."""

    frame: Layout
    names: tuple[str, ...]
    dt: float
    """Time between frames [s]."""

    @classmethod
    def of(cls, frame: Layout, seen: Iterable[str], dt: float) -> Derivation:
        """With those of the fields `seen` that are derived."""
        return cls(frame, tuple(name for name in seen if name in DERIVED), dt)

    @property
    def layout(self) -> Layout:
        """What a frame has with them."""
        derived = (DERIVED[name].field for name in self.names)
        return Layout(self.frame.name, (*self.frame.fields, *derived))

    def __call__(self, windows: Tensor) -> Tensor:
        """Windows (..., K, F) with them (..., K, F + D)."""
        if not self.names:
            return windows
        fields = self.frame.unpack(windows)
        derived = [DERIVED[name].function(fields, self.dt) for name in self.names]
        return torch.cat([windows, *derived], dim=-1)

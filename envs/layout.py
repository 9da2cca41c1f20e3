"""Layouts: what each slice of a vector means, in which unit and frame.

A layout is the contract between environment, dataset, checkpoint and exported policy. Its digest is
its version: files carry it, and readers refuse a file with another digest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from envs.errors import UserError


@dataclass(frozen=True)
class Field:
    """One named block of a vector."""

    name: str
    size: int
    unit: str
    frame: str
    meaning: str
    mirror: str = ""
    """Rule for what the mirrored robot has, see `envs.robot.symmetry.MIRRORS`; "" for none."""


class LayoutMismatch(UserError):
    """A file was made for another layout; the message lists the fields that differ."""


@dataclass(frozen=True)
class Layout:
    """An ordered sequence of fields, packed without gaps."""

    name: str
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise ValueError(f"layout {self.name!r}: field names repeat: {names}")

    @property
    def size(self) -> int:
        """Length of the packed vector."""
        return sum(field.size for field in self.fields)

    @property
    def slices(self) -> dict[str, slice]:
        """Field name -> slice of the packed vector."""
        slices, start = {}, 0
        for field in self.fields:
            slices[field.name] = slice(start, start + field.size)
            start += field.size
        return slices

    @property
    def digest(self) -> str:
        """16 hex digits over names, sizes, units and frames (not the wording of the meanings)."""
        content = [(f.name, f.size, f.unit, f.frame) for f in self.fields]
        return hashlib.sha256(json.dumps([self.name, content]).encode()).hexdigest()[:16]

    def pack(self, **blocks: Tensor) -> Tensor:
        """Fresh tensor (..., size) of all blocks in order; each block is (..., field.size).

        Raises:
            ValueError: a block is missing, unknown, or of another size.
        """
        if blocks.keys() != {field.name for field in self.fields}:
            missing = [f.name for f in self.fields if f.name not in blocks]
            unknown = sorted(blocks.keys() - {f.name for f in self.fields})
            raise ValueError(f"layout {self.name!r}: missing {missing}, unknown {unknown}")
        for field in self.fields:
            if blocks[field.name].shape[-1] != field.size:
                raise ValueError(
                    f"layout {self.name!r}: {field.name} has {blocks[field.name].shape[-1]} "
                    f"values, expected {field.size}"
                )
        return torch.cat([blocks[field.name] for field in self.fields], dim=-1)

    def unpack(self, vector: Tensor) -> dict[str, Tensor]:
        """Views (..., field.size) of a packed vector (..., size), by field name."""
        if vector.shape[-1] != self.size:
            raise ValueError(f"layout {self.name!r} has {self.size} values, got {vector.shape[-1]}")
        return {name: vector[..., where] for name, where in self.slices.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain containers for JSON, including the digest."""
        return {
            "name": self.name,
            "digest": self.digest,
            "fields": [asdict(field) for field in self.fields],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Layout:
        """Inverse of `to_dict`."""
        return cls(data["name"], tuple(Field(**field) for field in data["fields"]))

    def difference(self, other: Layout) -> list[str]:
        """One line for each field that differs between this layout and `other`."""
        mine = {f.name: (f, self.slices[f.name]) for f in self.fields}
        theirs = {f.name: (f, other.slices[f.name]) for f in other.fields}
        lines = []
        for name in dict.fromkeys([*mine, *theirs]):
            if name not in theirs:
                lines.append(f"{name}: only in {self.name!r}")
            elif name not in mine:
                lines.append(f"{name}: only in the other {other.name!r}")
            else:
                (a, where_a), (b, where_b) = mine[name], theirs[name]
                here = (where_a.start, a.size, a.unit, a.frame)
                there = (where_b.start, b.size, b.unit, b.frame)
                if here != there:
                    lines.append(f"{name}: (start, size, unit, frame) {here} here, {there} there")
        return lines

    def require(self, other: Layout, what: str) -> None:
        """Refuse `other` unless its digest equals this layout's.

        Args:
            other: the layout found in a file.
            what: names the file in the message.

        Raises:
            LayoutMismatch: with a field-by-field difference.
        """
        if other.digest != self.digest:
            difference = "; ".join(self.difference(other)) or f"name {other.name!r}"
            raise LayoutMismatch(
                f"{what} was made for layout {other.name!r} {other.digest}, this code has "
                f"{self.name!r} {self.digest}: {difference}"
            )

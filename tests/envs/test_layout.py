"""Tests of envs.layout: packing, digest, refusal with a difference."""

from __future__ import annotations

import pytest
import torch

from envs.layout import Field, Layout, LayoutMismatch

A = Field("a", 2, "m", "world", "first")
B = Field("b", 1, "rad", "joint", "second")


def test_pack_puts_fields_in_order_and_unpack_gets_them_back() -> None:
    layout = Layout("x", (A, B))
    vector = layout.pack(b=torch.tensor([[3.0]]), a=torch.tensor([[1.0, 2.0]]))
    assert vector.tolist() == [[1.0, 2.0, 3.0]]
    assert layout.slices == {"a": slice(0, 2), "b": slice(2, 3)}
    assert layout.unpack(vector)["b"].tolist() == [[3.0]]


def test_packed_vector_does_not_alias_its_blocks() -> None:
    block = torch.ones(1, 2)
    vector = Layout("x", (A,)).pack(a=block)
    block.zero_()
    assert vector.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    "blocks",
    [{"a": 2}, {"a": 2, "b": 1, "c": 1}, {"a": 3, "b": 1}],
    ids=["missing", "more", "size"],
)
def test_pack_refuses_other_blocks(blocks: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="layout 'x'"):
        Layout("x", (A, B)).pack(**{name: torch.zeros(1, size) for name, size in blocks.items()})


def test_names_must_differ() -> None:
    with pytest.raises(ValueError, match="repeat"):
        Layout("x", (A, A))


def test_digest_follows_content_not_wording() -> None:
    layout = Layout("x", (A, B))
    reworded = Layout("x", (Field("a", 2, "m", "world", "other words"), B))
    assert layout.digest == reworded.digest == Layout.from_dict(layout.to_dict()).digest
    for other in (
        Layout("x", (B, A)),
        Layout("x", (Field("a", 2, "m", "body", "first"), B)),
        Layout("x", (Field("a", 2, "mm", "world", "first"), B)),
        Layout("x", (Field("a", 3, "m", "world", "first"), B)),
    ):
        assert other.digest != layout.digest


def test_require_names_each_field_that_differs() -> None:
    layout = Layout("x", (A, B))
    other = Layout("x", (Field("a", 2, "m", "body", "first"), Field("c", 1, "1", "none", "third")))
    with pytest.raises(LayoutMismatch) as refusal:
        layout.require(other, "dataset d.npz")
    message = str(refusal.value)
    assert "dataset d.npz" in message and "\n" not in message
    assert "a: " in message and "b: only in" in message and "c: only in" in message
    layout.require(Layout("x", (A, B)), "dataset d.npz")

"""Reference is judged on the toy robot's walk."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from envs.recording import Recording


@pytest.fixture
def walking(toy_walk: Callable[..., Recording]) -> Callable[..., Recording]:
    """`toy_walk`."""
    return toy_walk

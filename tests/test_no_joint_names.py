"""No line of code names a joint: robots are known by their description and their geometry alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from envs.robot.chain import Kind

ROOT = Path(__file__).parents[1]
PARTS = "hip|knee|ankle|waist|shoulder|elbow|neck|wrist"
NAMED = re.compile(
    rf"(^|[^a-z])(left|right|l|r)_?({PARTS})([^a-z]|$)|(^|[^a-z])({PARTS})_(pitch|roll|yaw)"
    rf"|(^|[^a-z])(left|right)_$",
    re.IGNORECASE,
)
"""A joint's name as people give it, or what a name is put together from."""
HUMANS = ("wildrobot_torch/motion/read/", "wildrobot_torch/motion/retarget/")
"""Joints of captured people, whose roles have such names."""


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string but docstrings and the strings under definitions."""
    said = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.lineno, node.value


def test_no_joint_is_named_in_code() -> None:
    kinds, found = set(get_args(Kind)), []
    for package in ("envs", "wildrobot_torch"):
        for path in sorted((ROOT / package).rglob("*.py")):
            where = path.relative_to(ROOT).as_posix()
            if where.startswith(HUMANS):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [
                f"{where}:{line}: {text[:60]!r}"
                for line, text in literals(tree)
                if text not in kinds and NAMED.search(text)
            ]
    assert found == []


def test_the_search_finds_names() -> None:
    for name in ("left_hip_pitch", "RightKnee", "l_ankle_roll", "hip_yaw", "left_", "r_elbow"):
        assert NAMED.search(name), name
    for other in ("ship_pitch", "left_foot", "knee", "the left hip's axis", "ankles", "full_range"):
        assert not NAMED.search(other), other

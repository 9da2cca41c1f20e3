"""Rules the source tree keeps; import contracts are in pyproject.toml, lint-imports runs them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml

from wildrobot_torch.cli.fit import RunConfig, TrainerConfig
from wildrobot_torch.cli.main import main as wildrobot
from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.evaluation.suites import load_suite
from wildrobot_torch.reference.generate import ReferenceConfig
from wildrobot_torch.reference.judge.gates import load_gates
from wildrobot_torch.study.plan import load_study
from wildrobot_torch.study.search import load_search
from wildrobot_torch.training.data import RolloutData
from wildrobot_torch.training.module import WalkingModule

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path.relative_to(ROOT)
    for folder in ("envs", "wildrobot_torch", "tools")
    for path in (ROOT / folder).rglob("*.py")
)
TEXTS = sorted(
    path.relative_to(ROOT)
    for pattern in (
        "*.py",
        "*.md",
        "*.yaml",
        "*.xml",
        "*.ipynb",
        "*.toml",
        "*.txt",
        "Makefile",
        "run",
    )
    for folder in (
        *("", ".ci", "configs", "docs", "envs", "notebooks", "tests", "tools"),
        "wildrobot_torch",
    )
    for path in ((ROOT / folder).rglob(pattern) if folder else ROOT.glob(pattern))
)
CONFIGS = sorted(path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml"))


def test_modules_are_named_by_what_they_hold() -> None:
    empty = {"utils", "util", "helpers", "common", "misc"}
    assert [str(path) for path in SOURCES if set(path.stem.split("_")) & empty] == []


def test_nothing_is_unfinished_or_bound_to_a_machine() -> None:
    # In pieces, so that this file passes too.
    words = [rf"\b{word}\b" for word in ("TO" + "DO", "FIX" + "ME", "X" + "XX")]
    words += [rf"(?<![\w.])/{name}/" for name in ("work", "root", "home", "tmp", "Users")]
    found = {
        str(path): re.findall("|".join(words), (ROOT / path).read_text(encoding="utf-8"))
        for path in TEXTS
    }
    assert {path: words for path, words in found.items() if words} == {}


MOST_SETTINGS = 238


def _hints(group: type) -> dict[str, Any]:
    """Type of each setting of a config dataclass, or of a class that the parser makes."""
    found = get_type_hints(group if is_dataclass(group) else group.__init__)
    return {name: hint for name, hint in found.items() if name != "return"}


def test_settings_are_few() -> None:
    # A config that two settings share, such as the shape of a walk, counts once.
    groups: dict[type, None] = {}
    pending: list[type] = [RunConfig, TrainerConfig, RolloutData, WalkingModule, ReferenceConfig]
    count = 0
    while pending:
        group = pending.pop()
        if group in groups:
            continue
        groups[group] = None
        for hint in _hints(group).values():
            inner = [part for part in (hint, *get_args(hint)) if is_dataclass(part)]
            pending += inner
            count += not inner
    assert count <= MOST_SETTINGS, f"{count} settings"


def _settings_of(verb: str) -> Callable[[Path], object]:
    def read(path: Path) -> None:
        if wildrobot([verb, "--config", str(path), "--print_config"]) != 0:
            raise ValueError(f"{path} is refused")

    return read


def _reader(path: Path) -> Callable[[Path], object]:
    if path.parent.name == "evaluation":
        return load_scenario
    if path.parent.name == "suites":
        return load_suite
    if path.parent.name == "study":
        return load_search if path.stem == "search" else load_study
    return load_gates if path.stem == "gates" else _settings_of("fit")


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_configs_are_read_and_unknown_keys_refused(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read = _reader(path)
    read(ROOT / path)
    content = yaml.safe_load((ROOT / path).read_text())
    changed = (
        [entry | {"unknown_key": 1} for entry in content]
        if isinstance(content, list)
        else (content | {"unknown_key": 1})
    )
    other = tmp_path / path.name
    other.write_text(yaml.safe_dump(changed))
    with pytest.raises(ValueError):
        read(other)
    capsys.readouterr()

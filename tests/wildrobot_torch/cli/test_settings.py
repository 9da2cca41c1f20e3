"""wildrobot_torch.cli.settings: names of shipped files, errors of one line, options that exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.cli import fit, reference
from wildrobot_torch.cli.settings import named_configs, readable
from wildrobot_torch.files import CONFIGS
from wildrobot_torch.ppo.config import GammaRamp
from wildrobot_torch.training.difficulty import DifficultyConfig

ROOT = Path(__file__).parents[3]
TIERS = "--data.reference_tiers."
"""What begins the option of a single tier."""


def test_names_of_shipped_files_are_read_where_no_file_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gpu").touch()
    words = ["--config", "walking", "--config=demo", "--config", "gpu", "--seed", "walking"]
    walking, demo = CONFIGS / "walking.yaml", CONFIGS / "demo.yaml"
    assert named_configs(words) == [
        *("--config", str(walking), f"--config={demo}", "--config", "gpu", "--seed", "walking")
    ]


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            "Parser key \"a.b\":\n  Expected a <class 'float'>. Got value: x",
            "a.b is x; allowed: a number",
        ),
        (
            "Parser key \"n\":\n  Not of type PositiveInt: 0 does not conform to restriction v>0",
            "n is 0; allowed: above 0",
        ),
        (
            'Parser key "n":\n  Does not validate against any of the Union subtypes\n'
            "  Subtypes: [<class 'int'>, <class 'NoneType'>]\n  Errors:\n"
            "    - Expected a <class 'int'>\n    - Expected a <class 'NoneType'>\n"
            "  Given value type: <class 'str'>\n  Given value: all",
            "n is all; allowed: a whole number or null",
        ),
        ("argument --n: expected one argument", "argument --n: expected one argument"),
    ],
)  # fmt: skip
def test_the_parsers_messages_become_one_plain_line(message: str, line: str) -> None:
    assert readable(message) == line


def test_messages_comments_and_docs_name_only_options_that_exist() -> None:
    known = {
        text
        for parser in (fit.parser(), reference.parser())
        for action in parser._actions
        for text in action.option_strings
    }
    # Of what is null unless a config sets it.
    for name, settings in (
        ("model.amp", AMPConfig),
        ("model.gamma_ramp", GammaRamp),
        ("data.difficulty", DifficultyConfig),
    ):
        known |= {f"--{name}.{field.name}" for field in fields(settings)}
    files = [
        *(path for folder in ("envs", "wildrobot_torch", "tools", "configs", "docs")
          for pattern in ("*.py", "*.yaml", "*.md") for path in (ROOT / folder).rglob(pattern)),
        ROOT / "README.md", ROOT / "Makefile",
    ]  # fmt: skip
    unknown = {}
    for path in files:
        if path.name == "adding.md":  # it shows how to add what is not there
            continue
        named = re.findall(r"(?<![\w-])--[a-z_]+\.[a-z_][\w.]*\w", path.read_text(encoding="utf-8"))
        wrong = [name for name in named if name not in known and not name.startswith(TIERS)]
        if wrong:
            unknown[str(path.relative_to(ROOT))] = wrong
    assert unknown == {}

"""YAML files: keys given twice, files that cannot be read, entries of another type."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jsonargparse
import pytest

from envs.errors import UserError
from envs.yaml_files import from_mapping, make_configs_strict, read_yaml


class OtherError(UserError):
    pass


def test_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\nb: {c: [x, 2.5, true]}\nbase: &base {q: 1}\nd: {<<: *base, q: 3}\n")
    expected = {"a": 1, "b": {"c": ["x", 2.5, True]}, "base": {"q": 1}, "d": {"q": 3}}
    assert read_yaml(path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: 2\na: 1\n", "key 'a' is given twice in line 3"),
        ("a: 1\n'a': 2\n", "key 'a' is given twice in line 2"),
        ("- x\n- {b: {c: 1, c: 2}}\n", "key 'c' is given twice in line 2"),
        ("a: [1,\n", "cannot be read as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
        ("a: \xff", "cannot be read as YAML"),
        (None, "No such file"),
    ],
)
def test_refused_files(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    if content is not None:
        path.write_text(content, encoding="latin-1")
    with pytest.raises(OtherError) as caught:
        read_yaml(path, OtherError)
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cycle_of_aliases_ends(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &a [*a]\n")
    assert isinstance(read_yaml(tmp_path / "a.yaml")["a"], list)


@dataclass(frozen=True)
class Foot:
    body: str
    sign: Literal[-1, 1]
    length: float = 0.1
    plates: dict[str, str] = field(default_factory=dict)


def test_dataclass_from_a_mapping() -> None:
    assert from_mapping(Foot, {"body": "a", "sign": -1}, "x") == Foot("a", -1)
    foot = from_mapping(Foot, {"body": "a", "sign": 1, "length": 2, "plates": {"p": "q"}}, "x")
    assert foot == Foot("a", 1, 2.0, {"p": "q"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["body"], "give names with values"),
        ({"body": "a"}, "key 'sign' is missing"),
        ({"body": "a", "sign": 1, "colour": 2}, "unknown key 'colour'; allowed: body, sign"),
        ({"body": "a", "sign": 1, 5: 2}, "unknown key 5"),
        ({"body": 7, "sign": 1}, "body"),
        ({"body": "a", "sign": 0}, "sign"),
        ({"body": "a", "sign": 1, "length": "long"}, "length"),
        ({"body": "a", "sign": 1, "length": True}, "length"),
        ({"body": "a", "sign": 1, "plates": {1: "q"}}, "plates"),
        ({"body": "a", "sign": 1, "plates": ["q"]}, "plates"),
    ],
)
def test_refused_mappings(content: object, message: str) -> None:
    with pytest.raises(OtherError) as caught:
        from_mapping(Foot, content, "feet.yaml: left", OtherError)
    assert str(caught.value).startswith("feet.yaml: left") and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_configs_with_a_key_given_twice_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaders = jsonargparse._loaders_dumpers.loaders
    monkeypatch.setitem(loaders, "yaml", loaders["yaml"])
    make_configs_strict()
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_argument("--a.b", type=int)
    (tmp_path / "good.yaml").write_text("a: {b: 3}\n")
    assert parser.parse_args(["--config", str(tmp_path / "good.yaml")]).a.b == 3
    (tmp_path / "bad.yaml").write_text("a: {b: 3}\na: {b: 4}\n")
    with pytest.raises(SystemExit):
        parser.parse_args(["--config", str(tmp_path / "bad.yaml")])
    assert "key 'a' is given twice" in capsys.readouterr().err

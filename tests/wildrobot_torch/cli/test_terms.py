"""`wildrobot terms`: it lists everything, and shows what a config uses."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from envs.reality.disturbances import PushConfig
from envs.reality.faults import FaultConfig
from envs.reality.randomization import TERMS
from wildrobot_torch.cli.main import main


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """First word of each printed line -> the line."""
    assert main(["terms", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: line for line in lines if line}


def test_everything_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = listed(capsys)
    for name, term in TERMS.items():
        assert f" {term.unit} " in lines[name] and lines[name].endswith(term.meaning), name
        assert all(field in lines[name] for field in term.model_fields)
    for kind in (FaultConfig, PushConfig):
        for field in fields(kind):
            assert len(lines[field.name].split()) > 3, field.name
    assert "config" not in lines["term"]


def test_a_configs_own_ranges_are_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of several files, the later one wins."""
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(
        "data: {env: {randomization: {payload: {low: 0.1, high: 0.9}, zero_error: {sd: 0.07}}}}"
    )
    second.write_text(
        "data:\n  env:\n    randomization: {payload: {low: 0.2, high: 0.8}}\n"
        "    push: {impulse_max: 0.7}\n    faults: {burst_interval_s: 9}\n"
    )
    plain, own = listed(capsys), listed(capsys, "--config", str(first), "--config", str(second))
    name, column = own["term"].split()[:2]
    assert (name, column) == ("term", "config")
    start = own["term"].index("config")
    shown = {name: own[name][start : start + 12].strip() for name in TERMS}
    assert {name: text for name, text in shown.items() if text} == {
        "payload": "0.2 to 0.8", "zero_error": "sd 0.07",
    }  # fmt: skip
    assert own["impulse_max"].split()[1] == "0.7" and own["burst_interval_s"].split()[1] == "9"
    assert own["burst_s"].split() == plain["burst_s"].split()


def test_a_range_that_cannot_be_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("data: {env: {randomization: {mass: {low: -1.0, high: 1.0}}}}")
    assert main(["terms", "--config", str(path)]) == 2
    streams = capsys.readouterr()
    assert streams.err.count("\n") == 1 and "randomization.mass" in streams.err
    assert streams.out == ""

"""`wildrobot page`: what it refuses, and that nothing is written then. The page: test_page.py."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from wildrobot_torch.cli.main import main
from wildrobot_torch.deploy.page.build import SITE
from wildrobot_torch.files import WALKING_POLICY


@pytest.fixture
def fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Builds a page in vain; returns the exit code and the error's line."""

    def build(*arguments: str) -> tuple[int, str]:
        before = sorted(tmp_path.rglob("*"))
        code = main(["page", *arguments, "--out", str(tmp_path / "page")])
        assert sorted(tmp_path.rglob("*")) == before
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        return code, error

    return build


def _npm(folder: Path, script: str) -> str:
    """Path of a folder in which npm is this shell script, run where npm would write."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    return str(folder)


def test_without_npm_it_says_what_to_install(fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    code, error = fails()
    assert code == 2 and "npm is not installed" in error and "apt-get install npm" in error


def test_without_a_network_it_says_what_npm_says(
    fails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = "echo 'npm error code EAI_AGAIN' >&2; echo 'npm error network down' >&2; exit 1"
    monkeypatch.setenv("PATH", _npm(tmp_path / "programs", said))
    code, error = fails()
    assert code == 1 and "EAI_AGAIN" in error and "network down" in error and "mujoco" in error


def test_another_archive_than_the_known_one_is_refused(
    fails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", _npm(tmp_path / "programs", "echo other > package.tgz"))
    code, error = fails()
    assert code == 1 and "SHA-512" in error


def test_a_folder_with_files_is_left_alone(
    fails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "mine.txt").write_text("mine")
    code, error = fails()
    assert code == 2 and "empty folder" in error


def test_policies_that_the_page_cannot_show_are_refused(fails, tmp_path: Path) -> None:
    model = onnx.load(str(WALKING_POLICY))
    (entry,) = (x for x in model.metadata_props if x.key == "policy_spec")
    spec = json.loads(entry.value)
    for name, change, words in (
        ("robot", {"robot_digest": "0" * 16}, "made for robot 0000"),
        ("servo", {"servo": {"model": "bam"}}, "allowed: ideal, envelope"),
    ):
        entry.value = json.dumps({**spec, **change})
        onnx.save(model, str(tmp_path / f"{name}.onnx"))
        code, error = fails(str(tmp_path / f"{name}.onnx"))
        assert code == 2 and words in error
    code, error = fails(str(tmp_path / "none.onnx"))
    assert code == 2 and "no file" in error


def test_the_pages_own_files_load_nothing_from_elsewhere() -> None:
    for path in SITE.iterdir():
        assert "://" not in path.read_text(encoding="utf-8"), path.name

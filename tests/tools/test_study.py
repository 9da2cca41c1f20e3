"""Tests of tools/study.py and of the studies in configs/study."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from wildrobot_torch.study.plan import load_study
from wildrobot_torch.study.runner import ArmRun
from wildrobot_torch.study.tables import filled

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / "configs/study").glob("*.yaml"))


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_tool", ROOT / "tools/study.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of two arms, the second of which reads a file that is not there."""
    page = tmp_path / "page.md"
    page.write_text("# Mine\n<!-- begin table: all -->\n<!-- end table: all -->\nprose\n")
    path = tmp_path / "mine.yaml"
    content = {
        "options": "--data.num_envs 8", "seeds": [0, 1], "env_steps": 96, "every": 1,
        "style": "", "page": str(page), "results": str(tmp_path / "results"),
        "needs": {"none.npz": "python make.py"},
        "arms": [
            {"name": "plain", "about": "as it is"},
            {"name": "guided", "about": "reference", "options": "--data.reference none.npz"},
        ],
        "tables": [{"name": "all", "arms": ["plain", "guided"]}],
        "columns": [{"heading": "falls", "value": "walking.fall_rate", "format": ".1%"}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_has_arms_the_command_line_accepts_and_a_page_with_its_places(
    path: Path,
) -> None:
    study = load_study(path)
    for arm in study.arms:
        settings = study.settings(arm)
        assert settings["data"]["reference"] in (None, *study.needs), arm.name
    page = (ROOT / study.page).read_text(encoding="utf-8")
    filled(page, {table.name: "" for table in study.tables})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "other"], "has no arm 'other'; allowed: plain, guided"),
        (["--seeds", "7"], "--seeds 7 is none of the study's: 0, 1"),
        (["--only", "guided"], "needs none.npz, which is not there; make it: python make.py"),
    ],
)
def test_requests_that_cannot_be_met_end_in_one_line_and_write_nothing(
    tool: ModuleType,
    study: Path,
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (tmp_path / "page.md").read_text()
    assert tool.main([str(study), *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error
    assert not (tmp_path / "out").exists() and not (tmp_path / "results").exists()
    assert (tmp_path / "page.md").read_text() == page


def test_results_that_are_there_are_listed_and_make_the_tables(
    tool: ModuleType, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    plan = load_study(study)
    arm = plan.arms[0]
    for seed, falls in ((0, 0.0), (1, 0.25)):
        run = ArmRun(plan, arm, seed, out, plan.recipe(plan.settings(arm)))
        run.result.parent.mkdir(exist_ok=True)
        content = {
            "arm": "plain", "seed": seed, "options": run.options, "recipe": run.recipe,
            "reference": "", "passed": seed == 0, "failure": "", "training": {},
            "walking": {"fall_rate": falls}, "style": {},
        }  # fmt: skip
        run.result.write_text(json.dumps(content))
    assert tool.main([str(study), "--list", "--out", str(out)]) == 0
    assert "0: finished  1: finished" in capsys.readouterr().out
    assert tool.main([str(study), "--only", "plain", "--out", str(out)]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "| as it is | 2 of 2 | 1 of 2 | 12.5% (0.0% to 25.0%) |" in text
    assert "| reference (`--data.reference none.npz`) | 0 of 2 | - | - |" in text
    assert text.endswith("<!-- end table: all -->\nprose\n")

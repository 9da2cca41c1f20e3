"""Tests of tools/study.py and of the studies in configs/study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tools import study as tool
from wildrobot_torch.cli.fit import read_options
from wildrobot_torch.cli.main import run
from wildrobot_torch.study.arms import ArmRun
from wildrobot_torch.study.plan import load_study
from wildrobot_torch.study.tables import filled

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted(
    set((ROOT / "configs/study").glob("*.yaml")) - {ROOT / "configs/study/search.yaml"}
)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of two arms, the second of which reads a file that is not there."""
    page = tmp_path / "page.md"
    page.write_text("# Mine\n<!-- begin table: all -->\n<!-- end table: all -->\nprose\n")
    path = tmp_path / "mine.yaml"
    content = {
        "options": "--data.num_envs 8", "seeds": [0, 1], "env_steps": 96, "every": 1,
        "style": "", "page": str(page), "results": str(tmp_path / "results"),
        "needs": {"none.npz": "wildrobot reference"},
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
def test_every_study_has_valid_arms_and_a_page_with_its_places(path: Path) -> None:
    study = load_study(path)
    for arm in study.arms:
        settings = read_options(study.fit_options(arm, 0))
        assert study.recipe(settings)
        assert settings["data"]["reference"] in (None, *study.needs), arm.name
    page = (ROOT / study.page).read_text(encoding="utf-8")
    filled(page, {table.name: "" for table in study.tables})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "other"], "no arm 'other'; allowed: plain, guided"),
        (["--seeds", "7"], "--seeds 7 is not in the study; allowed: 0, 1"),
        (["--only", "guided"], "needs none.npz, which is not there: wildrobot reference"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    study: Path,
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (tmp_path / "page.md").read_text()
    assert run(tool.main, [str(study), *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error
    assert not (tmp_path / "out").exists() and not (tmp_path / "results").exists()
    assert (tmp_path / "page.md").read_text() == page


def test_results_make_the_tables_and_those_of_other_settings_are_refused_or_accepted(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = load_study(study), tmp_path / "out"
    arm = plan.arms[0]
    settings = read_options(plan.fit_options(arm, 0))
    for seed, falls in ((0, 0.0), (1, 0.25)):
        arm_run = ArmRun(plan, arm, seed, out, settings)
        arm_run.result.parent.mkdir(exist_ok=True)
        content = {
            **arm_run.about, "reference": "", "passed": seed == 0, "failure": "",
            "training": {}, "walking": {"fall_rate": falls}, "style": {},
        }  # fmt: skip
        if seed == 1:
            content |= {"recipe": "of another checkout", "options": []}
        arm_run.result.write_text(json.dumps(content))
    words = [str(study), "--only", "plain", "--out", str(out)]
    assert run(tool.main, [*words, "--list"]) == 0
    listed = capsys.readouterr().out
    assert "plain, seed 0" in listed and "finished" in listed and "other settings" in listed
    assert run(tool.main, words) == 2
    assert "plain-1.json was made with other settings" in capsys.readouterr().err
    assert run(tool.main, [*words, "--accept"]) == 0
    assert run(tool.main, words) == 0
    text = (tmp_path / "page.md").read_text()
    assert "| as it is | 2 of 2 | 1 of 2 | 12.5% (0.0% to 25.0%) |" in text
    assert "Not measured: reference (`--data.reference none.npz`)." in text
    assert text.endswith("<!-- end table: all -->\nprose\n")

"""Rules the source tree keeps; import contracts are in pyproject.toml, lint-imports runs them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from wildrobot_torch.cli import main as wildrobot
from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.reference.gates import load_gates
from wildrobot_torch.study.plan import load_study

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

VERIFICATION = "tests/wildrobot_torch/reference/verification/"
PLANTED_FAULTS = VERIFICATION + "test_planted_faults.py"
VERIFICATION_DATA = VERIFICATION + "test_verification_data.py"
STYLE_ASSESSMENT = "tests/wildrobot_torch/evaluation/style/test_assessment.py"
TESTED_ELSEWHERE: dict[str, str] = {
    "envs/consistency.py": "tests/envs/test_model.py",
    "envs/description.py": "tests/envs/test_model.py",
    "envs/physics/base.py": "tests/envs/physics/test_contract.py",
    "envs/physics/engines.py": "tests/envs/physics/test_contract.py",
    "envs/robot.py": "tests/envs/test_model.py",
    "envs/specs.py": "tests/envs/test_locomotion.py",
    "envs/task.py": "tests/envs/test_locomotion.py",
    "wildrobot_torch/__main__.py": "tests/wildrobot_torch/test_cli.py",
    "wildrobot_torch/callbacks.py": "tests/wildrobot_torch/test_cli.py",
    "wildrobot_torch/evaluation/plots.py": (
        "tests/wildrobot_torch/evaluation/test_evaluation_report.py"
    ),
    "wildrobot_torch/evaluation/style/comparison.py": STYLE_ASSESSMENT,
    "wildrobot_torch/evaluation/style/prior.py": STYLE_ASSESSMENT,
    "wildrobot_torch/evaluation/style/report.py": STYLE_ASSESSMENT,
    "wildrobot_torch/evaluation/style/verdicts.py": STYLE_ASSESSMENT,
    "wildrobot_torch/motion/acclaim.py": "tests/wildrobot_torch/motion/test_retarget.py",
    "wildrobot_torch/motion/clip.py": "tests/wildrobot_torch/motion/test_clips.py",
    "wildrobot_torch/motion/footsteps.py": "tests/wildrobot_torch/motion/test_synthesis.py",
    "wildrobot_torch/motion/legacy_pickle.py": "tests/wildrobot_torch/motion/test_clips.py",
    "wildrobot_torch/motion/posing.py": "tests/wildrobot_torch/motion/test_synthesis.py",
    "wildrobot_torch/motion/rotations.py": "tests/wildrobot_torch/motion/test_kinematics.py",
    "wildrobot_torch/reference/analysis_report.py": "tests/tools/test_analyze_reference.py",
    "wildrobot_torch/reference/checkpoint.py": "tests/wildrobot_torch/reference/test_tracker.py",
    "wildrobot_torch/reference/config.py": "tests/wildrobot_torch/reference/test_generate.py",
    "wildrobot_torch/reference/comparison_tables.py": (
        "tests/wildrobot_torch/reference/test_comparison.py"
    ),
    "wildrobot_torch/reference/plots.py": (
        "tests/wildrobot_torch/reference/test_reference_report.py"
    ),
    "wildrobot_torch/reference/report_pictures.py": (
        "tests/wildrobot_torch/reference/test_reference_report.py"
    ),
    "wildrobot_torch/reference/verification/contacts.py": PLANTED_FAULTS,
    "wildrobot_torch/reference/verification/feasibility.py": PLANTED_FAULTS,
    "wildrobot_torch/reference/verification/features.py": PLANTED_FAULTS,
    "wildrobot_torch/reference/verification/kinematics.py": PLANTED_FAULTS,
    "wildrobot_torch/reference/verification/states.py": PLANTED_FAULTS,
    "wildrobot_torch/reference/verification/subject.py": PLANTED_FAULTS,
    "wildrobot_torch/reference/verification/support.py": PLANTED_FAULTS,
    "wildrobot_torch/reference/verification/determinism.py": VERIFICATION_DATA,
    "wildrobot_torch/reference/verification/distribution.py": VERIFICATION_DATA,
    "wildrobot_torch/reference/verification/sampling.py": VERIFICATION_DATA,
    "wildrobot_torch/reference/verification/training.py": VERIFICATION_DATA,
    "wildrobot_torch/reference/verification/suite.py": "tests/tools/test_verify_reference.py",
    "wildrobot_torch/study/continuing.py": "tests/wildrobot_torch/study/test_walking_runner.py",
}
"""Modules without a test file of their own, and the one that tests them through their users."""


def _own_tests(path: Path) -> list[Path]:
    """Where a module's own tests may be; the second name is for one that another folder has too."""
    mirrored = Path("tests") / path.parent
    return [mirrored / f"test_{path.stem}.py", mirrored / f"test_{path.parent.name}_{path.stem}.py"]


def test_every_module_has_its_test() -> None:
    modules = [path for path in SOURCES if path.name != "__init__.py"]
    tested = [path for path in modules if any((ROOT / own).is_file() for own in _own_tests(path))]
    listed = [Path(path) for path in TESTED_ELSEWHERE]
    wrong = {
        "without a test": sorted(map(str, set(modules) - set(tested) - set(listed))),
        "listed although they have their own": sorted(map(str, set(listed) & set(tested))),
        "listed but not there": sorted(map(str, set(listed) - set(modules))),
        "tests that are not there": sorted(
            test for test in set(TESTED_ELSEWHERE.values()) if not (ROOT / test).is_file()
        ),
    }
    assert {reason: paths for reason, paths in wrong.items() if paths} == {}


def test_files_are_short() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > 400} == {}


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


def _make_reference(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(
        "make_reference", ROOT / "tools/make_reference.py"
    )
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.parser().parse_args(["--config", str(path)])


def _train(path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        wildrobot(["fit", "--config", str(path), "--print_config"])
    if stop.value.code != 0:
        raise ValueError(f"{path} is refused")


def _reader(path: Path) -> Callable[[Path], object]:
    if path.parent.name == "evaluation":
        return load_scenario
    if path.parent.name == "study":
        return load_study
    return {"gates": load_gates, "reference": _make_reference}.get(path.stem, _train)


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
    with pytest.raises((ValueError, SystemExit)):
        read(other)
    capsys.readouterr()

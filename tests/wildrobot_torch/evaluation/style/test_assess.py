"""Tests of assessments: floor, controls, evidence, verdicts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.style import classifier, compare
from wildrobot_torch.evaluation.style.assess import Assessment, References, assess
from wildrobot_torch.evaluation.style.compare import STYLE_METRICS, StyleMetric
from wildrobot_torch.evaluation.style.controls import jittered
from wildrobot_torch.evaluation.style.report import write_report
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset


@pytest.fixture(scope="module")
def references(walks: ReferenceDataset, robot: RobotSpec) -> References:
    return References.of(walks, robot, 0.34)


@pytest.fixture(scope="module")
def assessment(references: References) -> Assessment:
    """The reference as a policy, and the same with noise; a robot frozen in its first pose."""
    walk = references.recording
    still = {
        name: getattr(walk, name)[:1].expand_as(getattr(walk, name)).clone()
        for name in ("qpos", "foot_force", "amp")
    }
    standing = replace(walk, **still, qvel=torch.zeros_like(walk.qvel))
    shaken = jittered(walk, references.robot, references.layout)
    recordings = {"standing": standing, "good": walk, "against": shaken}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "STEPS", 30)
        patch.setattr(classifier, "SAMPLES", 400)
        patch.setattr(compare, "NEIGHBOUR_SAMPLES", 400)
        return assess(references, recordings, references.motion.family)


def test_each_family_is_commanded_equally_often(references: References) -> None:
    speeds, names = references.commands(13)
    assert len(speeds) == 12 and [names.count(n) for n in dict.fromkeys(names)] == [2] * 6
    assert len(references.commands(1)[0]) == 6


def test_few_families_are_refused(walks: ReferenceDataset, robot: RobotSpec) -> None:
    with pytest.raises(DatasetError, match="held out"):
        References.of(walks, robot, 0.1)


def test_a_perfect_copy_is_no_worse_than_the_floor(assessment: Assessment) -> None:
    scope = assessment.scopes["whole"]
    good, floor = scope.columns["good"], scope.noise_floor
    # Only the first 2 s are missing, as they are of any policy.
    for metric in ("frechet", "wasserstein", "phase_rmse"):
        assert good[metric] < 0.5 * floor[metric]
    assert good["dtw"] == pytest.approx(0.0, abs=1e-6) and good["dtw"] < floor["dtw"]
    assert good["auc"] < 0.7 and good["coverage"] > 0.95


def test_time_reversal_standing_and_jitter_are_seen(assessment: Assessment) -> None:
    detected = assessment.scopes["whole"].detected
    for metric in ("frechet", "wasserstein", "coverage", "dtw"):
        assert detected[metric]["reversed"] and detected[metric]["standing"], metric
    # Noise of this size is less than the way between these few families, for some of the metrics.
    assert detected["auc"]["jittered"]
    assert detected["phase_rmse"]["standing"] and detected["phase_rmse"]["reversed"]
    assert math.isnan(assessment.scopes["whole"].columns["standing"]["phase_rmse"])
    # Noise of zero mean leaves the mean stride: that metric alone is blind to it, and says so.
    assert not detected["phase_rmse"]["jittered"]


def test_the_sway_of_the_reference_within_its_strides_is_measured(
    references: References, assessment: Assessment
) -> None:
    walk = references.recording
    sway = (walk.velocity - walk.command).abs()[walk.valid].mean()
    assert assessment.gait["reference"]["velocity_error"] == pytest.approx(float(sway), rel=1e-4)
    # Averaged over a second of steps of 0.3 s hardly anything is left of it.
    assert assessment.gait["reference"]["velocity_error_1s"] < 0.3 * float(sway)
    assert math.isnan(assessment.gait["reference"]["torque_p95"])


def test_what_counts_as_detected() -> None:
    worse, share = StyleMetric("m", "", ()), StyleMetric("AUC", "", ())
    assert worse.detects(0.31, 0.2) and not worse.detects(0.29, 0.2)
    assert StyleMetric("1", "", (), higher=True).detects(0.5, 0.9)
    assert not share.detects(0.58, 0.3) and share.detects(0.62, 0.3)
    assert worse.detects(math.nan, 0.2) and not worse.detects(1.0, math.nan)


def test_the_frechet_limit_is_half_of_the_other_policys(assessment: Assessment) -> None:
    found = {v.metric: v for v in assessment.verdicts("good", style_reward=0.2)}
    scope = assessment.scopes["held out"]
    half = scope.columns["against"]["frechet"] / 2
    assert found["frechet"].limit.max == half
    assert found["style_reward"].passed is False
    assert found["symmetry_index"].passed and found["phase_offset"].passed
    assert "style_reward" not in {v.metric for v in assessment.verdicts("good")}


def test_a_metric_that_misses_a_control_is_not_judged(assessment: Assessment) -> None:
    scope = assessment.scopes["held out"]
    blind = replace(
        scope, detected={**scope.detected, "auc": {**scope.detected["auc"], "jittered": False}}
    )
    changed = replace(assessment, scopes={**assessment.scopes, "held out": blind})
    (auc,) = [v for v in changed.verdicts("good") if v.metric == "auc"]
    assert auc.passed is None and auc.word.startswith("not applied: misses a control")


def test_a_limit_that_a_faithful_copy_misses_judges_nobody(assessment: Assessment) -> None:
    scope = assessment.scopes["held out"]
    seen = {metric: dict.fromkeys(found, True) for metric, found in scope.detected.items()}
    scope = replace(scope, detected=seen)
    copy = scope.columns["good"]
    for reached, passed in ((0.8, True), (0.9, None)):
        copied = {**copy, "auc": reached}
        columns = {**scope.columns, "replicate": copied}
        scopes = {**assessment.scopes, "held out": replace(scope, columns=columns)}
        found = replace(assessment, scopes=scopes).verdicts("good")
        verdict = {v.metric: v for v in found}["auc"]
        assert verdict.passed is passed
        assert verdict.word == ("pass" if passed else "not applied: the replicate has 0.9")
        assert {v.metric: v.passed for v in found}["dtw"] is True


def test_a_replicate_stands_beside_the_policies(
    references: References, walks: ReferenceDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "STEPS", 2)
    noise = 0.02 * torch.randn(walks.amp.shape, generator=torch.Generator().manual_seed(0))
    twin = references.replicate(replace(walks, amp=walks.amp + noise))
    walk = references.recording
    recordings = {"standing": walk, "good": walk}
    scope = assess(references, recordings, references.motion.family, twin).scopes["whole"]
    # Its features are a little off, its poses are those of the reference.
    assert scope.columns["good"]["wasserstein"] < scope.columns["replicate"]["wasserstein"]
    assert scope.columns["replicate"]["dtw"] == pytest.approx(0.0, abs=1e-6)
    assert "replicate" not in scope.detected["auc"]


@pytest.mark.parametrize("families", [1, 6])
def test_a_policy_that_falls_in_whole_families_is_assessed_by_what_is_left(
    references: References, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, families: int
) -> None:
    monkeypatch.setattr(classifier, "STEPS", 2)
    walk, family = references.recording, references.motion.family
    valid = walk.valid.clone()
    valid[3:, [name in sorted(set(family))[-families:] for name in family]] = False
    found = assess(references, {"standing": walk, "fallen": replace(walk, valid=valid)}, family)
    judged = found.verdicts("fallen")
    passed = {v.metric: v.passed for v in judged}
    values = found.scopes["whole"].columns["fallen"]
    if families == 6:
        assert math.isnan(values["dtw"]) and math.isnan(values["frechet"])
        assert not passed["dtw"]
    else:
        assert values["dtw"] == pytest.approx(0.0, abs=1e-6)
        assert values["frechet"] > 0.1  # a whole copy has 0
    _, page = write_report(found, {"fallen": judged}, {}, {}, tmp_path)
    assert "fallen" in page.read_text()


def test_what_is_no_replicate_is_refused(references: References, walks: ReferenceDataset) -> None:
    with pytest.raises(DatasetError, match=r"the reference itself; .*tracking\.seed"):
        references.replicate(walks)
    slower = replace(walks, amp=walks.amp + 1.0, ctrl_dt=0.04)
    with pytest.raises(DatasetError, match=r"0\.04 s apart, the reference's 0\.02 s"):
        references.replicate(slower)
    names = tuple(f"walk_{i}" for i in range(6))
    with pytest.raises(DatasetError, match=r"no walking of walk_0\.10, walk_0\.15"):
        references.replicate(replace(walks, amp=walks.amp + 1.0, segment_clip=names))


def test_the_report_is_valid_json_and_names_what_misses_a_control(
    assessment: Assessment, tmp_path: Path
) -> None:
    judged = {"good": assessment.verdicts("good")}
    data, page = write_report(assessment, judged, {}, {"reference": "walks.npz"}, tmp_path)
    content = json.loads(data.read_text())
    assert set(content["scopes"]["whole"]["noise_floor"]) == set(STYLE_METRICS)
    assert content["scopes"]["whole"]["columns"]["standing"]["phase_rmse"] is None
    assert content["gait"]["reference"]["torque_saturation"] is None
    assert "misses " in page.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["style.json", "style.md"]

"""Tests of wildrobot_torch/reference/verify/determinism.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wildrobot_torch.reference.verify.determinism import reading, regeneration
from wildrobot_torch.reference.verify.finding import FAIL, PASS, WARN
from wildrobot_torch.reference.verify.subject import Subject


def test_the_same_settings_make_the_same_states(subject):
    (found,) = regeneration(subject)
    assert found.status == PASS and found.value == 0.0


def test_states_that_the_settings_do_not_make_are_found(good, timed):
    qpos = good.qpos.clone()
    qpos[:, 9] += 0.1
    (found,) = regeneration(Subject(replace(good, qpos=qpos), timed))
    assert found.status == FAIL and found.value == pytest.approx(0.1, abs=1e-4)


def test_settings_of_another_version_are_a_warning(good, timed):
    other = replace(good, manifest={**good.manifest, "config": {"no_such_setting": 1}})
    (found,) = regeneration(Subject(other, timed))
    assert found.status == WARN and "not this version's" in found.detail


def test_motion_of_a_tracking_policy_is_named_as_not_tested(good, timed):
    tracked = replace(good, segment_support=("none",) * good.num_segments)
    (found,) = regeneration(Subject(tracked, timed))
    assert found.status == WARN and "tracking policies" in found.detail
    assert found.detail.startswith("not tested")


def test_a_file_reads_and_writes_the_same(good, subject, tmp_path):
    path = tmp_path / "good.npz"
    good.save(path)
    assert [f.status for f in reading(path, subject)] == [PASS, PASS]
    other = replace(good, segment_weight=2.0 * good.segment_weight)
    assert [f.status for f in reading(path, Subject(other, subject.loaded))] == [FAIL, PASS]

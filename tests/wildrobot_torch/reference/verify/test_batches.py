"""Tests of wildrobot_torch/reference/verify/batches.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wildrobot_torch.reference.verify.batches import coverage, distribution, random_windows
from wildrobot_torch.reference.verify.finding import FAIL, PASS, WARN
from wildrobot_torch.reference.verify.subject import Subject


@pytest.fixture(scope="module")
def random(timed):
    return random_windows(timed, seed=0)


def generator():
    return torch.Generator().manual_seed(0)


def by_name(findings, part):
    (found,) = [f for f in findings if part in f.name]
    return found


def test_every_minibatch_has_three_clips(good):
    found = coverage(good, generator())
    assert [f.status for f in found] == [PASS, PASS]
    assert by_name(found, "fewest").value == 3


def test_too_few_clips_are_a_warning(good):
    one = replace(good, segment_clip=("same", "same_mirror", "same"))
    found = coverage(one, generator())
    assert found[-1].status == WARN and "has 1 of the 3" in found[-1].detail


def test_a_dead_feature_and_impossible_speeds_are_found(good, timed, random):
    amp = good.amp.clone()
    amp[:, 4] = 0.25
    dead = Subject(replace(good, amp=amp, qvel=100.0 * good.qvel), timed)
    found = distribution(dead, random[..., 0, :], generator())
    variation = by_name(found, "least varied")
    assert variation.status == FAIL and "feature 4 (linvel)" in variation.detail
    assert by_name(found, "root speed").status == FAIL
    alive = distribution(Subject(good, timed), random[..., 0, :], generator())
    assert {f.status for f in alive} == {PASS}

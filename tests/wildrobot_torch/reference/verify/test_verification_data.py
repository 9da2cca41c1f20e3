"""Tests on the data as a whole: sampling, distribution, training, making it again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wildrobot_torch.reference.verify.determinism import regeneration
from wildrobot_torch.reference.verify.distribution import distribution, random_windows
from wildrobot_torch.reference.verify.finding import FAIL, PASS, WARN
from wildrobot_torch.reference.verify.sampling import coverage
from wildrobot_torch.reference.verify.subject import Subject
from wildrobot_torch.reference.verify.training import micro_train


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


def test_a_reference_that_acts_at_random_is_pointed_out_and_teaches_nothing(good, random):
    frames = random[:, 0:100, 0].flatten(0, 1)
    length = torch.full((64,), 100)
    imitation = replace(
        good,
        amp=frames,
        qpos=torch.ones(6400, 15),
        qvel=torch.ones(6400, 14),
        foot_force=torch.zeros(6400, 2),
        support_wrench=torch.zeros(6400, 6),
        segment_start=torch.arange(64) * 100,
        segment_length=length,
        segment_weight=torch.ones(64),
        segment_velocity=torch.zeros(64),
        segment_clip=tuple(f"random_{i}" for i in range(64)),
        segment_tier=("0",) * 64,
        segment_support=("none",) * 64,
    )
    chance = by_name(micro_train(imitation, random, seed=0), "accuracy")
    assert chance.value == pytest.approx(0.5, abs=0.2)
    real = micro_train(good, random, seed=0)
    assert {f.status for f in real} == {PASS}
    assert by_name(real, "accuracy").value > 0.9


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

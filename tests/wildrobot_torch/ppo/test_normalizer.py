"""wildrobot_torch.ppo.normalizer against numpy over all data at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wildrobot_torch.ppo.normalizer import RunningNorm


def test_before_data_values_pass():
    norm = RunningNorm(2)
    assert norm(torch.tensor([[1.0, -3.0]])).tolist() == [
        [pytest.approx(1.0, abs=1e-5), pytest.approx(-3.0, abs=1e-5)]
    ]


def test_statistics_are_those_of_all_data_seen():
    rng = np.random.default_rng(0)
    # A mean far from 0 beside a small spread: sums of squares would cancel here.
    chunks = [rng.normal([1000.0, -2.0], [0.1, 3.0], size=(n, 2)) for n in (7, 400, 90)]
    norm = RunningNorm(2)
    for chunk in chunks:
        norm.update(torch.tensor(chunk, dtype=torch.float32).reshape(-1, 1, 2))
    data = np.concatenate(chunks).astype(np.float32).astype(np.float64)
    assert float(norm.count) == len(data)
    np.testing.assert_allclose(norm.mean.numpy(), data.mean(0), rtol=1e-6)
    np.testing.assert_allclose(norm.var.numpy(), data.var(0), rtol=2e-3)


def test_processes_that_sum_end_with_the_statistics_of_all_data():
    here, there = torch.randn(50, 3) + 1.0, 2.0 * torch.randn(20, 3)
    sums: list[torch.Tensor] = []
    probe = RunningNorm(3)
    probe.update(there, lambda own: (sums.append(own.clone()), own)[1])
    norm, both = RunningNorm(3), RunningNorm(3)
    norm.update(here, lambda own: own + sums[0])
    both.update(torch.cat([here, there]))
    torch.testing.assert_close(norm.mean, both.mean)
    torch.testing.assert_close(norm.var, both.var)


def test_forward_changes_no_statistics_and_clips():
    norm = RunningNorm(1)
    norm.update(torch.tensor([[-1.0], [1.0]]))
    assert norm(torch.tensor([[100.0], [-100.0], [0.5]]))[:, 0].tolist() == [
        10.0,
        -10.0,
        pytest.approx(0.5, abs=1e-5),
    ]
    assert float(norm.count) == 2.0

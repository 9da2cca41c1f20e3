"""Tests of wildrobot_torch.process."""

from __future__ import annotations

import gc

import pytest
import torch

from wildrobot_torch.process import one_torch_thread, tune_process


def test_objects_that_exist_leave_garbage_collection_and_later_ones_do_not() -> None:
    gc.unfreeze()  # what other tests' trainings froze
    before = gc.get_freeze_count()
    try:
        tune_process()
        assert gc.get_freeze_count() > before + 10_000
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
        assert gc.collect() >= 1
    finally:
        gc.unfreeze()


def test_threads_come_back_even_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), one_torch_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

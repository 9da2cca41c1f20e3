"""Tests of wildrobot_torch.process."""

from __future__ import annotations

import gc

from wildrobot_torch.process import tune_process


def test_objects_that_exist_leave_garbage_collection_and_later_ones_do_not() -> None:
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

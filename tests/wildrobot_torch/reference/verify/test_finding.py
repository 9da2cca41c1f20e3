from __future__ import annotations

import json
import math

import pytest

from wildrobot_torch.reference.verify.finding import (
    FAIL,
    PASS,
    WARN,
    as_json,
    bounded,
    markdown,
    passed,
    skipped,
)


@pytest.mark.parametrize(
    ("value", "status"), [(0.5, PASS), (1.5, WARN), (2.5, FAIL), (-0.1, FAIL), (math.nan, FAIL)]
)
def test_status_follows_the_bounds(value, status):
    found = bounded("9", "thing", value, "m", low=0.0, high=2.0, warn_high=1.0)
    assert found.status == status
    assert found.limit == ">= 0 and <= 2 m"


def test_warnings_pass_and_failures_do_not():
    good, bad = skipped("9", "other", "no time"), bounded("9", "thing", math.nan, "m", high=1.0)
    assert passed([good]) and not passed([good, bad])
    table = markdown([good, bad], "title")
    assert "FAIL: 0 PASS, 1 WARN, 1 FAIL" in table
    assert "| 9 | other | WARN |  |  | not tested: no time |" in table
    content = json.loads(as_json([good, bad], "abc"))
    assert content["passed"] is False and content["content_hash"] == "abc"
    assert content["findings"][1]["value"] is None

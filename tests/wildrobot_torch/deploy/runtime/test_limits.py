"""Limits: a file has every one of them, and makes sense."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from wildrobot_torch.deploy.runtime.limits import DEFAULT, LimitsError, SafetyLimits


def test_the_default_file_has_every_limit_and_a_word_on_units() -> None:
    limits, text = SafetyLimits.load(), DEFAULT.read_text()
    for field in fields(limits):
        assert text.count(f"\n{field.name}:") == 1
    assert limits.tilt_deg == 60.0 and limits.joint_age_s == 0.16 and limits.imu_age_s == 0.25


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tilt_deg": None}, "give a number"),
        ({"tilt_deg": "60"}, "give a number"),
        ({"tilt_deg": True}, "give a number"),
        ({"tilt_deg": float("nan")}, "allowed: 5 to 90"),
        ({"tilt_deg": float("inf")}, "allowed: 5 to 90"),
        ({"tilt_deg": 1.05}, "allowed: 5 to 90"),  # 60 deg in radians
        ({"servo_speed_rad_s": 0}, "allowed"),
        ({"servo_speed_rad_s": 333.0}, "allowed"),  # 5.8 rad/s in deg/s
        ({"joint_age_s": 160}, "allowed"),  # in milliseconds
        ({"missed_ticks": 2.5}, "whole number"),
        ({"jumps": 0}, "allowed"),
        ({"derate_from_c": 90.0}, "below hot_c"),
        ({"voltage_low_v": 12.6}, "below voltage_high_v"),
        ({"start_tilt_deg": 45.0, "tilt_deg": 40.0}, "below tilt_deg"),
        ({"tilt": 60.0}, "'tilt' is unknown"),
    ],
)
def test_nonsense_is_refused_in_one_line(
    change: dict[str, object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "safety.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(DEFAULT.read_text()) | change))
    with pytest.raises(LimitsError, match=words) as refused:
        SafetyLimits.load(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_missing_limit_and_no_file(tmp_path: Path) -> None:
    content = yaml.safe_load(DEFAULT.read_text())
    del content["torque_nm"]
    path = tmp_path / "safety.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(LimitsError, match="torque_nm is missing"):
        SafetyLimits.load(path)
    with pytest.raises(LimitsError, match="No such file"):
        SafetyLimits.load(tmp_path / "none.yaml")
    path.write_text("- 1")
    with pytest.raises(LimitsError, match="holds no limits"):
        SafetyLimits.load(path)
    path.write_text(DEFAULT.read_text() + "\ntilt_deg: 50\n")
    with pytest.raises(LimitsError, match="twice"):
        SafetyLimits.load(path)

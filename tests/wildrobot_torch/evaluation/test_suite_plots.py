"""Tests of wildrobot_torch/evaluation/suite_plots.py."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest
import torch
from PIL import Image

from envs.frames import quat_from_euler
from envs.robot.model import RobotModel
from wildrobot_torch.evaluation import suite_plots
from wildrobot_torch.evaluation.ladder import Rung
from wildrobot_torch.evaluation.measures import MEASURES
from wildrobot_torch.evaluation.outcomes import EntryResult, Fall, Outcome, SuiteResult
from wildrobot_torch.evaluation.suite_plots import STILL
from wildrobot_torch.evaluation.suite_report import html, markdown
from wildrobot_torch.evaluation.suites import Suite, load_suite

SUITE = """
defaults: {commands: [0.2], seconds: 4.0, episodes: 8, success: {fallen: {max: 0}}}
entries:
  late:
    title: targets late
    rungs:
      20 ms: {above: 0.3}
      40 ms: {}
  pushed:
    disturbances: {at_s: [2.0], impulses: [1.0], directions: [0.0, 1.5, 3.0, 4.5]}
  ladder:
    disturbances: {at_s: [2.0], directions: [0.0, 1.5, 3.0, 4.5]}
    ladder: {largest: 4.0}
  standing:
    commands: [0.0]
    reset: {lean: 0.1}
groups: {late ones: {entries: [late 20 ms], passing: 1}}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    return load_suite(path)


def falling(robot_model: RobotModel) -> Fall:
    """Over forwards in half a second, seen every 20 ms."""
    qpos = robot_model.robot.home_qpos.repeat(25, 1)
    lean = torch.linspace(0.0, 1.0, 25)
    qpos[:, 3:7] = quat_from_euler(0.0 * lean, lean, 0.0 * lean)
    return Fall("pitch forwards", 4, 2.5, 30.0, 0.0, 0.2, 0.1, qpos, 2.48)


@pytest.fixture
def found(suite: Suite, robot_model: RobotModel) -> SuiteResult:
    """Four of eight episodes succeed in every entry, the first four."""
    names = robot_model.robot.joint_names
    eight = torch.arange(8.0).double()
    values = dict.fromkeys(MEASURES, eight)
    gait = dict.fromkeys(("alternation", "stride_frequency", "stride_length", "duty_factor",
                          "clearance", "foot_slip"), 0.5)  # fmt: skip
    outcome = Outcome(
        torch.arange(8) < 4, values, {"fallen": 4}, {"pitch": 4, "time": 4},
        (falling(robot_model),), dict.fromkeys(names, 0.1), dict.fromkeys(names, 1.5), gait,
        contacts=(torch.arange(200)[:, None] // torch.tensor([10, 20]) % 2).bool(), ctrl_dt=0.02,
    )  # fmt: skip
    rungs = tuple(Rung(angle, (0.5, 1.5), 6.0, 2.0) for angle in (0.0, 1.5, 3.0, 4.5))
    results = tuple(
        EntryResult(e, {"p": replace(outcome, rungs=rungs if e.ladder else ())}, {}, 0.0)
        for e in suite.entries
    )
    return SuiteResult(suite, ("p",), results)


def test_sizes_are_the_numbers_of_rungs_that_differ_in_nothing_else() -> None:
    assert suite_plots.sizes(["20 ms", "40 ms", "100 ms"]) == ([20.0, 40.0, 100.0], "ms")
    assert suite_plots.sizes(["1x", "2x"]) == ([1.0, 2.0], "x")
    assert suite_plots.sizes(["friction 0.3", "friction 1.2"]) == ([0.3, 1.2], "friction")
    for others in (["walking", "standing"], ["friction 0.3", "payload of 30 %"], ["20 ms"]):
        assert suite_plots.sizes(others) is None


def test_pushes_are_counted_by_their_direction(found: SuiteResult) -> None:
    """Episode i goes to direction i % 4, so of two in each direction the first succeeds."""
    (pushed,) = suite_plots.pushed(found)["pushed"]
    assert suite_plots.counts(pushed, pushed.outcomes["p"]) == {
        (1.0, angle): (1, 2) for angle in (0.0, 1.5, 3.0, 4.5)
    }


def test_what_breaks_is_named(found: SuiteResult) -> None:
    entries = suite_plots.families(found)["late"]
    shown = suite_plots.breaks(entries, "p")
    assert shown == ("20 ms 50.0%, 40 ms 50.0%", "none")
    worse = replace(entries[1].outcomes["p"], success=torch.arange(8) < 3)
    worst = [entries[0], replace(entries[1], outcomes={"p": worse})]
    assert suite_plots.breaks(worst, "p") == ("20 ms 50.0%, 40 ms 37.5%", "40 ms")


def test_the_height_of_the_centre_of_mass_is_what_its_sensor_reads(robot_model: RobotModel) -> None:
    data = mujoco.MjData(robot_model.model)
    data.qpos[:] = robot_model.robot.home_qpos.double().numpy()
    mujoco.mj_forward(robot_model.model, data)
    sensed = data.sensordata[robot_model.robot.sensors["com_pos"]][2]
    assert suite_plots.home_com_height(robot_model) == pytest.approx(float(sensed), abs=1e-6)


def test_a_fall_is_filmed_from_its_beginning_to_its_end(robot_model: RobotModel) -> None:
    strip = suite_plots.film(falling(robot_model), 0.02, robot_model)
    frames = [
        Image.open(io.BytesIO(base64.b64decode(data)))
        for data in re.findall(r"data:image/webp;base64,([^\"]+)", strip)
    ]
    assert len(frames) == suite_plots.FRAMES
    assert {frame.size for frame in frames} == {(STILL.width, STILL.height)}
    first, last = (
        np.asarray(frame.convert("RGB")).astype(int) for frame in (frames[0], frames[-1])
    )
    assert (np.abs(first - last).max(-1) > 40).mean() > 0.05


def test_a_page_has_every_picture_and_every_row(
    found: SuiteResult, robot_model: RobotModel
) -> None:
    about = {"p": {"file": "p.ckpt"}}
    page = html(found, robot_model, about, "native")
    pictures = re.findall(r'<svg role="img" aria-label="([^"]*)".*?</svg>', page, re.DOTALL)
    starts = (
        "Success rate over", "Impulse recovered from", "Recoveries by direction",
        "Success over start lean", "Success over the capture", "When the feet",
    )  # fmt: skip
    for start in starts:
        assert any(name.startswith(start) for name in pictures), start
    for drawn in re.findall(r'<svg role="img".*?</svg>', page, re.DOTALL):
        ElementTree.fromstring(drawn)
    assert "pitch forwards: 16 falls in 4 scenarios" in page
    assert len(page) < 1_000_000
    text = markdown(found, robot_model.robot, about, "native")
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            for cell in line.strip("| ").split(" | "):
                word = cell.replace("**", "").replace("&", "&amp;")
                word = word.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;")
                assert word.replace("_", "_<wbr>") in page, cell

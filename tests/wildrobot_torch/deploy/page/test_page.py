"""The page in a headless Chromium: it walks, and does what the Python contract does."""

from __future__ import annotations

import io
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from envs.errors import RunError
from envs.robot.spec import RobotSpec
from tests.wildrobot_torch.deploy.page.conftest import Browser
from wildrobot_torch.contract import Controller, Readings, read
from wildrobot_torch.deploy.page.build import build_page
from wildrobot_torch.deploy.runtime.bundle import Bundle
from wildrobot_torch.deploy.runtime.commands import clamped
from wildrobot_torch.evaluation.simulators.loop import walk
from wildrobot_torch.evaluation.simulators.plain_mujoco import PlainMujoco
from wildrobot_torch.evaluation.simulators.servos import ServoLaw, Servos
from wildrobot_torch.files import WALKING_POLICY

pytestmark = pytest.mark.slow
NEAR = 1e-5
"""Largest difference allowed between what JavaScript and Python make of the same readings."""

ACT = """async ({ targets, heading, readings, commands }) => {
  const { contract, network } = await wildrobot, { Controller } = await import("./contract.js");
  const controller = new Controller(contract, network);
  controller.begin(targets, heading);
  const seen = [];
  for (let step = 0; step < readings.length; step++) {
    const target = await controller.act(readings[step], commands[step]);
    seen.push([[...controller.observation], target]);
  }
  return seen;
}"""
DRIVE = """async (rows) => {
  const { walk } = await wildrobot, torques = [];
  for (const { targets, states } of rows) {
    walk.servos.send(targets);
    for (const [at, speed] of states) torques.push(walk.servos.drive(at, speed, 0.002));
  }
  return torques;
}"""
LIMIT = """async (commands) => {
  const { contract } = await wildrobot, { clamped } = await import("./contract.js");
  return commands.map((command) => clamped(command, contract.commands));
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, bundle_zip: Path) -> Iterator[str]:
    """Address of a folder with two pages: `shipped`, and `bundle` of a robot that stands."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, which fetches the page's libraries")
    folder = tmp_path_factory.mktemp("pages")
    try:
        build_page(WALKING_POLICY, folder / "shipped")
    except RunError as error:
        if "npm cannot fetch" not in str(error):
            raise
        pytest.skip(str(error))
    build_page(bundle_zip, folder / "bundle")
    command = [sys.executable, "-u", "-m", "http.server", "0", "-b", "127.0.0.1"]
    server = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    found = re.search(r"port (\d+)", server.stdout.readline())
    assert found
    yield f"http://127.0.0.1:{found[1]}"
    server.terminate()
    server.wait(timeout=30)
    server.stdout.close()


@pytest.fixture
def page(browser: Browser, pages: str) -> Browser:
    """The page of the shipped policy, where time stands still but for `run`."""
    return _opened(browser, f"{pages}/shipped/")


def _opened(browser: Browser, url: str) -> Browser:
    browser.size(1280, 800)
    browser.open(url)
    browser.evaluate("wildrobot.then(({ halt, reset }) => { halt(); return reset(); })")
    return browser


def test_it_walks_ten_metres(page: Browser) -> None:
    page.evaluate("wildrobot.then(({ command }) => command([0.4, 0, 0]))")
    done = page.evaluate("wildrobot.then(({ run }) => run(30))")
    assert done["fallen"] == "" and done["time"] == pytest.approx(30.0)
    assert 10.0 <= done["distance"] <= 13.0
    assert done["speed"] == pytest.approx(0.4, abs=0.1)
    assert page.errors == []


def test_it_moves_as_the_same_walk_in_python(page: Browser, robot: RobotSpec) -> None:
    # Later the two drift apart: a walk amplifies the last bits, and the versions of MuJoCo differ.
    contract, network = read(WALKING_POLICY)
    start = (robot.home_qpos.numpy().astype(float), np.zeros(6 + robot.num_joints))
    simulator, command = PlainMujoco("mujoco", robot), np.array([0.4, 0.0, 0.0])
    python = walk(simulator, contract, network, ServoLaw.of(robot), start, command, 10)
    expected = [body.qpos[:3] for body in python.bodies]
    page.evaluate("wildrobot.then(({ command }) => command([0.4, 0, 0]))")
    positions = page.evaluate(
        """wildrobot.then(async ({ run, robot }) => {
          const positions = [];
          for (let step = 0; step < 10; step++) {
            await run(0.02);
            positions.push(robot.pose.position);
          }
          return positions;
        })"""
    )
    np.testing.assert_allclose(positions, expected, rtol=0.0, atol=NEAR)


def test_it_stands_where_it_is_told_to(page: Browser) -> None:
    page.evaluate("wildrobot.then(({ command }) => command([0, 0, 0]))")
    stand = page.evaluate("wildrobot.then(({ run }) => run(10))")
    assert stand["fallen"] == "" and stand["distance"] < 0.3


def test_observations_and_targets_are_those_of_the_python_contract(page: Browser) -> None:
    contract, network = read(WALKING_POLICY)
    random = np.random.default_rng(0)
    joints, time = len(contract.joint_names), np.zeros(len(contract.joint_names))
    low, high = contract.joint_range.T
    readings, commands, position = [], [], contract.home
    for step in range(60):
        fresh = random.uniform(size=joints) < 0.7  # the other encoders were not read anew
        time = np.where(fresh, 0.02 * step - random.uniform(0.0, 0.01, joints), time)
        position = np.where(fresh, random.uniform(low, high), position)
        gravity = random.standard_normal(3)
        readings.append(
            Readings(
                gravity=gravity / np.linalg.norm(gravity),
                angvel=random.standard_normal(3),
                heading=random.uniform(-math.pi, math.pi),
                joint_pos=position,
                joint_time=time,
                switches=random.integers(0, 2, 4).astype(float),
                age=random.uniform(0.01, 0.03),
            )
        )
        commands.append(random.uniform(-1.0, 1.0, 3))
    targets, heading = random.uniform(low, high), 2.0
    controller = Controller(contract, network)
    controller.begin(targets, heading)
    expected = []
    for reading, command in zip(readings, commands, strict=True):
        target = controller.act(reading, command)
        expected.append((controller.observation.copy(), target))
    seen = _act(page, targets, heading, readings, commands)
    for (observation, target), (known, wanted) in zip(seen, expected, strict=True):
        np.testing.assert_allclose(observation, known, rtol=0.0, atol=NEAR)
        np.testing.assert_allclose(target, wanted, rtol=0.0, atol=NEAR)


def test_observations_of_a_bundle_are_those_of_the_training(
    browser: Browser, pages: str, bundle_zip: Path
) -> None:
    page = _opened(browser, f"{pages}/bundle/")
    for run in Bundle.open(bundle_zip).golden().values():
        readings = [run.readings(step) for step in range(len(run.observation))]
        seen = _act(page, run.start_targets, run.start_heading, readings, run.command)
        observations, targets = (np.array(part) for part in zip(*seen, strict=True))
        np.testing.assert_allclose(observations, run.observation, rtol=0.0, atol=NEAR)
        np.testing.assert_allclose(targets, run.target, rtol=0.0, atol=NEAR)


def _act(page: Browser, targets: Any, heading: float, readings: Any, commands: Any) -> Any:
    """Observation and joint targets of each step, by the page's contract and network."""
    given = {
        "targets": targets.tolist(),
        "heading": heading,
        "readings": [
            {k: np.asarray(v).tolist() for k, v in asdict(reading).items() if v is not None}
            for reading in readings
        ],
        "commands": [np.asarray(command, dtype=float).tolist() for command in commands],
    }
    return page.call(ACT, given)


def test_servos_are_those_of_the_other_simulators(page: Browser, robot: RobotSpec) -> None:
    law, random = ServoLaw.of(robot), np.random.default_rng(1)
    low, high = law.joint_range.T
    home, rows, expected = robot.joint_home.numpy().astype(float), [], []
    servos = Servos(law, home)
    for _ in range(50):
        near = random.uniform() < 0.5  # within the deadband, sometimes
        targets = home + random.normal(0.0, 0.01 if near else 0.5, len(home))
        servos.send(targets)
        rows.append({"targets": targets.tolist(), "states": []})
        for _ in range(10):
            position = random.uniform(low, high)
            velocity = random.normal(0.0, 4.0, len(home))
            rows[-1]["states"].append([position.tolist(), velocity.tolist()])
            expected.append(servos.drive(position, velocity, 0.002).copy())
    torques = page.call(DRIVE, rows)
    np.testing.assert_allclose(torques, expected, rtol=0.0, atol=NEAR)


def test_commands_are_limited_as_the_runtime_limits_them(page: Browser) -> None:
    contract, _ = read(WALKING_POLICY)
    assert contract.commands is not None
    asked = np.random.default_rng(2).uniform(-1.0, 1.0, (50, 3))
    asked[:25, 1:] = 0.0
    asked[:3, 0] = 0.01, 0.04, 0.0
    given = page.call(LIMIT, asked.tolist())
    np.testing.assert_allclose(given, [clamped(command, contract.commands) for command in asked])


def test_a_push_gives_its_momentum(page: Browser, robot: RobotSpec) -> None:
    # In free fall nothing else acts sideways: momentum = force times time.
    velocity = page.evaluate(
        """wildrobot.then(({ robot }) => {
          robot.data.qpos[robot.free + 2] = 5;
          robot.push(20, 0.1, Math.PI / 2);
          for (let step = 0; step < 80; step++) robot.step(robot.dofs.map(() => 0));
          robot.mujoco.mj_subtreeVel(robot.model, robot.data);
          return [...robot.data.subtree_linvel.slice(3 * robot.root, 3 * robot.root + 3)];
        })"""
    )
    assert velocity[1] == pytest.approx(20 * 0.1 / float(robot.mass), rel=1e-3)
    assert velocity[0] == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize(("width", "height", "phone"), [(1280, 800, False), (390, 844, True)])
def test_people_can_use_it(
    browser: Browser, pages: str, tmp_path: Path, width: int, height: int, phone: bool
) -> None:
    page = browser
    page.size(width, height, phone)
    page.open(f"{pages}/shipped/")
    page.evaluate("wildrobot.then(() => 0)")
    wait = (
        "new Promise((done) => {{ const look = () => ({0}) ? done() : setTimeout(look, 100);"
        " look(); }})"
    )
    page.evaluate(wait.format("Number(document.getElementById('distance').textContent) > 0"))
    boxes = page.evaluate(
        "[...document.querySelectorAll('button, input, #readout, footer')]"
        ".filter((e) => e.offsetParent).map((e) => { const b = e.getBoundingClientRect();"
        " return [b.left, b.top, b.right, b.bottom]; })"
    )
    assert len(boxes) == 10
    for left, top, right, bottom in boxes:
        assert left >= 0 and top >= 0 and right <= width and bottom <= height
    # The robot is orange; nothing else in the picture is.
    path = tmp_path / "page.png"
    page.screenshot(path)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        pixels = np.asarray(image.convert("RGB").resize((width, height)), dtype=int)
    shown = page.evaluate("(({ clientWidth: w, clientHeight: h }) => [w, h])(stage)")
    red, green, blue = pixels[: int(shown[1]), : int(shown[0])].transpose(2, 0, 1)
    assert ((red > 150) & (green > 80) & (green < 190) & (blue < 40)).mean() > 0.01

    page.click("#pause")
    assert page.evaluate("document.getElementById('state').textContent") == "Paused"
    page.click("#reset")
    page.evaluate(wait.format("document.getElementById('time').textContent === '0'"))
    page.click("[data-push=left]")
    push = page.evaluate("wildrobot.then(({ robot }) => [robot.forceSteps, robot.force])")
    assert push[0] == 50 and push[1] == pytest.approx([0.0, 8.0], abs=1e-2)
    box = page.evaluate("(({ x, y }) => [x, y])(forward.getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):  # at the slider's left end
        page.send(
            "Input.dispatchMouseEvent", type=kind, x=box[0] + 2, y=box[1] + 14, button="left",
            clickCount=1,
        )  # fmt: skip
    assert page.evaluate("wildrobot.then(({ walk }) => walk.command)") == [0, 0, 0]
    assert page.evaluate("document.getElementById('forward-value').textContent") == "stand"
    page.click("#pause")
    page.evaluate(wait.format("document.getElementById('state').textContent === 'Standing'"))
    assert page.errors == []

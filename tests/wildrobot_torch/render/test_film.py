"""Tests of wildrobot_torch/render/film.py; in software, so that they run anywhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence

from envs.robot.model import RobotModel, load_robot
from wildrobot_torch.render import film as render
from wildrobot_torch.render.film import (
    RenderConfig,
    RenderError,
    beside,
    film_rows,
    film_strip,
    write_film,
)

CONFIG = RenderConfig(width=64, height=64, renderer="software")


@pytest.fixture
def qpos(robot_model: RobotModel) -> np.ndarray:
    """Half a second in which the robot slides ahead and bends its left knee."""
    motion = np.tile(robot_model.robot.home_qpos.numpy(), (26, 1))
    motion[:, 0] += 0.01 * np.arange(26)
    motion[:, 9] = 0.04 * np.arange(26)
    return motion


def test_an_mp4_has_the_films_rate_and_length(
    tmp_path: Path, robot_model: RobotModel, qpos: np.ndarray
) -> None:
    path = write_film(tmp_path / "new" / "a.mp4", robot_model.model, qpos, 0.02, CONFIG)
    # imageio's own reader leaves pipes open, which the test run takes for an error.
    decoder = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24"]
    done = subprocess.run([*decoder, "-"], capture_output=True, check=True)
    assert b" 25 fps" in done.stderr
    frames = np.frombuffer(done.stdout, dtype=np.uint8).reshape(-1, 64, 64, 3)
    assert len(frames) == 13  # 0.5 s at 25 frames per second, both ends included
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 50


def test_a_gif_plays_in_real_time(
    tmp_path: Path, robot_model: RobotModel, qpos: np.ndarray
) -> None:
    path = write_film(tmp_path / "a.gif", robot_model.model, qpos, 0.02, CONFIG)
    with Image.open(path) as film:
        assert len(list(ImageSequence.Iterator(film))) == 13
        assert film.info["duration"] == 40
        assert film.info["loop"] == 0


def test_a_heavy_gif_is_thinned_out_in_time(
    tmp_path: Path, robot_model: RobotModel, qpos: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_film(tmp_path / "a.gif", robot_model.model, qpos, 0.02, CONFIG)
    most = path.stat().st_size - 1
    monkeypatch.setattr(render, "GIF_BYTES", most)
    write_film(path, robot_model.model, qpos, 0.02, CONFIG)
    with Image.open(path) as film:
        assert len(list(ImageSequence.Iterator(film))) == 7
        assert film.info["duration"] == 80
        assert len(film.convert("RGB").getcolors() or ()) <= 64
    assert path.stat().st_size <= most


def test_a_film_strip_has_eight_pictures_in_two_rows(
    tmp_path: Path, robot_model: RobotModel, qpos: np.ndarray
) -> None:
    path = write_film(tmp_path / "a.png", robot_model.model, qpos, 0.02, CONFIG)
    with Image.open(path) as strip:
        assert strip.size == (4 * 64, 2 * 64)


def test_captions_are_in_the_picture(
    tmp_path: Path, robot_model: RobotModel, qpos: np.ndarray
) -> None:
    plain = write_film(tmp_path / "a.png", robot_model.model, qpos[:1], 0.02, CONFIG)
    text = write_film(tmp_path / "b.png", robot_model.model, qpos[:1], 0.02, CONFIG, ["0.3 m/s"])
    with Image.open(plain) as a, Image.open(text) as b:
        changed = (np.asarray(a) != np.asarray(b)).any(-1)
    assert changed[:32].sum() > 100
    assert not changed[32:].any()


def test_film_rows_are_nearest_in_time() -> None:
    assert film_rows(26, 0.02).tolist() == list(range(0, 26, 2))
    assert film_rows(4, 0.1).tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    assert film_rows(1, 0.02).tolist() == [0]


def test_what_cannot_be_drawn_is_refused_and_nothing_written(
    tmp_path: Path, robot_model: RobotModel, qpos: np.ndarray
) -> None:
    model = robot_model.model
    with pytest.raises(RenderError, match=r"unknown kind '.avi'; allowed: .mp4, .gif, .png"):
        write_film(tmp_path / "a.avi", model, qpos, 0.02, CONFIG)
    with pytest.raises(RenderError, match=r"shape \(26, 14\); expected \(T, 15\)"):
        write_film(tmp_path / "a.mp4", model, qpos[:, 1:], 0.02, CONFIG)
    with pytest.raises(RenderError, match=r"T > 0"):
        write_film(tmp_path / "a.mp4", model, qpos[:0], 0.02, CONFIG)
    with pytest.raises(RenderError, match="multiples of 16"):
        RenderConfig(width=321)
    assert list(tmp_path.iterdir()) == []


def test_without_opengl_it_says_what_to_install(
    robot_model: RobotModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(render, "available_platform", lambda: None)
    with pytest.raises(RenderError, match="apt-get install libegl1"):
        render.make_renderer(robot_model.model, RenderConfig(renderer="gl"))
    render.make_renderer(robot_model.model, RenderConfig(renderer="auto"))
    said = capsys.readouterr().err
    assert "drawing in software" in said
    assert "libosmesa6" in said
    render.make_renderer(robot_model.model, CONFIG)  # asked for: nothing to say
    assert capsys.readouterr().err == ""
    render.make_renderer(load_robot(scene="rough").model, CONFIG)
    assert "not the height field" in capsys.readouterr().err


def test_a_ghost_walks_beside_the_robot_in_films_and_strips(
    tmp_path: Path, robot_model: RobotModel, qpos: np.ndarray
) -> None:
    model = robot_model.model
    ghost = beside(qpos)
    strip = film_strip(model, qpos, ghost, 0.02, CONFIG)
    assert strip.shape == (2 * 64, 4 * 64, 3)
    bent = ghost.copy()
    bent[:, 13] = 1.0  # its right knee
    assert (film_strip(model, qpos, bent, 0.02, CONFIG) != strip).any(-1).sum() > 50
    path = write_film(tmp_path / "a.png", model, qpos, 0.02, CONFIG, ghost=ghost)
    with Image.open(path) as written:
        assert (np.asarray(written) == strip).all()
    write_film(tmp_path / "a.gif", model, qpos, 0.02, CONFIG, ghost=ghost)
    with pytest.raises(RenderError, match=r"ghost has shape \(25, 15\), qpos \(26, 15\)"):
        film_strip(model, qpos, ghost[1:], 0.02, CONFIG)


def test_beside_is_to_the_left_of_the_first_heading(qpos: np.ndarray) -> None:
    north = qpos.copy()
    north[:, 3:7] = [0.5**0.5, 0.0, 0.0, 0.5**0.5]  # turned by 90 degrees: it heads along +y
    moved = beside(north, 0.4) - north
    np.testing.assert_allclose(moved[:, :2], np.tile([-0.4, 0.0], (26, 1)), atol=1e-6)
    assert not moved[:, 2:].any()


def test_a_ghost_that_is_left_behind_stays_in_the_picture(
    robot_model: RobotModel, qpos: np.ndarray
) -> None:
    still = np.tile(robot_model.robot.home_qpos.numpy().astype(float), (2, 1))
    away = still + 4.0 * np.eye(15)[0]
    alone = film_strip(robot_model.model, still, away, 0.02, CONFIG)
    blue = alone[20:, :64, 2].astype(int) - alone[20:, :64, 0] > 45
    assert blue.sum() > 5

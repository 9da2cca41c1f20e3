"""Films, GIFs and film strips of a robot's motion."""

from __future__ import annotations

import functools
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import imageio.v2 as imageio
import mujoco
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.errors import UserError
from wildrobot_torch.render.camera import View, follow
from wildrobot_torch.render.gl import GlRenderer, available_platform
from wildrobot_torch.render.software import SoftwareRenderer

Array = np.ndarray

SUFFIXES = (".mp4", ".gif", ".png")
FPS = 25.0
"""Pictures of a film per second [1/s]; motion recorded faster is thinned out to it."""
STRIP_FRAMES, STRIP_COLUMNS = 8, 4
"""Pictures on a film strip, and in one of its rows."""
GHOST_BESIDE = 0.5
"""Default distance of the ghost to the robot's left [m]."""
GHOST_VIEW = View(azimuth=130.0, distance=1.5)
"""Camera for a robot with a ghost."""
GHOST_NEAR = 0.8
"""Farther from its ghost than this [m] the robot is seen from farther away, so that both are."""
GIF_BYTES = 3_000_000
"""Largest size of a GIF [bytes]; a larger one is written with fewer pictures per second."""
GIF_COLORS = 64
_font = functools.cache(ImageFont.load_default)
RendererName = Literal["auto", "gl", "software"]


class RenderError(UserError):
    """A picture that cannot be made; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """How a film looks."""

    width: int = 320
    """[pixels]"""
    height: int = 240
    """[pixels]"""
    renderer: RendererName = "auto"
    """gl: MuJoCo's, through EGL or OSMesa. software: numpy's. auto: gl where there is one."""

    def __post_init__(self) -> None:
        if self.width % 16 or self.height % 16 or min(self.width, self.height) < 64:
            size = f"{self.width} x {self.height} pixels"
            raise RenderError(f"film size is {size}; both must be multiples of 16, at least 64")


def check_output(path: Path) -> Path:
    """`path`, if a film can be written to it; RenderError for an unknown kind of file."""
    if path.suffix.lower() not in SUFFIXES:
        raise RenderError(f"{path}: unknown kind {path.suffix!r}; allowed: {', '.join(SUFFIXES)}")
    return path


def make_renderer(model: mujoco.MjModel, config: RenderConfig) -> GlRenderer | SoftwareRenderer:
    """The renderer of `config`; prints to stderr what it cannot do.

    Raises:
        RenderError: the renderer is `gl`, and there is no OpenGL.
    """
    platform = None if config.renderer == "software" else available_platform()
    if platform is not None:
        return GlRenderer(model, config.width, config.height, platform)
    remedy = "install EGL or OSMesa, for example `apt-get install libegl1` or `libosmesa6`"
    if config.renderer == "gl":
        raise RenderError(f"no OpenGL without a display here; {remedy}, or use renderer software")
    if config.renderer == "auto":
        print(f"no OpenGL without a display: drawing in software; {remedy}", file=sys.stderr)
    if model.nhfield:
        print(
            "drawing in software: a level floor at height 0, not the height field", file=sys.stderr
        )
    return SoftwareRenderer(model, config.width, config.height)


def write_film(
    path: Path,
    model: mujoco.MjModel,
    qpos: Array,
    frame_dt: float,
    config: RenderConfig,
    captions: Sequence[str] | None = None,
    ghost: Array | None = None,
) -> Path:
    """Write a motion as .mp4, .gif or .png (a film strip); returns `path`, whose suffix says which.

    Args:
        path: of the file; its folder is made.
        model: the robot in its scene.
        qpos: (T, nq).
        frame_dt: time between the rows of `qpos` [s].
        config: size and renderer.
        captions: a text for each row of `qpos`.
        ghost: (T, nq): a second, translucent robot; see `beside`.

    Raises:
        RenderError: unknown kind of file, a motion of another robot, or no such renderer here.
    """
    check_output(path)
    kind = path.suffix.lower()
    if kind == ".png":
        strip = film_strip(model, qpos, ghost, frame_dt, config, captions)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(strip).save(path)
        return path
    rows = film_rows(len(qpos), frame_dt)
    with closing(_pictures(model, qpos, ghost, frame_dt, rows, config, captions)) as pictures:
        first = next(pictures)  # a renderer that fails does so before there is a file
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == ".gif":
            _write_gif([first, *pictures], path)
            return path
        # One by one: a long film need not fit in memory.
        with closing(imageio.get_writer(path, fps=FPS, quality=7)) as film:
            for picture in chain([first], pictures):
                film.append_data(picture)
    return path


def film_strip(
    model: mujoco.MjModel,
    qpos: Array,
    ghost: Array | None,
    frame_dt: float,
    config: RenderConfig,
    captions: Sequence[str] | None = None,
) -> Array:
    """Up to `STRIP_FRAMES` instants of a motion from its start to its end, as one picture.

    Arguments and errors are those of `write_film`; `config` has the size of each instant's picture.
    """
    return tiled(stills(model, qpos, ghost, frame_dt, config, captions))


def stills(
    model: mujoco.MjModel,
    qpos: Array,
    ghost: Array | None,
    frame_dt: float,
    config: RenderConfig,
    captions: Sequence[str] | None = None,
    number: int = STRIP_FRAMES,
) -> list[Array]:
    """Up to `number` instants of a motion, pictures (H, W, 3) uint8; see `film_strip`."""
    rows = film_rows(len(qpos), frame_dt)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, number).round().astype(int))]
    with closing(_pictures(model, qpos, ghost, frame_dt, rows, config, captions)) as pictures:
        return list(pictures)


def beside(qpos: Array, distance: float = GHOST_BESIDE) -> Array:
    """A motion (T, nq) moved `distance` [m] to the left of where it heads in its first row."""
    qpos = np.array(qpos, dtype=float)
    w, x, y, z = qpos[0, 3:7]
    yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    qpos[:, :2] += distance * np.array([-np.sin(yaw), np.cos(yaw)])
    return qpos


def film_rows(number: int, frame_dt: float) -> Array:
    """Which of `number` rows, `frame_dt` [s] apart, are nearest to the film's instants."""
    count = int((number - 1) * frame_dt * FPS + 1e-6) + 1
    return np.minimum(np.round(np.arange(count) / FPS / frame_dt).astype(int), number - 1)


def _pictures(
    model: mujoco.MjModel,
    qpos: Array,
    ghost: Array | None,
    frame_dt: float,
    rows: Array,
    config: RenderConfig,
    captions: Sequence[str] | None,
) -> Generator[Array, None, None]:
    """Pictures (H, W, 3) uint8 of some rows of a motion, the camera following the root."""
    # Tensors are welcome, as recordings are.
    qpos, ghost = np.asarray(qpos), None if ghost is None else np.asarray(ghost)
    if qpos.ndim != 2 or qpos.shape[1] != model.nq or len(qpos) == 0:
        raise RenderError(f"qpos has shape {qpos.shape}; expected (T, {model.nq}), T > 0")
    if ghost is not None and ghost.shape != qpos.shape:
        raise RenderError(f"ghost has shape {ghost.shape}, qpos {qpos.shape}; they must be equal")
    view, center = (View(), qpos) if ghost is None else (GHOST_VIEW, (qpos + ghost) / 2.0)
    targets = follow(center, view, 1.0 / frame_dt)
    with closing(make_renderer(model, config)) as renderer:
        for row in rows:
            if ghost is None:
                picture = renderer.render(qpos[row], targets[row], view)
            else:
                apart = float(np.linalg.norm(ghost[row, :2] - qpos[row, :2]))
                wider = replace(view, distance=view.distance * max(1.0, apart / GHOST_NEAR))
                picture = renderer.render(qpos[row], targets[row], wider, ghost[row])
            yield picture if captions is None else caption(picture, captions[int(row)])


def caption(picture: Array, text: str) -> Array:
    """The picture with a text at its top left, dark on a light ground."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    font = _font(max(11, picture.shape[0] // 18))
    box = draw.multiline_textbbox((8, 6), text, font=font)
    draw.rectangle((box[0] - 4, box[1] - 3, box[2] + 4, box[3] + 3), fill=(255, 255, 255, 190))
    draw.multiline_text((8, 6), text, font=font, fill=(30, 30, 35, 255))
    return np.asarray(image)


def tiled(pictures: Sequence[Array]) -> Array:
    """Pictures of one size side by side, in rows of `STRIP_COLUMNS`."""
    columns = min(STRIP_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    height, width = pictures[0].shape[:2]
    strip = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        y, x = divmod(place, columns)
        strip[y * height : (y + 1) * height, x * width : (x + 1) * width] = picture
    return strip


def _write_gif(pictures: list[Array], path: Path) -> None:
    """Every picture, or every n-th with n the least at which the file is small enough."""
    # One palette for all, or colours flicker from picture to picture.
    sample = tiled(pictures[:: -(-len(pictures) // STRIP_FRAMES)])
    plain = Image.Dither.NONE
    octree = Image.Quantize.FASTOCTREE  # a median cut spends its colours on sky and floor
    palette = Image.fromarray(sample).quantize(GIF_COLORS, octree, dither=plain)
    indexed = [Image.fromarray(p).quantize(palette=palette, dither=plain) for p in pictures]
    stride, size = 0, 0
    while stride == 0 or (size > GIF_BYTES and stride < len(pictures)):
        # Half as many pictures make about half the size, so steps that are too small are left out.
        stride = max(stride + 1, stride * size // GIF_BYTES)
        # GIF counts time in hundredths of a second, and browsers slow down what is below two.
        duration_ms = max(20, 10 * round(100.0 * stride / FPS))
        first, *others = indexed[::stride]
        first.save(
            path, save_all=True, append_images=others, duration=duration_ms, loop=0, optimize=True
        )
        size = path.stat().st_size

"""A contact sheet: pictures of a described robot, to check the description by eye."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.robot.inference.draft import Draft
from envs.robot.inference.frame import place
from envs.robot.inference.mirrors import joint_range
from wildrobot_torch.files import atomic_write
from wildrobot_torch.render.camera import View
from wildrobot_torch.render.software import SoftwareRenderer, geom_surface

Array = np.ndarray

TILE = (208, 224)
"""Width and height of a picture [pixels]."""
COLUMNS = 8
CAPTION = 30
"""Height of the words under a picture [pixels]."""
FRONT, SIDE, CORNER = 180.0, 90.0, 130.0
"""Directions that the camera looks in [deg]: at the robot's face, at its right side, between."""
LEFT_COLOR = np.array([0.20, 0.45, 0.85, 1.0])
RIGHT_COLOR = np.array([0.90, 0.45, 0.15, 1.0])
OTHER_COLOR = np.array([0.62, 0.63, 0.66, 1.0])
"""Colours of the left leg, the right leg and the rest."""
MOST_TRIANGLES = 40_000
"""Meshes beyond this many triangles in all are drawn as the boxes around them."""


@dataclass(frozen=True)
class _Tile:
    """One picture."""

    angles: dict[int, float]
    """Joint -> angle [rad]."""
    words: str
    azimuth: float
    collision: bool = False
    """Whether what collides is shown instead of what is for the eye."""


def write_sheet(draft: Draft, path: Path) -> Path:
    """Write the contact sheet of a robot as a .png; returns `path`.

    It shows home from three sides, what collides, then each joint at both of its stops with its
    partner at the mirrored angle: seen from the front, both sides must look like mirror images. The
    left leg is blue, the right one orange.
    """
    shown, colliding = (_painted(draft, collision) for collision in (False, True))
    renderers = {False: SoftwareRenderer(shown, *TILE), True: SoftwareRenderer(colliding, *TILE)}
    height = _height(draft)
    tiles = list(_tiles(draft))
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE[0], rows * (TILE[1] + CAPTION)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        x, y = column * TILE[0], row * (TILE[1] + CAPTION)
        view = View(tile.azimuth, -8.0, 2.1 * height, 0.5 * height)
        target = np.array([0.0, 0.0, 0.48 * height])
        picture = renderers[tile.collision].render(_qpos(draft, tile.angles), target, view)
        sheet.paste(Image.fromarray(picture), (x, y))
        draw.multiline_text((x + 3, y + TILE[1] + 2), tile.words, "black", font, spacing=1)
        draw.rectangle((x, y, x + TILE[0] - 1, y + TILE[1] + CAPTION - 1), outline=(200, 200, 200))
    with atomic_write(path) as file:
        sheet.save(file, format="PNG")
    return path


def _tiles(draft: Draft) -> Iterator[_Tile]:
    tree, home = draft.tree, draft.home.angles if draft.home is not None else {}
    yield _Tile(home, f"home ({draft.home_from})\nfrom the front", FRONT)
    yield _Tile(home, "home\nfrom its right", SIDE)
    yield _Tile(home, "home\nblue: left leg", CORNER)
    for words, azimuth in (("from the front", FRONT), ("from its right", SIDE)):
        yield _Tile(home, f"what collides\n{words}", azimuth, True)
    yield _Tile({}, "all joints at 0", CORNER)
    random = np.random.RandomState(0)
    for number in (1, 2):
        share = {pair: random.uniform(0.2, 0.8) for pair in draft.pairs if pair.left != pair.right}
        angles = dict(home)
        for pair, at in share.items():
            low, high = joint_range(tree, pair.left)
            angles[pair.left] = low + at * (high - low)
            angles[pair.right] = pair.sign * angles[pair.left]
        yield _Tile(angles, f"mirrored pose {number}\nboth sides must be alike", FRONT)
    for pair in draft.pairs:
        for stop, end in zip(joint_range(tree, pair.left), ("low", "high"), strict=True):
            angles = {**home, pair.left: stop, pair.right: pair.sign * stop}
            kind = draft.motions[pair.left].kind if pair.left in draft.motions else ""
            names = tree.joint_name(pair.left)
            if pair.left != pair.right:
                names = f"{names} {kind}".strip()
            words = f"{names[:34]}\n{end} stop {stop:+.2f} rad, mirrored {pair.sign:+d}"
            about = abs(_axis(draft, pair.left)[1])
            yield _Tile(angles, words, SIDE + 25.0 if about > 0.8 else FRONT)


def _axis(draft: Draft, joint: int) -> Array:
    return place(draft.tree, draft.frame).xaxis[joint]


def _qpos(draft: Draft, angles: dict[int, float]) -> Array:
    """Positions (nq,) with the root where home has it, over the middle of the picture."""
    qpos = place(draft.tree, draft.frame, angles).qpos.copy()
    first = draft.tree.address(int(draft.tree.model.body_jntadr[draft.tree.root]))
    qpos[first + 2] = draft.home.height if draft.home is not None else draft.length * 1.2
    return qpos


def _height(draft: Draft) -> float:
    """Height of the robot at home [m]."""
    data = mujoco.MjData(draft.tree.model)
    data.qpos[:] = _qpos(draft, draft.home.angles if draft.home is not None else {})
    mujoco.mj_kinematics(draft.tree.model, data)
    tops = [
        float(data.geom_xpos[geom, 2] + draft.tree.model.geom_rbound[geom] * 0.6)
        for geom in _own(draft)
    ]
    return max(tops, default=1.2 * draft.length)


def _own(draft: Draft) -> list[int]:
    """Geoms of the robot."""
    model, bodies = draft.tree.model, set(draft.tree.bodies)
    return [geom for geom in range(model.ngeom) if int(model.geom_bodyid[geom]) in bodies]


def _painted(draft: Draft, collision: bool) -> mujoco.MjModel:
    """A copy of the model in which the legs have colours and nothing but the robot is seen."""
    model, tree = copy.deepcopy(draft.tree.model), draft.tree
    own = _own(draft)
    seen = [geom for geom in own if model.geom_group[geom] <= 2 and _opaque(model, geom)]
    if collision or not seen:
        seen = [geom for geom in own if geom in tree.colliding]
    model.geom_group[:] = 5
    model.geom_group[seen] = 0
    model.geom_matid[:] = -1
    model.geom_rgba[:] = OTHER_COLOR
    for leg, color in zip(draft.legs, (LEFT_COLOR, RIGHT_COLOR), strict=True):
        links = tree.below(int(model.jnt_bodyid[leg.joints[0]]))
        for geom in seen:
            if int(model.body_weldid[model.geom_bodyid[geom]]) in links:
                model.geom_rgba[geom] = color
    surfaces = {geom: geom_surface(model, geom) for geom in seen}
    count = sum(len(s.corner) for s in surfaces.values() if s is not None)
    if count > MOST_TRIANGLES:
        for geom, surface in surfaces.items():
            if surface is not None and len(surface.corner) > 500:
                model.geom_type[geom] = mujoco.mjtGeom.mjGEOM_BOX
                model.geom_size[geom] = model.geom_aabb[geom, 3:]
    return model


def _opaque(model: mujoco.MjModel, geom: int) -> bool:
    material = int(model.geom_matid[geom])
    color = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
    return bool(color[3] > 0.05)

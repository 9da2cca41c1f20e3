"""Pictures of the robot by MuJoCo's own renderer, through EGL or OSMesa, without a display."""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys

import mujoco
import numpy as np
from mujoco.rendering.classic import gl_context

from wildrobot_torch.render.camera import GHOST, View

Array = np.ndarray

PLATFORMS = ("egl", "osmesa")
"""Ways to a picture without a display, the faster first."""

PROBE = """
import os
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='.1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 16, 16)
renderer.update_scene(data)
os._exit(0 if renderer.render().any() else 1)  # at once: tearing OpenGL down may fail noisily
"""
"""Program that ends with 0 where MUJOCO_GL draws."""


@functools.cache
def available_platform() -> str | None:
    """The first of `PLATFORMS` that draws here, or None.

    Each is tried in a process of its own: a library that fails may take the process with it, and
    one once loaded keeps the other from loading. MUJOCO_GL, if set to one, is tried alone.
    """
    wanted = os.environ.get("MUJOCO_GL", "").lower().strip()
    for platform in PLATFORMS:
        if wanted in PLATFORMS and wanted != platform:
            continue
        environment = {**os.environ, "MUJOCO_GL": platform}
        environment.pop("PYOPENGL_PLATFORM", None)
        try:
            command = [sys.executable, "-c", PROBE]
            done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return platform
    return None


class GlRenderer:
    """Draws one model off screen; made by the process that uses it, and closed by it."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int, platform: str) -> None:
        """Opens a context of `platform` (one of `PLATFORMS`) of `width` times `height` pixels."""
        self._model, self._data, self._ghost = model, mujoco.MjData(model), mujoco.MjData(model)
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        # MuJoCo chooses by MUJOCO_GL when it is first imported, which was before.
        gl_context.GLContext = importlib.import_module(f"mujoco.{platform}").GLContext
        self._renderer = mujoco.Renderer(model, height, width, max_geom=2000)

    def render(self, qpos: Array, target: Array, view: View, ghost: Array | None = None) -> Array:
        """The robot at `qpos` (nq,), seen from `view` around `target` (3,) [m]: (H, W, 3) uint8.

        With `ghost` (nq,) a second, translucent one is drawn at those positions.
        """
        _place(self._model, self._data, qpos)
        camera = mujoco.MjvCamera()
        camera.lookat[:], camera.distance = target, view.distance
        camera.azimuth, camera.elevation = view.azimuth, view.elevation
        self._renderer.update_scene(self._data, camera)
        if ghost is not None:
            self._add(ghost)
        return self._renderer.render()

    def _add(self, ghost: Array) -> None:
        """Put a ghost at `ghost` (nq,) into the scene."""
        _place(self._model, self._ghost, ghost)
        scene, seen = self._renderer.scene, mujoco.mjtCatBit.mjCAT_DYNAMIC.value
        robot, option, perturb = scene.ngeom, mujoco.MjvOption(), mujoco.MjvPerturb()
        mujoco.mjv_addGeoms(self._model, self._ghost, option, perturb, seen, scene)
        for geom in scene.geoms[robot : scene.ngeom]:
            geom.rgba[:] = GHOST
            geom.matid = -1  # else its material's colour is drawn

    def close(self) -> None:
        """Free the context; nothing can be drawn after that."""
        self._renderer.close()


def _place(model: mujoco.MjModel, data: mujoco.MjData, qpos: Array) -> None:
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)  # lights follow the centre of mass
    mujoco.mj_camlight(model, data)

"""Pictures of the robot by MuJoCo's own renderer, through EGL or OSMesa, without a display."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from types import ModuleType

import mujoco
import numpy as np

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
            done = subprocess.run(
                [sys.executable, "-c", PROBE],
                env=environment,
                capture_output=True,
                timeout=60,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return platform
    return None


def _context_module(platform: str) -> ModuleType:
    # Imported by name, so that MUJOCO_GL need not have been set before mujoco was first imported.
    if platform == "egl":
        from mujoco import egl as module
    else:
        from mujoco import osmesa as module
    return module


class GlRenderer:
    """Draws one model off screen; made by the process that uses it, and closed by it."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int, platform: str) -> None:
        """Opens a context of `platform` (one of `PLATFORMS`) of `width` times `height` pixels."""
        self._model, self._data = model, mujoco.MjData(model)
        self._ghost = mujoco.MjData(model)
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        self._context = _context_module(platform).GLContext(width, height)
        self._context.make_current()
        self._mjr = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._mjr)
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        self._option = mujoco.MjvOption()
        self._viewport = mujoco.MjrRect(0, 0, width, height)

    def render(self, qpos: Array, target: Array, view: View, ghost: Array | None = None) -> Array:
        """The robot at `qpos` (nq,), seen from `view` around `target` (3,) [m]: (H, W, 3) uint8.

        With `ghost` (nq,) a second, translucent one is drawn at those positions.
        """
        _place(self._model, self._data, qpos)
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        camera.lookat[:] = target
        camera.azimuth, camera.elevation = view.azimuth, view.elevation
        camera.distance = view.distance
        self._context.make_current()
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._option,
            None,
            camera,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        if ghost is not None:
            self._add(ghost)
        mujoco.mjr_render(self._viewport, self._scene, self._mjr)
        image = np.empty((self._viewport.height, self._viewport.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(image, None, self._viewport, self._mjr)
        return image[::-1].copy()

    def _add(self, ghost: Array) -> None:
        """Put a ghost at `ghost` (nq,) into the scene."""
        _place(self._model, self._ghost, ghost)
        robot = self._scene.ngeom
        mujoco.mjv_addGeoms(
            self._model,
            self._ghost,
            self._option,
            mujoco.MjvPerturb(),
            mujoco.mjtCatBit.mjCAT_DYNAMIC.value,
            self._scene,
        )
        for index in range(robot, self._scene.ngeom):
            geom = self._scene.geoms[index]
            geom.rgba[:] = GHOST
            geom.matid = -1  # else its material's colour is drawn

    def close(self) -> None:
        """Free the context; nothing can be drawn after that."""
        self._context.make_current()
        self._mjr.free()
        self._context.free()


def _place(model: mujoco.MjModel, data: mujoco.MjData, qpos: Array) -> None:
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)  # lights follow the centre of mass
    mujoco.mj_camlight(model, data)

"""The version of a robot: digests over all that changes its motion or its sensors' readings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import mujoco
import numpy as np

from envs.robot.bam import BamServo
from envs.robot.consistency import IMU_SITE
from envs.robot.description import RobotDescription

_FIELDS = {
    "body": "mass ipos pos quat gravcomp",
    "jnt": "type pos axis range limited margin solref solimp stiffness stiffnesspoly springyield "
    "actgravcomp",
    "dof": "armature damping dampingpoly frictionloss solref solimp",
    "geom": "type size pos quat friction condim margin gap contype conaffinity solref solimp "
    "priority solmix adhesion surfacevel",
    "site": "pos quat",
    "actuator": "gainprm biasprm ctrllimited ctrlrange forcerange ctrlspec",
    "pair": "dim friction gap margin solref solreffriction solimp adhesion",
}
"""Fields of the compiled model that count, by kind of object. Fields for which `check_consistency`
allows a single value are left out: an actuator's gear, for example, or what a sensor reads."""


def robot_digests(
    description: RobotDescription,
    model: mujoco.MjModel,
    bam: BamServo | None = None,
    timestep: float | None = None,
) -> tuple[str, str]:
    """16 hex digits over the whole robot, and 16 over all but the physics step.

    `timestep` [s] is the MJCF's own where the model has another: a simulation with another step is
    one of the same robot, as one on another ground is. Not covered either are looks and the scene.
    Values are rounded to 1e-10, so that the last bit of a compiler's arithmetic does not matter.
    """
    servo = description.servo
    assert servo is not None
    # Bodies fixed to the world belong to the scene.
    bodies = np.flatnonzero(model.body_rootid != 0)
    paired = np.isin(np.arange(model.ngeom), [model.pair_geom1, model.pair_geom2])
    collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0) | paired
    geoms = np.flatnonzero(collides & np.isin(model.geom_bodyid, bodies))
    named_sites = [str(foot.site) for foot in description.feet.values()] + [IMU_SITE]

    def names(kind: str, ids: np.ndarray) -> list[str]:
        return [getattr(model, kind)(int(index)).name for index in ids]

    texts = {
        "description": [
            (name, {key: value for key, value in asdict(joint).items() if value is not None})
            for name, joint in description.joints.items()
        ],
        "plates": list((description.plates or {}).items()),
        "servo": asdict(servo),
        # What only a stranger's robot has; without it a robot's version is what it was before.
        **({} if description.model is None else {"completed": _completed(description, model)}),
        **({} if bam is None else {"bam": asdict(bam)}),
        "bodies": [names("body", bodies), names("body", model.body_parentid[bodies])],
        "joints": [names("joint", np.arange(model.njnt)), names("body", model.jnt_bodyid)],
        "geoms": names("body", model.geom_bodyid[geoms]),
        "pairs": [names("geom", model.pair_geom1), names("geom", model.pair_geom2)],
        "excludes": [
            names("body", model.exclude_signature >> 16),
            names("body", model.exclude_signature & 0xFFFF),
        ],
    }
    rows = {"body": bodies, "geom": geoms, "site": [model.site(name).id for name in named_sites]}
    values = {
        f"{kind}_{field}": getattr(model, f"{kind}_{field}")[rows.get(kind, slice(None))]
        for kind, listed in _FIELDS.items()
        for field in listed.split()
    }
    values |= {"home": model.key("home").qpos, "zero": model.qpos0, "spring": model.qpos_spring}
    values["inertia"] = np.array([_inertia(model, body) for body in bodies.tolist()])
    values["meshes"] = np.concatenate(
        [np.zeros((0, 3))] + [_vertices(model, geom) for geom in geoms.tolist()]
    )
    for option in (name for name in dir(model.opt) if not name.startswith("_")):
        values[f"opt_{option}"] = np.asarray(getattr(model.opt, option))
    compiled = float(values.pop("opt_timestep"))

    sha = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for name in sorted(values):
        rounded = np.round(values[name].astype(np.float64), 10) + 0.0  # + 0.0 turns -0 into 0
        sha.update(name.encode() + repr(rounded.shape).encode() + rounded.tobytes())
    untimed = sha.hexdigest()[:16]
    sha.update(repr(round(compiled if timestep is None else timestep, 10)).encode())
    return sha.hexdigest()[:16], untimed


def _completed(description: RobotDescription, model: mujoco.MjModel) -> list[object]:
    """Names that say what is measured of a completed model."""
    feet = [(name, foot.body) for name, foot in description.feet.items()]
    soles = [asdict(foot.sole) for foot in description.feet.values() if foot.sole is not None]
    imu = model.body(model.site_bodyid[model.site(IMU_SITE).id]).name
    return [feet, soles, list((description.legs or {}).items()), list(description.held), imu]


def _inertia(model: mujoco.MjModel, body: int) -> np.ndarray:
    """Inertia tensor (3, 3) in axes of the body: principal axes are not unique."""
    axes = np.zeros(9)
    mujoco.mju_quat2Mat(axes, model.body_iquat[body])
    axes = axes.reshape(3, 3)
    return axes @ np.diag(model.body_inertia[body]) @ axes.T


def _vertices(model: mujoco.MjModel, geom: int) -> np.ndarray:
    """Vertices (n, 3) of a geom's mesh; none for other shapes."""
    mesh = model.geom_dataid[geom]
    if mesh < 0:
        return np.zeros((0, 3))
    start = model.mesh_vertadr[mesh]
    return model.mesh_vert[start : start + model.mesh_vertnum[mesh]]

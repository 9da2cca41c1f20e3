"""Floor, soles and IMU of a model, and which joints are the legs."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np

from envs.robot.completion.opening import free_name
from envs.robot.completion.work import Array, Work
from envs.robot.consistency import IMU_SITE, ROOT_SITE
from envs.robot.description import FootDescription, RobotDescription
from envs.robot.legs import joints_above
from envs.robot.soles import colliding_geoms, lowest_point
from envs.robot.spec import FEET, SIDES

FLOOR = "floor"
TURNED = np.radians(5.0)
"""An IMU's site that is turned by more than this against the root is given the root's axes."""


def add_floor(work: Work) -> None:
    """The plane that the scene has, called `floor`, or a new one."""
    spec, name = work.spec, FLOOR
    planes = [g for g in spec.geoms if g.type == mujoco.mjtGeom.mjGEOM_PLANE
              and g.parent.name == "world"]  # fmt: skip
    named = spec.geom(name)
    if named is not None and named.parent.name == "world":
        return
    if named is not None:
        named.name = free_name(f"{name}_of_robot", {geom.name for geom in spec.geoms})
    if planes:
        planes[0].name = name
        return
    bits = 1
    for geom in spec.geoms:
        bits |= geom.contype | geom.conaffinity
    spec.worldbody.add_geom(
        name=name, type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05], contype=bits,
        conaffinity=bits, condim=3, friction=[1.0, 0.005, 0.0001], pos=[0, 0, 0], priority=0,
        rgba=[0.85, 0.86, 0.87, 1.0],
    )  # fmt: skip
    work.notes.append("a level floor is added")


def add_soles(work: Work, model: mujoco.MjModel, posture: mujoco.MjData) -> None:
    """A site in the plane of each sole; `posture` is home with the root at the origin."""
    feet: dict[str, FootDescription] = {}
    taken = {site.name for site in work.spec.sites}
    for foot, told in work.description.feet.items():
        body = model.body(told.body).id
        if told.site is not None:
            work.require(told.site in taken, f"feet.{foot}.site is {told.site!r}; the model has "
                         f"{', '.join(filter(None, taken)) or 'none'}")  # fmt: skip
            work.require(model.site_bodyid[model.site(told.site).id] == body,
                         f"feet.{foot}.site {told.site!r} is not on {told.body!r}")  # fmt: skip
            feet[foot] = told
            continue
        name = free_name(f"{foot}_sole", taken)
        if told.sole is not None:
            pos, quat = np.array(told.sole.pos), np.array(told.sole.quat)
        else:
            pos, quat = _sole_at_home(work, model, posture, foot, body)
            shown = ", ".join(f"{1000 * value:.1f}" for value in pos)
            work.notes.append(f"{foot}: the sole is found at [{shown}] mm of {told.body}")
        work.spec.body(told.body).add_site(
            name=name, pos=pos, quat=quat, size=[0.005, 0.005, 0.005], group=4
        )
        feet[foot] = replace(told, site=name)
    plates = work.description.plates
    for plate, foot in (plates or {}).items():
        geom = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, plate)
        found = colliding_geoms(model, model.body(feet[foot].body).id)
        allowed = ", ".join(model.geom(int(index)).name for index in found)
        work.require(geom in found, f"plates.{plate} is no geom of {foot} that collides; allowed: "
                     f"{allowed}")  # fmt: skip
    work.description = replace(work.description, feet=feet)


def _sole_at_home(
    work: Work, model: mujoco.MjModel, posture: mujoco.MjData, foot: str, body: int
) -> tuple[Array, Array]:
    """Place and axes of a sole in its body: under the last joint, level when the robot stands."""
    joints = joints_above(model, body)
    ankle = posture.xanchor[joints[-1]]
    point = np.array([ankle[0], ankle[1], lowest_point(model, posture, body)])
    axes = posture.xmat[body].reshape(3, 3)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(axes.T).ravel())
    return axes.T @ (point - posture.xpos[body]), quat


def add_imu(work: Work, model: mujoco.MjModel) -> None:
    """Site `imu`, and site `root` at the root body's origin."""
    spec, told = work.spec, work.description.imu
    root = work.description.root.body
    body, pos, quat = root, np.zeros(3), np.array([1.0, 0, 0, 0])
    if told is not None:
        zero = mujoco.MjData(model)
        zero.qpos[:] = 0.0
        start = model.jnt_qposadr[model.joint(work.description.root.joint).id]
        zero.qpos[start + 3] = 1.0
        mujoco.mj_kinematics(model, zero)
        if told.site is not None:
            site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, told.site)
            names = ", ".join(filter(None, (model.site(i).name for i in range(model.nsite))))
            work.require(site >= 0, f"imu.site is {told.site!r}; the model has {names or 'none'}")
            body = model.body(model.site_bodyid[site]).name
            pos, axes = model.site_pos[site], zero.site_xmat[site].reshape(3, 3)
            given = np.arccos(np.clip((np.trace(axes) - 1) / 2, -1, 1)) <= TURNED
            quat = model.site_quat[site] if given else None
            if not given:
                work.notes.append(f"imu: site {told.site} is turned; its readings are given in the "
                                  "root's axes, as a calibrated one's are")  # fmt: skip
        else:
            body, pos, quat = told.body, np.array(told.pos), told.quat
            names = [model.body(i).name for i in range(1, model.nbody)]
            work.require(body in names, f"imu.body is {body!r}; the model has {', '.join(names)}")
        if quat is None:
            quat, inverse = np.zeros(4), zero.xmat[model.body(body).id].reshape(3, 3).T
            mujoco.mju_mat2Quat(quat, np.ascontiguousarray(inverse).ravel())
    places = {IMU_SITE: (body, pos, quat), ROOT_SITE: (root, np.zeros(3), [1.0, 0, 0, 0])}
    for name, (owner, where, axes) in places.items():
        if (other := spec.site(name)) is not None:
            other.name = free_name(f"{name}_of_robot", {site.name for site in spec.sites})
        small = [0.005, 0.005, 0.005]
        spec.body(owner).add_site(name=name, pos=where, quat=axes, size=small, group=4)
    if body != root:
        work.notes.append(f"imu: on {body}, which the joints between turn against the root")
    moved = {str(foot.site) for foot in work.description.feet.values()} & set(places)
    work.require(not moved, f"a sole's site may not be called {', '.join(moved)}")


def with_legs(work: Work, model: mujoco.MjModel) -> RobotDescription:
    """The description with the joints of each leg, which are those above the foot."""
    description = work.description
    legs = description.legs or {}
    found: dict[str, tuple[str, ...]] = {}
    for side, foot in zip(SIDES, FEET, strict=True):
        above = joints_above(model, model.body(description.feet[foot].body).id)
        names = [model.joint(index).name for index in above]
        driven = tuple(name for name in names if name in description.joints)
        found[side] = legs.get(side, driven)
    left, right = (set(found[side]) for side in SIDES)
    shared = left & right if not legs else set()
    found = {side: tuple(n for n in leg if n not in shared) for side, leg in found.items()}
    listed = "; ".join(f"{side}: {', '.join(leg) or 'none'}" for side, leg in found.items())
    work.require(
        all(found.values()),
        f"one foot hangs on no joint of its own: a biped has two legs ({listed})",
    )
    return replace(description, legs=found)

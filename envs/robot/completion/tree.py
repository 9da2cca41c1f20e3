"""Changes of a model's tree: tendons and joints taken out, the root turned."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np

from envs.robot.completion.work import Array, Work


def drop_tendons(work: Work) -> None:
    """Take out tendons; a joint that one of them pulls has no servo and was refused before."""
    tendons = list(work.spec.tendons)
    for tendon in tendons:
        work.spec.delete(tendon)
    if tendons:
        limits = sum(int(tendon.limited) == 1 for tendon in tendons)
        lost = f"; {limits} of them limited joints together" if limits else ""
        work.notes.append(f"{len(tendons)} tendons are taken out{lost}")


def fix_joints(work: Work, model: mujoco.MjModel, home: dict[str, float]) -> None:
    """Take joints out of the model: their bodies stay where home has them."""
    fixed = work.description.fixed
    if not fixed:
        return
    spec = work.spec
    for body in list(spec.bodies):
        own = list(body.joints)
        if not (gone := [joint for joint in own if joint.name in fixed]):
            continue
        work.require(
            own[: len(gone)] == gone or len(own) == len(gone),
            f"fixed has {gone[0].name!r}, but another joint of body {body.name!r} is in front of "
            "it; hold it, or give it a body of its own",
        )
        index = model.body(body.name).id
        pos, quat = model.body_pos[index].copy(), model.body_quat[index].copy()
        for joint in gone:
            number = model.joint(joint.name).id
            kind = model.jnt_type[number]
            angle = home[joint.name] - float(model.qpos0[model.jnt_qposadr[number]])
            axis, anchor = model.jnt_axis[number], model.jnt_pos[number]
            if kind == mujoco.mjtJoint.mjJNT_SLIDE:
                pos = pos + _rotated(axis * angle, quat)
                continue
            work.require(kind == mujoco.mjtJoint.mjJNT_HINGE, f"fixed has {joint.name!r}, which is "
                         "neither a hinge nor a slide")  # fmt: skip
            turn = np.zeros(4)
            mujoco.mju_axisAngle2Quat(turn, axis, angle)
            pos = pos + _rotated(anchor - _rotated(anchor, turn), quat)
            quat = _product(quat, turn)
        frame = body.parent.add_frame()
        body.set_frame(frame)
        body.pos, body.quat = pos, quat
        body.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
        for joint in gone:
            spec.delete(joint)
    for equality in list(spec.equalities):
        if {equality.name1, equality.name2} & set(fixed):
            spec.delete(equality)
    work.description = replace(work.description, fixed=())
    work.notes.append(f"taken out of the model, at home: {', '.join(fixed)}")


def turn_root(work: Work, root: Array | None) -> Array | None:
    """Let the root body's x be forward and its z up; the keyframe's pose of it, likewise."""
    told = work.description.root
    forward, up = np.array(told.forward, float), np.array(told.up, float)
    for name, axis in (("forward", forward), ("up", up)):
        work.require(np.linalg.norm(axis) > 1e-6, f"root.{name} is {list(axis)}; give a direction")
    up = up / np.linalg.norm(up)
    forward = forward - up * (forward @ up)
    work.require(np.linalg.norm(forward) > 1e-3, "root.forward and root.up are the same direction")
    forward = forward / np.linalg.norm(forward)
    axes = np.stack([forward, np.cross(up, forward), up], axis=1)  # new axes in the old ones
    if np.abs(axes - np.eye(3)).max() < 1e-9:
        return root
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    inverse = quat * [1, -1, -1, -1]
    body = work.spec.body(told.body)
    frames = [frame for frame in body.frames if frame.frame is None]
    inner = body.add_frame(quat=inverse)
    for frame in frames:
        frame.set_frame(inner)
    for element in (*body.geoms, *body.sites, *body.cameras, *body.lights, *body.bodies):
        direct = element.parent is None or element.parent.name == body.name
        if direct and element.frame is None and element.name != body.name:
            element.set_frame(inner)
    if body.explicitinertial:
        body.ipos = _rotated(np.array(body.ipos), inverse)
        if np.isfinite(body.fullinertia[0]):
            xx, yy, zz, xy, xz, yz = body.fullinertia
            tensor = axes.T @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ axes
            body.fullinertia = [*tensor.diagonal(), tensor[0, 1], tensor[0, 2], tensor[1, 2]]
        else:
            body.iquat = _product(inverse, np.array(body.iquat))
    body.quat = _product(np.array(body.quat), quat)
    work.notes.append(f"root {told.body} is turned: forward is its {list(told.forward)}, up its "
                      f"{list(told.up)}")  # fmt: skip
    if root is None:
        return None
    return np.concatenate([root[:3], _product(root[3:], quat)])


def _rotated(vector: Array, quat: Array) -> Array:
    result = np.zeros(3)
    mujoco.mju_rotVecQuat(result, np.asarray(vector, float), np.asarray(quat, float))
    return result


def _product(a: Array, b: Array) -> Array:
    result = np.zeros(4)
    mujoco.mju_mulQuat(result, np.asarray(a, float), np.asarray(b, float))
    return result

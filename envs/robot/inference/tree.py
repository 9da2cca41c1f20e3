"""Links, joints and limbs of a compiled robot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from envs.robot.inference.reading import InferenceError
from envs.robot.soles import geom_points

Array = np.ndarray


@dataclass(frozen=True)
class Tree:
    """The robot under one free joint.

    A link is a body that moves by joints of its own, with all bodies that are fixed to it; its
    number is that of the body.
    """

    model: mujoco.MjModel
    root: int
    """Body of the free joint."""

    @cached_property
    def bodies(self) -> tuple[int, ...]:
        """The robot's bodies, in the model's order."""
        top = self.model.body_rootid
        return tuple(b for b in range(self.model.nbody) if top[b] == self.root)

    @cached_property
    def links(self) -> tuple[int, ...]:
        """The robot's links, in the model's order; the root is the first."""
        return tuple(b for b in self.bodies if self.model.body_weldid[b] == b)

    @cached_property
    def joints(self) -> tuple[int, ...]:
        """The robot's joints but the free one, in the model's order."""
        return tuple(j for link in self.links[1:] for j in self.joints_of(link))

    def joints_of(self, link: int) -> tuple[int, ...]:
        """Joints between the link and its parent, from the parent on."""
        first, number = int(self.model.body_jntadr[link]), int(self.model.body_jntnum[link])
        return tuple(range(first, first + number))

    def parent(self, link: int) -> int:
        """The link that the link hangs on."""
        return int(self.model.body_weldid[self.model.body_parentid[link]])

    def children(self, link: int) -> tuple[int, ...]:
        """Links that hang on the link."""
        return tuple(c for c in self.links[1:] if self.parent(c) == link)

    def chain(self, link: int) -> tuple[int, ...]:
        """Links from the root (left out) to the link."""
        found: list[int] = []
        while link != self.root:
            found.append(link)
            link = self.parent(link)
        return tuple(reversed(found))

    def path(self, link: int) -> tuple[int, ...]:
        """Joints from the root to the link."""
        return tuple(joint for part in self.chain(link) for joint in self.joints_of(part))

    def below(self, link: int) -> tuple[int, ...]:
        """The link and all links that hang on it, in the model's order."""
        return tuple(c for c in self.links if link == self.root or link in self.chain(c))

    def link_bodies(self, link: int) -> tuple[int, ...]:
        """The bodies of a link."""
        return tuple(b for b in self.bodies if self.model.body_weldid[b] == link)

    @cached_property
    def colliding(self) -> frozenset[int]:
        """Geoms that collide with something: by their bits or by an explicit pair."""
        model = self.model
        bits = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
        paired = {*model.pair_geom1.tolist(), *model.pair_geom2.tolist()}
        return frozenset({*np.flatnonzero(bits).tolist(), *paired})

    def geoms(self, link: int, colliding: bool = True) -> tuple[int, ...]:
        """Geoms of a link: those that collide, or all."""
        bodies = self.link_bodies(link)
        found = (g for g in range(self.model.ngeom) if self.model.geom_bodyid[g] in bodies)
        return tuple(g for g in found if g in self.colliding or not colliding)

    @cached_property
    def actuators(self) -> dict[int, tuple[int, ...]]:
        """Joint -> the actuators that drive it, for joints that have some."""
        found: dict[int, tuple[int, ...]] = {}
        kinds = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
        for actuator in range(self.model.nu):
            joint = int(self.model.actuator_trnid[actuator, 0])
            if int(self.model.actuator_trntype[actuator]) in kinds and joint in self.joints:
                found[joint] = (*found.get(joint, ()), actuator)
        return found

    @cached_property
    def driven(self) -> frozenset[int]:
        """Joints that have an actuator; all hinges of a model without any actuator."""
        if self.actuators:
            return frozenset(self.actuators)
        hinge = mujoco.mjtJoint.mjJNT_HINGE
        return frozenset(j for j in self.joints if self.model.jnt_type[j] == hinge)

    def joint_name(self, joint: int) -> str:
        """Name of a joint; `joint 7` for one without."""
        return self.model.joint(joint).name or f"joint {joint}"

    def body_name(self, body: int) -> str:
        """Name of a body; `body 7` for one without."""
        return self.model.body(body).name or f"body {body}"

    def address(self, joint: int) -> int:
        """Where the joint's position stands in qpos."""
        return int(self.model.jnt_qposadr[joint])

    @cached_property
    def mass(self) -> float:
        """Mass of the robot [kg]."""
        return float(self.model.body_mass[list(self.bodies)].sum())


def find_tree(model: mujoco.MjModel) -> tuple[Tree, tuple[str, ...]]:
    """The robot in a model, and notes on what else floats there.

    Raises:
        InferenceError: nothing floats, or what floats has no joints.
    """
    free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    trees = [Tree(model, int(model.jnt_bodyid[joint])) for joint in free]
    if not trees:
        slides = int((model.jnt_type == mujoco.mjtJoint.mjJNT_SLIDE).sum())
        rails = f" (its {slides} slide joints hold it on rails)" if slides else ""
        raise InferenceError(
            f"no body has a free joint{rails}; give the robot's top body <freejoint/>, so that it "
            "can move and fall"
        )
    tree = max(trees, key=lambda each: (len(each.driven), len(each.joints), each.mass))
    if not tree.joints:
        raise InferenceError(
            f"body {tree.body_name(tree.root)!r} has a free joint, but no joint hangs on it"
        )
    others = [each.body_name(each.root) for each in trees if each is not tree]
    notes = [f"{', '.join(others)} also float: not the robot"] if others else []
    return tree, tuple(notes)


def placed_points(
    model: mujoco.MjModel, geoms: tuple[int, ...], data: mujoco.MjData
) -> tuple[Array, Array]:
    """Points (N, 3) of geoms in the world, and the radius (N,) of the ball around each."""
    points, radii = [np.zeros((0, 3))], [np.zeros(0)]
    for geom in geoms:
        local, radius = geom_points(model, geom)
        points.append(local @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])
        radii.append(np.full(len(local), radius))
    return np.concatenate(points), np.concatenate(radii)

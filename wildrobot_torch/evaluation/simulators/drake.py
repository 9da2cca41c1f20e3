"""The robot in Drake: its own tree, contact model and integration.

The tree is built from the arrays of the compiled MJCF, body by body; Drake's own parser reads the
file without an error, but loses the servos' damping and what a joint loses to friction. Soles are
four spheres each at the corners of both plates, because a box on a half space has a single point.
"""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np

from envs.robot.model import ROBOT_DIRECTORY
from envs.robot.spec import FEET, RobotSpec
from wildrobot_torch.contract import Array
from wildrobot_torch.evaluation.simulators.simulator import Body

RADIUS = 0.002
"""Of a sole's contact spheres [m], half as thick as the plates."""
FLOOR = 100.0
"""How far the floor reaches to each side [m]."""
STICKING = 0.01
"""Speed at which a joint's dry friction is 76 % of its size [rad/s]; Drake has no dry friction."""

_USED = {
    "common.eigen_geometry": ("Quaternion",),
    "geometry": ("Box", "Sphere"),
    "math": ("RigidTransform", "RotationMatrix"),
    "multibody.math": ("SpatialVelocity",),
    "multibody.plant": (
        "AddMultibodyPlantSceneGraph",
        "CoulombFriction",
        "DiscreteContactApproximation",
    ),
    "multibody.tree": (
        "FixedOffsetFrame",
        "RevoluteJoint",
        "RotationalInertia",
        "SpatialInertia",
    ),
    "systems.analysis": ("Simulator",),
    "systems.framework": ("DiagramBuilder",),
}
"""Modules of pydrake, and what is used of each."""


def pydrake() -> SimpleNamespace:
    """What is used of Drake, by name; imported here, because Drake is an optional package."""
    return SimpleNamespace(**{
        name: getattr(import_module(f"pydrake.{module}"), name)
        for module, names in _USED.items()
        for name in names
    })  # fmt: skip


class Drake:
    """One robot in Drake."""

    name = "drake"
    dt = 0.002

    def __init__(self, robot: RobotSpec) -> None:
        """Builds the plant from the MJCF that `robot` is from."""
        self._robot, self._drake = robot, pydrake()
        model = mujoco.MjModel.from_xml_path(str(ROBOT_DIRECTORY / "scene_flat.xml"))
        self.mass = 0.0
        builder = self._drake.DiagramBuilder()
        self._plant, _ = self._drake.AddMultibodyPlantSceneGraph(builder, time_step=self.dt)
        plant = self._plant
        plant.set_discrete_contact_approximation(self._drake.DiscreteContactApproximation.kLagged)
        plant.mutable_gravity_field().set_gravity_vector(model.opt.gravity.copy())
        self._bodies = {0: plant.world_body()}
        self._joints: dict[str, Any] = {}
        for index in range(1, model.nbody):
            self._add_body(model, index)
        self._plates: dict[Any, int] = {}
        self._add_contact(model)
        plant.Finalize()
        self._set_armature(model)
        self._friction = np.array([
            model.dof_frictionloss[model.joint(name).dofadr[0]] for name in robot.joint_names
        ])  # fmt: skip
        diagram = builder.Build()
        self._analysis = self._drake.Simulator(diagram)
        self._context = plant.GetMyMutableContextFromRoot(self._analysis.get_mutable_context())
        plant.get_actuation_input_port().FixValue(
            self._context, np.zeros(plant.num_actuated_dofs())
        )
        self._port = plant.get_applied_generalized_force_input_port()
        self._port.FixValue(self._context, np.zeros(plant.num_velocities()))
        named = [self._joints[name] for name in robot.joint_names]
        self._order = named
        self._positions = np.array([joint.position_start() for joint in named])
        self._velocities = np.array([joint.velocity_start() for joint in named])
        self.mass = float(plant.CalcTotalMass(self._context))
        sites = [model.site(f"{foot.split('_')[0]}_sole") for foot in FEET]
        self._soles = [(self._bodies[int(site.bodyid[0])], site.pos.copy()) for site in sites]
        leg, half = robot.leg, robot.leg.sole_width / 2
        self._corners = np.array([[x, y, 0.0] for x in (leg.heel, leg.toe) for y in (-half, half)])

    def _add_body(self, model: mujoco.MjModel, index: int) -> None:
        """A body with its inertia, and the hinge that carries it; the root is left free."""
        drake, plant, body = self._drake, self._plant, model.body(index)
        turn = drake.RotationMatrix(drake.Quaternion(model.body_iquat[index]))
        principal = drake.RotationalInertia(*model.body_inertia[index])
        inertia = drake.SpatialInertia.MakeFromCentralInertia(
            mass=model.body_mass[index],
            p_PScm_E=model.body_ipos[index],
            I_SScm_E=principal.ReExpress(turn),
        )
        added = plant.AddRigidBody(body.name, inertia)
        self._bodies[index] = added
        start, count = model.body_jntadr[index], model.body_jntnum[index]
        if count != 1:
            raise ValueError(f"body {body.name!r} has {count} joints; expected 1")
        joint = model.joint(start)
        if model.jnt_type[start] == mujoco.mjtJoint.mjJNT_FREE:
            return
        pose = drake.RigidTransform(drake.Quaternion(model.body_quat[index]), model.body_pos[index])
        parent = self._bodies[int(model.body_parentid[index])]
        frame = plant.AddFrame(
            drake.FixedOffsetFrame(f"{joint.name}_frame", parent.body_frame(), pose)
        )
        low, high = model.jnt_range[start]
        hinge = plant.AddJoint(
            drake.RevoluteJoint(
                joint.name, frame, added.body_frame(), model.jnt_axis[start], low, high,
                model.dof_damping[model.jnt_dofadr[start]],
            )
        )  # fmt: skip
        self._joints[joint.name] = hinge
        plant.AddJointActuator(f"{joint.name}_armature", hinge)  # rotor inertia is an actuator's

    def _set_armature(self, model: mujoco.MjModel) -> None:
        for name in self._joints:
            actuator = self._plant.GetJointActuatorByName(f"{name}_armature")
            actuator.set_default_rotor_inertia(model.dof_armature[model.joint(name).dofadr[0]])
            actuator.set_default_gear_ratio(1.0)

    def _add_contact(self, model: mujoco.MjModel) -> None:
        """The floor, and spheres at the lower corners of the plates."""
        drake, plant = self._drake, self._plant

        def friction(geom: int) -> Any:
            # Drake combines two frictions by their harmonic mean, MuJoCo by the larger one.
            mu = max(model.geom_friction[geom, 0], model.geom_friction[floor, 0])
            return drake.CoulombFriction(mu, mu)

        floor = model.geom("floor").id
        slab = drake.Box(2.0 * FLOOR, 2.0 * FLOOR, 1.0)
        under = drake.RigidTransform(np.array([0.0, 0.0, -0.5]))
        plant.RegisterCollisionGeometry(plant.world_body(), under, slab, "floor", friction(floor))
        for plate, name in enumerate(self._robot.plate_names):
            geom = model.geom(name).id
            body = self._bodies[int(model.geom_bodyid[geom])]
            x, y, z = model.geom_size[geom]
            for corner, (a, b) in enumerate(((1, 1), (1, -1), (-1, 1), (-1, -1))):
                offset = np.array([a * (x - RADIUS), b * (y - RADIUS), RADIUS - z])
                centre = drake.RigidTransform(model.geom_pos[geom] + offset)
                found = plant.RegisterCollisionGeometry(
                    body, centre, drake.Sphere(RADIUS), f"{name}_{corner}", friction(geom)
                )
                self._plates[found] = plate

    def place(self, qpos: Array, qvel: Array) -> None:
        """See `Simulator.place`."""
        drake, plant, context = self._drake, self._plant, self._context
        self._analysis.get_mutable_context().SetTime(0.0)
        root = self._bodies[1]
        orientation = drake.Quaternion(qpos[3:7] / np.linalg.norm(qpos[3:7]))
        plant.SetFreeBodyPose(context, root, drake.RigidTransform(orientation, qpos[:3]))
        # Drake's angular velocity is in the world, MuJoCo's in the root's own frame.
        spin = drake.RotationMatrix(orientation) @ qvel[3:6]
        plant.SetFreeBodySpatialVelocity(context, root, drake.SpatialVelocity(spin, qvel[:3]))
        for joint, angle, rate in zip(self._order, qpos[7:], qvel[6:], strict=True):
            joint.set_angle(context, angle)
            joint.set_angular_rate(context, rate)
        self._port.FixValue(context, np.zeros(plant.num_velocities()))
        self._analysis.Initialize()
        self._steps = 0

    def joints(self) -> tuple[Array, Array]:
        """See `Simulator.joints`."""
        plant = self._plant
        return (
            plant.GetPositions(self._context)[self._positions],
            plant.GetVelocities(self._context)[self._velocities],
        )

    def step(self, torque: Array) -> None:
        """See `Simulator.step`."""
        speed = self._plant.GetVelocities(self._context)[self._velocities]
        force = np.zeros(self._plant.num_velocities())
        force[self._velocities] = torque - self._friction * np.tanh(speed / STICKING)
        self._port.FixValue(self._context, force)
        # Times are counted: a sum of steps that is late by one bit would make Drake step twice.
        self._steps += 1
        self._analysis.AdvanceTo(self._steps * self.dt)

    def body(self) -> Body:
        """See `Simulator.body`."""
        plant, context = self._plant, self._context
        root = self._bodies[1]
        pose = plant.EvalBodyPoseInWorld(context, root)
        speed = plant.EvalBodySpatialVelocityInWorld(context, root)
        angles, rates = self.joints()
        rotational = pose.rotation().inverse() @ speed.rotational()
        places, velocities, lowest = [], [], []
        for foot, site in self._soles:
            at = plant.EvalBodyPoseInWorld(context, foot)
            moving = plant.EvalBodySpatialVelocityInWorld(context, foot)
            arm = at.rotation() @ site
            place = at.translation() + arm
            places.append(place)
            velocities.append(moving.translational() + np.cross(moving.rotational(), arm))
            lowest.append(place[2] + (self._corners @ at.rotation().matrix().T)[:, 2].min())
        return Body(
            qpos=np.concatenate([
                pose.translation(), pose.rotation().ToQuaternion().wxyz(), angles,
            ]),
            qvel=np.concatenate([speed.translational(), rotational, rates]),
            sole_pos=np.array(places),
            sole_linvel=np.array(velocities),
            sole_height=np.array(lowest),
            plate_force=self._support(),
            com=plant.CalcCenterOfMassPositionInWorld(context),
        )  # fmt: skip

    def _support(self) -> Array:
        """Vertical force of the floor on each plate (4,) [N]; of the last step, 0 before it."""
        support = np.zeros(len(self._robot.plate_names))
        if not self._steps:
            return support
        results = self._plant.get_contact_results_output_port().Eval(self._context)
        for index in range(results.num_point_pair_contacts()):
            contact = results.point_pair_contact_info(index)
            pair = contact.point_pair()
            # Sole against sole is no support.
            plates = [self._plates[g] for g in (pair.id_A, pair.id_B) if g in self._plates]
            if len(plates) == 1:
                support[plates[0]] += abs(contact.contact_force()[2])
        return support

"""MuJoCo by its C step, one model and one data, with other numerics than the robot's MJCF asks for.

Nothing of the environment is here: no batch, no actuators of the MJCF. The servos' torques come in
as applied joint forces, for each physics step anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from envs.robot.model import ROBOT_DIRECTORY
from envs.robot.spec import FEET, RobotSpec
from wildrobot_torch.contract import Array
from wildrobot_torch.evaluation.simulators.simulator import Body


@dataclass(frozen=True)
class Numerics:
    """What of MuJoCo is changed; a default is the MJCF's."""

    meaning: str
    dt: float = 0.002
    """Physics step [s]."""
    integrator: str = "EULER"
    cone: str = "PYRAMIDAL"
    solver: str = "NEWTON"
    iterations: int = 10
    solref: tuple[float, float] = (0.02, 1.0)
    """Of soles and floor: time constant [s] and damping ratio of a contact."""
    solimp: tuple[float, float, float] = (0.9, 0.95, 0.001)
    """Of soles and floor: impedance at touch and in depth [1], that depth [m]."""
    impratio: float = 1.0
    """Impedance of friction over that of the normal force."""


# fmt: off
NUMERICS: dict[str, Numerics] = {
    "mujoco": Numerics("numerics of the MJCF"),
    "mujoco-implicit": Numerics("integrator implicitfast", integrator="IMPLICITFAST"),
    "mujoco-elliptic": Numerics("elliptic friction cone, stiff", cone="ELLIPTIC", impratio=10.0),
    "mujoco-cg": Numerics("solver CG", solver="CG", iterations=100),
    "mujoco-soft": Numerics("softer contact", solref=(0.04, 1.0), solimp=(0.8, 0.9, 0.002)),
    "mujoco-hard": Numerics("harder contact", solref=(0.005, 1.0), solimp=(0.98, 0.995, 0.0005)),
    "mujoco-1ms": Numerics("physics step 1 ms", dt=0.001),
    "mujoco-4ms": Numerics("physics step 4 ms", dt=0.004),
    "mujoco-other": Numerics("implicitfast, elliptic, CG, 1 ms, harder contact together", dt=0.001,
        integrator="IMPLICITFAST", cone="ELLIPTIC", solver="CG", iterations=100,
        solref=(0.01, 1.0), solimp=(0.95, 0.99, 0.001), impratio=10.0),
}
# fmt: on
"""Simulators of this module by name."""


class PlainMujoco:
    """One robot in MuJoCo."""

    def __init__(self, name: str, robot: RobotSpec) -> None:
        """`name` is one of `NUMERICS`."""
        numerics = NUMERICS[name]
        self.name, self.dt = name, numerics.dt
        self.model = model = mujoco.MjModel.from_xml_path(str(ROBOT_DIRECTORY / "scene_flat.xml"))
        option = model.opt
        option.timestep = numerics.dt
        option.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{numerics.integrator}")
        option.cone = getattr(mujoco.mjtCone, f"mjCONE_{numerics.cone}")
        option.solver = getattr(mujoco.mjtSolver, f"mjSOL_{numerics.solver}")
        option.iterations, option.impratio = numerics.iterations, numerics.impratio
        option.disableflags |= mujoco.mjtDisableBit.mjDSBL_ACTUATION
        self._plates = [model.geom(plate).id for plate in robot.plate_names]
        self._floor = model.geom("floor").id
        touching = [*self._plates, self._floor]
        model.geom_solref[touching] = numerics.solref
        model.geom_solimp[touching, :3] = numerics.solimp
        joints = [model.joint(joint) for joint in robot.joint_names]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        self._soles = [model.site(f"{foot.split('_')[0]}_sole").id for foot in FEET]
        self._feet = [model.body(foot).id for foot in FEET]
        leg, half = robot.leg, robot.leg.sole_width / 2
        self._corners = np.array([[x, y, 0.0] for x in (leg.heel, leg.toe) for y in (-half, half)])
        self.mass = float(model.body_mass.sum())
        self.data = mujoco.MjData(model)

    def place(self, qpos: Array, qvel: Array) -> None:
        """See `Simulator.place`."""
        mujoco.mj_resetData(self.model, self.data)
        data = self.data
        data.qpos[:7], data.qpos[self._qpos] = qpos[:7], qpos[7:]
        data.qvel[:6], data.qvel[self._dofs] = qvel[:6], qvel[6:]
        mujoco.mj_forward(self.model, data)

    def joints(self) -> tuple[Array, Array]:
        """See `Simulator.joints`."""
        return self.data.qpos[self._qpos], self.data.qvel[self._dofs]

    def step(self, torque: Array) -> None:
        """See `Simulator.step`."""
        self.data.qfrc_applied[self._dofs] = torque
        mujoco.mj_step(self.model, self.data)

    def body(self) -> Body:
        """See `Simulator.body`."""
        model, data = self.model, self.data
        support = self._support()  # of the last step; what follows changes the contacts' places
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_comVel(model, data)
        velocity, velocities, lowest = np.zeros(6), [], []
        for site in self._soles:
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_SITE, site, velocity, 0)
            velocities.append(velocity[3:].copy())
            turned = self._corners @ data.site_xmat[site].reshape(3, 3).T
            lowest.append(data.site_xpos[site, 2] + turned[:, 2].min())
        return Body(
            qpos=np.concatenate([data.qpos[:7], data.qpos[self._qpos]]),
            qvel=np.concatenate([data.qvel[:6], data.qvel[self._dofs]]),
            sole_pos=data.site_xpos[self._soles].copy(),
            sole_linvel=np.array(velocities),
            sole_height=np.array(lowest),
            plate_force=support,
            com=data.subtree_com[0].copy(),
        )

    def _support(self) -> Array:
        """Vertical force of the floor on each plate (4,) [N]."""
        support, wrench = np.zeros(len(self._plates)), np.zeros(6)
        for index in range(self.data.ncon):
            contact = self.data.contact[index]
            pair = {int(contact.geom1), int(contact.geom2)}
            if self._floor in pair:
                (plate,) = pair - {self._floor}
                mujoco.mj_contactForce(self.model, self.data, index, wrench)
                # The contact's frame has its axes in rows; the floor only pushes.
                vertical = abs(float(contact.frame.reshape(3, 3)[:, 2] @ wrench[:3]))
                support[self._plates.index(plate)] += vertical
        return support

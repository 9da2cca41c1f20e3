"""A simulated robot: plain MuJoCo, servos on buses, sensors that are late, stale and wrong.

Nothing of the training environment's stepping is here. The model is the robot's MJCF, the servos'
numbers are those of robot.yaml, and everything else is of `RobotOptions`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import yaml

import envs
from envs.errors import UserError
from wildrobot_torch.deploy.runtime.hardware import Array, Sample
from wildrobot_torch.deploy.simulated.faults import Fault, parse
from wildrobot_torch.deploy.simulated.options import RobotOptions
from wildrobot_torch.deploy.simulated.servos import Mask, ServoLaw, Servos

DIRECTORY = Path(envs.__file__).parent / "assets" / "wildrobot"
"""The robot that ships with the project."""
VOLTAGE_COUNT = 0.001
"""Step of a servo's voltage [V]; its temperature has whole degrees."""
HEALTH_S = 1.0
"""Time between two readings of a servo's voltage and temperature [s]."""


def rotation_about(x: float, y: float, z: float) -> Array:
    """Unit quaternion (wxyz) of a rotation about fixed x, then y, then z [rad]."""
    half = 0.5 * np.array([x, y, z])
    (cx, cy, cz), (sx, sy, sz) = np.cos(half), np.sin(half)
    return product(
        np.array([cz, 0.0, 0.0, sz]),
        product(np.array([cy, 0.0, sy, 0.0]), np.array([cx, sx, 0.0, 0.0])),
    )


def product(a: Array, b: Array) -> Array:
    """Quaternion (wxyz) of rotation `b` followed by `a`."""
    result = np.zeros(4)
    mujoco.mju_mulQuat(result, a, b)
    return result


def turned_back(vector: Array, quat: Array) -> Array:
    """Components of a vector in a frame that is turned by a quaternion (wxyz)."""
    result, inverse = np.zeros(3), quat * np.array([1.0, -1.0, -1.0, -1.0])
    mujoco.mju_rotVecQuat(result, vector, inverse)
    return result


def described(robot: str) -> tuple[mujoco.MjModel, dict[str, Any]]:
    """A robot's model and the content of its robot.yaml.

    A robot of this project is read here, apart from the training's reader; a stranger's MJCF is
    completed by it.

    Raises:
        UserError: there is no such robot.
    """
    directory = DIRECTORY if robot == DIRECTORY.name else None
    if directory is None:
        from envs.robot.model import load_robot  # it needs torch

        loaded = load_robot(robot)
        if loaded.description.model is not None:
            return loaded.model, loaded.described()
        directory = loaded.directory
    content = yaml.safe_load((directory / "robot.yaml").read_text(encoding="utf-8"))
    return mujoco.MjModel.from_xml_path(str(directory / "scene_flat.xml")), content


class SimulatedRobot:
    """One robot; J servos in the order of `joint_names`."""

    def __init__(self, options: RobotOptions) -> None:
        """At the start that `options` name.

        Raises:
            UserError: an option names what the robot has not.
        """
        self.options = options
        model, self.description = described(options.robot)
        self.model = model
        # The servos' torques are made here; those of joints that are held at home stay the model's.
        model.opt.disableactuator |= 1
        self.data = mujoco.MjData(model)
        self.dt = float(model.opt.timestep)
        names = tuple(self.description["joints"])
        order = options.order or tuple(range(len(names)))
        if sorted(order) != list(range(len(names))):
            raise UserError(f"order is {order}; allowed: each of 0 to {len(names) - 1} once")
        self.joint_names = tuple(names[index] for index in order)
        self.plates = tuple(self.description["plates"]) if options.switches else ()
        joints = [model.joint(name) for name in self.joint_names]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        self._support = np.array(
            [model.sensor(f"{p}_contact").adr[0] + 3 for p in self.plates], dtype=int
        )
        self._root = model.body(self.description["root"]["body"]).id
        self._imu = model.site("imu").id
        self._imu_at_root = bool(model.site_bodyid[self._imu] == self._root)
        self.faults = [parse(text, self.joint_names, self.plates) for text in options.faults]
        self.offset = 0.0
        """Added to the simulated time in every time that is reported [s]."""
        self._assemble()
        self.place()

    def _assemble(self) -> None:
        """Draw what stays as it is for this robot's life."""
        options, joints = self.options, len(self.joint_names)
        random = np.random.default_rng((options.seed, 0))
        for name in ("signs", "zeros"):
            if len(getattr(options, name)) not in (0, joints):
                raise UserError(f"{name} has {len(getattr(options, name))} values; needs {joints}")
        self.sign = np.array(options.signs or [1] * joints, dtype=float)
        self.zero = np.radians(np.array(options.zeros or [0] * joints, dtype=float))
        self._zero_error = np.radians(options.zero_error) * random.standard_normal(joints)
        self.mount = rotation_about(*np.radians(options.imu_mount))
        x, y = np.radians(options.imu_tilt) * random.standard_normal(2)
        self._tilted_mount = product(self.mount, rotation_about(x, y, 0.0))
        self._gyro_bias = options.gyro_bias * random.standard_normal(3)
        self._drift = options.heading_drift * float(random.standard_normal())
        low, high = options.joint_period_s
        self._joint_period = random.uniform(low, high, joints)
        self._joint_phase = random.uniform(0.0, 1.0, joints) * self._joint_period
        self._imu_phase = random.uniform(0.0, 1.0) * options.imu_period_s

    def _law(self) -> ServoLaw:
        actuators = [self.model.actuator(name) for name in self.joint_names]
        servo, ideal = self.description["servo"], self.options.servo == "ideal"
        if servo["model"] != "envelope" and not ideal:
            raise UserError(
                f"robot.yaml: servo.model is {servo['model']!r}; allowed: envelope, or servo ideal"
            )
        return ServoLaw(
            kp=np.array([actuator.gainprm[0] for actuator in actuators]),
            kv=np.array([-actuator.biasprm[2] for actuator in actuators]),
            most=np.array([actuator.forcerange[1] for actuator in actuators]),
            stall_torque=servo["stall_torque"],
            no_load_speed=servo["no_load_speed"],
            voltage=servo["voltage"],
            ideal=ideal,
            count=0.0 if ideal else servo.get("count", 0.0),
            deadband=0.0 if ideal else servo.get("deadband", 0.0),
            travel_time=0.0 if ideal else servo.get("travel_time", 0.0),
        )

    @property
    def now(self) -> float:
        """Time of the robot's clock [s]."""
        return self.offset + self.steps * self.dt

    def place(self) -> None:
        """Put the robot where it starts, with its servos as they are then; its clock goes on."""
        options, data, joints = self.options, self.data, len(self.joint_names)
        mujoco.mj_resetDataKeyframe(self.model, data, self.model.key("home").id)
        pitch, roll = np.radians([options.start_pitch, options.start_roll])
        data.qpos[3:7] = product(rotation_about(roll, pitch, 0.0), data.qpos[3:7].copy())
        hangs = options.start == "gantry"
        self._hung = data.qpos[:7].copy() if hangs else None
        self._driven_since: float | None = None
        if hangs:
            data.qpos[2] += options.gantry_lift
        mujoco.mj_forward(self.model, data)
        if not hasattr(self, "steps"):
            self.steps = 0
            self._random = {
                name: np.random.default_rng((options.seed, index))
                for index, name in enumerate(("joints", "imu", "switches"), start=1)
            }
        self.servos = Servos(self._law(), self.sign, self.zero + self._zero_error, options.ambient)
        self._waiting: list[tuple[float, int, float]] = []
        self._position = np.full(joints, np.nan)
        self._position_time = np.full(joints, np.nan)
        self._due = self.steps * self.dt + self._joint_phase
        self._imu_due = self.steps * self.dt + self._imu_phase
        self._quat, self._gyro, self._imu_time = np.full(4, np.nan), np.full(3, np.nan), math.nan
        self._voltage, self._temperature = np.full(joints, np.nan), np.full(joints, np.nan)
        self._health_due = self.steps * self.dt
        self._volts = options.battery
        if not hangs:
            shown = self.servos.shown(data.qpos[self._qpos])
            for joint in range(joints):
                self.servos.send(joint, shown[joint], data.qpos[self._qpos[joint]])
        if not options.joint_period_s[1]:
            self._read_joints()
        if not options.imu_period_s:
            self._read_imu()

    def inject(self, text: str) -> None:
        """Add a fault whose times count from now.

        Raises:
            UserError: see `faults.parse`.
        """
        self.faults.append(parse(text, self.joint_names, self.plates, self.steps * self.dt))

    def _active(self, kind: str) -> list[Fault]:
        if not self.faults:
            return []
        time = self.steps * self.dt
        return [fault for fault in self.faults if fault.kind == kind and fault.active(time)]

    def _joints(self, kind: str) -> Mask:
        """(J,) bool: those with a fault."""
        found = np.zeros(len(self.joint_names), dtype=bool)
        for fault in self._active(kind):
            found[self.joint_names.index(fault.where)] = True
        return found

    def write(self, targets: Array) -> None:
        """Targets (J,) [rad] in the servos' zeros; they reach one servo of a bus after another.

        Raises:
            UserError: they are not J finite numbers.
        """
        if targets.shape != self.sign.shape or not np.isfinite(targets).all():
            raise UserError(f"targets are not {len(self.sign)} finite numbers")
        per_bus = -(-len(targets) // self.options.buses)
        now = self.steps * self.dt
        self._waiting = [  # only the newest target of a servo is kept
            (now + (joint % per_bus) * self.options.write_s, joint, float(target))
            for joint, target in enumerate(targets)
        ]
        self._deliver()
        if self._driven_since is None:
            self._driven_since = now

    def release(self) -> None:
        """No torque at any servo."""
        self._waiting = []
        self.servos.release()

    def _deliver(self) -> None:
        now, silent = self.steps * self.dt + 1e-9, self._joints("silent")
        joint_pos = self.data.qpos[self._qpos]
        for when, joint, target in self._waiting:
            if when <= now and not silent[joint]:
                self.servos.send(joint, target, joint_pos[joint])
        self._waiting = [waiting for waiting in self._waiting if waiting[0] > now]

    def step(self) -> None:
        """One physics step."""
        model, data = self.model, self.data
        if self._active("crash"):
            os._exit(1)
        if self._waiting:
            self._deliver()
        for fault in self._active("hot"):
            self.servos.temperature[self.joint_names.index(fault.where)] = fault.size
        battery = min((f.size for f in self._active("battery")), default=self.options.battery)
        self._volts = battery - self.options.battery_ohm * self.servos.current
        data.qfrc_applied[self._dofs] = self.servos.drive(
            data.qpos[self._qpos], data.qvel[self._dofs], self._volts, self._joints("limp"), self.dt
        )
        data.xfrc_applied[self._root] = 0.0
        for fault in self._active("push"):
            data.xfrc_applied[self._root, "xyz".index(fault.where)] += fault.size
        mujoco.mj_step(model, data)
        self.steps += 1
        self._hang()
        self._read_joints()
        self._read_imu()
        self._read_health()

    def _hang(self) -> None:
        """Keep the root where the gantry holds it; lower it once the servos are driven."""
        if self._hung is None:
            return
        left = 1.0
        if self._driven_since is not None:
            passed = self.steps * self.dt - self._driven_since
            left = 1.0 - passed / max(self.options.gantry_hold_s, self.dt)
            if left <= 0.0:
                self._hung = None
                return
        self.data.qpos[:7], self.data.qvel[:6] = self._hung, 0.0
        self.data.qpos[2] += left * self.options.gantry_lift

    def _read_joints(self) -> None:
        time, fresh = self.steps * self.dt, self.options.joint_period_s[1] == 0.0
        due = self._due <= time + 1e-9
        if fresh or due.any():
            draws = self._random["joints"].uniform(size=len(due))
            if not fresh:
                self._due = np.where(due, self._due + self._joint_period, self._due)
            lost = np.full(len(due), self.options.joint_lost)
            for fault in self._active("lost"):
                lost[self._where(fault)] = fault.size
            arrived = (due | fresh) & (draws >= lost) & ~self._joints("silent")
            value = self.servos.shown(self.data.qpos[self._qpos])
            for fault in self._active("jump"):
                value[self._where(fault)] += fault.size
            value[self._joints("nan")] = np.nan
            changed = arrived & ~self._joints("frozen")
            self._position = np.where(changed, value, self._position)
            self._position_time = np.where(arrived, self.now, self._position_time)

    def _where(self, fault: Fault) -> slice | int:
        return self.joint_names.index(fault.where) if fault.where else slice(None)

    def _read_imu(self) -> None:
        options, time, random = self.options, self.steps * self.dt, self._random["imu"]
        if options.imu_period_s:
            if self._imu_due > time + 1e-9:
                return
            self._imu_due += options.imu_period_s
        stale, repeated = random.uniform(size=2)
        noise = random.standard_normal(6)
        if self._active("imu_silent") or stale < options.imu_stale:
            return
        self._imu_time = self.now
        if self._active("imu_frozen") or repeated < options.imu_repeat:
            return
        root = self.data.qpos[3:7] / np.linalg.norm(self.data.qpos[3:7])
        angvel = self.data.qvel[3:6]
        if not self._imu_at_root:
            # The step's own kinematics are of its beginning; the reading is of its end.
            mujoco.mj_kinematics(self.model, self.data)
            mujoco.mj_comPos(self.model, self.data)
            mujoco.mj_comVel(self.model, self.data)
            mujoco.mju_mat2Quat(root, self.data.site_xmat[self._imu])
            spin = np.zeros(6)
            site = mujoco.mjtObj.mjOBJ_SITE
            mujoco.mj_objectVelocity(self.model, self.data, site, self._imu, spin, 1)
            angvel = spin[:3]
        noisy = rotation_about(*(options.orientation_noise * noise[:3]))
        heading = rotation_about(0.0, 0.0, self._drift * time)
        pitched = math.radians(sum(fault.size for fault in self._active("imu_jump")))
        jumped = rotation_about(0.0, pitched, 0.0)
        quat = product(product(heading, product(root, jumped)), product(self._tilted_mount, noisy))
        gyro = turned_back(angvel, self._tilted_mount)
        self._quat = quat
        self._gyro = gyro + self._gyro_bias + options.gyro_noise * noise[3:]
        if self._active("imu_nan"):
            self._quat, self._gyro = np.full(4, np.nan), np.full(3, np.nan)

    def _read_health(self) -> None:
        if self._health_due > self.steps * self.dt:
            return
        self._health_due += HEALTH_S
        silent = self._joints("silent")
        volts = round(self._volts / VOLTAGE_COUNT) * VOLTAGE_COUNT
        self._voltage = np.where(silent, self._voltage, volts)
        self._temperature = np.where(silent, self._temperature, np.round(self.servos.temperature))

    def _read_switches(self) -> Array:
        load = np.abs(self.data.sensordata[self._support])  # its sign depends on the geoms' order
        closed = load > self.options.switch_force
        closed &= self._random["switches"].uniform(size=len(load)) >= self.options.switch_drop
        for kind, value in (("switch_open", False), ("switch_closed", True)):
            for fault in self._active(kind):
                closed[self.plates.index(fault.where)] = value
        return closed.astype(float)

    def read(self) -> Sample:
        """What a runtime knows now."""
        early = sum(fault.size for fault in self._active("clock"))
        return Sample(
            time=self.now - early,
            quat=self._quat.copy(),
            gyro=self._gyro.copy(),
            imu_time=self._imu_time - early,
            position=self._position.copy(),
            position_time=self._position_time - early,
            switches=self._read_switches(),
            switch_time=self.now - early,
            voltage=self._voltage.copy(),
            temperature=self._temperature.copy(),
        )

    def truth(self) -> Array:
        """Root and joints in the servos' order: qpos (7 + J), qvel (6 + J), loaded (J)."""
        data = self.data
        return np.concatenate([
            data.qpos[:7], data.qpos[self._qpos], data.qvel[:6], data.qvel[self._dofs],
            self.servos.loaded,
        ])  # fmt: skip

    @property
    def paused_until(self) -> float:
        """When a pause that is on now ends, in simulated time [s]; 0 for none."""
        return max((fault.end for fault in self._active("pause")), default=0.0)

"""Bipeds with other legs than the WildRobot's, written here, as models and as RobotSpecs."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import mujoco
import numpy as np
import torch

from envs.robot.chain import Kind
from envs.robot.legs import leg_chain
from envs.robot.model import load_robot
from envs.robot.spec import LegGeometry, RobotSpec

THIGH, SHANK, ANKLE, HIP_Y = 0.11, 0.1, 0.025, 0.045


class Joint(NamedTuple):
    """A joint of the left leg: its kind, axis, offset from the last one [m], range and home."""

    kind: Kind
    axis: tuple[float, float, float]
    offset: tuple[float, float, float]
    stops: tuple[float, float]
    home: float


LAYOUTS: dict[str, list[Joint]] = {
    "yaw first": [
        Joint("yaw", (0, 0, 1), (0, 0.045, -0.02), (-0.8, 0.8), 0.0),
        Joint("roll", (-1, 0, 0), (0, 0, -0.01), (-0.7, 0.5), 0.0),
        Joint("pitch", (0, -1, 0), (0, 0, 0), (-0.9, 1.6), 0.3),
        Joint("knee", (0, 1, 0), (0, 0, -THIGH), (0.0, 2.2), 0.6),
        Joint("ankle_pitch", (0, 1, 0), (0, 0, -SHANK), (-1.0, 1.0), -0.3),
        Joint("ankle_roll", (-1, 0, 0), (0, 0, 0), (-0.6, 0.6), 0.0),
    ],
    "pitch first, askew": [
        Joint("pitch", (0.02, 1, 0.03), (0, 0.03, -0.02), (-1.6, 0.9), -0.35),
        Joint("roll", (1, 0.04, 0), (0.01, 0.015, -0.005), (-0.5, 0.7), 0.0),
        Joint("yaw", (0.03, 0, -1), (-0.01, 0, -0.03), (-0.8, 0.8), 0.0),
        Joint("knee", (0.02, -1, 0.01), (0.004, 0, -0.08), (-2.2, 0.0), -0.7),
        Joint("ankle_pitch", (0, 1, 0.02), (-0.004, 0.002, -SHANK), (-1.0, 1.0), -0.35),
        Joint("ankle_roll", (1, 0, 0.02), (0.006, 0, -0.004), (-0.6, 0.6), 0.0),
    ],
    "ankle roll, no yaw": [
        Joint("pitch", (0, -1, 0), (0, 0.03, -0.02), (-0.6, 1.6), 0.3),
        Joint("roll", (-1, 0, 0), (0, 0.015, 0), (-0.7, 0.4), 0.0),
        Joint("knee", (0, 1, 0), (0, 0, -THIGH), (0.0, 2.2), 0.6),
        Joint("ankle_pitch", (0, 1, 0), (0, 0, -SHANK), (-1.0, 1.0), -0.3),
        Joint("ankle_roll", (-1, 0, 0), (0.003, 0, -0.005), (-0.6, 0.6), 0.0),
    ],
    "three joints": [
        Joint("roll", (1, 0, 0), (0, 0.045, -0.02), (-0.5, 0.7), 0.0),
        Joint("pitch", (0, 1, 0), (0, 0, 0), (-1.6, 0.9), -0.3),
        Joint("knee", (0, 1, 0), (0, 0, -THIGH), (0.0, 2.2), 0.6),
    ],
}


class Stranger(NamedTuple):
    """A model and its RobotSpec."""

    model: mujoco.MjModel
    robot: RobotSpec

    def sole(self, joint_pos: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """The engine's place (3,) and axes (3, 3) of a sole in the trunk's frame."""
        data = mujoco.MjData(self.model)
        data.qpos[3] = 1.0
        data.qpos[self.robot.joint_qpos_adr.numpy()] = joint_pos
        mujoco.mj_kinematics(self.model, data)
        site = data.site(f"sole{side}")
        return site.xpos.copy(), site.xmat.reshape(3, 3).copy()


def stranger(layout: str) -> Stranger:
    """A biped of 1.2 kg with the legs of `layout`, and an arm that nothing here moves."""
    joints = LAYOUTS[layout]
    legs = ""
    for side, flip in ((0, 1.0), (1, -1.0)):
        last = ANKLE if joints[-1].kind != "knee" else SHANK + ANKLE
        body = f'<geom type="box" size=".05 .02 .002" mass=".05" pos="0 0 {2e-3 - last}"/>'
        body += f'<site name="sole{side}" pos="0 0 {-last}"/>'
        for i, joint in reversed(list(enumerate(joints))):
            x, y, z = joint.offset
            ax, ay, az = joint.axis
            # A mirrored axis is an axial vector: x and z change sign, and then all three here, so
            # that mirrored angles are equal.
            axis = f"{ax} {ay} {az}" if side == 0 else f"{-ax} {ay} {-az}"
            inner = f'<joint name="{side}{i}" axis="{axis}" range="{joint.stops[0]} '
            inner += f'{joint.stops[1]}"/><geom type="sphere" size=".01" mass=".05"/>'
            body = f'<body pos="{x} {flip * y} {z}">{inner}{body}</body>'
        legs += body
    arm = '<body pos="0 0 .1"><joint name="arm"/><geom type="sphere" size=".01" mass=".02"/></body>'
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><compiler angle="radian" autolimits="true"/><worldbody><body name="trunk">'
        '<freejoint/><geom type="box" size=".03 .05 .05" pos="0 0 .05" mass=".5"/>'
        f"{legs}{arm}</body></worldbody></mujoco>"
    )
    names = tuple(f"{side}{i}" for side in (0, 1) for i in range(len(joints)))
    count = len(joints)
    chains = tuple(
        leg_chain(model, names[side * count : (side + 1) * count], f"sole{side}") for side in (0, 1)
    )
    assert chains[0].kinds == tuple(joint.kind for joint in joints)
    home = np.zeros(model.nq)
    home[3] = 1.0
    addresses = [int(model.joint(name).qposadr[0]) for name in names]
    home[addresses] = [joint.home for joint in joints] * 2
    at = {kind: chains[0].anchors[i] for i, kind in enumerate(chains[0].kinds)}
    hip, knee, ankle = at["pitch"], at["knee"], at.get("ankle_pitch", chains[0].sole_pos)
    leg = LegGeometry(
        hip_pitch_pos=tuple(hip),
        hip_roll_pos=tuple(at["roll"]),
        leg_y=float(chains[0].sole_pos[1]),
        thigh=float(np.linalg.norm(hip - knee)),
        shank=float(np.linalg.norm(knee - ankle)),
        ankle_height=float(ankle[2] - chains[0].sole_pos[2]),
        heel=-0.05,
        toe=0.05,
        sole_width=0.04,
    )
    swap = torch.tensor([*range(count, 2 * count), *range(count)])
    limits = torch.tensor([joint.stops for joint in joints] * 2, dtype=torch.float32)
    ones = torch.ones(2 * count)
    robot = replace(
        load_robot().robot,
        name="stranger",
        joint_names=names,
        joint_qpos_adr=torch.tensor(addresses),
        joint_qvel_adr=torch.tensor(addresses) - 1,
        joint_range=limits,
        joint_max_velocity=20.0 * ones,
        home_qpos=torch.tensor(home, dtype=torch.float32),
        kp=ones,
        kv=ones,
        torque_limit=ones,
        mirror_index=swap,
        mirror_sign=ones,
        action_sign=ones,
        mass=float(model.body_mass.sum()),
        leg=leg,
        leg_joints=torch.arange(2 * count).reshape(2, count),
        chains=chains,
    )
    soles = [Stranger(model, robot).sole(home[addresses], side)[0][2] for side in (0, 1)]
    home[2] = -min(soles)
    return Stranger(model, replace(robot, home_qpos=torch.tensor(home, dtype=torch.float32)))

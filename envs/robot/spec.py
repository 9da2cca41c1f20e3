"""What the arithmetic needs to know of a robot, as tensors; no engine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from envs.robot.bam import BamServo
from envs.robot.chain import Kind, LegChain
from envs.settings import NonNegativeFloat, PositiveFloat

FEET = ("left_foot", "right_foot")
"""Feet in the order of every (..., 2) quantity."""
STANDARD_LEG, STANDARD_MASS, STANDARD_HEIGHT = 0.434888, 3.302246, 0.468357
"""Leg [m], mass [kg] and height of the root at home [m] of the WildRobot, whose numbers tasks have;
see `envs.sizing`."""
SIDES = ("left", "right")
"""Sides of the robot, 0 and 1, in the order of the feet."""


@dataclass(frozen=True)
class LegGeometry:
    """Planar leg chain at the zero pose, equal on both sides [m]."""

    hip_pitch_pos: tuple[float, float, float]
    """Left hip-pitch axis relative to the root origin (x forward, y left, z up)."""
    hip_roll_pos: tuple[float, float, float]
    """Left hip-roll axis relative to the root origin."""
    leg_y: float
    """Lateral offset of the left knee, ankle and sole centre from the root origin."""
    thigh: float
    """Hip-pitch axis to knee axis."""
    shank: float
    """Knee axis to ankle axis."""
    ankle_height: float
    """Ankle axis above the sole plane, foot flat."""
    heel: float
    """Rear edge of the sole behind the ankle axis (negative x)."""
    toe: float
    """Front edge of the sole ahead of the ankle axis."""
    sole_width: float

    @property
    def leg_length(self) -> float:
        """Hip-pitch axis to sole, leg straight."""
        return self.thigh + self.shank + self.ankle_height


@dataclass(frozen=True)
class ServoSpec:
    """What a joint's servo does besides a position controller with a torque limit."""

    model: Literal["ideal", "envelope", "bam"]
    """The law that limits its torque, see `envs.reality.servo`."""
    stall_torque: PositiveFloat
    """Torque at rest, at `voltage` and 25 degrees C [N m]; `max_torque` of a joint caps it."""
    no_load_speed: PositiveFloat
    """Speed without load, at `voltage` [rad/s]."""
    voltage: PositiveFloat
    """Voltage of the two numbers above [V]; for `bam` times the firmware's largest duty cycle."""
    count: NonNegativeFloat = 0.0
    """Smallest step of readings and targets [rad]; 0 for none."""
    deadband: NonNegativeFloat = 0.0
    """A target nearer than this to the last one is not sent [rad]."""
    travel_time: NonNegativeFloat = 0.0
    """Time in which the servo's own target travels to a new one [s]."""
    bam: str | None = None
    """File of BAM parameters in the robot's folder, see `envs.robot.bam`; for `model: bam`."""


@dataclass(frozen=True)
class RobotSpec:
    """Names, addresses, limits and symmetry of one robot.

    J joints are those that the policy drives, in its order; they are the engine's first J
    actuators. Joints that their servos hold at home come after them and are in no quantity here.
    """

    name: str
    root_body: int
    """Index of the floating body, for external wrenches."""
    joint_names: tuple[str, ...]
    joint_qpos_adr: Tensor
    """(J,) long: joint positions in qpos."""
    joint_qvel_adr: Tensor
    """(J,) long: joint velocities in qvel."""
    joint_range: Tensor
    """(J, 2) [rad]: lower and upper stop."""
    joint_max_velocity: Tensor
    """(J,) [rad/s]: nominal servo speed; normalises observations."""
    home_qpos: Tensor
    """(nq,): keyframe `home`."""
    kp: Tensor
    """(J,) [N m/rad]: position gain."""
    kv: Tensor
    """(J,) [N m s/rad]: velocity gain."""
    torque_limit: Tensor
    """(J,) [N m]."""
    mirror_index: Tensor
    """(J,) long: the joint on the other side."""
    mirror_sign: Tensor
    """(J,): a mirrored pose is mirror_sign * q[mirror_index] (physical signs)."""
    action_sign: Tensor
    """(J,): sign from policy space to joint space; equal actions move both legs alike."""
    plate_names: tuple[str, ...]
    """Contact plates in observation order: of the left foot, then of the right one. Plates are
    geoms, or whole feet."""
    plate_foot: Tensor
    """(plates,) long: the foot (0 left, 1 right) each plate belongs to."""
    plate_geoms: Tensor
    """(G,) long: their geoms in the compiled model; one for each plate, unless plates are feet."""
    floor_geom: int
    """The geom that is the ground."""
    mass: float
    """Total mass [kg]."""
    gravity: float
    """Magnitude of gravity [m/s^2]."""
    leg: LegGeometry
    sensors: dict[str, slice]
    """Sensor name -> slice of sensordata."""
    servo: ServoSpec
    """The servo of every joint."""
    digest: str
    """16 hex digits over all that changes the robot's motion or its sensors' readings."""
    bam: BamServo | None = None
    """Content of `servo.bam`; None without a file."""
    leg_joints: Tensor = field(default_factory=lambda: torch.zeros(2, 0, dtype=torch.long))
    """(2, L) long: the joints of both legs, from the root to the foot."""
    chains: tuple[LegChain, ...] = ()
    """Left and right leg, as screws."""
    geom_plate: Tensor | None = None
    """(G,) long: the plate of each of `plate_geoms`; None where each is its own."""
    home_height: float = STANDARD_HEIGHT
    """Height of the root at home [m], known without asking a device."""
    imu_at_root: bool = True
    """Whether the IMU is fixed to the root body, in its axes; then the root's own rotation is what
    it measures. Otherwise the sensors of its site say."""

    @property
    def num_joints(self) -> int:
        """J."""
        return len(self.joint_names)

    def columns_of(self, *kinds: Kind) -> Tensor:
        """(2, n) long: joints of these kinds in both legs, from the root to the foot.

        n is 0 for a robot whose legs have none.
        """
        index = [i for i, kind in enumerate(self.chains[0].kinds) if kind in kinds]
        return self.leg_joints[:, index]

    @cached_property
    def swinging_joints(self) -> dict[str, Tensor]:
        """Kind -> its first joint in each leg (2,) long; empty where the legs have none."""
        kinds: tuple[Kind, ...] = ("pitch", "knee")
        return {kind: self.columns_of(kind)[:, :1].flatten() for kind in kinds}

    @property
    def weight(self) -> float:
        """Weight m g [N]."""
        return self.mass * self.gravity

    @cached_property
    def scale(self) -> float:
        """Leg's length over that of the WildRobot, to five digits."""
        return round(self.leg.leg_length / STANDARD_LEG, 5)

    @cached_property
    def speed_scale(self) -> float:
        """Speed over that of a WildRobot which walks at the same Froude number; so are times."""
        return math.sqrt(self.scale)

    @cached_property
    def mass_scale(self) -> float:
        """Mass over that of the WildRobot, to five digits."""
        return round(self.mass / STANDARD_MASS, 5)

    @cached_property
    def force_scale(self) -> float:
        """Weight over that of the WildRobot."""
        return self.mass_scale * round(self.gravity / 9.81, 5)

    @cached_property
    def is_standard(self) -> bool:
        """Whether it has the WildRobot's size, to five digits."""
        same = self.scale == self.mass_scale == self.force_scale == 1.0
        return same and self.scaled_height(1.0) == 1.0

    def scaled_height(self, height: float) -> float:
        """Height of the root [m] that is to this robot's home what `height` is to the WildRobot's.

        It is as far above or below it, in legs.
        """
        home = self.home_height - STANDARD_HEIGHT * self.scale
        return height * self.scale + round(home, 5)

    @cached_property
    def joint_home(self) -> Tensor:
        """(J,) [rad]: joints of keyframe `home`."""
        return self.home_qpos[self.joint_qpos_adr]

    @cached_property
    def joint_center(self) -> Tensor:
        """(J,) [rad]: middle of each joint's range."""
        return self.joint_range.mean(-1)

    @cached_property
    def joint_half_span(self) -> Tensor:
        """(J,) [rad]: half of each joint's range."""
        return (self.joint_range[:, 1] - self.joint_range[:, 0]) / 2

    @cached_property
    def sensor_columns(self) -> dict[str, Tensor]:
        """Columns of sensordata that hold a quantity, long, by its name.

        plate_support (plates,): vertical force on each plate; torque (J,); sole_pos (6,) and
        sole_linvel (6,): left foot, then right foot.
        """

        def columns(names: list[str], first: int, last: int) -> Tensor:
            starts = [self.sensors[name].start for name in names]
            picked = [start + i for start in starts for i in range(first, last)]
            return torch.tensor(picked, device=self.home_qpos.device)

        return {
            # A contact sensor reads found, then the force in the world frame.
            "plate_support": columns([f"{plate}_contact" for plate in self.plate_names], 3, 4),
            "torque": columns([f"{joint}_torque" for joint in self.joint_names], 0, 1),
            "sole_pos": columns([f"{foot}_pos" for foot in FEET], 0, 3),
            "sole_linvel": columns([f"{foot}_linvel" for foot in FEET], 0, 3),
        }

    def mirror_joints(self, joints: Tensor) -> Tensor:
        """Joint positions, velocities or torques (..., J) of the mirrored robot."""
        return joints[..., self.mirror_index] * self.mirror_sign

    def to(self, device: torch.device | str) -> RobotSpec:
        """The same robot with its tensors on `device`."""
        moved = {
            f.name: getattr(self, f.name).to(device)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)

"""What a simulated robot is like: servos, buses, sensors, supply, and how it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from envs.errors import UserError


@dataclass(frozen=True, kw_only=True)
class RobotOptions:
    """A simulated robot; the defaults are what is known of the real one (8 servos HTD-45H)."""

    robot: str = "wildrobot"
    """Name of a robot of this package, or a folder with its robot.yaml."""
    seed: int = 0
    """Of everything random: two robots of one seed that are driven alike move alike."""

    start: Literal["gantry", "holding"] = "gantry"
    """gantry: the root hangs at home with limp legs until the servos are driven, and is then
    lowered; holding: it stands at home and the servos hold that."""
    gantry_lift: float = 0.0
    """How far above home it hangs [m]."""
    gantry_hold_s: float = 1.0
    """Time from the first target until the gantry lets go [s]."""
    start_pitch: float = 0.0
    """Pitch of the root at the start, nose down positive [deg]."""
    start_roll: float = 0.0
    """Roll of the root at the start, right side down positive [deg]."""

    servo: Literal["robot", "ideal"] = "robot"
    """robot: as robot.yaml says, with counts, deadband, travel and a torque that falls with speed;
    ideal: a controller with a torque limit alone."""
    signs: tuple[int, ...] = ()
    """Sense of each servo, +1 or -1; empty: all +1."""
    zeros: tuple[float, ...] = ()
    """Position that each servo shows when its joint is at 0 [deg]; empty: all 0. A calibration
    finds signs and zeros."""
    zero_error: float = 0.0
    """Standard deviation of what zeros have moved since the calibration [deg]; 2.9 was seen."""
    order: tuple[int, ...] = ()
    """Joint of robot.yaml that each servo moves; empty: in its order."""

    buses: int = 2
    """Serial buses; servos are spread over them in order, and get targets one after another."""
    write_s: float = 0.00087
    """Time of one write on its bus [s]: 10 bytes at 115200 baud."""
    joint_period_s: tuple[float, float] = (0.026, 0.030)
    """Shortest and longest time between two readings of a joint [s]; 0, 0: at every read."""
    joint_lost: float = 0.0066
    """Share of joint readings that are lost."""

    imu_period_s: float = 0.02
    """Time between two reports of the IMU [s]; 0: at every read."""
    imu_stale: float = 0.011
    """Share of reports that do not come: the last one stays, with its old time."""
    imu_repeat: float = 0.0
    """Share of reports that repeat the last values with a new time."""
    imu_mount: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Roll, pitch and yaw of the IMU against the root [deg]: rotation about the root's x, y, z in
    this order, each about the fixed axis. A calibration finds it."""
    imu_tilt: float = 0.0
    """Standard deviation of a further rotation about x and y that no calibration knows [deg]."""
    orientation_noise: float = 0.004
    """White noise of the orientation about each axis [rad]."""
    gyro_noise: float = 0.015
    """White noise of the gyro [rad/s]."""
    gyro_bias: float = 0.005
    """Standard deviation of the gyro's constant error about each axis [rad/s]."""
    heading_drift: float = 0.0005
    """Standard deviation of the heading's drift [rad/s]."""

    switches: bool = True
    """Whether it has foot switches."""
    switch_force: float = 2.0
    """Load at which a switch closes [N]."""
    switch_drop: float = 0.01
    """Share of readings in which a closed switch reads open."""

    battery: float = 11.6
    """Voltage of the battery without load [V]."""
    battery_ohm: float = 0.1
    """Its inner resistance with the wires [ohm]."""
    ambient: float = 25.0
    """Temperature of the surroundings, and of the servos at the start [deg C]."""

    faults: tuple[str, ...] = ()
    """Faults that begin later: KIND[:WHERE]@START[+DURATION][=SIZE], see `faults.KINDS`."""

    def __post_init__(self) -> None:
        shares = ("joint_lost", "imu_stale", "imu_repeat", "switch_drop")
        least_zero = ("gantry_lift", "gantry_hold_s", "zero_error", "write_s", "imu_period_s",
                      "imu_tilt", "orientation_noise", "gyro_noise", "gyro_bias",
                      "heading_drift", "battery_ohm")  # fmt: skip
        for name in (*shares, *least_zero):
            value, most = getattr(self, name), 1.0 if name in shares else float("inf")
            if not 0.0 <= value <= most:
                allowed = "0 to 1" if name in shares else "0 or more"
                raise UserError(f"{name} is {value}; allowed: {allowed}")
        if self.buses < 1:
            raise UserError(f"buses is {self.buses}; allowed: 1 or more")
        low, high = self.joint_period_s
        if not 0.0 <= low <= high:
            raise UserError(
                f"joint_period_s is {low} to {high}; allowed: two times of 0 or more, the "
                "shorter first"
            )
        if any(sign not in (-1, 1) for sign in self.signs):
            raise UserError(f"signs are {self.signs}; allowed: 1 and -1")


def perfect(**others: Any) -> dict[str, Any]:
    """Options of a robot with ideal servos and perfect sensors, and those given."""
    nothing = dict.fromkeys(("joint_lost", "imu_stale", "orientation_noise", "gyro_noise",
                             "gyro_bias", "heading_drift", "switch_drop", "battery_ohm",
                             "imu_period_s", "write_s"), 0.0)  # fmt: skip
    return {"servo": "ideal", "joint_period_s": (0.0, 0.0), **nothing, **others}

"""Randomisation terms: what differs from robot to robot and stays so for an episode.

A term is an entry of `TERMS`. A config gives it a range:

    randomization: {strength: {low: 0.9, high: 1.1}}

Its values are drawn when an episode begins and always count from the default, so they never add up.
`model_fields` says what a term changes in the engine's model; terms without such fields are read by
the functions of this package: `servo`, `timing`, `sensors`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from envs.errors import UserError
from envs.robot.spec import RobotSpec
from envs.settings import PositiveFloat, check

Operation = Literal["add", "scale", "set"]
Per = Literal["robot", "joint", "plate", "axis", "body"]
Reader = Literal[
    "model", "floor", "servo", "voltage", "command", "imu", "gyro", "gravity", "heading", "encoder",
    "switch",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Distribution of a term: uniform between `low` and `high`, or normal with `sd`."""

    low: float | None = None
    """Lowest value of a uniform distribution."""
    high: float | None = None
    """Highest value of a uniform distribution."""
    sd: PositiveFloat | None = None
    """Standard deviation of a normal distribution about the value that changes nothing; values
    further off than three of them are cut."""

    def __post_init__(self) -> None:
        check(self)
        if (self.sd is None) == (self.low is None) or (self.low is None) != (self.high is None):
            raise UserError(
                f"a range is low {self.low}, high {self.high}, sd {self.sd}; give low and high, or "
                "sd alone"
            )

    def bounds(self, neutral: float) -> tuple[float, float]:
        """Lowest and highest value it can have."""
        if self.sd is not None:
            return neutral - 3.0 * self.sd, neutral + 3.0 * self.sd
        assert self.low is not None and self.high is not None
        return self.low, self.high

    def edges(self, neutral: float) -> tuple[float, float]:
        """The two values that are hardest: the ends, or twice the one that is further off.

        Of a normal distribution they are a standard deviation off.
        """
        if self.sd is not None:
            return neutral - self.sd, neutral + self.sd
        low, high = self.bounds(neutral)
        if low < neutral < high:
            return low, high
        return (high, high) if neutral <= low else (low, low)

    def values(self, uniform: Tensor, neutral: float) -> Tensor:
        """Values for random numbers in [0, 1), of the same shape."""
        if self.sd is not None:
            return neutral + self.sd * standard_normal(uniform).clamp(-3.0, 3.0)
        low, high = self.bounds(neutral)
        return low + (high - low) * uniform


def standard_normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers of uniform ones in [0, 1), within +-5.2."""
    return math.sqrt(2.0) * torch.erfinv((2.0 * uniform - 1.0).clamp(-1.0 + 2e-7, 1.0 - 2e-7))


@dataclass(frozen=True)
class Term:
    """One quantity that randomisation may change."""

    meaning: str
    unit: str
    operation: Operation
    """How a drawn value changes the default."""
    per: Per
    """What has a value of its own."""
    reader: Reader
    """What reads it."""
    typical: Draw
    """A range that the real robot or the field's practice suggests."""
    neutral: float = 0.0
    """The value that changes nothing."""
    least: float = -math.inf
    """Values below this are impossible."""
    most: float = math.inf
    """Values above this are impossible."""
    acts: Literal["episode", "step"] = "episode"
    """step: its value says how something is drawn in each control step."""
    model_fields: tuple[str, ...] = ()
    """Fields of the engine's model that it changes."""
    constants: bool = False
    """Whether the engine's derived constants change with it."""


def _range(low: float, high: float) -> Draw:
    return Draw(low=low, high=high)


LONGEST_DELAY_MS = 200.0
"""Longest age or delay that a range may have [ms]."""

TERMS: dict[str, Term] = {
    "sole_friction": Term(
        "Sliding friction of floor and soles.", "1", "set", "robot", "model", _range(0.4, 1.2),
        neutral=1.0, least=0.01, model_fields=("geom_friction",)),
    "patch_friction": Term(
        "Sliding friction of a foot on a patch of the floor: a third of its tiles of 0.5 m.", "1",
        "scale", "robot", "floor", _range(0.3, 0.7), neutral=1.0, least=0.01,
        model_fields=("geom_friction",)),
    "mass": Term(
        "Mass and inertia of each body.", "1", "scale", "body", "model", _range(0.85, 1.15),
        neutral=1.0, least=0.05, model_fields=("body_mass", "body_inertia"), constants=True),
    "payload": Term(
        "Point mass at the root body's centre of mass.", "kg", "add", "robot", "model",
        _range(0.0, 0.5), least=0.0, model_fields=("body_mass",), constants=True),
    "com": Term(
        "Centre of mass of the root body, along each axis.", "m", "add", "axis", "model",
        _range(-0.01, 0.01), model_fields=("body_ipos",), constants=True),
    "armature": Term(
        "Rotor inertia of each joint.", "1", "scale", "joint", "model", _range(0.8, 1.2),
        neutral=1.0, least=0.05, model_fields=("dof_armature",), constants=True),
    "damping": Term(
        "Viscous friction of each joint.", "1", "scale", "joint", "model", _range(0.5, 2.0),
        neutral=1.0, least=0.0, model_fields=("dof_damping",)),
    "dry_friction": Term(
        "Dry friction of each joint.", "1", "scale", "joint", "model", _range(0.5, 3.0),
        neutral=1.0, least=0.0, model_fields=("dof_frictionloss",)),
    "servo_damping": Term(
        "Velocity gain of each servo.", "1", "scale", "joint", "model", _range(0.8, 1.2),
        neutral=1.0, least=0.0, model_fields=("actuator_biasprm",)),
    "slope": Term(
        "Slope of the floor, along x and y; the third value is not used.", "rad", "add", "axis",
        "model", _range(-0.05, 0.05), least=-0.5, most=0.5, model_fields=("opt.gravity",)),
    "gain": Term(
        "Position gain of each servo.", "1", "scale", "joint", "servo", _range(0.9, 1.1),
        neutral=1.0, least=0.05),
    "strength": Term(
        "Torque limit of each servo.", "1", "scale", "joint", "servo", _range(0.9, 1.1),
        neutral=1.0, least=0.0),
    "voltage": Term(
        "Supply voltage over the rated one.", "1", "scale", "robot", "voltage", _range(0.9, 1.1),
        neutral=1.0, least=0.1),
    "temperature": Term(
        "Temperature of the windings above 25 C.", "K", "add", "joint", "voltage",
        _range(0.0, 40.0), least=-65.0, most=175.0),
    "backlash": Term(
        "Width of the gap in which a joint moves freely.", "rad", "add", "joint", "servo",
        _range(0.0, 0.02), least=0.0, most=0.3),
    "compliance": Term(
        "Compliance between encoder and joint.", "rad/(N m)", "add", "joint", "servo",
        _range(0.0, 0.02), least=0.0, most=0.5),
    "zero_error": Term(
        "Zero of each servo: targets and readings are both off by it.", "rad", "add", "joint",
        "servo", Draw(sd=0.035), least=-0.5, most=0.5),
    "action_delay": Term(
        "Time until a target reaches its servo.", "ms", "add", "robot", "command",
        _range(20.0, 40.0), least=0.0, most=LONGEST_DELAY_MS),
    "bus_delay": Term(
        "Further delay of each servo's target on its bus.", "ms", "add", "joint", "command",
        _range(0.0, 5.0), least=0.0, most=LONGEST_DELAY_MS),
    "missed_tick": Term(
        "Share of control steps in which no target is sent.", "1", "add", "robot", "command",
        _range(0.0, 0.02), least=0.0, most=0.9, acts="step"),
    "imu_age": Term(
        "Age of the IMU's report.", "ms", "add", "robot", "imu", _range(0.0, 20.0), least=0.0,
        most=LONGEST_DELAY_MS),
    "imu_stale": Term(
        "Share of control steps in which the IMU repeats its last report.", "1", "add", "robot",
        "imu", _range(0.0, 0.05), least=0.0, most=0.9, acts="step"),
    "imu_tilt": Term(
        "Rotation of the IMU against the body, about each axis.", "rad", "add", "axis", "imu",
        Draw(sd=0.035), least=-0.5, most=0.5),
    "gyro_bias": Term(
        "Constant error of the gyro, about each axis.", "rad/s", "add", "axis", "gyro",
        Draw(sd=0.02)),
    "gyro_walk": Term(
        "Growth of the gyro's error.", "rad/s per root s", "add", "axis", "gyro",
        _range(0.0, 0.002), least=0.0, acts="step"),
    "gyro_noise": Term(
        "White noise of the gyro, its standard deviation.", "rad/s", "add", "robot", "gyro",
        _range(0.0, 0.05), least=0.0, acts="step"),
    "gravity_noise": Term(
        "White noise of roll and pitch, its standard deviation.", "rad", "add", "robot",
        "gravity", _range(0.0, 0.02), least=0.0, acts="step"),
    "heading_drift": Term(
        "Drift of the heading.", "rad/s", "add", "robot", "heading", Draw(sd=0.003)),
    "joint_age": Term(
        "Age of a joint's reading when it arrives.", "ms", "add", "robot", "encoder",
        _range(0.0, 30.0), least=0.0, most=LONGEST_DELAY_MS),
    "joint_period": Term(
        "Time between two readings of a joint.", "ms", "add", "joint", "encoder",
        _range(20.0, 30.0), least=0.0, most=LONGEST_DELAY_MS),
    "joint_loss": Term(
        "Share of joint readings that are lost.", "1", "add", "robot", "encoder",
        _range(0.0, 0.01), least=0.0, most=0.9, acts="step"),
    "joint_noise": Term(
        "White noise of joint readings, its standard deviation.", "rad", "add", "robot", "encoder",
        _range(0.0, 0.005), least=0.0, acts="step"),
    "switch_force": Term(
        "Load at which a foot switch closes, over its threshold.", "1", "scale", "plate", "switch",
        _range(0.5, 4.0), neutral=1.0, least=0.0),
    "switch_open": Term(
        "Probability that a foot switch stays open for the episode.", "1", "add", "robot", "switch",
        _range(0.0, 0.1), least=0.0, most=1.0),
}  # fmt: skip
"""Name -> term."""


def _check_ranges(config: RandomizationConfig) -> None:
    """Refuse ranges that are empty, impossible or without effect."""
    for name, draw in config.active().items():
        term = TERMS[name]
        low, high = draw.bounds(term.neutral)
        unit = "" if term.unit == "1" else f" {term.unit}"
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise UserError(
                f"randomization.{name} is {low} to {high}{unit}; allowed: two numbers, the smaller "
                "first"
            )
        if low < term.least or high > term.most:
            raise UserError(
                f"randomization.{name} reaches from {low:g} to {high:g}{unit}; allowed: "
                f"{term.least:g} to {term.most:g}"
            )
        if low == high == term.neutral:
            raise UserError(
                f"randomization.{name} is {low:g} to {high:g}{unit}, which changes nothing; "
                "leave it out"
            )


class RandomizationConfig(
    make_dataclass(
        "Ranges",
        [(name, Draw | None, field(default=None)) for name in TERMS],
        frozen=True,
        kw_only=True,
        namespace={
            "__doc__": "One range for each term.\n\nArgs:\n"
            + "\n".join(
                f"    {n}: {t.meaning} [{t.unit}], {t.operation}." for n, t in TERMS.items()
            ),
            # Here, not below: a dataclass calls only what it has when it is made.
            "__post_init__": _check_ranges,
        },
    )
):
    """Range of each term; null leaves it as it is."""

    def active(self) -> dict[str, Draw]:
        """Terms that have a range, in the order of `TERMS`."""
        return {name: draw for name, draw in vars(self).items() if draw is not None}


def columns(term: Term, robot: RobotSpec, num_bodies: int) -> int:
    """Number of values that a robot has of a term."""
    return {
        "robot": 1,
        "joint": robot.num_joints,
        "plate": len(robot.plate_names),
        "axis": 3,
        "body": num_bodies,
    }[term.per]


def sample(
    uniform: Tensor,
    widths: Tensor,
    sizes: Mapping[str, int],
    ranges: Mapping[str, Draw],
    edge: Tensor | None = None,
) -> dict[str, Tensor]:
    """Values (E, columns) of each term, by name.

    Args:
        uniform: (E, sum of the sizes) random numbers in [0, 1).
        widths: (K,), in [0, 1]: share of each term's range; at 0 it has its neutral value.
        sizes: columns of each term.
        ranges: its distribution.
        edge: (E,) long, which term of each robot is at its edge; None for no robot.
    """
    parts = uniform.split(list(sizes.values()), dim=-1)
    drawn = {}
    for index, (name, draw) in enumerate(ranges.items()):
        neutral, part = TERMS[name].neutral, parts[index]
        values = draw.values(part, neutral)
        if edge is not None:
            low, high = draw.edges(neutral)
            at_edge = low + (high - low) * (part >= 0.5)
            values = torch.where((edge == index)[:, None], at_edge, values)
        drawn[name] = neutral + widths[index] * (values - neutral)
    return drawn


EDGE_SHARE = 0.5
"""Share of the robots that have a term at its edge, where each term has a width of its own."""
NO_EDGE = -1
"""Number of the term at its edge, of robots that have none."""


def new_edges(edge: Tensor, mask: Tensor, draws: Tensor, num_terms: int) -> Tensor:
    """Which term of each robot is at its edge (E,) long, or `NO_EDGE`; new where `mask` is set.

    As in automatic domain randomisation (arXiv 1910.07113): half of the robots have one term at its
    edge, all others within their present widths. How they do says whether it may become wider.

    Args:
        edge: (E,) long, until now.
        mask: (E,) bool.
        draws: (2, E) random numbers in [0, 1): whether, which.
        num_terms: K.
    """
    which = (draws[1] * num_terms).long().clamp(max=num_terms - 1)
    chosen = which.masked_fill(draws[0] >= EDGE_SHARE, NO_EDGE)
    return torch.where(mask, chosen, edge)


def ends_at_edges(edge: Tensor, done: Tensor, fallen: Tensor, num_terms: int) -> Tensor:
    """Ended episodes and falls (K, 2) long of the robots at each term's edge.

    Args:
        edge: (E,) long, see `new_edges`.
        done: (E,) bool: the episode ends now.
        fallen: (E,) bool: by a fall.
        num_terms: K.
    """
    at = (edge[:, None] == torch.arange(num_terms, device=edge.device)) & done[:, None]
    return torch.stack([at.sum(0), (at & fallen[:, None]).sum(0)], dim=-1)


def model_values(
    defaults: Mapping[str, Tensor],
    drawn: Mapping[str, Tensor],
    robot: RobotSpec,
    sliding_geoms: Tensor,
) -> dict[str, Tensor]:
    """Values (E, ...) of the model's fields that the drawn terms change, by field.

    Args:
        defaults: fields of the compiled model (...), those that the terms name.
        drawn: terms by name (E, columns).
        robot: the robot.
        sliding_geoms: (G,) long: geoms whose friction is set.
    """
    values: dict[str, Tensor] = {}

    def start(name: str) -> Tensor:
        num = len(next(iter(drawn.values())))
        return values.setdefault(name, defaults[name].expand(num, *defaults[name].shape).clone())

    def scale_dofs(name: str, factor: Tensor) -> None:
        start(name)[:, robot.joint_qvel_adr] *= factor

    root = robot.root_body
    for name, value in drawn.items():
        match name:
            case "sole_friction":
                friction = start("geom_friction")
                friction[:, sliding_geoms, 0] = value.to(friction.dtype)
            case "patch_friction":
                start("geom_friction")  # see `friction_underfoot`
            case "mass":
                start("body_mass").mul_(value)
                start("body_inertia").mul_(value[..., None])
            case "payload":
                start("body_mass")[:, root] += value[:, 0]
            case "com":
                start("body_ipos")[:, root] += value
            case "armature":
                scale_dofs("dof_armature", value)
            case "damping":
                scale_dofs("dof_damping", value)
            case "dry_friction":
                scale_dofs("dof_frictionloss", value)
            case "servo_damping":
                start("actuator_biasprm")[:, : robot.num_joints, 2] *= value
            case "slope":
                gravity = start("opt.gravity")
                gravity.copy_(-gravity[:, 2:] * downhill(value))
            case _:
                pass
    return values


def friction_underfoot(
    default: Tensor, drawn: Mapping[str, Tensor], slippery: Tensor, robot: RobotSpec
) -> tuple[Tensor, Tensor]:
    """Sliding friction of the plates' geoms (E, G) and of the floor (E,), with patches.

    A contact has the larger friction of its two geoms, so the floor has that of the plate that
    slides best.

    Args:
        default: (geoms, 3) friction in the compiled model.
        drawn: terms by name (E, columns), `patch_friction` among them.
        slippery: (E, 2) bool: which foot is on a patch.
        robot: the robot.
    """
    sliding = torch.maximum(default[robot.plate_geoms, 0], default[robot.floor_geom, 0])
    if "sole_friction" in drawn:
        sliding = drawn["sole_friction"].to(default.dtype)
    factor = torch.where(slippery, drawn["patch_friction"], 1.0)
    foot = robot.plate_foot
    if robot.geom_plate is not None:
        foot = foot[robot.geom_plate]
    plates = sliding * factor[:, foot]
    return plates, plates.amin(-1)


def sliding_geoms(model: Any) -> Tensor:
    """(G,) long: geoms of a compiled MjModel that can touch something."""
    touching = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    return torch.from_numpy(touching.nonzero()[0])


def downhill(slope: Tensor) -> Tensor:
    """Unit gravity direction (E, 3) seen from a floor whose slope is (E, 3) [rad] along x and y.

    The floor stays the plane z = 0 and gravity turns instead; positive slopes lead downhill.
    """
    x, y = torch.sin(slope[:, 0]), torch.sin(slope[:, 1])
    z = -torch.sqrt((1.0 - x.square() - y.square()).clamp(min=0.0))
    return torch.stack([x, y, z], dim=-1)


def required_fields(names: Any) -> tuple[str, ...]:
    """Fields of the model that these terms change, each once."""
    return tuple(dict.fromkeys(f for name in names for f in TERMS[name].model_fields))

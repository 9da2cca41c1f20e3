"""What policy and critic observe: a registry of fields, each a function of a step.

A new field is a function here with `observation_field`, and its name in a config:
`observation.fields` for the policy and critic, `observation.critic_fields` for the critic alone.
Layout and digest follow from these lists. docs/adding.md shows an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from envs.episode import StepContext
from envs.errors import UserError, closest
from envs.frames import turn
from envs.layout import Field, Layout
from envs.reality.randomization import TERMS
from envs.robot.spec import RobotSpec
from envs.robot.symmetry import MIRRORS
from envs.settings import NonNegativeFloat, NonNegativeInt, check

FieldFunction = Callable[[StepContext], Tensor]


@dataclass(frozen=True)
class ObservationField:
    """One field that policy or critic may observe."""

    function: FieldFunction
    """Its values (E, size)."""
    unit: str
    frame: str
    mirror: str
    """Name of the rule that mirrors it, in `MIRRORS`."""
    blocks: int
    """How often the rule's values follow each other."""
    reader: str | None
    """What it reads: gyro, gravity, heading, encoder or switch; None for the true state."""
    remembered: bool
    """Whether a history of observations has it."""

    def declared(self, robot: RobotSpec) -> Field:
        """Its entry in a layout."""
        size = self.blocks * len(MIRRORS[self.mirror](robot).index)
        meaning = (self.function.__doc__ or "").strip().splitlines()[0].rstrip(".")
        return Field(self.function.__name__, size, self.unit, self.frame, meaning, self.mirror)


FIELDS: dict[str, ObservationField] = {}
"""Name -> field."""


def observation_field(
    unit: str,
    frame: str,
    mirror: str,
    blocks: int = 1,
    reader: str | None = None,
    remembered: bool = False,
) -> Callable[[FieldFunction], FieldFunction]:
    """Register a function as the observation field of its name.

    The function must not read a tensor's value on the host, nor make a tensor of Python numbers: it
    is recorded as a CUDA graph. The first line of its docstring is the field's meaning.

    Args:
        unit: of its values, `1` for none.
        frame: in which its values are.
        mirror: name of the rule in `MIRRORS` for what the mirrored robot observes; it says how many
            values there are.
        blocks: how often these values follow each other.
        reader: the reading that the function is of: gyro, gravity, heading, encoder or switch;
            None for none.
        remembered: whether a history of observations has it.
    """

    def register(function: FieldFunction) -> FieldFunction:
        if function.__name__ in FIELDS:
            raise ValueError(f"there is an observation field {function.__name__!r} already")
        FIELDS[function.__name__] = ObservationField(
            function, unit, frame, mirror, blocks, reader, remembered
        )
        return function

    return register


_SENSED = (
    "imu_gravity", "imu_angvel", "encoder_pos", "encoder_vel", "prev_action", "command",
    "imu_heading_error",
)  # fmt: skip
_TRUE = (
    "gravity", "angvel", "linvel", "joint_pos", "joint_vel", "foot_switch", "heading_error",
)  # fmt: skip
_HIDDEN = (
    "height", "plate_load", "torque", "sole_height", "sole_linvel", "sole_pos", "air_time",
    "stance_time", "mean_velocity",
)  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """What an observation has where a config does not say otherwise."""

    fields: tuple[str, ...]
    """Of the policy."""
    critic_fields: tuple[str, ...]
    """That the critic observes after those of the policy."""
    history: int
    """Number of earlier control steps that the policy observes."""


_DRAWN = (
    "push", "drawn_friction", "drawn_zero_error", "drawn_strength", "drawn_gain",
    "drawn_compliance", "drawn_imu_tilt", "drawn_action_delay",
)  # fmt: skip


PROFILES = {
    "robot": Profile(_SENSED, (*_TRUE, *_HIDDEN, *_DRAWN), history=5),
    "switches": Profile((*_SENSED, "switch_reading"), (*_TRUE, *_HIDDEN, *_DRAWN), history=5),
    "simulator": Profile(
        ("gravity", "angvel", "linvel", "joint_pos", "joint_vel", "foot_switch", "prev_action",
         "velocity_command", "heading_error"),
        _HIDDEN,
        history=0,
    ),
}  # fmt: skip
"""Profiles by name. robot is what the robot's sensors measure; without a velocity it needs a
history. switches adds foot switches, which open under load on the real robot. simulator has the
root's true velocity, which no robot measures: its policies are not deployable."""


@dataclass(frozen=True, kw_only=True)
class ObservationConfig:
    """What policy and critic observe."""

    profile: Literal["robot", "switches", "simulator"] = "robot"
    """Names the fields and the history below. robot: what the robot's sensors measure; switches:
    the same with foot switches; simulator: the true state, which no robot measures."""
    fields: tuple[str, ...] | None = None
    """Fields of the policy's observation, in order; null for those of the profile."""
    critic_fields: tuple[str, ...] | None = None
    """Fields that the critic observes after the policy's; null for those of the profile."""
    history: NonNegativeInt | None = None
    """Number of earlier control steps whose sensor readings and actions the policy observes; null
    for that of the profile: 5, and 0 for simulator."""
    foot_switch_threshold: NonNegativeFloat = 2.0
    """Support above which a plate's foot switch reads 1 [N]."""

    def __post_init__(self) -> None:
        check(self)
        names = (*self.policy, *self.critic)
        for name in names:
            if name not in FIELDS:
                raise UserError(
                    f"observation field {name!r} is unknown{closest(name, FIELDS)}; allowed: "
                    f"{', '.join(FIELDS)}"
                )
        if not self.policy or len(set(names)) != len(names):
            raise UserError(
                f"observation.fields are {', '.join(self.policy) or 'none'}, critic_fields "
                f"{', '.join(self.critic) or 'none'}; at least one field must be in the "
                "first list, and none twice"
            )
        if self.history and not self.past:
            raise UserError(
                f"observation.history is {self.history}, but no field of the policy is kept in a "
                f"history; observe one of {', '.join(n for n in FIELDS if FIELDS[n].remembered)}, "
                "or leave history out"
            )

    @property
    def policy(self) -> tuple[str, ...]:
        """Fields of the policy's observation, without its history."""
        return PROFILES[self.profile].fields if self.fields is None else self.fields

    @property
    def critic(self) -> tuple[str, ...]:
        """Fields that the critic observes after the policy's."""
        own = self.critic_fields
        return PROFILES[self.profile].critic_fields if own is None else own

    @property
    def past(self) -> int:
        """Number of earlier control steps that the policy observes; 0 of fields of the present."""
        number = PROFILES[self.profile].history if self.history is None else self.history
        return number if any(FIELDS[name].remembered for name in self.policy) else 0

    @property
    def remembered(self) -> tuple[str, ...]:
        """Fields of the policy's that a history has; none without a history."""
        return tuple(n for n in self.policy if FIELDS[n].remembered) if self.past else ()

    @property
    def readers(self) -> set[str]:
        """Readings that are observed."""
        fields = (FIELDS[name] for name in (*self.policy, *self.critic))
        return {field.reader for field in fields if field.reader is not None}


HISTORY = "_history"
"""What the name of a field's history ends in."""


def observation_layout(robot: RobotSpec, config: ObservationConfig) -> Layout:
    """Layout of the policy's observation: its fields, then the history of each, newest first."""
    present = _declared(robot, config.policy)
    past = tuple(
        replace(
            field,
            name=field.name + HISTORY,
            size=config.past * field.size,
            meaning=f"The last {config.past} of {field.name}, newest first",
        )
        for field in _declared(robot, config.remembered)
    )
    return Layout("observation", (*present, *past))


def critic_layout(robot: RobotSpec, config: ObservationConfig) -> Layout:
    """Layout of the critic's observation: the policy's fields without history, then its own."""
    return Layout("critic_observation", _declared(robot, (*config.policy, *config.critic)))


def frame_size(robot: RobotSpec, config: ObservationConfig) -> int:
    """Number of values that a history keeps of each control step."""
    return sum(field.size for field in _declared(robot, config.remembered))


def frame(step: StepContext) -> Tensor:
    """What a history keeps of this control step (E, frame_size)."""
    names = step.config.observation.remembered
    if not names:
        return step.episode.frames[:, :0, 0]
    return torch.cat([FIELDS[name].function(step) for name in names], dim=-1)


def _declared(robot: RobotSpec, names: Iterable[str]) -> tuple[Field, ...]:
    return tuple(FIELDS[name].declared(robot) for name in names)


def observe(step: StepContext, layouts: Iterable[Layout]) -> dict[str, Tensor]:
    """Vector (E, layout.size) of each layout by its name, in fresh memory."""
    layouts = tuple(layouts)
    names = dict.fromkeys(field.name for layout in layouts for field in layout.fields)
    values = {name: FIELDS[name].function(step) for name in names if not name.endswith(HISTORY)}
    first = 0
    for name in step.config.observation.remembered:
        size = values[name].shape[-1]
        values[name + HISTORY] = step.episode.frames[:, :, first : first + size].flatten(1)
        first += size
    return {
        layout.name: layout.pack(**{field.name: values[field.name] for field in layout.fields})
        for layout in layouts
    }


@observation_field("1", "body", "polar")
def gravity(step: StepContext) -> Tensor:
    """Unit gravity direction."""
    return step.m.gravity_b


@observation_field("rad/s", "body", "axial")
def angvel(step: StepContext) -> Tensor:
    """Root angular velocity."""
    return step.m.angvel_b


@observation_field("m/s", "heading", "polar")
def linvel(step: StepContext) -> Tensor:
    """Root velocity."""
    return step.m.linvel_h


@observation_field("1", "joint", "joints")
def joint_pos(step: StepContext) -> Tensor:
    """Position in its range, -1 to 1."""
    return (step.m.joint_pos - step.robot.joint_center) / step.robot.joint_half_span


@observation_field("1", "joint", "joints")
def joint_vel(step: StepContext) -> Tensor:
    """Velocity / nominal limit, clipped to +-1."""
    return (step.m.joint_vel / step.robot.joint_max_velocity).clamp(-1.0, 1.0)


@observation_field("1", "plate", "plates")
def foot_switch(step: StepContext) -> Tensor:
    """1 where the plate carries load."""
    threshold = step.config.observation.foot_switch_threshold
    return (step.m.plate_force > threshold).to(step.m.plate_force.dtype)


@observation_field("1", "policy", "actions", remembered=True)
def prev_action(step: StepContext) -> Tensor:
    """Filtered action of the last step."""
    return step.episode.action


@observation_field("m/s", "heading", "even")
def velocity_command(step: StepContext) -> Tensor:
    """Forward velocity to hold."""
    return step.episode.command[:, :1]


@observation_field("m/s, m/s, rad/s", "heading", "command")
def command(step: StepContext) -> Tensor:
    """Velocity to hold, forward and to the left, and yaw rate."""
    return step.episode.command


@observation_field("rad", "world", "odd")
def heading_error(step: StepContext) -> Tensor:
    """Heading minus the heading to hold, in [-pi, pi]."""
    return step.heading_error[:, None]


# What sensors say.


@observation_field("1", "imu", "polar", reader="gravity", remembered=True)
def imu_gravity(step: StepContext) -> Tensor:
    """Unit gravity direction as the IMU reports it."""
    return step.sensed.gravity


@observation_field("rad/s", "imu", "axial", reader="gyro", remembered=True)
def imu_angvel(step: StepContext) -> Tensor:
    """Angular velocity as the IMU reports it."""
    return step.sensed.angvel


@observation_field("rad", "world", "odd", reader="heading")
def imu_heading_error(step: StepContext) -> Tensor:
    """Heading as the IMU reports it minus the heading to hold, in [-pi, pi]."""
    return step.off_heading(step.sensed.heading)[:, None]


@observation_field("1", "joint", "joints", reader="encoder", remembered=True)
def encoder_pos(step: StepContext) -> Tensor:
    """Position in its range as the encoder reads it, -1 to 1."""
    return (step.sensed.joint_pos - step.robot.joint_center) / step.robot.joint_half_span


@observation_field("1", "joint", "joints", reader="encoder", remembered=True)
def encoder_vel(step: StepContext) -> Tensor:
    """Difference of two readings over their time / nominal limit, clipped to +-1."""
    return (step.sensed.joint_vel / step.robot.joint_max_velocity).clamp(-1.0, 1.0)


@observation_field("1", "plate", "plates", reader="switch", remembered=True)
def switch_reading(step: StepContext) -> Tensor:
    """1 where the foot switch is closed."""
    return step.sensed.switches


# What only a simulator knows.


@observation_field("m", "world", "even")
def height(step: StepContext) -> Tensor:
    """Root above the ground."""
    return step.m.height[:, None]


@observation_field("1", "world", "plates")
def plate_load(step: StepContext) -> Tensor:
    """Support / weight."""
    return step.m.plate_force / step.robot.weight


@observation_field("1", "joint", "joints")
def torque(step: StepContext) -> Tensor:
    """Actuator torque / limit."""
    return step.m.torque / step.robot.torque_limit


@observation_field("m", "world", "feet")
def sole_height(step: StepContext) -> Tensor:
    """Sole centres above the ground."""
    return step.m.sole_height


@observation_field("m/s", "world", "feet_polar")
def sole_linvel(step: StepContext) -> Tensor:
    """Sole centre velocities."""
    return step.m.sole_linvel_w.flatten(1)


@observation_field("m", "heading", "feet_polar")
def sole_pos(step: StepContext) -> Tensor:
    """Sole centres from the root."""
    return step.m.sole_pos_h.flatten(1)


# The reward depends on the past by these three, so the value does.


@observation_field("s", "foot", "feet")
def air_time(step: StepContext) -> Tensor:
    """How long the foot has been unloaded."""
    return step.episode.air_time


@observation_field("s", "robot", "even")
def stance_time(step: StepContext) -> Tensor:
    """How long both feet have been loaded while walking was commanded."""
    return step.episode.stance_time[:, None]


@observation_field("m/s", "heading", "even")
def mean_velocity(step: StepContext) -> Tensor:
    """Velocity averaged as the reward does."""
    return step.episode.mean_velocity[:, None]


# What makes this robot another one than the next.


@observation_field("1", "heading", "horizontal")
def push(step: StepContext) -> Tensor:
    """Force of the present push / weight, forward and to the left."""
    force = torch.nn.functional.pad(step.episode.push, (0, 1))
    return turn(force, -step.m.yaw)[:, :2] / step.robot.weight


def _drawn(step: StepContext, term: str, columns: int) -> Tensor:
    """Values (E, columns) of a randomisation term; what changes nothing without that term."""
    if term in step.drawn:
        return step.drawn[term]
    return torch.full_like(step.m.height[:, None], TERMS[term].neutral).expand(-1, columns)


@observation_field("1", "robot", "even")
def drawn_friction(step: StepContext) -> Tensor:
    """Sliding friction of floor and soles."""
    return _drawn(step, "sole_friction", 1)


@observation_field("rad", "joint", "joints")
def drawn_zero_error(step: StepContext) -> Tensor:
    """Error of each servo's zero."""
    return _drawn(step, "zero_error", step.robot.num_joints)


@observation_field("1", "joint", "actions")
def drawn_strength(step: StepContext) -> Tensor:
    """Torque limit of each servo / its default."""
    return _drawn(step, "strength", step.robot.num_joints)


@observation_field("1", "joint", "actions")
def drawn_gain(step: StepContext) -> Tensor:
    """Position gain of each servo / its default."""
    return _drawn(step, "gain", step.robot.num_joints)


@observation_field("rad/(N m)", "joint", "actions")
def drawn_compliance(step: StepContext) -> Tensor:
    """Compliance between encoder and joint."""
    return _drawn(step, "compliance", step.robot.num_joints)


@observation_field("rad", "body", "axial")
def drawn_imu_tilt(step: StepContext) -> Tensor:
    """Rotation of the IMU against the body, about each axis."""
    return _drawn(step, "imu_tilt", 3)


@observation_field("20 ms", "robot", "even")
def drawn_action_delay(step: StepContext) -> Tensor:
    """Time until a target reaches its servo / 20 ms."""
    return _drawn(step, "action_delay", 1) / 20.0

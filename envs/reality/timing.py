"""When things happen: targets on their way to the servos, and readings of the past."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.reality.servo import UPDATES_PER_STEP, ServoConfig


@dataclass(frozen=True)
class CommandState:
    """Targets between policy and servos of E robots with J joints [rad]."""

    sent: Tensor
    """(E, H, J): targets of the last H control steps, the newest first."""
    goal: Tensor
    """(E, J): the target that has reached the servo."""
    target: Tensor
    """(E, J): the servo's own target, which travels to `goal`."""
    rate: Tensor
    """(E, J) [rad/s]: speed of that travel."""

    @classmethod
    def at(cls, target: Tensor, depth: int) -> CommandState:
        """Everything at rest at `target` (E, J)."""
        sent = target[:, None].repeat(1, depth, 1)
        return cls(sent, target.clone(), target.clone(), torch.zeros_like(target))


def history_depth(longest_ms: float, ctrl_dt: float) -> int:
    """Control steps whose values are kept, so that one `longest_ms` old is among them."""
    return math.ceil(longest_ms / 1000.0 / ctrl_dt - 1e-9) + 2


def send(
    state: CommandState,
    target: Tensor,
    missed: Tensor | None,
    drawn: Mapping[str, Tensor],
    *,
    servo: ServoConfig,
    ctrl_dt: float,
) -> tuple[CommandState, Tensor]:
    """Send a control step's targets, and let those that are on their way arrive.

    Args:
        state: after the last step.
        target: (E, J) [rad] the policy's targets.
        missed: (E,) bool, robots that send nothing; None for none.
        drawn: terms of this episode by name.
        servo: counts, deadband and travel time, none of them null.
        ctrl_dt: control step [s].

    Returns:
        The state at the step's end, and the servos' own targets at each update (U, E, J) [rad].
    """
    last = state.sent[:, 0]
    if servo.count:
        target = torch.round(target / servo.count) * servo.count
    kept = torch.zeros_like(target, dtype=torch.bool)
    if servo.deadband:
        # A target exactly at the deadband is sent, although float32 may say it is just below.
        kept = kept | ((target - last).abs() < servo.deadband - 1e-5)
    if missed is not None:
        kept = kept | missed[:, None]
    sent = torch.cat([torch.where(kept, last, target)[:, None], state.sent[:, :-1]], dim=1)

    delay = torch.zeros_like(target)
    for name in ("action_delay", "bus_delay"):
        if name in drawn:
            delay = delay + drawn[name] / 1000.0
    dt = ctrl_dt / UPDATES_PER_STEP
    goal, own, rate = state.goal, state.target, state.rate
    targets = []
    for update in range(UPDATES_PER_STEP):
        steps_ago = torch.ceil((delay - update * dt) / ctrl_dt - 1e-4).long()
        steps_ago = steps_ago.clamp(0, sent.shape[1] - 1)
        arrived = sent.gather(1, steps_ago[:, None])[:, 0]
        if servo.travel_time:
            fresh = arrived != goal
            rate = torch.where(fresh, (arrived - own) / servo.travel_time, rate)
            goal = arrived
            # The middle of the interval stands for it; it ends a whole interval further.
            ahead = (goal - own).abs()
            moved = torch.sign(rate) * torch.minimum((rate * dt).abs(), ahead)
            targets.append(own + 0.5 * moved)
            own = own + moved
        else:
            goal = own = arrived
            targets.append(own)
    return CommandState(sent, goal, own, rate), torch.stack(targets)


def value_at_age(history: Tensor, age: Tensor, ctrl_dt: float) -> Tensor:
    """Values (E, D) that were measured `age` (E, D) or (E, 1) [s] ago, linear between steps.

    Args:
        history: (E, H, D), the newest first, one for each control step.
        age: [s]; ages beyond the history give its oldest value.
        ctrl_dt: control step [s].
    """
    steps = (age / ctrl_dt).clamp(0.0, history.shape[1] - 1.0).expand(-1, history.shape[-1])
    newer = steps.floor().clamp(max=history.shape[1] - 2.0)
    index = newer.long()[:, None]
    later, earlier = history.gather(1, index)[:, 0], history.gather(1, index + 1)[:, 0]
    return later + (steps - newer) * (earlier - later)

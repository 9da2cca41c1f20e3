"""Rules of a diagnosis: each a pure function of the evidence that finds one fault, or None.

docs/why.md says how each fault is judged. A rule whose evidence is not there is silent; what was
not looked at is said apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from envs.reality.disturbances import PushConfig
from envs.reality.faults import FaultConfig
from envs.task.commands import FORWARD, LATERAL, YAW
from envs.task.rewards import TERMS
from envs.thresholds import MOVING, TURNING
from wildrobot_torch.reference.report.analysis import SPEED_BIN
from wildrobot_torch.training.difficulty import DifficultyConfig
from wildrobot_torch.training.health.alarms import LEAST_NOISE, MOST_NOISE, rules
from wildrobot_torch.training.health.why.evidence import Acts, Evidence, Run, progress

Severity = Literal["serious", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")

STANDS, SLOW, FAST = 0.25, 0.7, 1.3
"""Shares of the commanded velocity: below the first a robot stands, below the second it is slow,
above the third it is fast."""
FOLLOWS = 0.5
"""Change of the speed over that of the command below which a policy does not heed commands."""
DRIFT, TURN = 0.1, 0.15
"""Mean velocity to the side [m/s] and mean yaw rate [rad/s] beside the commanded ones, of which
more is drift."""
FALLS, MANY_FALLS = 0.1, 0.3
"""Shares of falls."""
STANDING_PAYS = 0.7
"""Share of a walk's reward from which on standing is a local optimum: a robot that learns to walk
falls at first, which costs more than the rest is worth."""
ZEROS, MANY_ZEROS = 0.3, 0.6
"""Shares of commands that ask for standing."""
UNCOVERED, MANY_UNCOVERED = 0.1, 0.3
"""Shares of commanded speeds that the reference does not have."""
UNREAD = 0.01
"""Effect of an input on the action below which nothing depends on it."""
SATURATES, STUCK = 0.3, 0.5
"""Shares of the time in which a servo is saturated. Swinging knees are for a fifth of it: a fast
servo has little torque left."""
LIMITED, ALWAYS_LIMITED = 0.2, 0.5
"""Shares of the time in which an action is at its limit."""
WORSE = 0.25
"""Loss of rank, of about 2.5, from which on a policy is worse than an earlier one."""
RECENT = 50
"""Last iterations that learning is judged by."""
UNCHANGED_CLIP, UNCHANGED_KL = 0.01, 0.1
"""Clip fraction, and KL divergence over ppo.kl_low, below which updates change nothing."""
EXPLAINED = "Loss/explained_variance"
"""Share of the variance of the critic's targets that it predicts."""
UNEXPLAINED = 0.1
"""Explained variance below which advantages are little more than returns."""
YOUNG, YOUNG_SHARE = 1_000_000, 0.2
"""Environment steps, and their share of the budget, before which a policy may not have learnt
anything yet."""


@dataclass(frozen=True)
class Finding:
    """One fault of a policy or of its training."""

    severity: Severity
    """serious: it does not work; warning: it may be why; note: worth knowing."""
    what: str
    """One sentence."""
    evidence: str
    """The numbers."""
    remedy: str
    """One setting with its value, or one command."""


Rule = Callable[[Evidence], Finding | None]

_WEIGHTS = "--data.env.reward.weights"


def diagnosis(evidence: Evidence) -> list[Finding]:
    """All faults, the most serious first; of one severity in the order of `RULES`."""
    found = [finding for rule in RULES if (finding := rule(evidence)) is not None]
    found += sounding(evidence)
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


# How the training ended


def diverged(e: Evidence) -> Finding | None:
    """Numbers that are not finite ended the training."""
    if e.run is None or e.run.diverged is None:
        return None
    return Finding(
        "serious",
        "The training ended because its numbers were not finite any more.",
        e.run.diverged,
        f"--model.ppo.learning_rate_max {e.run.ppo.learning_rate_max / 4:g}",
    )


def young(e: Evidence) -> Finding | None:
    """Too few steps to have learnt anything."""
    if e.run is None or e.run.env_steps >= e.run.budget:
        return None
    if e.run.env_steps >= max(YOUNG, YOUNG_SHARE * e.run.budget):
        return None
    return Finding(
        "note",
        "The training has hardly begun: faults of the motion say little yet.",
        f"{e.run.env_steps:,} of {e.run.budget:,} environment steps; a robot stands or falls for "
        f"{YOUNG:,} or more",
        "let it go on, and ask again",
    )


# Motion


def _asked(acts: Acts) -> Tensor:
    """(E,) bool: walking ahead or to the side is commanded, and motion was measured."""
    size = acts.commands[:, :2].norm(dim=-1)
    return (size >= MOVING) & ~acts.velocities.isnan().any(-1)


def _median(values: Tensor) -> float:
    return float(values.quantile(0.5)) if len(values) else math.nan


def moves(e: Evidence) -> Finding | None:
    """The robot stands, goes back, or is too slow or too fast, by the median of the robots."""
    asked = _asked(e.policy)
    if not bool(asked.any()):
        return None
    share = progress(e.policy)[asked]
    median = _median(share)
    speed = e.policy.velocities[asked, :2].norm(dim=-1)
    numbers = (
        f"median velocity along the command {100.0 * median:z.0f}% of it (commands "
        f"{_range(e.policy.commands[asked, :2].norm(dim=-1))} m/s, mean speeds {_range(speed)} "
        f"m/s); one foot in the air {e.policy.swinging:.0%} of the time"
    )
    if median < -STANDS:
        return Finding("serious", "It goes backwards when told to go ahead.", numbers,
                       f"{_WEIGHTS}.standing -1")  # fmt: skip
    if median < STANDS:
        steps = "It steps in place" if e.policy.swinging > 0.3 else "It stands still"
        return Finding("serious", f"{steps} when told to walk.", numbers, _walk_remedy(e))
    if median < SLOW or median > FAST:
        word = "slower" if median < SLOW else "faster"
        sharper = 1.5 * vars(e.task.reward.weights)["track_lin_vel_x"]
        return Finding(
            "warning", f"It walks {word} than commanded.", numbers,
            f"{_WEIGHTS}.track_lin_vel_x {sharper:g}",
        )  # fmt: skip
    return None


def _walk_remedy(e: Evidence) -> str:
    if e.run is not None and e.run.data.get("reference") is None:
        return (
            "train with reference motion of the commanded speeds: wildrobot fit --config "
            "walking_amp_robot --data.reference FILE"
        )
    return f"{_WEIGHTS}.standing -1"


def stands_at_some(e: Evidence) -> Finding | None:
    """It walks at most commands, and stands at some, the slow ones as a rule."""
    asked = _asked(e.policy)
    share = progress(e.policy)[asked]
    if len(share) < 4 or not _median(share) >= STANDS:
        return None
    stuck = share < STANDS
    if float(stuck.double().mean()) < 0.1:
        return None
    where = e.policy.commands[asked, :2].norm(dim=-1)[stuck]
    return Finding(
        "warning",
        "It stands still at some of the commanded speeds.",
        f"below {STANDS:.0%} of the command in {int(stuck.sum())} of {len(share)} episodes, at "
        f"{_range(where)} m/s",
        f"{_WEIGHTS}.stall {min(2.0 * vars(e.task.reward.weights)['stall'], -2.0):g}",
    )


def heeds_commands(e: Evidence) -> Finding | None:
    """It walks, but at one speed whatever is commanded."""
    asked = _asked(e.policy) & (e.policy.commands[:, LATERAL] == 0.0)
    if int(asked.sum()) < 4 or not _median(progress(e.policy)[asked]) >= STANDS:
        return None
    command, speed = e.policy.commands[asked, FORWARD], e.policy.velocities[asked, FORWARD]
    if float(command.std()) < 0.05:
        return None
    centred = command - command.mean()
    slope = float((centred * speed).sum() / centred.square().sum())
    if slope >= FOLLOWS:
        return None
    return Finding(
        "serious" if slope < FOLLOWS / 2 else "warning",
        "It walks at nearly one speed, whatever is commanded.",
        f"1 m/s more of command is {slope:.2f} m/s more of speed; commands {_range(command)} m/s, "
        f"speeds {_range(speed)} m/s",
        f"--model.amp.weight {e.run.amp.weight / 2.0:g}"
        if e.run is not None and e.run.amp is not None
        else f"{_WEIGHTS}.track_lin_vel_x 6",
    )


def drifts(e: Evidence) -> Finding | None:
    """It moves to the side, or turns, though nobody asks it to."""
    known = ~e.policy.velocities.isnan().any(-1)
    if not bool(known.any()):
        return None
    off = (e.policy.velocities - e.policy.commands)[known].quantile(0.5, dim=0)
    side, turn = float(off[LATERAL]), float(off[YAW])
    if abs(side) <= DRIFT and abs(turn) <= TURN:
        return None
    numbers = f"median {side:+.2f} m/s to the left, {turn:+.2f} rad/s to the left, too much"
    if abs(turn) > TURN:
        return Finding("warning", "It turns beside what is commanded.", numbers,
                       f"{_WEIGHTS}.heading -9")  # fmt: skip
    return Finding("warning", "It drifts to one side.", numbers, f"{_WEIGHTS}.lin_vel_y_l2 -1")


def rests(e: Evidence) -> Finding | None:
    """It walks when told to stand."""
    still = ~e.policy.commands.any(-1) & ~e.policy.velocities.isnan().any(-1)
    speed = e.policy.velocities[still, :2].norm(dim=-1)
    if len(speed) == 0 or _median(speed) <= 2 * MOVING:
        return None
    return Finding(
        "warning", "It walks when told to stand.",
        f"median speed {_median(speed):.2f} m/s at command 0",
        f"--data.env.command.standing_probability "
        f"{min(0.2 + e.task.command.standing_probability, 1.0):g}",
    )  # fmt: skip


def falls(e: Evidence) -> Finding | None:
    """It falls."""
    share = e.policy.falls
    if share <= FALLS:
        return None
    ends = ", ".join(f"{cause} {count}" for cause, count in e.policy.ends.items() if count)
    lasted = f"{_median(e.policy.lasted.double()):.1f} s"
    numbers = f"{share:.0%} of {sum(e.policy.ends.values())} episodes; ends by {ends}; half of "
    numbers += f"them lasted {lasted} or longer"
    noisy = [] if e.run is None else e.run.series("Metrics/fall_rate")
    if noisy:
        numbers += f"; in training, with noise on the actions, {noisy[-1]:.0%}"
    main = max((c for c in e.policy.ends if c != "time"), key=lambda c: e.policy.ends[c])
    remedy = {
        "physics": "--data.env.sim_dt 0.001: the simulation itself fails",
        "contact": "--data.env.termination.max_foot_force null",
        "height": f"{_WEIGHTS}.height_target 0.5",
    }.get(main, f"{_WEIGHTS}.flat_orientation -4")
    hard = {"push": e.task.push.impulse_max > 0.0, "terms": bool(e.task.randomization.active())}
    if any(hard.values()) and e.run is not None and e.run.data.get("difficulty") is None:
        stages = ", ".join(f"{name}: [0, 1]" for name, there in hard.items() if there)
        remedy = f"begin easier: --data.difficulty.stages '{{{stages}}}'"
    return Finding("serious" if share > MANY_FALLS else "warning", "It falls.", numbers, remedy)


# Reward


def standing_pays(e: Evidence) -> Finding | None:
    """Home hold earns nearly what a walk earns."""
    if e.standing is None or e.walk is None:
        return None
    stand, walk = e.standing.reward, e.walk.reward
    if stand < STANDING_PAYS * walk or (walk <= 0.0 and stand < walk):
        return None
    name, most = max(e.standing.terms.items(), key=lambda item: item[1])
    paying = sorted(e.standing.terms.items(), key=lambda item: -item[1])[:3]
    terms = ", ".join(f"{term} {value:+.3f}" for term, value in paying if value > 0.0)
    share = f"{stand / walk:.0%} of" if walk > 0.0 else "against"
    weights = vars(e.task.reward.weights)
    need = f"{_WEIGHTS}.track_lin_vel_x {max(2.0 * weights['track_lin_vel_x'], 4.0):g}"
    if not name.startswith("track") and name in weights and most > 0.0:
        need = f"{_WEIGHTS}.{name} {min(weights[name] / 4.0, TERMS[name].weight or math.inf):.2g}"
    return Finding(
        "serious",
        f"Standing still pays almost as well as walking, mostly by {name}."
        if stand < walk
        else f"Standing still pays better than walking, mostly by {name}.",
        f"per step standing earns {stand:+.3f}, {share} the {walk:+.3f} of a good walk at the same "
        f"commands; standing is paid by {terms or 'no term'}",
        need,
    )


def dying_pays(e: Evidence) -> Finding | None:
    """Each step costs, so an early end is worth its while."""
    if e.run is None or not e.policy.terms:
        return None

    def step(acts: Acts) -> float:
        return acts.reward - acts.terms.get("termination", 0.0)

    weights = vars(e.task.reward.weights)
    if e.walk is not None and step(e.walk) < 0.0:
        name, least = min(e.walk.terms.items(), key=lambda item: item[1])
        return Finding(
            "serious",
            "Even a good walk costs more than it earns, so the sooner an episode ends the better.",
            f"a good walk earns {step(e.walk):+.3f} per step; its most expensive term is {name}, "
            f"{least:+.3f}",
            f"{_WEIGHTS}.{name} {weights.get(name, 0.0) / 4.0:.2g}",
        )
    if step(e.policy) >= 0.0 or e.policy.falls <= FALLS:
        return None
    return Finding(
        "warning",
        "Its falls end its losses: each step costs more than it earns.",
        f"{step(e.policy):+.3f} per step without the price of a fall; {e.policy.falls:.0%} of the "
        "episodes end in one",
        f"{_WEIGHTS}.termination {min(3.0 * weights['termination'], -10.0):g}",
    )


# Commands and reference


def commands_rest(e: Evidence) -> Finding | None:
    """Too many commands ask for standing."""
    if len(e.drawn) == 0:
        return None
    moving = (e.drawn[:, :2].norm(dim=-1) >= MOVING) | (e.drawn[:, YAW].abs() >= TURNING)
    zero, slow = float((~e.drawn.any(-1)).double().mean()), float((~moving).double().mean())
    if slow <= ZEROS:
        return None
    command = e.task.command
    least = f"{slow:.0%} of the commands ask for standing, {zero:.0%} are exactly 0"
    if command.velocity_max < MOVING and not command.lateral_max and not command.yaw_rate_max:
        return Finding(
            "warning", "The task asks for nothing but standing.",
            f"{least}; velocity_max is {command.velocity_max:g} m/s",
            "for a walk: --data.env.command.velocity_max 0.6",
        )  # fmt: skip
    many = command.standing_probability > 0.1
    remedy = "standing_probability 0.1" if many else f"velocity_min {MOVING:g}"
    return Finding(
        "serious" if slow > MANY_ZEROS else "warning",
        "Most commands ask for standing." if slow > 0.5 else "Many commands ask for standing.",
        f"{least}; standing_probability is {command.standing_probability:g}, velocity_min "
        f"{command.velocity_min:g} m/s",
        f"--data.env.command.{remedy}",
    )


def reference_covers(e: Evidence) -> Finding | None:
    """Speeds are commanded that the reference does not have."""
    if e.reference is None or len(e.drawn) == 0 or not e.reference.speeds:
        return None
    speeds = torch.tensor(sorted(e.reference.speeds), dtype=torch.double)
    commands = e.drawn[:, FORWARD].double()
    missing = (commands[:, None] - speeds).abs().amin(1) > SPEED_BIN
    share = float(missing.double().mean())
    if share <= UNCOVERED:
        return None
    low, high = float(speeds[0]), float(speeds[-1])
    return Finding(
        "serious" if share > MANY_UNCOVERED else "warning",
        "Speeds are commanded that the reference does not have.",
        f"{share:.0%} of the commands are more than {SPEED_BIN:g} m/s from any segment of "
        f"{e.reference.file}, which has {low:.2f} to {high:.2f} m/s; missing are "
        f"{_range(commands[missing])} m/s",
        f"--data.env.command.velocity_min {max(low - SPEED_BIN / 2, 0.0):.2f} "
        f"--data.env.command.velocity_max {high + SPEED_BIN / 2:.2f}",
    )


# What the policy reads


def constant_action(e: Evidence) -> Finding | None:
    """Nothing that is observed changes the action."""
    if not e.inputs or any(found.effect >= UNREAD for found in e.inputs):
        return None
    return Finding(
        "serious",
        "The action is the same whatever is observed.",
        f"exchanging any of the {len(e.inputs)} observed fields changes it by less than "
        f"{UNREAD:.0%} of its variation",
        "train longer: raise --run.env_steps",
    )


def inputs_vary(e: Evidence) -> Finding | None:
    """Some of what is observed never changes."""
    still = [f"{x.name} ({x.constant} of {x.size})" for x in e.inputs if x.constant]
    if not still:
        return None
    held = e.task.command.heading_hold or "heading" not in " ".join(still)
    return Finding(
        "warning",
        "Some of what the policy observes never changes.",
        f"values that were constant for all robots: {', '.join(still)}",
        "leave the field out of --data.env.observation.fields"
        if held
        else "--data.env.command.heading_hold true",
    )


def inputs_read(e: Evidence) -> Finding | None:
    """The action does not depend on some of what is observed."""
    if constant_action(e) is not None:
        return None
    unread = [x for x in e.inputs if x.effect < UNREAD and x.constant < x.size]
    unread = [x for x in unread if not x.name.startswith("prev_action")]
    asked = bool((e.policy.commands != e.policy.commands[:1]).any())
    unread = [x for x in unread if asked or "command" not in x.name]
    if not unread:
        return None
    blind = any("command" in x.name for x in unread)
    return Finding(
        "serious" if blind else "warning",
        "The action does not depend on the command."
        if blind
        else "The action does not depend on some of what is observed.",
        "exchanged for that of another moment, the field changes the action by so much of its "
        "variation: " + ", ".join(f"{x.name} {x.effect:.2%}" for x in unread),
        f"{_WEIGHTS}.track_lin_vel_x 6" if blind
        else "leave the field out of --data.env.observation.fields",
    )  # fmt: skip


# Noise and learning


def noise(e: Evidence) -> Finding | None:
    """The actions' noise, by the checkpoint, has collapsed or exploded."""
    if not e.std:
        return None
    low, high = min(e.std), max(e.std)
    course = [] if e.run is None else e.run.series("Policy/mean_std")
    numbers = f"standard deviation of the actions {low:.3f} to {high:.3f}"
    if course:
        numbers += f"; its mean went from {course[0]:.3f} to {course[-1]:.3f}"
    entropy = 0.003 if e.run is None else e.run.ppo.entropy_coef
    if low < LEAST_NOISE:
        return Finding("serious", "The noise on the actions has collapsed: nothing is tried out.",
                       f"{numbers}; too little is less than {LEAST_NOISE:g}",
                       f"--model.ppo.entropy_coef {max(3.0 * entropy, 0.003):g}")  # fmt: skip
    if high > MOST_NOISE:
        return Finding("serious", "The noise on the actions has exploded.",
                       f"{numbers}; too much is more than {MOST_NOISE:g}",
                       f"--model.ppo.entropy_coef {entropy / 3.0:.2g}")  # fmt: skip
    return None


def learning(e: Evidence) -> Finding | None:
    """Updates do not change the policy any more."""
    if e.run is None or len(e.run.history) < RECENT:
        return None
    clip = e.run.series("Loss/clip_fraction")[-RECENT:]
    kl, rate = e.run.series("Loss/kl")[-RECENT:], e.run.series("Loss/learning_rate")[-1:]
    least = UNCHANGED_KL * e.run.ppo.kl_low
    if not clip or not kl or max(clip) >= UNCHANGED_CLIP or max(kl) >= least:
        return None
    return Finding(
        "serious",
        "Learning has stopped: updates do not change the policy.",
        f"in the last {len(kl)} iterations clip fraction <= {max(clip):.3g}, KL divergence <= "
        f"{max(kl):.2g} (ppo.kl_low is {e.run.ppo.kl_low:g}); learning rate {rate[0]:.1e}",
        f"--model.ppo.learning_rate_min {max(1e-4, 3.0 * e.run.ppo.learning_rate_min):g}",
    )


def critic(e: Evidence) -> Finding | None:
    """The critic predicts next to nothing of what is earned."""
    explained = [] if e.run is None else e.run.series(EXPLAINED)[-RECENT:]
    if e.run is None or len(explained) < RECENT:
        return None
    mean = sum(explained) / len(explained)
    if mean >= UNEXPLAINED:
        return None
    return Finding(
        "warning",
        "The critic predicts next to nothing of what is earned.",
        f"explained variance {mean:.2f} in the last {len(explained)} iterations; much is above 0.5",
        f"--model.ppo.value_coef {2.0 * e.run.ppo.value_coef:g}",
    )


_SERIOUS_ALARMS = (
    "style reward constant",
    "style never starts",
    "KL divergence far beyond its target",
    "gradients exploding",
)
_NOISE_ALARMS = ("policy noise collapsing", "policy noise exploding")


def sounding(e: Evidence) -> list[Finding]:
    """The alarms of the training that hold at its end; noise is judged by `noise`."""
    if e.run is None or not e.run.history:
        return []
    found = []
    for rule in rules(e.run.ppo, e.run.amp):
        line = rule.warning(e.run.history, len(e.run.history))
        if line is None or (rule.name in _NOISE_ALARMS and e.std):
            continue
        told, _, remedy = line.partition("; ")
        name, _, numbers = told.partition(": ")
        severity = "serious" if rule.name in (*_SERIOUS_ALARMS, *_NOISE_ALARMS) else "warning"
        what = f"{name[0].upper()}{name[1:]} (alarm of the training)."
        found.append(Finding(severity, what, numbers, remedy))
    return found


def got_worse(e: Evidence) -> Finding | None:
    """An earlier checkpoint was better."""
    if e.run is None or len(e.run.ranks) < 2:
        return None
    (best_at, best), (last_at, last) = max(e.run.ranks, key=lambda r: r[1]), e.run.ranks[-1]
    if last >= best - WORSE:
        return None
    return Finding(
        "warning",
        "The policy is worse than an earlier one of the run.",
        f"rank {last:.2f} at {last_at / 1e6:.2f} M steps, {best:.2f} at {best_at / 1e6:.2f} M",
        f"use {e.run.best}" if e.run.best else "keep the checkpoint of the best evaluation",
    )


# Actuators


def saturates(e: Evidence) -> Finding | None:
    """Servos give all they have."""
    servos = {name: x for name, x in e.policy.saturation.items() if x > SATURATES}
    if not servos:
        return None
    most = max(servos.values())
    return Finding(
        "serious" if most > STUCK else "warning",
        "Servos are at their torque limit.",
        f"share of the time: {_shares(servos)}",
        f"{_WEIGHTS}.saturation -0.3",
    )


def acts_at_limits(e: Evidence) -> Finding | None:
    """Actions are at -1 or 1."""
    joints = {name: x for name, x in e.policy.at_limit.items() if x > LIMITED}
    if not joints:
        return None
    return Finding(
        "serious" if max(joints.values()) > ALWAYS_LIMITED else "warning",
        "Actions are at their limits.",
        f"share of the time at -1 or 1: {_shares(joints)}",
        f"--data.env.action.scale {1.5 * e.task.action.scale:g}",
    )


# Settings


def idle_randomisation(e: Evidence) -> Finding | None:
    """Randomisation or faults that change nothing."""
    if e.idle is None:
        return None
    what, _, remedy = e.idle.partition(": ")
    return Finding("warning", "Some of the randomisation changes nothing.", what, remedy or "null")


def dead_settings(e: Evidence) -> Finding | None:
    """Settings that are set, while what reads them is switched off."""
    dead = [*_dead_of_task(e), *([] if e.run is None else _dead_of_run(e.run))]
    if not dead:
        return None
    return Finding(
        "warning",
        "Some settings do nothing.",
        "; ".join(f"{name} is {value}, but {why}" for name, value, why, _ in dead),
        dead[0][3],
    )


Dead = tuple[str, Any, str, str]
"""Setting, its value, why nothing reads it, remedy."""


def _dead_of_task(e: Evidence) -> list[Dead]:
    reward, push, faults = e.task.reward, e.task.push, e.task.faults
    weights = vars(reward.weights)
    found: list[Dead] = []
    for name, term in (("swing_time", "feet_air_time"), ("tracking_time", "track_lin_vel_x")):
        value = getattr(reward, name)
        if value != getattr(type(reward)(), name) and not weights[term]:
            why, remedy = f"the weight of {term} is 0", f"{_WEIGHTS}.{term} {TERMS[term].weight:g}"
            found.append((f"reward.{name}", value, why, remedy))
    if push.impulse_max == 0.0:
        for name in _changed(push, PushConfig()):
            why = "push.impulse_max is 0"
            remedy = "--data.env.push.impulse_max 0.5"
            found.append((f"push.{name}", getattr(push, name), why, remedy))
    for kind in ("dropout", "displacement", "burst"):
        interval = f"{kind}_interval_s"
        if getattr(faults, interval):
            continue
        for name in _changed(faults, FaultConfig()):
            if name.startswith(kind):
                why, remedy = f"faults.{interval} is 0", f"--data.env.faults.{interval} 5"
                found.append((f"faults.{name}", getattr(faults, name), why, remedy))
    command = e.task.command
    if not command.heading_hold and weights["heading"] != 0.0:
        off = "command.heading_hold is false, so the heading error is always 0"
        found.append(("reward.weights.heading", weights["heading"], off,
                      "--data.env.command.heading_hold true"))  # fmt: skip
    return found


def _dead_of_run(run: Run) -> list[Dead]:
    found: list[Dead] = []
    reference = run.data.get("reference")
    weight = 0.0 if run.amp is None else run.amp.weight
    if reference is not None and weight == 0.0:
        starts = run.data.get("rsi_probability")
        why = "there is no motion prior (model.amp is null)" if run.amp is None else (
            "model.amp.weight is 0")  # fmt: skip
        if run.amp is not None or not starts:
            use = f", only {starts:.0%} of the starts use it" if starts else ""
            found.append(("data.reference", reference, f"{why}{use}", "--model.amp.weight 1"))
    return found


def curriculum(e: Evidence) -> Finding | None:
    """The difficulty does not move."""
    settings = None if e.run is None else e.run.data.get("difficulty")
    if e.run is None or not isinstance(settings, Mapping):
        return None
    series = e.run.series("Curriculum/difficulty") or e.run.series("Curriculum/terms")
    defaults = DifficultyConfig()
    half = series[len(series) // 2 :]
    if len(series) < RECENT or series[-1] >= 1.0 or max(half) - min(half) > 0.0:
        return None
    never = max(series) == min(series)
    raise_above = settings.get("raise_above", defaults.raise_above)
    falls = e.run.series("Metrics/fall_rate")
    told = f"; {falls[-1]:.0%} of the episodes end in a fall" if falls else ""
    return Finding(
        "warning",
        "The curriculum never moved." if never else "The curriculum is stuck.",
        f"difficulty {series[-1]:.2f} since iteration {1 if never else len(series) - len(half)} "
        f"of {len(series)}; it rises above {raise_above:.0%} of episodes without a fall{told}",
        f"--data.difficulty.raise_above {max(raise_above - 0.1, 0.1):.2g} "
        f"--data.difficulty.lower_below "
        f"{max(settings.get('lower_below', defaults.lower_below) - 0.1, 0.0):.2g}",
    )


RULES: tuple[Rule, ...] = (
    diverged,
    moves,
    falls,
    standing_pays,
    dying_pays,
    commands_rest,
    reference_covers,
    constant_action,
    noise,
    learning,
    critic,
    got_worse,
    heeds_commands,
    stands_at_some,
    drifts,
    rests,
    inputs_read,
    inputs_vary,
    saturates,
    acts_at_limits,
    curriculum,
    idle_randomisation,
    dead_settings,
    young,
)
"""In the order in which findings of one severity are told: what is seen, then what may cause it."""


def _changed(config: Any, default: Any) -> list[str]:
    return [name for name, value in vars(config).items() if value != getattr(default, name)]


def _range(values: Tensor) -> str:
    if len(values) == 0:
        return "none"
    low, high = float(values.min()), float(values.max())
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def _shares(values: Mapping[str, float]) -> str:
    ordered = sorted(values.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share:.0%}" for name, share in ordered)

"""What each method made of each clip, beside the clip itself, before and after its repair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from envs.recording import Recording
from envs.robot.model import RobotModel
from wildrobot_torch.motion.clip import Clip, clip_states
from wildrobot_torch.motion.metrics import METRICS, SLIPPING, measure
from wildrobot_torch.reference.config import CTRL_DT
from wildrobot_torch.reference.follow.rollout import Rollout
from wildrobot_torch.reference.generate import Generation
from wildrobot_torch.reference.judge.gates import GOOD_TIERS, TIERS
from wildrobot_torch.reference.judge.selection import Rejection, label
from wildrobot_torch.reference.verify.subject import forward

CLIP, ORIGINAL = "clip", "as given"
"""Rows without physics: the clip that was followed, and the same before its repair."""
BEFORE_AFTER = ("penetration", "slip_share", "joint_stop_share")
"""Metrics that a clip has without physics."""
REPORTED = (
    "velocity", "load_mean", "load_p10", "support_force_p95", "support_torque_p95", "pitch_p95",
    "roll_p95", "torque_saturation", "joint_error", *BEFORE_AFTER,
)  # fmt: skip
NOTE = (
    f"`{CLIP}` is the motion that was followed, put on the robot without physics, and `{ORIGINAL}` "
    "the same before its repair. The other rows are what the simulated robot did. Slip is that of "
    "the lower sole of a clip, and of every sole of a robot that bears a tenth of the weight."
)


class Span(NamedTuple):
    """Accepted frames start..stop-1 of a clip, counted from the first one a rollout can reach."""

    start: int
    stop: int
    tier: str


@dataclass(frozen=True)
class Row:
    """What one method made of one clip; NaN where it says nothing."""

    clip: str
    method: str
    metrics: dict[str, float]
    """`REPORTED` over all its steps before a fall; `BEFORE_AFTER` of the clip itself."""
    spans: tuple[Span, ...] = ()
    """What was accepted, in order."""
    survival: float = math.nan
    """Mean share of its rollouts' steps before a fall."""
    clip_speed: float = math.nan
    """Mean speed of the clip [m/s], which no gate compares; a policy follows none."""

    def seconds(self, *tiers: str) -> float:
        """Accepted in these tiers [s]."""
        return sum(span.stop - span.start for span in self.spans if span.tier in tiers) * CTRL_DT


def compare(
    generation: Generation, robot_model: RobotModel, originals: Mapping[str, Clip]
) -> list[Row]:
    """A row for each clip and method, clip by clip, those of the clip itself first.

    A policy's motion is its own clip. `originals` has the clips, by name, as they were before their
    repair.
    """
    made = [r for rollouts in generation.rollouts.values() for r in rollouts]
    rows = []
    for clip in {id(r.task.clip): r.task.clip for r in made}.values():
        mine = [r for r in made if r.task.clip is clip]
        if mine[0].task.command is None:
            clips = {ORIGINAL: originals.get(clip.name), CLIP: clip}
            rows += [
                Row(clip.name, method, clip_metrics(given, robot_model))
                for method, given in clips.items()
                if given is not None
            ]
        for method in dict.fromkeys(r.method for r in mine):
            own = [r for r in mine if r.method == method]
            spans = (
                Span(r.task.first_frame + s.start, r.task.first_frame + s.stop, label(r, s))
                for r, s in generation.kept
                if r.task.clip is clip and r.method == method
            )
            rows.append(
                Row(
                    clip=clip.name,
                    method=method,
                    metrics=measure(_strung(own), robot_model.robot, names=REPORTED),
                    spans=tuple(sorted(spans)),
                    survival=sum(r.survival for r in own) / len(own),
                    clip_speed=clip.mean_speed if own[0].task.command is None else math.nan,
                )
            )
    return rows


def _strung(rollouts: Sequence[Rollout]) -> Recording:
    """The steps of rollouts as one episode: no reported metric relates a step to the next."""
    first = rollouts[0].recording
    series = {
        f.name: torch.cat([getattr(r.recording, f.name) for r in rollouts])
        for f in fields(Recording)
        if isinstance(value := getattr(first, f.name), Tensor) and value.dim() > 1
    }
    return replace(first, **series)


def clip_metrics(clip: Clip, robot_model: RobotModel) -> dict[str, float]:
    """`BEFORE_AFTER` of a clip put on the robot without physics.

    The slip is that of the lower sole, because a clip's floor may be anywhere, and where nothing
    is loaded one foot of a walk has to stand.

    Raises:
        ClipError: the clip has another number of joints than the robot.
    """
    robot = robot_model.robot
    posed = forward(*clip_states(clip, robot), robot_model, 1.0 / clip.fps)
    assert posed.sole_height is not None
    lower = posed.sole_height.argmin(-1, keepdim=True)
    slip = (posed.sole_speed.gather(-1, lower) > SLIPPING).double().mean()
    return {**measure(posed, robot, names=BEFORE_AFTER), "slip_share": float(slip)}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown table."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def clip_table(rows: Sequence[Row]) -> str:
    """Markdown table: accepted seconds by tier, survival and metrics of each clip and method."""
    units = [f"{name}, {METRICS[name].unit}" for name in REPORTED]
    head = ("clip", "method", *(f"{tier}, s" for tier in TIERS), "survival",
            "clip m/s", *units)  # fmt: skip
    body = []
    for row in rows:
        simulated = row.method not in (CLIP, ORIGINAL)
        values = (row.metrics.get(name, math.nan) for name in REPORTED)
        body.append(
            (
                row.clip,
                row.method,
                *(f"{row.seconds(tier):.2f}" if simulated else "-" for tier in TIERS),
                _cell(row.survival, ".0%"),
                *(_cell(value, ".3g") for value in (row.clip_speed, *values)),
            )
        )
    return table(head, body)


def before_after_table(rows: Sequence[Row]) -> str:
    """Markdown table: mean and worst over the clips, before repair, after it, and as simulated."""
    head = ["motion", "clips"]
    for name in BEFORE_AFTER:
        head += [f"{name}, {METRICS[name].unit}", "worst"]
    body = []
    for method in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == method]
        cells = [method, str(len(mine))]
        for name in BEFORE_AFTER:
            values = torch.tensor([row.metrics[name] for row in mine])
            both = values.nanmean(), values.nanquantile(1.0)
            cells += [_cell(float(value), ".3g") for value in both]
        body.append(cells)
    return table(head, body)


def rejected_table(rejected: Sequence[Rejection]) -> str:
    """Markdown table: the parts of clips that are in no tier, with the gates that refused them."""
    body = [
        (
            r.clip,
            f"{(r.clip_frame - 1) * CTRL_DT:.2f} to {(r.clip_frame - 1 + r.frames) * CTRL_DT:.2f}",
            ", ".join(r.gates) or "-",
            r.reason,
        )
        for r in rejected
    ]
    return table(("clip", "time, s", "gates", "reason"), body) if body else "Nothing."


def rejection_table(generation: Generation) -> str:
    """Markdown table: how many stretches each gate rejected."""
    rows = [(name, str(count)) for name, count in generation.rejections.items()]
    return table(("gate", "rejected stretches"), rows)


def summary(generation: Generation) -> str:
    """One line: seconds accepted of seconds in, segments, clips."""
    clips = {id(r.task.clip): r.task.clip for made in generation.rollouts.values() for r in made}
    used = len({id(rollout.task.clip) for rollout, _ in generation.kept})
    return (
        f"accepted {generation.seconds():.1f} s of "
        f"{sum(clip.duration_s for clip in clips.values()):.1f} s in {len(generation.kept)} "
        f"segments from {used} of {len(clips)} clips"
    )


def worst_clips(rows: Sequence[Row], number: int) -> list[str]:
    """Up to `number` clips in their order; of more, those with the least good motion accepted."""
    best: dict[str, float] = {}
    for row in rows:
        best[row.clip] = max(best.get(row.clip, 0.0), row.seconds(*GOOD_TIERS))
    chosen = sorted(best, key=lambda name: best[name])[:number]
    return [name for name in best if name in chosen]


def _cell(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"

"""Ways to make a clip into motion, side by side: seconds, tracking, feet, support, rejections."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.recording import Recording
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.metrics import JOINT_STOP
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.follow.rollout import Rollout
from wildrobot_torch.reference.generate import gates_for
from wildrobot_torch.reference.judge.gates import TIERS, Gate, judge, judging, measure_gated
from wildrobot_torch.reference.report.analysis import GOOD_TIERS
from wildrobot_torch.reference.report.kinematic import clip_motion

CLIP, ORIGINAL = "clip", "as given"
"""Names of the ways in which no physics takes part: the clip followed, and before its repair."""


@dataclass(frozen=True)
class Span:
    """Accepted frames start..stop-1 of a clip, counted from the first one a rollout can reach."""

    start: int
    stop: int
    tier: str
    support: str


@dataclass(frozen=True)
class Row:
    """What one way made of one clip; NaN where it says nothing."""

    clip: str
    way: str
    seconds: dict[str, float]
    """Tier -> accepted [s]."""
    survival: float
    """Mean share of its rollouts' steps before a fall."""
    joint_rms: float
    """Joint error against the clip, RMS [rad]; NaN for a policy, which follows none."""
    slip_p95: float
    """Speed of standing soles, 95th percentile [m/s]."""
    load_mean: float
    """Mean weight on the feet [m g]."""
    force_p95: float
    """Harness force, 95th percentile [m g]."""
    torque_p95: float
    """Harness torque, 95th percentile [m g h]."""
    penetration: float
    """Deepest sole point below the floor [m]."""
    joint_stop: float
    """Share of frames on a joint's stop, worst joint."""

    @property
    def good_s(self) -> float:
        """Accepted in the good tiers [s]."""
        return sum(self.seconds.get(tier, 0.0) for tier in GOOD_TIERS)


@dataclass(frozen=True)
class RejectedSecond:
    """A second of a clip that is not in the good tiers."""

    clip: str
    way: str
    second: int
    """From `second` to `second` + 1 in the clip [s], or to its end."""
    rejected_s: float
    """Of it not in the good tiers [s]."""
    kept_as: str
    """Lower tier that it was kept in; empty for none."""
    gates: tuple[str, ...]
    """Names of the gates that refused it; empty where none did."""
    reason: str


def accepted_spans(
    dataset: ReferenceDataset | None, rollouts: Mapping[str, Sequence[Rollout]]
) -> dict[tuple[str, str], list[Span]]:
    """(clip, method) -> what the dataset holds of it, in order."""
    spans: dict[tuple[str, str], list[Span]] = {
        (r.task.clip.name, method): [] for method, made in rollouts.items() for r in made
    }
    segments = [] if dataset is None else dataset.manifest["segments"]
    for segment in segments:
        start = int(segment["clip_frame"]) - 1
        span = Span(start, start + segment["frames"], segment["tier"], segment["support"])
        spans[segment["clip"], segment["method"]].append(span)
    return {key: sorted(found, key=lambda s: s.start) for key, found in spans.items()}


def compare(
    rollouts: Mapping[str, Sequence[Rollout]],
    spans: Mapping[tuple[str, str], Sequence[Span]],
    robot_model: RobotModel,
    originals: Mapping[str, Clip],
) -> list[Row]:
    """A row for each clip and way, the clip itself first; a policy's motion is its own clip.

    Args:
        rollouts: way -> its rollouts.
        spans: what was accepted, by `accepted_spans`.
        robot_model: the robot.
        originals: clips by name as they were before their repair, for those that were repaired.
    """
    tasks = {r.task.clip.name: r.task for made in rollouts.values() for r in made}
    rows = []
    for name, task in tasks.items():
        if name in originals:
            rows.append(_clip_row(originals[name], name, ORIGINAL, robot_model))
        if task.command is None:
            rows.append(_clip_row(task.clip, name, CLIP, robot_model))
        for way, made in rollouts.items():
            mine = [r for r in made if r.task.clip.name == name]
            if mine:
                rows.append(_row(name, way, mine, spans[name, way], robot_model.robot))
    return rows


def _clip_row(clip: Clip, name: str, way: str, robot_model: RobotModel) -> Row:
    motion = clip_motion(clip, robot_model)
    return Row(
        clip=name,
        way=way,
        seconds={},
        survival=math.nan,
        joint_rms=math.nan,
        slip_p95=motion.slip_p95,
        load_mean=math.nan,
        force_p95=math.nan,
        torque_p95=math.nan,
        penetration=motion.penetration,
        joint_stop=motion.joint_stop_share(robot_model.robot.joint_range),
    )


def _row(
    name: str, way: str, mine: Sequence[Rollout], spans: Sequence[Span], robot: RobotSpec
) -> Row:
    recordings = [r.recording for r in mine]
    dt = recordings[0].ctrl_dt
    seconds: dict[str, float] = {}
    for span in spans:
        seconds[span.tier] = seconds.get(span.tier, 0.0) + (span.stop - span.start) * dt

    def pooled(quantity: Callable[[Recording], Tensor]) -> Tensor:
        return torch.cat([quantity(r) for r in recordings]).double()

    low, high = robot.joint_range.double().unbind(-1)
    q = pooled(lambda r: r.joint_pos(robot).flatten(0, 1))
    on_stop = (q < low + JOINT_STOP) | (q > high - JOINT_STOP)
    error = pooled(lambda r: r.joint_error(robot))
    return Row(
        clip=name,
        way=way,
        seconds=seconds,
        survival=sum(r.survival for r in mine) / len(mine),
        joint_rms=float(error.square().mean().sqrt()),
        slip_p95=_p95(pooled(lambda r: r.sole_speed[r.loaded(robot)])),
        load_mean=float(pooled(lambda r: r.load(robot)).mean()),
        force_p95=_p95(pooled(lambda r: r.support_force(robot))),
        torque_p95=_p95(pooled(lambda r: r.support_torque(robot))),
        penetration=max([0.0, *(-pooled(_sole_heights)).tolist()]),
        joint_stop=float(on_stop.double().mean(0).max()) if len(q) else math.nan,
    )


def _sole_heights(recording: Recording) -> Tensor:
    assert recording.sole_height is not None
    return recording.sole_height.flatten()


def _p95(values: Tensor) -> float:
    return float(torch.quantile(values, 0.95)) if values.numel() else math.nan


def rejected_seconds(
    rollouts: Mapping[str, Sequence[Rollout]],
    spans: Mapping[tuple[str, str], Sequence[Span]],
    gates: Sequence[Gate],
    robot: RobotSpec,
) -> list[RejectedSecond]:
    """Every second of every clip that is not in the good tiers, and why.

    A second is judged by itself. If it passes, what refused it is the stretch it stands in: gates
    that judge whole segments, or a share of a longer window. Of several rollouts of a clip the
    first that reached the second is judged. Forced motion is left out: it is never in a good tier.
    """
    found = []
    for (name, way), accepted in spans.items():
        if way == "forced":
            continue
        mine = [r for r in rollouts[way] if r.task.clip.name == name]
        found += _rejected_of(mine, accepted, gates, robot, way)
    return found


def _rejected_of(
    mine: Sequence[Rollout],
    accepted: Sequence[Span],
    gates: Sequence[Gate],
    robot: RobotSpec,
    way: str,
) -> list[RejectedSecond]:
    clip, dt = mine[0].task.clip, mine[0].recording.ctrl_dt
    total = clip.num_frames - 1
    good = torch.zeros(total, dtype=torch.bool)
    for span in accepted:
        good[span.start : span.stop] |= span.tier in GOOD_TIERS
    judged = gates_for(clip, gates, mine[0].task.command)
    # The stricter of the good tiers is no reason to reject, only the other one is.
    tier = next(t for t in (*reversed(GOOD_TIERS), *TIERS) if judging(judged, t))
    second = round(1.0 / dt)
    found = []
    for start in range(0, total, second):
        stop = min(start + second, total)
        missing = int((~good[start:stop]).sum())
        if not missing:
            continue
        lower = [s.tier for s in accepted if s.start < stop and s.stop > start]
        lower = sorted({t for t in lower if t not in GOOD_TIERS}, key=TIERS.index)
        names, reason = _why(mine, start, stop, good, judged, tier, robot)
        found.append(
            RejectedSecond(
                clip=clip.name,
                way=way,
                second=start // second,
                rejected_s=missing * dt,
                kept_as=", ".join(lower),
                gates=names,
                reason=reason,
            )
        )
    return found


def _why(
    mine: Sequence[Rollout],
    start: int,
    stop: int,
    good: Tensor,
    gates: Sequence[Gate],
    tier: str,
    robot: RobotSpec,
) -> tuple[tuple[str, ...], str]:
    """Gates that refuse frames start..stop-1 of a clip, and their reasons in words."""
    reaches = [r for r in mine if r.task.start <= start and _end(r) >= stop]
    if not reaches:
        longest = max(mine, key=_end)
        at = _end(longest) * longest.recording.ctrl_dt
        return (), f"fell at {at:.2f} s"
    rollout = reaches[0]
    shift = rollout.task.start
    window = [gate for gate in gates if gate.scope == "window"]
    if judging(window, tier):
        second = rollout.recording.cut(start - shift, stop - shift)
        verdict = judge(measure_gated(second, robot, window), window, tier)
        if not verdict.accepted:
            return verdict.failed, "; ".join(verdict.reasons)
    first, last = start, stop
    while first > shift and not good[first - 1]:
        first -= 1
    while last < _end(rollout) and not good[last]:
        last += 1
    stretch = rollout.recording.cut(first - shift, last - shift)
    verdict = judge(measure_gated(stretch, robot, gates), gates, tier)
    dt = rollout.recording.ctrl_dt
    if not verdict.accepted:
        return verdict.failed, f"{first * dt:.2f} to {last * dt:.2f} s: " + "; ".join(
            verdict.reasons
        )
    return (), "passes by itself; left over between windows that do not"


def _end(rollout: Rollout) -> int:
    """First frame of its clip that a rollout did not reach."""
    return rollout.task.start + rollout.num_frames

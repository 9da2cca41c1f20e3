"""Which segments of a clip's rollouts are kept, and what of the clip is in none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.metrics import measure
from wildrobot_torch.reference.follow.rollout import DIAGNOSTIC_TIER, Rollout
from wildrobot_torch.reference.judge.gates import Gate, GateResult, judge
from wildrobot_torch.reference.judge.segments import Search, SegmentConfig, Stretch, free_span


@dataclass(frozen=True)
class Rejection:
    """Frames of a clip that did not become reference, and why."""

    clip: str
    clip_frame: int
    """First of them, at the control rate."""
    frames: int
    gates: tuple[str, ...]
    """Gates that rejected them; empty where there were too few to judge, or the robot fell."""
    reason: str


def label(rollout: Rollout, segment: Stretch) -> str:
    """Tier of an accepted segment: what the gates say; the diagnostic tier for forced motion."""
    return DIAGNOSTIC_TIER if rollout.method == "forced" else segment.verdict.tier


def resolve(
    rollouts: Sequence[Rollout],
    searches: Sequence[Search],
    robot: RobotSpec,
    gates: Sequence[Gate],
    config: SegmentConfig,
) -> list[tuple[Rollout, Stretch]]:
    """Accepted segments of all rollouts of one clip, no clip frame twice.

    Better tiers go first, then longer segments; what overlaps them is cut to its longest free part,
    which gets the best tier whose gates it passes by itself. Forced motion is kept where the tiers
    include the diagnostic one.
    """
    found = [
        (r, s)
        for r, search in zip(rollouts, searches, strict=True)
        for s in search.accepted
        if label(r, s) in config.tiers
    ]
    found.sort(
        key=lambda pair: (
            config.tiers.index(label(*pair)),
            -pair[1].num_frames,
            pair[0].task.first_frame,
            pair[1].start,
        )
    )
    names = {gate.metric for gate in gates}
    taken: list[tuple[int, int]] = []
    kept = []
    for rollout, segment in found:
        shift = rollout.task.first_frame
        span = free_span(segment.start + shift, segment.stop + shift, taken)
        start, stop = span[0] - shift, span[1] - shift
        if stop - start < config.min_frames:
            continue
        if (start, stop) != (segment.start, segment.stop):
            metrics = measure(rollout.recording.cut(start, stop), robot, names=names)
            verdicts = (judge(metrics, gates, tier) for tier in config.tiers)
            verdict = next((v for v in verdicts if v.accepted), None)
            if verdict is None:
                continue
            segment = Stretch(start, stop, verdict)
        taken.append(span)
        kept.append((rollout, segment))
    return kept


def rejections(
    clip: Clip,
    searched: Sequence[tuple[Rollout, Search]],
    kept: Sequence[tuple[Rollout, Stretch]],
) -> list[Rejection]:
    """What of a clip is in no kept segment, with the reason the first rollout over it was given."""
    spans = [(r.task.first_frame + s.start, r.task.first_frame + s.stop) for r, s in kept]
    found: dict[int, Rejection] = {}
    for rollout, search in searched:
        shift = rollout.task.first_frame
        fell = f"fell after {rollout.num_frames} of {rollout.task.num_steps} frames"
        fall = GateResult({}, (), (fell,), DIAGNOSTIC_TIER)
        end = Stretch(rollout.num_frames, rollout.task.num_steps, fall)
        for gap in (*search.gaps, end):
            start, stop = free_span(gap.start + shift, gap.stop + shift, spans)
            if stop > start:
                spans.append((start, stop))
                gates, reason = gap.verdict.failed, gap.verdict.reasons[0]
                found[start] = Rejection(clip.name, start + 1, stop - start, gates, reason)
    return [found[start] for start in sorted(found)]

"""Test 1B with forces, and the replay of 1C: could the robot have done this by itself?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wildrobot_torch.reference.verify.dynamics import Recovered, recover, replay
from wildrobot_torch.reference.verify.finding import Finding, bounded, skipped
from wildrobot_torch.reference.verify.subject import Subject

WINDOW = 12
"""Control steps of each stretch that is looked into."""
STRETCHES = 24
"""Stretches looked into for each kind of support, unless asked otherwise."""
UNEXPLAINED = {"none": 0.02, "harness": 0.10}
"""Median misfit of a step, as a velocity [m/s or rad/s]. By itself a robot leaves 1e-5; a harness's
torque changes within a step, which a constant one cannot follow."""
HELD = 0.35
"""Median share of the weight that a harness may seem to carry: far above what it may carry, because
servos and support can do nearly the same."""


@dataclass(frozen=True)
class Stretches:
    """Consecutive control steps from segments of one kind of support."""

    support: str
    frames: Tensor
    """(W, L) long: the frames that the steps start from."""


def stretches(subject: Subject, support: str, most: int) -> Stretches | None:
    """Up to `most` stretches from the middles of segments, of as many segments as can be."""
    dataset = subject.dataset
    long_enough = [
        frames
        for number, frames in subject.segments()
        if subject.dataset.segment_support[number] == support
        and frames.stop - frames.start > WINDOW
    ]
    if not long_enough:
        return None
    rounds = -(-most // len(long_enough))
    starts = []
    for i in range(rounds):
        for frames in long_enough:
            last = frames.stop - 1 - WINDOW
            place = frames.start + round((i + 0.5) / rounds * (last - frames.start))
            starts.append(min(place, last))
    chosen = torch.tensor(sorted(set(starts)))
    if len(chosen) > most:
        chosen = chosen[torch.linspace(0, len(chosen) - 1, most).long()]
    assert int(chosen.max()) + WINDOW < dataset.num_frames
    return Stretches(support, chosen[:, None] + torch.arange(WINDOW))


def feasibility(subject: Subject, most: int) -> list[Finding]:
    """1B and 1C, for `most` stretches without support and as many with a harness."""
    findings = []
    for support in sorted(set(subject.dataset.segment_support)):
        chosen = stretches(subject, support, most)
        if chosen is None:
            reason = f"no segment with support {support} has more than {WINDOW} frames"
            findings.append(skipped("1B", f"steps redone, support {support}", reason))
            continue
        findings += _redone(subject, chosen)
    return findings


def _redone(subject: Subject, chosen: Stretches) -> list[Finding]:
    before = chosen.frames.flatten()
    dt, support = subject.dataset.ctrl_dt, chosen.support
    qpos, qvel = subject.qpos, subject.qvel
    states = (qpos[before], qvel[before], qpos[before + 1], qvel[before + 1])
    found = recover(*states, subject.loaded, dt, supported=support != "none")
    misfit = torch.linalg.vector_norm(found.residual, dim=-1)
    what = "by the servos alone" if support == "none" else "by servos and support"
    where = subject.dataset.segment_clip[int(subject.segment_of[before[misfit.argmax()]])]
    findings = [
        bounded("1B", f"steps redone {what}: misfit, median", float(misfit.median()), "m/s, rad/s",
                high=UNEXPLAINED[support],
                detail=f"{len(misfit)} steps; 90 % within {float(misfit.quantile(0.9)):.2g}; "
                f"most in {where}"),
        _replayed(subject, chosen, found),
    ]  # fmt: skip
    if support != "none":
        share = torch.linalg.vector_norm(found.wrench[:, :3], dim=-1) / subject.robot.weight
        findings.append(
            bounded("1B", "support that the steps need, median", float(share.median()), "m g",
                    high=HELD, detail="recovered from the motion, whatever its labels say")
        )  # fmt: skip
    return findings


def _replayed(subject: Subject, chosen: Stretches, found: Recovered) -> Finding:
    """Velocities after the whole stretch, simulated from its first state without overwriting it."""
    first = chosen.frames[:, 0]
    _, qvel = replay(
        subject.qpos[first], subject.qvel[first], found, subject.loaded, subject.dataset.ctrl_dt
    )
    error = (qvel - subject.qvel[chosen.frames + 1]).abs().mean((1, 2))
    return bounded("1C", f"replay of {WINDOW} steps without overwriting, support {chosen.support}: "
                   "mean velocity error, median", float(error.median()), "m/s, rad/s", high=0.1,
                   detail=f"{len(error)} stretches; largest {float(error.max()):.2g}")  # fmt: skip

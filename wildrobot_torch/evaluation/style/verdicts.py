"""What a policy's style is held against, and what it came to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wildrobot_torch.evaluation.style.assessment import AGAINST, TWIN, Assessment, Scope

FRECHET_SHARE = 0.5
"""Largest share of the other policy's Frechet distance."""
AUC = 0.85
DTW = 0.02
"""[m]."""
FOOT_SLIP = 0.08
"""[m/s]."""
PHASE = (0.45, 0.55)
SYMMETRY = 15.0
"""[%], of each symmetry index."""
STYLE_REWARD = 0.3
"""Least mean, where a checkpoint has a prior whose reward is in [0, 1]."""
SYMMETRIES = ("symmetry_step_time", "symmetry_duty", "symmetry_knee", "symmetry_hip")


@dataclass(frozen=True)
class StyleVerdict:
    """A limit and whether it holds."""

    metric: str
    value: float
    limit: str
    passed: bool | None
    """None where it does not count."""
    note: str = ""
    """Why it does not count."""

    @property
    def word(self) -> str:
        """The verdict in words."""
        if self.passed is None:
            return f"does not count: {self.note}"
        return "pass" if self.passed else "FAIL"


def verdicts(
    assessment: Assessment, policy: str, style_reward: float = math.nan
) -> list[StyleVerdict]:
    """The limits of walking in style, judged for a policy on the held-out reference.

    A style metric that does not tell the controls apart that it has to see is not judged, nor is
    one whose limit the same clips miss when another tracking policy does them (the twin). Gait that
    is undefined fails.

    Args:
        assessment: the policy among others.
        policy: its name there.
        style_reward: mean of its own prior's reward, NaN if it has none.
    """
    scope = assessment.scopes["held out"]
    gait = assessment.gait[policy]
    found = []
    if AGAINST in scope.columns and policy != AGAINST:
        limit = FRECHET_SHARE * scope.columns[AGAINST].values["frechet"]
        found.append(_style(scope, policy, "frechet", limit))
    found += [_style(scope, policy, "auc", AUC), _style(scope, policy, "dtw", DTW)]
    phase = gait["phase_offset"]
    worst = max((gait[name] for name in SYMMETRIES), key=lambda x: math.inf if math.isnan(x) else x)
    slip = gait["foot_slip"]
    found += [
        StyleVerdict("foot_slip", slip, f"< {FOOT_SLIP:g} m/s", slip < FOOT_SLIP),
        StyleVerdict(
            "phase_offset", phase, f"{PHASE[0]:g} to {PHASE[1]:g}", PHASE[0] <= phase <= PHASE[1]
        ),
        StyleVerdict("symmetry_index", worst, f"< {SYMMETRY:g} %", worst < SYMMETRY),
    ]
    if not math.isnan(style_reward):
        found.append(
            StyleVerdict(
                "style_reward", style_reward, f">= {STYLE_REWARD:g}", style_reward >= STYLE_REWARD
            )
        )
    return found


def _style(scope: Scope, policy: str, metric: str, limit: float) -> StyleVerdict:
    value, words = scope.columns[policy].values[metric], f"<= {limit:.4g}"
    if not scope.evidence(metric):
        return StyleVerdict(metric, value, words, None, "blind to a control it has to see")
    if TWIN in scope.columns and not scope.columns[TWIN].values[metric] <= limit:
        reached = f"the twin has {scope.columns[TWIN].values[metric]:.4g}"
        return StyleVerdict(metric, value, words, None, reached)
    return StyleVerdict(metric, value, words, value <= limit)

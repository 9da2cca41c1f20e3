"""Evaluation: deterministic rollouts, gait metrics, verdicts, reports and pictures."""

from wildrobot_torch.evaluation.evaluate import EvaluationResult, Verdict, evaluate
from wildrobot_torch.evaluation.scenarios import Scenario, load_scenario

__all__ = [
    "EvaluationResult",
    "Scenario",
    "Verdict",
    "evaluate",
    "load_scenario",
]

"""Evaluation: deterministic rollouts, gait metrics, verdicts, reports and pictures."""

from wildrobot_torch.evaluation.evaluate import EvaluationResult, Verdict, evaluate
from wildrobot_torch.evaluation.scenarios import Limit, Scenario, ScenarioError, load_scenario

__all__ = [
    "EvaluationResult",
    "Limit",
    "Scenario",
    "ScenarioError",
    "Verdict",
    "evaluate",
    "load_scenario",
]

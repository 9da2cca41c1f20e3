"""`wildrobot evaluate`: run a policy in a scenario and write a report."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.physics.engines import resolve_engine
from wildrobot_torch.cli.options import ENGINES, Parser, positive
from wildrobot_torch.evaluation import EvaluationResult, evaluate, load_scenario
from wildrobot_torch.evaluation.report import number, write_report
from wildrobot_torch.motion.metrics import METRICS
from wildrobot_torch.ppo.policy_file import load_policy


def parser() -> Parser:
    """The options of this verb."""
    parser = Parser(
        "wildrobot evaluate",
        "Run a policy in a scenario, measure it, write report.md, report.json and plots.",
        "wildrobot evaluate RUN/checkpoints/last.ckpt --scenario speeds --gate",
    )
    parser.add_argument("policy", type=Path, help="checkpoint (.ckpt) or exported policy (.onnx)")
    parser.add_argument(
        "--scenario", default="walking", help="name in configs/evaluation, or a .yaml file"
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the report (default: evaluation/SCENARIO by the policy)"
    )
    parser.add_argument(
        "--num_envs", type=positive, help="robots side by side (default: one for each episode)"
    )
    parser.add_argument("--physics", default="native", help=ENGINES)
    parser.add_argument(
        "--seed", type=int, help="of start noise and pushes (default: the scenario's)"
    )
    parser.add_argument(
        "--gate", action="store_true", help="exit with 1 when a limit of the scenario does not hold"
    )
    return parser


def main(words: list[str]) -> int:
    """0; with --gate 1 when a limit of the scenario does not hold."""
    options = parser().parse_args(words)
    physics = resolve_engine(options.physics)
    scenario = load_scenario(options.scenario)
    if options.seed is not None:
        scenario = replace(scenario, seed=options.seed)
    policy = load_policy(options.policy)
    num_envs = options.num_envs or scenario.episodes
    if scenario.episodes % num_envs:
        raise UserError(
            f"--num_envs {num_envs} does not divide the {scenario.episodes} episodes of scenario "
            f"{scenario.name!r}"
        )
    env = LocomotionEnv(scenario.task(policy.task), num_envs, physics=physics)
    policy.require(env.layouts["observation"], env.robot.digest)
    about = {
        "file": str(options.policy),
        "sha256": hashlib.sha256(options.policy.read_bytes()).hexdigest(),
        "env_steps": policy.env_steps,
    }
    result = evaluate(policy, env, scenario)
    folder = options.out or options.policy.parent / "evaluation" / scenario.name
    written = write_report(result, env.robot.to("cpu"), folder, about, physics)
    print("\n".join(summary(result)))
    print(f"wrote {written[1]}")
    return 1 if options.gate and not result.passed else 0


def summary(result: EvaluationResult) -> list[str]:
    """Lines for the console: verdicts, then a row per command."""
    lines = [f"{'metric':<18}{'value':>9} {'unit':<5}{'limit':>10}  verdict"]
    lines += [
        f"{verdict.metric:<18}{number(verdict.value):>9} {METRICS[verdict.metric].unit:<5}"
        f"{verdict.limit!s:>10}  {verdict.word}"
        for verdict in result.verdicts
    ]
    head = (
        f"{'m/s':>5}{'falls':>8}{'v':>8}{'error':>10}{'over 1 s':>10}{'alternation':>13}{'duty':>8}"
    )
    lines += ["", head]
    lines += [
        f"{row['command']:>5g}{row['fall_rate']:>8.0%}{number(row['velocity']):>8}"
        f"{number(row['velocity_error']):>10}{number(row['velocity_error_1s']):>10}"
        f"{number(row['alternation']):>13}"
        f"{number(row['duty_factor']):>8}"
        for row in result.per_command
    ]
    lines.append(f"score {result.score:.3f}: {'passed' if result.passed else 'failed'}")
    return lines

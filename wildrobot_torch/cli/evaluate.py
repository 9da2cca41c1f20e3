"""`wildrobot evaluate`: run a policy in a scenario and write a report."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace

from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.physics.engines import resolve_engine
from wildrobot_torch.evaluation import EvaluationResult, evaluate, load_scenario
from wildrobot_torch.evaluation.report import number, write_report
from wildrobot_torch.motion.metrics import METRICS
from wildrobot_torch.ppo.policy_file import load_policy


def main(options: argparse.Namespace) -> int:
    """0; with --gate 1 when a limit of the scenario does not hold."""
    physics = resolve_engine(options.physics)
    scenario = load_scenario(options.scenario)
    if options.seed is not None:
        scenario = replace(scenario, seed=options.seed)
    if options.terrain is not None:
        scenario = replace(scenario, terrain=options.terrain)
    policy = load_policy(options.policy)
    num_envs = options.num_envs or scenario.episodes
    if scenario.episodes % num_envs:
        episodes = f"the {scenario.episodes} episodes of scenario {scenario.name!r}"
        raise UserError(f"--num_envs {num_envs} does not divide {episodes}")
    env = LocomotionEnv(scenario.task(policy.task), num_envs, physics=physics)
    policy.require(env.layouts["observation"], env.robot.digest)
    about = {
        "file": str(options.policy),
        "sha256": hashlib.sha256(options.policy.read_bytes()).hexdigest(),
        "env_steps": policy.env_steps,
        "servo": env.servo,
    }
    result = evaluate(policy, env, scenario)
    folder = options.out or options.policy.parent / "evaluation" / scenario.name
    written = write_report(result, env.robot.to("cpu"), folder, about, physics)
    print(f"servo: {env.servo}")
    print("\n".join(summary(result)))
    print(f"wrote {written[1]}")
    return 1 if options.gate and not result.passed else 0


def summary(result: EvaluationResult) -> list[str]:
    """Lines for the console: verdicts, a row per command, then why episodes ended."""
    lines = [f"{'metric':<18}{'value':>9} {'unit':<5}{'limit':>10}  verdict"]
    lines += [
        f"{verdict.metric:<18}{number(verdict.value):>9} {METRICS[verdict.metric].unit:<5}"
        f"{verdict.limit!s:>10}  {verdict.word}"
        for verdict in result.verdicts
    ]
    names = ("velocity", "velocity_error_1s", "alternation")
    lines += ["", "  m/s   falls" + "".join(f"{name:>19}" for name in names)]
    for row in result.per_command:
        numbers = "".join(f"{number(row[name]):>19}" for name in names)
        lines.append(f"{row['command']:>5g}{row['fall_rate']:>8.0%}{numbers}")
    lines.append(f"episodes by the cause of their end: {result.ends_in_words}")
    lines.append(f"score {result.score:.3f}: {'passed' if result.passed else 'failed'}")
    return lines

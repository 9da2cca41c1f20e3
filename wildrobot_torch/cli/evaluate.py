"""`wildrobot evaluate`: run a policy in a scenario or a suite, and write a report."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.physics.engines import resolve_engine
from envs.physics.native import physical_cores
from envs.robot.model import load_robot
from wildrobot_torch.deploy.export import export_onnx
from wildrobot_torch.evaluation import EvaluationResult, evaluate, load_scenario
from wildrobot_torch.evaluation.report import number, write_report
from wildrobot_torch.evaluation.simulators.account import verdict, write_comparison
from wildrobot_torch.evaluation.simulators.compare import compare
from wildrobot_torch.evaluation.simulators.registry import chosen
from wildrobot_torch.evaluation.suite import columns_of, run_suite
from wildrobot_torch.evaluation.suite_report import write_suite
from wildrobot_torch.evaluation.suites import load_suite, with_seed
from wildrobot_torch.motion.metrics import METRICS
from wildrobot_torch.ppo.policy_file import LoadedPolicy, load_policy


def main(options: argparse.Namespace) -> int:
    """0; 1 when a target of the suite, or with --gate a limit of the scenario, is missed."""
    if options.simulator is not None:
        return simulators(options)
    if options.suite is not None:
        return suite(options)
    if options.against is not None:
        raise UserError("--against holds policies against each other in a suite; give --suite too")
    physics = resolve_engine(options.physics)
    scenario = load_scenario(options.scenario or "walking")
    if options.seed is not None:
        scenario = replace(scenario, seed=options.seed)
    if options.terrain is not None:
        scenario = replace(scenario, terrain=options.terrain)
    policy = load_policy(options.policy, options.robot)
    num_envs = options.num_envs or scenario.episodes
    if scenario.episodes % num_envs:
        episodes = f"the {scenario.episodes} episodes of scenario {scenario.name!r}"
        raise UserError(f"--num_envs {num_envs} does not divide {episodes}")
    env = LocomotionEnv(scenario.task(policy.task), num_envs, physics=physics)
    policy.require(env.layouts["observation"], env.robot.digest)
    about = described(policy) | {"servo": env.servo}
    result = evaluate(policy, env, scenario)
    folder = options.out or options.policy.parent / "evaluation" / scenario.name
    written = write_report(result, env.robot.to("cpu"), folder, about, physics)
    print(f"servo: {env.servo}")
    print("\n".join(summary(result)))
    print(f"wrote {written[1]}")
    return 1 if options.gate and not result.passed else 0


def suite(options: argparse.Namespace) -> int:
    """0 when every target of the suite is met, 1 when not."""
    for name in ("scenario", "num_envs", "terrain", "gate"):
        if getattr(options, name) not in (None, False):
            raise UserError(f"--{name} goes with a scenario, not with a suite; leave it out")
    physics = resolve_engine(options.physics)
    chosen = load_suite(options.suite)
    if options.seed is not None:
        chosen = with_seed(chosen, options.seed)
    columns = columns_of([p for p in (options.policy, options.against) if p], options.robot)
    about = {c.name: described(c.policy) for c in columns if isinstance(c.policy, LoadedPolicy)}
    episodes = sum(entry.scenario.episodes for entry in chosen.entries)
    print(f"suite {chosen.name}: {len(chosen.entries)} scenarios, {episodes} episodes, "
          f"{chosen.seconds / 3600:.1f} h of simulated time for each of {len(columns)} columns",
          flush=True)  # fmt: skip
    result = run_suite(
        chosen,
        columns,
        physics,
        workers=physical_cores() if physics == "native" else 1,
        say=lambda line: print(line, flush=True),
    )
    folder = options.out or options.policy.parent / "evaluation" / f"suite_{chosen.name}"
    written = write_suite(result, load_robot(columns[0].task.robot), folder, about, physics)
    for name, (count, enough) in result.group_passes(columns[0].name).items():
        print(f"{name}: {count} passed, {'enough' if enough else 'too few'}")
    print(f"{'passed' if result.passed() else 'failed'}; wrote {written[1]} and {written[2]}")
    return 0 if result.passed() else 1


def simulators(options: argparse.Namespace) -> int:
    """0 when every simulator loses at most the allowed success, 1 when not."""
    for name in ("scenario", "suite", "against", "num_envs", "seed", "terrain", "gate", "robot"):
        if getattr(options, name) not in (None, False):
            raise UserError(f"--{name} does not go with --simulator; leave it out")
    if options.physics != "native":
        raise UserError("--physics does not go with --simulator; name the simulator warp")
    names = chosen(options.simulator)
    about = described(load_policy(options.policy))
    with TemporaryDirectory() as folder:
        exported = options.policy
        if exported.suffix == ".ckpt":
            exported = Path(folder) / f"{options.policy.stem}.onnx"
            export_onnx(options.policy, exported)
        result = compare(exported, names, say=lambda line: print(line, flush=True))
    folder = options.out or options.policy.parent / "evaluation" / "simulators"
    written = write_comparison(result, about, load_robot().robot, folder)
    for one in result.simulators:
        drop = result.drop(one)
        print(f"{one.name:<16} lost {drop.value:6.1%} [{drop.low:.1%}, {drop.high:.1%}]  "
              f"{verdict(result, one)}")  # fmt: skip
    print(f"{'passed' if result.all_passed else 'failed'}; wrote {written[1]}")
    return 0 if result.all_passed else 1


def described(policy: LoadedPolicy) -> dict[str, Any]:
    """What identifies a policy in a report."""
    return {
        "file": str(policy.path),
        "sha256": hashlib.sha256(policy.path.read_bytes()).hexdigest(),
        "env_steps": policy.env_steps,
    }


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

"""Measure style: `python tools/evaluate_style.py best.ckpt --reference FILE`.

Writes style.md and style.json: how much policies move like a reference, each metric between
what the reference reaches against itself and motions that are wrong in a known way. Exit code 2 for
bad input; 1 where the physics cannot be trusted.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from torch import Tensor

from envs.locomotion import LocomotionEnv
from envs.physics.base import PhysicsError
from envs.physics.engines import resolve_engine
from envs.recorder import PolicyFunction, record, zero_policy
from envs.recording import Recording
from wildrobot_torch.amp.opinion import (
    StyleReward,
    held_out_in_training,
    load_prior,
    style_reward,
)
from wildrobot_torch.evaluation.report import number
from wildrobot_torch.evaluation.style.assessment import (
    AGAINST,
    SETTLE_S,
    STANDING,
    TWIN,
    References,
    assess,
)
from wildrobot_torch.evaluation.style.report import write_report
from wildrobot_torch.evaluation.style.verdicts import verdicts
from wildrobot_torch.ppo.policy_file import LoadedPolicy, load_policy
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.judge.gates import TIERS


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="evaluate_style", description="Measure how much policies move like a reference."
    )
    parser.add_argument(
        "policies", type=Path, nargs="+", metavar="POLICY",
        help="checkpoint (.ckpt) or exported policy (.onnx)",
    )  # fmt: skip
    parser.add_argument("--reference", type=Path, required=True, help="reference motion (.npz)")
    parser.add_argument(
        "--against", type=Path, help="policy trained without style, to be beaten by half"
    )
    parser.add_argument(
        "--twin", type=Path,
        help="the reference's clips done by another tracking policy (make_reference.py "
        "--reference.tracking.seed 1): what a faithful copy reaches; a limit that it misses judges "
        "no policy",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, help="folder of the report (default: style by the first policy)"
    )
    parser.add_argument(
        "--held-out", type=float, default=0.15,
        help="share of the reference that training held out (default: 0.15)",
    )  # fmt: skip
    parser.add_argument(
        "--tiers", nargs="+", choices=TIERS, default=["0+", "0"],
        help="tiers of the reference that training used (default: 0+ 0)",
    )  # fmt: skip
    parser.add_argument(
        "--episodes", type=int, default=64,
        help="episodes per policy, shared evenly by the reference's speeds (default: 64)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="duration of an episode [s] (default: 10)"
    )
    parser.add_argument(
        "--physics", default="native", help="engine: native, warp, warp-cpu or auto"
    )
    parser.add_argument("--seed", type=int, default=0, help="of start noise (default: 0)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the tool; nothing is written when it is 2."""
    options = parser().parse_args(arguments)
    try:
        lines = run(options)
    except (ValueError, OSError, PhysicsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if isinstance(error, PhysicsError) else 2
    print("\n".join(lines))
    return 0


def run(options: argparse.Namespace) -> list[str]:
    """Evaluate, write the report; lines for the console.

    Raises:
        ValueError: bad input, in one line.
        OSError: a file cannot be read or written.
        PhysicsError: the engine cannot be trusted.
    """
    physics = resolve_engine(options.physics)
    if options.episodes < 1:
        raise ValueError(f"--episodes is {options.episodes}; allowed: 1 or more")
    if not options.seconds >= SETTLE_S + 2.0:
        raise ValueError(
            f"--seconds is {options.seconds:g}; allowed: {SETTLE_S + 2.0:g} or more, of which the "
            f"first {SETTLE_S:g} are left out"
        )
    policies = {name: load_policy(path) for name, path in _named(options).items()}
    first = next(iter(policies.values()))
    env = _environment(first, 1, options.seconds, physics)
    dataset = ReferenceDataset.load(options.reference, env.layouts["amp"], env.robot.digest)
    other = None
    if options.twin is not None:
        other = ReferenceDataset.load(options.twin, env.layouts["amp"], env.robot.digest)
    # Held out is what training held out of the tiers it used.
    tiers, robot = tuple(options.tiers), env.robot.to("cpu")
    references = References.of(dataset.select(tiers), robot, options.held_out)
    twin = None if other is None else references.copy(other.select(tiers))
    priors = {name: load_prior(p.path, references.layout) for name, p in policies.items()}
    commands, families = references.commands(options.episodes)
    recordings: dict[str, Recording] = {}
    for name, policy in {STANDING: first, **policies}.items():
        env = _environment(policy, len(commands), options.seconds, physics)
        if env.config.ctrl_dt != dataset.ctrl_dt:
            raise ValueError(
                f"{policy.path} acts every {env.config.ctrl_dt:g} s, the frames of "
                f"{options.reference} are {dataset.ctrl_dt:g} s apart; make the reference again"
            )
        act = zero_policy(env.robot.num_joints) if name == STANDING else policy
        recordings[name] = _recorded(act, env, commands, options.seed)
    for name, recording in recordings.items():
        if not bool(recording.settled(SETTLE_S).any()):
            raise ValueError(
                f"every episode of {name} ends in a fall within {SETTLE_S:g} s; there is no style "
                "to measure"
            )
    assessment = assess(references, recordings, families, twin)
    held = references.motion.select(references.held)
    rewards: dict[str, dict[str, StyleReward]] = {}
    for name, prior in priors.items():
        if prior is not None:
            mine = [family in references.held for family in references.motion.family]
            rewards[name] = {
                "policy": style_reward(
                    prior, recordings[name].amp, recordings[name].settled(SETTLE_S)
                ),
                "held-out reference": style_reward(
                    prior, references.recording.amp[:, mine], held.valid
                ),
            }
    judged = {
        name: verdicts(
            assessment,
            name,
            rewards[name]["policy"].mean if name in rewards else float("nan"),
        )
        for name in policies
    }
    about = {
        "reference": str(options.reference),
        "reference_hash": dataset.content_hash,
        **({} if twin is None else {"twin": str(options.twin)}),
        "held_out": options.held_out,
        **{f"policy {name}": str(policy.path) for name, policy in policies.items()},
        **{
            f"sha256 {name}": hashlib.sha256(policy.path.read_bytes()).hexdigest()
            for name, policy in policies.items()
        },
        **{f"env_steps {name}": policy.env_steps for name, policy in policies.items()},
        "episodes": len(commands),
        "seconds": options.seconds,
        "settle_s": SETTLE_S,
        "seed": options.seed,
        "physics": physics,
    }
    folder = options.out or options.policies[0].parent / "style"
    written = write_report(assessment, judged, rewards, about, folder)
    held_out = {name: held_out_in_training(policy.path) for name, policy in policies.items()}
    notes = [
        f"note: {', '.join(sorted(known))} count as held out here, but {name} was trained on them"
        for name, was in held_out.items()
        if was is not None and (known := set(references.held) - was)
    ]
    width = 2 + max(len(name) for name in ("policy", *judged))
    lines = [f"{'policy':<{width}}{'metric':<16}{'value':>9}  {'limit':<14}verdict"]
    lines += [
        f"{name:<{width}}{v.metric:<16}{number(v.value):>9}  {v.limit:<14}{v.word}"
        for name, found in judged.items()
        for v in found
    ]
    return [*lines, *notes, f"wrote {written[1]}"]


def _named(options: argparse.Namespace) -> dict[str, Path]:
    """Policies by a name for each: the file's, with folders before it until it is the only one."""
    paths: list[Path] = options.policies
    if len(set(paths)) < len(paths):
        raise ValueError("a policy is given twice; give each once")
    depth = 1
    while len({path.resolve().parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    names = {"/".join(path.resolve().parts[-depth:]): path for path in paths}
    if clash := {STANDING, AGAINST, TWIN} & set(names):
        raise ValueError(f"a policy's file is called {clash.pop()!r}, which is a column's name")
    return names | ({AGAINST: options.against} if options.against else {})


def _environment(
    policy: LoadedPolicy, num_envs: int, seconds: float, physics: str
) -> LocomotionEnv:
    """The policy's task without pushes, for episodes of a given duration."""
    task = policy.task
    task = replace(
        task, episode_length_s=seconds, support=None, auto_reset=True,
        push=replace(task.push, force_min=0.0, force_max=0.0),
    )  # fmt: skip
    env = LocomotionEnv(task, num_envs, physics=physics)
    policy.require(env.layouts["observation"], env.robot.digest)
    return env


def _recorded(policy: PolicyFunction, env: LocomotionEnv, commands: Tensor, seed: int) -> Recording:
    env.set_seed(seed)
    steps = round(env.config.episode_length_s / env.config.ctrl_dt)
    return record(policy, env, commands, steps).to("cpu")


if __name__ == "__main__":
    sys.exit(main())

"""`wildrobot style`: how much policies move like a reference.

Each metric stands between what the reference reaches against itself and motions that are wrong in
a known way.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.physics.engines import resolve_engine
from envs.recorder import PolicyFunction, record, zero_policy
from envs.recording import Recording
from wildrobot_torch.amp.opinion import load_prior
from wildrobot_torch.evaluation.report import number
from wildrobot_torch.evaluation.style import assess as judge
from wildrobot_torch.evaluation.style.assess import SETTLE_S, STANDING
from wildrobot_torch.evaluation.style.report import write_report
from wildrobot_torch.ppo.policy_file import LoadedPolicy, load_policy
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.judge.gates import TIERS


def main(options: argparse.Namespace) -> int:
    """0 when the report was written."""
    physics = resolve_engine(options.physics)
    if not options.seconds >= SETTLE_S + 2.0:
        least = f"{SETTLE_S + 2.0:g} or more, of which the first {SETTLE_S:g} are left out"
        raise UserError(f"--seconds is {options.seconds:g}; allowed: {least}")
    if unknown := set(options.tiers) - set(TIERS):
        raise UserError(f"--tiers: there is no tier {unknown.pop()!r}; allowed: {', '.join(TIERS)}")
    policies = {name: load_policy(path) for name, path in _named(options).items()}
    env = _environment(next(iter(policies.values())), 1, options.seconds, physics)
    layout, digest, robot = env.layouts["amp"], env.robot.digest, env.robot.to("cpu")
    dataset = ReferenceDataset.load(options.reference, layout, digest)
    copied = options.replicate and ReferenceDataset.load(options.replicate, layout, digest)
    # Held out is what training held out of the tiers it used.
    tiers = tuple(options.tiers)
    references = judge.References.of(dataset.select(tiers), robot, options.held_out)
    replicate = copied and references.replicate(copied.select(tiers))
    priors = {name: load_prior(p.path, references.layout) for name, p in policies.items()}
    commands, families = references.commands(options.episodes)
    recordings, servos = _recordings(policies, commands, options, physics, dataset.ctrl_dt)
    assessment = judge.assess(references, recordings, families, replicate)

    rewards: dict[str, dict[str, dict[str, float]]] = {}
    mine = [family in references.held for family in references.motion.family]
    held, theirs = references.motion.select(references.held), references.recording.amp[:, mine]
    for name, prior in priors.items():
        if prior is not None:
            own = recordings[name]
            rewards[name] = {
                "policy": prior.style_reward(own.amp, own.settled(SETTLE_S)),
                "held-out reference": prior.style_reward(theirs, held.valid),
            }
    judged = {}
    for name in policies:
        mean = rewards[name]["policy"]["mean"] if name in rewards else float("nan")
        judged[name] = assessment.verdicts(name, mean)
    about = {
        "reference": str(options.reference),
        "reference_hash": dataset.content_hash,
        **({} if replicate is None else {"replicate": str(options.replicate)}),
        "held_out": options.held_out,
        "episodes": len(commands),
        "seconds": options.seconds,
        "settle_s": SETTLE_S,
        "seed": options.seed,
        "physics": physics,
    }
    for name, policy in policies.items():
        about[f"policy {name}"] = str(policy.path)
        about[f"sha256 {name}"] = hashlib.sha256(policy.path.read_bytes()).hexdigest()
        about[f"env_steps {name}"] = policy.env_steps
        about[f"servo {name}"] = servos[name]
    folder = options.out or options.policies[0].parent / "style"
    written = write_report(assessment, judged, rewards, about, folder)

    width = 2 + max(len(name) for name in ("policy", *judged))
    print(f"{'policy':<{width}}{'metric':<16}{'value':>9}  {'limit':<14}verdict")
    for name, found in judged.items():
        for v in found:
            print(f"{name:<{width}}{v.metric:<16}{number(v.value):>9}  {v.limit!s:<14}{v.word}")
    for name, prior in priors.items():
        if prior is None or prior.held_out is None:
            continue
        if trained := ", ".join(sorted(set(references.held) - prior.held_out)):
            print(f"note: {trained} count as held out, but {name} trained on them")
    print(f"wrote {written[1]}")
    return 0


def _named(options: argparse.Namespace) -> dict[str, Path]:
    """Policies by file name, with as many folders before it as make the names differ."""
    paths: list[Path] = options.policies
    if len(set(paths)) < len(paths):
        raise UserError("a policy is given twice; give each once")
    depth = 1
    while len({path.resolve().parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    names = {"/".join(path.resolve().parts[-depth:]): path for path in paths}
    if clash := {STANDING, judge.AGAINST, judge.REPLICATE} & set(names):
        raise UserError(f"a policy's file is called {clash.pop()!r}, which is a column's name")
    return names | ({judge.AGAINST: options.against} if options.against else {})


def _environment(
    policy: LoadedPolicy, num_envs: int, seconds: float, physics: str
) -> LocomotionEnv:
    """The policy's task without pushes, in episodes of `seconds`."""
    task = policy.task
    push = replace(task.push, impulse_min=0.0, impulse_max=0.0)
    task = replace(task, episode_length_s=seconds, support=None, auto_reset=True, push=push)
    env = LocomotionEnv(task, num_envs, physics=physics)
    policy.require(env.layouts["observation"], env.robot.digest)
    return env


def _recordings(
    policies: dict[str, LoadedPolicy],
    commands: Tensor,
    options: argparse.Namespace,
    physics: str,
    ctrl_dt: float,
) -> tuple[dict[str, Recording], dict[str, str]]:
    """What the policies did at the commands, and standing still in the first one's task.

    Each in the task of its file, servo included; the servos' laws are the second dictionary.

    Raises:
        UserError: a policy acts at another rate than the reference's, or always falls.
    """
    recordings: dict[str, Recording] = {}
    servos: dict[str, str] = {}
    for name, policy in {STANDING: next(iter(policies.values())), **policies}.items():
        env = _environment(policy, len(commands), options.seconds, physics)
        if env.config.ctrl_dt != ctrl_dt:
            apart = f"the frames of {options.reference} are {ctrl_dt:g} s apart"
            acts = f"{policy.path} acts every {env.config.ctrl_dt:g} s"
            raise UserError(f"{acts}, {apart}; make the reference again")
        act: PolicyFunction = zero_policy(env.robot.num_joints) if name == STANDING else policy
        env.set_seed(options.seed)
        servos[name] = env.servo
        recordings[name] = record(act, env, commands, env.config.episode_steps).to("cpu")
    for name, recording in recordings.items():
        if not bool(recording.settled(SETTLE_S).any()):
            falls = f"every episode of {name} ends in a fall within {SETTLE_S:g} s"
            raise UserError(f"{falls}; there is no style to measure")
    return recordings, servos

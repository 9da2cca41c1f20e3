"""A diagnosis: evidence of a run or a policy gathered, judged by the rules, and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from envs.errors import UserError
from envs.layout import Layout
from envs.robot.model import load_robot
from envs.task.commands import FORWARD
from envs.task.features import amp_layout
from wildrobot_torch.amp.opinion import CheckpointPrior, load_prior
from wildrobot_torch.files import WALKING_POLICY
from wildrobot_torch.ppo.policy_file import LoadedPolicy, load_policy, read_checkpoint
from wildrobot_torch.reference.curriculum import Curriculum
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.training.health.why import acting
from wildrobot_torch.training.health.why.acting import Trial
from wildrobot_torch.training.health.why.evidence import Acts, Evidence, Reference, Run
from wildrobot_torch.training.health.why.rules import EXPLAINED, Finding, diagnosis
from wildrobot_torch.training.health.why.runs import Subject, find

FEWEST_COMPARED, MOST_COMPARED = 4, 16
"""Commands at which the shipped walk is held against standing; it must know them."""


_TRIAL = Trial()


@dataclass(frozen=True)
class Diagnosis:
    """What was found."""

    subject: Subject
    trial: Trial
    evidence: Evidence
    findings: list[Finding]

    @property
    def serious(self) -> bool:
        """Whether something serious was found."""
        return any(finding.severity == "serious" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Plain containers for JSON."""
        e = self.evidence
        columns = {"policy": e.policy, "standing": e.standing, "walk": e.walk}
        run = self.subject.run
        return {
            "policy": str(self.subject.policy),
            "run": None if run is None else str(run.folder),
            "serious": self.serious,
            "findings": [asdict(finding) for finding in self.findings],
            "reward_per_step": {n: dict(x.terms) for n, x in columns.items() if x is not None},
            "inputs": [asdict(found) for found in e.inputs],
            "saturation": dict(e.policy.saturation),
            "ends": dict(e.policy.ends),
            "unchecked": list(e.unchecked),
        }


def diagnose(path: Path, trial: Trial = _TRIAL) -> Diagnosis:
    """What is wrong with the run of a directory, or with the policy of a file.

    Raises:
        UserError: there is no run, no checkpoint in it yet, or no policy in the file; or the policy
            is for another robot or observation.
    """
    subject = find(path)
    evidence = gather(subject, trial)
    return Diagnosis(subject, trial, evidence, diagnosis(evidence))


def gather(subject: Subject, trial: Trial) -> Evidence:
    """Evidence of a subject; deterministic."""
    policy, run = load_policy(subject.policy), subject.run
    unchecked: list[str] = []
    task, idle = acting.without_idle(subject.task or policy.task)
    commands = acting.drawn_commands(task, trial.robots, trial.seed)
    recording, acts, inputs = acting.acting(policy, task, commands, trial)
    evidence = Evidence(
        task=task,
        policy=acts,
        inputs=inputs,
        drawn=acting.drawn_commands(task, acting.NUM_DRAWN, trial.seed),
        idle=idle,
        run=run,
    )
    if policy.path.suffix == ".ckpt":
        log_std = read_checkpoint(policy.path).actor.log_std.detach()
        evidence = replace(evidence, std=tuple(log_std.exp().tolist()))
    else:
        unchecked.append("noise on the actions: an exported policy has none; give the .ckpt")
    if run is None:
        unchecked.append(
            "reward, reference, settings and course of the training: a policy's file does not hold "
            "them; give the run's folder"
        )
        evidence = replace(evidence, policy=replace(acts, terms={}))
        return replace(evidence, unchecked=unchecked)
    layout = amp_layout(load_robot(policy.robot).robot)
    prior = None
    weight = 0.0 if run.amp is None else run.amp.weight
    if weight:
        prior = load_prior(policy.path, layout)
    evidence = replace(evidence, policy=acting.with_style(acts, recording, prior, weight))
    evidence = _compared(evidence, commands, prior, weight, trial, unchecked)
    reference = _reference(run, layout, policy, unchecked)
    if not run.history:
        unchecked.append(f"course of the training: {run.folder / 'metrics.csv'} has no iteration")
    elif not run.series(EXPLAINED):
        unchecked.append(f"what the critic explains: an older version did not log {EXPLAINED}")
    return replace(evidence, reference=reference, unchecked=unchecked)


def _compared(
    evidence: Evidence,
    commands: Tensor,
    prior: CheckpointPrior | None,
    weight: float,
    trial: Trial,
    unchecked: list[str],
) -> Evidence:
    """With what standing, and the shipped walk, earn at the commands that the walk knows."""
    walker = load_policy(WALKING_POLICY)
    if evidence.task.robot != walker.robot:
        unchecked.append(f"whether standing pays: there is no walk of {evidence.task.robot} to ask")
        return evidence
    known = walker.task.command
    ahead = commands[:, FORWARD]
    within = (ahead >= known.velocity_min) & (ahead <= known.velocity_max)
    chosen = commands[within & ~commands[:, FORWARD + 1 :].any(-1)][:MOST_COMPARED]
    if len(chosen) < FEWEST_COMPARED:
        unchecked.append(
            f"whether standing pays: fewer than {FEWEST_COMPARED} of {len(commands)} commands are "
            f"walks ahead at {known.velocity_min:g} to {known.velocity_max:g} m/s"
        )
        return evidence
    world = acting.ideal(evidence.task, walker)
    found: list[Acts] = []
    for act in (None, walker):
        recording, acts = acting.in_ideal_world(world, chosen, act, trial)
        found.append(acting.with_style(acts, recording, prior, weight))
    return replace(evidence, standing=found[0], walk=found[1])


def _reference(
    run: Run, layout: Layout, policy: LoadedPolicy, unchecked: list[str]
) -> Reference | None:
    """The reference that the run trains its motion prior on."""
    file, tiers = run.data.get("reference"), run.data.get("reference_tiers")
    if file is None or run.amp is None:
        return None
    if not isinstance(tiers, Mapping):
        tiers = {"0+": 0, "0": 0}
    try:
        dataset = ReferenceDataset.load(str(file), layout, policy.robot_digest)
        whole = Curriculum(dataset, tiers, f"reference {file}").whole
    except UserError as error:
        unchecked.append(f"coverage of the commands by the reference: {error}")
        return None
    return Reference(file=str(file), speeds=whole.segment_velocity.tolist())


def told(diagnosis: Diagnosis) -> list[str]:
    """Lines for the console, the most important first."""
    subject, e = diagnosis.subject, diagnosis.evidence
    run = subject.run
    where = (
        "" if run is None else f", {run.env_steps / 1e6:.2f} M of {run.budget / 1e6:.2f} M steps"
    )
    lines = [
        f"{subject.policy}{where}",
        f"{len(e.policy.commands)} robots for {diagnosis.trial.seconds:g} s, at commands as "
        f"{'its training' if run else 'its task'} draws them",
        "",
    ]
    for finding in diagnosis.findings:
        lines += [
            f"{finding.severity.upper():8s} {finding.what}",
            f"         {finding.evidence}",
            f"         remedy: {finding.remedy}",
        ]
    if not diagnosis.findings:
        lines.append("nothing found")
    if e.policy.terms:
        lines += ["", *_table(e)]
    if e.unchecked:
        lines += ["", *(f"not checked: {text}" for text in e.unchecked)]
    return lines


def _table(e: Evidence) -> list[str]:
    """What each term earned per control step; the largest first."""
    columns = {"policy": e.policy}
    if e.standing is not None and e.walk is not None:
        columns |= {"standing": e.standing, "a walk": e.walk}
    names = {name for acts in columns.values() for name, x in acts.terms.items() if x}
    size = {n: max(abs(acts.terms.get(n, 0.0)) for acts in columns.values()) for n in names}
    ordered = sorted(names, key=lambda name: (-size[name], name))
    lines = [f"{'reward per step':<22}" + "".join(f"{name:>10}" for name in columns)]
    for name in ordered:
        values = (acts.terms.get(name, 0.0) for acts in columns.values())
        lines.append(f"{name:<22}" + "".join(f"{value:>+10.3f}" for value in values))
    totals = "".join(f"{acts.reward:>+10.3f}" for acts in columns.values())
    return [*lines, f"{'total':<22}{totals}"]

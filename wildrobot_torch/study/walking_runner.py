"""Runs the trainings of a measurement of the time to WALK, seed by seed, resumable at any time."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from envs.locomotion import LocomotionEnv
from envs.physics.engines import resolve_engine
from wildrobot_torch.evaluation import Scenario, evaluate
from wildrobot_torch.ppo.policy_file import load_policy
from wildrobot_torch.study.continuing import Say, failure, go_on
from wildrobot_torch.study.history import (
    History,
    last_checkpoint,
    load_history,
    load_parts,
    read_json,
    write_json,
)
from wildrobot_torch.study.machine import look
from wildrobot_torch.study.walking import (
    JUDGED,
    Judge,
    SeedResult,
    Train,
    WalkPlan,
    first_walk,
    next_step,
    passes,
    search,
    seed_result,
    with_judged,
)

PARTS = "parts"
MACHINE = "machine.json"
WALK_CHECKPOINT = "walk.ckpt"
"""The policy that passed WALK first."""
_PACKAGED: Mapping[str, str] = {}


class SeedRun:
    """The trainings of one seed and their files."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        arguments: Sequence[str],
        plan: WalkPlan,
        physics: str,
        files: Mapping[str, str] = _PACKAGED,
    ) -> None:
        """Nothing is written yet.

        Args:
            folder: of this seed.
            seed: of everything random.
            arguments: options of `fit` that make the recipe.
            plan: how to measure.
            physics: engine of the evaluations between trainings.
            files: of the plan's scenarios that are not in configs/evaluation, by name.
        """
        self.folder, self.seed, self.arguments = folder, seed, list(arguments)
        self.plan, self.physics, self.files = plan, physics, dict(files)

    def history(self) -> History:
        """All that counts so far."""
        return with_judged(load_history(self.folder / PARTS), self.folder, self.plan)

    def result(self) -> SeedResult:
        """What came of it so far."""
        history = self.history()
        return seed_result(self.seed, history, self.plan, failure(history))

    def run(self, say: Say) -> SeedResult:
        """Do what is left to do.

        Raises:
            StudyError: the recipe is refused, or a training was killed.
        """
        history = self.history()
        if failure(history) or next_step(history, self.plan) is None:
            say(f"seed {self.seed}: kept, finished before")
            return self.result()
        self._look(say)
        while not failure(history) and (step := next_step(history, self.plan)) is not None:
            checkpoint = last_checkpoint(history.parts)
            if isinstance(step, Train):
                self._train(step, history, checkpoint, say)
            elif checkpoint is not None and checkpoint[1] == step.env_steps:
                self._judge(step, history, checkpoint[0], say)
            else:  # killed between the screening and its checkpoint
                self._train(search(self.plan), history, checkpoint, say)
            history = self.history()
        result = self.result()
        say(f"seed {self.seed}: {outcome(result)}")
        return result

    def _look(self, say: Say) -> None:
        """Note how busy the machine is as the seed starts, or goes on."""
        path = self.folder / MACHINE
        seen = read_json(path)["starts"] if path.is_file() else []
        machine = look()
        write_json(path, {"starts": [*seen, asdict(machine)]})
        say(f"seed {self.seed}: {machine}")

    def _judge(self, step: Judge, history: History, checkpoint: Path, say: Say) -> None:
        """Put a checkpoint to WALK."""
        begin = time.monotonic()
        metrics = judged(checkpoint, self.plan.walk, self.physics)
        numbers = {name: v if math.isfinite(v) else None for name, v in metrics.items()}
        passed = passes(metrics, self.plan.walk)
        if passed:
            shutil.copyfile(checkpoint, self.folder / WALK_CHECKPOINT)
        about = {
            "env_steps": step.env_steps,
            "passed": passed,
            "seconds": time.monotonic() - begin,
            "metrics": numbers,
        }
        write_json(self.folder / JUDGED / f"{step.env_steps}.json", about)
        say(self._line(step.env_steps, history.seconds_at(step.env_steps), self.plan.walk, metrics))

    def _train(
        self, step: Train, history: History, checkpoint: tuple[Path, int] | None, say: Say
    ) -> None:
        """Run one part, from a checkpoint and its environment steps, or from nothing."""
        start = checkpoint[1] if checkpoint else 0
        for path in (self.folder / JUDGED).glob("*.json"):
            if int(path.stem) > start:  # of a checkpoint that can no longer be read
                path.unlink()
        options = [
            *self.arguments,
            *("--seed", str(self.seed)),
            *("--data.evaluation", self.files.get(step.scenario, step.scenario)),
            *("--data.iterations_per_epoch", str(step.every)),
            *("--run.env_steps", str(step.env_steps)),
            *("--run.stop_when_passed", str(step.stop_when_passed).lower()),
            *("--trainer.max_time", "null"),
        ]
        walk, screening = self.plan.walk, self.plan.screening
        scenario = walk if screening is None or step.scenario == walk.name else screening
        told: set[int] = {found.env_steps for found in history.evaluations}

        def watch() -> bool:
            now = load_history(self.folder / PARTS)
            for found in now.evaluations:
                if found.env_steps not in told:
                    told.add(found.env_steps)
                    say(self._line(found.env_steps, found.training_s, scenario, found.metrics))
            return now.training_s >= self.plan.max_time_s

        go_on(
            f"seed {self.seed}",
            self.folder / PARTS,
            history,
            checkpoint,
            options,
            evaluation=step.scenario,
            stops_when_passed=step.stop_when_passed,
            watch=watch,
            say=say,
        )
        self._keep_walk(step)

    def _keep_walk(self, step: Train) -> None:
        """Keep the checkpoint that passed WALK within a training that ended there."""
        if step.scenario != self.plan.walk.name or not step.stop_when_passed:
            return
        history = self.history()
        walked, found = first_walk(history, self.plan), last_checkpoint(history.parts)
        if walked is not None and found is not None and found[1] == walked.env_steps:
            shutil.copyfile(found[0], self.folder / WALK_CHECKPOINT)

    def _line(
        self, env_steps: int, seconds: float, scenario: Scenario, metrics: dict[str, float]
    ) -> str:
        wrong = [
            f"{name} {metrics[name]:.3g} (must be {limit})"
            for name, limit in scenario.limits.items()
            if not limit.holds(metrics[name])
        ]
        verdict = "fails: " + ", ".join(wrong) if wrong else "passes"
        return (
            f"seed {self.seed}: {env_steps / 1e6:.2f} M steps, {clock(seconds)} of training: "
            f"{scenario.name} {verdict}"
        )


def judged(checkpoint: Path, scenario: Scenario, physics: str) -> dict[str, float]:
    """Metrics of a checkpoint's policy in a scenario, on an engine."""
    policy = load_policy(checkpoint)
    env = LocomotionEnv(
        scenario.task(policy.task), scenario.episodes, physics=resolve_engine(physics)
    )
    policy.require(env.layouts["observation"], env.robot.digest)
    return evaluate(policy, env, scenario).metrics


def outcome(result: SeedResult) -> str:
    """What came of a seed, in words."""
    if result.failure:
        return f"failed: {result.failure}"
    if not math.isfinite(result.walk_s):
        return f"no WALK in {clock(result.training_s)}, {result.env_steps / 1e6:.2f} M steps"
    text = f"WALK after {clock(result.walk_s)} of training, {result.walk_steps / 1e6:.2f} M steps"
    if result.later:
        text += f"; {result.held:.0%} of {result.later} later evaluations pass"
    return text


def clock(seconds: float) -> str:
    """Time as minutes and seconds."""
    if not math.isfinite(seconds):
        return "-"
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def run_seeds(runs: Sequence[SeedRun], say: Say, report: Callable[[list[SeedResult]], None]) -> int:
    """Run seed after seed, with a report after each; 0 when all reached WALK, otherwise 1."""
    for run in runs:
        run.run(say)
        report([other.result() for other in runs if load_parts(other.folder / PARTS)])
    results = [run.result() for run in runs]
    return 0 if all(math.isfinite(result.walk_s) for result in results) else 1


def say_now(text: str) -> None:
    """Print a line at once."""
    print(text, file=sys.stdout, flush=True)

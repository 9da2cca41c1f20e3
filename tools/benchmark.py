"""Speed of physics, environment, collection and training: `python tools/benchmark.py`.

All four are timed in turn in one run, so their ratios hold even on a busy machine.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.physics.base import require_capacities
from envs.physics.engines import resolve_engine
from envs.physics.native import physical_cores
from envs.task.actions import policy_action_to_ctrl
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.cli import fit
from wildrobot_torch.cli.doctor import nvidia, processor, version
from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import ENGINES, Parser, positive
from wildrobot_torch.evaluation.report import table
from wildrobot_torch.files import atomic_write
from wildrobot_torch.ppo.networks import NetworkConfig
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.training.data import RolloutData
from wildrobot_torch.training.module import WalkingModule

MEASURED = {
    "physics": "the engine's own step, `PhysicsBackend.step`: decimation and sensors, no pushes",
    "environment": "`LocomotionEnv.step_and_maybe_reset` with random actions",
    "collection": "TorchRL collector with the policy",
    "training": "collection and update",
}
"""What is timed, from the inside out."""
PACKAGES = ("mujoco", "mujoco-warp", "warp-lang", "torch", "torchrl")


class Stepping:
    """Physics alone, and the environment around it, from the same states with the same actions."""

    def __init__(self, task: LocomotionConfig, engine: str, num_envs: int, num_steps: int) -> None:
        self.env = LocomotionEnv(task, num_envs, physics=engine)
        self.bare = LocomotionEnv(task, num_envs, physics=engine).backend
        # As an untrained policy acts.
        shape = (num_steps, num_envs, self.env.robot.num_joints)
        self.actions = NetworkConfig().init_std * torch.randn(shape, device=self.bare.device)
        self.root = self.env.reset()
        # Not measured: what a first step sets up.
        self.physics()
        self.environment()

    def physics(self) -> float:
        """Time [s] of bare physics over the next steps of the environment, which stays."""
        task, robot = self.env.config, self.env.robot
        self.bare.restore(self.env.backend.snapshot())
        filtered, targets = torch.zeros_like(self.actions[0]), []
        for action in self.actions:
            filtered, ctrl = policy_action_to_ctrl(action, filtered, robot, task.action)
            targets.append(ctrl)
        with one_torch_thread():
            begin = now(self.bare.device)
            for target in targets:
                self.bare.step(target, None, task.decimation)
            return now(self.bare.device) - begin

    def environment(self) -> float:
        """Time [s] of the environment's next steps."""
        with one_torch_thread():
            begin = now(self.bare.device)
            for action in self.actions:
                self.root.set("action", action)
                _, self.root = self.env.step_and_maybe_reset(self.root)
            return now(self.bare.device) - begin


class Rounds(Callback):
    """Times each training iteration and, between two of them, physics and environment."""

    def __init__(self) -> None:
        self.stepping: Stepping | None = None
        self.seconds: dict[str, list[float]] = {name: [] for name in MEASURED}
        self._begin = 0.0

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One round; the first iteration only warms up."""
        data: RolloutData = trainer.datamodule
        assert data.env is not None
        end = now(data.env.backend.device)
        if self.stepping is None:
            self.stepping = Stepping(data.config, data.engine, data.num_envs, data.num_steps)
        else:
            self.seconds["training"].append(end - self._begin)
            self.seconds["collection"].append(data.collection_time)
            # Where the training's robots are: upright and fallen ones differ in cost.
            self.stepping.env.set_sim_state(data.env.get_sim_state())
            self.seconds["physics"].append(self.stepping.physics())
            self.seconds["environment"].append(self.stepping.environment())
            print(f"round {batch_idx} of {trainer.num_training_batches - 1}", file=sys.stderr)
        for backend in (data.env.backend, self.stepping.env.backend, self.stepping.bare):
            require_capacities(backend)
        self._begin = time.perf_counter()


def train_briefly(data: RolloutData, callback: Callback, amp: AMPConfig | None = None) -> None:
    """One epoch of training with a callback, without evaluations and files."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torchrl|torch)\b.*")
    torch.manual_seed(0)
    pl.Trainer(
        accelerator=data.accelerator,
        devices=1,
        max_epochs=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    ).fit(WalkingModule(amp=amp), data)


def results(
    seconds: dict[str, list[float]], num_envs: int, num_steps: int
) -> dict[str, dict[str, float]]:
    """Medians over the rounds, from their times [s]; `ratio` is to physics in the same round."""
    return {
        name: {
            "env_steps_per_s": num_envs * num_steps / statistics.median(times),
            "ratio": statistics.median(
                p / t for p, t in zip(seconds["physics"], times, strict=True)
            ),
        }
        for name, times in seconds.items()
    }


def surroundings(engine: str) -> dict[str, Any]:
    """Device that an engine computes on, machine, versions and commit."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True) if shutil.which("git") else None
    return {
        "date": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "physics": engine,
        "device": nvidia()[0] if engine == "warp" else processor(),
        "machine": f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before, "
        f"{physical_cores()} physics threads, {torch.get_num_threads()} torch threads",
        "versions": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "commit": commit.stdout.strip() if commit else None,
    }


def markdown(report: dict[str, Any]) -> str:
    """Table of the results, with what they were measured on above it."""
    lines = [
        f"Physics `{report['physics']}` on {report['device']}: {report['envs']:,} robots, task "
        f"{report['task']}, {report['steps']} steps, median of {report['rounds']} interleaved "
        f"rounds; update {'with' if report['motion_prior'] else 'without'} motion prior.",
        f"{report['date']}, commit {report['commit']}; {report['machine']}; {report['versions']}.",
        "",
    ]
    rows = [
        (f"{name}: {MEASURED[name]}", f"{row['env_steps_per_s']:,.0f}", f"{row['ratio']:.0%}")
        for name, row in report["results"].items()
    ]
    return "\n".join([*lines, *table(("", "env steps/s", "of physics"), rows)])


def now(device: torch.device) -> float:
    """A clock's time [s], once the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main(words: list[str]) -> int:
    """0 when the results are written."""
    parser = Parser(
        "benchmark",
        "Time physics, environment, collection and training in one interleaved run.",
        "python tools/benchmark.py --physics warp --num_envs 4096",
    )
    add = parser.add_argument
    add("--config", nargs="*", default=[], help="whose task; a name or file, as of `wildrobot fit`")
    add("--physics", default="native", help=ENGINES)
    add("--num_envs", type=positive, default=1024, help="robots")
    add("--steps", type=positive, default=24, help="control steps per round")
    add("--rounds", type=positive, default=5, help="rounds")
    add("--reference", help="reference file, to train with the motion prior")
    add("--out", type=Path, default=Path("runs/benchmark.json"), help="file of the results")
    options = parser.parse_args(words)
    if options.out.suffix != ".json":
        raise UserError(f"--out is {options.out}; results are written as .json")
    report = surroundings(resolve_engine(options.physics))
    parser = fit.parser()
    recipe = parser.construct(
        parser.read([x for name in options.config for x in ("--config", name)])
    )
    data = RolloutData(
        env=recipe.data.config,
        num_envs=options.num_envs,
        num_steps=options.steps,
        physics=options.physics,
        reference=options.reference,
        iterations_per_epoch=options.rounds + 1,
    )
    rounds = Rounds()
    train_briefly(data, rounds, None if options.reference is None else AMPConfig())
    report |= {
        "envs": options.num_envs,
        "steps": options.steps,
        "rounds": options.rounds,
        "task": " and ".join(options.config) or "the default",
        "motion_prior": options.reference is not None,
        "results": results(rounds.seconds, options.num_envs, options.steps),
        "seconds": rounds.seconds,
    }
    with atomic_write(options.out) as file:
        file.write((json.dumps(report, indent=2) + "\n").encode())
    print(f"{markdown(report)}\n\nwrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))

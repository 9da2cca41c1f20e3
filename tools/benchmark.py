"""Speed of physics, environment, collection and training: `python tools/benchmark.py`.

All are measured in turn in one run: their ratios hold even on a machine that is busy otherwise.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import lightning.pytorch as pl
import mujoco
import torch
from lightning.pytorch.callbacks import Callback
from mujoco.batch import Batch

from envs.actions import action_to_ctrl, filter_action
from envs.locomotion import LocomotionEnv
from envs.physics.native import physical_cores
from envs.task import LocomotionConfig
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.module import WalkingModule
from wildrobot_torch.ppo.networks import NetworkConfig
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.rollouts import RolloutData

MEASURED = {
    "physics": "`mujoco.batch.Batch.step`, decimation and sensors included",
    "environment": "`LocomotionEnv.step_and_maybe_reset` with random actions",
    "collection": "TorchRL collector with the policy",
    "training": "collection and update",
}
"""What is timed, from the inside out."""


class Stepping:
    """Physics alone, and the environment around it, from the same states with the same actions."""

    def __init__(self, num_envs: int, num_steps: int, num_threads: int) -> None:
        self.env = LocomotionEnv(LocomotionConfig(), num_envs, num_threads=num_threads)
        self.batch = Batch(self.env.backend.model, num_envs, num_threads)
        # As an untrained policy acts.
        std = NetworkConfig().init_std
        self.actions = std * torch.randn(num_steps, num_envs, self.env.robot.num_joints)
        self.root = self.env.reset()

    def physics(self) -> float:
        """Time [s] of bare physics over the next steps of the environment, which stays."""
        env = self.env
        for name, rows in env.backend.snapshot().items():
            self.batch.bind(name)[:] = rows.numpy()
        filtered, targets = torch.zeros_like(self.actions[0]), []
        for action in self.actions:
            filtered = filter_action(action, filtered, env.config.action)
            targets.append(action_to_ctrl(filtered, env.robot, env.config.action).double().numpy())
        ctrl = self.batch.bind("ctrl")
        begin = time.perf_counter()
        for target in targets:
            ctrl[:] = target
            self.batch.step(nstep=env.config.decimation, stage=mujoco.mjtStage.mjSTAGE_VEL)
        return time.perf_counter() - begin

    def environment(self) -> float:
        """Time [s] of the environment's next steps."""
        begin = time.perf_counter()
        with one_torch_thread():
            for action in self.actions:
                self.root.set("action", action)
                _, self.root = self.env.step_and_maybe_reset(self.root)
        return time.perf_counter() - begin


class Rounds(Callback):
    """Times each training iteration and, between two of them, physics and environment."""

    def __init__(self, stepping: Stepping, number: int) -> None:
        self.stepping, self.number = stepping, number
        self.seconds: dict[str, list[float]] = {name: [] for name in MEASURED}
        self._begin = 0.0

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One round; the first iteration only warms up."""
        if batch_idx > 0:
            self.seconds["training"].append(time.perf_counter() - self._begin)
            self.seconds["collection"].append(trainer.datamodule.collect_s)
            # Where the training's robots are: upright and fallen ones differ in cost.
            self.stepping.env.set_sim_state(trainer.datamodule.env.get_sim_state())
            self.seconds["physics"].append(self.stepping.physics())
            self.seconds["environment"].append(self.stepping.environment())
            print(f"round {batch_idx} of {self.number}", file=sys.stderr, flush=True)
        self._begin = time.perf_counter()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Median times, ratios, and what they were measured on.

    Raises:
        ValueError: a reference that does not fit, or a number that is not positive.
    """
    torch.manual_seed(0)
    threads = physical_cores()
    data = RolloutData(
        num_envs=options.envs,
        num_steps=options.steps,
        num_threads=threads,
        reference=options.reference,
        iterations_per_epoch=options.rounds + 1,
    )
    module = WalkingModule(amp=None if options.reference is None else AMPConfig())
    rounds = Rounds(Stepping(options.envs, options.steps, threads), options.rounds)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[rounds],
    )
    begin, busy, own = time.perf_counter(), _busy_seconds(), time.process_time()
    trainer.fit(module, data)
    elapsed, cores = time.perf_counter() - begin, os.cpu_count() or 1
    others = (_busy_seconds() - busy - (time.process_time() - own)) / elapsed
    return {
        "date": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "machine": f"{platform.machine()}, {cores} cores, {threads} physics threads, "
        f"{torch.get_num_threads()} torch threads",
        "cores_free": None if math.isnan(others) else round(cores - max(others, 0.0), 1),
        "envs": options.envs,
        "steps": options.steps,
        "rounds": options.rounds,
        "motion_prior": options.reference is not None,
        "results": results(rounds.seconds, options.envs, options.steps),
        "seconds": rounds.seconds,
    }


def results(
    seconds: dict[str, list[float]], num_envs: int, num_steps: int
) -> dict[str, dict[str, float]]:
    """Of each measured thing, from the times [s] of its rounds: medians over the rounds.

    `ratio` compares a thing with physics in the same round.
    """
    return {
        name: {
            "ms_per_step": 1e3 * statistics.median(times) / num_steps,
            "env_steps_per_s": num_envs * num_steps / statistics.median(times),
            "ratio": statistics.median(
                physics / time for physics, time in zip(seconds["physics"], times, strict=True)
            ),
        }
        for name, times in seconds.items()
    }


def markdown(report: dict[str, Any]) -> str:
    """Table of the results, with what they were measured on above it."""
    free = "unknown" if report["cores_free"] is None else report["cores_free"]
    prior = "with" if report["motion_prior"] else "without"
    lines = [
        f"{report['envs']} robots, {report['steps']} steps, median of {report['rounds']} "
        f"interleaved rounds; update {prior} motion prior.",
        f"{report['date']}, {report['machine']}; {free} cores free of other work meanwhile.",
        "",
        "| | ms per step of all robots | env steps/s | of physics |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name}: {MEASURED[name]} | {row['ms_per_step']:.1f} | {row['env_steps_per_s']:,.0f} "
        f"| {row['ratio']:.0%} |"
        for name, row in report["results"].items()
    ]
    return "\n".join(lines)


def _busy_seconds() -> float:
    """CPU time all processes of the machine have used [s]; NaN where the kernel does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return math.nan
    user, nice, system, _idle, _iowait, irq, softirq = map(int, stat.read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="benchmark", description="Time physics, environment, collection and training."
    )
    parser.add_argument("--envs", type=int, default=1024, help="robots (default: 1024)")
    parser.add_argument("--steps", type=int, default=24, help="steps per round (default: 24)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--reference", help="reference file, to train with the motion prior")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/benchmark.json"),
        help="file to write; the table goes beside it (default: runs/benchmark.json)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 2 for bad input."""
    options = parser().parse_args(arguments)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torchrl|torch)\b.*")
    try:
        for name in ("envs", "steps", "rounds"):
            if getattr(options, name) < 1:
                raise ValueError(f"--{name} is {getattr(options, name)}; it must be positive")
        if options.out.suffix != ".json":
            raise ValueError(f"--out is {options.out}; results are written as .json")
        report = measure(options)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n")
        options.out.with_suffix(".md").write_text(markdown(report) + "\n")
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(markdown(report))
    print(f"\nwrote {options.out} and {options.out.with_suffix('.md')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

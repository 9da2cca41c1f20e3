"""`wildrobot demo`: from nothing to a walking policy."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import torch

from envs.config import LocomotionConfig
from envs.errors import RunError, UserError
from envs.locomotion import LocomotionEnv
from wildrobot_torch.cli import fit
from wildrobot_torch.cli import main as wildrobot
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.reference.follow.tracking import TrackingConfig

RECIPE = ("walking_amp_robot", "demo")
LEARNING_SHARE = 0.7
"""Rate of a training over that of the environment alone, on a CPU."""
OTHER_S = 90.0
"""Time of what is neither training, on two free cores [s]: clips, evaluations, export and film."""


def main(options: argparse.Namespace) -> int:
    """0 when all stages have run, otherwise the exit code of the one that failed."""
    date = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    out: Path = options.out or Path("runs/demo") / date
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; give a new folder with --out")
    reference: Path = options.reference or out / "reference.npz"
    training = [
        *(word for name in RECIPE for word in ("--config", name)),
        *("--data.physics", options.physics, "--data.reference", str(reference)),
        *("--run.folder", str(out), "--run.name", "training"),
        *options.others,
    ]
    parser = fit.parser()
    made = parser.construct(parser.read(training))  # or refused here
    task, env_steps = made.data.config, made.run.env_steps
    tracker_steps = 0 if options.reference else TrackingConfig().env_steps
    print(expectation(speed(task, options.physics), tracker_steps, env_steps), flush=True)

    engine = ["--physics", options.physics]
    policy, film = str(out / "policy.onnx"), str(out / "walking.gif")
    stages: dict[str, Callable[[], list[str]]] = {
        "reference motion": lambda: [
            *("reference", "--clips", *options.clips, *engine, "--pictures", "4"),
            *("--out", str(reference)),
        ],
        "training": lambda: ["fit", *training],
        "evaluation": lambda: [
            *("evaluate", str(best_checkpoint(out)), *engine, "--scenario", "robot"),
            *("--out", str(out / "evaluation")),
        ],
        "export": lambda: ["export", str(best_checkpoint(out)), "--out", policy],
        "film": lambda: ["play", policy, *engine, "--out", film],
    }
    if options.reference is not None:
        del stages["reference motion"]
    seconds: dict[str, float] = {}
    for number, (name, arguments) in enumerate(stages.items(), start=1):
        command = arguments()
        print(f"\n[{number}/{len(stages)}] {name}\n$ wildrobot {shlex.join(command)}", flush=True)
        begin = time.monotonic()
        code = wildrobot.main(command)
        seconds[name] = time.monotonic() - begin
        if code:
            raise SystemExit(code)
    print("\n" + summary(out, seconds))
    return 0


def speed(
    task: LocomotionConfig, physics: str, num_envs: int = 1024, seconds: float = 5.0
) -> float:
    """Steps of the task per second of this machine, now, with random actions and no training."""
    env = LocomotionEnv(task, num_envs, physics=physics)
    root, steps = env.reset(), -2  # the first two steps set things up
    begin = 0.0
    with one_torch_thread():
        while steps <= 0 or time.monotonic() - begin < seconds:
            if steps == 0:
                begin = time.monotonic()
            action = 0.2 * torch.randn(num_envs, env.robot.num_joints, device=env.device)
            _, root = env.step_and_maybe_reset(root.set("action", action))
            steps += 1
    float(root.get("observation").sum())  # waits for a GPU that is still at it
    return num_envs * steps / (time.monotonic() - begin)


def expectation(rate: float, tracker_steps: int, env_steps: int) -> str:
    """What the demo will take where the environment makes `rate` steps [1/s].

    The tracking policy that makes the reference trains for `tracker_steps`.
    """
    reference, training = (steps / (LEARNING_SHARE * rate) for steps in (tracker_steps, env_steps))
    return (
        f"this machine simulates {rate:,.0f} robot steps/s now: about {_clock(reference)} for the "
        f"reference, {_clock(training)} for a training of {env_steps / 1e6:g} M steps, "
        f"{_clock(reference + training + OTHER_S)} in all [min:s]; other work on it adds to that"
    )


def best_checkpoint(out: Path) -> Path:
    """Checkpoint of the training's best evaluation.

    Raises:
        RunError: the training ended before its first evaluation.
    """
    found = sorted(out.glob("training/*/checkpoints/best-*.ckpt"))
    if not found:
        raise RunError(f"the training left no checkpoint of an evaluation in {out / 'training'}")
    return found[-1]


def summary(out: Path, seconds: dict[str, float]) -> str:
    """Closing lines: the time each stage took, and where its results lie."""
    lines = [f"{name:<18}{_clock(took):>6}" for name, took in seconds.items()]
    lines += [f"{'all':<18}{_clock(sum(seconds.values())):>6}", ""]
    results = ("evaluation/report.md", "walking.gif", "policy.onnx")
    lines += [*(str(out / name) for name in results), str(best_checkpoint(out))]
    return "\n".join([*lines, "", f"watch it: wildrobot play {out / 'policy.onnx'} --velocity 0.4"])


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

"""Trained against predictive tracking: `python tools/compare_tracking.py --tracker FILE`."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from jsonargparse import ArgumentParser

from envs.locomotion import LocomotionEnv
from envs.physics.base import PhysicsError
from envs.reality.disturbances import PushConfig
from envs.robot.model import RobotModel, load_robot
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.augment import variants
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.read.files import load_all
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.reference.config import CTRL_DT, ReferenceConfig
from wildrobot_torch.reference.follow.checkpoint import load_training, training_key
from wildrobot_torch.reference.follow.rollout import Rollout, Task
from wildrobot_torch.reference.follow.sources import prepared, tracked_walks
from wildrobot_torch.reference.follow.tracker import (
    NUM_STEPS,
    TEST_PUSH,
    track,
    tracking_env,
    train_tracker,
)
from wildrobot_torch.reference.follow.tracking import ClipStates, tracking_layout
from wildrobot_torch.reference.generate import gates_for
from wildrobot_torch.reference.judge.gates import Gate, load_gates
from wildrobot_torch.reference.judge.segments import SegmentConfig, find_segments
from wildrobot_torch.reference.judge.selection import label, resolve
from wildrobot_torch.reference.predictive import PredictiveConfig, predict
from wildrobot_torch.reference.report.analysis_report import table
from wildrobot_torch.reference.report.comparison import CLIP, Row, Span, compare
from wildrobot_torch.reference.report.comparison_tables import comparison_table

NOTE = (
    "Every way follows the same clips from their first frame, on the same physics and judged by "
    "the same gates; `pushed` ones are pushed alike. The tracker sees what the robot senses, the "
    "planner knows the robot's exact state and model; neither knows the pushes. Times are of "
    "one core, all threads added up; the tracker's training is that of a few iterations times "
    "their number. `servo targets` are what both correct, played without any correction."
)
TIMED_ITERATIONS = 2
"""Iterations of a training that are run to tell how long all take."""
Follow = Callable[[LocomotionEnv, list[Task]], list[Rollout]]

say = partial(print, flush=True)


@dataclass(frozen=True)
class Way:
    """A way of following clips, and what it takes."""

    follow: Follow
    training_s: float
    """Time of one core before the first clip can be followed [s]."""


def parser() -> ArgumentParser:
    """The command line of this tool."""
    parser = ArgumentParser(
        prog="compare_tracking",
        description="Follow clips by a trained tracker and by sampling-based predictive control.",
    )
    parser.add_argument(
        "--tracker", required=True, help="trained tracker that make_reference left beside its data"
    )
    parser.add_argument(
        "--clips", nargs="+", default=["builtin"], help="as they were given to make_reference"
    )
    parser.add_argument(
        "--reference_config",
        default=str(ROOT / "configs/reference.yaml"),
        help="YAML file that make_reference read",
    )
    parser.add_argument(
        "--names", nargs="+", default=[], help="names of the clips to follow; none for all"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each clip at most [s]")
    parser.add_argument("--out", default="runs/compare_tracking.md", help="file to write")
    parser.add_argument("--gates", default=str(ROOT / "configs/gates.yaml"), help="gate file")
    parser.add_class_arguments(PredictiveConfig, "predictive")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """0 when the tables were written, 2 for bad input, 1 when the physics cannot be trusted."""
    options = parser().parse_args(arguments)
    try:
        predictive = parser().instantiate(options).predictive
        gates = load_gates(options.gates)
        config = _reference_config(options.reference_config)
        robot_model = load_robot()
        trained = _trained_clips(options.clips, robot_model, config)
        tasks = _tasks(trained, options.names, options.seconds)
        states = ClipStates.of(trained, robot_model)
        tracker = _tracker(Path(options.tracker), states, config)
        with one_torch_thread():  # others would wait for work on the clock
            ways = _ways(tracker, states, config, predictive, robot_model)
            text = _compared(ways, tasks, gates, config.segments, robot_model)
    except (ValueError, OSError, PhysicsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, PhysicsError) else 2
    text = f"# Tracking compared\n\n{NOTE}\n\nPlanner: {predictive}\n\n{text}\n"
    print(text)
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(f"wrote {out}")
    return 0


def _reference_config(path: str) -> ReferenceConfig:
    reader = ArgumentParser(exit_on_error=False)
    reader.add_class_arguments(ReferenceConfig, "reference")
    try:
        return reader.instantiate(reader.parse_path(path)).reference
    except (ArgumentError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"--reference_config {path}: {reason}") from error


def _trained_clips(
    sources: Sequence[str], robot_model: RobotModel, config: ReferenceConfig
) -> list[Clip]:
    """All that make_reference trained a tracker on, in its order."""
    clips = []
    for source in sources:
        if source == "builtin":
            clips += tracked_walks(robot_model.robot, config.tracked)
            continue
        loaded, _ = load_all(source, robot_model.robot)
        clips += prepared(loaded, robot_model, 1.0 / CTRL_DT, config.tracked).clips
    resampled = [clip.resample(1.0 / CTRL_DT) for clip in clips]
    return [v for clip in resampled for v in variants(clip, robot_model.robot, config.variants)]


def _tasks(clips: Sequence[Clip], names: Sequence[str], seconds: float) -> list[Task]:
    if seconds < 1.0:
        raise ValueError(f"--seconds is {seconds:g}; the gates judge 1 s or more")
    known = {clip.name: clip for clip in clips}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no clip {', '.join(unknown)}; there are {', '.join(known)}")
    frames = round(seconds / CTRL_DT) + 1
    return [Task(known[name].frames(0, frames), 0) for name in names or known]


def _tracker(path: Path, states: ClipStates, config: ReferenceConfig) -> Policy:
    """The trained tracker in a file.

    Raises:
        ValueError: there is none, or it is of other clips or settings, or not trained to its end.
    """
    if not path.is_file():
        raise ValueError(
            f"--tracker {path}: no such file; make_reference leaves one beside its .npz"
        )
    env = tracking_env(1, PushConfig())
    layout = tracking_layout(env.layouts["observation"], env.robot)
    key = training_key(states, config.tracking, env.robot.digest, layout, "native")
    saved = load_training(path, key)
    if saved is None:
        raise ValueError(
            f"--tracker {path} was trained on other clips or settings; give the --clips and the "
            "--reference_config that it was made with"
        )
    if saved["iteration"] < _iterations(config):
        raise ValueError(
            f"--tracker {path} was trained for {saved['iteration']} of {_iterations(config)} "
            "iterations; the same make_reference goes on with it"
        )
    policy = Policy(layout.size, env.robot.num_joints, init_std=0.3)
    policy.load_state_dict(saved["policy"])
    return policy


def _iterations(config: ReferenceConfig) -> int:
    return -(-config.tracking.env_steps // (config.tracking.num_envs * NUM_STEPS))


def _ways(
    tracker: Policy,
    states: ClipStates,
    config: ReferenceConfig,
    predictive: PredictiveConfig,
    robot_model: RobotModel,
) -> dict[str, Way]:
    task = config.tracking
    timed = replace(task, env_steps=TIMED_ITERATIONS * task.num_envs * NUM_STEPS)
    begin = time.process_time()
    train_tracker(states, timed)
    iteration_s = (time.process_time() - begin) / TIMED_ITERATIONS

    def tracked(env: LocomotionEnv, tasks: list[Task]) -> list[Rollout]:
        return track(env, tasks, tracker, task.residual_scale, robot_model)

    def predicted(env: LocomotionEnv, tasks: list[Task]) -> list[Rollout]:
        return predict(env, tasks, task, predictive, robot_model)

    def uncorrected(env: LocomotionEnv, tasks: list[Task]) -> list[Rollout]:
        return track(env, tasks, tracker, 0.0, robot_model)

    return {
        "tracker": Way(tracked, iteration_s * _iterations(config)),
        "predictive": Way(predicted, 0.0),
        "servo targets": Way(uncorrected, 0.0),
    }


def _compared(
    ways: Mapping[str, Way],
    tasks: list[Task],
    gates: Sequence[Gate],
    segments: SegmentConfig,
    robot_model: RobotModel,
) -> str:
    """Both tables in Markdown."""
    robot = robot_model.robot
    seconds = sum(task.num_steps for task in tasks) * CTRL_DT
    made, took, training = {}, {}, {}
    for name, way in ways.items():
        for suffix, push in (("", PushConfig()), (", pushed", TEST_PUSH)):
            env = tracking_env(len(tasks), push)
            begin = time.process_time()
            made[name + suffix] = way.follow(env, tasks)
            took[name + suffix] = (time.process_time() - begin) / seconds
            training[name + suffix] = way.training_s
            say(f"{name + suffix}: {took[name + suffix]:.2f} core s per second of motion")
    spans = {
        (rollout.task.clip.name, name): _accepted(rollout, gates, segments, robot)
        for name, rollouts in made.items()
        for rollout in rollouts
    }
    rows = compare(made, spans, robot_model, {})
    body = [
        _line(name, [row for row in rows if row.way == name], took[name], training[name])
        for name in made
    ]
    head = ("way", "clips to their end", "0+, s", "0, s", "1, s",
            "joint RMS, rad (worst)", "slip p95, m/s (worst)", "core s per s of motion",
            "training, core s")  # fmt: skip
    each = comparison_table([row for row in rows if row.way != CLIP])
    asked = f"{len(tasks)} clips, {seconds:.1f} s of motion per way."
    return f"{asked}\n\n{table(head, body)}\n\n## Clip by clip\n\n{each}"


def _accepted(
    rollout: Rollout, gates: Sequence[Gate], segments: SegmentConfig, robot: RobotSpec
) -> list[Span]:
    judged = gates_for(rollout.task.clip, gates)
    search = find_segments(rollout.recording, robot, judged, segments)
    return [
        Span(s.start, s.stop, label(r, s), r.support(s.start, s.stop))
        for r, s in resolve([rollout], [search], robot, judged, segments)
    ]


def _line(name: str, rows: Sequence[Row], took: float, training_s: float) -> tuple[str, ...]:
    by_tier = [sum(row.seconds.get(tier, 0.0) for row in rows) for tier in ("0+", "0", "1")]
    return (
        name,
        f"{sum(row.survival == 1.0 for row in rows)} of {len(rows)}",
        *(f"{seconds:.1f}" for seconds in by_tier),
        _mean_and_worst([row.joint_rms for row in rows]),
        _mean_and_worst([row.slip_p95 for row in rows]),
        f"{took:.2f}",
        f"{training_s:.0f}",
    )


def _mean_and_worst(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f} ({max(values):.3f})"


if __name__ == "__main__":
    sys.exit(main())

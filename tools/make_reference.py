"""Make reference motion: `python tools/make_reference.py --clips builtin [--policy FILE]`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from jsonargparse import ArgumentParser

from envs.physics.base import PhysicsError
from envs.robot.model import RobotModel, load_robot
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.read.files import load_all, save_clip
from wildrobot_torch.reference.follow.mining import load_sources
from wildrobot_torch.reference.follow.sources import prepared, tracked_walks
from wildrobot_torch.reference.generate import (
    CTRL_DT,
    Generation,
    ReferenceConfig,
    builtin_clips,
    generate,
)
from wildrobot_torch.reference.judge.gates import GOOD_TIERS, load_gates
from wildrobot_torch.reference.report.report import (
    clip_table,
    rejection_table,
    summary,
    write_generation_report,
)

say = partial(print, flush=True)


def parser() -> ArgumentParser:
    """The command line of this tool."""
    parser = ArgumentParser(
        prog="make_reference",
        description="Follow motion clips in the simulation, or let policies walk by themselves; "
        "keep what passes the gates.",
        default_config_files=[str(ROOT / "configs/reference.yaml")],
    )
    parser.add_argument("--config", action="config", help="YAML file with these options")
    parser.add_argument(
        "--clips",
        nargs="+",
        default=["builtin"],
        help="clips to follow without any support, by a tracking policy trained on all of them: "
        "folders or files of motion clips, which are mended first and followed as loops, too; "
        "'builtin' for the walking-pattern generator; 'none'",
    )
    parser.add_argument(
        "--harness",
        nargs="+",
        default=["none"],
        help="clips to follow in the harness, as they are: quick, but held up; as --clips",
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        help="checkpoint (.ckpt) or exported policy (.onnx) whose own motion at the speeds of "
        "--reference.mining becomes reference, too; may be given again",
    )
    parser.add_argument("--gates", default=str(ROOT / "configs/gates.yaml"), help="gate file")
    parser.add_argument("--out", default="runs/reference/walking.npz", help="file to write")
    parser.add_argument(
        "--min_seconds",
        type=float,
        default=30.0,
        help=f"least motion in the tiers {' and '.join(GOOD_TIERS)} to write a dataset with [s]",
    )
    parser.add_argument(
        "--pictures", type=int, default=8, help="clips to draw in the report, the worst first"
    )
    parser.add_argument(
        "--physics",
        default="native",
        help="engine: native, warp, warp-cpu or auto (default: native)",
    )
    parser.add_class_arguments(ReferenceConfig, "reference")
    parser.link_arguments("physics", "reference.physics")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """0 when a dataset was written.

    1 when too little was accepted, or the physics cannot be trusted; 2 for bad input. Only 0 leaves
    a dataset. The training of the tracking policy is kept beside it: the same command goes on with
    it, or judges anew with other gates.
    """
    options = parser().parse_args(arguments)
    try:
        config = parser().instantiate(options).reference
        out = Path(options.out)
        if out.suffix != ".npz":
            raise ValueError(f"--out is {out}; references are saved as .npz")
        if options.pictures < 0:
            raise ValueError(f"--pictures is {options.pictures}; it must not be negative")
        gates = load_gates(options.gates)
        robot_model = load_robot()
        originals: dict[str, Clip] = {}
        tracked = _tracked(options.clips, robot_model, config, originals)
        harnessed = _harnessed(options.harness, robot_model.robot, config)
        policies = load_sources(options.policy)
        mining = config.mining
        asked = len(policies) * len(mining.speeds) * (mining.seconds - mining.settle_s)
        seconds = sum(clip.duration_s for clip in tracked + harnessed) + asked
        say(
            f"following {len(tracked) + len(harnessed)} clips and {len(policies)} policies, "
            f"{seconds:.1f} s"
        )
        generation = generate(
            harnessed,
            robot_model.robot,
            gates,
            config,
            tracked=tracked,
            policies=policies,
            checkpoint=out.with_suffix(".tracker"),
            progress=say,
        )
    except (ValueError, PhysicsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if isinstance(error, PhysicsError) else 2
    print(clip_table(generation))
    print(rejection_table(generation))
    dataset = generation.dataset
    if dataset is None or generation.seconds_good < options.min_seconds:
        worst = next(iter(generation.rejections), "falling at once")
        print(
            f"error: {generation.seconds_good:.1f} s of {seconds:.1f} s of motion came into the "
            f"tiers {' and '.join(GOOD_TIERS)}, --min_seconds is {options.min_seconds:g}; most "
            f"often {worst!r} refused; no dataset was written (rejections by gate above)",
            file=sys.stderr,
        )
        return 1
    folder = out.with_suffix("")
    _save_followed(generation, folder / "followed", robot_model.robot)
    report = write_generation_report(
        folder,
        generation,
        generation.rollouts,
        robot_model,
        gates,
        originals=originals,
        pictured=options.pictures,
    )
    dataset.save(out)
    print(summary(generation))
    print(f"wrote {out} and {report}")
    return 0


def _harnessed(sources: list[str], robot: RobotSpec, config: ReferenceConfig) -> list[Clip]:
    clips = []
    for source in _wanted(sources):
        clips += builtin_clips(robot, config) if source == "builtin" else _loaded(source, robot)
    return clips


def _tracked(
    sources: list[str],
    robot_model: RobotModel,
    config: ReferenceConfig,
    originals: dict[str, Clip],
) -> list[Clip]:
    clips = []
    for source in _wanted(sources):
        if source == "builtin":
            clips += tracked_walks(robot_model.robot, config.tracked)
            continue
        loaded = _loaded(source, robot_model.robot)
        ready = prepared(loaded, robot_model, 1.0 / CTRL_DT, config.tracked)
        for note in ready.notes:
            say(note)
        clips += ready.clips
        originals |= ready.originals
    return clips


def _wanted(sources: list[str]) -> list[str]:
    return [] if sources == ["none"] else sources


def _loaded(source: str, robot: RobotSpec) -> list[Clip]:
    clips, rejected = load_all(source, robot)
    for name, reason in rejected:
        say(f"rejected {name}: {reason}")
    return clips


def _save_followed(generation: Generation, folder: Path, robot: RobotSpec) -> None:
    """Clips as they were followed, for `play.py --clip`; a folder for each way of following."""
    for way, rollouts in generation.rollouts.items():
        for rollout in rollouts:
            save_clip(rollout.task.clip, folder / way / f"{rollout.task.clip.name}.npz", robot)


if __name__ == "__main__":
    sys.exit(main())

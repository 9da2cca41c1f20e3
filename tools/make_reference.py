"""Make reference motion from clips: `python tools/make_reference.py --clips builtin`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from jsonargparse import ArgumentParser

from envs.model import RobotModel, load_robot
from envs.physics.base import PhysicsError
from envs.robot import RobotSpec
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.clips import load_clips
from wildrobot_torch.reference.gates import load_gates
from wildrobot_torch.reference.generate import (
    CTRL_DT,
    ReferenceConfig,
    builtin_clips,
    generate,
)
from wildrobot_torch.reference.report import clip_table, markdown, rejection_table, summary
from wildrobot_torch.reference.sources import prepared, tracked_walks


def parser() -> ArgumentParser:
    """The command line of this tool."""
    parser = ArgumentParser(
        prog="make_reference",
        description="Follow motion clips in the simulation, keep what passes the gates.",
        default_config_files=[str(ROOT / "configs/reference.yaml")],
    )
    parser.add_argument("--config", action="config", help="YAML file with these options")
    parser.add_argument(
        "--clips",
        nargs="+",
        default=["builtin"],
        help="clips to follow in the harness: folders or files of motion clips, 'builtin' for the "
        "walking-pattern generator, 'none'",
    )
    parser.add_argument(
        "--track",
        nargs="+",
        default=[],
        help="clips to follow by a tracking policy trained on all of them, without the harness: as "
        "--clips; those from files are repaired first, and followed as loops, too",
    )
    parser.add_argument("--gates", default=str(ROOT / "configs/gates.yaml"), help="gate file")
    parser.add_argument("--out", default="runs/reference/walking.npz", help="file to write")
    parser.add_argument(
        "--physics",
        default="native",
        help="engine: native, warp, warp-cpu or auto (default: native)",
    )
    parser.add_class_arguments(ReferenceConfig, "reference")
    parser.link_arguments("physics", "reference.physics")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """0 when a dataset was written; otherwise nothing is.

    2 for bad input, or when nothing was accepted; 1 where the physics cannot be trusted.
    """
    options = parser().parse_args(arguments)
    try:
        config = parser().instantiate(options).reference
        out = Path(options.out)
        if out.suffix != ".npz":
            raise ValueError(f"--out is {out}; references are saved as .npz")
        gates = load_gates(options.gates)
        robot_model = load_robot()
        robot = robot_model.robot
        clips = _clips([] if options.clips == ["none"] else options.clips, robot, config)
        tracked = _tracked(options.track, robot_model, config)
        seconds = sum(clip.duration_s for clip in clips + tracked)
        print(f"following {len(clips) + len(tracked)} clips, {seconds:.1f} s", flush=True)
        generation = generate(
            clips, robot, gates, config, tracked=tracked, progress=partial(print, flush=True)
        )
    except (ValueError, PhysicsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, PhysicsError) else 2
    print(clip_table(generation))
    print(rejection_table(generation))
    if generation.dataset is None:
        worst = next(iter(generation.rejections), "falling at once")
        print(
            f"error: nothing was accepted of {seconds:.1f} s of motion, most often for "
            f"{worst!r}; nothing was written (rejections by gate above)",
            file=sys.stderr,
        )
        return 2
    generation.dataset.save(out)
    out.with_suffix(".md").write_text(markdown(generation), encoding="utf-8")
    print(summary(generation))
    print(f"wrote {out} and {out.with_suffix('.md')}")
    return 0


def _clips(sources: list[str], robot: RobotSpec, config: ReferenceConfig) -> list[Clip]:
    clips = []
    for source in sources:
        builtin = source == "builtin"
        clips += builtin_clips(robot, config) if builtin else load_clips(source, robot)
    return clips


def _tracked(sources: list[str], robot_model: RobotModel, config: ReferenceConfig) -> list[Clip]:
    clips = []
    for source in sources:
        if source == "builtin":
            clips += tracked_walks(robot_model.robot, config.tracked)
        else:
            loaded = load_clips(source, robot_model.robot)
            clips += prepared(
                loaded, robot_model, 1.0 / CTRL_DT, config.tracked, partial(print, flush=True)
            )
    return clips


if __name__ == "__main__":
    sys.exit(main())

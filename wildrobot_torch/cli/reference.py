"""`wildrobot reference`: make reference motion, and look at what was made."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import jsonargparse
import torch
from jsonargparse.typing import NonNegativeInt

from envs.config import LocomotionConfig
from envs.errors import RunError, UserError
from envs.robot.model import RobotModel, load_robot
from envs.task.features import amp_layout
from wildrobot_torch.amp.micro_training import micro_train
from wildrobot_torch.cli.options import ENGINES
from wildrobot_torch.cli.settings import SettingsParser
from wildrobot_torch.files import CONFIGS
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.read.files import load_all, load_clips, save_clip
from wildrobot_torch.motion.retarget.verdict import verdict
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.follow.mining import load_sources
from wildrobot_torch.reference.follow.sources import prepared, tracked_walks
from wildrobot_torch.reference.generate import CTRL_DT, ReferenceConfig, builtin_clips, generate
from wildrobot_torch.reference.judge.gates import GOOD_TIERS, load_gates
from wildrobot_torch.reference.report import analysis, comparison
from wildrobot_torch.reference.report.report import write_generation_report
from wildrobot_torch.reference.verify import suite
from wildrobot_torch.reference.verify.finding import as_json, markdown, passed

FPS = 1.0 / CTRL_DT
"""Frame rate of clips [1/s]."""
say = partial(print, flush=True)


def parser(documented: bool = False) -> SettingsParser:
    """The settings of making reference; `documented` ones have their meanings in the help."""
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=documented)
    parser = SettingsParser.of("reference")
    sources = "folders or files of clips, builtin, or none"
    parser.add_argument("--clips", nargs="+", default=["builtin"], help=f"tracked: {sources}")
    parser.add_argument("--harness", nargs="+", default=["none"], help=f"held up: {sources}")
    parser.add_argument(
        "--policy", action="append", default=[], help="its own motion; may be given again"
    )
    parser.add_argument("--gates", default=str(CONFIGS / "gates.yaml"), help="gate file")
    parser.add_argument("--out", default="runs/reference/walking.npz", help="file to write")
    good = " and ".join(GOOD_TIERS)
    parser.add_argument(
        "--min_seconds", type=float, default=30.0, help=f"least motion in tiers {good} to keep [s]"
    )
    parser.add_argument(
        "--pictures", type=NonNegativeInt, default=8, help="clips to draw, the worst first"
    )
    robot = "robot of this package, or a folder with its robot.yaml"
    parser.add_argument("--robot", default=LocomotionConfig.robot, help=robot)
    parser.add_argument("--physics", default="native", help=ENGINES)
    parser.add_class_arguments(ReferenceConfig, "reference")
    parser.link_arguments("physics", "reference.physics")
    return parser


def main(words: list[str]) -> int:
    """0 when a dataset was written, 1 when too little motion was accepted.

    The training of the tracking policy is kept beside it: the same command goes on with it, or
    judges its motion anew by other gates.
    """
    settings_parser = parser(documented="--help_all" in words)
    options = settings_parser.read(words)
    config: ReferenceConfig = settings_parser.construct(options).reference
    out = Path(options.out)
    if out.suffix != ".npz":
        raise UserError(f"--out is {out}; references are saved as .npz")
    gates = load_gates(options.gates)
    loaded = load_robot(options.robot)
    originals: dict[str, Clip] = {}
    tracked, harnessed = [], []
    for source in options.clips:
        tracked += _tracked(source, loaded, config, originals)
    for source in options.harness:
        builtin = source == "builtin"
        harnessed += builtin_clips(loaded.robot, config) if builtin else _loaded(source, loaded)
    policies = load_sources(options.policy)
    mining = config.mining
    mined_s = len(policies) * len(mining.speeds) * (mining.seconds - mining.settle_s)
    seconds = sum(clip.duration_s for clip in tracked + harnessed) + mined_s
    clips = f"{len(tracked) + len(harnessed)} clips and {len(policies)} policies"
    say(f"following {clips}, {seconds:.1f} s")
    generation = generate(
        harnessed,
        loaded.robot,
        gates,
        config,
        tracked=tracked,
        policies=policies,
        checkpoint=out.with_suffix(".tracker"),
        progress=say,
        described=options.robot,
    )
    rows = comparison.compare(generation, loaded, originals)
    print(comparison.clip_table(rows))
    print(comparison.rejection_table(generation))
    dataset, good_s = generation.dataset, generation.seconds(*GOOD_TIERS)
    if dataset is None or good_s < options.min_seconds:
        print(comparison.rejected_table(generation.rejected))
        worst = next(iter(generation.rejections), "falling at once")
        good = f"{good_s:.1f} s of {seconds:.1f} s of motion are in the tiers "
        raise RunError(
            f"{good}{' and '.join(GOOD_TIERS)}, --min_seconds is {options.min_seconds:g}; no "
            f"dataset was written; most often refused by {worst!r} (rejections by gate above)"
        )
    folder = out.with_suffix("")
    for method, rollouts in generation.rollouts.items():  # for `wildrobot play --clip`
        for clip in (rollout.task.clip for rollout in rollouts):
            save_clip(clip, folder / "followed" / method / f"{clip.name}.npz", loaded.robot)
    written = write_generation_report(folder, generation, rows, loaded, pictured=options.pictures)
    dataset.save(out)
    print(comparison.summary(generation))
    print(f"wrote {out} and {written}")
    return 0


def _tracked(
    source: str, loaded: RobotModel, config: ReferenceConfig, originals: dict[str, Clip]
) -> list[Clip]:
    """Clips of a source as they are tracked; `originals` gets those that were mended."""
    if source == "builtin":
        return tracked_walks(loaded, config.tracked, say)
    ready = prepared(_loaded(source, loaded), loaded, FPS, config.tracked)
    for note in ready.notes:
        say(note)
    for clip in ready.clips:
        found = verdict(clip, loaded)
        faults = "; ".join(found.faults(loaded.robot.scale))
        say(f"{clip.name}: {found.line()}{f'; beyond limits: {faults}' if faults else ''}")
    originals |= ready.originals
    return ready.clips


def _loaded(source: str, loaded: RobotModel) -> list[Clip]:
    clips, rejected = ([], []) if source == "none" else load_all(source, loaded.robot)
    for name, reason in rejected:
        say(f"rejected {name}: {reason}")
    return clips


def verify(options: argparse.Namespace) -> int:
    """0 when no test of a dataset failed, there may be warnings; 1 when one did."""
    out: Path = options.out or options.verify.with_suffix(".verified.md")
    if out.suffix != ".md":
        raise UserError(f"--out is {out}; the table is written as .md")
    torch.set_num_threads(1)
    robot = load_robot(options.robot).robot
    dataset = ReferenceDataset.load(options.verify, amp_layout(robot), robot.digest)
    findings = suite.verify(
        dataset,
        options.verify,
        micro_train,
        options.seed,
        options.stretches or suite.STRETCHES,
        progress=lambda name: say(f"testing {name}"),
    )
    title = f"{options.verify.name}: {dataset.duration_s:.1f} s in {dataset.num_segments} segments"
    table = markdown(findings, title)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(table, encoding="utf-8")
    numbers = out.with_suffix(".json")
    numbers.write_text(as_json(findings, dataset.content_hash), encoding="utf-8")
    print(table)
    print(f"wrote {out} and {numbers}")
    return 0 if passed(findings) else 1


def analyze(options: argparse.Namespace) -> int:
    """0; with --gate 1 unless the decision about a dataset is go."""
    robot = load_robot(options.robot).robot
    dataset = ReferenceDataset.load(options.analyze, amp_layout(robot), robot.digest)
    found = analysis.analyse(dataset)
    if options.out is None:
        print(analysis.analysis_markdown(found))
    print(analysis.verdict(found))
    if options.out is not None:
        title = f"Reference {options.analyze.name}"
        print(f"wrote {analysis.write_analysis(found, options.out, title)}")
    return 1 if options.gate and found.decision != "go" else 0


def export_clips(options: argparse.Namespace) -> int:
    """0 when the clips are written."""
    robot = load_robot(options.robot).robot
    clips = [standing_clip(robot, options.duration, FPS)]
    clips += [walking_clip(robot, v, options.duration, FPS) for v in options.speeds]
    if options.cmu is not None:
        clips += [clip.resample(FPS) for clip in load_clips(options.cmu, robot)]
    for clip in clips:
        save_clip(clip, options.export_clips / f"{clip.name}.npz", robot)
        say(f"{clip.name:<22}{clip.duration_s:>7.2f} s{clip.mean_speed:>7.3f} m/s")
    return 0

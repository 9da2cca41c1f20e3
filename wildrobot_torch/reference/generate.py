"""Reference generation: clips -> rollouts in the environment -> gates -> segments -> dataset."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.physics.engines import resolve_engine
from envs.recording import Recording
from envs.robot.model import load_robot
from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from envs.thresholds import MOVING
from wildrobot_torch.files import finite
from wildrobot_torch.motion.augment import variants
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.metrics import measure
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip
from wildrobot_torch.reference.config import CTRL_DT, ReferenceConfig
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.follow.mining import PolicySource, mine
from wildrobot_torch.reference.follow.rollout import Rollout, Task, clip_env, follow, force
from wildrobot_torch.reference.follow.tracker import track, train_tracker
from wildrobot_torch.reference.follow.tracking import ClipStates
from wildrobot_torch.reference.judge.gates import Gate, quality
from wildrobot_torch.reference.judge.segments import Stretch, find_segments, sampling_weights
from wildrobot_torch.reference.judge.selection import Rejection, label, rejections, resolve


@dataclass(frozen=True)
class Generation:
    """A dataset, if anything was accepted, and how it was made."""

    dataset: ReferenceDataset | None
    rollouts: dict[str, tuple[Rollout, ...]]
    """Method -> its rollouts."""
    kept: tuple[tuple[Rollout, Stretch], ...]
    """Accepted segments, clip by clip."""
    rejected: tuple[Rejection, ...]
    """Parts of the clips in no tier, clip by clip, in order."""
    rejections: dict[str, int]
    """Gate -> stretches it rejected (windows, then whole segments), most first."""

    def seconds(self, *tiers: str) -> float:
        """Accepted motion of these tiers, without any of all tiers [s]."""
        lengths = [s.num_frames for r, s in self.kept if not tiers or label(r, s) in tiers]
        return sum(lengths) * CTRL_DT


def builtin_clips(robot: RobotSpec, config: ReferenceConfig) -> list[Clip]:
    """Clips of the walking-pattern generator at the configured speeds."""
    return [
        walking_clip(robot, speed * robot.speed_scale, config.duration_s, config=config.walk)
        if speed >= MOVING
        else standing_clip(robot, config.duration_s)
        for speed in config.speeds
    ]


def generate(
    clips: Sequence[Clip],
    robot: RobotSpec,
    gates: Sequence[Gate],
    config: ReferenceConfig,
    *,
    tracked: Sequence[Clip] = (),
    policies: Sequence[PolicySource] = (),
    checkpoint: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
    described: str = LocomotionConfig.robot,
) -> Generation:
    """Reference motion from clips and policies; the same inputs give the same dataset.

    The harness holds up the robots that follow `clips`. A tracking policy follows `tracked` clips
    without support; its training is kept in the file `checkpoint`, see `train_tracker`, and
    `progress` receives its lines. The motion of `policies` at commanded speeds is recorded.
    `described` is the name or folder of `robot`. Limits of `gates` are those of a robot of the
    WildRobot's size.

    Raises:
        UserError: there is nothing to make reference from, a clip is too short to be judged, a
            policy does not fit, or the engine is unknown or without its device.
        PhysicsError: the engine dropped contacts for want of room.
    """
    config = replace(config, physics=resolve_engine(config.physics))
    gates = [gate.sized(robot) for gate in gates]
    if not clips and not tracked and not policies:
        raise UserError("no clips and no policies to make reference from")
    # Mining comes first: it refuses an unusable policy at once, and the tracker's training is long.
    mined = [r for p in policies for r in mine(p, config.mining, physics=config.physics)]
    assisted, unassisted = _tasks(clips, robot, config), _tasks(tracked, robot, config)
    names = {task.clip.name for task in (*assisted, *unassisted)}
    if twice := sorted(names & {r.task.clip.name for r in mined}):
        raise UserError(f"clips have the names of policies' rollouts: {twice}; rename the clips")
    methods: dict[str, tuple[Rollout, ...]] = {}
    where: dict[str, Any] = {"physics": config.physics, "robot": described}
    if assisted:
        env = clip_env(len(assisted), support=config.harness, **where)
        methods["harness"] = tuple(follow(env, assisted, load_robot(described), config.balance))
    if unassisted:
        robot_model = load_robot(described)
        followed = {id(task.clip): task.clip for task in unassisted}
        tracker = train_tracker(
            ClipStates.of(list(followed.values()), robot_model),
            config.tracking,
            checkpoint=checkpoint,
            progress=progress,
            **where,
        )
        env = clip_env(len(unassisted), servo=config.tracking.servo, **where)
        scale = config.tracking.residual_scale
        methods["tracker"] = tuple(track(env, unassisted, tracker, scale, robot_model))
    if config.forced and (tasks := [*assisted, *unassisted]):
        env = clip_env(len(tasks), **where)
        methods["forced"] = tuple(force(env, tasks))
    if mined:
        methods["policy"] = tuple(mined)
    rollouts = [rollout for made in methods.values() for rollout in made]

    kept: list[tuple[Rollout, Stretch]] = []
    rejected: list[Rejection] = []
    entries = []
    refused: Counter[str] = Counter()
    for clip in {id(r.task.clip): r.task.clip for r in rollouts}.values():
        made = [r for r in rollouts if r.task.clip is clip]
        judged = gates_for(clip, gates, made[0].task.command, MOVING * robot.speed_scale)
        searches = [find_segments(r.recording, robot, judged, config.segments) for r in made]
        for search in searches:
            for stretch in (*search.windows, *search.segments):
                refused.update(stretch.verdict.failed)
        taken = resolve(made, searches, robot, judged, config.segments)
        kept += taken
        own = [(r, s) for r, s in zip(made, searches, strict=True) if r.method != "forced"]
        rejected += rejections(clip, own, taken)
        entries.append(
            {
                "name": clip.name,
                "source": clip.source,
                "sha256": clip_hash(clip),
                "seconds": clip.duration_s,
                "seconds_accepted": sum(s.num_frames for _, s in taken) * CTRL_DT,
                "survival": sum(r.survival for r, _ in own) / len(own),
            }
        )
    about = {
        "clips": entries,
        "policies": [source.about(config.mining) for source in policies],
        "rejected": [asdict(rejection) for rejection in rejected],
    }
    return Generation(
        dataset=_assemble(kept, about, robot, gates, config) if kept else None,
        rollouts=methods,
        kept=tuple(kept),
        rejected=tuple(rejected),
        rejections=dict(refused.most_common()),
    )


def _tasks(clips: Sequence[Clip], robot: RobotSpec, config: ReferenceConfig) -> list[Task]:
    """Rollouts of clips' variants: from the first frame, then every `start_interval_s`."""
    resampled = [clip.resample(1.0 / CTRL_DT) for clip in clips]
    made = [v for clip in resampled for v in variants(clip, robot, config.variants)]
    interval = round(config.start_interval_s / CTRL_DT)
    tasks = []
    for clip in made:
        last = clip.num_frames - 1 - config.segments.min_frames
        if last < 0:
            raise UserError(
                f"clip {clip.name} has {clip.num_frames} frames at the control rate; at least "
                f"{config.segments.min_frames + 1} are needed"
            )
        tasks += [Task(clip, frame) for frame in range(0, last + 1, interval or last + 1)]
    return tasks


def gates_for(
    clip: Clip, gates: Sequence[Gate], command: float | None = None, least: float = MOVING
) -> list[Gate]:
    """The gates that judge a clip: those on walking where it moves, otherwise those on standing.

    It moves at `least` [m/s] or more. For a policy's motion its commanded velocity [m/s] decides: a
    policy that stands at a walking command fails.
    """
    moving = (clip.mean_speed if command is None else command) >= least
    return [gate for gate in gates if gate.motion in ("any", "moving" if moving else "standing")]


def _assemble(
    kept: Sequence[tuple[Rollout, Stretch]],
    about: dict[str, Any],
    robot: RobotSpec,
    gates: Sequence[Gate],
    config: ReferenceConfig,
) -> ReferenceDataset:
    """The dataset of the kept segments; `about` is what the manifest says beside them."""

    def joined(series: Callable[[Recording], Tensor]) -> Tensor:
        return torch.cat([series(r.recording)[s.start : s.stop, 0] for r, s in kept])

    length = torch.tensor([s.num_frames for _, s in kept])
    qualities = [quality(s.verdict.metrics, gates) for _, s in kept]
    tiers = [label(r, s) for r, s in kept]
    supports = [r.support(s.start, s.stop) for r, s in kept]
    measured = [measure(r.recording.cut(s.start, s.stop), robot) for r, s in kept]
    manifest: dict[str, Any] = {
        "config": asdict(config),
        "gates": [asdict(gate) for gate in gates],
        **about,
        "segments": [
            {"clip": r.task.clip.name, "clip_sha256": clip_hash(r.task.clip),
             "clip_frame": r.task.first_frame + 1 + s.start,
             "frames": s.num_frames, "method": r.method, "tier": tier, "support": support,
             "quality": score, "metrics": finite(metrics)}
            for (r, s), metrics, tier, support, score in zip(
                kept, measured, tiers, supports, qualities, strict=True
            )
        ],
        "robot_digest": robot.digest,
        "amp_layout_digest": amp_layout(robot).digest,
    }  # fmt: skip
    return ReferenceDataset(
        amp=joined(lambda r: r.amp),
        qpos=joined(lambda r: r.qpos),
        qvel=joined(lambda r: r.qvel),
        foot_force=joined(lambda r: r.foot_force),
        support_wrench=joined(
            lambda r: r.qpos.new_zeros(r.num_steps, 1, 6) if r.support is None else r.support
        ),
        segment_start=torch.cumsum(length, 0) - length,
        segment_length=length,
        segment_weight=torch.tensor(sampling_weights(qualities, config.segments)),
        segment_velocity=torch.tensor(
            [metrics["velocity"] for metrics in measured], dtype=torch.float32
        ),
        segment_clip=tuple(r.task.clip.name for r, _ in kept),
        segment_tier=tuple(tiers),
        segment_support=tuple(supports),
        ctrl_dt=CTRL_DT,
        amp_layout=amp_layout(robot),
        robot_digest=robot.digest,
        manifest=json.loads(json.dumps(manifest)),
    )


def clip_hash(clip: Clip) -> str:
    """64 hex digits over a clip's rate and motion."""
    sha = hashlib.sha256(repr(float(clip.fps)).encode())
    for array in (clip.root_pos, clip.root_quat, clip.joint_pos):
        sha.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return sha.hexdigest()

"""Reference generation: clips -> rollouts in the environment -> gates -> segments -> dataset."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.errors import UserError
from envs.locomotion import LocomotionConfig, LocomotionEnv
from envs.physics.engines import resolve_engine
from envs.reality.disturbances import PushConfig
from envs.recording import Recording
from envs.robot.model import load_robot
from envs.robot.spec import RobotSpec
from envs.task.actions import ActionConfig
from envs.task.features import amp_layout
from envs.task.support import SupportConfig
from envs.thresholds import MOVING
from wildrobot_torch.motion.augment import variants
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.metrics import measure
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip
from wildrobot_torch.reference.config import CTRL_DT, ReferenceConfig
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.follow.mining import PolicySource, mine
from wildrobot_torch.reference.follow.rollout import Rollout, Task, follow, force
from wildrobot_torch.reference.follow.tracker import TEST_PUSH, track, tracking_env, train_tracker
from wildrobot_torch.reference.follow.tracking import ClipStates
from wildrobot_torch.reference.judge.gates import GOOD_TIERS, TIERS, Gate, quality
from wildrobot_torch.reference.judge.segments import (
    Search,
    Stretch,
    find_segments,
    sampling_weights,
)
from wildrobot_torch.reference.judge.selection import Rejection, label, rejections, resolve


@dataclass(frozen=True)
class ClipReport:
    """Result of one clip, or of one of its variants."""

    name: str
    seconds_in: float
    seconds_accepted: float
    num_segments: int
    survival: float
    """Mean share of its rollouts' steps before a fall."""
    survival_pushed: float
    """The same under pushes of 0.36 N s, by the tracker; NaN where it did not follow the clip."""
    speed: float
    """Mean forward speed before the falls [m/s]; NaN if it fell at once."""
    clip_speed: float
    """Speed of the clip [m/s], which no gate compares; NaN for a policy, which follows none."""
    load_mean: float
    """Mean weight on the feet [m g]."""
    force_share: float
    """95th percentile of the harness force [m g]."""
    torque_share: float
    """95th percentile of the harness torque [m g h]."""
    joint_error: float
    """Joints against the clip, RMS [rad]; NaN for a policy, which follows none."""
    slip: float
    """95th percentile of the speed of loaded soles [m/s]."""
    first_failure: str
    """Reason of the first rejected window or segment; empty without one."""
    seconds: dict[str, float]
    """Accepted motion [s] by tier."""
    rejected: tuple[Rejection, ...]
    """Parts of the clip in no tier, in order."""


@dataclass(frozen=True)
class Generation:
    """A dataset, if anything was accepted, and how it was made."""

    dataset: ReferenceDataset | None
    clips: tuple[ClipReport, ...]
    windows: int
    """Windows judged."""
    rejections: dict[str, int]
    """Gate -> stretches it rejected (windows, then whole segments), most first."""
    rollouts: dict[str, tuple[Rollout, ...]]
    """Method -> its rollouts."""

    @property
    def seconds_accepted(self) -> float:
        """Accepted motion of any tier [s]."""
        return sum(clip.seconds_accepted for clip in self.clips)

    @property
    def seconds_good(self) -> float:
        """Accepted motion of the tiers that training uses by default, 0+ and 0 [s]."""
        return sum(clip.seconds.get(tier, 0.0) for clip in self.clips for tier in GOOD_TIERS)


def builtin_clips(robot: RobotSpec, config: ReferenceConfig) -> list[Clip]:
    """Clips of the walking-pattern generator at the configured speeds."""
    return [
        walking_clip(robot, speed, config.duration_s, config=config.walk)
        if speed >= MOVING
        else standing_clip(robot, config.duration_s)
        for speed in config.speeds
    ]


def reference_env_config(harness: SupportConfig) -> LocomotionConfig:
    """The environment that references are made in: every joint angle within an action's reach."""
    action = ActionConfig(mapping="full_range", filter=0.0)
    return LocomotionConfig(action=action, support=harness, auto_reset=False)


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
) -> Generation:
    """Reference motion from clips and policies; the same inputs give the same dataset.

    Args:
        clips: clips to follow in the harness.
        robot: the robot.
        gates: limits on its motion.
        config: settings.
        tracked: clips that a tracking policy, trained on all of them, follows without support.
        policies: policies whose motion at commanded speeds is recorded, without support.
        checkpoint: file of the tracking policy's training, see `train_tracker`.
        progress: receives progress lines while the tracking policy is trained.

    Raises:
        UserError: there is nothing to make reference from, a clip is too short to be judged, a
            policy does not fit, or the engine is unknown or without its device.
        PhysicsError: the engine dropped contacts for want of room.
    """
    config = replace(config, physics=resolve_engine(config.physics))
    if not clips and not tracked and not policies:
        raise UserError("no clips and no policies to make reference from")
    # Mining comes first: it refuses an unusable policy at once, and the tracker's training is long.
    mined = [r for p in policies for r in mine(p, config.mining, physics=config.physics)]
    assisted, unassisted = _tasks(clips, robot, config), _tasks(tracked, robot, config)
    taken_names = {task.clip.name for task in (*assisted, *unassisted)}
    if twice := sorted(taken_names & {r.task.clip.name for r in mined}):
        raise UserError(f"clips have the names of policies' rollouts: {twice}; rename the clips")
    methods: dict[str, tuple[Rollout, ...]] = {}
    if assisted:
        task = reference_env_config(config.harness)
        env = LocomotionEnv(task, len(assisted), physics=config.physics)
        methods["harness"] = tuple(follow(env, assisted, load_robot(), config.balance))
    if unassisted:
        followed = list({id(task.clip): task.clip for task in unassisted}.values())
        robot_model = load_robot()
        states = ClipStates.of(followed, robot_model)
        tracker = train_tracker(
            states,
            config.tracking,
            physics=config.physics,
            checkpoint=checkpoint,
            progress=progress,
        )
        scale = config.tracking.residual_scale
        for name, push in (("tracker", PushConfig()), ("pushed", TEST_PUSH)):
            env = tracking_env(len(unassisted), push, physics=config.physics)
            methods[name] = tuple(track(env, unassisted, tracker, scale, robot_model))
    pushed = methods.pop("pushed", ())
    if config.forced and (tasks := [*assisted, *unassisted]):
        env = tracking_env(len(tasks), PushConfig(), physics=config.physics)
        methods["forced"] = tuple(force(env, tasks))
    if mined:
        methods["policy"] = tuple(mined)
    rollouts = [rollout for made in methods.values() for rollout in made]
    followed = list({id(r.task.clip): r.task.clip for r in rollouts}.values())

    reports, kept = [], []
    refused: Counter[str] = Counter()
    windows = 0
    for variant in followed:
        made = [r for r in rollouts if r.task.clip is variant]
        judged = gates_for(variant, gates, made[0].task.command)
        searches = [find_segments(r.recording, robot, judged, config.segments) for r in made]
        for search in searches:
            windows += len(search.windows)
            for stretch in (*search.windows, *search.segments):
                refused.update(stretch.verdict.failed)
        taken = resolve(made, searches, robot, judged, config.segments)
        kept += taken
        held = [r.survival for r in pushed if r.task.clip is variant]
        own = [i for i, r in enumerate(made) if r.method != "forced"]
        made, searches = [made[i] for i in own], [searches[i] for i in own]
        reports.append(_report(variant, made, searches, taken, held, robot))
    made_by = [source.about(config.mining) for source in policies]
    dataset = _assemble(kept, reports, followed, made_by, robot, gates, config) if kept else None
    return Generation(dataset, tuple(reports), windows, dict(refused.most_common()), methods)


def _tasks(clips: Sequence[Clip], robot: RobotSpec, config: ReferenceConfig) -> list[Task]:
    """Rollouts of clips' variants: from the first frame, then every `start_interval_s`."""
    resampled = [clip.resample(1.0 / CTRL_DT) for clip in clips]
    made = [v for clip in resampled for v in variants(clip, robot, config.variants)]
    interval = round(config.start_interval_s / CTRL_DT)
    return [task for clip in made for task in _starts(clip, interval, config)]


def _starts(clip: Clip, interval: int, config: ReferenceConfig) -> list[Task]:
    last = clip.num_frames - 1 - config.segments.min_frames
    if last < 0:
        raise UserError(
            f"clip {clip.name} has {clip.num_frames} frames at the control rate; at least "
            f"{config.segments.min_frames + 1} are needed"
        )
    return [Task(clip, start) for start in (range(0, last + 1, interval) if interval else [0])]


def gates_for(clip: Clip, gates: Sequence[Gate], command: float | None = None) -> list[Gate]:
    """The gates that judge a clip: those on walking where it moves, otherwise those on standing.

    For a policy's motion its command decides: a policy that stands at a walking command fails.

    Args:
        clip: the motion.
        gates: all of them.
        command: commanded velocity of a policy that made the clip [m/s]; None for other clips.
    """
    moving = _moving(clip) if command is None else command >= MOVING
    return [gate for gate in gates if gate.motion in ("any", "moving" if moving else "standing")]


def _moving(clip: Clip) -> bool:
    return clip.mean_speed >= MOVING


def _report(
    clip: Clip,
    rollouts: Sequence[Rollout],
    searches: Sequence[Search],
    kept: Sequence[tuple[Rollout, Stretch]],
    survival_pushed: Sequence[float],
    robot: RobotSpec,
) -> ClipReport:
    recordings = [r.recording for r in rollouts]
    dt = recordings[0].ctrl_dt
    failures = [failure for search in searches if (failure := search.first_failure())]
    if not failures and not kept:
        failures = ["fell before the shortest stretch that is judged"]

    def pooled(quantity: Callable[[Recording], Tensor], percent: float | None = None) -> float:
        values = torch.cat([quantity(r).flatten() for r in recordings]).double()
        if not values.numel():
            return math.nan
        return float(values.mean() if percent is None else torch.quantile(values, percent / 100))

    error = pooled(lambda r: r.joint_error(robot).square()) ** 0.5
    return ClipReport(
        name=clip.name,
        seconds_in=clip.duration_s,
        seconds_accepted=sum(s.num_frames for _, s in kept) * dt,
        num_segments=len(kept),
        survival=sum(r.survival for r in rollouts) / len(rollouts),
        survival_pushed=float(np.mean(survival_pushed)) if survival_pushed else math.nan,
        speed=pooled(lambda r: r.velocity),
        clip_speed=math.nan if math.isnan(error) else clip.mean_speed,
        load_mean=pooled(lambda r: r.load(robot)),
        force_share=pooled(lambda r: r.support_force(robot), 95),
        torque_share=pooled(lambda r: r.support_torque(robot), 95),
        joint_error=error,
        slip=pooled(lambda r: r.sole_speed[r.loaded(robot)], 95),
        first_failure=failures[0] if failures else "",
        seconds={
            tier: dt * sum(s.num_frames for r, s in kept if label(r, s) == tier)
            for tier in sorted({label(r, s) for r, s in kept}, key=TIERS.index)
        },
        rejected=rejections(clip, rollouts, searches, kept),
    )


def _assemble(
    kept: Sequence[tuple[Rollout, Stretch]],
    reports: Sequence[ClipReport],
    clips: Sequence[Clip],
    policies: Sequence[dict[str, Any]],
    robot: RobotSpec,
    gates: Sequence[Gate],
    config: ReferenceConfig,
) -> ReferenceDataset:
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
        "clips": [
            {"name": c.name, "source": c.source, "sha256": clip_hash(c), "seconds": r.seconds_in,
             "seconds_accepted": r.seconds_accepted, "survival": r.survival}
            for c, r in zip(clips, reports, strict=True)
        ],
        "policies": policies,
        "segments": [
            {"clip": r.task.clip.name, "clip_sha256": clip_hash(r.task.clip),
             "clip_frame": r.task.start + 1 + s.start,
             "frames": s.num_frames, "method": r.method, "tier": tier, "support": support,
             "quality": score, "metrics": _finite(metrics)}
            for (r, s), metrics, tier, support, score in zip(
                kept, measured, tiers, supports, qualities, strict=True
            )
        ],
        "rejected": [asdict(rejection) for report in reports for rejection in report.rejected],
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


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def clip_hash(clip: Clip) -> str:
    """64 hex digits over a clip's rate and motion."""
    sha = hashlib.sha256(repr(float(clip.fps)).encode())
    for array in (clip.root_pos, clip.root_quat, clip.joint_pos):
        sha.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return sha.hexdigest()

"""How reference is made from clips."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.settings import NonNegativeFloat, PositiveFloat, check
from envs.task.support import SupportConfig
from wildrobot_torch.motion.augment import VariantConfig
from wildrobot_torch.motion.synthesis.walk import WalkConfig
from wildrobot_torch.reference.follow.balance import BalanceConfig
from wildrobot_torch.reference.follow.mining import MiningConfig
from wildrobot_torch.reference.follow.sources import SourceConfig
from wildrobot_torch.reference.follow.tracking import TrackingConfig
from wildrobot_torch.reference.judge.segments import SegmentConfig

CTRL_DT = LocomotionConfig().ctrl_dt
"""Time between the frames of a reference [s]."""


_walk_in_harness = partial(
    WalkConfig, step_s=0.38, double_share=0.08, clearance=0.045, lean=0.14, crouch=0.022,
    com_offset=0.014, zmp_back=-0.003, zmp_front=0.017, zmp_half_width=0.06, sway=0.8,
    swing_share=0.0, heel_lift=0.45, margin=0.04,
)  # fmt: skip
"""The walk whose rollouts the gates accept at most speeds."""


@dataclass(frozen=True, kw_only=True)
class ReferenceConfig:
    """How reference is made from clips."""

    physics: str = "native"
    """Engine: native (MuJoCo on CPU threads), warp (MuJoCo Warp on a GPU), warp-cpu (the same on
    one CPU core, slow: for tests), auto (warp where there is a GPU, otherwise native)."""
    speeds: tuple[NonNegativeFloat, ...] = (
        0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.43, 0.46,
    )  # fmt: skip
    """Speeds of the built-in clips [m/s]; 0 stands. Only the built-in clips read this."""
    duration_s: PositiveFloat = 10.0
    """Length of each built-in clip [s]."""
    walk: WalkConfig = field(default_factory=_walk_in_harness)
    """Shape of the built-in clips' walk."""
    variants: VariantConfig = field(default_factory=partial(VariantConfig, align=False))
    """What is made of each clip; all variants of all clips are followed at once."""
    start_interval_s: NonNegativeFloat = 0.0
    """Follow every clip also from later frames, this far apart [s]; 0 from its first frame only."""
    forced: bool = False
    """Also set the robot to each clip's state before every step (teacher forcing): a diagnosis of
    what the clip asks of the floor. Of tier 2, which `segments.tiers` leaves out by default."""
    harness: SupportConfig = field(default_factory=SupportConfig)
    """Support of the root along the clip's height and orientation; caps of 0 give none."""
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    """Feedback that keeps the robot upright by its own joints."""
    tracked: SourceConfig = field(default_factory=SourceConfig)
    """The clips that the tracking policy follows."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """The policy that follows tracked clips without any support."""
    mining: MiningConfig = field(default_factory=MiningConfig)
    """Commands of policies whose own motion becomes reference."""
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    """How rollouts are cut into segments."""

    def __post_init__(self) -> None:
        check(self)
        if not self.speeds:
            raise UserError("reference.speeds is empty; allowed: one speed or more")

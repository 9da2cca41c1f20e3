"""wildrobot_torch.amp.style: one iteration after the other, and an exact resume."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from envs.layout import Field, Layout
from envs.task.starts import AT_HOME, UNDER_WAY
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.amp.style import StyleJudge
from wildrobot_torch.reference.curriculum import Curriculum
from wildrobot_torch.reference.dataset import ReferenceDataset

LAYOUT = Layout("amp", (Field("pose", 2, "rad", "-", ""),))
CONFIG = AMPConfig(
    hidden=(8,), window=4, features=("pose",), replay_insert=4, weight=0.5, schedule="auc",
    ramp_end=48, gate_low=0.0, gate_high=1.0,
)  # fmt: skip


def _curriculum() -> Curriculum:
    clips, length = ("a", "b", "c", "d", "e"), 20
    num = len(clips) * length
    dataset = ReferenceDataset(
        amp=torch.randn(num, 2) + 1.0,
        qpos=torch.zeros(num, 9),
        qvel=torch.zeros(num, 8),
        foot_force=torch.zeros(num, 2),
        support_wrench=torch.zeros(num, 6),
        segment_start=torch.arange(len(clips)) * length,
        segment_length=torch.full((len(clips),), length),
        segment_weight=torch.ones(len(clips)),
        segment_velocity=0.1 * torch.arange(len(clips)),
        segment_clip=clips,
        segment_tier=("0",) * len(clips),
        segment_support=("none",) * len(clips),
        ctrl_dt=0.02,
        amp_layout=LAYOUT,
        robot_digest="",
        manifest={},
    )
    return Curriculum(dataset, {"0": 0}, "reference", held_out=0.2)


def _judge(judge: StyleJudge, curriculum: Curriculum, iteration: int) -> tuple[Tensor, float, dict]:
    start = torch.full((6, 4, 1), UNDER_WAY)
    start[:, 0] = AT_HOME if iteration == 0 else UNDER_WAY
    amp = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(iteration))
    return judge.judge(
        amp,
        amp.roll(-1, 1),
        start,
        reference=curriculum.at(0),
        curriculum=curriculum,
        env_steps=24 * (iteration + 1),
        iteration=iteration,
    )


def test_the_reward_is_that_of_the_discriminator_before_its_update_and_its_weight_is_gated():
    curriculum, judge = _curriculum(), StyleJudge(MotionPrior(LAYOUT, CONFIG), LAYOUT)
    weights = []
    for iteration in range(3):
        disc = {name: x.clone() for name, x in judge.prior.discriminator.state_dict().items()}
        before = deepcopy(judge.prior)
        style, weight, metrics = _judge(judge, curriculum, iteration)
        weights.append(weight)
        if iteration == 0:
            # All begin at home, where they have stood.
            amp = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0))
            past = torch.cat([amp[:, :1], amp[:, :1], amp], dim=1).unfold(1, 3, 1).mT
            seen = torch.cat([past, amp.roll(-1, 1)[:, :, None]], dim=2)
            torch.testing.assert_close(style, before.style_reward(seen))
            assert not torch.equal(style, judge.prior.style_reward(seen))
        assert metrics["AMP/style_reward"] == style.mean().item()
        assert metrics["AMP/weight"] == weight
        assert 0.0 <= metrics["AMP/auc_held_out"] <= 1.0
        # Only the normaliser has moved: learning comes after.
        for name, value in judge.prior.discriminator.state_dict().items():
            assert torch.equal(value, disc[name]) == ("normalizer" not in name)
    # An open gate: 24 steps in each iteration, on a ramp of 48.
    assert weights == [0.0, 0.25, 0.5]


def test_a_restored_judge_goes_on_as_it_would_have():
    curriculum, judge = _curriculum(), StyleJudge(MotionPrior(LAYOUT, CONFIG), LAYOUT)
    _judge(judge, curriculum, 0)
    restored = StyleJudge(MotionPrior(LAYOUT, CONFIG), LAYOUT)
    restored.prior.load_state_dict(judge.prior.state_dict())
    restored.load_state_dict(judge.state_dict(), "cpu")
    found = []
    for one in (judge, restored):
        torch.manual_seed(5)
        style, weight, metrics = _judge(one, curriculum, 1)
        found.append((style.tolist(), weight, metrics, one.prior._fake.tolist()))
    assert found[0] == found[1]

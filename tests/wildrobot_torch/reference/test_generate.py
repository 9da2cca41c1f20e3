"""Generation with the real environment: what is kept is what the simulation did, and honest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.frames import projected_gravity, world_to_heading
from envs.task.support import SupportConfig
from wildrobot_torch.motion.augment import VariantConfig
from wildrobot_torch.motion.read.files import load_clip
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.follow.rollout import Rollout, Task, clip_env, follow
from wildrobot_torch.reference.follow.tracking import TrackingConfig
from wildrobot_torch.reference.generate import ReferenceConfig, generate, resolve
from wildrobot_torch.reference.judge.gates import GateResult, load_gates
from wildrobot_torch.reference.judge.segments import Search, SegmentConfig, Stretch
from wildrobot_torch.reference.report.comparison import clip_table, compare, summary

UNVARIED = VariantConfig(mirror=False, align=False)

GATES = load_gates(Path(__file__).parents[3] / "configs" / "gates.yaml")
SLACK = SupportConfig(force_cap=0.0, torque_cap=0.0)


@pytest.fixture(scope="module")
def walk(robot):
    return walking_clip(robot, 0.2, 3.0)


@pytest.fixture(scope="module")
def generation(robot, walk):
    """Standing and walking with the shipped settings."""
    clips = [standing_clip(robot, 1.5), walk]
    return generate(clips, robot, GATES, ReferenceConfig(variants=UNVARIED))


def test_standing_without_support_is_accepted_whole(robot):
    config = ReferenceConfig(variants=UNVARIED, harness=SLACK)
    stood = generate([standing_clip(robot, 2.0)], robot, GATES, config)
    assert stood.seconds() == pytest.approx(2.0)
    assert stood.dataset is not None
    assert stood.dataset.segment_tier == ("0+",)
    assert stood.dataset.segment_support == ("none",)
    assert abs(float(stood.dataset.segment_velocity[0])) < 0.01


def test_the_built_in_walk_is_accepted_within_the_gates(generation):
    dataset = generation.dataset
    assert dataset is not None
    assert generation.dataset.segment_length[1] > 100
    assert dataset.segment_tier[1] == "0+"
    assert dataset.segment_support[1] == "harness"
    assert float(dataset.segment_velocity[1]) > 0.1
    metrics = dataset.manifest["segments"][1]["metrics"]
    assert metrics["support_torque_p95"] <= 0.25
    assert metrics["support_force_p95"] <= 0.25
    assert 0.85 <= metrics["load_mean"] <= 1.15


def test_another_engine_makes_the_same_reference(robot, robot_model, walk):
    short = walk.frames(0, 61)
    configs = (
        ReferenceConfig(variants=UNVARIED, physics=physics) for physics in ("native", "warp-cpu")
    )
    made = [generate([short], robot, GATES, config) for config in configs]
    assert made[1].seconds() == pytest.approx(made[0].seconds(), abs=0.05)
    (_, native), (_, other) = (compare(each, robot_model, {}) for each in made)
    assert other.survival == native.survival == 1.0
    for name, close in {"velocity": 0.01, "load_mean": 0.02, "support_torque_p95": 0.03}.items():
        assert other.metrics[name] == pytest.approx(native.metrics[name], abs=close)


def test_forced_motion_is_a_diagnosis_and_becomes_reference_in_its_own_tier_alone(robot, walk):
    short = walk.frames(0, 61)
    config = ReferenceConfig(variants=UNVARIED, forced=True)
    made = generate([short], robot, GATES, config)
    assert [r.survival for r in made.rollouts["forced"]] == [1.0]
    assert {s["method"] for s in made.dataset.manifest["segments"]} == {"harness"}
    alone = generate([short], robot, GATES, replace(config, forced=False))
    told = [
        {k: v for k, v in each.dataset.manifest.items() if k != "config"} for each in (made, alone)
    ]
    assert told[0] == told[1], "the manifest tells what the robot did"
    everything = replace(config.segments, tiers=("2",))
    forced = generate([short], robot, GATES, replace(config, segments=everything)).dataset
    assert set(forced.segment_tier) == {"2"}


@pytest.mark.gpu
def test_a_gpu_makes_and_tracks_reference(robot, robot_model, walk):
    tracking = TrackingConfig(num_envs=8, env_steps=400)
    config = ReferenceConfig(variants=UNVARIED, physics="warp", tracking=tracking)
    made = generate([walk], robot, GATES, config, tracked=[standing_clip(robot, 1.5)])
    assert [row.survival for row in compare(made, robot_model, {})[1::2]] == [1.0, 1.0]
    assert made.dataset is not None
    assert not made.dataset.amp.is_cuda


def test_features_are_those_of_the_recorded_states(generation, robot):
    dataset = generation.dataset
    features = dataset.amp_layout.unpack(dataset.amp)
    quat, joints = dataset.qpos[:, 3:7], dataset.qpos[:, robot.joint_qpos_adr]
    assert torch.equal(features["joint_pos"], joints)
    assert torch.equal(features["joint_vel"], dataset.qvel[:, robot.joint_qvel_adr])
    assert torch.allclose(features["gravity"], projected_gravity(quat), atol=1e-6)
    linvel_h = world_to_heading(dataset.qvel[:, :3], quat)
    assert torch.allclose(features["linvel"], linvel_h, atol=1e-6)


def test_states_of_a_segment_follow_from_each_other(generation):
    # Root positions integrate the root velocities: one trajectory, no splice.
    dataset = generation.dataset
    for start, length in zip(dataset.segment_start, dataset.segment_length, strict=True):
        span = slice(int(start), int(start + length))
        moved = dataset.qpos[span, :3].diff(dim=0)
        expected = (dataset.qvel[span, :3][1:] + dataset.qvel[span, :3][:-1]) / 2 * dataset.ctrl_dt
        assert float((moved - expected).abs().max()) < 0.006


def test_the_same_inputs_make_the_same_bytes(generation, robot, walk, tmp_path):
    clips = [standing_clip(robot, 1.5), walk]
    again = generate(clips, robot, GATES, ReferenceConfig(variants=UNVARIED))
    generation.dataset.save(tmp_path / "a.npz")
    again.dataset.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = ReferenceDataset.load(tmp_path / "a.npz", generation.dataset.amp_layout, robot.digest)
    assert loaded.manifest["clips"][1]["name"] == walk.name
    assert len(loaded.manifest["clips"][1]["sha256"]) == 64


def test_the_manifest_accounts_for_every_second(generation, robot):
    dataset, manifest = generation.dataset, generation.dataset.manifest
    assert manifest["robot_digest"] == robot.digest
    assert manifest["amp_layout_digest"] == dataset.amp_layout.digest
    assert [s["tier"] for s in manifest["segments"]] == list(dataset.segment_tier)
    assert [s["support"] for s in manifest["segments"]] == list(dataset.segment_support)
    assert all(0.0 <= s["quality"] <= 1.0 for s in manifest["segments"])
    assert manifest["config"]["segments"]["tiers"] == ["0+", "0", "1"]
    for clip in manifest["clips"]:
        mine = [
            range(part["clip_frame"], part["clip_frame"] + part["frames"])
            for part in (*manifest["segments"], *manifest["rejected"])
            if part["clip"] == clip["name"]
        ]
        frames = sorted(frame for part in mine for frame in part)
        assert frames == list(range(1, round(clip["seconds"] / 0.02) + 1))
    accepted = sum(clip["seconds_accepted"] for clip in manifest["clips"])
    assert accepted == pytest.approx(generation.seconds())
    ratio = dataset.segment_weight.max() / dataset.segment_weight.min()
    assert 1.0 <= float(ratio) <= 3.0 + 1e-5


def test_a_robot_hung_in_its_harness_is_not_reference(robot, robot_model, walk):
    # The clip floats 10 cm up, and a harness strong enough to hold it there.
    floating = replace(walk, root_pos=walk.root_pos + np.array([0.0, 0.0, 0.1]))
    strong = SupportConfig(height_kp=2000.0, height_kd=100.0, force_cap=100.0, torque_cap=10.0)
    hung = generate([floating], robot, GATES, ReferenceConfig(variants=UNVARIED, harness=strong))
    assert hung.dataset is None
    assert hung.seconds() == 0.0
    assert {"load", "load_low", "unloaded", "harness_force"} <= hung.rejections.keys()
    assert sum(r.frames for r in hung.rejected) == 150
    assert hung.rejected[0].reason.startswith("load: load_mean 0")
    _, row = compare(hung, robot_model, {})
    assert row.metrics["load_mean"] < 0.2 and row.metrics["support_force_p95"] > 0.8


def test_a_robot_led_backwards_is_not_reference(robot, robot_model, walk):
    backwards = replace(
        walk,
        root_pos=walk.root_pos[::-1] * [-1, 1, 1],
        root_quat=walk.root_quat[::-1],
        joint_pos=walk.joint_pos[::-1],
    )
    backwards = replace(backwards, root_pos=backwards.root_pos * [-1, 1, 1])
    held = SupportConfig(torque_cap=10.0)
    led = generate([backwards], robot, GATES, ReferenceConfig(variants=UNVARIED, harness=held))
    assert compare(led, robot_model, {})[1].metrics["velocity"] < 0.0
    assert led.seconds() == 0.0
    assert "forward" in led.rejections


def test_recording_ends_before_a_fall(robot):
    stand = standing_clip(robot, 2.0)
    tilt = np.array([np.cos(0.25), 0.0, np.sin(0.25), 0.0])  # 0.5 rad nose down: nothing holds it
    leaning = replace(stand, root_quat=np.tile(tilt, (stand.num_frames, 1)))
    config = ReferenceConfig(variants=UNVARIED, harness=SLACK)
    fell = generate([leaning, stand], robot, GATES, config)
    leant, stood = fell.rollouts["harness"]
    assert leant.survival < 0.5
    assert stood.survival == 1.0
    assert all(rollout is stood for rollout, _ in fell.kept)


def test_what_the_robot_reports_of_the_harness_is_within_its_caps(robot_model, robot, walk):
    config = ReferenceConfig()
    env = clip_env(1, support=config.harness)
    frames = follow(env, [Task(walk, 0)], robot_model, config.balance)[0].recording
    force = frames.support_force(robot) * robot.weight
    torque = frames.support_torque(robot) * robot.weight * frames.com_height
    assert float(force.max()) <= config.harness.force_cap + 1e-4
    assert 0.0 < float(torque.max()) <= config.harness.torque_cap + 1e-4


def test_starting_late_follows_the_clip_from_there(robot, walk):
    config = ReferenceConfig(variants=UNVARIED, start_interval_s=1.0, harness=SLACK)
    late = generate([walk], robot, GATES, config)
    once = generate([walk], robot, GATES, replace(config, start_interval_s=0.0))
    assert [r.task.first_frame for r in late.rollouts["harness"]] == [0, 50, 100]
    assert len(once.rollouts["harness"]) == 1


def test_a_captured_walk_passes_the_gates(robot, robot_model, cmu_folder):
    clip = load_clip(cmu_folder / "69_walk_forward_02.amc", robot)
    walked = generate([clip], robot, GATES, ReferenceConfig(variants=UNVARIED))
    assert walked.seconds() > 1.0
    _, row = compare(walked, robot_model, {})
    assert row.survival == 1.0
    assert row.metrics["support_torque_p95"] <= 0.25


def test_no_frame_of_a_clip_is_kept_twice(walking, toy_robot, robot, walk):
    def rollout(start: int) -> Rollout:
        frames = walking(150 - start)
        return Rollout(Task(walk, start), frames, "tracker")

    def found(*spans: tuple[int, int]) -> Search:
        return Search((), tuple(Stretch(a, b, GateResult({}, (), (), "0+")) for a, b in spans))

    gates = [gate for gate in GATES if gate.name == "pitch"]
    rollouts = [rollout(0), rollout(50), rollout(100)]
    # Clip frames: 0..59; 50..139 (the longest, first); 100..149, of which 140..149 is too short.
    searches = [found((0, 60)), found((0, 90)), found((0, 50))]
    kept = resolve(rollouts, searches, toy_robot, gates, SegmentConfig())
    spans = [(r.task.first_frame + s.start, r.task.first_frame + s.stop) for r, s in kept]
    assert spans == [(50, 140), (0, 50)]
    assert all(segment.verdict.accepted for _, segment in kept)


def test_the_report_names_every_clip(generation, robot_model):
    rows = compare(generation, robot_model, {})[1::2]
    table = clip_table(rows)
    for row, entry in zip(rows, generation.dataset.manifest["clips"], strict=True):
        assert f"| {row.clip} | harness | {row.seconds('0+'):.2f} |" in table
        assert row.seconds("0+", "0", "1") == pytest.approx(entry["seconds_accepted"])
    assert f"accepted {generation.seconds():.1f} s of 4.5 s" in summary(generation)


def test_clips_that_cannot_be_judged_are_refused(robot, walk):
    with pytest.raises(ValueError, match="no clips"):
        generate([], robot, GATES, ReferenceConfig())
    with pytest.raises(ValueError, match="has 15 frames at the control rate; at least 21"):
        generate([walk.frames(0, 15)], robot, GATES, ReferenceConfig(variants=UNVARIED))


@pytest.mark.parametrize(
    "settings",
    [{"speeds": ()}, {"speeds": (-0.1,)}, {"duration_s": 0.0}, {"start_interval_s": -0.1}],
)
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        ReferenceConfig(**settings)

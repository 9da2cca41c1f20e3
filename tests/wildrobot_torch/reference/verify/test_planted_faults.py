"""Faults of a pipeline, planted in a good dataset: each must be found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from envs.frames import quat_rotate, quat_rotate_inverse
from envs.robot.model import RobotModel
from envs.task.support import SupportConfig
from wildrobot_torch.motion.augment import VariantConfig
from wildrobot_torch.motion.synthesis.walk import walking_clip
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.generate import ReferenceConfig, generate
from wildrobot_torch.reference.judge.gates import Gate
from wildrobot_torch.reference.verify.contacts import contacts, support
from wildrobot_torch.reference.verify.dynamics import redone
from wildrobot_torch.reference.verify.features import assembly
from wildrobot_torch.reference.verify.finding import FAIL, Finding
from wildrobot_torch.reference.verify.kinematics import consistency, floor, posture
from wildrobot_torch.reference.verify.subject import Subject

UNVARIED = VariantConfig(mirror=False, align=False)

States = tuple[Tensor, Tensor]
OTHER_LEG = [4, 5, 6, 7, 0, 1, 2, 3]
INTERLEAVED = [0, 4, 1, 5, 2, 6, 3, 7]


def failures(findings: list[Finding]) -> str:
    return "\n".join(f"{f.test} {f.name}" for f in findings if f.status == FAIL)


def physics(subject: Subject) -> list[Finding]:
    """The tests that judge the states, with few stretches."""
    return [*consistency(subject), *floor(subject), *posture(subject), *redone(subject, 3)]


def joints_in_order(order: list[int]) -> Callable[[Tensor, Tensor], States]:
    def spoil(qpos: Tensor, qvel: Tensor) -> States:
        qpos[:, 7:], qvel[:, 6:] = qpos[:, 7:][:, order], qvel[:, 6:][:, order]
        return qpos, qvel

    return spoil


def joint_differences(central: bool) -> Callable[[Tensor, Tensor], States]:
    def spoil(qpos: Tensor, qvel: Tensor) -> States:
        # Across cuts this is nonsense, in frames next to a cut only.
        behind = (qpos[:, 7:] - qpos[:, 7:].roll(1, 0)) / 0.02
        qvel[:, 6:] = 0.5 * (behind + behind.roll(-1, 0)) if central else behind
        return qpos, qvel

    return spoil


def averaged(qpos: Tensor, qvel: Tensor) -> States:
    return qpos, 0.5 * (qvel + qvel.roll(1, 0))


def linear_in_body(qpos: Tensor, qvel: Tensor) -> States:
    qvel[:, :3] = quat_rotate_inverse(qpos[:, 3:7], qvel[:, :3])
    return qpos, qvel


def angular_in_world(qpos: Tensor, qvel: Tensor) -> States:
    qvel[:, 3:6] = quat_rotate(qpos[:, 3:7], qvel[:, 3:6])
    return qpos, qvel


def angular_body_taken_as_world(qpos: Tensor, qvel: Tensor) -> States:
    qvel[:, 3:6] = quat_rotate_inverse(qpos[:, 3:7], qvel[:, 3:6])
    return qpos, qvel


def higher(by: float) -> Callable[[Tensor, Tensor], States]:
    def spoil(qpos: Tensor, qvel: Tensor) -> States:
        qpos[:, 2] += by
        return qpos, qvel

    return spoil


def dragged_backwards(qpos: Tensor, qvel: Tensor) -> States:
    qpos[:, 0] *= -1.0
    qvel[:, 0] *= -1.0
    return qpos, qvel


def xyzw_read_as_wxyz(qpos: Tensor, qvel: Tensor) -> States:
    qpos[:, 3:7] = qpos[:, [4, 5, 6, 3]]
    return qpos, qvel


def test_a_good_dataset_has_no_failure(subject):
    found = [*assembly(subject), *physics(subject), *contacts(subject), *support(subject)]
    assert failures(found) == ""


@pytest.mark.parametrize(
    ("spoil", "found_by"),
    [
        (joints_in_order(OTHER_LEG), ["joint beyond its range", "steps redone"]),
        (joints_in_order(INTERLEAVED), ["joint beyond its range", "steps redone"]),
        (joint_differences(central=False), ["joint velocities: distance", "steps redone"]),
        (joint_differences(central=True), ["joint velocities: distance"]),
        (averaged, ["frame's shift", "steps redone"]),
        (linear_in_body, ["distance covered", "root linear velocity: misfit"]),
        (angular_in_world, ["root angular velocity: misfit"]),
        (angular_body_taken_as_world, ["root angular velocity: misfit"]),
        (higher(0.02), ["sole on the floor", "highest segment", "steps redone"]),
        (higher(0.005), ["sole on the floor", "highest segment", "steps redone"]),
        (higher(-0.02), ["deepest sole point", "steps redone"]),
        (dragged_backwards, ["distance walked ahead", "loaded soles faster", "steps redone"]),
        (xyzw_read_as_wxyz, ["distance walked ahead", "loaded soles faster", "steps redone"]),
    ],
)  # fmt: skip
def test_faulty_states_with_their_own_features_are_found(spoil, found_by, spoiled):
    found = failures(physics(spoiled(spoil)))
    assert [name for name in found_by if name not in found] == []


@pytest.mark.parametrize(
    ("spoil", "block"),
    [
        (joints_in_order(OTHER_LEG), "joint_pos"),
        (joint_differences(central=True), "joint_vel"),
        (linear_in_body, "linvel"),
        (angular_in_world, "angvel"),
        (xyzw_read_as_wxyz, "gravity"),
    ],
)
def test_faulty_features_of_good_states_are_found_twice(spoil, block, good, spoiled, timed):
    wrong = replace(good, amp=spoiled(spoil).dataset.amp)
    found = failures(assembly(Subject(wrong, timed)))
    assert f"{block}, by the environment" in found
    assert f"{block}, by hand" in found


@pytest.fixture(scope="module")
def with_forces(subject, good):
    """The good dataset with forces as a recorder would store them."""

    def make(foot_force: Tensor, wrench: Tensor | None = None) -> ReferenceDataset:
        wrench = torch.zeros(good.num_frames, 6) if wrench is None else wrench
        return replace(good, foot_force=foot_force, support_wrench=wrench)

    return make


def test_mirrored_contacts_are_found(with_forces, subject, timed):
    force = subject.forward.foot_force[:, 0]
    assert failures(contacts(Subject(with_forces(force), timed))) == ""
    found = failures(contacts(Subject(with_forces(force.flip(-1)), timed)))
    assert "loaded foot is the lower one" in found
    assert "loaded soles that are on the floor" in found


def test_mirrored_contact_rates_of_a_limping_robot_are_found(good, timed):
    manifest = {**good.manifest, "segments": []}
    limping = Subject(good, timed)
    for _, frames in limping.segments():
        left, right = (float(x) for x in limping.standing(frames)[:, 0].float().mean(0))
        manifest["segments"].append({"metrics": {"stance_left": right, "stance_right": left}})
    lopsided = replace(good, manifest=manifest)
    differ = [
        abs(row["metrics"]["stance_left"] - row["metrics"]["stance_right"])
        for row in manifest["segments"]
    ]
    assert max(differ) > 0.02, "the walk happens to be even; choose another"
    assert "contact rates of the manifest" in failures(contacts(Subject(lopsided, timed)))


def test_recorded_forces_show_a_hanging_robot_and_a_false_label(with_forces, good, timed):
    nothing = torch.zeros(good.num_frames, 2)
    wrench = torch.zeros(good.num_frames, 6)
    wrench[:, 2] = timed.robot.weight
    hanging = with_forces(nothing, wrench)
    found = failures(support(Subject(hanging, timed)))
    assert "recorded weight on the feet" in found
    assert "recorded support, 95th percentile" in found
    alone = replace(hanging, segment_support=("none",) * good.num_segments)
    assert "recorded support of frames labelled none" in failures(support(Subject(alone, timed)))


def test_a_harness_passed_off_as_none_is_found(good, timed):
    alone = replace(good, segment_support=("none",) * good.num_segments)
    moving = replace(alone, segment_clip=good.segment_clip)
    found = failures([*redone(Subject(moving, timed), 3), *support(Subject(moving, timed))])
    assert "steps redone by the servos alone" in found
    assert "support of segments labelled none" in found


def test_a_robot_that_hangs_in_a_strong_harness_is_found(timed: RobotModel):
    strong = SupportConfig(height_kp=2000.0, height_kd=100.0, force_cap=60.0, torque_cap=8.0)
    walk = walking_clip(timed.robot, 0.3, 1.6)
    root = walk.root_pos.copy()
    root[:, 2] += 0.02
    finite = Gate(name="finite", metric="froude", unit="1", meaning="any", min=-9.0)
    made = generate(
        [replace(walk, root_pos=root)], timed.robot, [finite],
        ReferenceConfig(variants=UNVARIED, harness=strong),
    ).dataset  # fmt: skip
    assert made is not None
    subject = Subject(made, timed)
    found = failures([*floor(subject), *support(subject)])
    assert "sole on the floor" in found
    assert "load_mean" in found
    assert "recorded support, 95th percentile" in found
    # Without its record the support is missing from the motion.
    hidden = replace(made, support_wrench=torch.zeros_like(made.support_wrench))
    assert "steps redone" in failures(redone(Subject(hidden, timed), 3))

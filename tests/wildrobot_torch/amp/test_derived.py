"""wildrobot_torch.amp.derived: values by hand, and the speed of soles against the engine's."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
import torch
from torch import Tensor

from envs.frames import quat_from_euler
from envs.layout import Field, Layout
from envs.measurements import measure
from envs.physics.base import PhysicsState
from envs.physics.native import NativePhysics
from envs.robot.model import RobotModel
from envs.robot.symmetry import MIRRORS
from envs.task.features import amp_layout, style_features
from wildrobot_torch.amp.derived import DERIVED, Derivation

FRAME = Layout("amp", tuple(
    Field(name, size, "1", "-", "") for name, size in
    {"gravity": 3, "linvel": 3, "angvel": 3, "sole_pos": 6, "height": 1}.items()
))  # fmt: skip
STANDING = {
    "gravity": [0.0, 0.0, -1.0], "linvel": [0.0] * 3, "angvel": [0.0] * 3,
    "sole_pos": [0.0, 0.1, -0.45, 0.0, -0.1, -0.45], "height": [0.45],
}  # fmt: skip


def derived(name: str, *frames: dict[str, list[float]], dt: float = 0.02) -> Tensor:
    """Values (K, m) of a window of frames that differ from standing in what is given."""
    packed = [
        FRAME.pack(**{key: torch.tensor((STANDING | frame)[key]) for key in STANDING})
        for frame in frames
    ]
    got = Derivation.of(FRAME, ["linvel", name], dt)(torch.stack(packed)[None])
    assert torch.equal(got[0, :, : FRAME.size], torch.stack(packed))
    return got[0, :, FRAME.size :]


def test_a_direction_has_no_speed() -> None:
    speeds = [[0.3, 0.4, 0.0], [0.06, 0.0, 0.08], [0.03, 0.04, 0.08], [0.0, 0.0, 0.0]]
    got = derived("linvel_direction", *({"linvel": speed} for speed in speeds))
    # Of 0.5 and 0.1 m/s; slower ones have none.
    torch.testing.assert_close(got[:2], torch.tensor([[0.6, 0.8, 0.0], [0.6, 0.0, 0.8]]))
    assert not got[2:].any()


def test_a_clipped_velocity_keeps_what_is_within() -> None:
    got = derived("linvel_clipped", {"linvel": [0.3, -0.4, 0.1]}, {"linvel": [2.0, -9.0, 1.5]})
    torch.testing.assert_close(got, torch.tensor([[0.3, -0.4, 0.1], [1.5, -1.5, 1.5]]))


def test_feet_have_a_height_and_a_rate_of_it() -> None:
    """The left foot rises by 1 cm and then by 2 cm in 20 ms each; the right one stays."""
    rise = [
        {"height": [0.45], "sole_pos": [0.0, 0.1, -0.45, 0.0, -0.1, -0.45]},
        {"height": [0.46], "sole_pos": [0.0, 0.1, -0.45, 0.0, -0.1, -0.46]},
        {"height": [0.46], "sole_pos": [0.0, 0.1, -0.43, 0.0, -0.1, -0.46]},
    ]
    height = torch.tensor([[0.0, 0.0], [0.01, 0.0], [0.03, 0.0]])
    torch.testing.assert_close(derived("foot_height", *rise), height, atol=1e-6, rtol=0.0)
    speed = torch.tensor([[0.5, 0.0], [0.5, 0.0], [1.0, 0.0]])  # the first has the second's
    torch.testing.assert_close(derived("foot_vel_z", *rise), speed, atol=1e-5, rtol=0.0)


def test_a_foot_that_stays_on_the_floor_under_a_moving_root_is_still() -> None:
    """In 20 ms a root at 0.5 m/s moves by 1 cm, which its left foot stays behind."""
    moving = {"linvel": [0.5, 0.0, 0.0]}
    behind = moving | {"sole_pos": [-0.01, 0.1, -0.45, 0.0, -0.1, -0.45]}
    got = derived("foot_speed_near_ground", moving, behind)
    torch.testing.assert_close(got[1], torch.tensor([0.0, 0.5]), atol=1e-6, rtol=0.0)


def test_a_root_that_turns_in_place_carries_its_feet_along() -> None:
    """2 rad/s at 10 cm."""
    turning = {"angvel": [0.0, 0.0, 2.0]}
    got = derived("foot_speed_near_ground", turning, turning)
    torch.testing.assert_close(got, torch.full((2, 2), 0.2), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize(("height", "share"), [(-0.001, 1.0), (0.02, math.exp(-1)), (0.2, 0.0)])
def test_the_speed_of_a_foot_counts_near_the_floor(height: float, share: float) -> None:
    lifted = {"height": [0.45 + height], "linvel": [0.5, 0.0, 0.0]}
    got = derived("foot_speed_near_ground", lifted, lifted)
    torch.testing.assert_close(got, torch.full((2, 2), 0.5 * share), atol=1e-5, rtol=0.0)


def test_speeds_of_soles_are_those_of_the_engine(robot_model: RobotModel) -> None:
    """Robots that lean up to 0.1 rad and move at random, at two instants 0.1 ms apart."""
    robot, model, num, dt = robot_model.robot, robot_model.model, 32, 1e-4
    qpos = robot.home_qpos.repeat(num, 1)
    qpos[:, 3:7] = quat_from_euler(
        0.05 * torch.randn(num), 0.05 * torch.randn(num), 2.0 * torch.randn(num)
    )
    qpos[:, robot.joint_qpos_adr] += 0.1 * torch.randn(num, 8)
    qvel = torch.randn(num, model.nv)
    later = qpos.double().numpy().copy()
    for position, velocity in zip(later, qvel.double().numpy(), strict=True):
        mujoco.mj_integratePos(model, position, np.ascontiguousarray(velocity), dt)

    def simulated(positions: Tensor) -> PhysicsState:
        engine = NativePhysics(model, num)
        everyone = torch.ones(num, dtype=torch.bool)
        engine.reset(everyone, positions, qvel, robot.joint_home.repeat(num, 1))
        return engine.state()

    instants = [measure(simulated(q), robot) for q in (qpos, torch.from_numpy(later).float())]
    windows = torch.stack([style_features(m, robot) for m in instants], dim=1)
    derive = Derivation.of(amp_layout(robot), tuple(DERIVED), dt)
    got = derive.layout.unpack(derive(windows))
    true = instants[1].sole_linvel_w
    # float32 positions are good to some 1e-7 m, which is 1e-3 m/s in 0.1 ms.
    torch.testing.assert_close(got["foot_vel_z"][:, 1], true[..., 2], atol=0.01, rtol=0.0)
    height = instants[1].sole_pos_w[..., 2]
    torch.testing.assert_close(got["foot_height"][:, 1], height, atol=1e-6, rtol=0.0)
    near = torch.exp(-(height.clamp(min=0.0) / 0.02).square())
    speed = true[..., :2].norm(dim=-1) * near
    assert speed.max() > 0.3
    torch.testing.assert_close(
        got["foot_speed_near_ground"][:, 1], speed, atol=0.03, rtol=0.0
    )  # fmt: skip


def test_fields_that_nobody_names_cost_nothing() -> None:
    windows = torch.randn(3, 2, FRAME.size)
    assert Derivation.of(FRAME, ["gravity", "height"], 0.02)(windows) is windows


def test_each_field_says_what_a_mirrored_robot_has() -> None:
    for name, entry in DERIVED.items():
        assert entry.field.name == name and entry.field.meaning and entry.field.mirror in MIRRORS

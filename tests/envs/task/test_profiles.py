"""Tests of envs.task.profiles: moves by hand, limits by differences, and the runtime's moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from envs.errors import UserError
from envs.task.profiles import ControlCommand, MotionLimits, VelocityProfile, move, move_time
from wildrobot_torch.deploy.runtime import profiles as runtime

SMOOTH = [VelocityProfile.LINEAR, VelocityProfile.TRAPEZOIDAL, VelocityProfile.S_CURVE]


def _at(end: float, times: list[float], profile: VelocityProfile, **limits: float):
    position, velocity = move(
        torch.zeros(1, dtype=torch.float64),
        ControlCommand(torch.tensor([end], dtype=torch.float64)),
        torch.tensor(times, dtype=torch.float64),
        profile,
        MotionLimits(**limits),
    )
    return position[:, 0].tolist(), velocity[:, 0].tolist()


def test_step_is_at_the_end_at_once() -> None:
    position, _ = _at(-0.4, [0.0, 1e-9, 1.0], VelocityProfile.STEP)
    assert position == [0.0, -0.4, -0.4]


def test_linear_by_hand() -> None:
    # 1 rad at 2 rad/s: half a second.
    position, velocity = _at(1.0, [0.1, 0.25, 0.49, 0.5], VelocityProfile.LINEAR, speed=2.0)
    assert position == pytest.approx([0.2, 0.5, 0.98, 1.0])
    assert velocity == pytest.approx([2.0, 2.0, 2.0, 0.0])


def test_trapezoidal_by_hand() -> None:
    # 1 rad/s is reached after 0.5 s and 0.25 rad; 0.5 rad at full speed; 0.25 rad to stop.
    position, velocity = _at(
        -1.0, [0.25, 0.5, 1.0, 1.25, 1.5], VelocityProfile.TRAPEZOIDAL, speed=1.0, acceleration=2.0
    )
    assert position == pytest.approx([-0.0625, -0.25, -0.75, -0.9375, -1.0])
    assert velocity == pytest.approx([-0.5, -1.0, -1.0, -0.5, 0.0])


def test_s_curve_by_hand() -> None:
    # Jerk 4 for 0.5 s makes 2 rad/s^2 and 0.5 rad/s; as long again downwards makes 1 rad/s, after
    # 4 * 0.5^3 / 6 = 1/12 rad and 0.5 rad altogether. 2 rad are 0.5 + 1 + 0.5: 1 s at full speed.
    limits = {"speed": 1.0, "acceleration": 2.0, "jerk": 4.0}
    position, velocity = _at(2.0, [0.5, 1.0, 2.0, 2.5, 3.0], VelocityProfile.S_CURVE, **limits)
    assert position == pytest.approx([1 / 12, 0.5, 1.5, 2.0 - 1 / 12, 2.0])
    assert velocity == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("profile", SMOOTH)
@pytest.mark.parametrize("distance", [1e-4, 0.02, 0.3, 3.0])
def test_limits_hold_and_the_end_is_reached(profile: VelocityProfile, distance: float) -> None:
    limits = MotionLimits(speed=2.0, acceleration=15.0, jerk=300.0)
    needed = float(move_time(torch.tensor([distance], dtype=torch.float64), profile, limits)[0])
    time = torch.linspace(0.0, needed, 4001, dtype=torch.float64)
    start, end = torch.zeros(1).double(), torch.tensor([distance], dtype=torch.float64)
    position, velocity = move(start, ControlCommand(end), time, profile, limits)
    x, dt = position[:, 0], needed / 4000
    speed = x.diff() / dt
    assert torch.allclose(speed, (velocity[1:, 0] + velocity[:-1, 0]) / 2, atol=0.02) or (
        profile is VelocityProfile.LINEAR
    )
    assert speed.max() <= 2.0 * (1 + 1e-6) and speed.min() >= -1e-9
    assert x[-1] == distance and abs(float(x[-2]) - distance) < 2.0 * dt + 1e-12
    if profile is not VelocityProfile.LINEAR:
        assert (speed.diff() / dt).abs().max() <= 15.0 * 1.01
    if profile is VelocityProfile.S_CURVE:
        assert (speed.diff().diff() / dt**2).abs().max() <= 300.0 * 1.05
    if distance == 3.0:  # far enough for the largest speed, which the shortest move reaches
        assert speed.max() == pytest.approx(2.0, rel=1e-3)


def test_joints_arrive_together_and_a_longer_duration_is_kept() -> None:
    start, end = torch.zeros(3).double(), torch.tensor([1.0, -0.1, 0.0]).double()
    time = torch.tensor([1.9, 2.0]).double()
    command = ControlCommand(end, velocity=torch.ones(3).double(), duration=2.0)
    position, velocity = move(start, command, time, VelocityProfile.S_CURVE, MotionLimits())
    assert 0.0 < 1.0 - float(position[0, 0]) < 0.05
    assert float(position[0, 1]) < -0.09 and float(position[0, 2]) == 0.0
    assert position[1].tolist() == end.tolist()
    assert velocity[1].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("profile", list(VelocityProfile))
def test_the_runtime_moves_alike(profile: VelocityProfile) -> None:
    random = np.random.default_rng(0)
    for trial in range(40):
        scale = 10.0 ** random.uniform(-6, 1)
        start, end = random.uniform(-1, 1, (2, 8)) * scale
        end[trial % 8] = start[trial % 8]
        limits = dict(zip(
            ("speed", "acceleration", "jerk"), 10.0 ** random.uniform(-1, 4, 3), strict=True
        ))  # fmt: skip
        duration = float(random.choice([0.0, 0.5, 20.0]))
        own = runtime.Move(
            start, runtime.ControlCommand(end, duration=duration), profile.value,
            runtime.MotionLimits(**limits),
        )  # fmt: skip
        times = np.linspace(-0.1, 1.2, 40) * max(own.duration, 0.1)
        position, velocity = move(
            torch.tensor(start), ControlCommand(torch.tensor(end), duration=duration),
            torch.tensor(times), profile, MotionLimits(**limits),
        )  # fmt: skip
        for k, time in enumerate(times):
            if abs(time) < 1e-9 or abs(time - own.duration) < 1e-9 * own.duration:
                continue
            there, speed = own.at(time)
            assert np.allclose(there, position[k].numpy(), rtol=0, atol=1e-6)
            assert np.allclose(speed, velocity[k].numpy(), rtol=1e-5, atol=1e-6 * limits["speed"])


def test_refuses_what_is_no_move() -> None:
    zeros = torch.zeros(2)
    with pytest.raises(UserError, match="one position for each joint"):
        move(zeros, ControlCommand(torch.zeros(3)), zeros, SMOOTH[0], MotionLimits())
    with pytest.raises(UserError, match="finite"):
        move(zeros, ControlCommand(zeros + torch.nan), zeros, SMOOTH[0], MotionLimits())
    with pytest.raises(UserError, match="jerk"):
        MotionLimits(jerk=0.0)
    with pytest.raises(UserError, match="speed of a move is nan"):
        runtime.MotionLimits(speed=float("nan"))
    with pytest.raises(UserError, match="allowed: step"):
        runtime.Move(np.zeros(2), runtime.ControlCommand(np.zeros(2)), "jump")
    with pytest.raises(UserError, match="duration"):
        runtime.Move(np.zeros(2), runtime.ControlCommand(np.zeros(2), duration=-1.0))

"""What sensors say, against hand-worked numbers; a control step is 20 ms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from envs.reality.sensors import SensorDraws, SensorState, imu_values, in_turned_frame, read_sensors

CALM = 0.5
"""The random number of no noise."""


def rig(
    joints: int = 1,
    phase: float = 0.0,
    stuck: bool = False,
    position: float = 0.0,
    num: int = 1,
) -> SensorState:
    """Sensors of robots that stand upright at rest."""
    return SensorState.at(
        upright(num),
        torch.full((num, joints), position),
        depth=12,
        phase=torch.full((num, joints), phase),
        stuck=torch.full((num, 1), stuck),
    )


def upright(num: int = 1, rate: float = 0.0, heading: float = 0.0) -> Tensor:
    """A perfect IMU's values (num, 7) of an upright body that turns about z."""
    gravity = torch.tensor([[0.0, 0.0, -1.0]]).repeat(num, 1)
    angvel = torch.tensor([[0.0, 0.0, rate]]).repeat(num, 1)
    return imu_values(gravity, angvel, torch.full((num,), heading))


def read(
    state: SensorState,
    imu: Tensor | None = None,
    encoder: float = 0.0,
    force: float = 0.0,
    *,
    stale: float = CALM,
    loss: float = CALM,
    noise: Tensor | None = None,
    joint_draws: Tensor | None = None,
    factor: float | None = None,
    count: float = 0.0,
    **drawn: float | list[float],
) -> SensorState:
    num, joints = state.joint_pos.shape
    terms = {name: torch.tensor([value]).reshape(1, -1).repeat(num, 1)
             for name, value in drawn.items()}  # fmt: skip
    calm = torch.full((num, joints), CALM)
    return read_sensors(
        state,
        upright(num) if imu is None else imu,
        torch.full((num, joints), encoder),
        torch.full((num, 1), force),
        terms,
        SensorDraws(
            imu_stale=torch.full((num,), stale),
            noise=torch.full((num, 8), CALM) if noise is None else noise,
            joint_loss=torch.full((num, joints), loss),
            joint_noise=calm if joint_draws is None else joint_draws,
        ),
        None if factor is None else torch.full((num,), factor),
        count=count,
        switch_threshold=2.0,
        ctrl_dt=0.02,
    )


def ramp(steps: int, speed: float, state: SensorState, **settings: object) -> list[SensorState]:
    """Readings while each joint moves at a constant speed from 0 [rad/s]."""
    seen = []
    for step in range(1, steps + 1):
        state = read(state, encoder=speed * 0.02 * step, **settings)
        seen.append(state)
    return seen


# Joints


def test_perfect_encoders_say_position_and_speed() -> None:
    for step, state in enumerate(ramp(5, 2.0, rig()), 1):
        assert state.joint_pos.item() == pytest.approx(0.04 * step, abs=1e-6)
        assert state.joint_vel.item() == pytest.approx(2.0, abs=1e-4)


def test_counts_make_the_speed_coarse() -> None:
    """0.014 and 0.028 rad are 1 and 3 counts of 0.01 rad: 1 rad/s in the second step."""
    first, second = ramp(2, 0.7, rig(), count=0.01)
    assert first.joint_pos.item() == pytest.approx(0.01)
    assert second.joint_pos.item() == pytest.approx(0.03)
    assert second.joint_vel.item() == pytest.approx(1.0, abs=1e-4)


def test_a_zero_error_is_not_shown() -> None:
    """A joint at 0.3 rad whose zero is off by 0.05 reads 0.25."""
    assert read(rig(), encoder=0.3, zero_error=0.05).joint_pos.item() == pytest.approx(0.25)


def test_old_readings_lag_and_their_speed_is_right() -> None:
    """30 ms at 2 rad/s are 0.06 rad."""
    last = ramp(6, 2.0, rig(), joint_age=30.0)[-1]
    assert last.joint_pos.item() == pytest.approx(0.24 - 0.06, abs=1e-5)
    assert last.joint_vel.item() == pytest.approx(2.0, abs=1e-3)


def test_a_reading_holds_until_the_next_one_is_due() -> None:
    """Every 30 ms, the last one 10 ms before the start: due at 20, 50, 80 and 110 ms."""
    seen = ramp(6, 1.0, rig(phase=0.01), joint_period=30.0)
    due = [0.02, 0.02, 0.05, 0.08, 0.08, 0.11]
    assert [s.joint_pos.item() for s in seen] == pytest.approx(due, abs=1e-5)
    # The speed is that between two readings, which lie 30 ms apart.
    assert [s.joint_vel.item() for s in seen[2:]] == pytest.approx([1.0] * 4, abs=1e-3)


@pytest.mark.parametrize("period", [20.0, 40.0, 60.0])
def test_a_reading_that_is_due_at_a_step_is_fresh(period: float) -> None:
    """Whole steps, in which rounding must not count: no reading is a period late."""
    for phase in torch.linspace(0.0, period / 1000.0, 7)[:-1].tolist():
        seen = ramp(50, 1.0, rig(phase=phase), joint_period=period)
        for step, state in enumerate(seen, 1):
            if step * 0.02 > 2 * period / 1000.0:
                lag = step * 0.02 - state.joint_pos.item()
                assert -1e-4 <= lag < period / 1000.0
                assert state.joint_vel.item() == pytest.approx(1.0, abs=0.01)


def test_a_bus_faster_than_the_controller_gives_its_last_reading() -> None:
    """Every 8 ms from 0: the last of the first 20 ms was due at 16 ms, of the next at 40 ms."""
    seen = ramp(2, 1.0, rig(), joint_period=8.0)
    assert [s.joint_pos.item() for s in seen] == pytest.approx([0.016, 0.04], abs=1e-5)


def test_a_lost_reading_is_not_repeated_and_the_next_speed_spans_both() -> None:
    """Readings each step; the second is lost, the third is 40 ms after the first."""
    first = read(rig(), encoder=0.02, joint_loss=0.1)
    lost = read(first, encoder=0.04, loss=0.05, joint_loss=0.1)
    assert lost.joint_pos.item() == pytest.approx(0.02)
    third = read(lost, encoder=0.10, joint_loss=0.1)
    assert third.joint_pos.item() == pytest.approx(0.10)
    assert third.joint_vel.item() == pytest.approx(0.08 / 0.04, abs=1e-4)


def test_joint_noise_has_its_size() -> None:
    draws = torch.rand(4000, 1, generator=torch.Generator().manual_seed(0))
    for factor, size in ((None, 0.01), (3.0, 0.03)):
        state = read(rig(num=4000), encoder=0.5, joint_draws=draws, factor=factor, joint_noise=0.01)
        assert state.joint_pos.std().item() == pytest.approx(size, rel=0.05)
        assert state.joint_pos.mean().item() == pytest.approx(0.5, abs=0.002)


# IMU


@pytest.mark.parametrize(
    ("turn", "gravity"),
    [
        ([0.1, 0.0, 0.0], [0.0, -math.sin(0.1), -math.cos(0.1)]),  # right side down: to the right
        ([0.0, 0.1, 0.0], [math.sin(0.1), 0.0, -math.cos(0.1)]),  # nose down: forwards
        ([0.0, 0.0, 0.1], [0.0, 0.0, -1.0]),
    ],
)
def test_a_tilted_imu_sees_gravity_tilted(turn: list[float], gravity: list[float]) -> None:
    state = read(rig(), imu_tilt=turn)
    assert state.gravity[0].tolist() == pytest.approx(gravity, abs=1e-6)


def test_a_tilted_imu_sees_rates_tilted() -> None:
    """A body that yaws at 1 rad/s rolls by -sin(0.1) for an IMU with its nose down."""
    state = read(rig(), upright(rate=1.0), imu_tilt=[0.0, 0.1, 0.0])
    assert state.angvel[0].tolist() == pytest.approx([-math.sin(0.1), 0.0, math.cos(0.1)], abs=1e-6)


def test_rotation_keeps_length() -> None:
    vector = torch.randn(10, 3)
    turned = in_turned_frame(vector, torch.randn(10, 3))
    assert torch.allclose(turned.norm(dim=-1), vector.norm(dim=-1), atol=1e-5)


def test_an_old_report_lags_and_headings_are_not_wrapped_in_between() -> None:
    """Heading 3.1, then -3.1 (0.083 rad further): 10 ms ago it was 3.142 and not 0."""
    first = read(rig(), upright(heading=3.1))
    second = read(first, upright(rate=4.0, heading=-3.1), imu_age=10.0)
    assert second.angvel[0, 2].item() == pytest.approx(2.0, abs=1e-4)
    assert abs(second.heading.item()) == pytest.approx(math.pi, abs=1e-3)


def test_a_stale_imu_repeats_its_last_report() -> None:
    first = read(rig(), upright(rate=1.0), imu_stale=0.1)
    second = read(first, upright(rate=5.0), stale=0.05, imu_stale=0.1)
    assert torch.equal(second.imu_report, first.imu_report)
    assert read(second, upright(rate=5.0), stale=0.2, imu_stale=0.1).angvel[0, 2].item() == 5.0


def test_gyro_bias_and_heading_drift() -> None:
    state = rig()
    for _ in range(50):  # 1 s
        state = read(state, upright(rate=1.0), gyro_bias=[0.1, -0.2, 0.3], heading_drift=0.05)
    assert state.angvel[0].tolist() == pytest.approx([0.1, -0.2, 1.3], abs=1e-5)
    assert state.heading.item() == pytest.approx(0.05, abs=1e-5)


def test_gyro_noise_and_walk_have_their_size() -> None:
    """The walk's standard deviation after 1 s is its rate; a burst leaves it alone."""
    generator, state = torch.Generator().manual_seed(0), rig(num=2000)
    for _ in range(50):
        noise = torch.rand(2000, 8, generator=generator)
        state = read(state, noise=noise, factor=3.0, gyro_walk=0.02, gyro_noise=0.001)
    walk, white = state.gyro_walk, state.angvel - state.gyro_walk
    assert walk.std().item() == pytest.approx(0.02, rel=0.05)
    assert white.std().item() == pytest.approx(0.003, rel=0.05)
    assert walk.mean().abs() < 0.002 and white.mean().abs() < 0.0003


def test_gravity_noise_tilts_and_keeps_length() -> None:
    noise = torch.rand(4000, 8, generator=torch.Generator().manual_seed(0))
    gravity = read(rig(num=4000), noise=noise, gravity_noise=0.02).gravity
    assert torch.allclose(gravity.norm(dim=-1), torch.ones(4000), atol=1e-5)
    assert gravity[:, :2].std(0).tolist() == pytest.approx([0.02, 0.02], rel=0.05)


# Foot switches


def test_switches_close_under_load_unless_they_are_stuck() -> None:
    assert read(rig(), force=1.9).switches.item() == 0.0
    assert read(rig(), force=2.1).switches.item() == 1.0
    assert read(rig(), force=2.1, switch_force=2.0).switches.item() == 0.0
    assert read(rig(), force=4.1, switch_force=2.0).switches.item() == 1.0
    assert read(rig(stuck=True), force=50.0).switches.item() == 0.0

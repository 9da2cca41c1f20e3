"""The simulated robot against arithmetic, physics and another implementation of its servos."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import mujoco
import numpy as np
import pytest

from envs.errors import UserError
from envs.robot.spec import RobotSpec
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.simulated.faults import parse
from wildrobot_torch.deploy.simulated.options import RobotOptions, perfect
from wildrobot_torch.deploy.simulated.robot import SimulatedRobot
from wildrobot_torch.deploy.simulated.servos import Servos
from wildrobot_torch.evaluation.simulators import servos as other
from wildrobot_torch.evaluation.simulators.plain_mujoco import PlainMujoco

COUNT = math.radians(0.24)
HOME_HEIGHT, MASS = 0.468357, 3.3022456
KNEE = 2


def _ideal(**options: object) -> SimulatedRobot:
    return SimulatedRobot(RobotOptions(**perfect(**options)))


def _run(robot: SimulatedRobot, seconds: float) -> None:
    for _ in range(round(seconds / robot.dt)):
        robot.step()


def _in_the_air(robot: SimulatedRobot) -> None:
    robot.data.qpos[2] = 50.0


def _velocity(robot: SimulatedRobot) -> np.ndarray:
    """Of the centre of mass [m/s]."""
    mujoco.mj_subtreeVel(robot.model, robot.data)
    return robot.data.subtree_linvel[1].copy()


# Servos


def test_servos_move_the_body_as_another_implementation_says(robot: RobotSpec) -> None:
    body = SimulatedRobot(RobotOptions(**perfect(start="holding", servo="robot", battery=11.1)))
    simulator, law = PlainMujoco("mujoco", robot), other.ServoLaw.of(robot)
    simulator.place(body.truth()[:15], body.truth()[15:29])
    servos = other.Servos(law, simulator.joints()[0].copy())
    time, apart = 0.0, 0.0
    for _ in range(50):
        bend = 0.3 * math.sin(7.0 * time) ** 2
        target = np.array([bend, 0.02, 2 * bend, -bend, -0.2 * bend, 0.0, 0.3, -0.1])
        body.write(target)
        servos.send(target)
        for _ in range(10):
            body.step()
            simulator.step(servos.drive(*simulator.joints(), simulator.dt))
        time += 0.02
        apart = max(apart, float(np.abs(body.truth()[7:15] - simulator.joints()[0]).max()))
    assert apart < 0.002  # copper warms by less than a degree; the other one's does not


def test_a_joint_is_no_faster_than_its_servo_without_load() -> None:
    def fastest(servo: str) -> float:
        body = SimulatedRobot(RobotOptions(**perfect(start="holding", servo=servo, battery=11.1)))
        _in_the_air(body)
        body.write(np.array([0, 0, 1.3, 0, 0, 0, 0, 0]))
        speeds = []
        for _ in range(100):
            body.step()
            speeds.append(abs(body.truth()[21 + KNEE]))
        return max(speeds)

    assert 3.0 < fastest("robot") < 5.82
    assert fastest("ideal") > 5.82


def test_servos_speak_in_their_own_zeros_and_signs() -> None:
    signs, zeros = (1, -1, -1, 1, 1, 1, 1, 1), (0, 0, 10, -6, 0, 0, 0, 0)
    body = _ideal(start="holding", signs=signs, zeros=zeros)
    assert body.read().position[KNEE] == pytest.approx(math.radians(10.0), abs=1e-3)
    target = np.radians(zeros).astype(float)
    target[KNEE] = math.radians(10.0 - 20.0)  # 20 degrees of bend
    _in_the_air(body)
    body.write(target)
    _run(body, 1.0)
    assert body.truth()[7 + KNEE] == pytest.approx(math.radians(20.0), abs=0.02)
    assert body.truth()[7 + 3] == pytest.approx(0.0, abs=0.02)
    # What a calibration with these signs and zeros makes of it.
    names, plates = body.joint_names, body.plates
    identity = Calibration.identity(names, plates)
    calibration = replace(identity, sign=np.array(signs, float), zero=np.radians(zeros))
    assert calibration.readings(body.read()).joint_pos == pytest.approx(body.truth()[7:15])


def test_zeros_that_have_moved_are_seen_by_nobody() -> None:
    body = _ideal(start="gantry", zero_error=3.0)
    _in_the_air(body)
    body._hung = None  # falls freely: joints bear nothing
    body.write(np.full(8, 0.1))
    _run(body, 0.6)
    moved = body.read().position - body.truth()[7:15]
    assert body.read().position[[0, 3, 6, 7]] == pytest.approx(np.full(4, 0.1), abs=0.02)
    assert 1.0 < np.degrees(moved).std() < 6.0
    assert not body.zero.any()  # what a calibration would find is the old zero


def test_readings_have_counts_and_small_changes_of_a_target_are_not_sent() -> None:
    body = SimulatedRobot(RobotOptions(start="holding", joint_lost=0.0))
    _run(body, 0.1)
    steps = body.read().position / COUNT
    assert steps == pytest.approx(np.round(steps), abs=1e-3)
    torque = body.servos.torque.copy()
    for counts, sent in ((2, False), (3, True)):
        body.write(np.full(8, counts * COUNT))
        assert (body.servos._goal[0] != 0.0) == sent
    assert torque.shape == (8,)


def test_servos_of_a_bus_get_their_targets_one_after_another() -> None:
    body = SimulatedRobot(RobotOptions(start="holding", buses=2, write_s=0.004))
    body.write(np.full(8, 0.2))
    arrived = []
    for _ in range(8):
        arrived.append(np.flatnonzero(body.servos._goal > 0.1).tolist())
        body.step()
    assert arrived[0] == [0, 4]
    assert arrived[2] == [0, 4]  # 4 ms have passed before the next step delivers
    assert arrived[3] == [0, 1, 4, 5]
    assert arrived[7] == list(range(8))


def test_a_servo_warms_with_its_torque_unloads_and_works_again() -> None:
    body = _ideal(start="holding", servo="robot")
    servos = body.servos
    # At a third of the stall torque the heat is 3 A x 11.1 V / 9 = 3.7 W, times 16 K/W: 59.2 K in
    # the end, of which 1 - 1/e after the time constant of 300 s: 25 + 37.4.
    third = 4.41 / 3 / 21.1
    targets = servos._goal + third
    for joint in range(8):
        servos.send(joint, targets[joint], 0.0)
    at, still = targets - third, np.zeros(8)
    servos.law = replace(servos.law, count=0.0)
    for _ in range(3000):
        servos._own = at + third
        servos._goal = servos._own.copy()
        servos.drive(at, still, 11.1, np.zeros(8, bool), 0.1)
    assert servos.temperature == pytest.approx(np.full(8, 62.4), abs=0.5)
    servos.temperature[0] = 90.0
    servos.drive(at, still, 11.1, np.zeros(8, bool), 0.1)
    assert servos.drive(at, still, 11.1, np.zeros(8, bool), 0.1)[0] == 0.0
    assert servos.torque[1] > 1.0
    servos.temperature[0] = 79.0
    servos.drive(at, still, 11.1, np.zeros(8, bool), 0.1)
    assert servos.drive(at, still, 11.1, np.zeros(8, bool), 0.1)[0] > 1.0


def test_the_supply_sags_with_the_current_and_a_low_one_unloads() -> None:
    body = SimulatedRobot(RobotOptions(battery=11.6, battery_ohm=0.1))
    _run(body, 1.1)
    # Without torque 8 x 0.1 A x 0.1 ohm = 0.08 V are lost.
    assert body.read().voltage == pytest.approx(np.full(8, 11.52))
    body = SimulatedRobot(RobotOptions(start="holding"))
    _run(body, 1.1)
    assert (body.read().voltage < 11.52).all()
    body.inject("battery@0=9.0")
    _run(body, 2.0)
    assert (body.read().voltage < 9.0).all()
    assert not body.servos.torque.any()
    assert body.truth()[2] < 0.4


# Gantry


def test_it_hangs_limp_until_it_is_driven_and_is_then_lowered() -> None:
    body = SimulatedRobot(RobotOptions(gantry_lift=0.05, gantry_hold_s=1.0))
    _run(body, 3.0)
    assert body.truth()[2] == pytest.approx(HOME_HEIGHT + 0.05, abs=1e-6)
    assert not body.servos.torque.any()
    body.write(np.zeros(8))
    _run(body, 0.5)
    assert body.truth()[2] == pytest.approx(HOME_HEIGHT + 0.025, abs=1e-4)
    _run(body, 3.0)
    assert body.truth()[2] == pytest.approx(HOME_HEIGHT, abs=0.003)
    assert body.read().switches.sum() >= 3
    body.write(np.array([0.2, 0, 0.4, -0.2, -0.2, 0, 0.4, -0.2]))  # straight legs would stand
    _run(body, 1.0)
    assert body.truth()[2] == pytest.approx(HOME_HEIGHT - 0.37 * (1 - math.cos(0.2)), abs=0.006)
    body.release()
    _run(body, 3.0)
    assert body.truth()[2] < 0.4
    before = body.now
    body.place()
    assert body.truth()[2] == pytest.approx(HOME_HEIGHT + 0.05, abs=1e-6)
    assert body.now == before  # the clock goes on


# IMU


@pytest.mark.parametrize(
    ("pitch", "roll", "gravity"),
    [
        (30.0, 0.0, (0.5, 0.0, -math.sqrt(0.75))),  # nose down: down is ahead
        (0.0, 30.0, (0.0, -0.5, -math.sqrt(0.75))),  # right side down: down is to the right
    ],
)
@pytest.mark.parametrize("mount", [(0.0, 0.0, 0.0), (0.0, 0.0, 90.0), (180.0, 0.0, 90.0)])
def test_gravity_is_where_it_is_whatever_the_mount(
    pitch: float, roll: float, gravity: tuple[float, ...], mount: tuple[float, float, float]
) -> None:
    body = _ideal(start_pitch=pitch, start_roll=roll, imu_mount=mount)
    body.step()
    sample = body.read()
    # Axes of the mounted IMU in the root's, by hand.
    turned = {
        (0.0, 0.0, 0.0): np.eye(3),
        (0.0, 0.0, 90.0): np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]]),
        (180.0, 0.0, 90.0): np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1.0]]),
    }[mount]
    calibration = replace(Calibration.identity(body.joint_names, body.plates), imu_map=turned)
    readings = calibration.readings(sample)
    assert readings.gravity == pytest.approx(np.array(gravity), abs=0.005)  # home leans 0.2 deg
    w, x, y, z = sample.quat
    down = np.array([2 * (w * y - x * z), -2 * (w * x + y * z), 2 * (x * x + y * y) - 1])
    assert down == pytest.approx(turned.T @ np.array(gravity), abs=0.005)


def test_the_gyro_turns_with_the_mount() -> None:
    body = _ideal(start="holding", imu_mount=(0.0, 0.0, 90.0))
    _in_the_air(body)
    body.data.qvel[3:6] = 0.1, 0.2, 0.3
    body.step()
    # The IMU's x points to the root's left: y of the root is its x, -x of the root its y.
    assert body.read().gyro == pytest.approx([0.2, -0.1, 0.3], abs=0.01)


def test_imu_reports_come_at_50_hz_and_some_do_not() -> None:
    body = SimulatedRobot(RobotOptions(imu_stale=0.2))
    times = []
    for _ in range(2500):
        body.step()
        times.append(body.read().imu_time)
    new = np.unique(np.array(times)[np.isfinite(times)])
    gaps = np.diff(new) / 0.02
    assert gaps == pytest.approx(np.round(gaps))
    # 250 were due; 80 % come, with a standard deviation of 6.3.
    assert len(new) == pytest.approx(200, abs=25)


def test_a_repeated_report_has_a_new_time_and_old_values() -> None:
    body = SimulatedRobot(RobotOptions(imu_repeat=0.3, imu_stale=0.0))
    found = []
    for _ in range(2500):
        body.step()
        sample = body.read()
        if math.isfinite(sample.imu_time) and (not found or sample.imu_time != found[-1][0]):
            found.append((sample.imu_time, tuple(sample.gyro)))
    repeats = sum(a[1] == b[1] for a, b in pairwise(found))
    assert len(found) == pytest.approx(250, abs=2)
    assert repeats == pytest.approx(75, abs=28)


def test_noise_and_bias_have_their_size() -> None:
    body = SimulatedRobot(RobotOptions(gyro_noise=0.05, gyro_bias=0.0, imu_stale=0.0,
                                       orientation_noise=0.01, heading_drift=0.0))  # fmt: skip
    gyros, quats = [], []
    for _ in range(3000):
        body.step()
        sample = body.read()
        gyros.append(sample.gyro)
        quats.append(sample.quat)
    gyro, quat = np.array(gyros[100:])[::10], np.array(quats[100:])[::10]
    assert gyro.std(0) == pytest.approx(np.full(3, 0.05), rel=0.15)
    assert (2 * quat[:, 1:]).std(0) == pytest.approx(np.full(3, 0.01), rel=0.15)


# Joints


def test_each_joint_is_read_in_its_own_time_and_some_readings_are_lost() -> None:
    body = SimulatedRobot(RobotOptions(joint_lost=0.1))
    times = []
    for _ in range(2500):
        body.step()
        times.append(body.read().position_time)
    firsts, numbers, gaps = [], 0, []
    for column in np.array(times).T:
        new = np.unique(column[np.isfinite(column)])
        firsts.append(new[0])
        numbers += len(new)
        gaps.append(np.median(np.diff(new)))
    assert 0.025 < min(gaps) <= max(gaps) < 0.031
    assert len(set(firsts)) > 4  # phases differ
    # 5 s / 28 ms x 8 joints = 1429 were due; 90 % come, with a standard deviation of 11 and a
    # mean period that differs from 28 ms by 0.4 ms at most.
    assert numbers == pytest.approx(0.9 * 1429, rel=0.045)


# Faults


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("silent", "cannot be read"),
        ("silnt:left_knee_pitch@0", "did you mean 'silent'"),
        ("silent:left_kne_pitch@0", "did you mean 'left_knee_pitch'"),
        ("silent@0", "allowed: left_hip_pitch"),
        ("imu_silent:left_knee_pitch@0", "allowed: no place"),
        ("push:x@1+0.1", r"needs a size \[N\]"),
        ("silent:left_knee_pitch@0=3", "has no size"),
        ("push:x@1.2.3=4", "holds no number"),
    ],
)
def test_faults_that_cannot_be_are_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        SimulatedRobot(RobotOptions(faults=(text,)))


def test_a_fault_lasts_as_long_as_it_says() -> None:
    fault = parse("push:x@5+0.12=-8", (), (), since=2.0)
    assert [fault.active(time) for time in (6.99, 7.0, 7.11, 7.13)] == [False, True, True, False]
    assert fault.size == -8.0


def test_a_silent_servo_holds_its_last_target_and_its_reading_grows_old() -> None:
    faults = ("silent:left_knee_pitch@0.1",)
    body = SimulatedRobot(RobotOptions(**perfect(start="holding", servo="robot", faults=faults)))
    _in_the_air(body)
    _run(body, 0.2)
    body.write(np.full(8, 0.3))
    _run(body, 0.3)
    sample = body.read()
    assert sample.position_time[KNEE] == pytest.approx(0.1, abs=0.003)
    assert sample.position_time[0] == pytest.approx(0.5)
    assert body.truth()[7 + KNEE] == pytest.approx(0.0, abs=0.05)
    assert body.truth()[7 + 6] == pytest.approx(0.3, abs=0.05)
    assert body.servos.torque[KNEE] != 0.0


def test_a_limp_servo_has_no_torque() -> None:
    body = SimulatedRobot(RobotOptions(start="holding"))
    body.inject("limp:left_knee_pitch@0.1+0.2")
    _run(body, 0.2)
    assert body.servos.torque[KNEE] == 0.0
    assert body.servos.torque[6] != 0.0
    _run(body, 0.2)
    assert body.servos.torque[KNEE] != 0.0


def test_a_push_gives_its_impulse() -> None:
    body = _ideal(start="holding", faults=("push:y@0.1+0.12=8",))
    _in_the_air(body)
    _run(body, 0.3)
    # 8 N x 0.12 s = 0.96 N s on 3.30 kg.
    assert _velocity(body)[1] == pytest.approx(0.96 / MASS, rel=0.02)


@pytest.mark.parametrize(
    ("fault", "field", "joint", "wrong"),
    [
        ("jump:left_knee_pitch@0=0.5", "position", KNEE, lambda now, was: now - was > 0.4),
        ("nan:left_knee_pitch@0", "position", KNEE, lambda now, was: math.isnan(now)),
        ("imu_nan@0", "quat", 0, lambda now, was: math.isnan(now)),
        ("imu_jump@0=90", "quat", 2, lambda now, was: now > 0.6),
        ("switch_open:left_toe@0", "switches", 0, lambda now, was: (was, now) == (1.0, 0.0)),
        ("hot:left_knee_pitch@0=83", "temperature", KNEE, lambda now, was: now == 83.0),
        ("clock@0=3", "time", None, lambda now, was: now < was),
    ],
)
def test_a_fault_is_seen_in_what_is_read(fault: str, field: str, joint: int | None,
                                         wrong: object) -> None:  # fmt: skip
    body = SimulatedRobot(RobotOptions(start="holding", joint_lost=0.0, switch_drop=0.0,
                                       imu_stale=0.0))  # fmt: skip
    _run(body, 1.5)

    def value() -> float:
        found = getattr(body.read(), field)
        return found if joint is None else found[joint]

    was = value()
    body.inject(fault)
    _run(body, 1.1)
    assert wrong(value(), was)  # type: ignore[operator]


@pytest.mark.parametrize("fault", ["imu_silent@0", "imu_frozen@0", "frozen:left_knee_pitch@0"])
def test_what_is_silent_grows_old_and_what_is_frozen_does_not(fault: str) -> None:
    body = SimulatedRobot(RobotOptions(start="holding"))
    _run(body, 0.5)
    first = body.read()
    body.inject(fault)
    body.write(np.full(8, 0.2))
    _run(body, 0.5)
    last = body.read()
    if fault.startswith("imu"):
        assert np.array_equal(first.gyro, last.gyro)
        assert (last.imu_time == first.imu_time) == (fault == "imu_silent@0")
    else:
        assert last.position[KNEE] == first.position[KNEE]
        assert last.position_time[KNEE] > first.position_time[KNEE]
        assert last.position[0] != first.position[0]


# Seeds


def test_runs_of_one_seed_are_the_same_and_of_another_differ() -> None:
    def run(**options: object) -> list[np.ndarray]:
        body = SimulatedRobot(RobotOptions(**options))  # type: ignore[arg-type]
        for _ in range(50):
            body.write(np.full(8, 0.1))
            _run(body, 0.02)
        sample = body.read()
        return [sample.quat, sample.gyro, sample.position_time, body.truth()]

    first, again, other_seed = run(seed=1), run(seed=1), run(seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first[:3], other_seed[:3], strict=True))
    # What is random elsewhere does not change the IMU's noise.
    assert np.array_equal(run(seed=1, joint_lost=0.5)[1], first[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"joint_lost": 1.5}, "allowed: 0 to 1"),
        ({"write_s": -1.0}, "allowed: 0 or more"),
        ({"buses": 0}, "allowed: 1 or more"),
        ({"joint_period_s": (0.03, 0.02)}, "the shorter first"),
        ({"signs": (2,) * 8}, "allowed: 1 and -1"),
        ({"signs": (1, 1)}, "needs 8"),
        ({"order": (0,) * 8}, "each of 0 to 7 once"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        SimulatedRobot(RobotOptions(**options))  # type: ignore[arg-type]


def test_servos_in_another_order_are_named_in_that_order() -> None:
    order = (2, 0, 1, 3, 4, 5, 6, 7)
    body = _ideal(start="holding", order=order)
    _in_the_air(body)
    assert body.joint_names[0] == "left_knee_pitch"
    body.write(np.array([0.3, 0, 0, 0, 0, 0, 0, 0]))
    _run(body, 0.5)
    assert body.data.joint("left_knee_pitch").qpos[0] == pytest.approx(0.3, abs=0.03)
    assert body.read().position[0] == pytest.approx(0.3, abs=0.03)
    assert isinstance(body.servos, Servos)

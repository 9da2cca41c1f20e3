"""Servos, delays and faults change the motion of a simulated robot as physics says they must."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.physics.parity import TOLERANCES, largest
from envs.reality.faults import FaultConfig
from envs.reality.randomization import Draw, RandomizationConfig
from envs.reality.servo import UPDATES_PER_STEP, ServoConfig
from envs.task.actions import ActionConfig
from envs.task.starts import ResetConfig

LEFT_KNEE, RIGHT_KNEE = 2, 6


def make(num: int = 1, **settings: Any) -> LocomotionEnv:
    """Robots at home, without noise, filter or ends; terms are given as a single value.

    The servo is ideal unless it is given.
    """
    engine = {name: settings.pop(name) for name in ("robot_dir", "physics") if name in settings}
    terms = {n: Draw(low=v, high=v) for n, v in settings.pop("terms", {}).items()}
    config = LocomotionConfig(
        action=ActionConfig(filter=0.0),
        reset=ResetConfig(joint_noise=0.0, velocity_noise=0.0),
        randomization=RandomizationConfig(**terms),
        auto_reset=False,
        **({"servo": ServoConfig(model="ideal")} | settings),
    )
    env = LocomotionEnv(config, num, **engine)
    env.reset()
    return env


def step(env: LocomotionEnv, targets: Tensor, steps: int = 1) -> Tensor:
    """Joint positions (E, J) [rad] after control steps with targets (J,) or (E, J) [rad]."""
    action = env.joint_targets_to_action(targets.expand(env.num_envs, -1))
    for _ in range(steps):
        env.step(TensorDict({"action": action}, batch_size=[env.num_envs]))
    return positions(env)


def crouch(env: LocomotionEnv) -> Tensor:
    """Joint targets (J,) [rad] of a crouch in which the knees carry the robot; it stands in it."""
    bend = torch.tensor([0.35, 0.0, 0.7, -0.35]).repeat(2)
    target = env.robot.joint_home + bend * env.robot.action_sign
    qpos = env.robot.home_qpos.clone()
    qpos[env.robot.joint_qpos_adr] = target
    qpos[2] -= 0.385 * (1.0 - math.cos(0.35))  # thigh and shank, both tilted
    everyone = torch.ones(env.num_envs, dtype=torch.bool)
    rest = torch.zeros(env.num_envs, env.backend.model.nv)
    env.set_state(everyone, qpos.expand(env.num_envs, -1), rest)
    return target


def fall_freely(env: LocomotionEnv) -> None:
    """Put the robots 1 m higher: for 0.4 s nothing loads their joints."""
    qpos = env.robot.home_qpos.clone()
    qpos[2] += 1.0
    everyone = torch.ones(env.num_envs, dtype=torch.bool)
    rest = torch.zeros(env.num_envs, env.backend.model.nv)
    env.set_state(everyone, qpos.expand(env.num_envs, -1), rest)


def positions(env: LocomotionEnv) -> Tensor:
    """True joint positions (E, J) [rad]."""
    return env.backend.state().qpos[:, env.robot.joint_qpos_adr].clone()


def readings(env: LocomotionEnv) -> Tensor:
    """Joint positions (E, J) [rad] as read."""
    sensors = env.reality.state.sensors
    assert sensors is not None
    return sensors.joint_pos


def speeds(env: LocomotionEnv) -> Tensor:
    """True joint velocities (E, J) [rad/s]."""
    return env.backend.state().qvel[:, env.robot.joint_qvel_adr].clone()


def test_a_zero_error_shifts_the_joints_and_the_encoder_does_not_show_it() -> None:
    plain, off = make(), make(terms={"zero_error": 0.05})
    home = plain.robot.joint_home
    for env in (plain, off):
        fall_freely(env)
    shift = step(off, home, 15) - step(plain, home, 15)
    assert (shift - 0.05).abs().max() < 0.01
    assert ((readings(off) - readings(plain)) - (shift - 0.05)).abs().max() < 1e-5


def test_a_gap_lets_a_loaded_joint_give_way_unseen() -> None:
    """The knees rest on one side of the gap, their motors on the other."""
    plain, loose = make(), make(terms={"backlash": 0.06})
    sag = step(loose, crouch(loose), 30) - step(plain, crouch(plain), 30)
    hidden = readings(loose) - positions(loose)
    assert hidden.abs().max() < 0.03 + 1e-4
    for knee in (LEFT_KNEE, RIGHT_KNEE):
        assert hidden[0, knee].item() == pytest.approx(-0.03, abs=1e-4)
        assert sag[0, knee].item() == pytest.approx(0.03, abs=5e-3)


def test_compliance_bends_the_leg_and_the_encoder_sees_the_motor() -> None:
    """Between encoder and joint lies the torque times the compliance."""
    plain, soft = make(), make(terms={"compliance": 0.05})
    sag = step(soft, crouch(soft), 40) - step(plain, crouch(plain), 40)
    torque = soft.backend.state().sensordata[:, soft.robot.sensor_columns["torque"]]
    twist = readings(soft) - positions(soft)
    assert torque[0, LEFT_KNEE].item() < -0.4 and sag[0, LEFT_KNEE].item() > 0.02
    assert torch.allclose(twist, 0.05 * torque, atol=1e-3)


def test_a_limp_knee_lets_the_robot_sink() -> None:
    """By some mm in 0.3 s, because the other leg still stands; without any other servo it stays."""
    env = make(24, faults=FaultConfig(dropout_interval_s=0.51, dropout_s=0.5))
    target = crouch(env)
    step(env, target, 14)
    faults = env.reality.state.faults
    assert faults is not None
    # Limp for 0.2 s and more.
    long = (faults.limp_steps > 0) & (faults.limp_steps <= 25 - 10)
    knee = (faults.limp_joint == LEFT_KNEE) | (faults.limp_joint == RIGHT_KNEE)
    sunk = 0.444 - env.backend.state().qpos[:, 2]
    assert (long & knee).any() and (long & ~knee).any()
    assert sunk[long & knee].min() > 0.003 and sunk[long & ~knee].max() < 0.001


def test_displaced_joints_jump() -> None:
    env = make(8, faults=FaultConfig(displacement_interval_s=0.02, displacement=0.1))
    before, after = positions(env), step(env, env.robot.joint_home)
    still = make(1)
    moved = after - step(still, still.robot.joint_home)
    assert 0.02 < moved.abs().mean() < 0.1 and (after - before).abs().max() < 0.2


def test_torque_never_leaves_the_envelope() -> None:
    """Swinging as far and as fast as the servos can, with the numbers of the vendor's sheet."""
    found = {}
    for model in ("envelope", "ideal"):
        env = make(4, servo=ServoConfig(model=model, count=0.0, deadband=0.0, travel_time=0.0))
        robot, generator = env.robot, torch.Generator().manual_seed(1)
        over = []
        for _ in range(30):
            low, high = robot.joint_range.unbind(-1)
            target = low + (high - low) * torch.rand(4, 8, generator=generator)
            targets = env.reality.send(target)
            if targets is None:
                targets = target.expand(UPDATES_PER_STEP, -1, -1)
            for update in range(UPDATES_PER_STEP):
                before = speeds(env)
                ctrl = env.reality.drive(targets[update], env.backend.state())
                env.backend.step(ctrl, None, 2)
                torque = env.backend.state().sensordata[:, robot.sensor_columns["torque"]]
                changed = (speeds(env) - before).abs() * 4.41 / 5.82
                along = torque.abs() * torch.sign(torque) * torch.sign(speeds(env))
                allowed = (4.41 * (1.0 - speeds(env).abs() / 5.82)).clamp(0.0, 4.0)
                over.append((along - allowed - changed).max())
        found[model] = max(over).item()
    assert found["envelope"] < 1e-3
    assert found["ideal"] > 2.0


def test_a_low_battery_makes_the_swing_slower() -> None:
    """The knees flex by 1 rad, unloaded, because the robot falls beside them."""
    flexed = []
    for voltage in (0.7, 1.05):
        env = make(servo=ServoConfig(model="envelope"), terms={"voltage": voltage})
        target = env.robot.joint_home.clone()
        target[[LEFT_KNEE, RIGHT_KNEE]] += 1.0
        start = positions(env)
        flexed.append((step(env, target, 8) - start)[0, LEFT_KNEE].item())
    assert 0.1 < flexed[0] < 0.85 * flexed[1]


def test_a_delayed_target_moves_the_joints_later() -> None:
    """40 ms are two steps: the delayed robot is where the other one was two steps before."""
    now, late = make(), make(terms={"action_delay": 40.0})
    home = now.robot.joint_home
    target = home + 0.2 * now.robot.action_sign
    for env in (now, late):
        step(env, home, 25)
    rest = positions(late)
    assert (step(late, target, 2) - rest).abs().max() < 0.01
    delayed = step(late, target, 2)
    assert (delayed - rest).abs().max() > 0.05
    assert torch.allclose(delayed, step(now, target, 2), atol=0.01)


def test_a_correction_within_the_deadband_never_reaches_the_servo() -> None:
    """0.01 rad is less than the runtime's 0.0126 rad."""
    moved = {}
    for deadband in (0.0, 0.0126):
        env = make(servo=ServoConfig(model="envelope", count=0.0, deadband=deadband))
        home = env.robot.joint_home
        rest = step(env, home, 25)
        moved[deadband] = (step(env, home + 0.01, 10) - rest)[0, LEFT_KNEE].item()
    assert moved[0.0] == pytest.approx(0.01, abs=0.004)
    assert abs(moved[0.0126]) < 0.002


def test_a_missed_tick_keeps_the_last_target() -> None:
    env = make(64, terms={"missed_tick": 0.5})
    home = env.robot.joint_home
    step(env, home, 5)
    rest = positions(env)
    moved = (step(env, home + 0.2 * env.robot.action_sign) - rest).abs().amax(-1)
    late = moved < 0.3 * moved.max()
    assert 0.25 < late.float().mean() < 0.75


# BAM

BAM = ServoConfig(model="bam")


def test_friction_of_gears_holds_a_limp_robot(bam_robot: Path, stiff_robot: Path) -> None:
    """With 3 N m of dry friction a robot without any torque stands; with 0.1 it sinks."""
    sunk = []
    for folder in (bam_robot, stiff_robot):
        env = make(robot_dir=folder, servo=BAM, terms={"strength": 0.0})
        step(env, crouch(env), 25)
        sunk.append(0.444 - env.backend.state().qpos[0, 2].item())
    assert sunk[0] > 0.03 and abs(sunk[1]) < 0.003


def test_friction_grows_with_the_load(bam_robot: Path) -> None:
    """Standing, motor and load nearly cancel: 0.1 + (0.2 + 0.1) |torque|, and 0.01 torque^2."""
    env = make(robot_dir=bam_robot, servo=BAM)
    step(env, crouch(env), 60)
    robot = env.robot
    torque = env.backend.state().sensordata[0, robot.sensor_columns["torque"]].abs()
    friction = torch.as_tensor(env.backend.expand("dof_frictionloss"))[0, robot.joint_qvel_adr]
    assert torque[LEFT_KNEE] > 0.2
    # Friction bears a part of the load, so the load is the torque give or take the friction.
    least = 0.1 + 0.2 * torque + 0.1 * (torque - friction).clamp(min=0.0)
    most = 0.1 + 0.2 * torque + 0.1 * (torque + friction) + 0.01 * (torque + friction) ** 2
    assert (friction > least - 0.02).all() and (friction < most + 0.02).all()


def test_a_bam_motor_has_its_speed_without_load(bam_robot: Path) -> None:
    """In free fall a knee swings at no more than 11.1 V / 1.9 V s = 5.84 rad/s."""
    fastest = {}
    for model in ("ideal", "bam"):
        env = make(robot_dir=bam_robot, servo=ServoConfig(model=model, travel_time=0.0))
        fall_freely(env)
        target = env.robot.joint_home.clone()
        target[[LEFT_KNEE, RIGHT_KNEE]] += 1.35
        seen = [step(env, target) * 0 + speeds(env).abs() for _ in range(12)]
        fastest[model] = torch.stack(seen)[:, 0, LEFT_KNEE].max().item()
    assert 3.0 < fastest["bam"] < 5.84 < fastest["ideal"]


@pytest.mark.parametrize("term", ["dry_friction", "damping", "servo_damping"])
def test_a_term_that_bam_overwrites_is_refused(term: str, bam_robot: Path) -> None:
    with pytest.raises(UserError, match=rf"randomization\.{term} changes nothing"):
        make(robot_dir=bam_robot, servo=BAM, terms={term: 2.0})


def test_bam_without_a_file_is_refused() -> None:
    with pytest.raises(UserError, match=r"servo\.bam"):
        make(servo=BAM)


def test_a_bam_servo_resumes_exactly(bam_robot: Path) -> None:
    first, second = (make(2, robot_dir=bam_robot, servo=BAM) for _ in range(2))
    target = crouch(first)
    step(first, target, 5)
    second.set_sim_state(first.get_sim_state())
    assert torch.equal(step(first, target, 5), step(second, target, 5))


# Parity

SERVOS: dict[str, dict[str, Any]] = {
    "ideal": {"servo": ServoConfig(model="ideal")},
    "envelope": {"servo": ServoConfig(model="robot")},
    "envelope with a gap": {"servo": ServoConfig(model="robot"), "terms": {"backlash": 0.02}},
    "bam": {"servo": BAM},
}


@pytest.mark.parametrize("name", SERVOS)
def test_both_engines_move_alike(name: str, bam_robot: Path) -> None:
    """1 s of bending and stretching; the drift that held targets are allowed."""
    pytest.importorskip("mujoco_warp")
    num, ends = 8, []
    for physics in ("native", "warp-cpu"):
        env = make(num, robot_dir=bam_robot, physics=physics, **SERVOS[name])
        middle = crouch(env)
        size = torch.linspace(0.2, 1.0, num)[:, None]
        for index in range(50):
            bend = size * (middle - env.robot.joint_home)
            step(env, middle + 0.5 * math.sin(2.0 * math.pi * index / 25) * bend)
        ends.append(env.backend.state().qpos.clone())
    drift, allowed = largest(ends[0] - ends[1]), TOLERANCES["drift"]
    assert (drift < allowed.limit).float().mean() >= allowed.share

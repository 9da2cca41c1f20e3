"""Each term answers a constructed state with the right sign and size."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from envs.config import LocomotionConfig, RewardConfig, RewardWeights
from envs.episode import Episode, StepContext
from envs.errors import UserError
from envs.measurements import Measurements
from envs.robot.spec import RobotSpec
from envs.task.commands import as_command
from envs.task.rewards import TERMS, reward_term, term_factors, total, weighted_terms


@pytest.fixture
def standing(robot: RobotSpec) -> Measurements:
    """One robot standing still at home, half its weight on each foot."""
    zero = torch.zeros(1)
    sole = torch.tensor([[[0.0, 0.09, 0.0], [0.0, -0.09, 0.0]]])
    return Measurements(
        height=torch.tensor([0.468]),
        roll=zero,
        pitch=zero,
        yaw=zero,
        gravity_b=torch.tensor([[0.0, 0.0, -1.0]]),
        linvel_h=torch.zeros(1, 3),
        angvel_b=torch.zeros(1, 3),
        joint_pos=robot.joint_home[None].clone(),
        joint_vel=torch.zeros(1, 8),
        torque=torch.zeros(1, 8),
        plate_force=torch.full((1, 4), 8.1),
        foot_force=torch.full((1, 2), 16.2),
        sole_pos_w=sole,
        sole_height=sole[..., 2],
        sole_linvel_w=torch.zeros(1, 2, 3),
        sole_pos_h=sole - torch.tensor([0.0, 0.0, 0.468]),
    )


def left_foot_up(m: Measurements, robot: RobotSpec) -> Measurements:
    """The left foot lifted 2 cm by flexing hip and knee; the right one carries everything."""
    joint_pos = m.joint_pos.clone()
    joint_pos[0, 0] += 0.2
    joint_pos[0, 2] += 0.3
    sole = m.sole_pos_w.clone()
    sole[0, 0, 2] = 0.02
    return replace(
        m,
        foot_force=torch.tensor([[0.0, 32.4]]),
        sole_pos_w=sole,
        sole_height=sole[..., 2],
        joint_pos=joint_pos,
    )


def context(
    m: Measurements, robot: RobotSpec, reward: RewardConfig | None = None, **changes: torch.Tensor
) -> StepContext:
    """A step of one robot that is commanded 0.3 m/s, with changes of its episode."""
    episode = replace(
        Episode.blank(1, 8, torch.device("cpu")),
        command=as_command(torch.tensor([0.3])),
        mean_velocity=m.linvel_h[:, 0],
    )
    terminated = changes.pop("terminated", torch.zeros(1, dtype=torch.bool))
    config = LocomotionConfig(reward=reward or RewardConfig())
    return StepContext(m, replace(episode, **changes), terminated, robot, config)


def terms(m: Measurements, robot: RobotSpec, **changes: torch.Tensor) -> dict[str, float]:
    """Every term of the registry, whatever its weight."""
    step = context(m, robot, **changes)
    return {name: float(term.function(step)) for name, term in TERMS.items()}


def test_standing_earns_no_swing_reward(standing: Measurements, robot: RobotSpec) -> None:
    """Quiet double support is no flight and no swing, whatever the command."""
    got = terms(standing, robot)
    for name in ("clearance", "single_support", "hip_swing", "knee_swing", "flight", "slip"):
        assert got[name] == 0.0
    assert got["standing"] == 1.0
    assert got["healthy"] == 1.0


def test_lifted_foot_earns_swing_rewards_when_asked_to_walk(
    standing: Measurements, robot: RobotSpec
) -> None:
    up = left_foot_up(standing, robot)
    got = terms(up, robot)
    assert got["clearance"] == pytest.approx(0.5)  # 2 of 4 cm
    assert got["single_support"] == 1.0
    assert got["hip_swing"] == pytest.approx(0.25)  # 0.2 of 0.4 rad, one foot of two
    assert got["knee_swing"] == pytest.approx(0.25)  # 0.3 of 0.6 rad
    asked_to_stand = terms(up, robot, command=torch.zeros(1, 3))
    for name in ("clearance", "single_support", "hip_swing", "knee_swing", "standing"):
        assert asked_to_stand[name] == 0.0
    assert got["stand_still_steps"] == 0.0 and asked_to_stand["stand_still_steps"] == 1.0


def test_straight_swing_leg_earns_no_flexion(standing: Measurements, robot: RobotSpec) -> None:
    m = replace(standing, foot_force=torch.tensor([[0.0, 32.4]]))
    got = terms(m, robot)
    assert got["hip_swing"] == got["knee_swing"] == 0.0


def test_right_hip_flexes_towards_minus(standing: Measurements, robot: RobotSpec) -> None:
    joint_pos = standing.joint_pos.clone()
    joint_pos[0, 4] -= 0.4
    m = replace(standing, foot_force=torch.tensor([[32.4, 0.0]]), joint_pos=joint_pos)
    assert terms(m, robot)["hip_swing"] == pytest.approx(0.5)


def test_hop_earns_nothing_for_lifted_feet(standing: Measurements, robot: RobotSpec) -> None:
    sole = standing.sole_pos_w.clone()
    sole[..., 2] = 0.04
    got = terms(replace(standing, foot_force=torch.zeros(1, 2), sole_pos_w=sole), robot)
    assert got["clearance"] == got["single_support"] == 0.0
    assert got["flight"] == 1.0


def test_tracking_is_one_at_the_command_and_falls_exponentially(
    standing: Measurements, robot: RobotSpec
) -> None:
    at = replace(standing, linvel_h=torch.tensor([[0.3, 0.0, 0.0]]))
    assert terms(at, robot)["track_lin_vel_x"] == pytest.approx(1.0)
    assert terms(standing, robot)["track_lin_vel_x"] == pytest.approx(math.exp(-4 * 0.3))


def test_torque_terms_see_every_joint(standing: Measurements, robot: RobotSpec) -> None:
    for joint in range(8):
        torque = torch.zeros(1, 8)
        torque[0, joint] = -3.9  # 97.5 % of 4 N m
        got = terms(replace(standing, torque=torque), robot)
        assert got["torque"] == pytest.approx(0.975**2)
        assert got["saturation"] == 1.0


def test_squares_by_hand(standing: Measurements, robot: RobotSpec) -> None:
    m = replace(
        standing,
        linvel_h=torch.tensor([[0.0, 0.2, 0.0]]),
        angvel_b=torch.tensor([[5.0, 5.0, 0.5]]),
        roll=torch.tensor([0.1]),
        pitch=torch.tensor([-0.2]),
        joint_vel=torch.tensor([[5.0, 20.0, 0, 0, 0, 0, 0, 0]]),
        sole_linvel_w=torch.tensor([[[0.3, 0.4, 9.0], [0.0, 0.1, 0.0]]]),
        sole_pos_h=torch.tensor([[[0.0, 0.145, -0.4], [0.0, -0.145, -0.4]]]),
        height=torch.tensor([0.41]),
    )
    got = terms(m, robot, action=torch.full((1, 8), 0.1), heading=torch.tensor([-0.5]))
    assert got["lin_vel_y_l2"] == pytest.approx(0.04)
    assert got["ang_vel_z_l2"] == pytest.approx(0.25)  # yaw rate alone
    assert got["flat_orientation"] == pytest.approx(0.05)
    assert got["heading"] == pytest.approx(0.25)
    assert got["joint_velocity"] == pytest.approx(0.25 + 1.0)  # clipped at the limit
    assert got["slip"] == pytest.approx(0.25 + 0.01)  # horizontal, both feet loaded
    assert got["action_rate"] == pytest.approx(0.08)
    assert got["stance_width"] == pytest.approx(4.0)  # 0.29 - 0.19 = two sigmas
    assert got["height_target"] == pytest.approx(math.exp(-1))


def test_short_swings_cost_at_their_touchdown(standing: Measurements, robot: RobotSpec) -> None:
    def cost(left: float, right: float, m: Measurements = standing) -> float:
        return terms(m, robot, air_time=torch.tensor([[left, right]]))["feet_air_time"]

    assert cost(0.0, 0.0) == 0.0  # both feet stayed down
    assert cost(0.05, 0.0) == pytest.approx(0.8)  # 50 of 250 ms
    assert cost(0.25, 0.4) == 0.0
    in_the_air = replace(standing, foot_force=torch.tensor([[0.0, 32.4]]))
    assert cost(0.05, 0.0, in_the_air) == 0.0


def test_both_feet_down_for_long_is_a_stall_of_a_walk_only(
    standing: Measurements, robot: RobotSpec
) -> None:
    def stalled(time: float, command: float = 0.3, m: Measurements = standing) -> float:
        given = {
            "stance_time": torch.tensor([time]),
            "command": as_command(torch.tensor([command])),
        }
        return terms(m, robot, **given)["stall"]

    assert [stalled(time) for time in (0.0, 0.18, 0.2, 3.0)] == [0.0, 0.0, 1.0, 1.0]
    assert stalled(float(torch.tensor(0.02).repeat(10).cumsum(0)[-1])) == 1.0  # ten control steps
    assert stalled(3.0, command=0.0) == 0.0
    assert stalled(3.0, m=left_foot_up(standing, robot)) == 0.0  # this step ended it


def test_only_loaded_feet_slip(standing: Measurements, robot: RobotSpec) -> None:
    m = replace(
        left_foot_up(standing, robot), sole_linvel_w=torch.tensor([[[1.0, 0, 0], [0.0, 0, 0]]])
    )
    assert terms(m, robot)["slip"] == 0.0


def test_fall_is_paid_once(standing: Measurements, robot: RobotSpec) -> None:
    assert terms(standing, robot)["termination"] == 0.0
    assert terms(standing, robot, terminated=torch.ones(1, dtype=torch.bool))["termination"] == 1.0


def test_weights_sign_and_scale_the_terms(standing: Measurements, robot: RobotSpec) -> None:
    """Two slipping soles at 1 m/s, and the speed at its command: 0.1 (2 x 1 - 0.5 x 2)."""
    weights = dict.fromkeys(TERMS, 0.0) | {"track_lin_vel_x": 2.0, "slip": -0.5}
    config = RewardConfig(weights=RewardWeights(**weights), scale=0.1)
    m = replace(standing, sole_linvel_w=torch.tensor([[[1.0, 0, 0], [0.0, 1.0, 0]]]))
    step = context(m, robot, config, mean_velocity=torch.tensor([0.3]))
    got = dict(zip(TERMS, weighted_terms(step, term_factors(config))[0].tolist(), strict=True))
    assert got["track_lin_vel_x"] == pytest.approx(0.2)
    assert got["slip"] == pytest.approx(-0.1)
    assert sum(got.values()) == pytest.approx(0.1)


def test_a_term_without_weight_is_not_computed(standing: Measurements, robot: RobotSpec) -> None:
    """`hip_swing` would need to know the legs."""
    legless = replace(robot, chains=())
    config = RewardConfig()
    assert weighted_terms(context(standing, legless), term_factors(config)).isfinite().all()
    swinging = RewardConfig(weights=RewardWeights(hip_swing=1.0))
    with pytest.raises(IndexError):
        weighted_terms(context(standing, legless, swinging), term_factors(swinging))


def test_a_name_stands_for_one_term() -> None:
    with pytest.raises(ValueError, match="'slip'"):

        @reward_term()
        def slip(step: StepContext) -> torch.Tensor:
            return step.m.height


def test_refuses_a_shape_of_zero() -> None:
    with pytest.raises(UserError, match="swing_time"):
        RewardConfig(swing_time=0.0)


@pytest.mark.parametrize(("command", "asked"), [(0.05, True), (-0.05, True), (0.049, False)])
def test_the_slowest_commanded_walk_is_a_walk(
    standing: Measurements, robot: RobotSpec, command: float, asked: bool
) -> None:
    """A robot that stands while it should walk pays; a lifted foot costs where it should stand."""
    lifted = left_foot_up(standing, robot)
    got = terms(lifted, robot, command=as_command(torch.tensor([command])))
    assert (got["standing"] > 0.0) == asked
    assert (got["stand_still_steps"] > 0.0) != asked


def test_a_command_moves_where_the_penalties_are_0(
    standing: Measurements, robot: RobotSpec
) -> None:
    """0.2 m/s to the left and 0.5 rad/s are the command, then 0.1 m/s and 0.4 rad/s off it."""
    moving = replace(
        standing, linvel_h=torch.tensor([[0.0, 0.2, 0.0]]), angvel_b=torch.tensor([[0.0, 0.0, 0.5]])
    )
    got = terms(moving, robot, command=torch.tensor([[0.0, 0.2, 0.5]]))
    assert got["lin_vel_y_l2"] == got["ang_vel_z_l2"] == 0.0
    assert got["track_lin_vel_y"] == got["track_yaw_rate"] == 1.0
    off = terms(moving, robot, command=torch.tensor([[0.0, 0.1, 0.9]]))
    assert off["lin_vel_y_l2"] == pytest.approx(0.01)
    assert off["ang_vel_z_l2"] == pytest.approx(0.16)
    assert off["track_lin_vel_y"] == pytest.approx(math.exp(-0.4))
    assert off["track_yaw_rate"] == pytest.approx(math.exp(-0.8))


def test_nobody_is_paid_for_what_is_not_commanded(standing: Measurements, robot: RobotSpec) -> None:
    got = terms(standing, robot)
    assert got["track_lin_vel_y"] == got["track_yaw_rate"] == 0.0
    drifting = replace(standing, linvel_h=torch.tensor([[0.0, 0.2, 0.0]]))
    assert terms(drifting, robot)["lin_vel_y_l2"] == pytest.approx(0.04)


def test_who_turns_in_place_has_to_step_but_not_to_move_on(
    standing: Measurements, robot: RobotSpec
) -> None:
    slow = replace(standing, linvel_h=torch.zeros(1, 3))
    turning = torch.tensor([[0.0, 0.0, 0.1]])
    assert terms(slow, robot, command=turning)["standing"] == 0.0
    assert terms(slow, robot)["standing"] == 1.0
    assert bool(context(slow, robot, command=turning).walking)
    assert not bool(context(slow, robot, command=torch.tensor([[0.0, 0.04, 0.09]])).walking)


@pytest.mark.parametrize("side", [-1.0, 1.0], ids=["lower", "upper"])
def test_a_joint_on_its_stop_costs_how_far_it_is_on_it(
    standing: Measurements, robot: RobotSpec, side: float
) -> None:
    """A joint may come within 0.02 rad of its stop; straight knees are on theirs."""
    assert terms(standing, robot)["joint_pos_limits"] == pytest.approx(2 * 0.02)
    unit = replace(robot, joint_range=torch.tensor([[-1.0, 1.0]]).expand(8, 2))
    for position, cost in ((0.9, 0.0), (0.98, 0.0), (0.99, 0.01), (1.0, 0.02), (1.01, 0.03)):
        m = replace(standing, joint_pos=side * torch.tensor([[position, 0.985] + [0.0] * 6]))
        assert terms(m, unit)["joint_pos_limits"] == pytest.approx(cost + 0.005, abs=1e-6)


def test_a_hard_landing_costs_its_force_beyond_one_and_a_half_weights(
    standing: Measurements, robot: RobotSpec
) -> None:
    assert terms(standing, robot)["feet_contact_forces"] == 0.0
    force = torch.tensor([[1.75, 2.25]]) * robot.weight
    got = terms(replace(standing, foot_force=force), robot)
    assert got["feet_contact_forces"] == pytest.approx(0.25 + 0.75)


def test_bobbing_costs_the_square_of_the_height_off_its_average(
    standing: Measurements, robot: RobotSpec
) -> None:
    got = terms(standing, robot, mean_height=torch.tensor([0.448]))  # 2 cm below the root
    assert got["base_height_variance"] == pytest.approx(4.0, rel=1e-4)


@pytest.mark.parametrize(("drift", "cost"), [(0.0, 0.0), (-0.2, 0.2), (0.3, 0.3), (4.0, 1.0)])
def test_drift_costs_its_distance_on_either_side(
    standing: Measurements, robot: RobotSpec, drift: float, cost: float
) -> None:
    got = terms(standing, robot, drift=torch.tensor([drift]))
    assert got["xy_drift"] == pytest.approx(cost)


def test_terms_that_came_later_leave_the_reward_its_last_bit() -> None:
    values = torch.randn(64, len(TERMS))
    later = list(TERMS).index("termination") + 1
    values[:, later:] = 0.0
    assert torch.equal(total(values), values[:, :later].sum(-1))
    values[:, -1] = 1.0
    torch.testing.assert_close(total(values), values.sum(-1))

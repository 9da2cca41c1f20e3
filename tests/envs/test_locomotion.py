"""Tests of envs.locomotion: TorchRL's contract, resets, time-outs, start states, resume."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs.utils import check_env_specs

from envs.locomotion import LocomotionConfig, LocomotionEnv
from envs.reality.disturbances import PushConfig
from envs.reality.faults import FaultConfig
from envs.reality.randomization import TERMS, Draw, RandomizationConfig
from envs.task.commands import CommandConfig
from envs.task.starts import ResetConfig
from envs.task.support import SupportConfig
from tests.tasks import shares

NUM = 6
QUIET = ResetConfig(joint_noise=0.0, velocity_noise=0.0)


def make(seed: int = 0, num: int = NUM, **config: object) -> LocomotionEnv:
    return LocomotionEnv(LocomotionConfig(**config), num, seed=seed)


def rollout(env: LocomotionEnv, steps: int, seed: int = 0) -> TensorDict:
    """(num_envs, steps) of random actions through the fused step."""
    generator = torch.Generator().manual_seed(seed)
    root, steps_taken = env.reset(), []
    for _ in range(steps):
        action = 2 * torch.rand(env.num_envs, 8, generator=generator) - 1
        taken, following = env.step_and_maybe_reset(root.set("action", action))
        steps_taken.append(taken.clone(recurse=False))
        root = following
    return torch.stack(steps_taken, dim=1)


@pytest.mark.parametrize("auto_reset", [True, False])
def test_specs_hold(auto_reset: bool) -> None:
    check_env_specs(make(auto_reset=auto_reset), break_when_any_done="both")


def test_nothing_aliases_the_next_step() -> None:
    """What a step returned does not change when later ones run."""
    env = make()
    root = env.reset()
    first, following = env.step_and_maybe_reset(root.set("action", torch.zeros(NUM, 8)))
    kept, kept_root = first.clone(), following.clone()
    for _ in range(3):
        _, following = env.step_and_maybe_reset(following.set("action", torch.ones(NUM, 8)))
    assert (first == kept).all()
    assert (first.get("next") == kept.get("next")).all()
    pointers = [t.data_ptr() for t in kept_root.values(True, True)]
    assert len(set(pointers)) == len(pointers)


def test_steps_differ_from_each_other() -> None:
    data = rollout(make(), 8)
    observation = data["next", "observation"]
    assert not torch.allclose(observation[:, 0], observation[:, 1])
    assert torch.equal(data["observation"][:, 1:][~data["next", "done"][:, :-1, 0]],
                       observation[:, :-1][~data["next", "done"][:, :-1, 0]])  # fmt: skip


def test_fused_step_equals_step_and_reset() -> None:
    """Where nothing ends, the fused path is plain stepping."""
    fused, plain = make(seed=3), make(seed=3)
    root, other = fused.reset(), plain.reset()
    action = 0.1 * torch.ones(NUM, 8)
    for _ in range(5):
        taken, root = fused.step_and_maybe_reset(root.set("action", action))
        other = plain.step(other.set("action", action))["next"]
    # The fused path draws reset states each step; physics does not depend on the draws.
    assert torch.allclose(taken["next", "observation"], other["observation"], atol=1e-6)


def test_same_seed_same_rollout_other_seed_another() -> None:
    a, b, c = (rollout(make(seed=s), 30) for s in (1, 1, 2))
    assert torch.equal(a["next", "observation"], b["next", "observation"])
    assert not torch.equal(a["observation"][:, 0], c["observation"][:, 0])


def test_time_out_keeps_the_true_last_observation() -> None:
    """At a time-out `next` holds the walked state, the root a fresh start; nothing terminated."""
    env = make(episode_length_s=0.2, reset=QUIET)
    data = rollout(env, 12)
    done = data["next", "done"][..., 0]
    assert done[:, 9].all() and not done[:, :9].any()
    assert data["next", "truncated"][:, 9].all() and not data["next", "terminated"].any()
    home = env.reset()["observation"]
    last, fresh = data["next", "observation"][:, 9], data["observation"][:, 10]
    joint_pos = env.layouts["observation"].slices["encoder_pos"]
    assert torch.allclose(fresh[:, joint_pos], home[:, joint_pos], atol=1e-5)
    assert (last[:, joint_pos] - fresh[:, joint_pos]).abs().max() > 0.05
    assert data["next", "metrics", "episode_length"][:, :, 0].tolist()[0] == [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2,
    ]  # fmt: skip


def test_a_fall_terminates_and_is_no_time_out() -> None:
    env = make(reset=QUIET)
    root = env.reset()
    robot = env.robot
    tipped = robot.home_qpos.repeat(NUM, 1)
    tipped[:, 3:7] = torch.tensor([0.9, 0.0, 0.4359, 0.0])  # 52 degrees forward
    mask = torch.zeros(NUM, dtype=torch.bool)
    mask[2] = True
    env.set_state(mask, tipped, torch.zeros(NUM, 14))
    taken, following = env.step_and_maybe_reset(root.set("action", torch.zeros(NUM, 8)))
    after = taken["next"]
    assert after["terminated"][:, 0].tolist() == mask.tolist()
    assert not after["truncated"].any()
    assert after["terms", "termination"][2] < 0
    assert after["metrics", "end_pitch"][:, 0].tolist() == mask.float().tolist()
    # The features before the reset are those of the fall, after it those of a fresh start.
    gravity_x = env.layouts["amp"].slices["gravity"].start
    assert after["amp"][2, gravity_x] > 0.7 > 0.1 > following["amp"][2, gravity_x].abs()


def test_reward_is_the_sum_of_its_terms_and_the_return_their_total() -> None:
    data = rollout(make(), 20)
    terms = torch.stack(list(data["next", "terms"].values())).sum(0)
    assert torch.allclose(terms, data["next", "reward"], atol=1e-5)
    alive = ~data["next", "done"][:, :, 0].any(1)
    total = data["next", "reward"][alive].sum(1)
    assert torch.allclose(data["next", "metrics", "episode_return"][alive, -1], total, atol=1e-4)


def test_start_states_are_used_with_their_commands() -> None:
    env = make(reset=QUIET)
    qpos = env.robot.home_qpos[None].clone()
    qpos[0, env.robot.joint_qpos_adr[2]] = 0.3
    qvel = torch.zeros(1, 14)
    qvel[0, 0] = 0.25
    env.set_start_states(qpos, qvel, torch.tensor([0.22]), probability=1.0)
    observation = env.layouts["critic_observation"].unpack(env.reset()["critic_observation"])
    assert torch.allclose(observation["linvel"][:, 0], torch.full((NUM,), 0.25), atol=1e-4)
    assert torch.allclose(observation["command"][:, 0], torch.full((NUM,), 0.22))


def test_commands_stay_then_change() -> None:
    env = make(command=CommandConfig(resample_s=0.1), reset=QUIET)
    data = rollout(env, 9)
    where = env.layouts["observation"].slices["command"]
    command = data["observation"][..., where][..., 0]
    assert torch.equal(command[:, 0], command[:, 4])
    assert not torch.isclose(command[:, 4], command[:, 5]).any()
    assert torch.equal(command[:, 5], command[:, 8])


def test_fixed_commands_survive_resets_and_resampling() -> None:
    env = make(command=CommandConfig(resample_s=0.04), episode_length_s=0.1)
    fixed = torch.linspace(0.1, 0.5, NUM)
    env.set_commands(fixed)
    data = rollout(env, 12)
    where = env.layouts["observation"].slices["command"]
    assert torch.equal(data["observation"][..., where][..., 0], fixed[:, None].expand(-1, 12))


def test_action_moves_the_joints_it_should() -> None:
    """Flexing both knees by equal actions bends both knees and lowers the root."""
    env = make(reset=QUIET)
    root = env.reset()
    action = torch.zeros(NUM, 8)
    action[:, [0, 2, 3, 4, 6, 7]] = torch.tensor([0.2, 0.4, -0.2, 0.2, 0.4, -0.2]) / 1.4
    for _ in range(40):
        _, root = env.step_and_maybe_reset(root.set("action", action))
    m = env.measure()
    flexion = (env.robot.action_sign * (m.joint_pos - env.robot.joint_home))[0]
    assert flexion[[0, 4]].tolist() == pytest.approx([0.2, 0.2], abs=0.06)
    assert flexion[[2, 6]].tolist() == pytest.approx([0.4, 0.4], abs=0.08)
    assert m.height[0] < 0.462


def test_standing_still_lasts() -> None:
    env = make(reset=QUIET)
    root = env.reset()
    for _ in range(200):
        taken, root = env.step_and_maybe_reset(root.set("action", torch.zeros(NUM, 8)))
        assert not taken["next", "done"].any()


def test_pushes_move_the_robot() -> None:
    still, pushed = (
        make(reset=QUIET, push=PushConfig(impulse_max=impulse, interval_s=0.3))
        for impulse in (0.0, 1.2)
    )
    ends = []
    for env in (still, pushed):
        root = env.reset()
        for _ in range(50):
            _, root = env.step_and_maybe_reset(root.set("action", torch.zeros(NUM, 8)))
        ends.append(root["amp"])
    assert (ends[0] - ends[1]).abs().max() > 0.05


def test_a_share_of_none_leaves_pushes_leans_faults_and_terms_out() -> None:
    hard = {
        "push": PushConfig(impulse_max=1.2, interval_s=0.3),
        "reset": replace(QUIET, lean=0.2, lean_rate=0.5),
        "faults": FaultConfig(displacement_interval_s=0.1),
        "randomization": RandomizationConfig(payload=Draw(low=0.4, high=0.5)),
    }
    ends = []
    for config, share in (({"reset": QUIET}, None), (hard, 0.0), (hard, 1.0)):
        env = make(**config)
        if share is not None:
            names = ("push", "lean", "faults", "terms")
            env.set_shares(shares(num_terms=1, **dict.fromkeys(names, share)))
        env.set_commands(torch.full((NUM,), 0.2))
        root = env.reset()
        for _ in range(20):
            _, root = env.step_and_maybe_reset(root.set("action", torch.zeros(NUM, 8)))
        ends.append(root["amp"])
    plain, none, whole = ends
    assert torch.equal(plain, none)
    assert (plain - whole).abs().max() > 0.05


def test_support_holds_and_without_auto_reset_a_fall_ends_nothing() -> None:
    """Targets above home lift with at most the cap; a fall is recorded, the episode goes on."""
    env = make(support=SupportConfig(), auto_reset=False, reset=QUIET)
    root = env.reset()
    height = torch.full((NUM,), 0.9)
    quat = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(NUM, 1)
    env.set_support_targets(height, quat)
    for _ in range(5):
        taken, root = env.step_and_maybe_reset(root.set("action", torch.zeros(NUM, 8)))
    assert torch.allclose(env.support.mean[:, 2], torch.full((NUM,), 4.0), atol=1e-4)
    support = env.measure().foot_force.sum(-1)
    assert torch.allclose(support, torch.full((NUM,), env.robot.weight - 4.0), rtol=0.1)
    tipped = env.robot.home_qpos.repeat(NUM, 1)
    tipped[:, 3:7] = torch.tensor([0.7071, 0.7071, 0.0, 0.0])
    env.set_state(torch.ones(NUM, dtype=torch.bool), tipped, torch.zeros(NUM, 14))
    taken, root = env.step_and_maybe_reset(root.set("action", torch.zeros(NUM, 8)))
    assert taken["next", "fallen"].all() and not taken["next", "done"].any()
    assert not env.support.mean.any()


def test_support_targets_need_a_support() -> None:
    with pytest.raises(ValueError, match="support"):
        make().set_support_targets(torch.zeros(NUM), torch.zeros(NUM, 4))


def test_a_simulation_that_fails_is_ended_counted_and_kept_out() -> None:
    env = make(reset=QUIET)
    root = env.reset()
    mask = torch.zeros(NUM, dtype=torch.bool)
    mask[1] = True
    broken = torch.full((NUM, 14), float("nan"))
    env.set_state(mask, env.robot.home_qpos.repeat(NUM, 1), broken)
    taken, root = env.step_and_maybe_reset(root.set("action", torch.zeros(NUM, 8)))
    after = taken["next"]
    assert after["metrics", "end_physics"][:, 0].tolist() == mask.float().tolist()
    assert after["terminated"][:, 0].tolist() == mask.tolist()
    for key in (*env.layouts, "reward"):
        assert torch.isfinite(after[key]).all(), key
    assert torch.isfinite(root["observation"]).all()
    taken, _ = env.step_and_maybe_reset(root.set("action", torch.zeros(NUM, 8)))
    assert not taken["next", "metrics", "end_physics"].any()


def test_a_coarser_physics_step_is_the_same_robot_and_nearly_the_same_motion() -> None:
    """What was made at 2 ms, a reference for example, may be used at 4 ms."""
    usual, coarse = make(num=1, seed=3), make(num=1, seed=3, sim_dt=0.004)
    assert coarse.backend.model.opt.timestep == 0.004
    assert coarse.robot.digest == usual.robot.digest
    seen = []
    for env in (usual, coarse):
        root = env.reset()
        for _ in range(10):
            _, root = env.step_and_maybe_reset(root.set("action", torch.full((1, 8), 0.2)))
        seen.append(env.backend.state().qpos.clone())
    assert not torch.equal(*seen)
    torch.testing.assert_close(*seen, atol=0.01, rtol=0.0)


def test_resume_is_exact() -> None:
    config = {"push": PushConfig(impulse_max=0.36, interval_s=0.5), "episode_length_s": 0.5}
    env = make(seed=7, **config)
    rollout(env, 10)
    root = env.reset()
    state = {k: v.clone() for k, v in env.get_sim_state().items()}
    again = make(seed=99, **config)
    again.reset()
    again.set_sim_state(state)
    action = 0.3 * torch.ones(NUM, 8)
    other = root.clone()
    for _ in range(40):
        taken, root = env.step_and_maybe_reset(root.set("action", action))
        taken_again, other = again.step_and_maybe_reset(other.set("action", action))
        assert torch.equal(taken["next", "observation"], taken_again["next", "observation"])
        assert torch.equal(root["observation"], other["observation"])


def test_the_first_reset_after_a_resume_returns_the_saved_root_and_draws_nothing() -> None:
    """So whoever begins with a reset, as a collector does, goes on as if never interrupted."""
    env = make(seed=7, episode_length_s=0.5)
    rollout(env, 10)
    action = 0.3 * torch.ones(NUM, 8)
    _, root = env.step_and_maybe_reset(env.reset().set("action", action))
    state = {key: value.clone() for key, value in env.get_sim_state().items()}
    again = make(seed=99, episode_length_s=0.5)
    again.set_sim_state(state)
    resumed = again.reset()
    assert (root == resumed).all()
    for _ in range(40):  # over time-outs, whose starts are drawn
        _, root = env.step_and_maybe_reset(root.set("action", action))
        _, resumed = again.step_and_maybe_reset(resumed.set("action", action))
        assert torch.equal(root["observation"], resumed["observation"])
    assert torch.equal(env.reset()["observation"], again.reset()["observation"])
    assert not torch.equal(again.reset()["observation"], root["observation"])


def test_a_saved_root_is_out_of_date_after_a_step() -> None:
    env = make(reset=QUIET)
    env.reset()
    env.set_sim_state({key: value.clone() for key, value in env.get_sim_state().items()})
    env.step(TensorDict({"action": torch.ones(NUM, 8)}, batch_size=[NUM]))
    moved = env.measure().joint_pos
    assert not any(key.startswith("root/") for key in env.get_sim_state())
    env.reset()
    assert (env.measure().joint_pos - moved).abs().max() > 1e-3  # at home again


def test_the_root_an_episode_begins_with_says_where() -> None:
    env = make(num=64, reset=QUIET, episode_length_s=0.2)
    home = env.robot.home_qpos.repeat(3, 1)
    home[:, 2] += torch.tensor([0.01, 0.02, 0.03])
    env.set_start_states(home, torch.zeros(3, 14), torch.zeros(3), 0.6, torch.tensor([9, 4, 0]))
    root, begun, fresh = env.reset(), 0, torch.ones(64, dtype=torch.bool)
    for _ in range(20):
        start, height = root["rsi_index"][:, 0], env.backend.state().qpos[:, 2]
        assert (start[~fresh] == -2).all() and (start[fresh] >= -1).all()
        for number, above in ((-1, 0.0), (9, 0.01), (4, 0.02), (0, 0.03)):
            here = fresh & (start == number)
            begun += int(here.sum())
            expected = env.robot.home_qpos[2] + above
            assert torch.allclose(height[here], expected, atol=1e-5)
        taken, root = env.step_and_maybe_reset(root.set("action", torch.zeros(64, 8)))
        assert (taken["next", "rsi_index"] == -2).all()
        fresh = taken["next", "done"][:, 0]
    assert begun >= 2 * 64


SEEN = (
    "sole_friction", "zero_error", "strength", "gain", "compliance", "imu_tilt", "action_delay",
)  # fmt: skip
"""Terms that the critic sees."""


def test_no_observation_is_constant_over_a_random_rollout() -> None:
    env = make(
        num=16,
        command=CommandConfig(lateral_max=0.2, yaw_rate_max=0.5),
        push=PushConfig(impulse_max=0.5, interval_s=0.2),
        randomization=RandomizationConfig(**{name: TERMS[name].typical for name in SEEN}),
    )
    data = rollout(env, 60)
    for key, layout in env.layouts.items():
        spread = data["next", key].flatten(0, 1).std(0)
        for name, where in layout.slices.items():
            assert spread[where].min() > 1e-4, f"{key}: {name}"


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        ({"ctrl_dt": 0.021}, "integer multiple"),
        ({"command": CommandConfig(resample_s=0.01)}, "command.resample_s is 0.01 s"),
        ({"sim_dt": 0.0}, "sim_dt"),
        ({"episode_length_s": 0.01}, "episode_length_s is 0.01 s"),
        ({"support": SupportConfig(), "sim_dt": 0.005}, "a multiple of 5"),
    ],
)
def test_refuses_settings_that_cannot_work(bad: dict, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        LocomotionConfig(**bad)


def test_unknown_physics_names_the_engines() -> None:
    with pytest.raises(ValueError, match="allowed: native"):
        LocomotionEnv(LocomotionConfig(), 1, physics="bullet")


def test_wrong_number_of_commands_is_refused() -> None:
    with pytest.raises(ValueError, match="commands have shape"):
        make().set_commands(torch.zeros(NUM + 1))


def test_staggered_episodes_end_one_after_the_other() -> None:
    env = make(num=40, episode_length_s=2.0, reset=QUIET)  # 100 steps, none falls so soon
    env.set_commands(torch.zeros(40))
    root = env.reset()
    ends = []
    for step in range(100):
        if step == 1:
            env.stagger()
        taken, root = env.step_and_maybe_reset(root.set("action", torch.zeros(40, 8)))
        ends.append(int(taken["next", "truncated"].sum()))
    assert ends[0] == 0 and sum(ends) >= 38
    # Without it all 40 would end in step 100.
    assert max(ends) < 8 and sum(count > 0 for count in ends) > 20

from __future__ import annotations

import torch
from tensordict import TensorDict

from envs.physics.native import NativePhysics
from envs.reality.servo import ServoConfig
from wildrobot_torch.reference.follow.rollout import clip_env
from wildrobot_torch.reference.verify.dynamics import recover, tangent


def _step(loaded, qpos, qvel, ctrl, wrench):
    physics = NativePhysics(loaded.model, len(qpos))
    physics.reset(torch.ones(len(qpos), dtype=torch.bool), qpos, qvel, ctrl)
    applied = torch.zeros(len(qpos), loaded.model.nbody, 6)
    applied[:, loaded.robot.root_body] = wrench
    physics.step(ctrl, applied, 10)
    state = physics.state()
    return state.qpos, state.qvel


def _states(loaded, height):
    qpos = loaded.robot.home_qpos.repeat(16, 1)
    # Knees bent, soles as high as before: no joint is on its stop.
    qpos[:, 7:] = torch.tensor([0.2, 0.0, 0.4, -0.2, -0.2, 0.0, 0.4, -0.2])
    qpos[:, 2] += height - 0.0075
    qvel = 0.1 * torch.randn(16, loaded.model.nv)
    ctrl = qpos[:, 7:] + 0.05 * torch.randn(16, loaded.robot.num_joints)
    return qpos, qvel, ctrl


def test_recovers_the_targets_that_made_a_step(timed):
    qpos, qvel, ctrl = _states(timed, 0.0)
    nothing = torch.zeros(16, 6)
    after = _step(timed, qpos, qvel, ctrl, nothing)
    targets, residual = recover(qpos, qvel, *after, nothing, timed, 0.02)
    # A contact that opens within the step makes a few of them hard; most come out to rounding.
    assert float(residual.abs().amax(-1).median()) < 1e-3
    middle = 0.5 * (targets[:, :8] + targets[:, 8:])
    assert float((middle - ctrl).abs().amax(-1).median()) < 5e-3


def test_explains_a_step_of_a_real_servo(timed):
    """The servo's own target travels to the one that was sent, and its torque falls with speed."""
    env = clip_env(16, servo=ServoConfig(model="robot"))
    qpos, qvel, ctrl = _states(timed, 0.0)
    env.set_state(torch.ones(16, dtype=torch.bool), qpos, qvel)
    env.step(TensorDict({"action": env.joint_targets_to_action(ctrl)}, batch_size=[16]))
    state = env.backend.state()
    _, residual = recover(qpos, qvel, state.qpos, state.qvel, torch.zeros(16, 6), timed, 0.02)
    assert float(residual.abs().amax(-1).median()) < 1e-3


def test_the_hand_that_holds_a_robot_in_the_air_must_be_recorded(timed):
    qpos, qvel, ctrl = _states(timed, 0.1)
    wrench = torch.zeros(16, 6)
    wrench[:, 2] = timed.robot.weight
    after = _step(timed, qpos, qvel, ctrl, wrench)
    _, explained = recover(qpos, qvel, *after, wrench, timed, 0.02)
    assert float(explained.abs().amax(-1).median()) < 1e-3
    _, unaided = recover(qpos, qvel, *after, torch.zeros(16, 6), timed, 0.02)
    # g times the control step: what no servo in the air can do.
    assert float(unaided.abs().amax(-1).min()) > 0.1


def test_tangent_reads_like_qvel():
    # A quarter turn about z from a body that lies on its side is a quarter turn about its own -y.
    half = 0.5**0.5
    a = torch.tensor([[0.0, 0, 0, half, half, 0, 0, 0.1]])
    b = torch.tensor([[1.0, 2, 3, 0.5, 0.5, 0.5, 0.5, 0.3]])
    expected = torch.tensor([[1.0, 2, 3, 0, torch.pi / 2, 0, 0.2]])
    torch.testing.assert_close(tangent(a, b), expected)
    torch.testing.assert_close(tangent(a, b * torch.tensor([1, 1, 1, -1, -1, -1, -1, 1])), expected)

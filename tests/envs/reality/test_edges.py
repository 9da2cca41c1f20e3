"""Robots at the edges of terms, by hand: who is put there, what is drawn, how ends are counted."""

from __future__ import annotations

from dataclasses import replace

import torch
from tensordict import TensorDict

from envs.locomotion import LocomotionEnv
from envs.reality.randomization import (
    NO_EDGE,
    Draw,
    RandomizationConfig,
    ends_at_edges,
    new_edges,
    sample,
)
from tests.tasks import ideal_task, shares

RANGES = {
    "mass": Draw(low=0.9, high=1.2),  # about 1
    "payload": Draw(low=0.0, high=0.5),  # from 0
    "zero_error": Draw(sd=0.03),
}
SIZES = {"mass": 2, "payload": 1, "zero_error": 2}


def test_a_term_at_its_edge_has_the_hardest_values_of_its_width() -> None:
    uniform = torch.tensor([[0.1, 0.9, 0.2, 0.3, 0.7]]).repeat(4, 1)
    widths, edge = torch.tensor([0.5, 0.5, 1.0]), torch.tensor([NO_EDGE, 0, 1, 2])
    plain, drawn = sample(uniform, widths, SIZES, RANGES), sample(
        uniform, widths, SIZES, RANGES, edge
    )  # fmt: skip
    for number, name in enumerate(RANGES):
        others = edge != number
        assert torch.equal(drawn[name][others], plain[name][others])
    torch.testing.assert_close(drawn["mass"][1], torch.tensor([0.95, 1.1]))
    torch.testing.assert_close(drawn["payload"][2], torch.tensor([0.25]))
    torch.testing.assert_close(drawn["zero_error"][3], torch.tensor([-0.03, 0.03]))


def test_half_of_the_new_robots_are_at_an_edge_each_term_alike() -> None:
    draws = torch.tensor([[0.1, 0.6, 0.4, 0.0], [0.0, 0.9, 0.99, 0.5]])
    mask = torch.tensor([True, True, True, False])
    edge = new_edges(torch.tensor([2, 2, 2, 1]), mask, draws, 3)
    assert edge.tolist() == [0, NO_EDGE, 2, 1]
    drawn = torch.rand(2, 6000, generator=torch.Generator().manual_seed(0))
    everyone = torch.ones(6000, dtype=torch.bool)
    shared = new_edges(torch.zeros(6000, dtype=torch.long), everyone, drawn, 3)
    counts = (shared + 1).bincount() / 6000
    torch.testing.assert_close(counts, torch.tensor([3, 1, 1, 1]) / 6, atol=0.02, rtol=0.0)


def test_ends_are_counted_by_the_term_at_its_edge() -> None:
    edge = torch.tensor([0, 0, 0, 2, NO_EDGE])
    done = torch.tensor([True, True, False, True, True])
    fallen = torch.tensor([True, False, True, False, True])
    assert ends_at_edges(edge, done, fallen, 3).tolist() == [[2, 1], [0, 0], [1, 0]]


def test_an_environment_puts_robots_at_edges_counts_their_ends_and_resumes() -> None:
    config = ideal_task(randomization=RandomizationConfig(**RANGES), episode_length_s=0.06)

    def make(seed: int) -> LocomotionEnv:
        env = LocomotionEnv(config, 16, seed=seed)
        env.reality.judge_terms()
        env.set_shares(replace(shares(), terms=torch.tensor([0.5, 0.5, 1.0])))
        return env

    env = make(0)
    root, action = env.reset(), torch.zeros(16, 8)
    assert env.reality.edge is not None
    payload = env.reality.state.drawn["payload"][:, 0]
    at_edge = env.reality.edge == 1
    assert 0 < at_edge.sum() < 16
    assert (payload[at_edge] == 0.25).all() and (payload[~at_edge] < 0.25).all()
    expected = (env.reality.edge + 1).bincount(minlength=4)[1:]
    for _ in range(3):
        _, root = env.step_and_maybe_reset(root.set("action", action))
    ends = env.reality.take_edge_ends()
    assert ends[:, 0].tolist() == expected.tolist() and not ends[:, 1].any()
    assert not env.reality.take_edge_ends().any()

    env.step_and_maybe_reset(TensorDict({"action": action}, [16]))
    saved = {key: value.clone() for key, value in env.get_sim_state().items()}
    again = make(1)
    again.reset()
    again.set_sim_state(saved)
    for one in (env, again):
        for _ in range(2):
            one.step_and_maybe_reset(TensorDict({"action": action}, [16]))
    counted = env.reality.take_edge_ends()
    assert counted.sum() > 0
    assert torch.equal(counted, again.reality.take_edge_ends())
    assert again.reality.edge is not None
    assert torch.equal(env.reality.edge, again.reality.edge)

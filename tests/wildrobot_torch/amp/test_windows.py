"""wildrobot_torch.amp.windows: windows against a slow loop over every frame."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from envs.task.starts import AT_HOME, UNDER_WAY
from wildrobot_torch.amp.windows import History, reference_past

# Two reference segments, of 5 and 4 frames; a frame's feature is its number.
REFERENCE = torch.arange(9.0)[:, None] + torch.tensor([0.0, 100.0])
FIRST = torch.tensor([0, 0, 0, 0, 0, 5, 5, 5, 5])


def test_reference_past_ends_before_the_frame_and_stays_in_its_segment():
    past = reference_past(REFERENCE, FIRST, torch.tensor([4, 1, 0, 7, 5]), 3)[..., 0]
    assert past.tolist() == [[1, 2, 3], [0, 0, 0], [0, 0, 0], [5, 5, 6], [5, 5, 5]]


class Robots:
    """Numbered frames of robots whose episodes end at random, and all that came before each."""

    def __init__(self, num_envs: int, seed: int) -> None:
        self.num_envs = num_envs
        self.generator = torch.Generator().manual_seed(seed)
        self.clock = 1000.0
        self.lives: list[list[Tensor]] = [[] for _ in range(num_envs)]
        self.begins = [True] * num_envs

    def _frame(self) -> Tensor:
        self.clock += 1.0
        return torch.tensor([self.clock, -self.clock])

    def rollout(self, steps: int, window: int) -> tuple[Tensor, ...]:
        """amp, following, start, and the windows a robot would remember, frame by frame."""
        shape = (self.num_envs, steps)
        amp, following = torch.zeros(*shape, 2), torch.zeros(*shape, 2)
        start = torch.full(shape, UNDER_WAY)
        expected = torch.zeros(*shape, window, 2)
        for env in range(self.num_envs):
            for step in range(steps):
                if self.begins[env]:
                    number = int(torch.randint(-1, 9, (), generator=self.generator))
                    root = self._frame()
                    come = [root] * 10 if number == AT_HOME else []
                    for frame in range(number - 10, number) if number >= 0 else ():
                        come.append(REFERENCE[max(frame, int(FIRST[number]))])
                    self.lives[env] = [*come, root]
                    start[env, step] = number
                amp[env, step] = self.lives[env][-1]
                self.lives[env].append(self._frame())
                following[env, step] = self.lives[env][-1]
                expected[env, step] = torch.stack(self.lives[env][-window:])
                self.begins[env] = bool(torch.rand((), generator=self.generator) < 0.3)
        return amp, following, start, expected


@pytest.mark.parametrize("window", [1, 2, 3, 6, 10])
def test_windows_are_what_each_robot_remembers(window: int):
    robots, history = Robots(7, seed=window), History(window)
    for steps in (5, 1, 12, 2):
        amp, following, start, expected = robots.rollout(steps, window)
        assert torch.equal(history.windows(amp, following, start, (REFERENCE, FIRST)), expected)


def test_a_restored_history_goes_on():
    robots, history = Robots(3, seed=0), History(6)
    history.windows(*robots.rollout(4, 6)[:3], (REFERENCE, FIRST))
    restored = History(6)
    restored.load_state_dict(history.state_dict(), "cpu")
    *rollout, expected = robots.rollout(4, 6)
    assert torch.equal(restored.windows(*rollout, (REFERENCE, FIRST)), expected)


def test_history_of_other_simulations_is_forgotten():
    history = History(4)
    history.windows(*Robots(3, seed=0).rollout(4, 4)[:3], (REFERENCE, FIRST))
    *rollout, expected = Robots(5, seed=1).rollout(4, 4)
    assert torch.equal(history.windows(*rollout, (REFERENCE, FIRST)), expected)

"""Actor and critic, each with the normaliser of its observations inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wildrobot_torch.ppo.normalizer import RunningNorm

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Shape of actor and critic."""

    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers."""
    activation: Literal["elu", "relu", "silu", "tanh"] = "silu"
    """Nonlinearity after each hidden layer."""
    init_std: float = 0.37
    """Standard deviation of the actions at the start."""

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"network.hidden is {self.hidden}; it needs positive widths")
        if self.init_std <= 0.0:
            raise ValueError(f"network.init_std is {self.init_std}; it must be positive")


def mlp(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers of the given widths with an activation between each two.

    Raises:
        ValueError: no activation has that name.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
    layers: list[nn.Module] = []
    for index in range(len(sizes) - 1):
        if index:
            layers.append(ACTIVATIONS[activation]())
        layers.append(nn.Linear(sizes[index], sizes[index + 1]))
    return nn.Sequential(*layers)


class Policy(nn.Module):
    """Gaussian policy: a mean per observation and one standard deviation per action."""

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        init_std: float = 0.37,
    ) -> None:
        """An untrained policy: its mean action is near 0 for every observation.

        Args:
            obs_size: number of observed values O.
            action_size: number of actions A.
            hidden: widths of the hidden layers.
            activation: name in `ACTIVATIONS`.
            init_std: standard deviation of the actions.
        """
        super().__init__()
        self.hparams: dict[str, Any] = {
            "obs_size": obs_size,
            "action_size": action_size,
            "hidden": list(hidden),
            "activation": activation,
        }
        self.normalizer = RunningNorm(obs_size)
        self.net = mlp([obs_size, *hidden, action_size], activation)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            # Near-zero first actions: the robot starts at home and noise alone explores.
            last.weight.mul_(0.01)
            last.bias.zero_()
        self.log_std = nn.Parameter(torch.full((action_size,), math.log(init_std)))

    def forward(self, observation: Tensor) -> Tensor:
        """Mean action (..., A) for observations (..., O), not clipped."""
        return self.net(self.normalizer(observation))

    def act(self, observation: Tensor) -> Tensor:
        """Deterministic action (..., A) in [-1, 1] for observations (..., O)."""
        return self(observation).clamp(-1.0, 1.0)


class Critic(nn.Module):
    """Value of a state, from all that the simulator knows of it."""

    def __init__(self, obs_size: int, hidden: Sequence[int], activation: str) -> None:
        """An untrained critic of `obs_size` observed values C."""
        super().__init__()
        self.normalizer = RunningNorm(obs_size)
        self.net = mlp([obs_size, *hidden, 1], activation)

    def forward(self, critic_observation: Tensor) -> Tensor:
        """Values (...) of privileged observations (..., C)."""
        return self.net(self.normalizer(critic_observation)).squeeze(-1)


def actor_from_hparams(hparams: dict[str, Any]) -> Policy:
    """Policy of the shape in a checkpoint's `actor` entry, with untrained weights.

    Raises:
        ValueError: an entry is missing or unknown.
    """
    expected = ("obs_size", "action_size", "hidden", "activation")
    if set(hparams) != set(expected):
        raise ValueError(f"actor has entries {sorted(hparams)}; expected {sorted(expected)}")
    return Policy(**hparams)

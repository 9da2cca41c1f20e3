"""Actor and critic, each with the normaliser of its observations inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from envs.errors import UserError
from envs.robot.symmetry import Mirror
from wildrobot_torch.ppo.normalizer import Reduce, RunningNorm

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
    init_std: float = 0.21
    """Standard deviation of the actions at the start."""
    asymmetry: float = 0.2
    """How far the networks may tell left from right: 0 not at all, mirrored observations get
    mirrored actions; 1 like any network. At 0 a robot that stands straight cannot choose which foot
    to lift, unless noise does."""
    deployed_asymmetry: float = 0.1
    """The same of the averaged policy, the one to deploy, with the weights it has: a gait once
    chosen is kept up, and less favours one leg; at most `asymmetry`, and 1 where that is 1."""

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"network.hidden is {self.hidden}; it needs positive widths")
        if self.init_std <= 0.0:
            raise ValueError(f"network.init_std is {self.init_std}; it must be positive")
        if not 0.0 <= self.asymmetry <= 1.0:
            raise ValueError(f"network.asymmetry is {self.asymmetry}; allowed: 0 to 1")
        if not 0.0 <= self.deployed_asymmetry <= self.asymmetry:
            raise ValueError(
                f"network.deployed_asymmetry is {self.deployed_asymmetry}; allowed: 0 to "
                f"network.asymmetry, {self.asymmetry}"
            )
        if self.asymmetry == 1.0 and self.deployed_asymmetry < 1.0:
            raise ValueError(
                f"network.deployed_asymmetry is {self.deployed_asymmetry}; networks of asymmetry 1 "
                "know no mirror: set it to 1"
            )


def mlp(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers of the given widths with an activation between each two.

    Raises:
        ValueError: no activation has that name.
    """
    return _stacked([nn.Linear(*pair) for pair in pairwise(sizes)], activation)


def _stacked(linears: Sequence[nn.Linear], activation: str) -> nn.Sequential:
    if activation not in ACTIVATIONS:
        raise UserError(f"activation is {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
    layers: list[nn.Module] = [linears[0]]
    for linear in linears[1:]:
        layers += [ACTIVATIONS[activation](), linear]
    return nn.Sequential(*layers)


class MirrorMap(nn.Module):
    """A mirror as part of a network: its tables are saved with the weights."""

    index: Tensor
    sign: Tensor

    def __init__(self, size: int, mirror: Mirror | None = None) -> None:
        """The mirror of `size` values; None leaves them as they are, until weights are loaded."""
        super().__init__()
        self.register_buffer("index", torch.arange(size) if mirror is None else mirror.index)
        self.register_buffer("sign", torch.ones(size) if mirror is None else mirror.sign)

    def forward(self, values: Tensor) -> Tensor:
        """Mirrored values (..., D)."""
        return values.index_select(-1, self.index) * self.sign


class MirroredLinear(nn.Linear):
    """A linear layer that commutes, or nearly so, with mirrors: f(M x) = M' f(x).

    Its weights are [(1 + a) W + (1 - a) M' W M] / 2: the nearest to W that commute, and a share a
    of what does not (Finzi et al. 2021, arXiv:2104.09459: equivariance as a projection;
    arXiv:2112.01388: as a preference). It costs what a plain layer does.
    """

    def __init__(self, into: MirrorMap, out: MirrorMap, asymmetry: float) -> None:
        """From values mirrored by `into` M to values mirrored by `out` M'; `asymmetry` a."""
        super().__init__(into.index.numel(), out.index.numel())
        self.into, self.out = into, out
        self.asymmetry = asymmetry
        with torch.no_grad():
            # Averaging W with its image makes it smaller; this keeps the outputs' spread.
            self.weight.div_(math.hypot(*self._shares))

    @property
    def _shares(self) -> tuple[float, float]:
        """What the weights, and what their images count for."""
        return 0.5 * (1.0 + self.asymmetry), 0.5 * (1.0 - self.asymmetry)

    def forward(self, input: Tensor) -> Tensor:
        """Outputs (..., D') of inputs (..., D)."""
        own, mirrored = self._shares
        image = self.into(self.weight.index_select(0, self.out.index)) * self.out.sign[:, None]
        weight = own * self.weight + mirrored * image
        bias = own * self.bias + mirrored * self.out(self.bias)
        return nn.functional.linear(input, weight, bias)


def mirrored_mlp(
    into: MirrorMap, hidden: Sequence[int], out: MirrorMap, activation: str, asymmetry: float
) -> nn.Sequential:
    """`mlp` that answers mirrored inputs with mirrored outputs, but for a share `asymmetry`.

    The halves of each hidden layer are each other's mirror images.

    Raises:
        ValueError: a hidden width is odd, or no activation has that name.
    """
    if any(width % 2 for width in hidden):
        raise UserError(
            f"network.hidden is {tuple(hidden)}; symmetric networks have even widths, or set "
            "network.asymmetry and network.deployed_asymmetry to 1"
        )
    maps = [into]
    for width in hidden:
        halves = torch.arange(width).reshape(2, -1).flip(0).flatten()
        maps.append(MirrorMap(width, Mirror(halves, torch.ones(width))))
    pairs = pairwise([*maps, out])
    return _stacked([MirroredLinear(*pair, asymmetry) for pair in pairs], activation)


class Normalized(nn.Module):
    """A network behind the running normaliser of what it reads."""

    normalizer: RunningNorm
    mirror: MirrorMap | None

    @torch.no_grad()
    def update_normalizer(self, observation: Tensor, reduce: Reduce | None = None) -> None:
        """Merge observations (..., O) into the normaliser; their mirror images count alike."""
        if self.mirror is not None:
            observation = torch.stack([observation, self.mirror(observation)])
        self.normalizer.update(observation, reduce)


class Policy(Normalized):
    """Gaussian policy: a mean per observation and one standard deviation per action."""

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: Sequence[int] = (128, 128),
        activation: str = "silu",
        init_std: float = 0.21,
        mirrors: tuple[Mirror, Mirror] | None = None,
        asymmetry: float = 1.0,
    ) -> None:
        """An untrained policy: its mean action is near 0 for every observation.

        Args:
            obs_size: number of observed values O.
            action_size: number of actions A.
            hidden: widths of the hidden layers.
            activation: name in `ACTIVATIONS`.
            init_std: standard deviation of the actions.
            mirrors: of observations and actions; None where there are none, or where they come
                with saved weights.
            asymmetry: how far the policy may tell left from right, 0 to 1; 1 needs no mirrors.
        """
        super().__init__()
        self.hparams: dict[str, Any] = {
            "obs_size": obs_size,
            "action_size": action_size,
            "hidden": list(hidden),
            "activation": activation,
            "asymmetry": asymmetry,
        }
        self.normalizer = RunningNorm(obs_size)
        if asymmetry < 1.0:
            into, out = mirrors or (None, None)
            self.mirror, back = MirrorMap(obs_size, into), MirrorMap(action_size, out)
            self.net = mirrored_mlp(self.mirror, hidden, back, activation, asymmetry)
        else:
            self.mirror = None
            self.net = mlp([obs_size, *hidden, action_size], activation)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            # Near-zero first actions: the robot starts at home and noise alone explores.
            last.weight.mul_(0.01)
            last.bias.zero_()
        self.log_std = nn.Parameter(torch.full((action_size,), math.log(init_std)))

    def set_asymmetry(self, asymmetry: float) -> None:
        """Tell left from right as nearly as `asymmetry` says, with the weights there are.

        Raises:
            ValueError: 1 for a policy that knows mirrors, or less for one that does not.
        """
        if (self.mirror is None) != (asymmetry == 1.0):
            allowed = "1, it knows no mirror" if self.mirror is None else "less than 1"
            raise ValueError(f"asymmetry is {asymmetry}; allowed for this policy: {allowed}")
        for layer in self.net:
            if isinstance(layer, MirroredLinear):
                layer.asymmetry = asymmetry
        self.hparams["asymmetry"] = asymmetry

    def forward(self, observation: Tensor) -> Tensor:
        """Mean action (..., A) for observations (..., O), not clipped."""
        return self.net(self.normalizer(observation))

    def act(self, observation: Tensor) -> Tensor:
        """Deterministic action (..., A) in [-1, 1] for observations (..., O)."""
        return self(observation).clamp(-1.0, 1.0)


class Critic(Normalized):
    """Value of a state, from all that the simulator knows of it."""

    def __init__(
        self,
        obs_size: int,
        hidden: Sequence[int],
        activation: str,
        mirror: Mirror | None = None,
        asymmetry: float = 0.0,
    ) -> None:
        """An untrained critic of `obs_size` observed values C, plain without a mirror."""
        super().__init__()
        self.normalizer = RunningNorm(obs_size)
        if mirror is None:
            self.mirror = None
            self.net = mlp([obs_size, *hidden, 1], activation)
        else:
            self.mirror = MirrorMap(obs_size, mirror)
            self.net = mirrored_mlp(self.mirror, hidden, MirrorMap(1), activation, asymmetry)

    def forward(self, critic_observation: Tensor) -> Tensor:
        """Values (...) of privileged observations (..., C)."""
        return self.net(self.normalizer(critic_observation)).squeeze(-1)


def actor_from_hparams(hparams: dict[str, Any]) -> Policy:
    """Policy of the shape in a checkpoint's `actor` entry, with untrained weights.

    Raises:
        ValueError: an entry is missing or unknown.
    """
    expected = ("obs_size", "action_size", "hidden", "activation", "asymmetry")
    hparams = {"asymmetry": 1.0, **hparams}  # at first there was no other
    if set(hparams) != set(expected):
        raise ValueError(f"actor has entries {sorted(hparams)}; expected {sorted(expected)}")
    return Policy(**hparams)

"""Actor and critic, each with the normaliser of its observations inside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from envs.errors import UserError
from envs.robot.symmetry import Mirror
from envs.settings import ClosedUnitInterval, PositiveFloat, PositiveInt, check
from wildrobot_torch.ppo.normalizer import Reduce, RunningNorm

ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Shape of actor and critic."""

    hidden: tuple[PositiveInt, ...] = (128, 128)
    """Widths of the hidden layers; even, unless `asymmetry` is 1."""
    activation: Literal["elu", "relu", "silu", "tanh"] = "silu"
    """Nonlinearity after each hidden layer."""
    init_std: PositiveFloat = 0.21
    """Standard deviation of the actions at the start."""
    asymmetry: ClosedUnitInterval = 0.2
    """Share of the part of each weight matrix that is not mirror-equivariant: at 0 mirrored
    observations get mirrored actions, 1 is a plain network. At 0 a robot that stands straight
    cannot choose which foot to lift first, unless noise does."""
    deployed_asymmetry: ClosedUnitInterval = 0.1
    """The same share in the averaged policy, which is deployed: less of it favours a leg less. At
    most `asymmetry`, and 1 where that is 1."""

    def __post_init__(self) -> None:
        check(self)
        if not self.hidden:
            raise UserError("network.hidden is empty; allowed: one width or more")
        least = 1.0 if self.asymmetry == 1.0 else 0.0  # a plain network has no mirrors
        if not least <= self.deployed_asymmetry <= self.asymmetry:
            raise UserError(
                f"network.deployed_asymmetry is {self.deployed_asymmetry}; allowed with "
                f"network.asymmetry {self.asymmetry:g}: {least:g} to {self.asymmetry:g}"
            )


def mlp(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers of the given widths with an activation between each two."""
    return _stacked([nn.Linear(*pair) for pair in pairwise(sizes)], activation)


def _stacked(linears: Sequence[nn.Linear], activation: str) -> nn.Sequential:
    layers: list[nn.Module] = [linears[0]]
    for linear in linears[1:]:
        layers += [ACTIVATIONS[activation](), linear]
    return nn.Sequential(*layers)


class MirrorMap(nn.Module):
    """A mirror as part of a network: its tables are saved with the weights."""

    index: Tensor
    sign: Tensor

    def __init__(self, size: int, mirror: Mirror | None = None) -> None:
        """The mirror of `size` values; None is the identity, until weights are loaded."""
        super().__init__()
        self.register_buffer("index", torch.arange(size) if mirror is None else mirror.index)
        self.register_buffer("sign", torch.ones(size) if mirror is None else mirror.sign)

    def forward(self, values: Tensor) -> Tensor:
        """Mirrored values (..., D)."""
        return values.index_select(-1, self.index) * self.sign


class EquivariantLinear(nn.Linear):
    """A linear layer that commutes with mirrors, f(M x) = M' f(x), but for a share `asymmetry` a.

    Its effective weights are [(1 + a) W + (1 - a) M' W M] / 2: the projection of W onto the
    equivariant matrices (Finzi et al. 2021, arXiv:2104.09459) plus a times the rest (relaxed
    equivariance, arXiv:2112.01388).
    """

    kept: tuple[Tensor, Tensor] | None
    """Effective weights and bias inside `Policy.fixed_weights`; None outside."""

    def __init__(self, into: MirrorMap, out: MirrorMap, asymmetry: float) -> None:
        """From values mirrored by `into` M to values mirrored by `out` M'; `asymmetry` a."""
        super().__init__(into.index.numel(), out.index.numel())
        self.into, self.out = into, out
        self.asymmetry = asymmetry
        self.kept = None
        with torch.no_grad():
            # Averaging W with its image makes it smaller; this keeps the outputs' spread.
            own, mirrored = self._shares
            self.weight.div_(math.hypot(own, mirrored))

    @property
    def _shares(self) -> tuple[float, float]:
        """Factors of W and of its mirror image."""
        return 0.5 * (1.0 + self.asymmetry), 0.5 * (1.0 - self.asymmetry)

    def effective(self) -> tuple[Tensor, Tensor]:
        """Weights (D', D) and bias (D',) that are applied."""
        own, mirrored = self._shares
        image = self.into(self.weight.index_select(0, self.out.index)) * self.out.sign[:, None]
        weight = own * self.weight + mirrored * image
        return weight, own * self.bias + mirrored * self.out(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Outputs (..., D') of inputs (..., D)."""
        return nn.functional.linear(input, *(self.kept or self.effective()))


def equivariant_mlp(
    into: MirrorMap, hidden: Sequence[int], out: MirrorMap, activation: str, asymmetry: float
) -> nn.Sequential:
    """`mlp` of `EquivariantLinear` layers; the halves of a hidden layer are mirror images.

    Raises:
        UserError: a hidden width is odd.
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
    return _stacked([EquivariantLinear(*pair, asymmetry) for pair in pairs], activation)


class Normalized(nn.Module):
    """A network behind the running normaliser of what it reads; plain at `asymmetry` 1."""

    def __init__(
        self,
        widths: Sequence[int],
        activation: str,
        mirrors: tuple[Mirror | None, Mirror | None],
        asymmetry: float,
    ) -> None:
        """Untrained, with these widths of input, hidden layers and output; mirrors of both ends."""
        super().__init__()
        size, *hidden, outputs = widths
        self.normalizer = RunningNorm(size)
        self.mirror = None
        if asymmetry == 1.0:
            self.net = mlp(widths, activation)
        else:
            self.mirror, back = MirrorMap(size, mirrors[0]), MirrorMap(outputs, mirrors[1])
            self.net = equivariant_mlp(self.mirror, hidden, back, activation, asymmetry)

    @torch.no_grad()
    def update_normalizer(self, observation: Tensor, reduce: Reduce | None = None) -> None:
        """Merge observations (..., O) and their mirror images into the normaliser."""
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
            mirrors: of observations and actions; None for a plain network, or where they are loaded
                with the weights.
            asymmetry: as in `NetworkConfig`.
        """
        widths = [obs_size, *hidden, action_size]
        super().__init__(widths, activation, mirrors or (None, None), asymmetry)
        self.hparams: dict[str, Any] = {
            "obs_size": obs_size,
            "action_size": action_size,
            "hidden": list(hidden),
            "activation": activation,
            "asymmetry": asymmetry,
        }
        """Arguments that make a policy of this shape."""
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            # Near-zero first actions: the robot starts at home and noise alone explores.
            last.weight.mul_(0.01)
            last.bias.zero_()
        self.log_std = nn.Parameter(torch.full((action_size,), math.log(init_std)))

    def set_asymmetry(self, asymmetry: float) -> None:
        """Change the share of the non-equivariant part; the trained weights stay.

        A ValueError for 1 with an equivariant network, and for less with a plain one.
        """
        if (self.mirror is None) != (asymmetry == 1.0):
            allowed = "1, it is plain" if self.mirror is None else "less than 1"
            raise ValueError(f"asymmetry is {asymmetry}; allowed for this policy: {allowed}")
        for layer in self._equivariant:
            layer.asymmetry = asymmetry
        self.hparams["asymmetry"] = asymmetry

    @property
    def _equivariant(self) -> list[EquivariantLinear]:
        return [layer for layer in self.net if isinstance(layer, EquivariantLinear)]

    @contextmanager
    def fixed_weights(self) -> Iterator[None]:
        """A block in which the weights do not change: effective weights are computed once.

        Outputs in it have no gradients with respect to the weights. A cache that looks for changes
        by itself would miss them: fused optimisers do not raise a tensor's version.
        """
        try:
            with torch.no_grad():
                for layer in self._equivariant:
                    layer.kept = layer.effective()
            yield
        finally:
            for layer in self._equivariant:
                layer.kept = None

    def forward(self, observation: Tensor) -> Tensor:
        """Mean action (..., A) for observations (..., O), not clipped."""
        return self.net(self.normalizer(observation))

    def act(self, observation: Tensor) -> Tensor:
        """Deterministic action (..., A) in [-1, 1] for observations (..., O)."""
        return self(observation).clamp(-1.0, 1.0)


class Critic(Normalized):
    """Value of a state from its privileged observation."""

    def __init__(
        self,
        obs_size: int,
        hidden: Sequence[int],
        activation: str,
        mirror: Mirror | None = None,
        asymmetry: float = 0.0,
    ) -> None:
        """An untrained critic of `obs_size` observed values C, plain without a mirror."""
        asymmetry = 1.0 if mirror is None else asymmetry
        super().__init__([obs_size, *hidden, 1], activation, (mirror, None), asymmetry)

    def forward(self, critic_observation: Tensor) -> Tensor:
        """Values (...) of privileged observations (..., C)."""
        return self.net(self.normalizer(critic_observation)).squeeze(-1)

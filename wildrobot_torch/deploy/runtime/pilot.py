"""Which policy drives, and what it asks for: home, then standing, then walking, and back.

Nothing here reads a clock or a sensor: the same readings, commands and times give the same targets,
bit for bit, which is what a replay relies on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.errors import UserError
from wildrobot_torch.contract import Array, Contract, ContractError, Controller, Readings
from wildrobot_torch.deploy.runtime.bundle import Bundle, described, network_of

STAND_S = 2.0
"""How long the standing policy drives before the walking one may [s]; of the builder's runtime."""
RAMP_S = 0.5
"""How long targets go over from one policy to the next [s]; likewise."""
SETTLE_S = 1.0
"""How long the walking policy is told to stand before another one takes over [s]: more than a step
of the slowest walk."""
WARM = 3
"""Inferences at loading: the first ones take longer, because memory is allocated."""


@dataclass(frozen=True)
class Policy:
    """A policy that is ready to drive."""

    path: Path
    sha256: str
    """Of the .onnx file, which may be inside a bundle."""
    contract: Contract
    network: Callable[[Array], Array]


def load_policy(path: Path | str) -> Policy:
    """An exported policy, tried out once so that its first inference on the robot is not its first.

    Of a bundle the whole is checked, and its golden vectors are reproduced.

    Raises:
        ContractError: the file is none, or its contract is wrong or cannot be carried out.
        UserError: a bundle is damaged, or the network gives something else than one finite action.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise ContractError(
                f"no policy {path}; give a bundle or an .onnx of `wildrobot export`"
            )
        model = path.read_bytes()
        _, contract, _ = described(model, str(path))
    else:
        bundle = Bundle.open(path)
        bundle.require_golden()
        model, contract = bundle.files["policy.onnx"], bundle.contract
    network = network_of(model)
    observation, joints = np.zeros(contract.size, dtype=np.float32), len(contract.joint_names)
    try:
        actions = [network(observation) for _ in range(WARM)]
    except Exception as error:  # onnxruntime has no class of its own for a wrong shape
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be run with {contract.size} values: {reason}") from error
    if actions[-1].shape != (joints,) or not np.isfinite(actions[-1]).all():
        raise UserError(
            f"{path} gives an action of shape {actions[-1].shape} for an observation of zeros; "
            f"{joints} finite numbers are needed: export it again"
        )
    return Policy(path, hashlib.sha256(model).hexdigest(), contract, network)


@dataclass(frozen=True)
class Request:
    """What is asked of the servos."""

    targets: Array
    """(J,) [rad]."""
    policy: str
    """Who asks, of `log.POLICIES`."""
    observation: Array | None
    """(O,) float32; None where no policy drives."""


class Pilot:
    """Drives from when the robot is armed; one object for one run."""

    def __init__(self, walking: Policy, standing: Policy | None = None) -> None:
        """Without a standing policy the walking one stands at a command of 0.

        Raises:
            UserError: the two are not for the same robot and period.
        """
        self.contract = walking.contract
        if standing is not None:
            _require_alike(walking, standing)
        self._controllers = {
            name: Controller(policy.contract, policy.network)
            for name, policy in (("walking", walking), ("standing", standing))
            if policy is not None
        }
        self.policy = "home"
        """Who drives, of `log.POLICIES`."""
        self._targets = walking.contract.home.copy()
        self._from = self._targets
        self._since = 0.0
        self._told_to_stand: float | None = None

    def ask(self, now: float, readings: Readings, command: Array, running: bool) -> Request:
        """What to send at a time [s].

        Args:
            now: time [s].
            readings: newest.
            command: (3,), see `Command`.
            running: whether the robot stands at home and goes where it is told; until then it is
                led home.
        """
        self._choose(now, readings, command, running)
        if self.policy == "home":
            return Request(self.contract.home, "home", None)
        controller = self._controllers[self.policy]
        targets = controller.act(readings, command)
        share = (now - self._since) / RAMP_S
        if share < 1.0:
            targets = self._from + share * (targets - self._from)
            controller.sent(targets)  # the next action goes on from what was asked for
        self._targets = targets
        return Request(targets, self.policy, controller.observation)

    def _choose(self, now: float, readings: Readings, command: Array, running: bool) -> None:
        """Change over to another policy where its time has come."""
        stand = not command.any()
        if not stand:
            self._told_to_stand = None
        elif self._told_to_stand is None:
            self._told_to_stand = now
        if self.policy == "home":
            if running:
                self._change("standing" if "standing" in self._controllers else "walking",
                             now, readings)  # fmt: skip
        elif self.policy == "standing":
            if not stand and now - self._since >= STAND_S:
                self._change("walking", now, readings)
        elif "standing" in self._controllers and self._told_to_stand is not None:
            begun = max(self._told_to_stand, self._since)
            if now - begun >= SETTLE_S:
                self._change("standing", now, readings)

    def _change(self, policy: str, now: float, readings: Readings) -> None:
        self.policy, self._since, self._from = policy, now, self._targets
        self._controllers[policy].begin(self._targets, readings.heading)


def _require_alike(walking: Policy, standing: Policy) -> None:
    for name in ("joint_names", "robot_digest", "ctrl_dt"):
        values = [getattr(policy.contract, name) for policy in (walking, standing)]
        if values[0] != values[1]:
            raise UserError(
                f"the policies differ in {name}: {walking.path} has {values[0]}, {standing.path} "
                f"has {values[1]}; give two that were trained for the same robot"
            )

"""Simulators by name, and what is needed for each."""

from __future__ import annotations

from importlib.util import find_spec

from envs.errors import UserError, closest
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.simulators.plain_mujoco import NUMERICS, PlainMujoco
from wildrobot_torch.evaluation.simulators.simulator import Simulator

WARP, DRAKE = "warp", "drake"
MEANINGS = {
    **{name: f"plain MuJoCo, {numerics.meaning}" for name, numerics in NUMERICS.items()},
    WARP: "MuJoCo Warp, through the environment",
    DRAKE: "Drake, its own tree, contact and integration",
}
"""Name -> what it is."""
_NEEDS = {WARP: ("mujoco_warp", "warp"), DRAKE: ("pydrake", "drake")}
"""Name -> the module that it needs, and the extra of this project that installs it."""


def installed(name: str) -> bool:
    """Whether a simulator can be run here."""
    return name not in _NEEDS or find_spec(_NEEDS[name][0]) is not None


def chosen(names: list[str]) -> list[str]:
    """The simulators of these names, each once; `all` stands for those that are installed.

    Raises:
        UserError: a name is unknown, or its simulator is not installed.
    """
    found: dict[str, None] = {}
    for name in names:
        if name == "all":
            found |= dict.fromkeys(filter(installed, MEANINGS))
        elif name not in MEANINGS:
            raise UserError(
                f"simulator {name!r} is unknown{closest(name, MEANINGS)}; allowed: all, "
                f"{', '.join(MEANINGS)}"
            )
        elif not installed(name):
            raise UserError(
                f"simulator {name} needs the package {_NEEDS[name][0]}, which is not installed; "
                f"run: pip install -e '.[{_NEEDS[name][1]}]'"
            )
        else:
            found[name] = None
    return list(found)


def make_simulator(name: str, robot: RobotSpec) -> Simulator:
    """A simulator that is not run through the environment."""
    if name == DRAKE:
        from wildrobot_torch.evaluation.simulators.drake import Drake

        return Drake(robot)
    return PlainMujoco(name, robot)

"""Measure the room that contacts need: `python tools/measure_capacities.py`.

MuJoCo Warp sets room for constraints and contacts aside once and drops what does not fit. This tool
moves the robot in each of its scenes with room to spare, counts after every physics step, and
writes the largest counts, times a margin, to capacities.yaml in the robot's folder.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.physics.base import MEASURE_CAPACITIES, PhysicsError
from envs.physics.capacities import FILE_NAME, Capacities, capacities_text
from envs.physics.engines import resolve_engine
from envs.robot.model import ROBOT_DIRECTORY, RobotModel, load_robot, scene_names
from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import Parser, positive, within
from wildrobot_torch.files import atomic_write
from wildrobot_torch.process import one_torch_thread

if TYPE_CHECKING:
    from envs.physics.warp import WarpPhysics

ROOM = Capacities(njmax=512, nconmax=256, contact_sensor_maxmatch=64)
"""Room while counting: five times what the WildRobot needs."""
STEP_OF_ROOM = 8
"""Capacities are multiples of it."""
SPREAD = 3.0
"""Robots start up to this far [m] from the origin along x and y: the ground differs there."""
DROP = 0.05
"""Height [m] above home at which robots start, so that none starts in the ground."""

TASK = LocomotionConfig()
Counts = tuple[int, ...]
"""States counted, and the largest rows, contacts, pairs and matches; see `ContactCounts`."""
Motion = Iterator[tuple[Tensor, Tensor | None]]
"""Position targets (E, J) and wrenches (E, nbody, 6) of one control step after another."""


def main(words: list[str]) -> int:
    """0 when the file is written."""
    parser = Parser(
        "measure_capacities",
        "Measure the room a robot's contacts need in MuJoCo Warp and write it to capacities.yaml "
        "in the robot's folder.",
    )
    add = parser.add_argument
    add("--robot", type=Path, default=ROBOT_DIRECTORY, help="folder of a robot description")
    add("--margin", type=within(1, 100), default=2.0, help="room, in multiples of what is needed")
    add("--num_envs", type=positive, default=100, help="robots at once; more of them see more")
    add("--physics", choices=("warp-cpu", "warp"), default="warp-cpu", help="engine")
    options = parser.parse_args(words)
    resolve_engine(options.physics)
    scenes = scene_names(options.robot)
    robots = [load_robot(options.robot, scene, TASK.sim_dt) for scene in scenes]
    if not robots:
        raise UserError(f"--robot is {options.robot}, which has no scene_<name>.xml")
    if len({loaded.robot.digest for loaded in robots}) > 1:
        raise UserError(
            f"the scenes {' and '.join(scenes)} of {options.robot} hold different robots or "
            "simulation options; let them include the same files"
        )
    counts: dict[str, dict[str, Counts]] = {}
    with one_torch_thread():
        for loaded in robots:
            print(f"{loaded.scene}: {options.num_envs} robots", flush=True)
            counts[loaded.scene] = measure(loaded, options.num_envs, options.physics)
    comment = describe(counts, options)
    print(comment)
    capacities = {scene: room(kinds, options.margin) for scene, kinds in counts.items()}
    path = options.robot / FILE_NAME
    with atomic_write(path) as file:
        file.write(capacities_text(robots[0].untimed_digest, capacities, comment).encode())
    print(f"wrote {path}")
    return 0


def measure(loaded: RobotModel, num_envs: int, physics: str) -> dict[str, Counts]:
    """Largest counts in one scene, by kind of motion; a PhysicsError where `ROOM` is too small."""
    try:
        from envs.physics.warp import WarpPhysics
    except ImportError as error:
        raise UserError(str(error)) from error
    device = f"cuda:{torch.cuda.current_device()}" if physics == "warp" else "cpu"
    backend = WarpPhysics(loaded.model, num_envs, ROOM, device)
    motions = Motions(loaded, backend, torch.Generator().manual_seed(0))
    counts: dict[str, Counts] = {}
    # The order counts: the fallen robots are those that moved at random before.
    for motion in (motions.random, motions.fallen, motions.pushed):
        counts[motion.__name__] = largest(backend, motion())
        if names := backend.capacity_overflow():
            raise PhysicsError(
                f"scene {loaded.scene} does not fit into the {ROOM} that this tool sets aside "
                f"({', '.join(names)}); use simpler or fewer colliding geoms"
            )
    return counts


def largest(backend: WarpPhysics, motion: Motion) -> Counts:
    """Largest counts of a motion, over every physics step: an impact ends within a control step."""
    most: list[Tensor] = []
    for ctrl, xfrc in motion:
        for _ in range(TASK.decimation):
            backend.step(ctrl, xfrc, 1)
            counts = backend.contact_counts()
            each = torch.stack([counts.rows, counts.contacts, counts.pairs, counts.matches])
            most.append(each.amax(1).cpu())
    return (len(most) * backend.num_envs, *torch.stack(most).amax(0).tolist())


@dataclass(frozen=True)
class Motions:
    """Motions of E robots in which contacts are counted."""

    loaded: RobotModel
    backend: WarpPhysics
    generator: torch.Generator

    def random(self) -> Motion:
        """2 s from any posture and orientation just above the ground, with targets that jump."""
        robot, num = self.loaded.robot, self.backend.num_envs
        qpos = self._home()
        orientation = torch.randn(num, 4, generator=self.generator)
        qpos[:, 3:7] = torch.nn.functional.normalize(orientation, dim=-1)
        # Beyond the stops, so that the limits of all joints are active at once.
        qpos[:, robot.joint_qpos_adr] = self._postures(beyond=0.1)
        self._place(qpos, self._uniform(-1.0, 1.0, num, self.loaded.model.nv))
        for _ in range(10):
            yield from self._hold(self._postures(), seconds=0.2)

    def fallen(self) -> Motion:
        """1 s more of the same robots, which lie by then: two postures, each held to rest."""
        for _ in range(2):
            yield from self._hold(self._postures(), seconds=0.5)

    def pushed(self) -> Motion:
        """1 s of standing, four fifths of it under wrenches of about the weight on the root."""
        robot, num = self.loaded.robot, self.backend.num_envs
        self._place(self._home(), torch.zeros(num, self.loaded.model.nv))
        stand = robot.joint_home.repeat(num, 1)
        yield from self._hold(stand, seconds=0.2)
        for _ in range(4):
            wrench = torch.zeros(num, self.loaded.model.nbody, 6)
            wrench[:, robot.root_body, :3] = self._uniform(-1.0, 1.0, num, 3) * robot.weight
            # As if the force acted a tenth of a metre off the centre.
            wrench[:, robot.root_body, 3:] = self._uniform(-0.1, 0.1, num, 3) * robot.weight
            yield from self._hold(stand, 0.2, wrench)

    def _hold(self, ctrl: Tensor, seconds: float, wrench: Tensor | None = None) -> Motion:
        for _ in range(max(1, round(seconds / TASK.ctrl_dt))):
            yield ctrl, wrench

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def _postures(self, beyond: float = 0.0) -> Tensor:
        """Random joint positions (E, J) between the stops, or up to `beyond` [rad] outside."""
        low, high = self.loaded.robot.joint_range.unbind(-1)
        share = self._uniform(0.0, 1.0, self.backend.num_envs, len(low))
        return low - beyond + share * (high - low + 2.0 * beyond)

    def _home(self) -> Tensor:
        """States (E, nq) at home, a little above the ground, all over the scene."""
        qpos = self.loaded.robot.home_qpos.repeat(self.backend.num_envs, 1)
        qpos[:, :2] = self._uniform(-SPREAD, SPREAD, len(qpos), 2)
        qpos[:, 2] += DROP
        return qpos

    def _place(self, qpos: Tensor, qvel: Tensor) -> None:
        ctrl = self.loaded.robot.joint_home.repeat(len(qpos), 1)
        self.backend.reset(torch.ones(len(qpos), dtype=torch.bool), qpos, qvel, ctrl)


def room(kinds: dict[str, Counts], margin: float) -> Capacities:
    """Capacities for the largest counts of all kinds, times `margin`."""

    def enough(largest: int) -> int:
        return STEP_OF_ROOM * max(1, math.ceil(margin * largest / STEP_OF_ROOM))

    _, rows, contacts, pairs, matches = map(max, zip(*kinds.values(), strict=True))
    # Pairs of geoms are listed in as much room as the contacts found between them.
    return Capacities(enough(rows), enough(max(contacts, pairs)), enough(matches))


def describe(counts: dict[str, dict[str, Counts]], options: argparse.Namespace) -> str:
    """What was measured, for the head of the file."""
    names = ("states", "rows", "contacts", "pairs", "matches")
    lines = [
        f"Room in MuJoCo Warp: {options.margin:g} x the largest count below, rounded up to a",
        f"multiple of {STEP_OF_ROOM}. Written by `{MEASURE_CAPACITIES}`.",
        f"Counted on {options.physics} after every physics step of {options.num_envs} robots:",
        "for each simulation constraint rows (njmax), contacts and pairs of near geoms (nconmax),",
        "and for each contact sensor the contacts it found (matches: contact_sensor_maxmatch).",
        "random: any posture and orientation, targets that jump; fallen: the same robots, lying;",
        "pushed: standing, under wrenches of about the weight. A walk needs less than these.",
        f"{'scene':<10} {'kind':<8}" + "".join(f"{name:>10}" for name in names),
    ]
    for scene, kinds in counts.items():
        for kind, count in kinds.items():
            values = "".join(f"{value:>10}" for value in count)
            lines.append(f"{scene:<10} {kind:<8}{values}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run(main))

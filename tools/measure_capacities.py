"""Measure the room contacts need: `python tools/measure_capacities.py --policy walking.onnx`.

MuJoCo Warp sets room for constraints and contacts aside once and drops what does not fit. Here the
robot moves in each of its scenes with room to spare, the room taken is counted after every physics
step, and the largest counts, times a margin, are written to capacities.yaml beside the robot.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mujoco
import numpy as np
import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.physics.base import MEASURE_CAPACITIES, PhysicsError
from envs.physics.capacities import FILE_NAME, Capacities, capacities_text
from envs.robot.model import ROBOT_DIRECTORY, RobotModel, load_robot, scene_names
from envs.task.observations import observation_layout
from wildrobot_torch.files import atomic_write
from wildrobot_torch.ppo.policy_file import LoadedPolicy, load_policy
from wildrobot_torch.process import one_torch_thread

if TYPE_CHECKING:
    from envs.physics.warp import WarpPhysics

ROOM = Capacities(njmax=256, nconmax=64, contact_sensor_maxmatch=64)
"""To begin with; all is doubled and measured again as long as something does not fit."""
MOST_ROOM = 8192
"""njmax beyond which room is not what is wanting."""
LIFTED_BY_ROOM = {"NEFC", "NJMAX_NNZ", "BROADPHASE", "NARROWPHASE", "CCD", "CONTACT_MATCH"}
STEP_OF_ROOM = 8
"""Capacities are multiples of it."""
SPREAD = 3.0
"""Robots stand on up to this distance [m] from the origin along x and y: grounds differ there."""

Held = Iterator[tuple[Tensor, Tensor | None]]
"""Position targets (E, J) and wrenches (E, nbody, 6), each to be held for one control step."""


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="measure_capacities",
        description="Measure the room a robot's contacts need in MuJoCo Warp and write it to "
        "capacities.yaml in the robot's folder.",
    )
    parser.add_argument(
        "--robot",
        type=Path,
        default=ROBOT_DIRECTORY,
        help="folder of a robot description (default: the robot of this package)",
    )
    parser.add_argument("--policy", type=Path, help="let this policy walk too: .ckpt or .onnx")
    parser.add_argument(
        "--margin",
        type=float,
        default=2.0,
        help="room written is the largest seen times this (default: 2)",
    )
    parser.add_argument(
        "--envs", type=int, default=100, help="robots at once (default: 100); more see more"
    )
    parser.add_argument(
        "--physics", default="warp-cpu", help="engine: warp-cpu or warp (default: warp-cpu)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the tool: 0, 2 for bad input, or 1 where no room is enough."""
    options = parser().parse_args(arguments)
    try:
        print(f"wrote {_measured(options)}")
    except (ValueError, OSError, PhysicsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if isinstance(error, PhysicsError) else 2
    return 0


def _measured(options: argparse.Namespace) -> Path:
    """Measure all scenes and write the file; returns it."""
    if not 1.0 <= options.margin <= 100.0:
        raise ValueError(f"--margin is {options.margin:g}; allowed: 1 to 100")
    if options.envs < 1:
        raise ValueError(f"--envs is {options.envs}; allowed: 1 or more")
    if options.physics not in ("warp-cpu", "warp"):
        raise ValueError(f"--physics is {options.physics!r}; allowed: warp-cpu, warp")
    if options.physics == "warp" and not torch.cuda.is_available():
        raise ValueError("--physics is 'warp', but torch finds no CUDA device; use warp-cpu")
    device = f"cuda:{torch.cuda.current_device()}" if options.physics == "warp" else "cpu"
    policy = None if options.policy is None else load_policy(options.policy)
    task = LocomotionConfig() if policy is None else policy.task
    task = replace(task, support=None, auto_reset=True)
    robots = load_scenes(options.robot, task.sim_dt)
    robot = robots[0].robot
    if policy is not None:
        policy.require(observation_layout(robot, task.observation), robot.digest)
    taken: dict[str, dict[str, Taken]] = {}
    with one_torch_thread():
        for loaded in robots:
            print(f"{loaded.scene}: {options.envs} robots", flush=True)
            taken[loaded.scene] = measure(loaded, task, policy, options.envs, device)
    comment = describe(taken, options.physics, options.envs, options.margin, policy)
    print(comment)
    capacities = {scene: room(kinds, options.margin) for scene, kinds in taken.items()}
    path = options.robot / FILE_NAME
    with atomic_write(path) as file:
        file.write(capacities_text(robots[0].untimed_digest, capacities, comment).encode())
    return path


def load_scenes(directory: Path, sim_dt: float) -> list[RobotModel]:
    """The robot of `directory` in each of its scenes.

    Raises:
        ValueError: there is none, or they do not hold the same robot.
    """
    scenes = scene_names(directory)
    if not scenes:
        raise ValueError(f"--robot is {directory}, which has no scene_<name>.xml")
    robots = [load_robot(directory, scene, sim_dt) for scene in scenes]
    for other in robots[1:]:
        if other.robot.digest != robots[0].robot.digest:
            raise ValueError(
                f"the scenes {scenes[0]} and {other.scene} of {directory} hold different robots or "
                "simulation options; let them include the same"
            )
    return robots


# Counting


@dataclass(frozen=True)
class Taken:
    """Largest room that one simulation took, over `states`; see `ContactCounts`."""

    states: int
    rows: int
    contacts: int
    pairs: int
    matches: int


def measure(
    loaded: RobotModel,
    task: LocomotionConfig,
    policy: LoadedPolicy | None,
    num_envs: int,
    device: str,
) -> dict[str, Taken]:
    """Largest room taken in one scene, by kind of state.

    Raises:
        ValueError: MuJoCo Warp is not installed, or cannot simulate the robot.
        PhysicsError: something did not fit, whatever the room.
    """
    try:
        from envs.physics.warp import WarpPhysics
    except ImportError as error:
        raise ValueError(str(error)) from error
    given = ROOM
    while True:
        backend = WarpPhysics(loaded.model, num_envs, given, device)
        states = States(loaded, backend, task, torch.Generator().manual_seed(0))
        kinds: dict[str, Callable[[], Held]] = {
            "random": states.random,
            "fallen": states.fallen,
            "pushed": states.pushed,
        }
        if policy is not None:
            kinds["walking"] = lambda states=states: states.walking(policy)
        taken: dict[str, Taken] = {}
        names: tuple[str, ...] = ()
        for kind, held in kinds.items():
            taken[kind] = largest(backend, held(), task.decimation)
            names = backend.capacity_overflow()
            if names:
                break
        else:
            return taken
        if not LIFTED_BY_ROOM.issuperset(names) or given.njmax >= MOST_ROOM:
            raise PhysicsError(
                f"scene {loaded.scene} does not fit into MuJoCo Warp ({', '.join(names)}), and "
                "more room does not change that; use simpler or fewer colliding geoms"
            )
        given = Capacities(*(2 * value for value in astuple(given)))


def largest(backend: WarpPhysics, held: Held, decimation: int) -> Taken:
    """Largest room one simulation takes while targets and wrenches are held one after another.

    Counted after every physics step: an impact is over within a control step.
    """
    most = torch.zeros(4, dtype=torch.long)
    steps = 0
    for ctrl, xfrc in held:
        for _ in range(decimation):
            backend.step(ctrl, xfrc, 1)
            counts = backend.contact_counts()
            each = torch.stack([counts.rows, counts.contacts, counts.pairs, counts.matches])
            most = torch.maximum(most, each.amax(1).cpu())
            steps += 1
    return Taken(steps * backend.num_envs, *most.tolist())


# Moving


@dataclass(frozen=True)
class States:
    """Where the robots are brought while it is counted; E of them."""

    loaded: RobotModel
    backend: WarpPhysics
    task: LocomotionConfig
    generator: torch.Generator

    def random(self) -> Held:
        """2 s from any posture and orientation on the ground, with targets that jump."""
        robot, num = self.loaded.robot, self.backend.num_envs
        qpos = self._home()
        qpos[:, 3:7] = torch.nn.functional.normalize(
            torch.randn(num, 4, generator=self.generator), dim=-1
        )
        # Beyond the stops, so that those of all joints push at once.
        qpos[:, robot.joint_qpos_adr] = self._postures(beyond=0.1)
        velocity = self._uniform(-1.0, 1.0, num, self.loaded.model.nv)
        self._place(self._on_ground(qpos), velocity)
        for _ in range(10):
            yield from self._hold(self._postures(), seconds=0.2)

    def fallen(self) -> Held:
        """1 s from there, lying: two postures, each held until there is rest."""
        for _ in range(2):
            yield from self._hold(self._postures(), seconds=0.5)

    def pushed(self) -> Held:
        """1 s of standing, four fifths of it under wrenches of about the weight on the root."""
        robot, num = self.loaded.robot, self.backend.num_envs
        self._place(self._on_ground(self._home()), torch.zeros(num, self.loaded.model.nv))
        stand = robot.joint_home.repeat(num, 1)
        yield from self._hold(stand, seconds=0.2)
        for _ in range(4):
            wrench = torch.zeros(num, self.loaded.model.nbody, 6)
            wrench[:, robot.root_body, :3] = self._uniform(-1.0, 1.0, num, 3) * robot.weight
            # As if it pushed a tenth of a metre off the centre.
            wrench[:, robot.root_body, 3:] = self._uniform(-0.1, 0.1, num, 3) * robot.weight
            yield from self._hold(stand, 0.2, wrench)

    def walking(self, policy: LoadedPolicy) -> Held:
        """1 s of a policy's walk, after one that is not counted.

        It walks in the environment on native physics, which needs no capacities yet; each control
        step is then done again here from the same state.
        """
        command, num = self.task.command, self.backend.num_envs
        env = LocomotionEnv(
            self.task, num, robot_dir=self.loaded.directory, scene=self.loaded.scene
        )
        velocity = self._uniform(command.velocity_min, command.velocity_max, num)
        start = self._on_ground(self._home())
        env.set_start_states(start, torch.zeros(num, self.loaded.model.nv), velocity, 1.0)
        root = env.reset()
        for step in range(2 * self._steps(1.0)):
            before = env.backend.snapshot()
            root.set("action", policy(root.get("observation")))
            root = env.step(root)
            if step >= self._steps(1.0):
                after = env.backend.snapshot()
                self.backend.restore(before)
                ctrl, wrench = after["ctrl"].float(), after["xfrc_applied"].float()
                yield ctrl, wrench.view(num, self.loaded.model.nbody, 6)
            root = env.maybe_reset(env.step_mdp(root))

    def _hold(self, ctrl: Tensor, seconds: float, wrench: Tensor | None = None) -> Held:
        for _ in range(self._steps(seconds)):
            yield ctrl, wrench

    def _steps(self, seconds: float) -> int:
        return max(1, round(seconds / self.task.ctrl_dt))

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def _postures(self, beyond: float = 0.0) -> Tensor:
        """Joint positions (E, J) anywhere between the stops, or `beyond` [rad] them."""
        low, high = self.loaded.robot.joint_range.unbind(-1)
        share = self._uniform(0.0, 1.0, self.backend.num_envs, len(low))
        return low - beyond + share * (high - low + 2.0 * beyond)

    def _home(self) -> Tensor:
        """States (E, nq) at home, all over the ground."""
        num = self.backend.num_envs
        qpos = self.loaded.robot.home_qpos.repeat(num, 1)
        qpos[:, :2] = self._uniform(-SPREAD, SPREAD, num, 2)
        return qpos

    def _on_ground(self, qpos: Tensor) -> Tensor:
        """The same states (E, nq), as low as the ground's highest point allows."""
        model = self.loaded.model
        data = mujoco.MjData(model)
        collides = (model.geom_contype | model.geom_conaffinity) != 0
        fixed = model.body_weldid[model.geom_bodyid] == 0
        placed = qpos.clone()
        for row in placed:
            data.qpos[:] = row.double().numpy()
            mujoco.mj_kinematics(model, data)
            low, high = _heights(model, data)
            row[2] += high[collides & fixed].max() - low[collides & ~fixed].min()
        return placed

    def _place(self, qpos: Tensor, qvel: Tensor) -> None:
        everywhere = torch.ones(self.backend.num_envs, dtype=torch.bool)
        ctrl = self.loaded.robot.joint_home.repeat(self.backend.num_envs, 1)
        self.backend.reset(everywhere, qpos, qvel, ctrl)


def _heights(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest point (ngeom,) of the box around each geom [m]."""
    upwards = data.geom_xmat.reshape(-1, 3, 3)[:, 2]  # the world's z in axes of the geom
    centre, half = np.split(model.geom_aabb, 2, axis=1)
    middle = data.geom_xpos[:, 2] + (upwards * centre).sum(1)
    reach = (np.abs(upwards) * half).sum(1)
    return middle - reach, middle + reach


# Writing


def room(kinds: dict[str, Taken], margin: float) -> Capacities:
    """Capacities for the largest of all `kinds`, times `margin`."""

    def enough(*counts: int) -> int:
        return STEP_OF_ROOM * max(1, math.ceil(margin * max(counts) / STEP_OF_ROOM))

    seen = list(kinds.values())
    return Capacities(
        njmax=enough(*(taken.rows for taken in seen)),
        # Pairs of geoms are listed in as much room as the contacts found between them.
        nconmax=enough(*(max(taken.contacts, taken.pairs) for taken in seen)),
        contact_sensor_maxmatch=enough(*(taken.matches for taken in seen)),
    )


def describe(
    taken: dict[str, dict[str, Taken]],
    physics: str,
    num_envs: int,
    margin: float,
    policy: LoadedPolicy | None,
) -> str:
    """What was measured, for the head of the file."""
    header = f"{'scene':<10} {'kind':<8} {'states':>9} {'rows':>6} {'contacts':>9} {'pairs':>6}"
    lines = [
        f"Room for constraints and contacts in MuJoCo Warp: {margin:g} x the largest count below,",
        f"rounded up to a multiple of {STEP_OF_ROOM}. Written by `{MEASURE_CAPACITIES}`.",
        f"Counted on {physics} after every physics step of {num_envs} robots: per simulation",
        "constraint rows (njmax), contacts and pairs of geoms near each other (nconmax), and per",
        "contact sensor the contacts it found (matches: contact_sensor_maxmatch).",
        "random: any posture and orientation on the ground, targets that jump; fallen: where those",
        "end, lying; pushed: standing, under wrenches of about the weight;",
        "walking: not measured, no policy was given."
        if policy is None
        else f"walking: a policy trained for {policy.env_steps} steps.",
        f"{header} {'matches':>8}",
    ]
    lines += [
        f"{scene:<10} {kind:<8} {t.states:>9} {t.rows:>6} {t.contacts:>9} {t.pairs:>6} "
        f"{t.matches:>8}"
        for scene, kinds in taken.items()
        for kind, t in kinds.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

"""One policy in several simulators, against the environment that it was trained in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.physics.engines import resolve_engine
from envs.robot.model import load_robot
from envs.robot.spec import RobotSpec
from wildrobot_torch.contract import Array, Contract, read
from wildrobot_torch.evaluation.evaluate import run
from wildrobot_torch.evaluation.outcomes import Outcome, outcome
from wildrobot_torch.evaluation.scenarios import Scenario
from wildrobot_torch.evaluation.simulators.loop import recording, walk
from wildrobot_torch.evaluation.simulators.registry import MEANINGS, WARP, make_simulator
from wildrobot_torch.evaluation.simulators.servos import ServoLaw
from wildrobot_torch.evaluation.simulators.simulator import Simulator
from wildrobot_torch.evaluation.simulators.truths import BodyTruth, Reference, body_truths
from wildrobot_torch.evaluation.statistics import Estimate, rate_difference
from wildrobot_torch.evaluation.suites import Entry, Suite, load_suite
from wildrobot_torch.ppo.policy_file import load_policy

SUITE = "simulators"
"""Name of the suite whose scenarios are walked."""
MOST_DROP = 0.1
"""Most success rate that a policy may lose; the end of the interval counts."""
LEAST_SUCCESS = 0.5
"""Least success rate in the environment: a policy that fails there has nothing to lose."""
TRAINED = "environment"
"""Name of the environment's row."""


@dataclass(frozen=True)
class SimulatorResult:
    """What a policy did in a simulator."""

    name: str
    truths: tuple[BodyTruth, ...]
    """() of a simulator that is the environment with another engine."""
    outcomes: Mapping[str, Outcome]
    """By the entry's name."""
    wall_s: float
    """Time that it took [s]."""

    @property
    def success(self) -> torch.Tensor:
        """(N,) bool: episodes of all entries."""
        return torch.cat([outcome.success for outcome in self.outcomes.values()])


@dataclass(frozen=True)
class Comparison:
    """Simulators against the environment."""

    suite: Suite
    trained: SimulatorResult
    simulators: tuple[SimulatorResult, ...]

    def drop(self, result: SimulatorResult) -> Estimate:
        """Success rate that is lost in a simulator, over all entries, from the same starts."""
        return rate_difference(self.trained.success, result.success)

    @property
    def judges(self) -> bool:
        """Whether the policy succeeds often enough in the environment to lose anything."""
        return bool(self.trained.success.double().mean() >= LEAST_SUCCESS)

    def passed(self, result: SimulatorResult) -> bool:
        """Whether the body is the same, and at most `MOST_DROP` of the success is lost."""
        same = all(truth.holds for truth in result.truths)
        return self.judges and same and self.drop(result).high <= MOST_DROP

    @property
    def all_passed(self) -> bool:
        """Whether every simulator passes."""
        return all(map(self.passed, self.simulators))


def compare(
    policy: Path,
    names: Sequence[str],
    suite: Suite | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Walk an exported policy (.onnx) in simulators of these names.

    Args:
        policy: the file.
        names: see `registry.chosen`.
        suite: scenarios on a level floor, of constant commands alone; None for `SUITE`.
        say: gets a line for each simulator.

    Raises:
        UserError: the policy is for another robot, a simulator cannot serve its contract, or the
            other way round; nothing has run then.
    """
    suite, robot = suite or load_suite(SUITE), load_robot().robot
    contract, network = read(policy)
    _require(contract, robot, policy)
    law, loaded = ServoLaw.of(robot), load_policy(policy)
    # Made before anything runs: a simulator that cannot be made is found now.
    simulators = {name: make_simulator(name, robot) for name in names if name != WARP}
    for simulator in simulators.values():
        _require_time(contract, simulator)
    warp = "warp" if torch.cuda.is_available() else "warp-cpu"
    resolve_engine(warp)

    # The batches are small: threads of torch would wait for each other longer than they work.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trained, starts = _in_environment(TRAINED, suite, loaded, loaded.task, "native", robot)
        say(_line(trained))
        reference = Reference.of(LocomotionConfig())
        found = []
        for name in names:
            if name == WARP:
                result, _ = _in_environment(name, suite, loaded, loaded.task, warp, robot)
            else:
                simulator, begun = simulators[name], time.monotonic()
                knee = int(robot.columns_of("knee")[0, 0])
                truths = body_truths(simulator, law, reference, knee)
                outcomes = {
                    entry.name: _outcome(
                        simulator, contract, network, law, entry, starts[entry.name], robot
                    )
                    for entry in suite.entries
                }
                result = SimulatorResult(name, truths, outcomes, time.monotonic() - begun)
            found.append(result)
            say(_line(result))
    finally:
        torch.set_num_threads(threads)
    return Comparison(suite, trained, tuple(found))


def _line(result: SimulatorResult) -> str:
    rates = ", ".join(
        f"{name} {outcome.rate.value:.0%}" for name, outcome in result.outcomes.items()
    )
    wrong = [truth.what for truth in result.truths if not truth.holds]
    untrue = f"; not the same body: {', '.join(wrong)}" if wrong else ""
    return f"{result.name:<16} {rates} ({result.wall_s:.0f} s){untrue}"


def _require(contract: Contract, robot: RobotSpec, policy: Path) -> None:
    if contract.robot_digest != robot.digest:
        raise UserError(
            f"{policy} was made for robot {contract.robot_digest}, this one is {robot.digest}; "
            "train again, or use the robot description it was trained with"
        )
    if contract.joint_names != robot.joint_names:
        raise UserError(
            f"{policy} has the joints {', '.join(contract.joint_names)}; robot.yaml has "
            f"{', '.join(robot.joint_names)} in this order"
        )


def _require_time(contract: Contract, simulator: Simulator) -> None:
    steps = contract.ctrl_dt / simulator.dt
    if abs(steps - round(steps)) > 1e-6:
        raise UserError(
            f"simulator {simulator.name} has steps of {simulator.dt * 1000:g} ms, which do not "
            f"divide the policy's control step of {contract.ctrl_dt * 1000:g} ms"
        )


Starts = tuple[Array, Array]
"""(E, 7 + J) and (E, 6 + J): where episodes begin, see `Body`."""


def _in_environment(
    name: str,
    suite: Suite,
    policy: Callable[[torch.Tensor], torch.Tensor],
    task: LocomotionConfig,
    physics: str,
    robot: RobotSpec,
) -> tuple[SimulatorResult, dict[str, Starts]]:
    """Every entry in the environment, and the starts of its episodes."""
    begun, outcomes, starts = time.monotonic(), {}, {}
    for entry in suite.entries:
        scenario = entry.scenario
        env = LocomotionEnv(scenario.task(task), scenario.episodes, physics=physics)
        starts[entry.name] = _starts(env, scenario)
        outcomes[entry.name] = outcome(run(policy, env, scenario), entry, robot)
    return SimulatorResult(name, (), outcomes, time.monotonic() - begun), starts


def _starts(env: LocomotionEnv, scenario: Scenario) -> Starts:
    """Where the episodes of a run begin; the seed gives the run the same ones again."""
    home = env.robot.home_qpos
    still = home.new_zeros(1, len(home) - 1)
    env.set_seed(scenario.seed)
    env.set_start_states(home[None], still, home.new_zeros(1), probability=0.0)
    env.set_commands(torch.zeros(scenario.episodes))
    env.reset()
    state, robot = env.backend.state().clone(), env.robot
    qpos = torch.cat([state.qpos[:, :7], state.qpos[:, robot.joint_qpos_adr]], dim=-1)
    qvel = torch.cat([state.qvel[:, :6], state.qvel[:, robot.joint_qvel_adr]], dim=-1)
    return qpos.cpu().numpy().astype(float), qvel.cpu().numpy().astype(float)


def _outcome(
    simulator: Simulator,
    contract: Contract,
    network: Callable[[Array], Array],
    law: ServoLaw,
    entry: Entry,
    starts: Starts,
    robot: RobotSpec,
) -> Outcome:
    """What the policy does in an entry, episode by episode."""
    scenario = entry.scenario
    steps = round(scenario.seconds / contract.ctrl_dt)
    speeds = scenario.commanded(torch.arange(scenario.episodes), steps, contract.ctrl_dt).numpy()
    walks = [
        walk(simulator, contract, network, law, (qpos, qvel), np.array([speed, 0.0, 0.0]), steps)
        for speed, qpos, qvel in zip(speeds, *starts, strict=True)
    ]
    return outcome(recording(walks, speeds, steps, contract.ctrl_dt, robot), entry, robot)


def meaning(name: str) -> str:
    """What a row is."""
    return MEANINGS.get(name, "the environment, as trained")

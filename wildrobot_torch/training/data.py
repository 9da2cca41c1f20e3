"""The LightningDataModule: environment, collector and reference; it hands out whole rollouts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.collectors import Collector

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.layout import Layout
from envs.locomotion import LocomotionEnv, require_sim_state
from envs.physics.engines import resolve_engine
from envs.robot.spec import RobotSpec
from envs.settings import ClosedUnitInterval, PositiveInt, ShareBelowOne
from envs.tasks import task_for
from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.ppo.losses import gaussian_log_prob
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.ppo.normalizer import Reduce
from wildrobot_torch.process import one_torch_thread, tune_process
from wildrobot_torch.reference.curriculum import Curriculum, load_curriculum, require_schedule
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.reach import require_reach
from wildrobot_torch.reference.splits import family
from wildrobot_torch.reference.starts import commanded_starts
from wildrobot_torch.training.difficulty import Difficulty, DifficultyConfig

RANK_STRIDE = 1000
"""Difference of the seeds of two training processes."""

_TASK = LocomotionConfig()
_TIERS = {"0+": 0, "0": 0}


class SamplingActor(TensorDictModuleBase):
    """The policy as a collector calls it: samples an action, writes it with mean and log density.

    Written by hand, because TensorDictModule with a distribution costs three times as much a step.
    """

    def __init__(self, policy: Policy, log_noise: Tensor) -> None:
        """Acts with `policy`, whose weights stay shared; `log_noise` is `PPOConfig.log_noise`."""
        super().__init__()
        self.in_keys = ["observation"]
        self.out_keys = ["loc", "action", "action_log_prob", "log_noise"]
        self.policy = policy
        self.log_noise = log_noise

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Add loc and unclipped action (E, A), action_log_prob (E,) and log_noise (E, 1)."""
        mean = self.policy(tensordict.get("observation"))
        log_std = self.policy.log_std + self.log_noise
        action = mean + torch.exp(log_std) * torch.randn_like(mean)
        tensordict.set("loc", mean)
        tensordict.set("action", action)
        tensordict.set("action_log_prob", gaussian_log_prob(action, mean, log_std))
        tensordict.set("log_noise", self.log_noise)
        return tensordict


class RolloutData(pl.LightningDataModule):
    """Owns environment, collector and reference, and their state for an exact resume."""

    trainer: Any

    def __init__(
        self,
        env: LocomotionConfig = _TASK,
        robot: str | None = None,
        num_envs: PositiveInt = 1024,
        num_steps: PositiveInt = 24,
        physics: str = "native",
        num_threads: PositiveInt | None = None,
        reference: str | None = None,
        reference_tiers: Mapping[str, int] = _TIERS,
        rsi_probability: ClosedUnitInterval = 0.5,
        validation_split: ShareBelowOne = 0.15,
        iterations_per_epoch: PositiveInt = 40,
        evaluation: str = "quick",
        difficulty: DifficultyConfig | None = None,
        seed: int = 0,
    ) -> None:
        """Settings; nothing is allocated before `setup`.

        Args:
            env: the task.
            robot: name of a robot of this package, or a folder with a robot.yaml; null for that of
                env.robot.
            num_envs: robots simulated together, in each process.
            num_steps: control steps per rollout.
            physics: engine: native (MuJoCo on CPU threads), warp (MuJoCo Warp on a GPU, where the
                networks then are, too), warp-cpu (the same on one CPU core, slow: for tests), auto
                (warp where there is a GPU, otherwise native).
            num_threads: CPU threads of the native engine; null for all physical cores.
            reference: file of reference motion (`wildrobot reference` makes it); null for none.
            reference_tiers: environment steps from which discriminator and start states use motion
                of a tier; tiers that are not named are never used. Tier 1 late:
                {"0+": 0, "0": 0, "1": 10_000_000}.
            rsi_probability: share of the episodes that start in a reference state (reference state
                initialisation); read only with a reference.
            validation_split: share of the reference's kinds of motion that neither discriminator
                nor start states use, for the held-out AUC; 0 for none.
            iterations_per_epoch: iterations between two evaluations, each with a checkpoint.
            evaluation: scenario of the evaluations during training: a name in configs/evaluation,
                or a file.
            difficulty: which ranges of the task grow during the training; null for the whole of
                them from the start.
            seed: of commands, starts and pushes; the run's seed.

        Raises:
            UserError: bad tiers, stages without effect, an unknown engine, or an engine without its
                device.
        """
        super().__init__()
        require_schedule(reference_tiers, "data.reference_tiers")
        self.config = task_for(env, robot)
        self.num_envs, self.num_steps = int(num_envs), int(num_steps)  # plain ones, to be saved
        self.engine = resolve_engine(physics)
        self.num_threads = num_threads
        self.reference_path = reference
        self.reference_tiers = reference_tiers
        self.rsi_probability = rsi_probability
        self.validation_split = validation_split
        self.iterations_per_epoch = iterations_per_epoch
        self.evaluation = evaluation
        self.difficulty = None if difficulty is None else Difficulty(difficulty, self.config)
        self.seed = seed
        self.collection_time = 0.0
        self.reference: ReferenceDataset | None = None
        self.curriculum: Curriculum | None = None
        self.collector: Collector | None = None
        self._iterator: Iterator[TensorDictBase] | None = None
        self._saved: dict[str, Any] | None = None
        self.scenario: Any = None
        """Of the evaluations; it and the two environments are there after `setup`."""
        self.evaluation_env: Any = None
        """Environment of the evaluations: one robot per episode of the scenario."""
        self.env: Any = None

    # Set-up

    def setup(self, stage: str) -> None:
        """Make the environments and load the reference."""
        if self.env is not None:
            return
        self.scenario = scenario = load_scenario(self.evaluation)
        self.evaluation_env = self._make_env(
            scenario.task(self.config), scenario.episodes, scenario.seed
        )
        engine, networks = self.evaluation_env.backend.device, self.trainer.strategy.root_device
        # Otherwise every step would copy to and fro.
        if (engine.type, engine.index or 0) != (networks.type, networks.index or 0):
            raise UserError(
                f"physics {self.engine!r} computes on {engine}, the networks on {networks}; "
                "choose another data.physics"
            )
        self.env = self._make_env(
            self.config, self.num_envs, self.seed + RANK_STRIDE * self.trainer.global_rank
        )
        if self.reference_path is not None:
            self.curriculum = load_curriculum(
                self.reference_path, self.layouts["amp"], self.robot.digest, self.config.ctrl_dt,
                engine, self.reference_tiers, self.validation_split,
            )  # fmt: skip
            # Later stages first, so that an unusable tier is refused now and not hours later.
            for begin in sorted(set(self.reference_tiers.values()), reverse=True):
                self._follow(self.curriculum, begin)
        if self.difficulty is not None and self.difficulty.config.per_term:
            self.env.reality.judge_terms()
        self._set_difficulty()

    def _set_difficulty(self) -> None:
        if self.difficulty is not None:
            self.env.set_shares(self.difficulty.shares(self.env.backend.device))

    def adapt(self, rollout: TensorDictBase, reduce: Reduce | None) -> dict[str, float]:
        """Let the difficulty follow a rollout [E, T]; what to log of it.

        `reduce` adds up a tensor over all processes, whose difficulty is one; None where there is
        one process.
        """
        if self.difficulty is None:
            return {}
        following = rollout.get("next")
        counts = torch.stack([following.get(key).sum() for key in ("done", "terminated")])[None]
        if self.difficulty.config.per_term:
            counts = torch.cat([counts, self.env.reality.take_edge_ends()])
        if reduce is not None:
            counts = reduce(counts)
        (ended, fallen), *by_term = counts.tolist()
        self.difficulty.follow(ended, fallen, by_term)
        self._set_difficulty()
        return self.difficulty.metrics

    def _follow(self, curriculum: Curriculum, env_steps: int) -> None:
        """Give discriminator and start states the reference of so many environment steps."""
        reference = curriculum.at(env_steps)
        if reference is self.reference:
            return
        require_reach(reference, self.env.robot, self.config.action)
        self.reference = reference
        if self.rsi_probability > 0.0:
            qpos, qvel, velocity, frame, air_time = commanded_starts(
                reference, self.config.command, self.env.robot.weight
            )
            self.env.set_start_states(
                qpos, qvel, velocity, self.rsi_probability, curriculum.numbers(frame), air_time
            )

    @property
    def accelerator(self) -> Literal["cpu", "gpu"]:
        """Lightning's name for the device of the engine, which is also that of the networks."""
        return "gpu" if self.engine == "warp" else "cpu"

    def _make_env(self, config: LocomotionConfig, num_envs: int, seed: int) -> LocomotionEnv:
        return LocomotionEnv(
            config, num_envs, physics=self.engine, num_threads=self.num_threads, seed=seed
        )

    @property
    def layouts(self) -> dict[str, Layout]:
        """Layouts of observation, critic_observation and amp."""
        return self.evaluation_env.layouts

    @property
    def robot(self) -> RobotSpec:
        """The robot, on the CPU."""
        return self.evaluation_env.robot.to("cpu")

    # Rollouts

    def train_dataloader(self) -> Rollouts:
        """Rollouts of the present policy."""
        return Rollouts(self, self.iterations_per_epoch)

    def collect(self) -> TensorDictBase:
        """One rollout [E, T] of the module's present policy; valid until the next call."""
        module: Any = self.trainer.lightning_module
        fresh = self._iterator is None and self._saved is None
        iterator = self._iterator or self._start_collector()
        if self.curriculum is not None:
            self._follow(self.curriculum, module.env_steps)
        begin = time.perf_counter()
        with one_torch_thread(), module.policy.fixed_weights():
            rollout = next(iterator)
        if rollout.get("action").is_cuda:
            # The update waits for the rollout in any case; its time should not include that.
            torch.cuda.synchronize(rollout.get("action").device)
        self.collection_time = time.perf_counter() - begin
        if fresh:
            self.env.stagger()
        return rollout

    def _start_collector(self) -> Iterator[TensorDictBase]:
        tune_process()
        saved, device = self._saved, self.env.backend.device
        module = self.trainer.lightning_module
        if saved is not None:
            # The collector begins with a reset, which returns the saved root.
            self.env.set_sim_state(saved["simulation"])
        self.collector = Collector(
            self.env,
            SamplingActor(module.policy, module.ppo.log_noise(self.num_envs, device)),
            frames_per_batch=self.num_envs * self.num_steps,
            total_frames=-1,
            # Each of the next three costs host synchronisations or copies in every step.
            track_traj_ids=False,
            return_same_td=True,
            no_cuda_sync=True,
            trust_policy=True,
            auto_register_policy_transforms=False,
        )
        iterator = self._iterator = iter(self.collector)
        self._saved = None
        # Last of all, because making networks and collectors draws random numbers.
        if saved is not None:
            torch.set_rng_state(saved["rng"])
            if device.type == "cuda":
                torch.cuda.set_rng_state(saved["cuda_rng"], device)
        elif rank := self.trainer.global_rank:
            # Lightning seeds all processes alike: they would explore and learn from equal draws.
            torch.manual_seed(self.seed + RANK_STRIDE * rank + module.env_steps)
        return iterator

    def transfer_batch_to_device(self, batch: Any, *_: Any) -> Any:
        """The batch itself: rollouts are made on the training's device."""
        return batch

    def val_dataloader(self) -> range:
        """One batch, of which only the number counts: the module evaluates on `scenario`."""
        return range(1)

    def teardown(self, stage: str) -> None:
        """Release the collector."""
        if stage == "fit" and self.collector is not None:
            self.collector.shutdown(close_env=False)
            self.collector = self._iterator = None

    # Resume

    def state_dict(self) -> dict[str, Any]:
        """Simulations, root of the next step and torch's random state; empty before training.

        All of it is on the CPU, so that a machine without a GPU can read it.
        """
        if self.collector is None:
            return {}
        device = self.env.backend.device
        held_out = self.curriculum and self.curriculum.held_out
        state = {
            "physics": self.engine,
            "num_envs": self.num_envs,
            # States of generators are bytes on the CPU already.
            "simulation": {key: x.cpu() for key, x in self.env.get_sim_state().items()},
            "rng": torch.get_rng_state(),
            "difficulty": None if self.difficulty is None else self.difficulty.state_dict(),
            # Kinds of reference motion that neither discriminator nor start states have used.
            "held_out": sorted(set(map(family, held_out.segment_clip if held_out else ()))),
        }
        if device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(device)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a saved state until the collector starts.

        Only the first process's simulations are saved; the other processes start theirs afresh.
        With another engine all of them do, because an engine cannot continue the simulations of
        another; a line says so.

        Raises:
            UserError: the state is of another number of environments, or of another version.
        """
        saved = state_dict.get("difficulty")
        if self.difficulty is not None and saved is not None:
            self.difficulty.load_state_dict(saved)
            self._set_difficulty()
        if not self.trainer.is_global_zero:
            return
        if (saved_on := state_dict["physics"]) != self.engine:
            print(
                f"note: the checkpoint's simulations ran on {saved_on}; on {self.engine} they "
                "start afresh",
                file=sys.stderr,
            )
            return
        if state_dict["num_envs"] != self.num_envs:
            raise UserError(
                f"the checkpoint holds {state_dict['num_envs']} environments, data.num_envs is "
                f"{self.num_envs}; resume with the number it was trained with"
            )
        require_sim_state(state_dict["simulation"])
        self._saved = state_dict


class Rollouts:
    """Sized iterable of rollouts [E, T]; one pass is one epoch.

    It has a length, because Lightning prefetches from an iterable without one and would train each
    policy on the rollout of the policy before. A rollout is valid until the next one is collected.
    The position in the epoch is saved, so that a resume in mid-epoch continues there.
    """

    def __init__(self, data: RolloutData, length: int) -> None:
        """`length` rollouts per pass, collected by `data`."""
        self._data, self._length = data, length
        self._position = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[TensorDictBase]:
        start, self._position = self._position, 0
        for index in range(start, self._length):
            rollout = self._data.collect()
            self._position = (index + 1) % self._length
            yield rollout

    def state_dict(self) -> dict[str, int]:
        """Position in the epoch."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue at a saved position."""
        self._position = state["position"]

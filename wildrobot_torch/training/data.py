"""The LightningDataModule: environment, collector and reference; it hands out whole rollouts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.collectors import Collector

from envs.config import LocomotionConfig
from envs.layout import Layout
from envs.locomotion import LocomotionEnv, require_sim_state
from envs.physics.engines import resolve_engine
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation import Scenario, load_scenario
from wildrobot_torch.ppo.losses import gaussian_log_prob
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.process import one_torch_thread, tune_process
from wildrobot_torch.reference.curriculum import Curriculum, load_curriculum, require_schedule
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.reach import require_reach
from wildrobot_torch.reference.splits import family
from wildrobot_torch.reference.starts import commanded_starts

_ROOT_KEYS = (
    "observation", "critic_observation", "amp", "start", "terminated", "truncated", "done",
)  # fmt: skip

_TASK = LocomotionConfig()
_TIERS = {"0+": 0, "0": 0}


class SamplingActor(TensorDictModuleBase):
    """The policy as a collector calls it: draws an action, writes it with its mean and log density.

    Written by hand: the general-purpose module costs three times as much per step.
    """

    def __init__(self, policy: Policy, log_noise: Tensor) -> None:
        """Acts with `policy`, whose weights stay shared.

        Args:
            policy: the policy.
            log_noise: (E, 1) see `PPOConfig.log_noise`.
        """
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

    def __init__(
        self,
        env: LocomotionConfig = _TASK,
        num_envs: int = 1024,
        num_steps: int = 24,
        physics: str = "native",
        num_threads: int | None = None,
        reference: str | None = None,
        reference_tiers: Mapping[str, int] = _TIERS,
        reference_start_probability: float = 0.5,
        reference_held_out: float = 0.15,
        iterations_per_epoch: int = 40,
        evaluation: str = "quick",
        test: str = "walking",
        seed: int = 0,
    ) -> None:
        """Settings; nothing is allocated before `setup`.

        Args:
            env: the task.
            num_envs: robots simulated together.
            num_steps: control steps per rollout.
            physics: engine: native (MuJoCo on CPU threads), warp (MuJoCo Warp on a GPU, where the
                networks then are, too), warp-cpu (the same on one CPU core, slow: for tests), auto
                (warp where there is a GPU, otherwise native).
            num_threads: CPU threads of the native engine; null for all physical cores.
            reference: file of reference motion (tools/make_reference.py); null for none.
            reference_tiers: environment steps from which motion of a tier is used, by discriminator
                and start states; tiers that are not named never are.
            reference_start_probability: share of the episodes that start in a reference state; read
                only when there is a reference.
            reference_held_out: share of the reference's kinds of motion that neither the
                discriminator nor start states show, to measure what was learned; 0 for none.
            iterations_per_epoch: iterations between two evaluations, each with a checkpoint.
            evaluation: scenario of the evaluations during training and of `validate`: a name in
                configs/evaluation, or a file.
            test: scenario of `test`.
            seed: of commands, starts and pushes; the run's seed.

        Raises:
            ValueError: a value out of its range, an engine that is unknown, or one without its
                device.
        """
        super().__init__()
        for name, value in (
            ("num_envs", num_envs),
            ("num_steps", num_steps),
            ("iterations_per_epoch", iterations_per_epoch),
        ):
            if value < 1:
                raise ValueError(f"data.{name} is {value}; it must be positive")
        if not 0.0 <= reference_start_probability <= 1.0:
            raise ValueError(
                f"data.reference_start_probability is {reference_start_probability}; "
                "allowed: 0 to 1"
            )
        if not 0.0 <= reference_held_out < 1.0:
            raise ValueError(
                f"data.reference_held_out is {reference_held_out}; allowed: 0 to below 1"
            )
        require_schedule(reference_tiers, "data.reference_tiers")
        self.config = env
        self.num_envs, self.num_steps = num_envs, num_steps
        self.engine = resolve_engine(physics)
        self.num_threads = num_threads
        self.reference_path = reference
        self.reference_tiers = reference_tiers
        self.reference_start_probability = reference_start_probability
        self.reference_held_out = reference_held_out
        self.iterations_per_epoch = iterations_per_epoch
        self.scenario_names = {"fit": evaluation, "validate": evaluation, "test": test}
        self.seed = seed
        self.collect_s = 0.0
        self.reference: ReferenceDataset | None = None
        self.curriculum: Curriculum | None = None
        self.collector: Collector | None = None
        self._iterator: Iterator[TensorDictBase] | None = None
        self._saved: dict[str, Any] | None = None
        self.scenario: Scenario | None = None
        self._evaluation_env: LocomotionEnv | None = None
        self.env: LocomotionEnv | None = None

    # Set-up

    def setup(self, stage: str) -> None:
        """Make the environments and load the reference."""
        scenario = load_scenario(self.scenario_names[stage])
        if scenario != self.scenario:
            self.scenario = scenario
            self._evaluation_env = self._make_env(
                scenario.task(self.config), scenario.episodes, scenario.seed
            )
        self._require_one_device()
        if stage != "fit" or self.env is not None:
            return
        rank = self.trainer.global_rank if self.trainer is not None else 0
        self.env = self._make_env(self.config, self.num_envs, self.seed + 1000 * rank)
        if self.reference_path is not None:
            self.curriculum = load_curriculum(
                self.reference_path, self.env.layouts["amp"], self.robot_digest,
                self.config.ctrl_dt, self.env.backend.device, self.reference_tiers,
                self.reference_held_out,
            )  # fmt: skip
            self._follow(self.curriculum, env_steps=0)

    def _follow(self, curriculum: Curriculum, env_steps: int) -> None:
        """Use the reference of so many steps, for discriminator and start states."""
        assert self.env is not None
        reference = curriculum.at(env_steps)
        if reference is self.reference:
            return
        require_reach(reference, self.env.robot, self.config.action)
        self.reference = reference
        if self.reference_start_probability > 0.0:
            qpos, qvel, velocity, frame, air_time = commanded_starts(
                reference, self.config.command, self.env.robot.weight
            )
            self.env.set_start_states(
                qpos, qvel, velocity, self.reference_start_probability, curriculum.numbers(frame),
                air_time,
            )  # fmt: skip

    @property
    def accelerator(self) -> Literal["cpu", "gpu"]:
        """Lightning's name for where the engine computes, and so for where the networks are."""
        return "gpu" if self.engine == "warp" else "cpu"

    def require_accelerator(self, found: str) -> None:
        """Refuse networks elsewhere than the engine: every step would copy to and fro.

        Raises:
            ValueError: `found`, Lightning's name for where they are, is not `accelerator`.
        """
        if found != self.accelerator:
            raise ValueError(
                f"physics {self.engine!r} computes on {self.accelerator}, the trainer on {found}; "
                "leave --trainer.accelerator at auto"
            )

    def _require_one_device(self) -> None:
        """Refuse a trainer on another device than the engine's."""
        assert self.trainer is not None
        engine, networks = self.evaluation_env.backend.device, self.trainer.strategy.root_device
        self.require_accelerator("gpu" if networks.type == "cuda" else networks.type)
        if (engine.index or 0) != (networks.index or 0):
            raise ValueError(f"physics computes on {engine}, the trainer on {networks}")

    def _make_env(self, config: LocomotionConfig, num_envs: int, seed: int) -> LocomotionEnv:
        return LocomotionEnv(
            config, num_envs, physics=self.engine, num_threads=self.num_threads, seed=seed
        )

    @property
    def evaluation_env(self) -> LocomotionEnv:
        """Environment of the evaluations: one robot per episode of the scenario."""
        assert self._evaluation_env is not None, "setup comes first"
        return self._evaluation_env

    @property
    def layouts(self) -> dict[str, Layout]:
        """Layouts of observation, critic_observation and amp."""
        return self.evaluation_env.layouts

    @property
    def robot_digest(self) -> str:
        """Version of the robot description."""
        return self.evaluation_env.robot.digest

    @property
    def robot(self) -> RobotSpec:
        """The robot, on the CPU."""
        return self.evaluation_env.robot.to("cpu")

    @property
    def num_actions(self) -> int:
        """Length of an action."""
        return self.evaluation_env.robot.num_joints

    @property
    def env_config(self) -> dict[str, Any]:
        """The task as plain containers."""
        return asdict(self.config)

    # Rollouts

    def train_dataloader(self) -> Rollouts:
        """Rollouts of the present policy."""
        return Rollouts(self, self.iterations_per_epoch)

    def collect(self) -> TensorDictBase:
        """One rollout [E, T] of the module's present policy; valid until the next call."""
        fresh = self._iterator is None and self._saved is None
        if self._iterator is None:
            self._start_collector()
        assert self._iterator is not None and self.trainer is not None and self.env is not None
        if self.curriculum is not None:
            module: Any = self.trainer.lightning_module
            self._follow(self.curriculum, module.env_steps)
        begin = time.perf_counter()
        with one_torch_thread():
            rollout = next(self._iterator)
        if rollout.get("action").is_cuda:
            # The update would wait for it anyway, and be charged with it.
            torch.cuda.synchronize(rollout.get("action").device)
        self.collect_s = time.perf_counter() - begin
        if fresh:
            self.env.stagger()
        return rollout

    def _start_collector(self) -> None:
        assert self.env is not None and self.trainer is not None, "setup comes first"
        tune_process()
        module: Any = self.trainer.lightning_module
        collector = Collector(
            self.env,
            SamplingActor(
                module.policy, module.ppo.log_noise(self.num_envs, self.env.backend.device)
            ),
            frames_per_batch=self.num_envs * self.num_steps,
            total_frames=-1,
            # Each of the next three costs host synchronisations or copies in every step.
            track_traj_ids=False,
            return_same_td=True,
            no_cuda_sync=True,
            trust_policy=True,
            auto_register_policy_transforms=False,
        )
        self.collector, self._iterator = collector, iter(collector)
        if self._saved is not None:
            # Last of all, because making networks and collectors draws random numbers.
            saved, device = self._saved, self.env.backend.device
            self.env.set_sim_state(saved["simulation"])
            # The collector holds the root of its next step and offers no way to set it.
            carrier = _on_device(saved["carrier"], device)
            collector._carrier.update(TensorDict(carrier, batch_size=[self.num_envs]))
            torch.set_rng_state(saved["rng"])
            if device.type == "cuda":
                torch.cuda.set_rng_state(saved["cuda_rng"], device)
            self._saved = None

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """The batch as it is: rollouts are made on the training's device."""
        return batch

    def val_dataloader(self) -> Scenarios:
        """The scenario of the evaluations."""
        assert self.scenario is not None, "setup comes first"
        return Scenarios(self.scenario)

    test_dataloader = val_dataloader

    def teardown(self, stage: str) -> None:
        """Release the collector."""
        if stage == "fit" and self.collector is not None:
            self.collector.shutdown(close_env=False)
            self.collector = self._iterator = None

    # Resume

    def state_dict(self) -> dict[str, Any]:
        """Simulations, the next step's root and torch's random state; empty outside a fit.

        All of it is on the CPU, so that a machine without a GPU can read it.
        """
        if self.collector is None or self.env is None:
            return {}
        carrier, device = self.collector._carrier, self.env.backend.device
        state = {
            "physics": self.engine,
            "num_envs": self.num_envs,
            "simulation": _on_device(self.env.get_sim_state(), "cpu"),
            "carrier": _on_device({key: carrier.get(key).clone() for key in _ROOT_KEYS}, "cpu"),
            "rng": torch.get_rng_state(),
            "held_out": self._held_out,
        }
        if device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(device)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a saved state until the collector starts.

        Other processes than the first start afresh: one process's state is saved. So do all where
        the engine has changed, for no engine can go on with another's simulations; a line says so.

        Raises:
            ValueError: it is of another number of environments, or of another version.
        """
        if self.trainer is None or not self.trainer.is_global_zero or self.env is None:
            return
        saved_on = state_dict.get("physics", "native")  # at first there was no other
        if saved_on != self.engine:
            print(
                f"note: the checkpoint's simulations ran on {saved_on}; on {self.engine} they "
                "start afresh",
                file=sys.stderr,
            )
            return
        if state_dict["num_envs"] != self.num_envs:
            raise ValueError(
                f"the checkpoint holds {state_dict['num_envs']} environments, data.num_envs is "
                f"{self.num_envs}; resume with the number it was trained with"
            )
        require_sim_state(state_dict["simulation"])
        if (was := state_dict.get("held_out")) not in (None, self._held_out):
            print(
                f"note: the training had held out the reference motion {', '.join(was) or 'none'}; "
                f"from here on it is {', '.join(self._held_out) or 'none'}",
                file=sys.stderr,
            )
        self._saved = state_dict

    @property
    def _held_out(self) -> list[str]:
        """Kinds of reference motion that are held out."""
        held_out = self.curriculum.held_out if self.curriculum is not None else None
        return [] if held_out is None else sorted(set(map(family, held_out.segment_clip)))


def _on_device(state: dict[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    """The state on a device, but for states of generators (bytes), which torch wants on the CPU."""
    return {
        key: value if value.dtype == torch.uint8 else value.to(device)
        for key, value in state.items()
    }


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


class Scenarios:
    """Sized iterable of one scenario; Lightning makes one loader per entry of a list."""

    def __init__(self, scenario: Scenario) -> None:
        """Yields `scenario` once."""
        self._scenario = scenario

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Scenario]:
        yield self._scenario

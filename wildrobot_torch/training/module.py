"""The LightningModule: connects rollouts, motion prior and PPO; the arithmetic is elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

import lightning.pytorch as pl
import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from envs.errors import UserError
from envs.layout import Layout
from envs.physics.base import PhysicsError, require_capacities
from envs.robot.spec import RobotSpec
from envs.robot.symmetry import action_mirror, layout_mirror
from envs.settings import ShareBelowOne
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.evaluation import Scenario, evaluate
from wildrobot_torch.evaluation.style.ranking import RANKED, StyleTarget, ranked
from wildrobot_torch.ppo.average import AveragedPolicy
from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.ppo.finite import TrainingDiverged, require_finite
from wildrobot_torch.ppo.learner import ExtraLoss, PPOLearner, Transitions
from wildrobot_torch.ppo.networks import Critic, NetworkConfig, Policy
from wildrobot_torch.ppo.normalizer import Reduce
from wildrobot_torch.ppo.policy_file import CHECKPOINT_FORMAT
from wildrobot_torch.reference.curriculum import Curriculum
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.sampling import require_clips
from wildrobot_torch.training.checkpoints import require_resumable
from wildrobot_torch.training.checkpoints import warm_start as load_first_networks
from wildrobot_torch.training.health.diagnostics import diagnose
from wildrobot_torch.training.metrics import EpisodeMeans, step_metrics

_PPO, _NETWORK = PPOConfig(), NetworkConfig()


class TrainingData(Protocol):
    """Attributes of the LightningDataModule that the module reads."""

    layouts: dict[str, Layout]
    robot_digest: str
    robot: RobotSpec
    env_config: dict[str, Any]
    engine: str
    num_actions: int
    reference: ReferenceDataset | None
    curriculum: Curriculum | None
    env: Any
    evaluation_env: Any
    collection_time: float

    def adapt(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Let the difficulty follow an iteration's metrics; what to log of it."""
        ...


class WalkingModule(pl.LightningModule):
    """PPO, with or without a motion prior, on whole rollouts.

    One training step is one iteration: style reward, advantages, epochs over minibatches. Policy
    and discriminator learn in one backward pass, so plain data parallelism works, and the last
    optimiser step of an iteration alone goes through Lightning, so `global_step` counts iterations.
    """

    def __init__(
        self,
        ppo: PPOConfig = _PPO,
        network: NetworkConfig = _NETWORK,
        amp: AMPConfig | None = None,
        ema_decay: ShareBelowOne = 0.9,
        warm_start: str | None = None,
    ) -> None:
        """Settings; networks are made in `setup`, when the layouts are known.

        Args:
            ppo: settings of PPO.
            network: shape of actor and critic.
            amp: settings of the motion prior; null trains on the task reward alone.
            ema_decay: decay per iteration of the averaged policy, which is evaluated, exported and
                deployed; 0 for the policy as it is trained.
            warm_start: checkpoint of another training, with or without motion prior, that gives
                the first actor (its averaged one) and critic; null for untrained networks.
        """
        super().__init__()
        self.automatic_optimization = False
        self.ppo = ppo
        self.network = network
        self.amp = amp
        self.ema_decay = ema_decay
        self.warm_start = warm_start
        if amp is not None and amp.num_updates > self.ppo.num_updates:
            raise UserError(
                f"amp.num_updates {amp.num_updates} exceeds the {self.ppo.num_updates} optimiser "
                "steps of an iteration (ppo.num_epochs x ppo.num_minibatches)"
            )
        self.env_steps = 0
        self.metrics: dict[str, float] = {}
        self.evaluation: dict[str, float] = {}
        self.evaluation_passed = False
        self._episodes = EpisodeMeans()

    # Networks

    @property
    def data(self) -> Any:
        """The data module of the run; it satisfies `TrainingData`."""
        return self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]

    def setup(self, stage: str) -> None:
        """Make the networks for the layouts of the data module."""
        if hasattr(self, "policy"):
            return
        data: TrainingData = self.data
        sizes = {name: layout.size for name, layout in data.layouts.items()}
        robot, mirrors = data.robot, {}
        if self.network.asymmetry < 1.0:
            mirrors = {n: layout_mirror(lay, robot) for n, lay in data.layouts.items()}
        self.policy = Policy(
            sizes["observation"],
            data.num_actions,
            self.network.hidden,
            self.network.activation,
            self.network.init_std,
            (mirrors["observation"], action_mirror(robot)) if mirrors else None,
            self.network.asymmetry,
        )
        self.critic = Critic(
            sizes["critic_observation"],
            self.network.hidden,
            self.network.activation,
            mirrors.get("critic_observation"),
            self.network.asymmetry,
        )
        if stage == "fit" and self.warm_start is not None and self.trainer.ckpt_path is None:
            load_first_networks(
                self.warm_start, self.policy, self.critic, data.layouts, data.robot_digest,
                data.env_config["action"], self.network.init_std,
            )  # fmt: skip
        self.averaged = AveragedPolicy(self.policy, self.ema_decay, self.network.deployed_asymmetry)
        self.prior: MotionPrior | None = None
        self.style_target: StyleTarget | None = None
        if self.amp is not None:
            if stage == "fit":
                trained_on = self._require_reference(self.amp).whole.to("cpu")
                self.style_target = StyleTarget.of(trained_on, robot)
            self.prior = MotionPrior(data.layouts["amp"], self.amp)

    def _require_reference(self, amp: AMPConfig) -> Curriculum:
        """The reference a motion prior needs; refuses to train one without."""
        data: TrainingData = self.data
        if data.reference is None or data.curriculum is None:
            raise UserError(
                "the motion prior (model.amp) needs reference motion; give --data.reference "
                "FILE made by `wildrobot reference`, or --model.amp null"
            )
        require_clips(data.reference.segment_clip)
        amp.require_validation(data.curriculum.held_out is not None)
        for stage in amp.stages:
            stage.require_metrics(RANKED)
        return data.curriculum

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for actor and critic, and another for the discriminator."""
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(self._ppo_parameters(), lr=self.ppo.learning_rate, fused=True)
        ]
        if self.prior is not None and self.amp is not None:
            optimizers.append(
                torch.optim.Adam(self.prior.parameters(), lr=self.amp.learning_rate, fused=True)
            )
        return optimizers

    def _ppo_parameters(self) -> list[nn.Parameter]:
        return [*self.policy.parameters(), *self.critic.parameters()]

    @property
    def _reduce(self) -> Reduce | None:
        if self.trainer.world_size == 1:
            return None
        return lambda sums: self.trainer.strategy.reduce(sums, reduce_op="sum")  # type: ignore

    # One iteration

    def on_train_start(self) -> None:
        """Make the learner; hold a resumed run to the learning rates that are set now."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.ppo.resumed(group["lr"])
        if self.amp is not None:
            for group in self.trainer.optimizers[1].param_groups:
                group["lr"] = self.amp.learning_rate
        lightning = self.optimizers()
        first = lightning[0] if isinstance(lightning, list) else lightning
        self.learner = PPOLearner(
            self.policy,
            self.critic,
            self.ppo,
            self.trainer.optimizers[0],
            averaged=self.averaged,
            extra=None if self.prior is None else self._discriminator_loss(self.prior),
            reduce=self._reduce,
            backward=self.manual_backward,
            last_step=first.step,
        )

    def _discriminator_loss(self, prior: MotionPrior) -> ExtraLoss:
        def loss(number: int) -> tuple[Tensor, dict[str, Tensor]]:
            value, parts = prior.loss(number)
            return value, {f"AMP/{name}": part for name, part in parts.items()}

        updates = prior.config.num_updates
        return ExtraLoss(loss, updates, self.trainer.optimizers[1], "discriminator")

    def training_step(self, batch: TensorDictBase, batch_idx: int) -> None:
        """One PPO iteration on a rollout [E, T]."""
        begin = time.perf_counter()
        iteration = self.global_step + 1
        self._require_sound(batch, iteration)
        self.env_steps += batch.numel() * self.trainer.world_size
        following = batch.get("next")
        reward = following.get("reward").squeeze(-1)
        self.metrics = step_metrics(batch) | self._episodes.update(batch)
        self.metrics |= self.data.adapt(self.metrics)
        if self.prior is not None:
            reward = reward + self._style_reward(self.prior, batch)
        rollout = Transitions(
            observation=batch.get("observation"),
            critic_observation=batch.get("critic_observation"),
            next_critic_observation=following.get("critic_observation"),
            action=batch.get("action"),
            mean=batch.get("loc"),
            log_prob=batch.get("action_log_prob"),
            log_noise=batch.get("log_noise"),
            reward=reward,
            terminated=following.get("terminated").squeeze(-1),
            done=following.get("done").squeeze(-1),
        )
        self.metrics |= self.learner.update(rollout, iteration)
        learn_s, collect_s = time.perf_counter() - begin, self.data.collection_time
        self.metrics |= {
            "Perf/collection_time": collect_s,
            "Perf/learning_time": learn_s,
            "Perf/total_fps": batch.numel() * self.trainer.world_size / (collect_s + learn_s),
        }
        self._log(self.metrics)

    def _require_sound(self, batch: TensorDictBase, iteration: int) -> None:
        """Refuse a rollout that cannot be learned from, on all processes if one has it.

        Raises:
            PhysicsError: the engine ran out of memory for contacts or constraints.
            TrainingDiverged: a number is not finite.
        """
        error = None
        try:
            require_capacities(self.data.env.backend)
            guarded = {key: batch.get(key) for key in ("observation", "critic_observation", "amp")}
            guarded |= {"action": batch.get("action"), "reward": batch.get(("next", "reward"))}
            require_finite(guarded, iteration)
        except (PhysicsError, TrainingDiverged) as found:
            error = found
        failed = torch.tensor(float(error is not None), device=self.device)
        # A process that stopped alone would leave the others waiting for its gradients.
        if self._reduce is not None and self._reduce(failed) > 0.0 and error is None:
            error = TrainingDiverged(f"another process failed in iteration {iteration}")
        if error is not None:
            raise error

    def _style_reward(self, prior: MotionPrior, batch: TensorDictBase) -> Tensor:
        """Weighted style reward (E, T) of a rollout; draws what the discriminator learns from."""
        curriculum, reference = self.data.curriculum, self.data.reference
        windows, style = prior.judge(
            batch.get("amp"),
            batch.get("next").get("amp"),
            batch.get("rsi_index").squeeze(-1),
            curriculum.frames,
        )
        weight = prior.weight(self.env_steps)
        held_out = None if curriculum.held_out is None else curriculum.held_out.sample_windows
        self.metrics |= diagnose(
            prior, windows, style, reference.sample_windows, held_out, self.data.layouts["amp"]
        )
        self.metrics |= {"AMP/weight": weight, "AMP/stage": float(prior.stage)}
        auc = torch.tensor(self.metrics.get("AMP/auc_held_out", math.nan), device=self.device)
        # The mean over all processes, so that their ramps keep step.
        mean_auc = float(self.trainer.strategy.reduce(auc, reduce_op="mean"))  # type: ignore
        prior.count_steps(style.numel() * self.trainer.world_size, mean_auc)
        sample = partial(reference.sample_windows, batches=prior.config.num_updates)
        prior.sample_batches(windows, sample, self.global_step, self._reduce)
        return weight * style

    def _log(self, metrics: dict[str, float]) -> None:
        """Hand metrics to the loggers; their x-axis is environment steps."""
        if self.trainer.is_global_zero:
            for logger in self.loggers:
                logger.log_metrics(metrics, step=self.env_steps)

    # Evaluation

    def validation_step(self, batch: Scenario, batch_idx: int) -> None:
        """Deterministic evaluation of a scenario; `rank` decides which checkpoint is best."""
        with torch.no_grad():
            result = evaluate(self.averaged.policy.act, self.data.evaluation_env, batch)
        self.evaluation = ranked(result, self.style_target)
        self.evaluation_passed = result.passed
        shown = {"rank": self.evaluation["rank"], "env_steps": float(self.env_steps)}
        self.log_dict(shown, logger=False, batch_size=1)
        self._log({f"Evaluation/{name}": value for name, value in self.evaluation.items()})
        if self.prior is not None and self.trainer.state.fn == "fit":
            self.prior.advance(self.evaluation)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the policy's description and the state that an exact resume needs."""
        data: TrainingData = self.data
        checkpoint["actor"] = dict(self.averaged.policy.hparams)
        checkpoint["trained_actor"] = dict(self.policy.hparams)
        checkpoint["wildrobot"] = {
            "format": CHECKPOINT_FORMAT,
            **{f"{name}_layout": lay.to_dict() for name, lay in data.layouts.items()},
            "robot_digest": data.robot_digest,
            "env_config": data.env_config,
            "physics": data.engine,
            "env_steps": self.env_steps,
            "metrics": dict(self.evaluation),
        }
        checkpoint["training"] = {
            "amp": None if self.amp is None else asdict(self.amp),
            "episodes": list(self._episodes.sums),
            "style": None if self.prior is None else self.prior.resume_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of other layouts, robot or networks; take over its counters.

        Raises:
            UserError: a checkpoint of another program or version, another robot, other networks.
            LayoutMismatch: with a field-by-field difference.
        """
        data: TrainingData = self.data
        actor, actions = self.policy.hparams, data.env_config["action"]
        require_resumable(checkpoint, data.layouts, data.robot_digest, actor, actions, self.amp)
        about, training = checkpoint["wildrobot"], checkpoint["training"]
        self.env_steps = about["env_steps"]
        self.evaluation = dict(about["metrics"])
        self._episodes.sums = list(training["episodes"])
        if self.prior is not None:
            # The module itself is moved there only after this.
            self.prior.load_resume_state(training["style"], self.trainer.strategy.root_device)

"""The LightningModule: connects rollouts, motion prior and PPO; the arithmetic is elsewhere."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from tensordict import TensorDictBase
from torch import Tensor

from envs.config import policy_settings, trained_settings
from envs.errors import UserError
from envs.physics.base import require_capacities
from envs.robot.symmetry import action_mirror, layout_mirror
from envs.settings import ShareBelowOne
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.evaluation import evaluate
from wildrobot_torch.evaluation.style.ranking import RANKED, StyleTarget, ranked
from wildrobot_torch.ppo.average import AveragedPolicy
from wildrobot_torch.ppo.config import GammaRamp, PPOConfig
from wildrobot_torch.ppo.finite import fail_together, require_finite
from wildrobot_torch.ppo.learner import ExtraLoss, PPOLearner, Transitions
from wildrobot_torch.ppo.networks import Critic, NetworkConfig, Policy
from wildrobot_torch.ppo.normalizer import Reduce
from wildrobot_torch.ppo.policy_file import CHECKPOINT_FORMAT
from wildrobot_torch.reference.curriculum import Curriculum
from wildrobot_torch.reference.sampling import require_clips
from wildrobot_torch.training.checkpoints import require_resumable
from wildrobot_torch.training.checkpoints import warm_start as load_first_networks
from wildrobot_torch.training.data import RolloutData
from wildrobot_torch.training.health.diagnostics import NUM_WINDOWS, diagnose
from wildrobot_torch.training.metrics import EpisodeMeans, step_metrics

_PPO, _NETWORK = PPOConfig(), NetworkConfig()


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
        gamma_ramp: GammaRamp | None = None,
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
            gamma_ramp: a discount that grows to `ppo.gamma`; null for `ppo.gamma` all the time.
        """
        super().__init__()
        self.automatic_optimization = False
        self.ppo, self.network, self.amp = ppo, network, amp
        self.ema_decay, self.warm_start = ema_decay, warm_start
        self.gamma_ramp = gamma_ramp
        if gamma_ramp is not None:
            gamma_ramp.require(ppo)
        if amp is not None and amp.num_updates > ppo.num_updates:
            raise UserError(
                f"amp.num_updates {amp.num_updates} exceeds the {ppo.num_updates} optimiser "
                "steps of an iteration (ppo.num_epochs x ppo.num_minibatches)"
            )
        self.env_steps = 0
        self.metrics: dict[str, float] = {}
        self.evaluation: dict[str, float] = {}
        self.evaluation_passed = False
        self._episodes = EpisodeMeans()

    # Networks

    @property
    def data(self) -> RolloutData:
        """The data module of the run."""
        return self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]

    def setup(self, stage: str) -> None:
        """Make the networks for the layouts of the data module."""
        if hasattr(self, "policy"):
            return
        data, robot, network = self.data, self.data.robot, self.network
        sizes = {name: layout.size for name, layout in data.layouts.items()}
        mirrors = {}
        if network.asymmetry < 1.0:
            mirrors = {n: layout_mirror(lay, robot) for n, lay in data.layouts.items()}
        shape: dict[str, Any] = {
            name: getattr(network, name) for name in ("hidden", "activation", "asymmetry")
        }
        both = (mirrors["observation"], action_mirror(robot)) if mirrors else None
        self.policy = Policy(
            sizes["observation"], robot.num_joints, init_std=network.init_std, mirrors=both, **shape
        )
        mirror = mirrors.get("critic_observation")
        self.critic = Critic(sizes["critic_observation"], mirror=mirror, **shape)
        if stage == "fit" and self.warm_start is not None and self.trainer.ckpt_path is None:
            load_first_networks(
                self.warm_start, self.policy, self.critic, self.description(), network.init_std
            )
        self.averaged = AveragedPolicy(self.policy, self.ema_decay, network.deployed_asymmetry)
        self.prior: MotionPrior | None = None
        self.style_target: StyleTarget | None = None
        if self.amp is not None:
            if stage == "fit":
                trained_on = self._require_reference(self.amp).whole.to("cpu")
                self.style_target = StyleTarget.of(trained_on, robot)
            self.prior = MotionPrior(data.layouts["amp"], self.amp, data.config.ctrl_dt)

    def _require_reference(self, amp: AMPConfig) -> Curriculum:
        """The reference a motion prior needs; refuses to train one without."""
        data = self.data
        if data.reference is None or data.curriculum is None:
            raise UserError(
                "the motion prior (model.amp) needs reference motion; give --data.reference "
                "FILE made by `wildrobot reference`, or --model.amp null"
            )
        require_clips(data.reference.segment_clip)
        if amp.ramp_gate is not None and data.curriculum.held_out is None:
            raise UserError(
                "amp.ramp_gate needs reference motion that is held out, and there is none; set "
                "data.validation_split above 0, or amp.ramp_gate null"
            )
        for stage in amp.stages:
            stage.require_metrics(RANKED)
        return data.curriculum

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for actor and critic, and another for the discriminator."""
        parameters = [*self.policy.parameters(), *self.critic.parameters()]
        optimizers = [torch.optim.Adam(parameters, lr=self.ppo.learning_rate, fused=True)]
        if self.prior is not None:
            rate = self.prior.config.learning_rate
            optimizers.append(torch.optim.Adam(self.prior.parameters(), lr=rate, fused=True))
        return [*optimizers]

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
        extra = None
        if self.prior is not None:
            updates, optimizer = self.prior.config.num_updates, self.trainer.optimizers[1]
            extra = ExtraLoss(self.prior.loss, updates, optimizer, "discriminator")
        lightning = self.optimizers()
        first = lightning[0] if isinstance(lightning, list) else lightning
        self.learner = PPOLearner(
            self.policy,
            self.critic,
            self.ppo,
            self.trainer.optimizers[0],
            averaged=self.averaged,
            extra=extra,
            reduce=self._reduce,
            backward=self.manual_backward,
            last_step=first.step,
        )

    def training_step(self, batch: TensorDictBase, batch_idx: int) -> None:
        """One PPO iteration on a rollout [E, T]."""
        begin = time.perf_counter()
        iteration = self.global_step + 1
        check = partial(self._require_sound, batch, iteration)
        fail_together(check, iteration, self._reduce, self.device)
        self.env_steps += batch.numel() * self.trainer.world_size
        following = batch.get("next")
        reward = following.get("reward").squeeze(-1)
        self.metrics = step_metrics(batch) | self._episodes.update(batch)
        self.metrics |= self.data.adapt(batch, self._reduce)
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
        gamma = self.ppo.gamma
        if self.gamma_ramp is not None:
            gamma = self.gamma_ramp.discount(gamma, self.env_steps)
        self.metrics |= self.learner.update(rollout, iteration, gamma)
        self.metrics["Policy/gamma"] = gamma
        learn_s, collect_s = time.perf_counter() - begin, self.data.collection_time
        self.metrics |= {
            "Perf/collection_time": collect_s,
            "Perf/learning_time": learn_s,
            "Perf/total_fps": batch.numel() * self.trainer.world_size / (collect_s + learn_s),
        }
        self._log(self.metrics)

    def _require_sound(self, batch: TensorDictBase, iteration: int) -> None:
        """Refuse a rollout with a number that is not finite, or of physics without room."""
        require_capacities(self.data.env.backend)
        guarded = {key: batch.get(key) for key in ("observation", "critic_observation", "amp")}
        guarded |= {"action": batch.get("action"), "reward": batch.get(("next", "reward"))}
        require_finite(guarded, iteration)

    def _style_reward(self, prior: MotionPrior, batch: TensorDictBase) -> Tensor:
        """Weighted style reward (E, T) of a rollout; draws what the discriminator learns from."""
        data: Any = self.data
        curriculum, reference = data.curriculum, data.reference
        windows = prior.history.windows(
            batch["amp"], batch["next", "amp"], batch["rsi_index"].squeeze(-1), curriculum.frames
        )
        style = prior.style_reward(windows)
        weight = prior.weight(self.env_steps)
        flat, window = windows.flatten(0, 1), prior.config.window
        drawn = torch.randint(len(flat), (min(NUM_WINDOWS, len(flat)),), device=flat.device)
        real = reference.sample_windows(NUM_WINDOWS, window)
        held_out = None
        if curriculum.held_out is not None:
            held_out = curriculum.held_out.sample_windows(NUM_WINDOWS, window)
        self.metrics |= diagnose(prior, flat[drawn], real, held_out, style)
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

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Deterministic evaluation of the scenario; `rank` decides which checkpoint is best."""
        act, data = self.averaged.policy.act, self.data
        with torch.no_grad():
            result = evaluate(act, data.evaluation_env, data.scenario)
        self.evaluation = ranked(result, self.style_target)
        self.evaluation_passed = result.passed
        shown = {"rank": self.evaluation["rank"], "env_steps": float(self.env_steps)}
        self.log_dict(shown, logger=False, batch_size=1)
        self._log({f"Evaluation/{name}": value for name, value in self.evaluation.items()})
        if self.prior is not None and self.trainer.state.fn == "fit":
            self.prior.advance(self.evaluation, self.env_steps)

    # Checkpoints

    def description(self) -> dict[str, Any]:
        """What a checkpoint says of networks, task and motion prior."""
        data = self.data
        return {
            "trained_actor": dict(self.policy.hparams),
            "wildrobot": {
                "format": CHECKPOINT_FORMAT,
                **{f"{name}_layout": lay.to_dict() for name, lay in data.layouts.items()},
                "robot_digest": data.robot.digest,
                "env_config": policy_settings(data.config),
                "trained_task": trained_settings(data.config),
                "seed": data.seed,
                "physics": data.engine,
                "env_steps": self.env_steps,
                "metrics": dict(self.evaluation),
            },
            "training": {"amp": None if self.amp is None else asdict(self.amp)},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the policy's description and the state that an exact resume needs."""
        checkpoint |= self.description() | {"actor": dict(self.averaged.policy.hparams)}
        checkpoint["training"] |= {
            "episodes": list(self._episodes.sums),
            "style": None if self.prior is None else self.prior.resume_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that does not fit (`require_resumable`); take over its counters."""
        require_resumable(checkpoint, self.description())
        about, training = checkpoint["wildrobot"], checkpoint["training"]
        self.env_steps = about["env_steps"]
        self.evaluation = dict(about["metrics"])
        self._episodes.sums = list(training["episodes"])
        if self.prior is not None:
            # The module itself is moved there only after this.
            self.prior.load_resume_state(training["style"], self.trainer.strategy.root_device)

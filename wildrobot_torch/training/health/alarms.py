"""Faults of a training: how its metrics show them and what to do, as a table of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.ppo.config import PPOConfig

Metrics = Mapping[str, float]
"""Metrics of one iteration, by name."""

COLLAPSED = "style reward constant"
"""Name of the rule whose alarm saves a post-mortem."""


LEAST_NOISE, MOST_NOISE = 0.02, 1.0
"""Standard deviation of the actions below which the noise has collapsed, and above which it has
exploded; actions are in [-1, 1]."""


@dataclass(frozen=True)
class Condition:
    """A value of successive iterations that stays beyond a limit."""

    text: str
    """The value in words of the metrics."""
    values: Callable[[Sequence[Metrics]], list[float]]
    """One for each iteration or one for all of them; KeyError where a metric is missing."""
    sign: str
    """`<` or `>`."""
    limit: float

    def value(self, recent: Sequence[Metrics]) -> float | None:
        """Last value if all were beyond the limit, otherwise None."""
        try:
            values = self.values(recent)
        except KeyError:
            return None
        beyond = all(x < self.limit if self.sign == "<" else x > self.limit for x in values)
        return values[-1] if beyond else None


@dataclass(frozen=True)
class Rule:
    """An alarm: it sounds when all its conditions have held for some successive iterations.

    docs/alarms.md says what each fault means.
    """

    name: str
    """The fault in a few words."""
    iterations: int
    """Number of successive iterations that the conditions look at."""
    when: tuple[Condition, ...]
    """The value of the first is reported."""
    remedy: str
    """What to change, with names of settings."""

    def warning(self, history: Sequence[Metrics], iteration: int) -> str | None:
        """One line that names value, duration and remedy; None if the rule does not hold.

        `history` has the metrics of successive iterations up to the present one, `iteration`.
        """
        if len(history) < self.iterations:
            return None
        recent = list(history)[-self.iterations :]
        values = [condition.value(recent) for condition in self.when]
        if None in values:
            return None
        first = self.when[0]
        since = iteration - self.iterations + 1
        return (
            f"{self.name}: {first.text} is {values[0]:.3g} ({first.sign} {first.limit:.3g} "
            f"since iteration {since}); {self.remedy}"
        )


def _each(text: str, of: Callable[[Metrics], float], sign: str, limit: float) -> Condition:
    return Condition(text, lambda recent: [of(metrics) for metrics in recent], sign, limit)


def _metric(name: str, sign: str, limit: float) -> Condition:
    return _each(f"`{name}`", itemgetter(name), sign, limit)


def _gap(high: str, low: str, sign: str, limit: float) -> Condition:
    return _each(f"`{high}` - `{low}`", lambda m: m[high] - m[low], sign, limit)


def _rise(name: str, sign: str, limit: float) -> Condition:
    """From the mean of the first quarter to that of the last."""

    def values(recent: Sequence[Metrics]) -> list[float]:
        quarter = max(len(recent) // 4, 1)
        series = [metrics[name] for metrics in recent]
        return [sum(series[-quarter:]) / quarter - sum(series[:quarter]) / quarter]

    return Condition(f"rise of `{name}`", values, sign, limit)


def _largest(prefix: str, sign: str, limit: float) -> Condition:
    def largest(metrics: Metrics) -> float:
        return max((x for name, x in metrics.items() if name.startswith(prefix)), default=0.0)

    return _each(f"largest `{prefix}*`", largest, sign, limit)


def _style_share(metrics: Metrics) -> float:
    style = metrics["AMP/weight"] * metrics["AMP/style_reward"]
    return style / max(abs(metrics["Reward/total"]), 1e-9)


def _diversity(metrics: Metrics) -> float:
    return metrics["AMP/diversity_fake"] / max(metrics["AMP/diversity_real"], 1e-9)


# By loss: a twentieth of the gap between the targets of the logits, and the value of the loss for
# a discriminator that answers alike everywhere.
_SQUEEZED = {"lsgan": 0.1, "lsgan01": 0.05, "bce": 0.2}
_UNDECIDED = {"lsgan": 1.0, "lsgan01": 0.25, "bce": 0.69}


def rules(ppo: PPOConfig, amp: AMPConfig | None) -> tuple[Rule, ...]:
    """All alarms of a training with these settings; without `amp` those of PPO alone.

    No rule looks at the discriminator's accuracy, which is 0.85 to 1.00 in good runs.
    """
    return (*_ppo_rules(ppo), *(() if amp is None else _amp_rules(amp)))


def _amp_rules(amp: AMPConfig) -> tuple[Rule, ...]:
    squeezed, undecided = _SQUEEZED[amp.loss], _UNDECIDED[amp.loss]
    constant_weight = _rise("AMP/weight", "<", 1e-9)
    found = (
        Rule(COLLAPSED, 20, (_metric("AMP/style_reward_std", "<", 0.01),),
             "look at the post-mortem; raise amp.grad_penalty or lower amp.learning_rate if the "
             "constant is near 0, do the opposite if it is the reward of a logit of 0; start "
             "again from an earlier checkpoint"),
        Rule("style reward faint", 40, (_metric("AMP/style_reward", "<", 0.05),),
             "give reference motion for all commanded speeds or narrow the commands; then raise "
             "data.rsi_probability and amp.grad_penalty, and lower amp.learning_rate"),
        Rule("discriminator blind", 50, (_metric("AMP/auc", "<", 0.6),),
             "raise amp.num_updates, amp.batch_size or amp.learning_rate, lower amp.grad_penalty "
             "and amp.input_noise; check that both sides hold the same features"),
        Rule("logits squeezed", 50,
             (_gap("AMP/logit_real", "AMP/logit_fake", "<", squeezed),
              _metric("AMP/auc", ">", 0.8)),
             "lower amp.grad_penalty or amp.logit_penalty"),
        Rule("discriminator overfits", 30, (_gap("AMP/auc", "AMP/auc_held_out", ">", 0.15),),
             "give more reference clips, raise amp.grad_penalty, lower amp.num_updates or "
             "amp.hidden"),
        Rule("one feature gives the policy away", 50, (_largest("AMP/separation/", ">", 4.0),),
             "compare that field on both sides; take it out of amp.features until it agrees"),
        Rule("near-constant features", 50, (_metric("AMP/near_constant", ">", 0.0),),
             "take the field out of amp.features, or give reference motion where it varies"),
        Rule("little reference motion", 20, (_metric("AMP/distinct_reference", "<", 0.3),),
             "give more reference motion (data.reference)"),
        Rule("policy motion uniform", 50,
             (_each("`AMP/diversity_fake` / `AMP/diversity_real`", _diversity, "<", 0.2),),
             "lower amp.weight, raise ppo.entropy_coef and data.rsi_probability"),
        Rule("style never starts", 60, (_metric("AMP/weight", "<", 1e-9),),
             "lower amp.ramp_start; compare AMP/auc_held_out with amp.ramp_gate"),
        Rule("style drowns the task", 40,
             (_rise("Metrics/fall_rate", ">", 0.15), _rise("AMP/weight", ">", 0.0)),
             "let the weight grow more slowly (amp.ramp_end) or less far (amp.weight)"),
        Rule("style ignored", 50,
             (_each("`AMP/weight` x `AMP/style_reward` / `Reward/total`", _style_share, "<", 0.05),
              _metric("AMP/weight", ">", 0.0), constant_weight),
             "raise amp.weight"),
        Rule("gradient penalty dominates", 20, (_metric("AMP/penalty", ">", 0.5 * undecided),),
             "lower amp.learning_rate; look for near-constant features, which the normaliser "
             "blows up"),
    )  # fmt: skip
    if amp.ramp_gate is None:
        return found
    shut = (
        _metric("AMP/auc_held_out", ">", amp.ramp_gate[1]),
        _metric("AMP/weight", "<", 0.999 * amp.weight),
        constant_weight,
    )
    remedy = "raise the upper end of amp.ramp_gate to 1, or set it to null"
    return (*found, Rule("gate shut", 40, shut, remedy))


def _ppo_rules(ppo: PPOConfig) -> tuple[Rule, ...]:
    found = (
        Rule("KL divergence far beyond its target", 5,
             (_metric("Loss/kl", ">", 5.0 * ppo.kl_high),),
             "lower ppo.learning_rate, ppo.learning_rate_max or ppo.num_epochs"),
        Rule("policy noise collapsing", 10, (_metric("Policy/mean_std", "<", LEAST_NOISE),),
             "raise ppo.entropy_coef, or stop: it may have converged"),
        Rule("policy noise exploding", 10, (_metric("Policy/mean_std", ">", MOST_NOISE),),
             "lower ppo.entropy_coef; look for a reward that falling ends early"),
        Rule("gradients exploding", 10,
             (_metric("Gradient/policy", ">", 20.0 * ppo.max_grad_norm),),
             "look for outliers in reward and observations; lower ppo.learning_rate_max"),
    )  # fmt: skip
    if ppo.learning_rate_factor == 1.0 or ppo.learning_rate_min == ppo.learning_rate_max:
        return found
    return (
        *found,
        Rule("learning rate at its floor", 50,
             (_metric("Loss/learning_rate", "<", 1.001 * ppo.learning_rate_min),),
             "raise data.num_envs or lower ppo.num_epochs; lower ppo.learning_rate_min only if "
             "training still improves"),
        Rule("learning rate at its ceiling", 100,
             (_metric("Loss/learning_rate", ">", 0.99 * ppo.learning_rate_max),),
             "look at the reward's terms; raise ppo.num_epochs or ppo.learning_rate_max if the "
             "reward still rises"),
    )  # fmt: skip

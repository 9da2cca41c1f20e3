"""Faults of a training: how its metrics show them and what to do, as a table of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.ppo.config import PPOConfig

Metrics = Mapping[str, float]
"""Metrics of one iteration, by name."""

_PPO, _AMP = PPOConfig(), AMPConfig()


@dataclass(frozen=True)
class Signal:
    """A value for each of some successive iterations, or a single value for all of them."""

    text: str
    """The value in words of the metrics."""
    values: Callable[[Sequence[Metrics]], list[float]]
    """KeyError where a metric is missing."""


@dataclass(frozen=True)
class Condition:
    """A signal that stays beyond a limit, for all its values."""

    signal: Signal
    sign: str
    """`<` or `>`."""
    limit: float

    def value(self, recent: Sequence[Metrics]) -> float | None:
        """Last value of the signal if it was beyond the limit all the time, otherwise None."""
        try:
            values = self.signal.values(recent)
        except KeyError:
            return None
        beyond = all(x < self.limit if self.sign == "<" else x > self.limit for x in values)
        return values[-1] if beyond else None

    def __str__(self) -> str:
        return f"{self.signal.text} {self.sign} {self.limit:.3g}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An alarm: it sounds when all its conditions have held for some successive iterations."""

    name: str
    """The fault in a few words."""
    when: tuple[Condition, ...]
    """The first is the one whose value is reported."""
    iterations: int
    """Number of successive iterations that the conditions look at."""
    meaning: str
    """What happens in the training."""
    remedy: str
    """What to change, with names of settings."""

    def warning(self, history: Sequence[Metrics], iteration: int) -> str | None:
        """One line that names value, duration and remedy; None if the rule does not hold.

        Args:
            history: metrics of successive iterations, the present one last.
            iteration: number of the present one.
        """
        if len(history) < self.iterations:
            return None
        recent = list(history)[-self.iterations :]
        values = [condition.value(recent) for condition in self.when]
        if any(value is None for value in values):
            return None
        first = self.when[0]
        since = iteration - self.iterations + 1
        return (
            f"{self.name}: {first.signal.text} is {values[0]:.3g} ({first.sign} {first.limit:.3g} "
            f"since iteration {since}); {self.remedy}"
        )


def _metric(name: str) -> Signal:
    return Signal(f"`{name}`", lambda recent: [metrics[name] for metrics in recent])


def _gap(high: str, low: str) -> Signal:
    return Signal(f"`{high}` - `{low}`", lambda recent: [m[high] - m[low] for m in recent])


def _rise(name: str) -> Signal:
    """From the mean of the first quarter to that of the last."""

    def values(recent: Sequence[Metrics]) -> list[float]:
        quarter = max(len(recent) // 4, 1)
        first, last = (
            sum(metrics[name] for metrics in part) / quarter
            for part in (recent[:quarter], recent[-quarter:])
        )
        return [last - first]

    return Signal(f"rise of `{name}`", values)


def _largest(prefix: str) -> Signal:
    def values(recent: Sequence[Metrics]) -> list[float]:
        names = [name for name in recent[-1] if name.startswith(prefix)]
        if not names:
            raise KeyError(prefix)
        return [max(metrics[name] for name in names) for metrics in recent]

    return Signal(f"largest `{prefix}*`", values)


_STYLE_SHARE = Signal(
    "`AMP/weight` x `AMP/style_reward` / `Reward/total`",
    lambda recent: [
        m["AMP/weight"] * m["AMP/style_reward"] / max(abs(m["Reward/total"]), 1e-9) for m in recent
    ],
)


def _below(signal: Signal | str, limit: float) -> Condition:
    return Condition(_metric(signal) if isinstance(signal, str) else signal, "<", limit)


def _above(signal: Signal | str, limit: float) -> Condition:
    return Condition(_metric(signal) if isinstance(signal, str) else signal, ">", limit)


_SQUEEZED = {"lsgan": 0.1, "lsgan01": 0.05, "bce": 0.2}
"""Loss -> gap of the mean logits that is a twentieth of the gap between their targets."""
_UNDECIDED = {"lsgan": 1.0, "lsgan01": 0.25, "bce": 0.69}
"""Loss -> its value for a discriminator that answers alike everywhere."""

COLLAPSED = "style reward constant"
"""Name of the rule whose alarm saves a post-mortem."""


def rules(ppo: PPOConfig = _PPO, amp: AMPConfig | None = _AMP) -> tuple[Rule, ...]:
    """All alarms of a training with these settings; without `amp` those of PPO alone.

    No rule looks at the discriminator's accuracy, which is 0.85 to 1.00 in good runs.
    """
    return (*_ppo_rules(ppo), *(() if amp is None else _amp_rules(amp)))


def _amp_rules(amp: AMPConfig) -> tuple[Rule, ...]:
    gate = () if amp.ramp_gate is None else (_gate_shut(amp.weight, amp.ramp_gate[1]),)
    return (
        Rule(
            name=COLLAPSED,
            when=(_below("AMP/style_reward_std", 0.01),),
            iterations=20,
            meaning="all motion earns the same style reward, so the policy cannot learn from it",
            remedy="look at the post-mortem; raise amp.grad_penalty or lower amp.learning_rate if "
            "the constant is near 0, do the opposite if it is the reward of a logit of 0; start "
            "again from an earlier checkpoint",
        ),
        Rule(
            name="style reward saturated",
            when=(_below("AMP/style_reward_p90", 0.05),),
            iterations=40,
            meaning="the policy is so far from the reference that better and worse motion both "
            "earn nothing",
            remedy="raise data.rsi_probability and amp.grad_penalty, lower "
            "amp.learning_rate, and keep commands inside the reference's speeds",
        ),
        Rule(
            name="style reward faint",
            when=(_below("AMP/style_reward", 0.05),),
            iterations=40,
            meaning="most motion earns next to nothing, usually because commands ask for what the "
            "reference does not show",
            remedy="give reference motion for all commanded speeds or narrow the commands; then as "
            "for a saturated reward",
        ),
        Rule(
            name="style reward mostly zero",
            when=(_above("AMP/style_reward_zero", 0.8),),
            iterations=40,
            meaning="four steps in five earn no style reward",
            remedy="as for a saturated reward",
        ),
        Rule(
            name="discriminator blind",
            when=(_below("AMP/auc", 0.6),),
            iterations=50,
            meaning="it hardly distinguishes policy and reference: too little training or data, "
            "too strong a penalty, or a policy as good as the data (then the evaluation shows it)",
            remedy="raise amp.num_updates, amp.batch_size or amp.learning_rate, lower "
            "amp.grad_penalty and amp.input_noise; check that both sides hold the same features",
        ),
        Rule(
            name="logits squeezed",
            when=(
                _below(_gap("AMP/logit_real", "AMP/logit_fake"), _SQUEEZED[amp.loss]),
                _above("AMP/auc", 0.8),
            ),
            iterations=50,
            meaning="it ranks motion well, but the penalty keeps its logits so close that the "
            "style reward hardly differs",
            remedy="lower amp.grad_penalty or amp.logit_penalty",
        ),
        Rule(
            name="discriminator overfits",
            when=(_above(_gap("AMP/auc", "AMP/auc_held_out"), 0.15),),
            iterations=30,
            meaning="it has memorised its reference and takes held-out reference for the policy's",
            remedy="give more reference clips, raise amp.grad_penalty, lower amp.num_updates or "
            "amp.hidden",
        ),
        Rule(
            name="one feature gives the policy away",
            when=(_above(_largest("AMP/separation/"), 4.0),),
            iterations=50,
            meaning="a single field differs by four standard deviations: a difference of unit, "
            "frame, order or contact model rather than of style, or a speed that is not commanded",
            remedy="compare that field on both sides; take it out of amp.features until it agrees",
        ),
        Rule(
            name="near-constant features",
            when=(_above("AMP/near_constant", 0.0),),
            iterations=50,
            meaning="a feature hardly varies on one side: it gives the policy away, or is noise",
            remedy="take the field out of amp.features, or give reference motion where it varies",
        ),
        Rule(
            name="little reference motion",
            when=(_below("AMP/distinct_reference", 0.3),),
            iterations=20,
            meaning="the windows of a minibatch are mostly copies of each other",
            remedy="give more reference motion (data.reference)",
        ),
        Rule(
            name="policy motion uniform",
            when=(
                Condition(
                    Signal(
                        "`AMP/diversity_fake` / `AMP/diversity_real`",
                        lambda recent: [
                            m["AMP/diversity_fake"] / max(m["AMP/diversity_real"], 1e-9)
                            for m in recent
                        ],
                    ),
                    "<",
                    0.2,
                ),
            ),
            iterations=50,
            meaning="the policy repeats one motion, or stands still",
            remedy="lower amp.weight, raise ppo.entropy_coef and data.rsi_probability",
        ),
        Rule(
            name="style never starts",
            when=(_below("AMP/weight", 1e-9),),
            iterations=60,
            meaning="the ramp of the style weight has not left 0",
            remedy="lower amp.ramp_start; compare AMP/auc_held_out with amp.ramp_gate",
        ),
        Rule(
            name="style drowns the task",
            when=(_above(_rise("Metrics/fall_rate"), 0.15), _above(_rise("AMP/weight"), 0.0)),
            iterations=40,
            meaning="robots fall more while the style weight grows",
            remedy="let the weight grow more slowly (amp.ramp_end) or less far (amp.weight)",
        ),
        Rule(
            name="style ignored",
            when=(
                _below(_STYLE_SHARE, 0.05),
                _above("AMP/weight", 0.0),
                _below(_rise("AMP/weight"), 1e-9),
            ),
            iterations=50,
            meaning="beside the task reward the style reward is too small to change the policy",
            remedy="raise amp.weight",
        ),
        Rule(
            name="gradient penalty dominates",
            when=(_above("AMP/penalty", 0.5 * _UNDECIDED[amp.loss]),),
            iterations=20,
            meaning="the weighted gradient penalty exceeds half the loss of an all-zero "
            "discriminator (at the optimum it is at most a quarter): its gradients grow faster "
            "than the penalty can shrink them",
            remedy="lower amp.learning_rate; look for near-constant features, which the normaliser "
            "blows up",
        ),
        *gate,
    )


def _gate_shut(weight: float, high: float) -> Rule:
    return Rule(
        name="gate shut",
        when=(
            _above("AMP/auc_held_out", high),
            _below("AMP/weight", 0.999 * weight),
            _below(_rise("AMP/weight"), 1e-9),
        ),
        iterations=40,
        meaning="the discriminator separates reference and policy so surely that the style weight "
        "does not grow, and without weight the policy comes no nearer to the reference",
        remedy="raise the upper end of amp.ramp_gate to 1, or set it to null",
    )


def _ppo_rules(ppo: PPOConfig) -> tuple[Rule, ...]:
    adaptive = ppo.learning_rate_factor > 1.0 and ppo.learning_rate_min < ppo.learning_rate_max
    learning_rate = (
        Rule(
            name="learning rate at its floor",
            when=(_below("Loss/learning_rate", 1.001 * ppo.learning_rate_min),),
            iterations=50,
            meaning="even the smallest steps move the policy too far, or value errors drown it",
            remedy="raise data.num_envs or lower ppo.num_epochs; lower ppo.learning_rate_min only "
            "if training still improves",
        ),
        Rule(
            name="learning rate at its ceiling",
            when=(_above("Loss/learning_rate", 0.99 * ppo.learning_rate_max),),
            iterations=100,
            meaning="updates hardly move the policy: the advantages are near zero or noise",
            remedy="look at the reward's terms; raise ppo.num_epochs or ppo.learning_rate_max if "
            "the reward still rises",
        ),
    )
    return (
        Rule(
            name="KL divergence far beyond its target",
            when=(_above("Loss/kl", 5.0 * ppo.kl_high),),
            iterations=5,
            meaning="updates move the policy too far from the one that collected the rollout",
            remedy="lower ppo.learning_rate, ppo.learning_rate_max or ppo.num_epochs",
        ),
        Rule(
            name="policy noise collapsing",
            when=(_below("Policy/mean_std", 0.02),),
            iterations=10,
            meaning="the policy no longer explores",
            remedy="raise ppo.entropy_coef, or stop: it may have converged",
        ),
        Rule(
            name="policy noise exploding",
            when=(_above("Policy/mean_std", 1.0),),
            iterations=10,
            meaning="actions are mostly noise beyond their range of -1 to 1",
            remedy="lower ppo.entropy_coef; look for a reward that falling ends early",
        ),
        Rule(
            name="gradients exploding",
            when=(_above("Gradient/policy", 20.0 * ppo.max_grad_norm),),
            iterations=10,
            meaning="the policy's gradient is far beyond the norm it is clipped to",
            remedy="look for outliers in reward and observations; lower ppo.learning_rate_max",
        ),
        *(learning_rate if adaptive else ()),
    )


def table(of: Sequence[Rule] | None = None) -> str:
    """Markdown table of rules (default: all): fault, symptom, meaning, remedy."""
    rows = ["| fault | symptom | meaning | remedy |", "|---|---|---|---|"]
    for rule in rules() if of is None else of:
        symptom = " and ".join(str(condition) for condition in rule.when)
        stretch = f", {rule.iterations} iterations long" if rule.iterations > 1 else ""
        rows.append(f"| {rule.name} | {symptom}{stretch} | {rule.meaning} | {rule.remedy} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())

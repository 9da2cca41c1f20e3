"""A search for good settings of a recipe: Optuna proposes, `wildrobot fit` trains, a suite judges.

A trial is a training with values of the searched settings. Evaluations that the training makes
anyway say early which trials are worse than the median, and end them (Optuna's median pruner). A
trial that trains to its end is held against a suite; what is maximised is

    success rate - torque_weight x mean torque [N m]

each the mean over the suite's entries that have a target. The trials are kept in an SQLite file,
so a search goes on where it was interrupted.
"""

from __future__ import annotations

import fcntl
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml

from envs.settings import NonNegativeFloat, PositiveInt
from envs.yaml_files import from_mapping, read_yaml
from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.evaluation.report import plain, table
from wildrobot_torch.evaluation.suites import Entry, load_suite
from wildrobot_torch.files import atomic_write
from wildrobot_torch.study import StudyError, TrainingBroken
from wildrobot_torch.study.plan import counted
from wildrobot_torch.study.training import (
    PROGRAM,
    History,
    last_checkpoint,
    load_history,
    require_free,
    suite_report,
    train,
)

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Value = bool | int | float | str | None

STORAGE = "search.db"
"""Optuna's SQLite file in the folder of a search."""
FALLEN_TORQUE = 4.0
"""Mean torque of an entry in which every robot falls before it is measured: the servos' limit
[N m]. So falling at once saves no torque."""
TOP_SHARE = 0.25
"""Share of the trials that importance tells from all others."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a searched setting may be: a range of numbers, or choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    """Whether its logarithm is uniform at first, not it itself."""
    whole: bool = False
    """Whether it is a whole number."""
    choices: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        if self.choices:
            if (self.low, self.high, self.log, self.whole) != (None, None, False, False):
                raise StudyError("choices go without low, high, log and whole")
            if len(set(map(repr, self.choices))) < max(len(self.choices), 2):
                raise StudyError(f"choices are {list(self.choices)}; name two or more, each once")
            return
        low, high = self.low, self.high
        if low is None or high is None:
            raise StudyError("it needs low and high, or choices")
        if not low < high:
            raise StudyError(f"low is {low:g}, high is {high:g}; high must exceed low")
        if self.log and low <= 0.0:
            raise StudyError(f"low is {low:g}; with log it must be above 0")
        if self.whole and (low % 1 or high % 1):
            raise StudyError(f"low is {low:g}, high is {high:g}; with whole they are whole numbers")

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that show whether the recipe takes all of them: the range's ends, or choices."""
        if self.low is None or self.high is None:
            return self.choices
        kind = int if self.whole else float
        return kind(self.low), kind(self.high)

    def distribution(self, distributions: ModuleType) -> BaseDistribution:
        """The same for Optuna; the module is `optuna.distributions`."""
        if self.low is None or self.high is None:
            return distributions.CategoricalDistribution(self.choices)
        if self.whole:
            return distributions.IntDistribution(int(self.low), int(self.high), self.log)
        return distributions.FloatDistribution(self.low, self.high, self.log)


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which settings to search, with how many trainings of which length."""

    options: str
    """Options of `fit` that all trials share: the recipe."""
    settings: dict[str, Setting]
    """Dotted name of a setting -> what it may be."""
    trials: PositiveInt = 20
    """Trials that end, pruned ones included. More of them continue a search."""
    startup: PositiveInt = 6
    """Trials that are drawn at random; none is pruned before as many have trained to their end."""
    env_steps: PositiveInt
    """Environment steps of a training."""
    every: PositiveInt
    """Iterations between two evaluations during a training."""
    evaluation: str
    """Scenario of these evaluations; its score is what trials are pruned by."""
    judged_at: tuple[PositiveInt, ...] = ()
    """Environment steps; the first evaluation at them or after is held against other trials'."""
    suite: str
    """Name or path of the suite that judges trained policies."""
    suite_seed: int
    """Seed of the suite's robots, starts and disturbances; not that of any entry, so that results
    are not reported on the robots that chose the settings."""
    seed: int
    """Of all trainings, and of the proposals. Results are to be reported with other seeds."""
    torque_weight: NonNegativeFloat = 0.1
    """Success rate that a torque of 1 N m is worth."""

    def __post_init__(self) -> None:
        if not self.settings:
            raise StudyError("settings is empty; name at least one")
        require_free(shlex.split(self.options), "--run.env_steps", *map(_option, self.settings))
        require_free([*map(_option, self.settings)], "--run.env_steps")
        points = list(self.judged_at)
        if points != sorted(set(points)) or (points and points[-1] >= self.env_steps):
            raise StudyError(
                f"judged_at is {points}; it must ascend and end before env_steps {self.env_steps}"
            )
        if not any(entry.judged for entry in self.entries):
            raise StudyError(f"suite {self.suite} has no entry with a target; give another")
        if known := [e.name for e in self.entries if e.scenario.seed == self.suite_seed]:
            raise StudyError(
                f"suite_seed {self.suite_seed} is the seed of {known[0]!r} in suite {self.suite}, "
                "whose robots results are reported on; give another"
            )

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Those of the suite."""
        return load_suite(self.suite).entries

    def fit_options(self, values: Mapping[str, Value]) -> list[str]:
        """All options of `fit` of a trial, without its steps, folders and checkpoint."""
        words = [
            *shlex.split(self.options),
            *("--seed", str(self.seed)),
            *("--data.evaluation", self.evaluation),
            *("--data.iterations_per_epoch", str(self.every)),
        ]
        for name, value in values.items():
            words += [_option(name), yaml.safe_dump(value).splitlines()[0]]
        return words

    def corners(self) -> list[dict[str, Value]]:
        """Few trials in which each setting has all of its `ends`."""
        number = max(len(setting.ends) for setting in self.settings.values())
        return [
            {name: s.ends[min(i, len(s.ends) - 1)] for name, s in self.settings.items()}
            for i in range(number)
        ]

    def about(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """All that results depend on, as plain values; `settings` are all of `fit` for a trial."""
        own = {k: v for k, v in asdict(self).items() if k not in ("options", "trials")}
        parts = {
            "search": own,
            **counted(settings),
            "scenario": asdict(load_scenario(self.evaluation)),
            "suite": {entry.name: asdict(entry) for entry in self.entries},
        }
        content = json.loads(json.dumps(parts, default=str))
        for name in self.settings:
            _remove(content, name.split("."))
        return content


def load_search(path: Path) -> Search:
    """The search in a YAML file, whose options and settings are not looked at; or a StudyError."""
    content = read_yaml(path, StudyError)
    if isinstance(content, dict) and isinstance(content.get("settings"), dict):
        for name, own in content["settings"].items():  # an error names the setting
            from_mapping(Setting, own, f"{path}: settings.{name}", StudyError)
    return from_mapping(Search, content, str(path), StudyError)


def require_optuna() -> ModuleType:
    """The package optuna; a StudyError where it is not installed."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise StudyError(
            "a search needs Optuna, which is not installed: pip install 'wildrobot_torch[search]', "
            "or in a checkout pip install -e '.[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@dataclass(frozen=True)
class Objective:
    """What a suite says of a trained policy."""

    success: float
    """Mean of the success rates of the entries with a target."""
    torque: float
    """Mean of their mean torques [N m]."""
    value: float
    """What is maximised."""


def objective(report: Mapping[str, Any], torque_weight: float) -> Objective:
    """The objective from the content of a suite.json, whose first column is the policy.

    An entry that the policy's task cannot have counts as no success, without a torque.
    """
    policy = report["columns"][0]
    rates, torques = [], []
    for entry in report["entries"]:
        if entry["above"] is None and not entry["limits"]:
            continue
        found = entry["columns"].get(policy)
        rates.append(0.0 if found is None else found["success"]["value"])
        if found is not None:
            torque = found["means"]["torque_mean"]["value"]
            torques.append(FALLEN_TORQUE if torque is None else torque)
    success = sum(rates) / len(rates)
    torque = sum(torques) / len(torques) if torques else FALLEN_TORQUE
    return Objective(success, torque, success - torque_weight * torque)


class SearchRun:
    """A search and its files: the storage, a folder for each trial, search.md, best.yaml."""

    def __init__(
        self,
        search: Search,
        about: Mapping[str, Any],
        folder: Path,
        file: str,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """Opens the storage, or makes it.

        Args:
            search: what to do.
            about: as `Search.about`.
            folder: of the search.
            file: of the search, for the report.
            program: command that `fit` and `evaluate` are verbs of.

        Raises:
            StudyError: the folder holds something else, or a search with other settings.
        """
        self.search, self.folder, self.file, self.program = search, folder, file, program
        self.physics = str(about["data"]["physics"])
        self.optuna = require_optuna()
        self.distributions = {
            name: setting.distribution(self.optuna.distributions)
            for name, setting in search.settings.items()
        }
        path = folder / STORAGE
        empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if not path.is_file() and not empty:
            raise StudyError(f"{folder} is there already, and no search; give another --out")
        folder.mkdir(parents=True, exist_ok=True)
        self.study = self._study(path, dict(about))

    def _study(self, path: Path, about: dict[str, Any]) -> Study:
        from sqlalchemy.exc import DatabaseError

        storages = self.optuna.storages
        try:
            study = self.optuna.create_study(
                study_name="search",
                storage=storages.RDBStorage(f"sqlite:///{path.absolute()}"),
                direction="maximize",
                pruner=self.optuna.pruners.MedianPruner(n_startup_trials=self.search.startup),
                load_if_exists=True,
            )
        except (DatabaseError, RuntimeError) as error:
            reason = " ".join(str(error.args[0] if error.args else error).split())
            raise StudyError(f"{path}: not the storage of a search ({reason})") from None
        before = study.user_attrs.get("about")
        if before is None and study.get_trials(deepcopy=False):
            raise StudyError(f"{path} holds another program's search; give another --out")
        if before is None:
            study.set_user_attr("about", about)
        elif change := _changed(before, about):
            raise StudyError(f"{path} holds a search with {change}; give another --out")
        return study

    @property
    def ended(self) -> list[FrozenTrial]:
        """Trials that trained to their end or were pruned, in order."""
        state = self.optuna.trial.TrialState
        return self.study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED))

    @property
    def complete(self) -> list[FrozenTrial]:
        """Trials that were held against the suite, the best first."""
        found = [trial for trial in self.ended if trial.state.name == "COMPLETE"]
        return sorted(found, key=lambda trial: -(trial.value or 0.0))

    def run(self, say: Callable[[str], None]) -> None:
        """All trials that are left; `say` gets a line for each.

        Raises:
            StudyError: a training was refused; another process runs the search.
            TrainingBroken: a training or evaluation was cut short.
        """
        with _alone(self.folder):
            self._take_up()
            self.write()
            while (number := len(self.ended)) < self.search.trials:
                # By the number of trials that have ended, an interrupted search proposes the same
                # as one that was not interrupted.
                self.study.sampler = self.optuna.samplers.TPESampler(
                    seed=self.search.seed + number, n_startup_trials=self.search.startup
                )
                trial = self.study.ask(self.distributions)
                if "folder" not in trial.user_attrs:
                    trial.set_user_attr("folder", f"trial_{trial.number:03d}")
                say(f"{trial.user_attrs['folder']}: {_shown(trial.params)}")
                self._run(trial)
                self.write()
                say(f"{trial.user_attrs['folder']}: {_state(self.ended[-1])}")

    def _take_up(self) -> None:
        """Propose again what was running when the search was interrupted, with its folder."""
        state = self.optuna.trial.TrialState
        waiting = self.study.get_trials(deepcopy=False, states=(state.WAITING,))
        again = {trial.user_attrs.get("folder") for trial in waiting}
        for trial in self.study.get_trials(deepcopy=False, states=(state.RUNNING,)):
            name = trial.user_attrs.get("folder")
            if name is not None and name not in again:
                self.study.enqueue_trial(trial.params, user_attrs={"folder": name})
            self.study.tell(trial.number, state=state.FAIL)

    def _run(self, trial: Trial) -> None:
        """Train a trial, and hold it against the suite if nothing ends it earlier."""
        folder, pruned = (
            self.folder / trial.user_attrs["folder"],
            self.optuna.trial.TrialState.PRUNED,
        )
        judge = _Judge(trial, self.search.judged_at)
        options = [*self.search.fit_options(trial.params), "--trainer.max_time", "null"]
        history = load_history(folder / "parts")
        left = history.env_steps < self.search.env_steps and not history.failure
        if not judge(history) and left:
            history = train(folder / "parts", options, self.search.env_steps, judge, self.program)
        trial.set_user_attr("env_steps", history.env_steps)
        if history.failure or judge.worse:
            trial.set_user_attr("note", history.failure)
            self.study.tell(trial, state=pruned)
            return
        if history.env_steps < self.search.env_steps:
            raise TrainingBroken(f"{folder}: the training ended at {history.env_steps:,} steps")
        found = objective(self._suite(folder, history), self.search.torque_weight)
        trial.set_user_attr("success", found.success)
        trial.set_user_attr("torque", found.torque)
        self.study.tell(trial, found.value)

    def _suite(self, folder: Path, history: History) -> dict[str, Any]:
        """Content of the suite.json of the last checkpoint."""
        checkpoint = last_checkpoint(history.parts)
        if checkpoint is None:
            raise TrainingBroken(f"{folder}: the training left no checkpoint")
        options = ("--suite", self.search.suite, "--seed", str(self.search.suite_seed))
        physics = ("--physics", self.physics)
        return suite_report(checkpoint, folder / "suite", (*options, *physics), self.program)

    def write(self) -> None:
        """Write search.md, and best.yaml where a trial trained to its end."""
        with atomic_write(self.folder / "search.md") as file:
            file.write(self._report().encode())
        if not self.complete:
            return
        best, recipe = self.complete[0], " ".join(self.search.options.split())
        lines = [
            f"# Best of {len(self.ended)} trials of {self.file}: success "
            f"{best.user_attrs['success']:.1%}, torque {best.user_attrs['torque']:.2f} N m after",
            f"# {self.search.env_steps:,} environment steps. An overlay for the search's recipe:",
            f"#   wildrobot fit {recipe} --config {self.folder / 'best.yaml'}",
            yaml.safe_dump(nested(best.params), sort_keys=False),
        ]
        with atomic_write(self.folder / "best.yaml") as file:
            file.write("\n".join(lines).encode())

    def _report(self) -> str:
        search, ended, names = self.search, self.ended, list(self.search.settings)
        pruned = sum(trial.state.name == "PRUNED" for trial in ended)
        lines = [
            "# Search",
            f"\n    python tools/search.py {self.file} --out {self.folder}\n",
            f"{len(ended)} of {search.trials} trials, {pruned} of them pruned. Each trains "
            f"`{search.options}` with seed {search.seed} for {search.env_steps:,} environment "
            f"steps. The objective is the success rate less {search.torque_weight:g} times the "
            f"mean torque [N m], over the entries of suite `{search.suite}` that have a target, "
            f"with seed {search.suite_seed}. Results are to be reported with other seeds: the best "
            "of many trials is better by chance, too.\n",
        ]
        if self.complete:
            best = self.complete[0]
            about = f"{best.user_attrs['folder']}, objective {best.value:.3f}"
            lines.append(f"**Best: {about}: {_shown(best.params)}** (best.yaml)\n")
        heads = (*(f"`{name}`" for name in names), "success", "torque, N m", "objective")
        head = ("trial", *heads, "env steps", "state")
        order = [*self.complete, *(trial for trial in ended if trial.state.name == "PRUNED")]
        rows = [_row(trial, names) for trial in order]
        lines += [*table(head, rows), "", *self._importance()]
        return "\n".join(lines) + "\n"

    def _importance(self) -> list[str]:
        """Lines on which settings tell good trials from the others."""
        needed = max(self.search.startup, 4)
        values = {trial.value for trial in self.complete}
        if len(self.complete) < needed or len(values) < 2:
            return [f"Importance of the settings: from {needed} trials on that are not pruned."]
        importance = self.optuna.importance
        evaluator = importance.PedAnovaImportanceEvaluator(target_quantile=TOP_SHARE)
        found = importance.get_param_importances(self.study, evaluator=evaluator)
        return [
            f"Importance (PED-ANOVA): how much the values of the best {TOP_SHARE:.0%} of the "
            "trials differ from those of all that were not pruned. Of so few trials it is a hint, "
            "not a result.\n",
            *table(("setting", "share"), [(f"`{name}`", f"{v:.0%}") for name, v in found.items()]),
        ]


class _Judge:
    """Whether a trial is to be pruned, from its history; it reports each point to Optuna once."""

    def __init__(self, trial: Trial, points: Sequence[int]) -> None:
        self.trial, self.left = trial, list(points)
        self.worse = False

    def __call__(self, history: History) -> bool:
        while self.left and not self.worse:
            after = (row for row in history.evaluations if row.env_steps >= self.left[0])
            row = next(after, None)
            if row is None:
                break
            self.trial.report(row.values["score"], self.left.pop(0))
            self.worse = self.trial.should_prune()
        return self.worse


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names with values as mappings within each other, as in an overlay."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        place = found
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from running the same search."""
    with (folder / "search.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(f"another process runs the search in {folder}; wait for it") from None
        yield


def _option(name: str) -> str:
    return f"--{name}"


def _remove(content: Any, path: Sequence[str]) -> None:
    """Leave a searched setting out, whose value in the recipe counts for nothing."""
    *groups, last = path
    for group in groups:
        content = content.get(group) if isinstance(content, dict) else None
    if isinstance(content, dict):
        content.pop(last, None)


def _changed(before: Any, now: Any, name: str = "") -> str:
    """The first value that differs, as `NAME VALUE, not VALUE`; empty where none does."""
    if before == now:
        return ""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in (*before, *now):
            inner = f"{name}.{key}".lstrip(".")
            if change := _changed(before.get(key), now.get(key), inner):
                return change
    return f"{name} {json.dumps(before)}, not {json.dumps(now)}"


def _shown(values: Mapping[str, Value]) -> str:
    """Values in words."""
    return ", ".join(f"{name} {_number(value)}" for name, value in values.items())


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(plain(value))


def _state(trial: FrozenTrial) -> str:
    """How a trial ended, in words."""
    attrs = trial.user_attrs
    if trial.state.name == "COMPLETE":
        rate, torque = attrs["success"], attrs["torque"]
        return f"objective {trial.value:.3f}, success {rate:.1%}, torque {torque:.2f} N m"
    return attrs.get("note") or f"pruned at {attrs['env_steps']:,} steps"


def _row(trial: FrozenTrial, names: Sequence[str]) -> tuple[str, ...]:
    """A trial in the table."""
    attrs, done = trial.user_attrs, trial.state.name == "COMPLETE"
    numbers = ("-",) * 3
    if done:
        numbers = (f"{attrs['success']:.1%}", f"{attrs['torque']:.2f}", f"{trial.value:.3f}")
    return (
        attrs["folder"],
        *(_number(trial.params[name]) for name in names),
        *numbers,
        f"{attrs['env_steps']:,}",
        "trained" if done else attrs.get("note") or "pruned",
    )

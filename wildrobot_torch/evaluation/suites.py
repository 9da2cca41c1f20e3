"""A suite: scenarios with what counts as success in each, and the targets they are held to.

The data is a YAML file in `DIRECTORY`:

    defaults: {seconds: 20.0, servo: {model: robot}}
    entries:
      flat:
        title: flat floor at 0.5 m/s
        commands: [0.5]
        episodes: 100
        success: {fallen: {max: 0}, speed_error_share: {max: 0.1}}
        above: 0.95
        limits: {torque_mean: {max: 2.5}}

An entry has the keys of a scenario and its own: `success`, limits on measures that an episode must
meet; `above`, what the lower end of the success rate's interval must exceed; `limits`, what the
interval of a measure's mean must lie within; `rungs`, names with what each changes, an entry each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envs.errors import UserError, closest
from envs.robot.spec import RobotSpec
from envs.task.observations import FIELDS
from envs.thresholds import MOVING
from envs.yaml_files import from_mapping, read_yaml
from wildrobot_torch.evaluation import scenarios
from wildrobot_torch.evaluation.ladder import LadderConfig
from wildrobot_torch.evaluation.measures import MEASURES
from wildrobot_torch.evaluation.scenarios import Scenario
from wildrobot_torch.evaluation.statistics import LEVEL, episodes_needed
from wildrobot_torch.motion.metrics import Limit

DIRECTORY = scenarios.DIRECTORY / "suites"
"""Where the suites of this project lie, one YAML file each."""

_SECTIONS = ("defaults", "entries", "groups")
_JOINED = ("randomization", "disturbances")
"""Keys of which a rung or an entry may say a part."""
_OWN = ("title", "success", "above", "limits", "home_hold", "ladder")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A scenario of a suite; `name` is the scenario's."""

    scenario: Scenario
    title: str
    """What it is, for people."""
    success: Mapping[str, Limit]
    """Measure -> what it must be in an episode that succeeds."""
    above: float | None = None
    """What the lower end of the success rate's interval must exceed; None: shown, not judged."""
    limits: Mapping[str, Limit]
    """Measure -> what the interval of its mean must lie within."""
    home_hold: bool = True
    """Whether the robot without a policy does it too."""
    ladder: LadderConfig | None = None
    """Search for the largest push in place of success rates."""
    family: str
    """Entry of the file that it is a rung of, or itself."""
    rung: str = ""
    """Its name among the family's rungs; "" without rungs."""

    @property
    def name(self) -> str:
        """Unique within the suite."""
        return self.scenario.name

    def for_robot(self, robot: RobotSpec) -> Entry:
        """The same for a robot of another size, see `Scenario.for_robot`."""
        if self.scenario.is_sized or robot.is_standard:
            return self

        def sized(limits: Mapping[str, Limit]) -> dict[str, Limit]:
            factors = {"m/s": robot.speed_scale, "m": robot.scale}
            return {
                name: limit.times(factors.get(MEASURES[name].unit, 1.0))
                for name, limit in limits.items()
            }

        ladder = self.ladder
        if ladder is not None:
            ladder = replace(
                ladder,
                largest=ladder.largest * robot.mass_scale * robot.speed_scale,
                swing_s=ladder.swing_s * robot.speed_scale,
                **{
                    name: getattr(ladder, name) * robot.scale
                    for name in ("reach_ahead", "reach_back", "reach_aside")
                },
            )
        return replace(
            self,
            scenario=self.scenario.for_robot(robot),
            success=sized(self.success),
            limits=sized(self.limits),
            ladder=ladder,
        )

    @property
    def cost(self) -> float:
        """About how long it takes, against others: a control step costs as much as 24 robots."""
        columns = 2 if self.home_hold else 1
        rounds = 1 if self.ladder is None else self.ladder.rounds
        return columns * rounds * self.scenario.seconds * (24 + self.scenario.episodes)

    @property
    def judged(self) -> bool:
        """Whether it has a target."""
        return self.above is not None or bool(self.limits)


@dataclass(frozen=True)
class Group:
    """Entries of which some must pass, whichever they are."""

    name: str
    entries: tuple[str, ...]
    passing: int


@dataclass(frozen=True)
class Suite:
    """Everything that a policy is tried in."""

    name: str
    entries: tuple[Entry, ...]
    groups: tuple[Group, ...]

    @property
    def seconds(self) -> float:
        """Simulated time of all episodes [s]."""
        rounds = ((e, 1 if e.ladder is None else e.ladder.rounds) for e in self.entries)
        return sum(n * e.scenario.episodes * e.scenario.seconds for e, n in rounds)


def with_seed(suite: Suite, seed: int) -> Suite:
    """The suite with other robots, starts, noise and disturbances in every entry."""
    return replace(
        suite,
        entries=tuple(
            replace(entry, scenario=replace(entry.scenario, seed=seed)) for entry in suite.entries
        ),
    )


def suite_names() -> tuple[str, ...]:
    """Names of the suites in `DIRECTORY`, sorted."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.yaml")))


def load_suite(name_or_path: str | Path) -> Suite:
    """The suite of that name in `DIRECTORY`, or in the YAML file of that path.

    Raises:
        UserError: there is none, or the file says something no suite can: an unknown measure or
            term, or too few episodes for their own target.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = DIRECTORY / f"{name_or_path}.yaml"
        if not path.is_file():
            raise UserError(
                f"suite {str(name_or_path)!r} is unknown; allowed: {', '.join(suite_names())}, or "
                "the path of a .yaml file"
            )
    content = _mapping(read_yaml(path), str(path))
    if unknown := set(content) - set(_SECTIONS):
        raise UserError(f"{path}: unknown key {min(unknown)!r}; allowed: {', '.join(_SECTIONS)}")
    defaults = _mapping(content.get("defaults", {}), f"{path}: defaults")
    entries: list[Entry] = []
    for name, own in _mapping(content.get("entries", {}), f"{path}: entries").items():
        entries += _family(str(name), defaults, own, path)
    if not entries:
        raise UserError(f"{path}: entries is empty; name at least one")
    groups = tuple(
        _group(str(name), own, entries, f"{path}: groups.{name}")
        for name, own in _mapping(content.get("groups", {}), f"{path}: groups").items()
    )
    return Suite(path.stem, tuple(entries), groups)


def _mapping(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise UserError(f"{where} is {content!r}; give names with values")
    return content


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `own` says in place of it; of `_JOINED` the entries are joined."""
    joined = {
        key: {**base[key], **own[key]}
        for key in _JOINED
        if isinstance(own.get(key), dict) and isinstance(base.get(key), dict)
    }
    return {**base, **own, **joined}


def _family(name: str, defaults: dict[str, Any], own: Any, path: Path) -> list[Entry]:
    """The entry of that name, or one for each of its rungs."""
    own = dict(_mapping(own, f"{path}: {name}"))
    rungs = own.pop("rungs", None)
    whole = _merged(defaults, own)
    if rungs is None:
        return [_entry(name, whole, name, "", f"{path}: {name}")]
    return [
        _entry(
            f"{name} {rung}",
            _merged(whole, _mapping(change, f"{path}: {name}.rungs.{rung}")),
            name,
            str(rung),
            f"{path}: {name}.rungs.{rung}",
        )
        for rung, change in _mapping(rungs, f"{path}: {name}.rungs").items()
    ]


def _entry(name: str, content: dict[str, Any], family: str, rung: str, where: str) -> Entry:
    own = {key: content[key] for key in _OWN if key in content}
    rest = {key: value for key, value in content.items() if key not in _OWN}
    ladder = None
    if "ladder" in own:
        ladder = from_mapping(LadderConfig, own["ladder"], f"{where}: ladder")
        plan = _mapping(rest.get("disturbances"), f"{where}: disturbances")
        if "impulses" in plan:
            raise UserError(f"{where}: a ladder finds the impulses; leave out those it has")
        rest["disturbances"] = {**plan, "impulses": [ladder.largest]}
    scenario = from_mapping(Scenario, {"name": name, **rest}, where)
    title = own.get("title", family)
    entry = Entry(
        scenario=scenario,
        title=f"{title}: {rung}" if rung else str(title),
        success=_limits(own.get("success", {}), f"{where}: success"),
        above=own.get("above"),
        limits=_limits(own.get("limits", {}), f"{where}: limits"),
        home_hold=own.get("home_hold", True),
        ladder=ladder,
        family=family,
        rung=rung,
    )
    _require_sense(entry, where)
    return entry


def _limits(content: Any, where: str) -> dict[str, Limit]:
    found = {}
    for name, limit in _mapping(content, where).items():
        if name not in MEASURES:
            raise UserError(
                f"{where}.{name}: no such measure{closest(str(name), MEASURES)}; allowed: "
                f"{', '.join(MEASURES)}"
            )
        found[name] = Limit.parse(limit, f"{where}.{name}")
    return found


def _require_sense(entry: Entry, where: str) -> None:
    """Refuse an entry whose target cannot be met or judged, whatever the policy does."""
    scenario = entry.scenario
    for name in scenario.removed:
        if name not in FIELDS:
            raise UserError(
                f"{where}: removed names {name!r}{closest(name, FIELDS)}; allowed: "
                f"{', '.join(FIELDS)}"
            )
    if not entry.success:
        raise UserError(f"{where}: success is empty; name the measures that an episode must meet")
    if not isinstance(entry.home_hold, bool):
        raise UserError(f"{where}: home_hold is {entry.home_hold!r}; allowed: true, false")
    faults = scenario.faults is not None and scenario.faults.active
    pushes = bool(scenario.push_impulse) or scenario.push is not None
    has = {
        "": True,
        "a wave": scenario.wave is not None,
        "disturbances": faults or pushes or scenario.disturbances is not None,
    }
    for name in (*entry.success, *entry.limits):
        if not has[MEASURES[name].needs]:
            raise UserError(f"{where}: {name} needs {MEASURES[name].needs}, which it has not")
    standing = max(map(abs, scenario.commands)) < MOVING and scenario.wave is None
    if standing and "speed_error_share" in entry.success:
        raise UserError(
            f"{where}: success limits speed_error_share, which is undefined where standing is "
            "commanded; limit speed_error"
        )
    if entry.ladder is not None and entry.judged:
        raise UserError(f"{where}: a ladder has no success rate; leave out above and limits")
    if entry.limits and scenario.episodes < 2:
        raise UserError(f"{where}: limits need 2 episodes or more for an interval; it has 1")
    if entry.above is None:
        return
    if isinstance(entry.above, bool) or not isinstance(entry.above, int | float):
        raise UserError(f"{where}: above is {entry.above!r}; allowed: a number from 0, below 1")
    if not 0.0 <= entry.above < 1.0:
        raise UserError(f"{where}: above is {entry.above}; allowed: a number from 0, below 1")
    if scenario.episodes < (needed := episodes_needed(entry.above)):
        raise UserError(
            f"{where}: {scenario.episodes} episodes cannot show a rate above {entry.above:g} with "
            f"{LEVEL:.0%} confidence, even if all succeed; set episodes to {needed} or more"
        )


def _group(name: str, content: Any, entries: list[Entry], where: str) -> Group:
    content = _mapping(content, where)
    known = {entry.name: entry for entry in entries}
    families = {entry.family for entry in entries}
    members: list[str] = []
    if set(content) != {"entries", "passing"} or not isinstance(content["entries"], list):
        raise UserError(f"{where}: it needs entries, a list of names, and passing, a number")
    for member in content["entries"]:
        if member in known:
            members.append(member)
        elif member in families:
            members += [entry.name for entry in entries if entry.family == member]
        else:
            raise UserError(f"{where}: no entry {member!r}{closest(str(member), known)}")
    if idle := [member for member in members if not known[member].judged]:
        raise UserError(f"{where}: {idle[0]!r} has no target that it could pass; set its above")
    passing = content["passing"]
    if not isinstance(passing, int) or not 1 <= passing <= len(members):
        raise UserError(f"{where}: passing is {passing!r}; allowed: 1 to {len(members)}")
    return Group(name, tuple(members), passing)

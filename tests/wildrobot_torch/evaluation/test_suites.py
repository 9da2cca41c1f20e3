"""Tests of wildrobot_torch/evaluation/suites.py: what files may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.errors import UserError
from wildrobot_torch.evaluation.suites import load_suite, suite_names, with_seed
from wildrobot_torch.motion.metrics import Limit

FLAT = "commands: [0.3], episodes: 72, seconds: 5, success: {fallen: {max: 0}}"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_full_suite_holds_the_targets_of_the_design_documents() -> None:
    entries = {entry.name: entry for entry in load_suite("full").entries}
    above = {
        "flat": 0.95,
        "slippery": 0.8,
        "pushes": 0.85,
        "speeds": 0.9,
        "turning": 0.8,
        "late targets 50 ms": 0.8,
        "recovery 15 N": 0.6,
        "standing": 0.95,
        "robot": 0.9,
    }
    assert {name: entries[name].above for name in above} == above
    torque = {"flat": 2.5, "slippery": 3.0, "pushes": 3.2, "speeds": 2.8, "turning": 3.0}
    assert {name: entries[name].limits["torque_mean"].max for name in torque} == torque
    assert entries["50 m"].limits["power"] == Limit(max=30.0)
    assert entries["100 m"].limits == {"drift": Limit(max=0.5), "height_sd": Limit(max=0.05)}
    plan = entries["recovery 15 N"].scenario.disturbances
    assert plan is not None and plan.impulses == (pytest.approx(15 * 0.12),)
    (group,) = load_suite("full").groups
    assert (len(group.entries), group.passing) == (5, 4)


def test_both_suites_name_every_entry_once_and_fit_their_time() -> None:
    assert set(suite_names()) >= {"quick", "full"}
    steps = {}
    for name in ("quick", "full"):
        suite = load_suite(name)
        names = [entry.name for entry in suite.entries]
        assert len(set(names)) == len(names)
        steps[name] = suite.seconds * 50
    assert steps["quick"] < 0.25e6 and steps["full"] < 2.6e6


def test_defaults_are_joined_and_rungs_are_entries(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
defaults:
  commands: [0.4]
  seconds: 5
  randomization: {mass: {low: 0.9, high: 1.1}}
  success: {speed_error_share: {max: 0.5}}
entries:
  weak:
    title: weaker
    episodes: 4
    success: {fallen: {max: 0}}
    rungs:
      a: {randomization: {strength: {low: 0.9, high: 0.9}}}
      b: {episodes: 8, randomization: {mass: {low: 1.0, high: 1.2}}}
""",
    )
    a, b = load_suite(path).entries
    assert (a.name, b.name, a.family, b.rung) == ("weak a", "weak b", "weak", "b")
    assert b.title == "weaker: b"
    assert a.success == {"fallen": Limit(max=0.0)}  # in place of the defaults'
    assert (a.scenario.episodes, b.scenario.episodes) == (4, 8)
    terms = a.scenario.randomization
    assert terms is not None and set(terms.active()) == {"mass", "strength"}
    assert b.scenario.randomization is not None
    assert b.scenario.randomization.active()["mass"].high == 1.2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("entries: {}\n", "entries is empty"),
        ("entires: {}\n", "unknown key 'entires'; allowed: defaults, entries, groups"),
        ("entries: {a: {episodes: 4}}\n", "key 'commands' is missing"),
        ("entries: {a: {FLAT, spede: 1}}\n", "unknown key 'spede'"),
        ("entries: {a: {FLAT, limits: {torque: {max: 1}}}}\n", "limits.torque: no such"),
        ("entries: {a: {FLAT, limits: {power: 3}}}\n", "limits.power is 3"),
        ("entries: {a: {FLAT, above: 1.0}}\n", "above is 1.0; allowed"),
        ("entries: {a: {FLAT, above: much}}\n", "above is 'much'; allowed"),
        ("entries: {a: {FLAT, above: 0.96}}\n", "set episodes to 91 or more"),
        ("entries: {a: {FLAT, removed: [encoder_ps]}}\n", "did you mean 'encoder_pos'"),
        ("entries: {a: {FLAT, limits: {recovery_time: {max: 2}}}}\n", "needs disturbances"),
        ("entries: {a: {FLAT, limits: {command_gain: {min: 1}}}}\n", "needs a wave"),
        ("entries: {a: {FLAT, randomization: {strenth: {low: 1, high: 1}}}}\n", "strenth"),
        ("entries: {a: {commands: [0.3], episodes: 4, seconds: 5}}\n", "success is empty"),
        ("entries: {a: {commands: [0.0], episodes: 4, seconds: 5, success: {speed_error_share: "
         "{max: 1}}}}\n", "undefined where standing is commanded"),
        ("entries: {a: {FLAT, ladder: {largest: 2.0}}}\n", "disturbances is None"),
        ("entries: {a: {FLAT}}\ngroups: {g: {entries: [b], passing: 1}}\n", "no entry 'b'"),
        ("entries: {a: {FLAT}}\ngroups: {g: {entries: [a], passing: 1}}\n", "has no target"),
        ("entries: {a: {FLAT, above: 0.9}}\ngroups: {g: {entries: [a], passing: 2}}\n",
         "passing is 2; allowed: 1 to 1"),
        ("entries: {a: 3}\n", "a is 3; give names with values"),
        ("- 1\n", "give names with values"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        load_suite(write(tmp_path, text.replace("FLAT", FLAT)))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UserError, match=r"'fulll' is unknown; allowed: full, quick"):
        load_suite("fulll")


def test_a_seed_is_that_of_every_entry_and_changes_nothing_else() -> None:
    suite = load_suite("quick")
    other = with_seed(suite, 7)
    assert {entry.scenario.seed for entry in other.entries} == {7}
    assert with_seed(other, suite.entries[0].scenario.seed) == suite

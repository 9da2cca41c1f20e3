"""docs/adding.md does what it says: its functions work in a copy of the package, by its configs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
RUN = """
import json, sys, torch
from jsonargparse import ArgumentParser
from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv

def env(settings):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(LocomotionConfig, "env")
    config = parser.instantiate(parser.parse_object({"env": settings})).env
    return LocomotionEnv(config, 2, num_threads=1)

plain, changed = env({}), env(json.loads(sys.argv[1]))
for it in (plain, changed):
    it.reset()
    for _ in range(60):  # the robots stand at home
        after = it.step(it.rand_action().zero_())["next"]
critic = changed.layouts["critic_observation"].unpack(after["critic_observation"])
m = changed.measure()
print(json.dumps({
    "term": after["terms", "feet_parallel"][:, 0].tolist(),
    "distance": (m.sole_pos_h[:, 0, 1] - m.sole_pos_h[:, 1, 1]).tolist(),
    "load": critic["foot_load"].sum(-1).tolist(),
    "ended": after["terminated"][:, 0].tolist(),
    "default_weight": plain.config.reward.weights.feet_parallel,
    "same_digest": plain.layouts["critic_observation"].digest
        == changed.layouts["critic_observation"].digest,
}))
"""


def merged(configs: list[dict]) -> dict:
    """Nested dictionaries laid over each other."""
    result: dict = {}
    for config in configs:
        for key, value in config.items():
            old = result.get(key)
            result[key] = merged([old, value]) if isinstance(old, dict) else value
    return result


def added(tmp_path: Path, limit: float) -> dict:
    """What the page's functions compute for standing robots, with that `max_plate_force`."""
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    page = (ROOT / "docs/adding.md").read_text()
    blocks = re.findall(r"In `([\w/.]+)`:\n\n```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for path, code in blocks:
        with (tmp_path / path).open("a") as file:
            file.write(f"\n\n{code}")
    configs = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    settings = merged([*configs, {"data": {"env": {"termination": {"max_plate_force": limit}}}}])
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(settings["data"]["env"])],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_page_adds_a_term_a_field_and_a_termination(tmp_path: Path) -> None:
    got = added(tmp_path, limit=4.0)
    for term, distance in zip(got["term"], got["distance"], strict=True):
        assert abs(term - 0.1 * -5.0 * (distance - 0.18) ** 2) < 1e-6
    assert all(abs(load - 1.0) < 0.05 for load in got["load"])
    assert got["ended"] == [False, False]
    assert got["default_weight"] == 0.0 and not got["same_digest"]
    shutil.rmtree(tmp_path / "envs")
    assert added(tmp_path, limit=0.2)["ended"] == [True, True]  # four plates carry all

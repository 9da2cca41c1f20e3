"""`wildrobot why`: what is wrong with a run or a policy, and what to change."""

from __future__ import annotations

import argparse

from envs.physics.engines import resolve_engine
from wildrobot_torch.files import to_json
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.training.health.why.acting import Trial
from wildrobot_torch.training.health.why.diagnose import diagnose, told


def main(options: argparse.Namespace) -> int:
    """0 when nothing serious was found, 1 when something was."""
    trial = Trial(
        robots=options.num_envs,
        seconds=options.seconds,
        physics=resolve_engine(options.physics),
        seed=options.seed,
    )
    with one_torch_thread():
        found = diagnose(options.subject, trial)
    print(to_json(found.as_dict()).rstrip() if options.json else "\n".join(told(found)))
    return 1 if found.serious else 0

"""Stands in for `wildrobot` in tests of searches: `fit` and `evaluate` that only write files.

`fit` walks through four evaluations and resumes from its checkpoint. The score and the success rate
are best where `--model.amp.weight` is 1. With a weight above 8 it diverges. With one above 5, or
while a file PAUSE lies in the search's folder, it waits after the second evaluation to be
interrupted.
"""

import json
import shutil
import signal
import sys
import time
from pathlib import Path

POINTS = (100, 200, 300, 400)


def fit(options: dict[str, str]) -> int:
    weight = float(options["--model.amp.weight"])
    if weight > 8.0:
        print("error: the loss is nan")
        return 1
    trials = Path(options["--run.folder"]).parents[1]
    run = Path(options["--run.folder"], options["--run.name"], "date")
    (run / "checkpoints").mkdir(parents=True)
    interrupted = []
    signal.signal(signal.SIGINT, lambda *_: interrupted.append(True))
    begun = 0
    if "--ckpt_path" in options:
        begun = int(Path(options["--ckpt_path"]).with_name("steps").read_text())
    metrics = run / "metrics.csv"
    metrics.write_text("Perf/collection_time,Evaluation/score,step\n")
    for steps in POINTS:
        if steps <= begun:
            continue
        with metrics.open("a") as file:
            file.write(f"1.0,{-abs(weight - 1.0)},{steps}\n")
        # Written by the test, which has torch.
        shutil.copy(trials / "checkpoint", run / "checkpoints/last.ckpt")
        (run / "checkpoints/steps").write_text(str(steps))
        # What is to be interrupted waits for it, so that it is not over before.
        waits = steps == 200 and (weight > 5.0 or (trials / "PAUSE").exists())
        end = time.monotonic() + (300.0 if waits else 0.0)
        while not interrupted and time.monotonic() < end:
            time.sleep(0.01)
        if interrupted:
            return 130
    return 0


def evaluate(checkpoint: str, options: dict[str, str]) -> int:
    part = Path(checkpoint).parents[2]
    weight = float(json.loads((part.parents[1] / "weight.json").read_text()))
    out = Path(options["--out"])
    out.mkdir(parents=True)
    entry = {"above": 0.9, "limits": {}, "columns": {"last": {
        "success": {"value": 1.0 / (1.0 + abs(weight - 1.0))},
        "means": {"torque_mean": {"value": 2.0}},
    }}}  # fmt: skip
    content = {"suite": options["--suite"], "columns": ["last", "home hold"], "entries": [entry]}
    (out / "suite.json").write_text(json.dumps(content | {"seed": options["--seed"]}))
    return 1


def main(words: list[str]) -> int:
    if words[0] == "evaluate":
        return evaluate(words[1], dict(zip(words[2::2], words[3::2], strict=True)))
    options = dict(zip(words[1::2], words[2::2], strict=True))
    trial = Path(options["--run.folder"]).parent
    trial.mkdir(parents=True, exist_ok=True)
    (trial / "weight.json").write_text(options["--model.amp.weight"])
    return fit(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

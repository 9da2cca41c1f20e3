"""A training as the command line runs it, whose processes write down what they have.

Each process writes WITNESS_FOLDER/<rank>.pt: the noise on the actions of each iteration, and the
networks after the last. In iteration 2 the second process has BAD_REWARD, if that is not empty.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from wildrobot_torch.__main__ import main


class Witness(Callback):
    def __init__(self) -> None:
        self.folder, self.bad = Path(os.environ["WITNESS_FOLDER"]), os.environ["BAD_REWARD"]
        self.noise: list[torch.Tensor] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.noise.append(batch["action"] - batch["loc"])
        if self.bad and trainer.global_rank == 1 and trainer.global_step == 1:
            batch["next", "reward"][0, 0] = float(self.bad)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        torch.save(
            {"noise": torch.stack(self.noise), "networks": pl_module.state_dict()},
            self.folder / f"{trainer.global_rank}.pt",
        )


class WitnessedTrainer(pl.Trainer):
    def __init__(self, *args: Any, callbacks: list[Callback], **kwargs: Any) -> None:
        super().__init__(*args, callbacks=[*callbacks, Witness()], **kwargs)


if __name__ == "__main__":
    pl.Trainer = WitnessedTrainer
    sys.exit(main())

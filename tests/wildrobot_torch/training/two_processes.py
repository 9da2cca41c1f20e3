"""A training as the command line runs it, whose processes write down what they have.

Each process writes WITNESS_FOLDER/<rank>.pt: the noise on the actions of each iteration, and the
networks after the last. A reward of the process NAN_RANK is NaN in iteration 2.
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
        self.folder, self.nan_rank = Path(os.environ["WITNESS_FOLDER"]), os.environ["NAN_RANK"]
        self.noise: list[torch.Tensor] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.noise.append(batch["action"] - batch["loc"])
        if str(trainer.global_rank) == self.nan_rank and trainer.global_step == 1:
            batch["next", "reward"][0, 0] = torch.nan

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

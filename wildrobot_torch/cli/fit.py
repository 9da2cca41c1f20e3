"""`wildrobot fit`: train a policy."""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Optional

import jsonargparse
import lightning.pytorch as pl
import yaml
from jsonargparse.typing import restricted_string_type
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from envs.errors import UserError
from envs.settings import PositiveInt
from wildrobot_torch.cli.settings import SettingsParser
from wildrobot_torch.files import load_tensors
from wildrobot_torch.training.callbacks import Alarms, Budget, Progress, RunDirectory
from wildrobot_torch.training.data import RolloutData
from wildrobot_torch.training.module import WalkingModule

ProjectName = restricted_string_type(
    "ProjectName", r"(?!(?i:true|false|yes|no|on|off)$).+", docstring="Name of a W&B project."
)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where a run writes, and when it ends."""

    folder: str = "runs"
    """Runs go to <folder>/<name>/<date>."""
    name: str | None = None
    """Name of the run; null for that of the last --config file."""
    env_steps: PositiveInt = 20_000_000
    """Environment steps after which training ends."""
    stop_when_passed: bool = False
    """Whether training ends once an evaluation keeps to all limits of its scenario."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Where the training computes, and its time limit."""

    devices: PositiveInt = 1
    """Processes, one per device, each with its own environments."""
    strategy: str = "auto"
    """Lightning strategy; ddp for several devices."""
    max_time: str | None = None
    """Training time after which it ends, DD:HH:MM:SS; null for none."""

    def __post_init__(self) -> None:
        if self.max_time is not None and not re.fullmatch(r"\d+(:\d\d){3}", self.max_time):
            raise UserError(
                f"trainer.max_time is {self.max_time!r}; write DD:HH:MM:SS, as in 00:00:08:00"
            )


def main(words: list[str]) -> int:
    """Exit code of a training."""
    settings_parser = parser(any(w == "--help_all" or w.endswith(".help") for w in words))
    return train(settings_parser, settings_parser.read(words))


def parser(documented: bool = False) -> SettingsParser:
    """The settings of a training; `documented` ones have their meanings in the help."""
    # Reading the settings' docstrings takes longer than all the rest of the parsing.
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=documented)
    parser = SettingsParser.of("fit")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument(
        "--wandb",
        type=Optional[ProjectName],  # noqa: UP045 - a checker reads `|` here as an operation
        default=None,
        help="Weights & Biases project to log to as well; null for none",
    )
    parser.add_argument(
        "--ckpt_path", type=str | None, default=None, help="checkpoint to resume from"
    )
    parser.add_class_arguments(RunConfig, "run")
    parser.add_class_arguments(TrainerConfig, "trainer")
    parser.add_class_arguments(RolloutData, "data")
    parser.add_class_arguments(WalkingModule, "model")
    parser.link_arguments("seed", "data.seed")
    return parser


def read_options(words: Sequence[str]) -> dict[str, Any]:
    """The settings that options of `fit` give, as plain values; for tools that run `fit`."""
    settings_parser = parser()
    settings = settings_parser.read(words)
    plain = yaml.safe_load(settings_parser.dump(settings, skip_unset=False))
    return {group: plain[group] for group in ("run", "trainer", "data", "model")}


def train(settings_parser: SettingsParser, settings: jsonargparse.Namespace) -> int:
    """Train with these settings; returns the exit code.

    Raises:
        UserError: they cannot be used; nothing is written.
        RunError: the training diverged, or its physics cannot be trusted.
    """
    quiet()
    pl.seed_everything(settings.seed, verbose=False)
    made = settings_parser.construct(settings)
    run: RunConfig = made.run
    data: RolloutData = made.data
    if settings.ckpt_path is not None:
        load_tensors(settings.ckpt_path, "--ckpt_path", "give a .ckpt that `wildrobot fit` wrote")
    name = run.name or (Path(str(settings.config[-1])).stem if settings.config else "default")
    config = _config_text(settings_parser, settings, name)
    with new_folder(Path(run.folder) / name) as folder, Interruption(folder) as interruption:
        trainer = pl.Trainer(
            **asdict(made.trainer),
            accelerator=data.accelerator,
            callbacks=[
                Progress(run.env_steps),
                RunDirectory(folder, config, _loggers(folder, settings.wandb)),
                Alarms(folder),
                Budget(run.env_steps, run.stop_when_passed),
                interruption,
                *_checkpoints(folder / "checkpoints"),
            ],
            logger=False,
            max_epochs=-1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            log_every_n_steps=1,
        )
        try:
            trainer.fit(
                made.model, datamodule=data, ckpt_path=settings.ckpt_path, weights_only=True
            )
        except MisconfigurationException as error:
            raise UserError(str(error)) from error
    return interruption.exit_code


@contextmanager
def new_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` that no other run has; gone again if nothing was written into it.

    It is named by the date, with a number where two runs begin in one second.

    Raises:
        UserError: it cannot be made.
    """
    date = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    if rank_zero_only.rank:  # the first process makes the folder, and alone writes into it
        yield parent / date
        return
    absent = [path for path in (parent, *parent.parents) if not path.exists()]
    for number in itertools.count(1):
        folder = parent / (date if number == 1 else f"{date}_{number}")
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            reason = f"{error.strerror}; change --run.folder"
            raise UserError(f"{folder} cannot be made: {reason}") from error
    try:
        yield folder
    finally:
        for path in (folder, *absent):
            with suppress(OSError):
                path.rmdir()  # only an empty one


class Interruption(Callback):
    """Ends the training at SIGINT or SIGTERM, with a checkpoint; a second signal ends it at once.

    Within `with` it handles these signals. Before and after the training they end the process by
    `SystemExit`.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is the run's."""
        self.folder = folder
        self.exit_code = 0
        """After a signal 128 + its number."""
        self._training = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        self._before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
        self._handle_signals()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle_signals(self) -> None:
        for number in self._before:
            signal.signal(number, self._handle)

    def _handle(self, number: int, _: object) -> None:
        if not self._training:
            raise SystemExit(128 + number)
        if self.exit_code:
            os._exit(128 + number)
        self.exit_code = 128 + number
        said = b"interrupted: the iteration ends with a checkpoint; once more to end at once\n"
        os.write(2, said)  # not by print, which a signal may have interrupted

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Take the signals over from Lightning, for which SIGINT is exit code 1."""
        self._handle_signals()
        self._training = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save a checkpoint and end with 128 + the signal's number, where there was a signal."""
        code = trainer.strategy.broadcast(self.exit_code)
        if not code:
            return
        path = self.folder / "checkpoints" / "last.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        if trainer.is_global_zero:
            again = f"--config {self.folder / 'config.yaml'} --ckpt_path {path}"
            print(f"saved {path}; to go on: wildrobot fit {again}", file=sys.stderr, flush=True)
        raise SystemExit(code)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Let signals end the process again: the last checkpoint is written."""
        self._training = False


def _config_text(parser: SettingsParser, settings: jsonargparse.Namespace, name: str) -> str:
    """YAML that repeats the run, under the same name."""
    settings = settings.clone()
    settings.run.name = name
    settings.pop("ckpt_path")
    return parser.dump(settings, skip_unset=False)


def _loggers(folder: Path, project: str | None) -> list[Logger]:
    """CSV and TensorBoard always, Weights & Biases for a project of it."""
    loggers: list[Logger] = [
        CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1),
        TensorBoardLogger(folder, name="", version="tensorboard"),
    ]
    if project is not None:
        try:
            loggers.append(WandbLogger(project=project, save_dir=folder))
        except ModuleNotFoundError as error:
            remedy = "which is not installed: pip install wandb"
            raise UserError(f"--wandb {project} needs the package wandb, {remedy}") from error
    return loggers


def _checkpoints(folder: Path) -> list[Callback]:
    """Keep the checkpoint of the best evaluation, and that of the last one.

    Two callbacks: one that does both writes the last only where it is also the best.
    """
    evaluated = partial(ModelCheckpoint, folder, save_on_train_epoch_end=False)
    name = {"filename": "best-{env_steps:.0f}", "auto_insert_metric_name": False}
    best = evaluated(**name, monitor="rank", mode="max")
    return [best, evaluated(filename="last", enable_version_counter=False)]


def quiet() -> None:
    """Silence notices of the frameworks that no user of this program can act on."""
    lightning = ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators")
    for name in (*lightning, "lightning.fabric", "torchrl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for module in ("lightning", "torch", "torchrl", "tensordict", "jsonargparse"):
        warnings.filterwarnings("ignore", module=rf"{module}(\..*)?")
    warnings.filterwarnings("ignore", message=".*(litlogger|LeafSpec|isinstance.treespec).*")

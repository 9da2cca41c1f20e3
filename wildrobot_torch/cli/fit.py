"""Command line of the training: `python -m wildrobot_torch fit|validate|test|doctor`."""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import jsonargparse
import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from envs.physics.base import PhysicsError
from envs.yaml_files import make_configs_strict
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.cli.doctor import main as doctor
from wildrobot_torch.files import CONFIGS
from wildrobot_torch.ppo.finite import TrainingDiverged
from wildrobot_torch.training.callbacks import Alarms, Budget, Progress, RunDirectory
from wildrobot_torch.training.data import RolloutData
from wildrobot_torch.training.module import WalkingModule

BASE_CONFIG = CONFIGS / "base.yaml"
"""Values of all settings that no overlay sets; its absence leaves the same values as defaults."""

TOP = ("--config", "--seed", "--wandb", "--ckpt_path", "--print_config")
"""Options of no group."""
HELP = """\
Train a policy, look at a checkpoint.

  python -m wildrobot_torch fit --config configs/walking.yaml
  python -m wildrobot_torch fit --config configs/walking.yaml --config configs/laptop.yaml \\
      --model.ppo.gamma 0.99 --trainer.max_time 00:00:08:00
  python -m wildrobot_torch fit --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt
  python -m wildrobot_torch validate --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt

commands:
  fit            train; writes runs/<name>/<date>/
  validate       the evaluation made during training, of one checkpoint
  doctor         what is here, what is missing, and the command that mends it; --json

options of every other command:
  --config FILE  settings; several are merged, later ones win; configs/base.yaml comes first
  --ckpt_path F  checkpoint to resume or to look at
  --wandb NAME   log to this Weights & Biases project as well
  --print_config print all settings and exit
  --help         all settings with units and meanings (after a command)

settings have dotted names, as in configs/base.yaml: run, trainer, data, data.env, model.ppo,
model.network, model.amp.
"""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where a run writes, and when it ends."""

    folder: str = "runs"
    """Runs go to <folder>/<name>/<date>."""
    name: str | None = None
    """Name of the run; null for that of the last --config file."""
    env_steps: int = 20_000_000
    """Environment steps after which training ends."""
    stop_when_passed: bool = False
    """Whether training ends once an evaluation keeps to all limits of its scenario."""
    print_every_s: float = 5.0
    """Time between two console lines [s]."""

    def __post_init__(self) -> None:
        if self.env_steps < 1:
            raise ValueError(f"run.env_steps is {self.env_steps}; it must be positive")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Where the training computes, and its time limit."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Device of networks and updates: auto is that of `data.physics`, and others are refused."""
    devices: int = 1
    """Processes, one per device, each with its own environments."""
    strategy: str = "auto"
    """Lightning strategy; ddp for several devices."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Arithmetic of the updates."""
    max_time: str | None = None
    """Training time after which it ends, DD:HH:MM:SS; null for none."""

    def __post_init__(self) -> None:
        if self.max_time is not None and not re.fullmatch(r"\d+(:\d\d){3}", self.max_time):
            raise ValueError(
                f"trainer.max_time is {self.max_time!r}; write DD:HH:MM:SS, as in 00:00:08:00"
            )
        if self.devices < 1:
            raise ValueError(f"trainer.devices is {self.devices}; it must be positive")


class Parser(LightningArgumentParser):
    """Errors are one line on stderr, a hint where a name looks misspelt, and exit code 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message and exit."""
        fail(*_shortened(message, _names(self)))


def _names(parser: Any) -> list[str]:
    """Dotted names of all options of a parser and its commands."""
    # A group that may be null is one option to the parser; its fields are named here.
    names = [f"model.amp.{field.name}" for field in fields(AMPConfig)]
    for action in parser._actions:
        names += [text[2:] for text in action.option_strings if "." in text or text in TOP]
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                names += _names(command)
    return names


def _shortened(message: str, names: Sequence[str]) -> tuple[str, str | None]:
    """One line of a parser's message, and the name that may have been meant."""
    text = " ".join(message.split()) or "the command line cannot be read"
    last = {name.rsplit(".", 1)[-1]: name for name in names}
    found = re.search(r"--([\w.]+)|option '([\w.]+)'", text, re.IGNORECASE)
    wrong = next(filter(None, found.groups()), "") if found else ""
    if not wrong or wrong in names:
        return text, None
    for key, known in ((wrong, {name: name for name in names}), (wrong.rsplit(".", 1)[-1], last)):
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
        if close:
            return text, f"did you mean {known[close[0]]}?"
    return text, None


def fail(message: str, hint: str | None = None, code: int = 2) -> NoReturn:
    """End the program with `error: <message>` and a hint on stderr."""
    print("error: " + " ".join(str(message).split()), file=sys.stderr)
    if hint is not None:
        print(hint, file=sys.stderr)
    raise SystemExit(code)


class WalkingCLI(LightningCLI):
    """LightningCLI with few trainer settings, a run directory, and our callbacks."""

    def __init__(self, args: Sequence[str]) -> None:
        """Parse `args` and run their command."""
        self._arguments = list(args)
        base = [str(BASE_CONFIG)] if BASE_CONFIG.is_file() else []
        super().__init__(
            WalkingModule,
            RolloutData,
            save_config_callback=None,
            parser_class=Parser,
            parser_kwargs={
                "prog": "python -m wildrobot_torch",
                **{
                    command: {
                        "default_config_files": base,
                        "usage": f"python -m wildrobot_torch {command} [--NAME VALUE ...]",
                    }
                    for command in self.subcommands()
                },
            },
            auto_configure_optimizers=False,
            args=self._arguments,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Commands, and the arguments of Lightning's methods they do not offer."""
        hidden = {"model", "datamodule", "weights_only", "verbose"}
        return {
            "fit": hidden | {"train_dataloaders", "val_dataloaders"},
            "validate": hidden | {"dataloaders"},
        }

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the settings of no group."""
        parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
        parser.add_argument(
            "--wandb",
            type=str | None,
            default=None,
            help="Weights & Biases project to log to as well; null for none",
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the groups run, trainer, data and model."""
        parser.add_class_arguments(RunConfig, "run")
        parser.add_class_arguments(TrainerConfig, "trainer")
        parser.add_lightning_class_args(RolloutData, "data")
        parser.add_lightning_class_args(WalkingModule, "model")
        parser.link_arguments("seed", "data.seed")

    def _set_seed(self) -> None:
        pl.seed_everything(self._get(self.config, "seed"), verbose=False)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Trainer with loggers, checkpoints and our callbacks; nothing is written yet."""
        run: RunConfig = self._get(self.config_init, "run")
        options: TrainerConfig = self._get(self.config_init, "trainer")
        data: RolloutData = self._get(self.config_init, "data")
        if options.accelerator != "auto":
            data.require_accelerator(options.accelerator)
        callbacks: list[Callback] = [Progress(run.env_steps, run.print_every_s)]
        if self.subcommand == "fit":
            folder = self._run_folder(run)
            callbacks += [
                RunDirectory(folder, self._config_text(folder.parent.name), self._loggers(folder)),
                Alarms(folder),
                Budget(run.env_steps, run.stop_when_passed),
                *_checkpoints(folder / "checkpoints"),
            ]
        return pl.Trainer(
            **asdict(replace(options, accelerator=data.accelerator)),
            callbacks=callbacks,
            logger=False,
            max_epochs=-1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=self.subcommand == "fit",
            use_distributed_sampler=False,
            log_every_n_steps=1,
        )

    def _run_folder(self, run: RunConfig) -> Path:
        """A folder that is not there yet."""
        config = self._get(self.config, "config") or []
        name = run.name or (Path(str(config[-1])).stem if config else "base")
        date = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        folder = Path(run.folder) / name / date
        return folder if not folder.exists() else folder.with_name(f"{date}_{os.getpid()}")

    def _config_text(self, name: str) -> str:
        """YAML that repeats the run, under the same name."""
        config = self._get(self.config, "run").clone()
        parser = self._parser(self.subcommand)
        settings = self.config[str(self.subcommand)].clone()
        config["name"] = name
        settings["run"] = config
        settings.pop("ckpt_path", None)
        return parser.dump(settings, skip_link_targets=True, skip_none=False)

    def _loggers(self, folder: Path) -> list[Logger]:
        """CSV and TensorBoard always, Weights & Biases when asked for."""
        loggers: list[Logger] = [
            CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1),
            TensorBoardLogger(folder, name="", version="tensorboard"),
        ]
        project = self._get(self.config_init, "wandb")
        if project is not None:
            try:
                loggers.append(WandbLogger(project=project, save_dir=folder))
            except ModuleNotFoundError:
                fail(f"--wandb {project} needs the package wandb", "pip install wandb")
        return loggers


def _checkpoints(folder: Path) -> list[Callback]:
    """Keep the checkpoint of the best evaluation, and that of the last one.

    Two callbacks: one that does both writes the last only where it is also the best.
    """
    best = ModelCheckpoint(
        folder,
        filename="best-{env_steps:.0f}",
        auto_insert_metric_name=False,
        monitor="rank",
        mode="max",
        save_on_train_epoch_end=False,
    )
    last = ModelCheckpoint(
        folder, filename="last", save_on_train_epoch_end=False, enable_version_counter=False
    )
    return [best, last]


def _quiet() -> None:
    """Silence notices of the frameworks that no user of this program can act on."""
    lightning = ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators")
    for name in (*lightning, "lightning.fabric", "torchrl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for module in ("lightning", "torch", "torchrl", "tensordict", "jsonargparse"):
        warnings.filterwarnings("ignore", module=rf"{module}(\..*)?")
    warnings.filterwarnings("ignore", message=".*(litlogger|LeafSpec|isinstance.treespec).*")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, or exits with 2 for a request that cannot be met.

    A training that diverges exits with 1.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0
    if arguments[0] == "doctor":
        return doctor(arguments[1:])
    _quiet()
    # Reading the settings' docstrings takes longer than all the rest of the parsing.
    documented = any(text in ("-h", "--help") or text.endswith(".help") for text in arguments)
    make_configs_strict()
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=documented)
    try:
        WalkingCLI(arguments)
    except (TrainingDiverged, PhysicsError) as error:
        fail(str(error), code=1)
    except (ValueError, OSError, MisconfigurationException) as error:
        fail(str(error))
    except KeyboardInterrupt:
        return 130
    return 0

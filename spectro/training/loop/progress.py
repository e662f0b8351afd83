"""Progress of training: functions to call, and TensorBoard or Weights & Biases to record it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectro.errors import ConfigError, MissingExtraError
from spectro.training.settings import TrainConfig

__all__ = [
    "TOOLS",
    "Listener",
    "check",
    "tracking",
]


@dataclass(frozen=True)
class Listener:
    """Functions to call while training; the defaults do nothing.

    Attributes
    ----------
    batch : callable
        Called after each training batch with the batches done and the batches of the whole fit, 0
        where these are not known: a Learner of one's own trains as it likes.
    epoch : callable
        Called after each epoch with a dict, the row of ``history.csv``.
    say : callable
        Called with a line that the user should read, as on the number of threads.
    """

    batch: Callable[[int, int], None] = lambda done, total: None
    epoch: Callable[[dict[str, Any]], None] = lambda row: None
    say: Callable[[str], None] = lambda line: None


def check(tool: str | None) -> None:
    """Refuse an unknown or missing tool, before anything is trained.

    Raises
    ------
    ConfigError
        If there is no such tool.
    MissingExtraError
        If it is not installed.
    """
    if tool is None:
        return
    if tool not in TOOLS:
        raise ConfigError(f"--track {tool}: there are {', '.join(TOOLS)}")
    try:
        __import__(tool)
    except ImportError:
        raise MissingExtraError("track", f"--track {tool}") from None


@contextmanager
def tracking(tool: str | None, folder: Path, name: str, config: TrainConfig) -> Iterator[list[Any]]:
    """Yield the fastai callbacks that record a training with `tool`; for None, no callback.

    Parameters
    ----------
    tool : "tensorboard", "wandb" or None
        The tool to record with.
    folder : Path
        The run's folder; records are written to ``tensorboard/`` or ``wandb/`` there.
    name : str
        Name of this training within the run, as "fold3".
    config : TrainConfig
        Recorded as the settings of the training.

    Raises
    ------
    ConfigError, MissingExtraError
        As :func:`check`.
    """
    check(tool)
    if tool is None:
        yield []
        return
    folder.mkdir(parents=True, exist_ok=True)
    with TOOLS[tool](folder, name, config) as callbacks:
        yield callbacks


@contextmanager
def _tensorboard(folder: Path, name: str, config: TrainConfig) -> Iterator[list[Any]]:
    from fastai.callback.tensorboard import TensorBoardCallback

    class TensorBoard(TensorBoardCallback):  # type: ignore[misc]
        """Counts batches on from those of phases and networks before; fastai begins at 0."""

        before = 0

        @property
        def train_iter(self) -> int:
            return self.before + int(self.learn.train_iter)

        def after_fit(self) -> None:
            super().after_fit()
            self.before += int(self.learn.train_iter)

    log = folder / "tensorboard" / name
    yield [TensorBoard(log_dir=log, trace_model=False, log_preds=False)]


@contextmanager
def _wandb(folder: Path, name: str, config: TrainConfig) -> Iterator[list[Any]]:
    import wandb
    from fastai.callback.wandb import WandbCallback

    class Wandb(WandbCallback):  # type: ignore[misc]
        def before_fit(self) -> None:
            self.learn.gather_args = dict  # fastai's fails; the settings go to init below
            super().before_fit()
            del self.learn.gather_args

    tracked = wandb.init(
        project="spectro",
        group=folder.name,
        name=f"{folder.name} {name}",
        dir=folder,
        config=config.to_dict(),
        mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
        settings=wandb.Settings(silent=True),
    )
    try:
        yield [Wandb(log_preds=False)]
    finally:
        tracked.finish()


TOOLS: dict[str, Callable[[Path, str, TrainConfig], AbstractContextManager[list[Any]]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}

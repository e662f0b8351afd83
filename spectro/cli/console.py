"""What the command line prints: lines and progress bars. Computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from json import dumps
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from spectro.training.progress import Listener

if TYPE_CHECKING:
    from spectro.clips.datasets import Dataset

__all__ = [
    "CONTROLS",
    "OUT",
    "complain",
    "copying",
    "counting",
    "dataset",
    "note",
    "percent",
    "prediction",
    "say",
    "training",
    "warn",
]

OUT = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
_err = Console(highlight=False, soft_wrap=True, stderr=True, markup=False, emoji=False)

# A file's name may hold what breaks a line in two, or what a terminal obeys.
CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160))}


def say(line: str = "") -> None:
    """Print a line of result."""
    OUT.print(line.translate(CONTROLS))


def note(line: str) -> None:
    """Print something that the user should know."""
    OUT.print(f"note: {line}".translate(CONTROLS), style="cyan")


def warn(line: str) -> None:
    """Print something that the user must not miss."""
    OUT.print(f"WARNING: {line}".translate(CONTROLS), style="bold yellow")


def complain(line: str) -> None:
    """Print what went wrong, to the error stream."""
    _err.print(f"spectro: {line}".translate(CONTROLS), style="red")


def percent(share: float | None) -> str:
    """Write a share between 0 and 1 as a percentage with one decimal."""
    return "-" if share is None else f"{100 * share:.1f} %"


class _Rate(ProgressColumn):
    """Steps per second so far."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.0f} {self.unit}/s")


@contextmanager
def counting(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar with rate and time left; yields a function of (done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=OUT, transient=True, disable=not OUT.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def copying(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar of bytes; yields a function of (done, total or None)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=OUT, transient=True, disable=not OUT.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def training(what: str, epochs: int, *, each_epoch: bool = True) -> Iterator[Listener]:
    """Show a progress bar of batches, with a line for each epoch, or the last one, above it."""
    first = 1 if each_epoch else epochs
    with counting(what, "batches") as count:
        yield Listener(batch=count, epoch=lambda row: _show_epoch(what, row, epochs, first))


def _show_epoch(what: str, row: dict[str, Any], epochs: int, first: int) -> None:
    if row["epoch"] < first:
        return
    say(
        f"{what}  epoch {row['epoch']:>3}/{epochs}  train loss {row['train_loss']:.3f}  "
        f"valid loss {row['valid_loss']:.3f}  accuracy {percent(row['accuracy'])}  "
        f"{row['seconds']:.0f} s"
    )


def dataset(dataset: Dataset) -> None:
    """Print what a dataset holds and what the user should know about it."""
    say(
        f"{dataset.name}: {len(dataset.clips):,} clips, {len(dataset.labels)} classes, "
        f"{dataset.clips['fold'].nunique()} folds"
    )
    for line in dataset.notes:
        note(line)


def prediction(row: Mapping[Any, Any], *, top: int, json: bool) -> None:
    """Print what was heard in a file: its likeliest classes, or everything as JSON."""
    likely = {name[2:]: p for name, p in row.items() if name.startswith("p_")}
    if json:
        kept = {name: value for name, value in row.items() if not name.startswith("p_")}
        print(dumps({**kept, "probabilities": likely}))
        return
    best = sorted(likely.items(), key=lambda item: -item[1])[:top]
    say(f"{row['path']}: " + ", ".join(f"{label} {percent(p)}" for label, p in best))

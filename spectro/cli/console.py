"""What the command line prints: lines, JSON and progress bars. Computes nothing.

Nothing that is printed can stop a command or steer a terminal: characters that a console does not
show, or obeys, are escaped, and a pipe that nobody reads any more is written to no longer.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

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

from spectro.plumbing.words import counted, percent

if TYPE_CHECKING:
    from spectro.clips.table import Dataset
    from spectro.training.loop.progress import Listener

__all__ = [
    "INTERRUPTED",
    "OUT",
    "SOME_FAILED",
    "Heard",
    "complain",
    "copying",
    "counting",
    "data",
    "dataset",
    "end",
    "hearing",
    "note",
    "prediction",
    "refused",
    "report",
    "row",
    "say",
    "settle",
    "shown",
    "training",
    "warn",
    "working",
]

SOME_FAILED = 3  # exit status: all is done but for clips that are named
INTERRUPTED = 130  # exit status: Ctrl-C, as shells give it
_CLOSED = 141  # exit status: nobody reads the output, as shells give it

OUT = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
_err = Console(highlight=False, soft_wrap=True, stderr=True, markup=False, emoji=False)

# A name may hold what breaks a line in two (C0, line separators), what a terminal obeys (C0, C1),
# what turns the direction of reading (bidi controls), or bytes that are no Unicode (surrogates).
_UNSHOWN = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NARROWEST, _WIDTH = 20, 80  # characters a line: fewer are none, and what they are then
_LONGEST_LINE = 2_000  # characters
_LONGEST_NAME = 255  # characters: no file has a longer name


class _Stream(io.FileIO):
    """An output whose reader may go away: what comes after is dropped, and the work goes on."""

    failed: OSError | None = None

    def write(self, data: Any) -> int:
        if self.failed is None:
            try:
                return super().write(data) or 0
            except OSError as error:
                self.failed = error
        return len(data)


class _Closed(_Stream):
    """What stands for an output that is closed: whatever is written to it is lost."""

    def write(self, data: Any) -> int:
        self.failed = OSError(errno.EBADF, os.strerror(errno.EBADF))
        return len(data)


def settle() -> None:
    """Make the standard streams of this process ones that never raise."""
    if OUT.width < _NARROWEST:  # by an odd COLUMNS; nothing could be read
        OUT.width = _err.width = _WIDTH
    sys.stdout, sys.stderr = _settled(sys.stdout, 1), _settled(sys.stderr, 2)


def _settled(stream: TextIO | None, number: int) -> TextIO:
    """Return the stream, or one in its place, that escapes what it cannot encode."""
    if stream is None:  # closed by who started us
        return io.TextIOWrapper(io.BufferedWriter(_Closed(os.devnull, "w")), encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper) or stream.fileno() != number:
        return stream  # put there by who calls us
    stream.reconfigure(errors="backslashreplace")
    if stream.isatty():
        return stream
    raw = _Stream(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, "backslashreplace", line_buffering=number == 2
    )


def end(status: int) -> int:
    """Write out what is left to print; return the exit status, which tells if it was not read."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if status or not isinstance(raw, _Stream) or raw.failed is None:
        return status
    if raw.failed.errno in (errno.EPIPE, errno.EINVAL):  # the second is Windows'
        return _CLOSED
    complain(f"the output could not be written ({raw.failed.strerror})")
    return 1


def shown(text: object, longest: int = _LONGEST_NAME) -> str:
    """Return text as it can be shown: on one line, obeyed by no terminal, cut in the middle."""
    words = str(text)
    if len(words) > longest:
        head = longest * 2 // 3
        tail = longest - head - 1
        words = f"{words[:head]}…{words[-tail:]}"
    return _UNSHOWN.sub(_escape, words)


def _escape(found: re.Match[str]) -> str:
    """Write a character, or the byte that a surrogate stands for, as Python would."""
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else repr(found[0])[1:-1]


def say(line: str = "") -> None:
    """Print a line of result."""
    OUT.print(shown(line, _LONGEST_LINE))


def note(line: str) -> None:
    """Print something that the user should know."""
    OUT.print(f"note: {shown(line, _LONGEST_LINE)}", style="cyan")


def warn(line: str) -> None:
    """Print something that the user must not miss, to the error stream."""
    _err.print(f"WARNING: {shown(line, _LONGEST_LINE)}", style="bold yellow")


def complain(line: str) -> None:
    """Print what went wrong, to the error stream."""
    _err.print(f"spectro: {shown(line, _LONGEST_LINE)}", style="red")


def refused(error: OSError) -> str:
    """Say what the system refused, and what to do about it.

    Examples
    --------
    >>> refused(FileExistsError(errno.EEXIST, "File exists", "sounds"))
    'sounds: is a file, and a folder is to be there; name another folder, or move it'
    """
    place = str(error.filename or "a file")
    if isinstance(error, FileExistsError) and not Path(place).is_dir():
        return f"{place}: is a file, and a folder is to be there; name another folder, or move it"
    if isinstance(error, NotADirectoryError):
        return f"{place}: {_file_above(place)} is a file, and no folder; name another folder"
    ways = {
        errno.EISDIR: "; name a file",
        errno.ENAMETOOLONG: "; choose a shorter name",
        errno.EACCES: "; name another place, or allow it",
        errno.EPERM: "; name another place, or allow it",
        errno.EROFS: "; name another place",
        errno.ENOSPC: "; make room and run it again",
        errno.EDQUOT: "; make room and run it again",
    }
    return f"{place}: {error.strerror or error}{ways.get(error.errno or 0, '')}"


def _file_above(place: str) -> str:
    """Return what on the way to a place is there, and is no folder."""
    while not os.path.lexists(place) and os.path.dirname(place):
        place = os.path.dirname(place)
    return place


def report(line: str) -> None:
    """Print how something goes that goes on, to the error stream."""
    _err.print(shown(line, _LONGEST_LINE))


def data(value: Any, *, indent: int | None = None, before: str = "") -> None:
    """Print a value as JSON that every parser takes: ASCII, without NaN and infinity (null)."""
    text = json.dumps(_finite(value), indent=indent, allow_nan=False)
    OUT.print(before + text.replace("\x7f", r"\u007f"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


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
    with _bar(what, MofNCompleteColumn(), _Rate(unit)) as update:
        yield update


@contextmanager
def copying(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar of bytes; yields a function of (done, total or None)."""
    with _bar(what, DownloadColumn(), TransferSpeedColumn()) as update:
        yield update


@contextmanager
def _bar(what: str, *columns: ProgressColumn) -> Iterator[Callable[[int, int | None], None]]:
    about = TextColumn("{task.description}", markup=False)
    around = (about, BarColumn(), *columns, TimeRemainingColumn())
    with Progress(*around, console=OUT, transient=True, disable=not OUT.is_terminal) as progress:
        task = progress.add_task(shown(what), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def working(
    workers: AbstractContextManager[Executor], what: str, *, clips: int, told: str
) -> Iterator[tuple[Executor, Callable[[int, int], None]]]:
    """Give workers, and what to tell the number of clips done and of all.

    On Ctrl-C the process ends within the block: Python would wait for the clip in hand, which may
    take minutes, and no file is ever written in part.

    Parameters
    ----------
    workers : context manager of concurrent.futures.Executor
        From :func:`spectro.plumbing.workers.pool` or :func:`spectro.plumbing.cluster.connect`.
    what : str
        Shown before the bar, as "rendering".
    clips : int
        How many there are.
    told : str
        What to say on Ctrl-C, after how many clips were done.
    """
    done = 0
    try:
        with workers as pool, counting(what, "clips") as show:

            def count(now: int, total: int) -> None:
                nonlocal done
                done = now
                show(now, total)

            yield pool, count
    except KeyboardInterrupt:
        complain(f"interrupted with {done:,} of {clips:,} clips done; {told}")
        sys.stdout.flush()
        os._exit(INTERRUPTED)


Heard = Callable[[float, int], None]  # told of more seconds of sound, and of more recordings


class _RealTime(ProgressColumn):
    """Seconds of sound a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0
        return Text(f"{task.completed / 3600:.2f} h  {speed:,.0f} x real time")


@contextmanager
def hearing(
    workers: AbstractContextManager[Executor | None], recordings: int, seconds: float
) -> Iterator[tuple[Executor | None, Heard]]:
    """Give workers, and what to tell of seconds heard and recordings done.

    On Ctrl-C the process ends within the block, as in :func:`working`.

    Parameters
    ----------
    workers : context manager of concurrent.futures.Executor or None
    recordings : int
        How many there are.
    seconds : float
        How long they are together, as far as that is known.
    """
    done = 0
    try:
        with workers as pool, _bar("hearing", _RealTime()) as show:
            heard = 0.0

            def count(more: float, over: int) -> None:
                nonlocal done, heard
                done, heard = done + over, heard + more
                show(round(heard), round(max(seconds, heard)))

            yield pool, count
    except KeyboardInterrupt:
        complain(
            f"interrupted with {done:,} of {recordings:,} recordings done; what is done is kept, "
            "run it again to go on"
        )
        sys.stdout.flush()
        os._exit(INTERRUPTED)


@contextmanager
def training(what: str, epochs: int, *, each_epoch: bool = True) -> Iterator[Listener]:
    """Show a progress bar of batches, with a line for each epoch, or the last one, above it."""
    from spectro.training.loop.progress import Listener

    first = 1 if each_epoch else epochs
    with counting(what, "batches") as count:
        yield Listener(
            batch=count, epoch=lambda row: _show_epoch(what, row, epochs, first), say=note
        )


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
        f"{dataset.name}: {counted(len(dataset.clips), 'clip')}, "
        f"{counted(len(dataset.labels), 'class', 'classes')}, "
        f"{counted(dataset.clips['fold'].nunique(), 'fold')}"
    )
    for line in dataset.notes:
        note(line)


def prediction(name: str, likely: Mapping[str, float], known: bool, top: int) -> None:
    """Print the likeliest classes of a file, and whether it sounds like any that was trained."""
    best = sorted(likely.items(), key=lambda item: -item[1])[:top]
    told = ", ".join(f"{shown(label)} {percent(p)}" for label, p in best)
    say(f"{shown(name)}: {told}" if known else f"{shown(name)}: unknown, none of these: {told}")


def row(values: Sequence[Any]) -> None:
    """Print a row of a CSV, on one line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([shown(value, _LONGEST_LINE) for value in values])
    OUT.print(text.getvalue())

"""Recordings of background, scored window by window once, and kept beside the thresholds.

The scored windows are the evidence that thresholds are chosen from. They are kept in the model
folder, ``thresholds/SITE-windows/``, a file a recording: a scoring that was interrupted goes on,
and another budget costs no second hearing.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from spectro.errors import AudioError, ModelError
from spectro.listening.backends import Backend, BackendName, open_backend
from spectro.listening.events.finding import ScoredWindow
from spectro.listening.recorders import beginning
from spectro.listening.scan import score_windows
from spectro.listening.thresholds import Background
from spectro.listening.thresholds.site import site_path
from spectro.listening.unread import unread
from spectro.plumbing.files import write_bytes
from spectro.plumbing.paths import check_no_link
from spectro.plumbing.workers import completed

__all__ = ["Hearing", "Scoring", "hear"]

_MOST_BYTES = 1 << 31  # of the windows of one recording
_MOST_HEADER = 1 << 16
_ABOUT_WINDOW = 4  # numbers before the probabilities: start, end, level, known

Rows = npt.NDArray[np.float64]


class Scoring(NamedTuple):
    """All that decides what the windows of a background are, and where they are kept.

    Parameters
    ----------
    folder : str
        Model folder.
    site : str
    model : str
        Hash of the model.
    backend : "auto", "torch", "onnx" or "int8"
        What runs it.
    hop : float or None
        Seconds from one window to the next; None means a window's length.
    """

    folder: str
    site: str
    model: str
    backend: BackendName
    hop: float | None

    @property
    def windows(self) -> Path:
        """Where the windows are kept."""
        path = site_path(self.folder, self.site)
        return path.with_name(f"{path.stem}-windows")

    def load(self) -> Backend:
        """Open the model."""
        return open_backend(self.folder, self.backend)


class Hearing(NamedTuple):
    """How the scoring of one recording went.

    Parameters
    ----------
    recording : str
    seconds : float
        Its length; 0 if it could not be read.
    error : str
        Why it could not be read; "" if it could.
    """

    recording: str
    seconds: float
    error: str = ""


def hear(
    recordings: Sequence[str],
    load: Callable[[], Backend],
    scoring: Scoring,
    executor: Executor | None = None,
) -> Iterator[tuple[Hearing, Background | None]]:
    """Score the recordings that were not scored before; give each with its windows.

    Parameters
    ----------
    recordings : sequence of str
        Sound files. One that cannot be read costs itself only.
    load : callable
        Gives the listener; called once in each process, and pickled where `executor` needs that.
    scoring : Scoring
    executor : concurrent.futures.Executor or None
        Threads, processes or a cluster; None scores here.

    Yields
    ------
    hearing : Hearing
    background : Background or None
        None of a recording that could not be read. In any order.

    Raises
    ------
    ModelError
        If the place of the windows is a symbolic link.
    """
    for place in (scoring.windows.parent, scoring.windows):
        check_no_link(place, ModelError)
    left = []
    for recording in recordings:
        windows = _kept(recording, scoring)
        if windows is None:
            left.append(recording)
        else:
            yield _heard(recording, windows)
    work = functools.partial(_score_jobs, load=load, scoring=scoring)
    batches = map(work, ([one] for one in left))
    for batch in batches if executor is None else completed(executor, work, left, len(left)):
        for told in batch:
            windows = None if told.error else _kept(told.recording, scoring)
            if windows is None:
                changed = f"{told.recording}: changed while it was heard; run it again"
                yield told._replace(error=told.error or changed), None
            else:
                yield _heard(told.recording, windows)


def _heard(recording: str, windows: list[ScoredWindow]) -> tuple[Hearing, Background]:
    seconds = windows[-1].end if windows else 0.0
    about = Background(recording, seconds / 3600, windows, _night(recording))
    return Hearing(recording, seconds), about


def _night(recording: str) -> str:
    """Name the night, from noon to noon, that a recording began in; "" if its time is not told."""
    try:
        began = beginning(recording).time
    except AudioError:
        return ""
    return "" if began is None else str((began - timedelta(hours=12)).date())


def _score_jobs(
    recordings: list[str], *, load: Callable[[], Backend], scoring: Scoring
) -> list[Hearing]:
    return [_score_job(recording, load, scoring) for recording in recordings]


def _score_job(recording: str, load: Callable[[], Backend], scoring: Scoring) -> Hearing:
    """Score one recording and keep its windows; of a bad one, say why it is."""
    listener = _loaded(load)
    try:
        key = _key(recording, scoring)  # before it is read: it may be growing
        rows = [_row(window) for window in score_windows(recording, listener, scoring.hop)]
    except AudioError as error:
        return Hearing(recording, 0.0, " ".join(str(error).split()))
    except OSError as error:
        return Hearing(recording, 0.0, unread(recording, error))
    width = _ABOUT_WINDOW + len(listener.card.labels)
    array = np.array(rows, dtype="<f8").reshape(-1, width)
    header = json.dumps({"key": key, "shape": array.shape}).encode() + b"\n"
    write_bytes(_place(recording, scoring), header + array.tobytes())
    return Hearing(recording, float(array[-1, 1]) if len(array) else 0.0)


@functools.lru_cache(maxsize=1)
def _loaded(load: Callable[[], Backend]) -> Backend:
    return load()


def _row(window: ScoredWindow) -> list[float]:
    about = (window.start, window.end, window.level, float(window.known))
    return [*about, *np.asarray(window.probabilities, dtype=np.float64)]


def _key(recording: str, scoring: Scoring) -> list[object]:
    """Return by what a recording is known to be the same, and scored the same."""
    about = os.stat(recording)
    file = (os.path.abspath(recording), about.st_size, about.st_mtime_ns)
    return [*file, scoring.model, scoring.backend, scoring.hop]


def _place(recording: str, scoring: Scoring) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.abspath(recording))).hexdigest()[:32]
    return scoring.windows / f"{name}.windows"


def _kept(recording: str, scoring: Scoring) -> list[ScoredWindow] | None:
    """Return the windows that were scored before; None if they must be scored."""
    path = _place(recording, scoring)
    try:
        if path.is_symlink() or path.stat().st_size > _MOST_BYTES:
            return None
        with path.open("rb") as file:
            rows = _rows(file, _key(recording, scoring))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if rows is None:
        return None
    return [ScoredWindow(r[0], r[1], r[_ABOUT_WINDOW:], float(r[2]), bool(r[3])) for r in rows]


def _rows(file: IO[bytes], key: list[object]) -> Rows | None:
    header = json.loads(file.readline(_MOST_HEADER))
    if header["key"] != key:
        return None
    count, width = header["shape"]
    rows: Rows = np.frombuffer(file.read(), dtype="<f8").reshape(count, width)
    p = rows[:, _ABOUT_WINDOW:]
    return rows if ((p >= 0) & (p <= 1 + 1e-6)).all() else None

"""The offline stage: every clip of a dataset to a picture, resumable, through any `Executor`.

A picture carries its clip's modification time, so what is up to date is known from the two files
alone: no journal to lose, and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image, UnidentifiedImageError

from spectro import rendered
from spectro.batches import completed
from spectro.config import SpectrogramConfig
from spectro.datasets.table import Dataset
from spectro.errors import AudioError, RenderError
from spectro.files import replacing
from spectro.spectrogram import clip_image, save_png

__all__ = ["RenderSummary", "render"]


class _Job(NamedTuple):
    """One clip to draw: all that a worker needs, small enough to send anywhere."""

    path: str
    start: float | None
    end: float | None
    image: str
    source: str


class _Outcome(NamedTuple):
    image: str
    drawn: bool
    reason: str = ""


@dataclass(frozen=True)
class RenderSummary:
    """What a run of :func:`render` did.

    Attributes
    ----------
    rendered, already_there, dropped : int
        Pictures drawn now, found up to date, and removed because their clip is gone.
    failures : pandas.DataFrame
        Clip table of what could not be drawn, plus ``reason``.
    seconds : float
        Time it took.
    """

    rendered: int
    already_there: int
    dropped: int
    failures: pd.DataFrame
    seconds: float


def render(
    dataset: Dataset,
    out: str | Path,
    config: SpectrogramConfig,
    *,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RenderSummary:
    """Draw every clip of `dataset` into the folder `out`.

    Clips whose picture is up to date are left alone. A clip that cannot be decoded is noted in
    ``failures.csv`` and stops nothing.

    Parameters
    ----------
    dataset : Dataset
        Clips to draw.
    out : str or Path
        Folder of the rendered set; see :mod:`spectro.rendered`.
    config : SpectrogramConfig
        How to draw them.
    executor : concurrent.futures.Executor or None
        Where the work is done. None means a thread for each processor: decoding, FFT and PNG all
        run outside Python's lock, and threads start at once and copy nothing.
    progress : callable or None
        Called with the number of clips done and the number of all.

    Returns
    -------
    RenderSummary

    Raises
    ------
    RenderError
        If `out` holds other pictures, or cannot be written to.
    """
    started = time.perf_counter()
    out = Path(out).absolute()  # workers elsewhere have another working directory
    clips = dataset.clips.assign(image=rendered.image_names(dataset.clips, dataset.root))
    try:
        rendered.claim(out, dataset, config)
        rendered.set_aside(out, dataset, clips)
        for fold in clips["fold"].unique():
            (out / f"fold{fold}").mkdir(exist_ok=True)
        outcomes = _draw_all(
            _jobs(clips, dataset.root, out), config, executor, progress, len(clips)
        )
        reason_of = {rendered.below(done.image, out): done.reason for done in outcomes}
        reasons = clips["image"].map(reason_of)
        failures = clips.assign(reason=reasons)[reasons != ""].drop(columns="image")
        dropped = rendered.write_tables(out, dataset, clips[reasons == ""], failures)
        for image in dropped:
            (out / image).unlink(missing_ok=True)
    except OSError as error:
        raise RenderError(
            f"{error.filename or out}: cannot write ({error.strerror or error}); "
            "what is done is kept, run it again to go on"
        ) from None
    drawn = sum(outcome.drawn for outcome in outcomes)
    return RenderSummary(
        rendered=drawn,
        already_there=len(clips) - len(failures) - drawn,
        dropped=len(dropped),
        failures=failures,
        seconds=time.perf_counter() - started,
    )


def _jobs(clips: pd.DataFrame, root: Path, out: Path) -> Iterator[_Job]:
    columns = (clips[name].tolist() for name in ("path", "start", "end", "image"))
    for path, start, end, image in zip(*columns, strict=True):
        # Names move from clip to clip as tables are edited: the picture says whose it is.
        source = f"{rendered.below(path, root)}|{start}|{end}"
        mark = hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()[:16]
        yield _Job(
            os.path.abspath(path), _second(start), _second(end), os.path.join(out, image), mark
        )


def _second(value: float) -> float | None:
    """Turn the table's NaN into None."""
    return None if math.isnan(value) else value


def _draw_all(
    jobs: Iterable[_Job],
    config: SpectrogramConfig,
    executor: Executor | None,
    progress: Callable[[int, int], None] | None,
    total: int,
) -> list[_Outcome]:
    """Draw through `executor`, or through a pool of our own that ends with the work."""
    own = executor is None
    pool = executor or ThreadPoolExecutor(os.cpu_count() or 1)
    outcomes: list[_Outcome] = []
    try:
        for batch in completed(pool, functools.partial(_draw_batch, config), jobs):
            outcomes += batch
            if progress is not None:
                progress(len(outcomes), total)
    finally:
        if own:
            pool.shutdown(cancel_futures=True)
    return outcomes


def _draw_batch(config: SpectrogramConfig, jobs: list[_Job]) -> list[_Outcome]:
    return [_draw(job, config) for job in jobs]


def _draw(job: _Job, config: SpectrogramConfig) -> _Outcome:
    """Draw one clip unless its picture is up to date."""
    try:
        modified = _modified(job.path)
        if _is_up_to_date(job, modified):
            return _Outcome(job.image, drawn=False)
        image = clip_image(job.path, config, start=job.start, end=job.end)
    except AudioError as error:
        Path(job.image).unlink(missing_ok=True)  # a picture of what the clip once was
        return _Outcome(job.image, drawn=False, reason=str(error).removeprefix(f"{job.path}: "))
    with replacing(job.image) as temporary:
        save_png(image, temporary, source=job.source)
        os.utime(temporary, ns=(modified, modified))
    return _Outcome(job.image, drawn=True)


def _modified(path: str) -> int:
    """Return a clip's modification time in nanoseconds."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError as error:
        raise AudioError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None


def _is_up_to_date(job: _Job, modified: int) -> bool:
    """Tell whether the picture is this clip's, and of the file as it is now."""
    try:
        if os.stat(job.image).st_mtime_ns != modified:
            return False
        with Image.open(job.image) as picture:
            return bool(picture.info.get("Source") == job.source)
    except (FileNotFoundError, UnidentifiedImageError):
        return False

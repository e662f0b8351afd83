"""The offline stage: every clip of a dataset to a picture, resumable, through any `Executor`.

What is up to date is known from clip and picture alone (:mod:`spectro.pictures.draw`): there is no journal
to lose, and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import functools
import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from spectro.clips.table import Dataset
from spectro.errors import RenderError
from spectro.pictures import rendered
from spectro.pictures.draw import Job, Outcome, draw_batch
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing import workers
from spectro.plumbing.batches import completed
from spectro.plumbing.paths import absolute, below, is_url, place
from spectro.plumbing.scratch import outside, scratch, sweep

__all__ = ["RenderSummary", "render"]


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
        Folder of the rendered set, or its URL; see :mod:`spectro.pictures.rendered`.
    config : SpectrogramConfig
        How to draw them.
    executor : concurrent.futures.Executor or None
        Where the work is done. None means a worker for each processor (:mod:`spectro.plumbing.workers`).
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
    folder = place(absolute(out))  # workers elsewhere have another working directory
    clips = dataset.clips.assign(image=rendered.image_names(dataset.clips, dataset.root))
    try:
        with _claimed(folder, dataset, config) as own:
            rendered.set_aside(folder, dataset, clips)
            for fold in clips["fold"].unique():
                (folder / f"fold{fold}").mkdir(parents=True, exist_ok=True)
            jobs = _jobs(clips, dataset.root, folder)
            drawn, failed = 0, {}
            for outcome in _draw_all(jobs, config, folder, executor, progress, len(clips)):
                drawn += outcome.drawn
                if outcome.reason:
                    failed[below(outcome.image, folder)] = outcome.reason
            reasons = clips["image"].map(failed)
            failures = clips.assign(reason=reasons)[reasons.notna()].drop(columns="image")
            done = clips[reasons.isna()]
            dropped = rendered.write_tables(folder, dataset, done, failures, own)
        for image in dropped:
            (folder / image).unlink(missing_ok=True)
    except OSError as error:
        where = outside(str(error.filename2 or error.filename or out))
        raise RenderError(
            f"{where}: cannot write ({error.strerror or error}); "
            "what is done is kept, run it again to go on"
        ) from None
    except BrokenExecutor:
        raise RenderError(
            f"{out}: a worker died, for want of memory perhaps; what is done is kept, run it again "
            "to go on, with fewer --workers"
        ) from None
    return RenderSummary(
        rendered=drawn,
        already_there=len(clips) - len(failures) - drawn,
        dropped=len(dropped),
        failures=failures,
        seconds=time.perf_counter() - started,
    )


@contextmanager
def _claimed(folder: Path, dataset: Dataset, config: SpectrogramConfig) -> Iterator[Path | None]:
    """Claim `folder`; yield a scratch folder in it, or None where it is a URL."""
    rendered.check_free(folder, dataset, config)
    if is_url(folder):
        rendered.claim(folder, dataset, config, None)
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    with scratch(folder) as own:
        rendered.claim(folder, dataset, config, own)
        yield own


def _jobs(clips: pd.DataFrame, root: Path, out: Path) -> Iterator[Job]:
    columns = (clips[name].tolist() for name in ("path", "start", "end", "image"))
    for path, start, end, image in zip(*columns, strict=True):
        # Names move from clip to clip as tables are edited: the picture says whose it is.
        source = f"{below(path, root)}|{start}|{end}"
        mark = hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()[:16]
        yield Job(absolute(path), _second(start), _second(end), f"{out}/{image}", mark)


def _second(value: float) -> float | None:
    """Turn the table's NaN into None."""
    return None if math.isnan(value) else value


def _draw_all(
    jobs: Iterable[Job],
    config: SpectrogramConfig,
    out: Path,
    executor: Executor | None,
    progress: Callable[[int, int], None] | None,
    total: int,
) -> Iterator[Outcome]:
    """Draw through `executor`, or through workers of our own that end with the work."""
    work = functools.partial(draw_batch, config, str(out))
    done = 0
    with nullcontext(executor) if executor else workers.pool() as pool:
        for batch in completed(pool, work, jobs, total):
            yield from batch
            done += len(batch)
            if progress is not None:
                progress(done, total)

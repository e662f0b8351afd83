"""The offline stage: every clip of a dataset to a picture, resumable, through any `Executor`.

What is up to date is known from clip and picture alone: there is no journal to lose, and an
interrupted run goes on where it stopped.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image

from spectro.clips.clip import Clip, check_name, clips_of
from spectro.clips.table import Dataset
from spectro.errors import AudioError, RenderError
from spectro.pictures import rendered
from spectro.pictures.names import image_names
from spectro.pictures.read import is_whole, picture_size
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import load_extent, save_png, spectrogram_image
from spectro.plumbing import workers
from spectro.plumbing.files import open_regular, scratch, sweep, without_scratch
from spectro.plumbing.paths import absolute, below, is_url, modified, place
from spectro.plumbing.workers import completed

__all__ = ["Job", "Outcome", "RenderSummary", "draw_batch", "render"]

_TIME = 1_700_000_001_123_456_789  # ns since 1970, which no coarser time can stand for
_STEPS = (1, 100, 1_000, 10_000_000, 1_000_000_000, 2_000_000_000)  # ns: NTFS, exFAT, HFS+, FAT


class Job(NamedTuple):
    """One clip to draw: all that a worker needs, small enough to send anywhere.

    `step` is how finely, in nanoseconds, the disk of the pictures keeps times.
    """

    clip: Clip
    image: str
    mark: str
    step: int = 1


class Outcome(NamedTuple):
    """What became of it: drawn now or found up to date; or, with a reason, neither.

    `seconds` is the length of a clip that is longer than its picture, else 0. It is known of clips
    drawn now, in formats that say how long they are.
    """

    image: str
    drawn: bool
    reason: str = ""
    seconds: float = 0.0


def draw_batch(config: SpectrogramConfig, out: str, jobs: list[Job]) -> list[Outcome]:
    """Draw the clips of `jobs` whose pictures, all below the folder `out`, are not up to date.

    Raises
    ------
    OSError
        If a picture cannot be written.
    """
    outcomes, stale = [], []
    for job in jobs:
        try:
            time = _changed(job.clip.path)
        except AudioError as error:
            outcomes.append(_failed(job, error))
            continue
        if _is_up_to_date(job, time):
            outcomes.append(Outcome(job.image, drawn=False))
        else:
            stale.append((job, time))
    if not stale:
        return outcomes
    if is_url(out):
        return outcomes + [_draw(job, config, time, None) for job, time in stale]
    with scratch(Path(out)) as own:
        return outcomes + [_draw(job, config, time, own / "picture.png") for job, time in stale]


def _draw(job: Job, config: SpectrogramConfig, time: int, temporary: Path | None) -> Outcome:
    """Draw one clip, through `temporary` on a disk; an object store shows only whole files."""
    try:
        y, extent = load_extent(job.clip.path, config, start=job.clip.start, end=job.clip.end)
        image = spectrogram_image(y, config)
    except AudioError as error:
        return _failed(job, error)
    png = io.BytesIO()
    save_png(image, png, source=_source(job, time))
    if temporary is None:
        place(job.image).write_bytes(png.getvalue())
    else:
        temporary.write_bytes(png.getbuffer())
        os.utime(temporary, ns=(time, time))
        temporary.replace(job.image)
    return Outcome(job.image, drawn=True, seconds=extent.cut)


def _failed(job: Job, error: AudioError) -> Outcome:
    place(job.image).unlink(missing_ok=True)  # a picture of what the clip once was
    return Outcome(job.image, drawn=False, reason=str(error).removeprefix(f"{job.clip.path}: "))


def _changed(path: str) -> int:
    """Return a clip's modification time in nanoseconds."""
    check_name(path)
    try:
        return modified(path)
    except OSError as error:
        raise AudioError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None


def _time_step(folder: Path) -> int:
    """Find out how finely a disk keeps times, in nanoseconds: FAT every other second only."""
    probe = folder / "time"
    probe.touch()
    os.utime(probe, ns=(_TIME, _TIME))
    off = abs(probe.stat().st_mtime_ns - _TIME)
    probe.unlink()
    return next((step for step in _STEPS if off < step), _STEPS[-1])


def _source(job: Job, time: int) -> str:
    return f"{job.mark} {time}" if is_url(job.image) else job.mark


def _is_up_to_date(job: Job, time: int) -> bool:
    """Tell whether the picture is this clip's, of the file as it is now, and whole."""
    try:
        if not is_url(job.image) and abs(os.stat(job.image).st_mtime_ns - time) >= job.step:
            return False
        with open_regular(job.image) as file:
            picture_size(file)
            with Image.open(file, formats=("PNG",)) as image:
                same = image.info.get("Source") == _source(job, time)
            return same and is_whole(file)
    except PermissionError:
        raise
    except (OSError, SyntaxError, ValueError):  # gone, cut, or no picture at all: draw it anew
        return False


_GO_ON = "what is done is kept, run it again to go on"


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
    cut : int
        Clips drawn now that are longer than their picture, which shows a part of them.
    longest : float
        Length of the longest of them in seconds.
    """

    rendered: int
    already_there: int
    dropped: int
    failures: pd.DataFrame
    seconds: float
    cut: int = 0
    longest: float = 0.0


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
        Where the work is done. None means a worker for each processor.
    progress : callable or None
        Called with the number of clips done and the number of all.

    Returns
    -------
    RenderSummary

    Raises
    ------
    RenderError
        If `out` holds other pictures, or cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> from spectro import SpectrogramConfig, load_dataset, render, write_sample
    >>> folder = tempfile.mkdtemp()
    >>> sounds = write_sample(folder, sources=1, slices=1, folds=2, classes=("siren", "dog_bark"))
    >>> summary = render(load_dataset(sounds), f"{folder}/pictures", SpectrogramConfig())
    >>> summary.rendered, summary.already_there, len(summary.failures)
    (4, 0, 0)
    """
    started = time.perf_counter()
    folder = place(absolute(out))  # workers elsewhere have another working directory
    clips = dataset.clips.assign(image=image_names(dataset.clips, dataset.root))
    with _failing_in_words(out):
        with _claimed(folder, dataset, config) as own:
            rendered.set_aside(folder, dataset, clips)
            for fold in clips["fold"].unique():
                (folder / f"fold{fold}").mkdir(parents=True, exist_ok=True)
            step = 1 if own is None else _time_step(own)
            jobs = (job._replace(step=step) for job in _jobs(clips, dataset.root, folder))
            drawn, failed, cut = 0, {}, []
            for outcome in _draw_all(jobs, config, folder, executor, progress, len(clips)):
                drawn += outcome.drawn
                cut += [outcome.seconds] * (outcome.seconds > 0)
                if outcome.reason:
                    failed[below(outcome.image, folder)] = outcome.reason
            reasons = clips["image"].map(failed)
            failures = clips.assign(reason=reasons)[reasons.notna()].drop(columns="image")
            done = clips[reasons.isna()]
            dropped = rendered.write_tables(folder, dataset, done, failures, own)
        for image in dropped:
            (folder / image).unlink(missing_ok=True)
    return RenderSummary(
        rendered=drawn,
        already_there=len(clips) - len(failures) - drawn,
        dropped=len(dropped),
        failures=failures,
        seconds=time.perf_counter() - started,
        cut=len(cut),
        longest=max(cut, default=0.0),
    )


@contextmanager
def _failing_in_words(out: str | Path) -> Iterator[None]:
    """Turn a disk that cannot be written, or a worker that died, into one line."""
    try:
        yield
    except OSError as error:
        where = without_scratch(str(error.filename2 or error.filename or out))
        in_the_way = isinstance(error, (NotADirectoryError, FileExistsError))
        way = "a file is in its way: name another folder" if in_the_way else _GO_ON
        raise RenderError(f"{where}: cannot write ({error.strerror or error}); {way}") from None
    except BrokenExecutor:
        raise RenderError(
            f"{out}: a worker died, for want of memory perhaps; {_GO_ON}, with fewer --workers"
        ) from None


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
    for clip, image in zip(clips_of(clips), clips["image"], strict=True):
        whole = clip._replace(path=absolute(clip.path))
        yield Job(whole, f"{out}/{image}", _mark(clip, root))


def _mark(clip: Clip, root: Path) -> str:
    """Say whose picture it is: names move from clip to clip as tables are edited."""
    start, end = ("nan" if second is None else second for second in (clip.start, clip.end))
    source = f"{below(clip.path, root)}|{start}|{end}"
    return hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()[:16]


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

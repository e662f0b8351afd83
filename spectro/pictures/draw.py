"""One clip's picture: drawn unless it is up to date. What a worker does, wherever it runs.

On a disk a picture carries its clip's modification time, and within it a mark of the clip it shows:
what is up to date is known from the two files alone. An object store keeps its own times, so there
the time is part of the mark.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from spectro.errors import AudioError
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image, save_png
from spectro.plumbing.paths import is_url, modified, place
from spectro.plumbing.scratch import scratch

__all__ = ["Job", "Outcome", "draw_batch"]


class Job(NamedTuple):
    """One clip to draw: all that a worker needs, small enough to send anywhere."""

    path: str
    start: float | None
    end: float | None
    image: str
    mark: str


class Outcome(NamedTuple):
    """What became of it: drawn now or found up to date; or, with a reason, neither."""

    image: str
    drawn: bool
    reason: str = ""


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
            time = _changed(job.path)
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
        image = clip_image(job.path, config, start=job.start, end=job.end)
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
    return Outcome(job.image, drawn=True)


def _failed(job: Job, error: AudioError) -> Outcome:
    place(job.image).unlink(missing_ok=True)  # a picture of what the clip once was
    return Outcome(job.image, drawn=False, reason=str(error).removeprefix(f"{job.path}: "))


def _changed(path: str) -> int:
    """Return a clip's modification time in nanoseconds."""
    try:
        return modified(path)
    except OSError as error:
        raise AudioError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None


def _source(job: Job, time: int) -> str:
    return f"{job.mark} {time}" if is_url(job.image) else job.mark


def _is_up_to_date(job: Job, time: int) -> bool:
    """Tell whether the picture is this clip's, and of the file as it is now."""
    picture = place(job.image)
    try:
        if not is_url(job.image) and picture.stat().st_mtime_ns != time:
            return False
        with picture.open("rb") as file, Image.open(file) as image:
            return bool(image.info.get("Source") == _source(job, time))
    except (FileNotFoundError, UnidentifiedImageError):
        return False

"""Clips and pictures of events, to listen to and look at: a bounded number of each class.

Half of them are the surest; the other half those that were nearly no events, from which one learns
whether a threshold is right.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf

from spectro.clips.decode import Samples, decode
from spectro.clips.waveform import load
from spectro.errors import AudioError, DatasetError
from spectro.listening.events.annotations import alike
from spectro.listening.events.finding import Event
from spectro.listening.events.tables import decimal, guard, unicode_only
from spectro.listening.outputs import Results
from spectro.models.card import ModelCard
from spectro.pictures.spectrogram import save_png, spectrogram_image
from spectro.plumbing.files import is_taken, replacing_folder

__all__ = ["choose", "class_folders", "write_evidence"]

_AROUND = 0.5  # s of sound before and behind an event
_LONGEST = 30.0  # s of a clip: an event may last for hours
_INDEX = "evidence.csv"
_COLUMNS = ("clip", "picture", "why", "recording", "start", "end", "label", "probability", "peak")
_MOST_NAME = 120  # bytes: 60 characters may have 240, and a name 255 in all
_MOST_RATE, _MOST_CHANNELS = 655_350, 8  # of FLAC


def choose(events: Iterable[Event], quota: int) -> list[tuple[Event, str]]:
    """Choose at most `quota` events of each class: the surest first, and the nearest to none.

    Returns
    -------
    chosen : list of (Event, str)
        With "sure" or "borderline", by class, recording and start.

    Notes
    -----
    All events are gone through once, and at most ``2 * quota`` of a class are held.
    """
    sure: dict[str, list[Event]] = {}
    border: dict[str, list[Event]] = {}
    for event in events:
        for kept, key, most in ((sure, _surest, quota), (border, _weakest, quota // 2)):
            held = kept.setdefault(event.label, [])
            held.append(event)
            if len(held) > 2 * most + 16:
                held.sort(key=key)
                del held[most:]
    chosen: list[tuple[Event, str]] = []
    for label in sorted(sure):
        weak = sorted(border[label], key=_weakest)[: quota // 2]
        strong = sorted(sure[label], key=_surest)
        rest = [event for event in strong if event not in weak][: quota - len(weak)]
        pairs = [*((event, "sure") for event in rest), *((event, "borderline") for event in weak)]
        chosen += sorted(pairs, key=lambda pair: (pair[0].recording, pair[0].start))
    return chosen


def _surest(event: Event) -> tuple[float, str, float]:
    return -event.peak, event.recording, event.start


def _weakest(event: Event) -> tuple[float, str, float]:
    return event.peak, event.recording, event.start


def write_evidence(results: Results, quota: int) -> Path:
    """Write ``evidence/CLASS/*.flac`` with a picture each, and ``evidence/evidence.csv``.

    What a scan before this one wrote there is replaced.

    Parameters
    ----------
    results : Results
    quota : int
        Events of a class at most.

    Returns
    -------
    folder : Path

    Raises
    ------
    DatasetError
        If there is a folder of that name that spectro did not write.
    """
    folder = results.out / "evidence"
    if is_taken(folder) and not (folder / _INDEX).is_file():
        raise DatasetError(f"{folder}: spectro did not write it; move it, or choose another --out")
    with replacing_folder(folder) as new:
        folders = class_folders(results.card.labels)
        rows = [
            _write(event, why, f"{folders[event.label]}/{number:04d}", new, results.card)
            for number, (event, why) in enumerate(choose(results.events(), quota), 1)
        ]
        buffer = io.StringIO()
        table = csv.writer(buffer, lineterminator="\n")
        table.writerows([_COLUMNS, *rows])
        (new / _INDEX).write_text(buffer.getvalue(), encoding="utf-8", newline="\n")
    return folder


def _write(event: Event, why: str, place: str, folder: Path, card: ModelCard) -> list[str]:
    """Write the clip and the picture of an event; return its row, without them if it is gone."""
    stem = f"{place}-{plain(Path(event.recording).stem)}-{event.start:.1f}s"
    clip, picture = f"{stem}.flac", f"{stem}.png"
    (folder / clip).parent.mkdir(exist_ok=True)
    start, end = span(event)
    spectrogram = card.spectrogram
    try:
        heard = decode(Path(event.recording), start=start, end=end)
        y = load(
            event.recording, sr=spectrogram.sr, start=start, end=end, channels=spectrogram.channels
        )
    except (AudioError, OSError):  # moved or changed since
        clip, picture = "", ""
    else:  # a full disk is no such thing
        (folder / clip).write_bytes(flac(*heard))
        save_png(spectrogram_image(y, spectrogram), folder / picture, source=event.recording)
    numbers = [decimal(value) for value in (event.start, event.end, event.probability, event.peak)]
    names = [guard(unicode_only(text)) for text in (event.recording, event.label)]
    return [clip, picture, why, names[0], *numbers[:2], names[1], *numbers[2:]]


def span(event: Event) -> tuple[float, float]:
    """Return from when to when an event's clip goes: a little more than the event, not too long."""
    start = max(0.0, event.start - _AROUND)
    return start, min(event.end + _AROUND, start + _LONGEST)


def flac(samples: Samples, sr: int) -> bytes:
    """Encode samples, shape (n, channels), as 16-bit FLAC; of very many channels, their mean."""
    if samples.shape[1] > _MOST_CHANNELS:
        samples = samples.mean(axis=1, keepdims=True)
    while sr > _MOST_RATE:  # which FLAC does not know
        samples, sr = samples[::2], sr // 2
    file = io.BytesIO()
    sf.write(file, np.clip(samples, -1, 1), sr, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def class_folders(labels: Sequence[str]) -> dict[str, str]:
    """Name a folder for each class: those that would have the same get a number.

    Examples
    --------
    >>> class_folders(["owl", "a/b", "a_b", "A_B"])
    {'owl': 'owl', 'a/b': 'a_b', 'a_b': 'a_b-2', 'A_B': 'A_B-3'}
    """
    folders: dict[str, str] = {}
    taken: set[str] = set()
    for label in dict.fromkeys(labels):
        name = folder = plain(label)
        number = 1
        while alike(folder) in taken:
            number += 1
            folder = f"{name}-{number}"
        taken.add(alike(folder))
        folders[label] = folder
    return folders


def plain(text: str) -> str:
    r"""Write a text so that every system takes it as a file's name, of at most 120 bytes.

    Examples
    --------
    >>> plain("dog/bark: ä"), plain(".."), plain("con")
    ('dog_bark_ ä', '_', '_con')
    """
    name = re.sub(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\ud800-\udfff]', "_", unicode_only(text))[:60]
    while len(name.encode()) > _MOST_NAME:
        name = name[:-1]
    name = name.strip(". ") or "_"
    reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)
    return f"_{name}" if reserved else name

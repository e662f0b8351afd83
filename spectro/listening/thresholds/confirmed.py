"""Background from recordings that people have judged: what they confirmed is cut out of it.

So the recordings of a review, in which some of the events were real, are background too.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from spectro.listening.events.finding import ScoredWindow
from spectro.listening.review.verdicts import read_verdicts
from spectro.listening.thresholds import Background

__all__ = ["Stretches", "read_confirmed", "without"]

Stretches = Mapping[str, Sequence[tuple[float, float]]]  # by recording: start and end, seconds


def read_confirmed(paths: Iterable[str | Path], labels: Iterable[str]) -> Stretches:
    """Read from verdicts where one of the classes was to be heard.

    An owl that was heard as a siren, and named an owl, stays background if there is no class of
    owls: it is a false alarm of the place.

    Parameters
    ----------
    paths : iterable of str or Path
        Tables of ``spectro review``.
    labels : iterable of str
        Classes that are raised.

    Returns
    -------
    stretches : mapping
        By the absolute path of the recording.

    Raises
    ------
    DatasetError
        If one is no such table.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    known = set(labels)
    for path in map(Path, paths):
        for one in read_verdicts(path):
            if one.verdict != "no" and one.label in known:
                recording = os.path.realpath(path.parent / one.path)
                found.setdefault(recording, []).append((float(one.start), float(one.end)))
    return found


def without(background: Background, stretches: Stretches) -> Background:
    """Cut the windows that touch a confirmed sound out of a background, with their time.

    Parameters
    ----------
    background : Background
    stretches : mapping
        Of :func:`read_confirmed`.

    Returns
    -------
    Background
        Its hours may be 0.
    """
    sounds = stretches.get(os.path.realpath(background.recording), ())
    if not sounds:
        return background
    touched = [
        any(start < window.end and window.start < end for start, end in sounds)
        for window in background.windows
    ]
    left = list(itertools.compress(background.windows, (not cut for cut in touched)))
    seconds = _covered(itertools.compress(background.windows, touched))
    hours = max(0.0, background.hours - seconds / 3600) if left else 0.0
    return background._replace(hours=hours, windows=left)


def _covered(windows: Iterable[ScoredWindow]) -> float:
    """Return how many seconds windows cover that may overlap, in order of time."""
    seconds = last = 0.0
    for window in windows:
        seconds += window.end - min(window.end, max(window.start, last))
        last = window.end
    return seconds

"""Background from recordings that people have judged: what they confirmed is cut out of it.

So the recordings of a review, in which some of the events were real, are background too.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from spectro.listening.events.finding import ScoredWindow
from spectro.listening.review.verdicts import read_verdicts
from spectro.listening.thresholds import Background

__all__ = ["Stretches", "read_confirmed", "without"]

Stretches = Mapping[str, Sequence[tuple[float, float]]]  # by recording: start and end, seconds


def read_confirmed(paths: Iterable[str | Path]) -> Stretches:
    """Read from verdicts where something was: "yes", or another class.

    Parameters
    ----------
    paths : iterable of str or Path
        Tables of ``spectro review``.

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
    for path in map(Path, paths):
        for one in read_verdicts(path):
            if one.verdict != "no":
                recording = os.path.abspath(path.parent / one.path)
                found.setdefault(recording, []).append((float(one.start), float(one.end)))
    return found


def without(background: Background, stretches: Stretches) -> Background:
    """Cut the windows that touch a confirmed sound out of a background.

    They raise nothing, and their hours do not count.

    Parameters
    ----------
    background : Background
    stretches : mapping
        Of :func:`read_confirmed`.
    """
    sounds = stretches.get(os.path.abspath(background.recording), ())
    if not sounds:
        return background
    touched = [
        any(start < window.end and window.start < end for start, end in sounds)
        for window in background.windows
    ]
    windows = [
        _unheard(window) if cut else window
        for window, cut in zip(background.windows, touched, strict=True)
    ]
    seconds = _covered(itertools.compress(background.windows, touched))
    return Background(background.recording, background.hours - seconds / 3600, windows)


def _unheard(window: ScoredWindow) -> ScoredWindow:
    return window._replace(probabilities=np.zeros_like(window.probabilities))


def _covered(windows: Iterable[ScoredWindow]) -> float:
    """Return how many seconds windows cover that may overlap, in order of time."""
    seconds = last = 0.0
    for window in windows:
        seconds += window.end - min(window.end, max(window.start, last))
        last = window.end
    return seconds

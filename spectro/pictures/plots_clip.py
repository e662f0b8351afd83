"""Pictures of one clip for a person: its waveform, its spectrogram, with axes.

The spectrogram is the one that a network sees, through the same functions; only the axes are new.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectro.clips.decode import decode
from spectro.clips.waveform import Waveform
from spectro.pictures.plots import draw_spectrogram
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import Spectrogram, load_clip, melspectrogram, power_to_db
from spectro.plumbing.paths import place

__all__ = ["What", "clip"]

What = Literal["waveform", "spectrogram", "both"]

_COLUMNS = 2_000  # of a waveform's outline: more than a plot has pixels
_DRAWN_WHOLE = 20_000  # samples: a waveform of more is drawn by its outline


def clip(path: str | Path, config: SpectrogramConfig, what: What = "both") -> Figure:
    """Draw a clip.

    Parameters
    ----------
    path : str or Path
        A file that libsndfile reads.
    config : SpectrogramConfig
        How to draw the spectrogram.
    what : "waveform", "spectrogram" or "both"
        The waveform is of the whole file as it is, a row a channel; the spectrogram, below it, is
        what rendering makes of it.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    AudioError
        If the file cannot be decoded.
    """
    samples, sr = decode(place(path)) if what != "spectrogram" else (np.empty((0, 0)), config.sr)
    spectra = _spectra(path, config) if what != "waveform" else []
    rows = samples.shape[1] + len(spectra)
    figure = Figure(figsize=(9, 1.2 + 1.9 * rows), layout="constrained")
    axes = list(figure.subplots(rows, 1, squeeze=False)[:, 0])
    for number, (axis, channel) in enumerate(zip(axes, samples.T, strict=False), start=1):
        _waveform(axis, channel, sr)
        axis.set_ylabel("sample" if samples.shape[1] == 1 else f"channel {number}")
    for number, (axis, S_db) in enumerate(zip(axes[samples.shape[1] :], spectra, strict=True), 1):
        _spectrogram(figure, axis, S_db, config)
        axis.set_ylabel("frequency, Hz" if len(spectra) == 1 else f"channel {number}, Hz")
    axes[0].set_title(Path(path).name)
    axes[-1].set_xlabel("time, s")
    return figure


def _waveform(axis: Axes, y: Waveform, sr: int) -> None:
    """Draw the samples, or, of many, the lowest and highest of each stretch."""
    if len(y) <= _DRAWN_WHOLE:
        axis.plot(np.arange(len(y)) / sr, y, lw=0.8)
    else:
        starts = np.arange(0, len(y), -(-len(y) // _COLUMNS))
        lowest, highest = (f.reduceat(y, starts) for f in (np.minimum, np.maximum))
        axis.fill_between(starts / sr, lowest, highest, step="post", lw=0.8, edgecolor="C0")
    axis.set_xlim(0, len(y) / sr)
    axis.grid(alpha=0.3)


def _spectra(path: str | Path, config: SpectrogramConfig) -> list[Spectrogram]:
    """Compute decibels, of each channel that the picture shows."""
    S_db = power_to_db(melspectrogram(load_clip(path, config), config), ref=config.ref)
    return list(S_db) if S_db.ndim == 3 else [S_db]


def _spectrogram(figure: Figure, axis: Axes, S_db: Spectrogram, config: SpectrogramConfig) -> None:
    mesh = draw_spectrogram(axis, S_db, config, config.duration)
    zero = "the clip's maximum" if config.ref == "max" else f"a power of {config.ref:g}"
    figure.colorbar(mesh, ax=axis, format="%d").set_label(f"dB, 0 is {zero}", size="small")

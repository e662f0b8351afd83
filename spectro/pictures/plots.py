"""Pictures of signals: waveforms, spectrograms with their axes, and what was heard when.

Each function returns a matplotlib figure, for a notebook to show or :func:`save` to write.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from PIL import Image

from spectro.clips import waveform as audio
from spectro.clips.choices import PadPolicy
from spectro.clips.clip import printable
from spectro.clips.decode import Part, Samples, open_part
from spectro.pictures.mel import band_frequencies
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import (
    Spectrogram,
    db_limits,
    load_clip,
    melspectrogram,
    power_to_db,
)
from spectro.plumbing.files import open_regular, write_bytes
from spectro.plumbing.paths import place

__all__ = [
    "PNG",
    "What",
    "clip",
    "draw_spectrogram",
    "examples",
    "save",
    "spectrograms",
    "timeline",
    "waveforms",
]

PNG = b"\x89PNG\r\n"
"""What a file that :func:`save` writes starts with."""

_MOST_ROWS = 60  # classes shown; matplotlib's pictures end at 65,536 pixels
_COLUMNS = 3
_TICKS = (250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000)  # Hz


def waveforms(sounds: Mapping[str, audio.Waveform], sr: int) -> Figure:
    """Draw waveforms below each other, on the same axes.

    Parameters
    ----------
    sounds : mapping of str to np.ndarray [shape=(n,)], float32
        Each with its title.
    sr : int
        Sampling rate in Hz.
    """
    figure = Figure(figsize=(9, 0.6 + 1.3 * len(sounds)), layout="constrained")
    axes = figure.subplots(len(sounds), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    loudest = max(float(np.abs(y).max()) for y in sounds.values())
    for axis, (title, y) in zip(axes, sounds.items(), strict=True):
        axis.plot(np.arange(len(y)) / sr, y, lw=0.4)
        axis.set_title(title, loc="left", fontsize="medium")
        axis.grid(alpha=0.3)
    longest = max(len(y) for y in sounds.values())
    axes[-1].set(xlabel="time, s", xlim=(0, longest / sr), ylim=(-1.1 * loudest, 1.1 * loudest))
    figure.supylabel("amplitude (1 is full scale)", fontsize="medium")
    return figure


def spectrograms(pictures: Mapping[str, tuple[audio.Waveform, SpectrogramConfig]]) -> Figure:
    """Draw the pictures that waveforms become, with axes in seconds and Hz and a scale in dB.

    Pixel for pixel what :func:`spectro.pictures.spectrogram.spectrogram_image` draws.

    Parameters
    ----------
    pictures : mapping of str to (waveform, SpectrogramConfig)
        What to draw and how, each with its title.
    """
    columns = 2 if len(pictures) == 4 else min(len(pictures), _COLUMNS)
    rows = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(1.2 + 3.6 * columns, 0.3 + 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, (title, (y, config)) in zip(axes.flat, pictures.items(), strict=False):
        S_db = power_to_db(melspectrogram(y, config), ref=config.ref)
        image = draw_spectrogram(axis, S_db, config, len(y) / config.sr)
        axis.set_title(title, fontsize="medium")
        _scale(figure, image, axis)
    for axis in axes[:, 0]:
        axis.set_ylabel("frequency, Hz")
    for axis in axes.flat[len(pictures) :]:
        axis.set_axis_off()
    for axis in axes.flat[max(0, len(pictures) - columns) : len(pictures)]:
        axis.set_xlabel("time, s")
    return figure


def timeline(
    path: str | Path,
    predictions: pd.DataFrame,
    config: SpectrogramConfig,
    truth: pd.DataFrame | None = None,
) -> Figure:
    """Draw a recording and, below it on the same time axis, the probability of each class.

    Parameters
    ----------
    path : str or Path
        The recording; read in windows, so that only its spectrogram is ever in memory.
    predictions : pandas.DataFrame
        Of :meth:`spectro.listening.classifier.Classifier.predict_long`.
    config : SpectrogramConfig
        How the spectrogram is drawn: the model's own.
    truth : pandas.DataFrame or None
        ``start``, ``end`` and ``label`` of what sounds in it, drawn as frames if it is known.
    """
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    lasts = float(predictions["end"].max())
    parts = audio.windows(path, sr=config.sr, duration=config.duration)
    S = np.concatenate([_fresh(window, part, config) for window, part in _once(parts)], axis=1)
    image = draw_spectrogram(above, power_to_db(S, ref=config.ref), config, lasts)
    above.set_ylabel("frequency, Hz")
    _scale(figure, image, above)
    heat = _draw_probabilities(below, predictions)
    figure.colorbar(heat, ax=below, pad=0.02, label="probability")
    if truth is not None:
        _frame(below, truth, _labels(predictions))
    below.set(xlabel="time, s", xlim=(0, lasts))
    return figure


def draw_spectrogram(
    axis: Axes, S_db: Spectrogram, config: SpectrogramConfig, lasts: float
) -> AxesImage:
    """Draw a mel-spectrogram, one cell a band and frame, with frequencies where their bands are.

    Parameters
    ----------
    axis : matplotlib.axes.Axes
        Where.
    S_db : np.ndarray [shape=(n_mels, n_frames)], float32
        Decibels.
    config : SpectrogramConfig
        How it was computed, and its range and colours.
    lasts : float
        Seconds that it shows.
    """
    bottom, top = db_limits(S_db, config)
    bands = band_frequencies(config)
    image = axis.imshow(
        np.maximum(S_db, bottom),  # silence is minus infinity
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=config.cmap,
        norm=Normalize(bottom, top),
        extent=(0, lasts, -0.5, config.n_mels - 0.5),
    )
    ticks = [hz for hz in _TICKS if bands[0] <= hz <= bands[-1]]
    axis.set_yticks(np.interp(ticks, bands, np.arange(len(bands))), [f"{hz:,}" for hz in ticks])
    return image


def _scale(figure: Figure, image: AxesImage, axis: Axes) -> None:
    figure.colorbar(image, ax=axis, format="%.0f dB", pad=0.02, ticks=MaxNLocator(5))


def _once(windows: Iterator[audio.Window]) -> Iterator[tuple[audio.Window, float]]:
    """Give each window with the second from which on it is new: the last one overlaps another."""
    known = 0.0
    for window in windows:
        yield window, known - window.start
        known = window.end


def _fresh(window: audio.Window, since: float, config: SpectrogramConfig) -> Spectrogram:
    """Compute the spectrogram of what is new in a window."""
    S = melspectrogram(window.y[round(since * config.sr) :], config)
    return S[:, : max(1, S.shape[1] - 1)]  # the frame behind the end is the next one's first


def _draw_probabilities(axis: Axes, predictions: pd.DataFrame) -> QuadMesh:
    """Draw a column a window, centred on its middle, and a row a class."""
    labels = _labels(predictions)
    middles = ((predictions["start"] + predictions["end"]) / 2).to_numpy()
    between = (middles[1:] + middles[:-1]) / 2
    edges = [predictions["start"].min(), *between, predictions["end"].max()]
    heat = axis.pcolormesh(
        edges,
        np.arange(len(labels) + 1) - 0.5,
        predictions[[f"p_{label}" for label in labels]].to_numpy().T,
        cmap="Blues",
        vmin=0,
        vmax=1,
    )
    axis.set_yticks(range(len(labels)), labels)
    axis.invert_yaxis()
    return heat


def _frame(axis: Axes, truth: pd.DataFrame, labels: list[str]) -> None:
    """Frame what sounds when; a class that the model does not know is drawn nowhere."""
    for event in truth[truth["label"].isin(labels)].to_dict("records"):
        start, end = event["start"], event["end"]
        corner = (start, labels.index(event["label"]) - 0.45)
        axis.add_patch(Rectangle(corner, end - start, 0.9, fill=False, ec="C1", lw=2))


def _labels(predictions: pd.DataFrame) -> list[str]:
    return [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]


What = Literal["waveform", "spectrogram", "both"]

_CUT = 0.01  # seconds too many that are no cut
_OUTLINE = 2_000  # of a waveform's outline: more than a plot has pixels
_DRAWN_WHOLE = 20_000  # samples: a waveform of more is drawn by its outline


def clip(
    path: str | Path,
    config: SpectrogramConfig,
    what: What = "both",
    *,
    picture: float | None = None,
) -> Figure:
    """Draw a clip.

    Parameters
    ----------
    path : str or Path
        As for :func:`spectro.clips.waveform.load`.
    config : SpectrogramConfig
        How to draw the spectrogram.
    what : "waveform", "spectrogram" or "both"
        The waveform is of the whole file as it is, a row a channel; the spectrogram, below it, is
        what rendering makes of it.
    picture : float or None
        Length in seconds of the picture that training sees, ``config.duration`` if None: what of a
        longer clip it leaves out is shaded. Where the part is drawn at random, nothing is.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    AudioError
        If the file cannot be decoded.
    """
    sound = _outline(path) if what != "spectrogram" else None
    spectra = _spectra(path, config) if what != "waveform" else []
    channels = len(sound.high) if sound else 0
    rows = channels + len(spectra)
    figure = Figure(figsize=(9, 1.2 + 1.9 * rows), layout="constrained")
    axes = list(figure.subplots(rows, 1, squeeze=False)[:, 0])
    for number, axis in enumerate(axes[:channels]):
        assert sound is not None
        _waveform(axis, sound, number)
        axis.set_ylabel("sample" if channels == 1 else f"channel {number + 1}")
    for number, (axis, S_db) in enumerate(zip(axes[channels:], spectra, strict=True), 1):
        _spectrogram(figure, axis, S_db, config)
        axis.set_ylabel("frequency, Hz" if len(spectra) == 1 else f"channel {number}, Hz")
    axes[0].set_title(Path(path).name)
    axes[-1].set_xlabel("time, s")
    whole = picture is not None and picture < config.duration  # the spectrogram too
    seconds = sound.frames / sound.sr if sound else config.duration if whole else 0.0
    _shade(axes if whole else axes[:channels], seconds, picture or config.duration, config.pad)
    return figure


def _shade(axes: Sequence[Axes], seconds: float, shown: float, pad: PadPolicy) -> None:
    """Shade what of a clip is not in its picture."""
    if pad == "random" or seconds <= shown + _CUT:
        return
    start = (seconds - shown) / 2 if pad == "center" else 0.0
    for axis in axes:
        for low, high in ((0.0, start), (start + shown, seconds)):
            if high > low:
                axis.axvspan(low, high, color="0.5", alpha=0.45, lw=0)
                axis.axvline(low or high, color="C3", lw=1.5)
    if axes:
        told = f"shaded: not in a picture of {shown:g} s; --duration {seconds:.3g} shows all"
        axes[0].set_title(told, loc="right", fontsize="small", color="C3")
        axes[0].set_title(axes[0].get_title(), loc="left")
        axes[0].set_title("")


class _Outline(NamedTuple):
    """A sound, or, of a long one, the lowest and highest sample of each stretch of it.

    `low` and `high` have the shape (channels, stretches); a stretch is `step` frames.
    """

    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    step: int
    frames: int
    sr: int


def _outline(path: str | Path) -> _Outline:
    """Read a sound block by block, and keep what a plot can show of it."""
    with open_part(place(path)) as part:
        frames = part.frames
    if frames is None:  # known once it is decoded
        with open_part(place(path)) as part:
            frames = sum(map(len, part.blocks()))
    step = 1 if frames <= _DRAWN_WHOLE else -(-frames // _OUTLINE)
    with open_part(place(path)) as part:
        stretches = list(_stretches(part, step))
        low, high = (np.concatenate(parts, axis=1) for parts in zip(*stretches, strict=True))
        return _Outline(low, high, step, round((part.file_seconds or 0) * part.sr), part.sr)


def _stretches(part: Part, step: int) -> Iterator[tuple[Samples, Samples]]:
    """Yield lowest and highest of each stretch, shape (channels, stretches)."""
    rest = np.empty((0, part.channels), dtype=np.float32)
    for block in part.blocks():
        y = np.concatenate([rest, block]) if len(rest) else block
        whole = len(y) // step * step
        if whole:
            yield _extremes(y[:whole], step)
        rest = y[whole:].copy()
    if len(rest):
        yield _extremes(rest, step)


def _extremes(y: Samples, step: int) -> tuple[Samples, Samples]:
    if step == 1:
        return y.T, y.T
    channels = np.ascontiguousarray(y.T)
    starts = np.arange(0, len(y), step)
    return np.minimum.reduceat(channels, starts, axis=1), np.maximum.reduceat(
        channels, starts, axis=1
    )


def _waveform(axis: Axes, sound: _Outline, number: int) -> None:
    """Draw the samples, or, of many, the lowest and highest of each stretch."""
    low, high = sound.low[number], sound.high[number]
    time = np.arange(len(high)) * sound.step / sound.sr
    if sound.step == 1:
        axis.plot(time, high, lw=0.8)
    else:
        axis.fill_between(time, low, high, step="post", lw=0.8, edgecolor="C0")
    axis.set_xlim(0, sound.frames / sound.sr)
    axis.grid(alpha=0.3)


def _spectra(path: str | Path, config: SpectrogramConfig) -> list[Spectrogram]:
    """Compute decibels, of each channel that the picture shows."""
    S_db = power_to_db(melspectrogram(load_clip(path, config), config), ref=config.ref)
    return list(S_db) if S_db.ndim == 3 else [S_db]


def _spectrogram(figure: Figure, axis: Axes, S_db: Spectrogram, config: SpectrogramConfig) -> None:
    mesh = draw_spectrogram(axis, S_db, config, config.duration)
    zero = "the clip's maximum" if config.ref == "max" else f"a power of {config.ref:g}"
    figure.colorbar(mesh, ax=axis, format="%d").set_label(f"dB, 0 is {zero}", size="small")


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, in one step, and return its path."""
    png = io.BytesIO()
    for text in figure.findobj(Text):  # a name is no formula, and may hold what is no Unicode
        text.set_parse_math(False)
        text.set_text(printable(text.get_text()))
    with warnings.catch_warnings():  # a label in letters that the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(png, dpi=110, format="png")
    write_bytes(path, png.getvalue())
    return place(path)


def examples(clips: pd.DataFrame, config: SpectrogramConfig, *, per_class: int = 4) -> Figure:
    """Show some pictures of each class, a row a class, each from another recording if it can be.

    Parameters
    ----------
    clips : pandas.DataFrame
        Rendered clips, with ``image``, ``label`` and ``group``.
    config : SpectrogramConfig
        Gives the axes.
    per_class : int
        Pictures in a row.
    """
    labels = sorted(clips["label"].unique())[:_MOST_ROWS]
    figure = Figure(figsize=(2.3 * per_class + 1.4, 1.45 * len(labels)), layout="constrained")
    axes = figure.subplots(len(labels), per_class, squeeze=False)
    for row, label in zip(axes, labels, strict=True):
        alike = clips[clips["label"] == label]
        first_of_each = alike.drop_duplicates("group")
        chosen = pd.concat([first_of_each, alike.drop(first_of_each.index)]).head(per_class)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
        for axis, image in zip(row, chosen["image"], strict=False):
            with open_regular(image) as file:
                picture = Image.open(file).convert("RGB")
            axis.imshow(picture, aspect="auto", interpolation="nearest")
        row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    figure.supxlabel(
        f"time, {config.duration:g} s  (frequency upwards, {config.n_mels} mel bands to "
        f"{(config.fmax or config.sr / 2) / 1000:g} kHz; dark: {config.top_db:g} dB below bright)",
        fontsize="small",
    )
    return figure

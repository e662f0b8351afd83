"""What the page of a recording shows beside its events: probabilities and an overview of the sound.

Both are kept small, whatever the length of the recording: once there are too many columns, each two
become one.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.clips.waveform import Waveform
from spectro.listening.events.finding import ScoredWindow
from spectro.listening.scan import ScanSettings, about_recording, forget, part_of
from spectro.models.card import ModelCard
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import mel_frames
from spectro.plumbing.files import write_bytes

__all__ = ["COLUMNS", "Halving", "Overview", "Tracks"]

COLUMNS = 4_096  # that a recording has at most in overview and probabilities
_BANDS = 64
_FINEST = 0.05  # s that a column of the overview is long at least
_MOST_BYTES = 1 << 28

Rows = npt.NDArray[np.float32]


class Halving:
    """Columns of numbers in order, at most `most`; beyond, neighbours are joined two by two.

    Parameters
    ----------
    height : int
        Numbers in a column.
    join : callable
        As ``np.maximum``: makes one column of two, given as arrays.
    most : int
        An even number.

    Examples
    --------
    >>> kept = Halving(1, np.maximum, 4)
    >>> for i in range(6):
    ...     kept.add(np.array([i], np.float32))
    >>> kept.columns().tolist(), kept.each
    ([[1.0, 3.0, 5.0]], 2)
    """

    def __init__(self, height: int, join: Any, most: int = COLUMNS) -> None:
        self.each = 1  # columns that came in are one here
        self._join, self._most = join, most
        self._held = np.empty((height, most), np.float32)
        self._count = 0
        self._last: Rows | None = None  # a column that is not whole
        self._in_last = 0

    def add(self, column: Rows) -> None:
        """Take in the next column."""
        self._last = column if self._last is None else self._join(self._last, column)
        self._in_last += 1
        if self._in_last < self.each:
            return
        if self._count == self._most:
            self._halve()
            if self._in_last < self.each:
                return
        self._held[:, self._count] = self._last
        self._count += 1
        self._last, self._in_last = None, 0

    def _halve(self) -> None:
        half = self._most // 2
        self._held[:, :half] = self._join(self._held[:, ::2], self._held[:, 1::2])
        self._count, self.each = half, 2 * self.each

    def columns(self) -> Rows:
        """Return what there is, shape (height, n)."""
        held = self._held[:, : self._count]
        return held.copy() if self._last is None else np.column_stack([held, self._last])


class Overview:
    """The loudness of a recording by time and frequency, in few columns.

    Parameters
    ----------
    config : SpectrogramConfig
        That of the model; the overview has fewer bands and no reference but full scale.
    """

    def __init__(self, config: SpectrogramConfig) -> None:
        step = max(config.n_fft, round(_FINEST * config.sr))
        self.seconds = step / config.sr  # of a column, before any are joined
        self._config = config.replace(n_mels=min(_BANDS, config.n_mels), hop_length=step)
        self._kept = Halving(self._config.n_mels, np.maximum)
        self._rest = np.empty(0, np.float32)

    def add(self, y: Waveform) -> None:
        """Take in more of the waveform, shape (channels, n); of several channels, their mean."""
        one = y[0] if len(y) == 1 else y.mean(axis=0)
        self._rest = np.concatenate([self._rest, one])
        n_fft, step = self._config.n_fft, self._config.hop_length
        count = 1 + (len(self._rest) - n_fft) // step if len(self._rest) >= n_fft else 0
        if count:
            S = mel_frames(self._rest[: (count - 1) * step + n_fft], self._config)
            for column in S.T:
                self._kept.add(column)
            self._rest = self._rest[count * step :]

    def decibels(self) -> tuple[Rows, float]:
        """Return mel power in dB, shape (bands, n), lowest band first, and seconds a column."""
        S = self._kept.columns()
        return 10 * np.log10(np.maximum(S, np.float32(1e-10))), self.seconds * self._kept.each


class Tracks:
    """Probabilities and overview of one recording, kept beside its events.

    Parameters
    ----------
    recording : str
    out : Path
        Folder of the results.
    card : ModelCard
    settings : ScanSettings

    Attributes
    ----------
    windows : np.ndarray [shape=(2 + n_classes, n)], float32
        Start and end in seconds and the highest probability of each class.
    overview : np.ndarray [shape=(bands, m)], float32
        dB.
    column : float
        Seconds a column of the overview.
    """

    def __init__(self, recording: str, out: Path, card: ModelCard, settings: ScanSettings) -> None:
        self.recording, self._out, self._settings = recording, out, settings
        self._path = part_of(recording, out).with_suffix(".npz")
        self._about: list[int] = []
        self._overview = Overview(card.spectrogram)
        self._windows = Halving(2 + len(card.labels), _hull)
        self.windows: Rows = np.empty((2 + len(card.labels), 0), np.float32)
        self.overview: Rows = np.empty((0, 0), np.float32)
        self.column = self._overview.seconds

    def sound(self, y: Waveform) -> None:
        """Take in more of the recording's waveform."""
        self._overview.add(y)

    def window(self, window: ScoredWindow) -> None:
        """Take in the next window."""
        p = np.asarray(window.probabilities, np.float32)
        self._windows.add(np.concatenate([np.array([window.start, window.end], np.float32), p]))

    def load(self) -> bool:
        """Read what was kept of the recording as it is; tell whether there was that."""
        try:
            if self._path.stat().st_size > _MOST_BYTES:
                return False
            with np.load(self._path, allow_pickle=False) as kept:
                key, windows, overview = str(kept["key"]), kept["windows"], kept["overview"]
                column = float(kept["column"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return False
        if key != self._key() or windows.ndim != 2 or len(windows) != len(self.windows):
            return False
        self.windows, self.overview, self.column = windows, overview, column
        return True

    def forget(self) -> None:
        """Have the recording scanned anew, as its events alone are kept."""
        self._about = about_recording(self.recording) if Path(self.recording).exists() else []
        forget(self.recording, self._out)

    def save(self) -> None:
        """Keep what came in, if something did."""
        windows = self._windows.columns()
        if windows.shape[1] == 0:
            return
        self.windows, (self.overview, self.column) = windows, self._overview.decibels()
        file = io.BytesIO()
        np.savez_compressed(
            file, key=self._key(), windows=self.windows, overview=self.overview, column=self.column
        )
        write_bytes(self._path, file.getvalue())

    def _key(self) -> str:
        about = self._about or about_recording(self.recording)
        return f"{self._settings.identity} {about}"


def _hull(first: Rows, second: Rows) -> Rows:
    """Join windows: the earlier start, the later end, the higher probabilities."""
    joined: Rows = np.maximum(first, second)
    joined[0] = np.minimum(first[0], second[0])
    return joined

"""An event to see and hear: a picture and a WAV of the same seconds."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import soundfile as sf

from spectro.clips.decode import file_seconds, open_part
from spectro.clips.waveform import load
from spectro.listening.review.detections import Detection
from spectro.listening.serve.answers import Tick
from spectro.listening.serve.sounds import frequency_ticks, png
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import spectrogram_image

__all__ = ["Span", "picture", "sound", "span"]

_CONTEXT = 1.0  # s before and after
_LONGEST = 15.0  # s of an event that are shown
_COLUMNS = 900
_HEARABLE = 48_000  # Hz, the highest rate that is played
_LOWEST_RATE = 1_000  # Hz: pictures are of no lower one


class Span(NamedTuple):
    """Which seconds are shown, and the frequencies of the picture."""

    start: float
    end: float
    sr: int
    frequencies: list[Tick]


def span(detection: Detection) -> Span:
    """Choose the seconds: the event with a second around it; of a long one, its start.

    Raises
    ------
    AudioError
        If the recording cannot be opened.
    """
    with open_part(detection.file) as part:
        sr, lasts = part.sr, part.file_seconds
    if lasts is None:
        lasts = file_seconds(detection.file)
    event = detection.event
    start = max(0.0, event.start - _CONTEXT)
    end = min(event.end + _CONTEXT, event.start + _LONGEST, lasts or event.end)
    end = max(end, start + 0.05)
    sr = max(sr, _LOWEST_RATE)  # of infrasound, as a picture can be drawn
    return Span(start, end, sr, frequency_ticks(_config(sr, end - start)))


def _config(sr: int, seconds: float) -> SpectrogramConfig:
    """Choose a picture of about 900 columns, from frames of some 46 ms."""
    n_fft = 1 << max(6, round(np.log2(0.046 * sr)))
    hop_length = max(1, round(seconds * sr / _COLUMNS))
    return SpectrogramConfig(sr=sr, duration=seconds, n_fft=n_fft, hop_length=hop_length)


def picture(detection: Detection) -> bytes:
    """Draw the seconds of a detection as PNG.

    Raises
    ------
    AudioError
        If they cannot be decoded.
    """
    shown = span(detection)
    y = load(detection.file, sr=shown.sr, start=shown.start, end=shown.end)
    return png(spectrogram_image(y, _config(shown.sr, shown.end - shown.start)))


def sound(detection: Detection) -> bytes:
    """Return the seconds of a detection as WAV, as loud as they can be.

    Raises
    ------
    AudioError
        If they cannot be decoded.
    """
    shown = span(detection)
    sr = min(shown.sr, _HEARABLE)
    y = load(detection.file, sr=sr, start=shown.start, end=shown.end)
    loudest = float(np.abs(y).max())
    buffer = io.BytesIO()
    sf.write(buffer, y * (0.9 / loudest if loudest > 0 else 1), sr, format="WAV", subtype="PCM_16")
    return buffer.getvalue()

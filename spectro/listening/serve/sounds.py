"""What a service does with one short sound: measure it, ask the model, draw what it saw."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spectro.clips.decode import open_part
from spectro.errors import AudioError
from spectro.listening.classifier import Classifier
from spectro.listening.serve.answers import Picture, Prediction, Tick
from spectro.listening.serve.requests.refusals import RefusedError
from spectro.listening.serve.requests.uploads import Upload
from spectro.pictures.mel import band_frequencies
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image, save_png

__all__ = ["frequency_ticks", "measured", "png", "predict", "told_of"]

_DENSEST = 400_000  # samples a second in all channels: eight channels at 48 kHz
_ROUND_HZ = (100, 200, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000)


def measured(path: Path, most_seconds: float) -> float:
    """Return how long a sound is, in seconds; decode at most so many of them to find out.

    Raises
    ------
    RefusedError
        If it is longer.
    AudioError
        If it cannot be opened.
    """
    with open_part(path) as part:
        _check_seconds(part.file_seconds or 0.0, most_seconds)
        _check_samples((part.frames or 0) * part.channels, most_seconds)
        if part.file_seconds is not None:
            return part.file_seconds
        frames = 0
        for block in part.blocks():
            frames += len(block)
            _check_seconds(frames / part.sr, most_seconds)
            _check_samples(frames * part.channels, most_seconds)
        return frames / part.sr


def _check_seconds(seconds: float, most: float) -> None:
    if seconds > most:
        raise RefusedError(
            413, f"the sound lasts more than {most:,.6g} s; send a part, or a recording to /scan"
        )


def _check_samples(samples: int, most_seconds: float) -> None:
    if samples > most_seconds * _DENSEST:
        raise RefusedError(
            413, "the sound holds too many samples; send fewer channels or a lower rate"
        )


def told_of(error: AudioError, upload: Upload) -> RefusedError:
    """Say what is wrong with a sound in the client's words: no path of this machine."""
    told = str(error).replace(str(upload.path.absolute()), upload.name)
    told = told.replace(str(upload.path), upload.name).replace(str(upload.folder), "")
    return RefusedError(422, " ".join(told.split()))


def predict(
    classifier: Classifier, upload: Upload, *, most_seconds: float, picture: bool
) -> Prediction:
    """Ask the model about a sound, as ``spectro predict`` does.

    Raises
    ------
    RefusedError
        If the sound is too long or cannot be decoded.
    """
    config = classifier.card.spectrogram
    try:
        seconds = measured(upload.path, most_seconds)
        [heard] = classifier.classify([upload.path])
        image = clip_image(upload.path, config) if picture else None
    except AudioError as error:
        raise told_of(error, upload) from None
    return Prediction(
        name=upload.name,
        label=heard.label,
        known=heard.known,
        probability=heard.probability,
        probabilities=dict(zip(classifier.labels, heard.probabilities.tolist(), strict=True)),
        seconds=seconds,
        heard=min(seconds, config.duration),
        picture=None if image is None else _picture(image, config),
    )


def _picture(image: Image.Image, config: SpectrogramConfig) -> Picture:
    return Picture(
        png=base64.b64encode(png(image)).decode(),
        seconds=config.duration,
        frequencies=frequency_ticks(config),
    )


def png(image: Image.Image) -> bytes:
    """Return a picture as PNG."""
    buffer = io.BytesIO()
    save_png(image, buffer)
    return buffer.getvalue()


def frequency_ticks(config: SpectrogramConfig, hz: Sequence[int] = _ROUND_HZ) -> list[Tick]:
    """Say where round frequencies stand in a picture: 0 is its lower edge, 1 the upper.

    Examples
    --------
    >>> [(tick.hz, round(tick.at, 2)) for tick in frequency_ticks(SpectrogramConfig())][-2:]
    [(4000, 0.71), (8000, 0.91)]
    """
    bands = band_frequencies(config)
    inside = [f for f in hz if bands[0] <= f <= bands[-1]]
    places = (np.interp(inside, bands, np.arange(len(bands))) + 0.5) / len(bands)
    return [Tick(hz=f, at=float(at)) for f, at in zip(inside, places, strict=True)]

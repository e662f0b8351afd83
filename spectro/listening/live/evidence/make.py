"""An event's evidence in bytes: a FLAC of the very samples, a picture, and the facts."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import soundfile as sf

from spectro import __version__
from spectro.clips.waveform import fit, mix
from spectro.listening.events.settings import EventSettings
from spectro.listening.live.hearing.session import Sound
from spectro.models.card import ModelCard
from spectro.pictures.spectrogram import save_png, spectrogram_image

__all__ = ["facts", "flac", "png"]


def flac(sound: Sound) -> bytes:
    """Encode a sound so that it is decoded to the same samples.

    Those of 16 bits stay what they are; others keep 24 bits, of floats those within full scale.
    """
    buffer = io.BytesIO()
    if sound.form.bits == 16:
        whole = np.rint(sound.samples * 32_768.0).clip(-32_768, 32_767).astype(np.int16)
    else:
        scaled = np.rint(sound.samples.astype(np.float64) * (1 << 23))
        whole = scaled.clip(-(1 << 23), (1 << 23) - 1).astype(np.int32) << 8
    subtype = "PCM_16" if sound.form.bits == 16 else "PCM_24"
    channels = whole[:, :8]  # FLAC holds no more
    sf.write(buffer, channels, sound.form.sr, format="FLAC", subtype=subtype)
    return buffer.getvalue()


def png(sound: Sound, card: ModelCard) -> bytes:
    """Draw the window that was judged, as the network saw it but for resampling at its edges."""
    import soxr

    config = card.spectrogram
    first = round((sound.window.start - sound.start) * sound.form.sr)
    last = round((sound.window.end - sound.start) * sound.form.sr)
    y = mix(sound.samples[max(0, first) : max(1, last)], config.channels)
    if sound.form.sr != config.sr:
        rows = [soxr.resample(row, sound.form.sr, config.sr) for row in np.atleast_2d(y)]
        y = np.stack(rows) if y.ndim > 1 else rows[0]
    image = spectrogram_image(fit(y.astype(np.float32), config.n_samples, pad=config.pad), config)
    buffer = io.BytesIO()
    save_png(image, buffer)
    return buffer.getvalue()


def facts(
    message: dict[str, Any],
    sound: Sound,
    card: ModelCard,
    settings: EventSettings,
    clock: dict[str, Any],
) -> dict[str, Any]:
    """Say all that is needed to judge an event, and to replay it on another machine.

    Parameters
    ----------
    message : dict
        Of :func:`spectro.listening.live.delivery.messages.event`.
    sound : Sound
    card : ModelCard
    settings : EventSettings
    clock : dict
        What is known of the clock when it was heard.
    """
    window = sound.window
    p = np.asarray(window.probabilities)
    i = card.labels.index(message["label"])
    levels = settings.levels(card.labels)
    return {
        **message,
        "window": {
            "start_in_clip": round(window.start - sound.start, 6),
            "end_in_clip": round(window.end - sound.start, 6),
            "level_dbfs": window.level if np.isfinite(window.level) else None,
            "probabilities": dict(zip(card.labels, map(float, p), strict=True)),
        },
        "event": _place(message, sound),
        "sound": {"sr": sound.form.sr, "channels": sound.form.channels, "bits": sound.form.bits},
        "class_thresholds": {name: float(each[i]) for name, each in levels._asdict().items()},
        "settings": settings.to_dict(),
        "clock": clock,
        "spectro": __version__,
    }


def _place(message: dict[str, Any], sound: Sound) -> dict[str, float] | None:
    """Say where in the clip the event lies, as far as the clip holds it."""
    lasts = len(sound.samples) / sound.form.sr
    start, end = (min(lasts, max(0.0, message[at] - sound.start)) for at in ("start", "end"))
    found = {"start_in_clip": round(start, 6), "end_in_clip": round(end, 6)}
    return found if found["start_in_clip"] < found["end_in_clip"] else None

"""Where a synthesised sound is heard: distance, room, background and recorder.

This is what makes two recordings of the same thing differ, and what a classifier must not
learn: every source draws its own place, whatever its class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spectro.clips.sample.blocks import (
    Sound,
    Take,
    Values,
    coloured_noise,
    drift,
    equalise,
    reverberate,
)

__all__ = ["Place", "draw_place", "record"]

_BANDS = np.array([40.0, 120, 300, 700, 1500, 3500, 8000, 18000])
"""Frequencies in Hz at which microphones and backgrounds draw their colour."""


@dataclass(frozen=True)
class Place:
    """What surrounds one source, the same for all its slices.

    Parameters
    ----------
    snr_db : float
        Loudest 50 ms of the source over the background, in dB.
    peak_db : float
        Highest sample of a recording in dB of full scale, below 0.
    colour_db : numpy.ndarray, shape (8,)
        Frequency response of distance and microphone in dB at `_BANDS`.
    noise_db : numpy.ndarray, shape (8,)
        Spectrum of the background in dB at `_BANDS`.
    rt60 : float
        Reverberation time of the place in s.
    wet : float
        Energy of the reverberation over that of the direct sound.
    room_seed : int
        Seed of the reverberation's fine structure.
    """

    snr_db: float
    peak_db: float
    colour_db: Values
    noise_db: Values
    rt60: float
    wet: float
    room_seed: int


def draw_place(rng: np.random.Generator) -> Place:
    """Draw a place: open street to courtyard, near to far, quiet to busy."""
    far = rng.uniform(0, 1)
    octaves = np.log2(_BANDS / 700)
    absorbed = -far * 4 * np.maximum(octaves, 0)  # air and walls swallow the highs first
    return Place(
        snr_db=float(rng.uniform(6, 28)),
        peak_db=float(rng.uniform(-22, -1)),
        colour_db=absorbed + rng.normal(0, 2.5, len(_BANDS)),
        noise_db=rng.uniform(-5, -2) * octaves + rng.normal(0, 2.5, len(_BANDS)),
        rt60=float(rng.uniform(0.1, 1.0)),
        wet=float(far * rng.uniform(0.1, 1.0)),
        room_seed=int(rng.integers(2**32)),
    )


def record(place: Place, take: Take, y: Sound, channels: int) -> Sound:
    """Record a dry sound in a place.

    Parameters
    ----------
    place : Place
        Surroundings of the source.
    take : Take
        The take that `y` came from; its ``moment`` draws the background.
    y : numpy.ndarray of float32, shape (n,)
        Dry sound, at any level.
    channels : int
        1 or 2. A second channel has its own reverberation and background.

    Returns
    -------
    numpy.ndarray of float32, shape (n, channels)
        Samples with ``abs(y) < 1``.
    """
    heard = equalise(y, take.sr, _BANDS, place.colour_db)
    heard /= max(_loudest(heard, take.sr), 1e-9)
    sides = [_in_room(place, heard, take.sr, channel) for channel in range(channels)]
    noise = [_background(place, take) for _ in range(channels)]
    mixed = np.stack(sides, axis=1) + np.stack(noise, axis=1)
    peak = 10 ** (place.peak_db / 20)
    return mixed * np.float32(peak / max(float(np.abs(mixed).max()), 1e-9))


def _loudest(y: Sound, sr: int) -> float:
    """Return the highest root mean square of any 50 ms."""
    width = max(1, min(len(y), int(0.05 * sr)))
    frames = y[: len(y) // width * width].reshape(-1, width)
    return float(np.sqrt((frames**2).mean(axis=1).max()))


def _in_room(place: Place, y: Sound, sr: int, channel: int) -> Sound:
    """Add the room's echoes: a decaying tail of noise (Schroeder's model of a diffuse room)."""
    rng = np.random.default_rng([place.room_seed, channel])
    t = np.arange(int(place.rt60 * sr), dtype=np.float32) / np.float32(sr)
    tail = rng.standard_normal(len(t), dtype=np.float32) * np.exp(-6.91 / place.rt60 * t)
    tail *= np.float32(np.sqrt(place.wet / np.sum(tail**2)))
    return reverberate(y, tail)


def _background(place: Place, take: Take) -> Sound:
    """Return noise of the place's colour that comes and goes by a few dB, shape (n,)."""
    noise = coloured_noise(take.moment, take.n, take.sr, _BANDS, place.noise_db)
    level = 10 ** ((2 * drift(take, 1.5) - place.snr_db) / 20)
    return noise * level.astype(np.float32)

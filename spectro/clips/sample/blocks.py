"""Building blocks of synthesised sound: takes, tones, noise, resonances, envelopes.

Every block works on one channel of ``float32`` samples, takes its random numbers from a
generator it is given and keeps no state. `sounds` makes the ten sounds out of them, `room`
puts a sound into a place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

__all__ = [
    "Sound",
    "Take",
    "Values",
    "add",
    "coloured_noise",
    "decay",
    "drift",
    "equalise",
    "harmonic_tone",
    "impulses",
    "onsets",
    "resonate",
    "reverberate",
    "swell",
    "timbre",
]

Sound = npt.NDArray[np.float32]
"""Samples of one channel, shape (n,), or of several, shape (n, channels)."""

Values = npt.NDArray[np.float64]
"""Numbers of any shape (n,): times in s, frequencies in Hz, levels in dB."""

_TABLE = 1 << 14  # steps of one period: their roughness stays 50 dB under the tone


@dataclass(frozen=True)
class Take:
    """A few seconds of one source, about to be synthesised.

    Two generators keep apart what stays and what changes: all takes of a source start from the
    same ``source`` and so get the same instrument, room and level; each has its own ``moment``.

    Parameters
    ----------
    source : numpy.random.Generator
        Draws what makes the sound: pitch, rates, resonances. The draws must not depend on the
        length of the take.
    moment : numpy.random.Generator
        Draws what happens in these seconds: phases, onsets, jitter, noise.
    sr : int
        Sample rate in Hz.
    n : int
        Length in samples.
    """

    source: np.random.Generator
    moment: np.random.Generator
    sr: int
    n: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n / self.sr

    @property
    def t(self) -> Values:
        """Time of each sample in s from the start of the take, shape (n,)."""
        return np.arange(self.n) / self.sr

    def silence(self) -> Sound:
        """Return ``n`` zeros to add sounds to."""
        return np.zeros(self.n, np.float32)

    def seconds(self, duration: float) -> Take:
        """Return a take of the same source and moment that lasts `duration` s (one sample or more).

        The generators are shared, so what it draws from ``moment`` follows on from this take.
        """
        return Take(self.source, self.moment, self.sr, max(1, round(duration * self.sr)))


def timbre(rng: np.random.Generator, count: int, slope_db: float) -> Values:
    """Draw the amplitudes of a tone's harmonics.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the 4 dB of irregularity that makes each instrument its own.
    count : int
        Number of harmonics, the fundamental included.
    slope_db : float
        Change of level per octave, in dB: about -3 is brassy, -12 flute-like.

    Returns
    -------
    numpy.ndarray of float64, shape (count,)
        Linear amplitudes, about 1 at the fundamental.
    """
    octaves = np.log2(np.arange(1, count + 1))
    level: Values = 10 ** ((slope_db * octaves + rng.normal(0, 4, count)) / 20)
    return level


def harmonic_tone(f0: Values, amplitudes: Values, sr: int) -> Sound:
    """Play one period of a harmonic sound at a changing pitch (wavetable synthesis).

    Parameters
    ----------
    f0 : numpy.ndarray of float64, shape (n,)
        Fundamental frequency of each sample in Hz, above 0.
    amplitudes : numpy.ndarray, shape (k,)
        Linear amplitude of each harmonic. Those that would pass ``sr / 2`` are left out, since
        they would fold back as tones that no instrument made.
    sr : int
        Sample rate in Hz.

    Returns
    -------
    numpy.ndarray of float32, shape (n,)
        The tone, at a root mean square of 1 (silent if no harmonic fits).
    """
    kept = amplitudes[: int(sr / 2 / f0.max())]
    if not len(kept):
        return np.zeros(len(f0), np.float32)
    spectrum = np.concatenate([[0], kept, np.zeros(_TABLE // 2 - len(kept))])
    # Schroeder's phases: without them all harmonics would peak at once, as a click per period.
    spread = np.exp(1j * np.pi * np.arange(len(spectrum)) ** 2 / (len(kept) + 1))
    table = fft.irfft(spectrum * spread, _TABLE)
    table = (table / table.std()).astype(np.float32)
    cycles = np.cumsum(f0 / sr)
    tone: Sound = table[(cycles * _TABLE).astype(np.int64) % _TABLE]
    return tone


def equalise(y: Sound, sr: int, hz: npt.ArrayLike, db: npt.ArrayLike) -> Sound:
    """Change the level of each frequency by a curve drawn through points, without delay.

    Parameters
    ----------
    y : numpy.ndarray of float32, shape (n,)
        A sound; its end wraps around to its start, which noise and fades do not show.
    sr : int
        Sample rate in Hz.
    hz, db : array_like, shape (points,)
        Frequencies in Hz, rising, and the gain in dB there; straight lines over log frequency
        between them, constant outside.

    Returns
    -------
    numpy.ndarray of float32, shape (n,)
        The sound with its new spectrum.
    """
    padded = fft.next_fast_len(len(y), real=True)
    frequencies = np.maximum(fft.rfftfreq(padded, 1 / sr), 1.0)
    gain_db = np.interp(np.log(frequencies), np.log(hz), np.asarray(db))
    spectrum = fft.rfft(y, padded) * (10 ** (gain_db / 20)).astype(np.float32)
    shaped: Sound = fft.irfft(spectrum, padded)[: len(y)]
    return shaped


def coloured_noise(
    rng: np.random.Generator, n: int, sr: int, hz: npt.ArrayLike, db: npt.ArrayLike
) -> Sound:
    """Synthesise noise of a given spectrum, at a root mean square of 1, shape (n,).

    `hz` and `db` are the points of the curve, as in `equalise`; ``[20, 20480], [0, -30]`` is
    pink noise (-3 dB per octave).
    """
    noise = equalise(rng.standard_normal(n, dtype=np.float32), sr, hz, db)
    return noise / max(float(np.sqrt(np.mean(noise**2))), 1e-9)


def resonate(
    y: Sound, sr: int, hz: Sequence[float] | Values, q: float, db: Sequence[float] | Values
) -> Sound:
    """Ring a set of resonances side by side (a struck plate, an exhaust, a vocal tract).

    Each answers as a damped mass on a spring does, ``1 / (1 + 1j * q * (f / hz - hz / f))``.

    Parameters
    ----------
    y : numpy.ndarray of float32, shape (n,)
        What excites them.
    sr : int
        Sample rate in Hz.
    hz : sequence of float
        Centre frequencies in Hz.
    q : float
        Sharpness, centre over bandwidth: 5 is a vowel, 30 a ringing bar.
    db : sequence of float
        Gain at each centre.

    Returns
    -------
    numpy.ndarray of float32, shape (n,)
        Sum of the resonances' answers.
    """
    ringing = int(2 * q / min(hz) * sr)  # room for the tail, which would wrap to the start
    padded = fft.next_fast_len(len(y) + ringing, real=True)
    f = np.maximum(fft.rfftfreq(padded, 1 / sr), 1.0).astype(np.float32)
    response = np.zeros(len(f), np.complex64)
    for centre, gain_db in zip(np.asarray(hz, np.float32), db, strict=True):
        detuning = np.float32(q) * (f / centre - centre / f)
        response += np.float32(10 ** (gain_db / 20)) / (1 + 1j * detuning)
    rung: Sound = fft.irfft(fft.rfft(y, padded) * response, padded)[: len(y)]
    return rung


def reverberate(y: Sound, tail: Sound) -> Sound:
    """Add to a sound its echoes in `tail`, an impulse response without the direct sound.

    Shapes are (n,) and (any,); the result is cut to (n,).
    """
    padded = fft.next_fast_len(len(y) + len(tail), real=True)
    echoes: Sound = fft.irfft(fft.rfft(y, padded) * fft.rfft(tail, padded), padded)
    return y + echoes[: len(y)]


def decay(n: int, sr: int, attack: float, fall: float) -> Sound:
    """Return the envelope of something struck: a straight rise, then an exponential fall.

    `attack` is the rise time and `fall` the time constant (-8.7 dB), both in s; shape (n,).
    """
    t = np.arange(n, dtype=np.float32) / np.float32(sr)
    rise = np.minimum(t / np.float32(max(attack, 1 / sr)), np.float32(1))
    envelope: Sound = rise * np.exp(-t / np.float32(fall))
    return envelope


def swell(n: int, sharpness: float = 1.0) -> Sound:
    """Return the envelope of a breath, half a sine to the power `sharpness`, shape (n,)."""
    arch = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** sharpness
    return arch.astype(np.float32)


def drift(take: Take, rate: float) -> Values:
    """Return a slow random walk around 0 with a deviation near 1, shape (n,).

    `rate` is the number of independent values per second; it draws from ``take.moment``.
    """
    knots = take.moment.standard_normal(int(take.duration * rate) + 2)
    return np.interp(take.t * rate, np.arange(len(knots)), knots)


def onsets(take: Take, rate: float, jitter: float) -> Values:
    """Return the times of repeated events in s, rising, the first anywhere in its interval.

    Parameters
    ----------
    take : Take
        Where they fall; it draws from ``take.moment``.
    rate : float
        Events per second.
    jitter : float
        Standard deviation of an interval, in intervals: 0 is a clock, 0.3 a crowd.

    Returns
    -------
    numpy.ndarray of float64, shape (events,)
        Times within the take, at least one, in its first half.
    """
    count = int(take.duration * rate * 1.5) + 4
    gaps = np.maximum(1 + jitter * take.moment.standard_normal(count), 0.1) / rate
    gaps[0] = take.moment.uniform(0, min(gaps[0], take.duration / 2))
    times: Values = np.cumsum(gaps)
    return times[times < take.duration]


def impulses(take: Take, times: Values, strength: npt.ArrayLike) -> Sound:
    """Return a train of single-sample impulses at `times` in s, shape (n,)."""
    y = take.silence()
    y[(times * take.sr).astype(np.int64)] = strength
    return y


def add(y: Sound, sr: int, events: Iterable[tuple[float, Sound]]) -> Sound:
    """Add each event's sound to `y` in place from its time in s on, cut at the end; return `y`."""
    for time, sound in events:
        start = int(time * sr)
        y[start : start + len(sound)] += sound[: max(0, len(y) - start)]
    return y

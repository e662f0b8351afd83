"""What sounds are built of, many at once: harmonics, shaped noise, resonances, envelopes.

A sound is a row of a tensor (n, samples), and a value that differs by sound a column (n, 1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "Draw",
    "angles",
    "echoed",
    "envelope",
    "filtered",
    "harmonics",
    "loudness",
    "noise",
    "resonator",
    "shaped",
]

_HARMONICS = 24
_TAU = 2 * math.pi


class Draw:
    """Random numbers of one step, on its device: the same for the same seed.

    Parameters
    ----------
    generator : torch.Generator
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self.device = generator.device

    def even(self, *shape: int) -> Tensor:
        """Draw evenly from 0 to 1."""
        return torch.rand(shape, generator=self._generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Draw from the normal distribution."""
        return torch.randn(shape, generator=self._generator, device=self.device)

    def phase(self, n: int) -> Tensor:
        """Draw an angle for each of `n` sounds."""
        return _TAU * self.even(n, 1)


def angles(cycles: Tensor, ratio: Tensor | float = 1.0) -> Tensor:
    """Turn cycles times a ratio into angles of one turn.

    Only what is left of a turn is brought to float32: 10,000 turns would take its last digits.

    Parameters
    ----------
    cycles : Tensor [shape=(n, samples)], float64
        Turns since a moment.
    ratio : Tensor [shape=(n, 1)] or float

    Returns
    -------
    phase : Tensor [shape=(n, samples)], float32
        Radians, above -2 pi and below 2 pi.
    """
    return ((cycles * ratio).frac() * _TAU).float()


def harmonics(phase: Tensor, tilt: Tensor, highest: Tensor) -> Tensor:
    """Add up the harmonics of a tone, those that stay below half the sampling rate.

    Parameters
    ----------
    phase : Tensor [shape=(n, samples)]
        Of the fundamental, in radians.
    tilt : Tensor [shape=(n, 1)]
        dB an octave.
    highest : Tensor [shape=(n, 1)]
        Number of the highest harmonic there is room for.

    Returns
    -------
    y : Tensor [shape=(n, samples)]
    """
    now = torch.sin(phase)
    twice = 2 * torch.cos(phase)  # sin((k + 1) x) = 2 cos(x) sin(k x) - sin((k - 1) x)
    before, spare, y = torch.zeros_like(now), torch.empty_like(now), now.clone()
    for k in range(2, _HARMONICS + 1):
        torch.mul(twice, now, out=spare).sub_(before)
        before, now, spare = now, spare, before
        y.addcmul_(now, 10 ** (tilt * math.log2(k) / 20) * (highest >= k))
    return y


def noise(draw: Draw, n: int, samples: int) -> Tensor:
    """Draw the spectrum of white noise.

    Parameters
    ----------
    draw : Draw
    n, samples : int
        Sounds, and their length.

    Returns
    -------
    spectrum : Tensor [shape=(n, 1 + samples // 2)], complex
    """
    bins = 1 + samples // 2
    return torch.complex(draw.normal(n, bins), draw.normal(n, bins))


def shaped(spectrum: Tensor, gain: Tensor, samples: int) -> Tensor:
    """Turn a spectrum times a gain into sound.

    Parameters
    ----------
    spectrum : Tensor [shape=(n, 1 + samples // 2)], complex
    gain : Tensor [shape=(n, 1 + samples // 2)]
    samples : int

    Returns
    -------
    y : Tensor [shape=(n, samples)]
        Of a root mean square of 1.
    """
    y: Tensor = torch.fft.irfft(spectrum * gain, n=samples)
    return y / (loudness(y) + 1e-9)


def loudness(y: Tensor) -> Tensor:
    """Compute the root mean square of each sound.

    Parameters
    ----------
    y : Tensor [shape=(n, samples)]

    Returns
    -------
    rms : Tensor [shape=(n, 1)]
    """
    return y.square().mean(dim=1, keepdim=True).sqrt()


def resonator(f: Tensor, centre: Tensor, ringing: Tensor) -> Tensor:
    """Compute the spectrum of a decaying sine.

    Parameters
    ----------
    f : Tensor [shape=(bins,)]
        Frequencies in Hz.
    centre : Tensor [shape=(n, 1)]
        Frequency of the sine in Hz.
    ringing : Tensor [shape=(n, 1)]
        Seconds until it has decayed to 1/e.

    Returns
    -------
    spectrum : Tensor [shape=(n, bins)], complex
        1 at `centre`.
    """
    damping = 1 / (_TAU * ringing)
    return damping / torch.complex(damping.expand(-1, len(f)), f - centre)


def filtered(y: Tensor, gain: Tensor) -> Tensor:
    """Filter sounds; what is filtered goes round from the end to the start.

    Parameters
    ----------
    y : Tensor [shape=(n, samples)]
    gain : Tensor [shape=(n, 1 + samples // 2)]
        Spectrum of the filter, real or complex.

    Returns
    -------
    y : Tensor [shape=(n, samples)]
    """
    heard: Tensor = torch.fft.irfft(torch.fft.rfft(y) * gain, n=y.shape[1])
    return heard


def echoed(draw: Draw, y: Tensor, sr: int, decay: Tensor, wet: Tensor) -> Tensor:
    """Add the echo of a room: noise that decays.

    The end of the echo comes round to the start, as if the sound had gone on before.

    Parameters
    ----------
    draw : Draw
    y : Tensor [shape=(n, samples)]
    sr : int
        Sampling rate in Hz.
    decay : Tensor [shape=(n, 1)]
        Seconds until it has decayed to 1/e.
    wet : Tensor [shape=(n, 1)]
        Its root mean square in dB against that of the sound.

    Returns
    -------
    y : Tensor [shape=(n, samples)]
    """
    t = torch.arange(y.shape[1], device=y.device) / sr
    room = draw.normal(*y.shape) * torch.exp(-t / decay)
    echo = filtered(y, torch.fft.rfft(room))
    echo = echo * loudness(y) / (loudness(echo) + 1e-9)
    return y + 10 ** (wet / 20) * echo


def envelope(turn: Tensor, rate: Tensor, duty: Tensor, attack: Tensor, release: Tensor) -> Tensor:
    """Let a sound come and go: up within the attack, held for the duty, then decaying.

    An event rises from what is left of the one before, so that the gain never jumps: a jump would
    be a line through the whole picture, which no sound has.

    Parameters
    ----------
    turn : Tensor [shape=(n, samples)]
        From 0 to 1 from one event to the next.
    rate : Tensor [shape=(n, 1)]
        Events a second.
    duty : Tensor [shape=(n, 1)]
        Share of the turn for which it is held; where it is 1 or more the sound does not stop.
    attack, release : Tensor [shape=(n, 1)]
        Seconds.

    Returns
    -------
    gain : Tensor [shape=(n, samples)]
        From 0 to 1.
    """
    since = turn / rate
    rise = (since / attack).clamp(max=1)
    fall = torch.exp(-(since - duty / rate).clamp(min=0) / release)
    # At the end of a turn the gain is (left + (1 - left) * top) * end, and that is `left` again.
    top = (1 / rate / attack).clamp(max=1)
    end = torch.exp(-(1 - duty).clamp(min=0) / rate / release)
    left = top * end / (1 - end + end * top)
    return torch.where(duty >= 1, torch.ones_like(turn), (left + (1 - left) * rise) * fall)

"""The WAV formats of the synthesised sample, as mixed as those of recordings sent in by many.

UrbanSound8K's clips keep the sample rate, channels and encoding of the upload they were cut
from, so a reader has to cope with all of them; so do the sample's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path

import soundfile

from spectro.clips.sample.blocks import Sound

__all__ = ["FORMATS", "WavFormat", "write_wav"]


@dataclass(frozen=True)
class WavFormat:
    """One way of storing a recording.

    Parameters
    ----------
    sr : int
        Sample rate in Hz.
    channels : int
        1 or 2.
    subtype : str
        Encoding, by libsndfile's name.
    block : int
        Samples that ADPCM codes together: a file's length is a multiple of it. libsndfile
        chooses it by rate and channels.
    """

    sr: int
    channels: int
    subtype: str
    block: int = 1

    def fit(self, seconds: float, longest: float) -> int:
        """Return the samples in `seconds` s, up to a whole block, but not over `longest` s."""
        blocks = ceil(seconds * self.sr / self.block)
        return min(blocks, int(longest * self.sr / self.block)) * self.block


_SHARES = (
    (4, WavFormat(44_100, 1, "PCM_16")),
    (1, WavFormat(44_100, 2, "PCM_16")),
    (1, WavFormat(44_100, 1, "PCM_24")),
    (3, WavFormat(44_100, 1, "PCM_U8")),
    (3, WavFormat(44_100, 1, "ULAW")),
    (4, WavFormat(44_100, 1, "IMA_ADPCM", 4089)),
    (4, WavFormat(44_100, 2, "IMA_ADPCM", 2041)),
    (2, WavFormat(48_000, 1, "PCM_16")),
    (1, WavFormat(48_000, 2, "PCM_24")),
    (2, WavFormat(48_000, 1, "ALAW")),
    (4, WavFormat(48_000, 1, "MS_ADPCM", 4084)),
    (2, WavFormat(48_000, 2, "MS_ADPCM", 2036)),
    (1, WavFormat(96_000, 1, "PCM_16")),
    (1, WavFormat(32_000, 1, "PCM_32")),
    (1, WavFormat(24_000, 2, "PCM_16")),
    (1, WavFormat(22_050, 1, "FLOAT")),
    (1, WavFormat(22_050, 2, "PCM_U8")),
    (2, WavFormat(16_000, 1, "PCM_16")),
    (1, WavFormat(11_025, 1, "PCM_U8")),
    (1, WavFormat(8_000, 1, "ULAW")),
    (1, WavFormat(8_000, 1, "ALAW")),
)

FORMATS: tuple[WavFormat, ...] = tuple(kind for share, kind in _SHARES for _ in range(share))
"""The formats to deal out, each as often as its share; 41 of them, a prime (see `sample`)."""


def write_wav(path: Path, y: Sound, kind: WavFormat) -> None:
    """Write samples as a WAV file whose bytes depend on nothing but the arguments.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    y : numpy.ndarray of float32, shape (n, channels)
        Samples within -1 to 1.
    kind : WavFormat
        Rate, channels and encoding.
    """
    if kind.subtype == "FLOAT":  # libsndfile would stamp the time of day into a PEAK chunk
        from scipy.io import wavfile  # here, since it brings in much more of scipy

        wavfile.write(path, kind.sr, y.squeeze(axis=1) if kind.channels == 1 else y)
    else:
        soundfile.write(path, y, kind.sr, subtype=kind.subtype, format="WAV")

"""Settings of a picture: how sound becomes one. Frozen, and checked on construction."""

from __future__ import annotations

import sys
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from spectro.clips.choices import Channels, PadPolicy
from spectro.plumbing.settings import Settings

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

__all__ = ["MAX_PIXELS", "SpectrogramConfig"]

# Bounds of a picture as a whole: each setting alone may be large, all together may not. An hour at
# 22,050 Hz in one picture of 256 bands fits (79 million samples, 40 million pixels, 318 million
# samples transformed), and so do eight minutes at 192 kHz; the settings of a stranger cannot ask
# for more memory than some 2 GB, nor for minutes of work a clip.
_MAX_SAMPLES = 100_000_000
MAX_PIXELS = 1 << 26  # Pillow takes more than 89 million for an attack
_MAX_FILTER = 20_000_000  # mel bands x frequencies: 4,096 bands of 8,192 samples fit
_MAX_TRANSFORMED = 4_000_000_000  # frames x n_fft


class SpectrogramConfig(Settings):
    """How a clip becomes a mel-spectrogram picture.

    The defaults are librosa's own, so that a picture means what the field expects.

    Parameters
    ----------
    sr : int
        Sampling rate that every clip is brought to, in Hz. Default 22050, as in librosa: speech and
        most city sounds have little above 11 kHz; raise it for birds and bats.
    duration : float
        Length of sound in one picture, in seconds. Default 4, the longest clip of UrbanSound8K.
    n_fft : int
        FFT length in samples. Default 2048 (93 ms, 10.8 Hz a bin at 22,050 Hz).
    win_length : int or None
        Length of the Hann window in samples, centred in `n_fft`; None means `n_fft`.
    hop_length : int
        Step between frames in samples. Default 512 (23 ms at 22,050 Hz).
    n_mels : int
        Number of mel bands, the height of the picture in pixels. Default 128.
    fmin : float
        Lowest frequency in Hz. Default 0.
    fmax : float or None
        Highest frequency in Hz; None means ``sr / 2``.
    ref : "max" or float
        What 0 dB is: "max", the clip's own maximum (the default, blind to level), or a fixed mel
        power.
    top_db : float
        Range of the picture below 0 dB, in dB. Default 80.
    db_range : "fixed" or "auto"
        What a grey level means. "fixed": the same dB in every picture (the default). "auto": each
        picture is stretched to its own lowest and highest value, the look of
        `librosa.display.specshow`.
    pad : "zero", "loop", "center" or "random"
        Where a short clip lies in the picture. "zero": at the start, with silence after it (the
        default). "loop": repeated. "center": in the middle of silence. "random": at a place drawn
        from the sound itself, so the same sound always gets the same place. A longer clip is cut by
        the same rule: its start ("zero", "loop"), its middle ("center"), or a drawn part
        ("random").
    cmap : "magma" or "gray"
        Colours of the picture, dark for quiet. Default "magma", even in lightness as seen.
    channels : "mean", "first" or "both"
        What becomes of a recording's channels. "mean": their mean (the default, as in librosa).
        "first": the first alone. "both": the first two in one picture, the first in red, the second
        in green, the mean of the two grey levels in blue; "max" is then the maximum of both, so
        that their difference in level shows, a mono clip has two equal channels, and `cmap` has no
        say.

    Raises
    ------
    ConfigError
        If a value is out of range or two values contradict each other.

    Examples
    --------
    >>> config = SpectrogramConfig(n_mels=64)
    >>> config.n_samples, config.shape
    (88200, (64, 173))
    """

    table: ClassVar[str] = "spectrogram"
    later: ClassVar[frozenset[str]] = frozenset({"channels"})

    sr: int = Field(22_050, ge=1_000, le=1_000_000, strict=True)
    duration: float = Field(4.0, gt=0, le=3_600, strict=True)
    n_fft: int = Field(2_048, ge=16, le=1_048_576, strict=True)
    win_length: int | None = Field(None, ge=2, strict=True)
    hop_length: int = Field(512, ge=1, strict=True)
    n_mels: int = Field(128, ge=2, le=4_096, strict=True)
    fmin: float = Field(0.0, ge=0, strict=True)
    fmax: float | None = Field(None, gt=0, strict=True)
    ref: Literal["max"] | float = "max"
    top_db: float = Field(80.0, gt=0, le=300, strict=True)
    db_range: Literal["fixed", "auto"] = "fixed"
    pad: PadPolicy = "zero"
    cmap: Literal["magma", "gray"] = "magma"
    channels: Channels = "mean"

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        highest = self.fmax or self.sr / 2
        if not self.fmin < highest <= self.sr / 2:
            raise ValueError(
                f"fmin {self.fmin:g} and fmax {highest:g} Hz must satisfy fmin < fmax <= sr / 2 "
                f"= {self.sr / 2:g} Hz"
            )
        if self.win_length is not None and self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} is longer than n_fft {self.n_fft}")
        if isinstance(self.ref, float) and not 1e-10 < self.ref <= 1e30:
            raise ValueError(f"ref is {self.ref:g}: a power must lie between 1e-10 and 1e30")
        if self.n_samples < 1:
            raise ValueError(f"duration {self.duration:g} s holds no sample at {self.sr} Hz")
        self._check_size()
        return self

    def _check_size(self) -> None:
        """Bound what one picture takes, before anything is made of it."""
        samples, n_bins = self.duration * self.sr, self.n_fft // 2 + 1
        if samples > _MAX_SAMPLES:
            raise ValueError(
                f"duration {self.duration:g} s at sr {self.sr} Hz is {samples:,.0f} samples, more "
                f"than {_MAX_SAMPLES:,}; draw shorter windows or lower sr"
            )
        if self.n_frames * self.n_mels > MAX_PIXELS:
            raise ValueError(
                f"{self.n_frames:,} frames of {self.n_mels} bands are more than {MAX_PIXELS:,} "
                "pixels; raise hop_length or lower duration or n_mels"
            )
        if n_bins * self.n_mels > _MAX_FILTER:
            raise ValueError(
                f"n_mels {self.n_mels} of n_fft {self.n_fft} need a filter bank of more than "
                f"{_MAX_FILTER:,} values; lower one of them"
            )
        if self.n_frames * self.n_fft > _MAX_TRANSFORMED:
            raise ValueError(
                f"{self.n_frames:,} frames of n_fft {self.n_fft} are more than "
                f"{_MAX_TRANSFORMED:,} samples to transform; raise hop_length or lower n_fft"
            )

    @property
    def n_samples(self) -> int:
        """Samples in one picture."""
        return round(self.duration * self.sr)

    @property
    def n_frames(self) -> int:
        """Frames in one picture, its width in pixels; frames are centred, as in librosa."""
        return 1 + (self.n_samples - self.n_fft % 2) // self.hop_length

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the picture in pixels: ``(n_mels, n_frames)``."""
        return self.n_mels, self.n_frames

    @property
    def drawn(self) -> str:
        """How pixels stand for levels: "both" channels in red and green, or the palette's name."""
        return "both" if self.channels == "both" else self.cmap

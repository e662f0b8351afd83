"""Pictures of many sounds at once, in torch: those of :mod:`spectro.pictures.spectrogram`."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from spectro.errors import ConfigError
from spectro.pictures.mel import mel_filterbank
from spectro.pictures.settings import SpectrogramConfig
from spectro.training.pretraining.waves import Draw

__all__ = ["Pictures"]

_AMIN = 1e-10  # powers below count as silence, as in spectro.pictures.spectrogram
_SHORTEST = 2  # octaves that a window drawn may be shorter than its FFT
_LEAST_DB, _MORE_DB = 0.5, 0.75  # of top_db: a range drawn lies between 0.5 and 1.25 times it
_STRETCHED = 0.5  # share of pictures drawn that are stretched to their own range


class _Ways(NamedTuple):
    """How each sound is drawn, or all of them where there is one row alone."""

    windows: Tensor  # shape (n, n_fft)
    top_db: Tensor  # shape (n, 1)
    stretched: Tensor  # whether to its own range, as by db_range "auto"


class Pictures:
    """Draws sounds as grey levels.

    Parameters
    ----------
    config : SpectrogramConfig
        Settings; of one channel.
    device : torch.device

    Raises
    ------
    ConfigError
        If the pictures are to have both channels, which synthesised sounds do not.
    """

    def __init__(self, config: SpectrogramConfig, device: torch.device) -> None:
        if config.channels == "both":
            raise ConfigError("channels is 'both': synthesised sounds have one; take 'mean'")
        self.config = config
        length = config.win_length or config.n_fft
        before = (config.n_fft - length) // 2
        after = config.n_fft - length - before
        window = torch.hann_window(length, device=device)
        self._ways = _Ways(  # as the settings say
            torch.nn.functional.pad(window, (before, after))[None],
            torch.full((1, 1), config.top_db, device=device),
            torch.full((1, 1), config.db_range == "auto", device=device),
        )
        self._mel = torch.from_numpy(mel_filterbank(config)).to(device)

    def __call__(self, y: Tensor, draw: Draw | None = None) -> Tensor:
        """Draw sounds.

        Parameters
        ----------
        y : Tensor [shape=(n, config.n_samples)], float32
        draw : Draw or None
            Where given, each sound is drawn by settings of its own: a window from a quarter of
            `n_fft` to all of it, by equal ratios; half to five quarters of `top_db`; half of the
            pictures stretched to their own range. Else all are drawn as the settings say.

        Returns
        -------
        levels : Tensor [shape=(n, 1, n_mels, n_frames)], uint8
            Lowest band last, as in a picture; within one of those that rendering draws.
        """
        ways = self._ways if draw is None else self._new(draw, len(y))
        power = self._mel @ self._powers(y, ways.windows)
        loudest = power.amax(dim=(1, 2), keepdim=True)
        c = self.config
        ref = loudest if c.ref == "max" else torch.full_like(loudest, float(c.ref))
        db = 10 * (power.clamp(min=_AMIN).log10() - ref.clamp(min=_AMIN).log10())
        bottom, top = _limits(db, ways)
        scaled = (db.clamp(min=bottom, max=top) - bottom) * (255 / (top - bottom).clamp(min=1e-6))
        silent = loudest <= _AMIN
        return scaled.masked_fill(silent, 0).round().byte().flip(1)[:, None]

    def _new(self, draw: Draw, n: int) -> _Ways:
        """Draw each in a way of its own."""
        shorter, share, stretched = (draw.even(n, 1) for _ in range(3))
        n_fft = self.config.n_fft
        length = n_fft * torch.exp2(-_SHORTEST * shorter)
        turn = (torch.arange(n_fft, device=draw.device) - n_fft // 2) / length
        return _Ways(
            torch.cos(math.pi * turn).square() * (turn.abs() <= 0.5),  # Hann's, of any length
            self.config.top_db * (_LEAST_DB + _MORE_DB * share),
            stretched < _STRETCHED,
        )

    def _powers(self, y: Tensor, windows: Tensor) -> Tensor:
        """Compute power spectra, shape (n, 1 + n_fft // 2, n_frames).

        As ``torch.stft`` with ``pad_mode="constant"``, which takes one window for all.
        """
        c = self.config
        padded = torch.nn.functional.pad(y, (c.n_fft // 2, c.n_fft // 2))
        frames = padded.unfold(1, c.n_fft, c.hop_length) * windows[:, None]
        spectra = torch.fft.rfft(frames).transpose(1, 2)
        power: Tensor = spectra.real.square() + spectra.imag.square()
        return power


def _limits(db: Tensor, ways: _Ways) -> tuple[Tensor, Tensor]:
    """Say which decibels are the darkest and the brightest level, of each sound."""
    top_db, stretched = ways.top_db[:, None], ways.stretched[:, None]
    top = db.amax(dim=(1, 2), keepdim=True) * stretched
    lowest = db.amin(dim=(1, 2), keepdim=True).where(stretched, -torch.inf)
    return torch.maximum(lowest, top - top_db), top

"""Pictures of many sounds at once, in torch: those of :mod:`spectro.pictures.spectrogram`."""

from __future__ import annotations

import torch
from torch import Tensor

from spectro.errors import ConfigError
from spectro.pictures.mel import mel_filterbank
from spectro.pictures.settings import SpectrogramConfig

__all__ = ["Pictures"]

_AMIN = 1e-10  # powers below count as silence, as in spectro.pictures.spectrogram


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
        self._window = torch.hann_window(length, device=device)
        self._mel = torch.from_numpy(mel_filterbank(config)).to(device)

    def __call__(self, y: Tensor) -> Tensor:
        """Draw sounds.

        Parameters
        ----------
        y : Tensor [shape=(n, config.n_samples)], float32

        Returns
        -------
        levels : Tensor [shape=(n, 1, n_mels, n_frames)], uint8
            Lowest band last, as in a picture; within one of those that rendering draws.
        """
        c = self.config
        spectra = torch.stft(
            y, c.n_fft, c.hop_length, self._window.numel(), self._window,
            center=True, pad_mode="constant", return_complex=True,
        )  # fmt: skip
        power = self._mel @ (spectra.real.square() + spectra.imag.square())
        loudest = power.amax(dim=(1, 2), keepdim=True)
        ref = loudest if c.ref == "max" else torch.full_like(loudest, float(c.ref))
        db = 10 * (power.clamp(min=_AMIN).log10() - ref.clamp(min=_AMIN).log10())
        bottom, top = self._limits(db)
        scaled = (db.clamp(min=bottom, max=top) - bottom) * (255 / (top - bottom).clamp(min=1e-6))
        silent = loudest <= _AMIN
        return scaled.masked_fill(silent, 0).round().byte().flip(1)[:, None]

    def _limits(self, db: Tensor) -> tuple[Tensor, Tensor]:
        """Say which decibels are the darkest and the brightest level, of each sound."""
        like = db[:, :1, :1]
        if self.config.db_range == "fixed":
            return torch.full_like(like, -self.config.top_db), torch.zeros_like(like)
        top = db.amax(dim=(1, 2), keepdim=True)
        return torch.maximum(db.amin(dim=(1, 2), keepdim=True), top - self.config.top_db), top

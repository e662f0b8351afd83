"""Parts of pictures covered."""

from __future__ import annotations

import torch

from spectro.errors import ConfigError
from spectro.training.augment.transform import Transform, checked_share

__all__ = ["Masks"]


class Masks(Transform):
    """Cover stretches of time and bands of frequency with the picture's own mean (SpecAugment).

    The network must then not rely on any one moment or band.

    Parameters
    ----------
    time, freq : int
        How many of each a picture gets; 0 or more.
    share : float
        The widest, as a share of the side it lies on; above 0, at most 1. Each width is drawn
        evenly from nothing to that.

    Raises
    ------
    ConfigError
        If a value is out of range.

    References
    ----------
    D. S. Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
    Recognition", Interspeech 2019. Without its time warping.
    """

    def __init__(self, time: int, freq: int, share: float = 0.2) -> None:
        if min(time, freq) < 0 or not time + freq:
            raise ConfigError(f"masks: {time} in time and {freq} in frequency; ask for one or more")
        self.time, self.freq, self.share = time, freq, checked_share("mask_share", share)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Cover parts of them."""
        n, _, height, width = x.shape
        covered = torch.zeros(n, 1, height, width, dtype=torch.bool, device=x.device)
        for _ in range(self.time):
            covered |= self._stretch(n, width, x.device)[:, None, None, :]
        for _ in range(self.freq):
            covered |= self._stretch(n, height, x.device)[:, None, :, None]
        return torch.where(covered, x.mean(dim=(2, 3), keepdim=True), x)

    def _stretch(self, n: int, side: int, device: torch.device) -> torch.Tensor:
        """Draw one stretch for each of `n` pictures, shape (n, side), True inside."""
        length = torch.rand(n, 1, device=device) * self.share * side
        start = torch.rand(n, 1, device=device) * (side - length)
        place = torch.arange(side, device=device)
        return (place >= start) & (place < start + length)

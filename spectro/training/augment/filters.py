"""Changes of levels, as another microphone, another room or a second sound would cause.

Levels go from 0 (the bottom of the picture's range, or silence) to 1.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from spectro.training.augment.transform import Transform, checked_share, is_sounding

__all__ = ["Background", "BandGain", "MixStyle"]

_KNOTS = 6  # of a filter from the lowest band to the highest: as smooth as of a microphone or room
_ALPHA = 0.4  # of the Beta distribution, as in DCASE: mostly a small share of the other clip
_STILL = 0.02  # lower bound of a band's deviation: else a steady tone is amplified into noise
_BELOW = (10.0, 30.0)  # dB by which a background is quieter


class BandGain(Transform):
    """Make bands louder or softer, smoothly over frequency, as another microphone or room would.

    Frames of silence stay silent.

    Parameters
    ----------
    share : float
        The largest change, up or down, as a share of the picture's range (0.1 of 80 dB is 8 dB);
        above 0, at most 1.

    Raises
    ------
    ConfigError
        If `share` is out of range.

    References
    ----------
    H. Nam, S.-H. Kim, Y.-H. Park, "FilterAugment: An Acoustic Environmental Data Augmentation
    Method", ICASSP 2022; the linear kind, with evenly spaced knots.
    """

    def __init__(self, share: float) -> None:
        self.share = checked_share("band_gain", share)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Filter each picture."""
        knots = self.share * (2 * torch.rand(len(x), 1, _KNOTS, device=x.device, dtype=x.dtype) - 1)
        gains = functional.interpolate(knots, x.shape[2], mode="linear", align_corners=True)
        return torch.where(is_sounding(x), (x + gains[..., None]).clamp(0, 1), x)


class MixStyle(Transform):
    """Move the mean and deviation of a picture's bands towards those of another of the batch.

    A band's mean and deviation over time depend on the recording as much as on the sound. The share
    of the other picture is drawn from a Beta distribution and is at most one half. Frames of
    silence stay silent.

    Parameters
    ----------
    share : float
        Share of pictures that are changed; above 0, at most 1.

    Raises
    ------
    ConfigError
        If `share` is out of range.

    References
    ----------
    K. Zhou, Y. Yang, Y. Qiao, T. Xiang, "Domain Generalization with MixStyle", ICLR 2021. Of bands
    instead of channels, Freq-MixStyle: T. Morocutti, F. Schmid, K. Koutini, G. Widmer,
    "Device-Robust Acoustic Scene Classification via Impulse Response Augmentation", EUSIPCO 2023.
    """

    def __init__(self, share: float) -> None:
        self.share = checked_share("mixstyle", share)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the statistics of each picture with those of another."""
        sounding = is_sounding(x)
        n_frames = sounding.sum(dim=3, keepdim=True).clamp(min=1)
        mean = x.sum(dim=3, keepdim=True) / n_frames  # (n, channels, n_mels, 1)
        power = ((x - mean) ** 2 * sounding).sum(dim=3, keepdim=True) / n_frames
        deviation = power.sqrt().clamp(min=_STILL)
        beta = torch.distributions.Beta(*torch.full((2,), _ALPHA, device=x.device, dtype=x.dtype))
        own = beta.sample((len(x),))
        own = torch.maximum(own, 1 - own)[:, None, None, None]
        new_mean = own * mean + (1 - own) * _others(mean)
        new_deviation = own * deviation + (1 - own) * _others(deviation)
        mixed = ((x - mean) / deviation * new_deviation + new_mean).clamp(0, 1)
        return torch.where(sounding & _drawn(self.share, x), mixed, x)


class Background(Transform):
    """Add another clip of the batch to a picture as background; powers are added.

    The background's maximum is set 10 to 30 dB below the picture's, whose label stays.

    Parameters
    ----------
    share : float
        Share of pictures that are changed; above 0, at most 1.
    top_db : float
        Range of the pictures, in dB; of pictures with individual ranges the widest, and the
        background may then be less than 10 dB below.

    Raises
    ------
    ConfigError
        If `share` is out of range.

    References
    ----------
    Salamon and Bello, see :class:`~spectro.training.augment.geometry.Warp`: their background noise,
    with another clip instead of a recording of noise.
    """

    def __init__(self, share: float, top_db: float) -> None:
        self.share, self.top_db = checked_share("background", share), top_db

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Add a background to each picture."""
        low, high = _BELOW
        below = low + (high - low) * torch.rand(len(x), 1, 1, 1, device=x.device, dtype=x.dtype)
        peak, other = x.amax(dim=(1, 2, 3), keepdim=True), _others(x)
        lower = other - _others(peak) + peak - below / self.top_db
        # Levels are dB over the range, so the sum of powers is a log-add-exp to another base.
        bels = math.log(10) * self.top_db / 10
        sum_of_both = (torch.logaddexp(bels * x, bels * lower) / bels).clamp(max=1)
        heard = (other > 0) & (lower > 0)
        return torch.where(heard & _drawn(self.share, x), sum_of_both, x)


def _others(x: torch.Tensor) -> torch.Tensor:
    """Pair each picture with its neighbour; batches are shuffled anew in each epoch."""
    return x.roll(1, dims=0)


def _drawn(share: float, x: torch.Tensor) -> torch.Tensor:
    """Draw which pictures are changed, shape (n, 1, 1, 1)."""
    return torch.rand(len(x), 1, 1, 1, device=x.device) < share

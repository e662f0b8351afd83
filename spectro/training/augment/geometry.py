"""Changes in time and frequency: masks, shifts, and changes of tempo and pitch."""

from __future__ import annotations

import torch
from torch.nn import functional

from spectro.errors import ConfigError
from spectro.training.augment.transform import Transform, checked_share, is_sounding

__all__ = ["Crop", "Masks", "Shift", "Warp"]


class Crop(Transform):
    """Cut a random stretch of time out of each picture, as wide for all of them.

    A step then takes about as much less time as the picture is narrower, and the network hears
    another part of a clip in each epoch. Where the sound is as long as the stretch or longer, no
    silence before or after it is kept; else all of it is.

    Parameters
    ----------
    share : float
        What is kept of the width; above 0, at most 1.

    Raises
    ------
    ConfigError
        If `share` is out of range.

    References
    ----------
    K. Koutini et al., "Efficient Training of Audio Transformers with Patchout", Interspeech 2022,
    and others train on parts of clips; whole clips are judged.
    """

    def __init__(self, share: float) -> None:
        self.share = checked_share("crop", share)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Cut each picture."""
        width = max(1, round(self.share * x.shape[3]))
        first, last = _ends(x)
        most = x.shape[3] - width
        a, b = first.clamp(max=most), (last + 1 - width).clamp(0, most)
        low, high = torch.minimum(a, b), torch.maximum(a, b)
        chance = torch.rand(len(x), device=x.device)
        start = low + (chance * (high - low + 1)).long().clamp(max=high - low)
        frames = start[:, None] + torch.arange(width, device=x.device)
        return x.gather(3, frames[:, None, None, :].expand(*x.shape[:3], width))


def _ends(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first and the last frame of each picture that is not silent, shape (n,) each."""
    heard = is_sounding(x).any(dim=1)[:, 0]
    first = heard.float().argmax(dim=1)
    last = heard.shape[1] - 1 - heard.flip(1).float().argmax(dim=1)
    return first, last


class Masks(Transform):
    """Cover stretches of time and bands of frequency with the picture's own mean (SpecAugment).

    So the network cannot rely on a single moment or band.

    Parameters
    ----------
    time, freq : int
        Number of masks in time and in frequency for each picture; 0 or more.
    share : float
        The largest width of a mask, as a share of the picture's width or height; above 0, at most
        1. Widths are uniform from 0 to that.

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
        """Cover parts of each picture."""
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


class Shift(Transform):
    """Roll pictures in time: what leaves at one end enters at the other.

    The class of a sound does not depend on when it occurs in its clip.

    Parameters
    ----------
    share : float
        The largest shift in either direction, as a share of the width; above 0, at most 1.

    Raises
    ------
    ConfigError
        If `share` is out of range.

    Examples
    --------
    >>> x = torch.rand(2, 3, 4, 5)
    >>> torch.equal(Shift(1.0)(x).sort(dim=3).values, x.sort(dim=3).values)
    True
    """

    def __init__(self, share: float) -> None:
        self.share = checked_share("shift", share)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Roll each picture."""
        width = x.shape[3]
        farthest = round(self.share * width)
        by = torch.randint(-farthest, farthest + 1, (len(x), 1), device=x.device)
        frames = (torch.arange(width, device=x.device) - by) % width  # (n, width)
        return x.gather(3, frames[:, None, None, :].expand_as(x))


class Warp(Transform):
    """Stretch or squeeze pictures in time, and move them in frequency.

    Recordings of one class differ in tempo and pitch. On the mel scale a move is nearly a change of
    pitch.

    Parameters
    ----------
    stretch : float
        The largest change of tempo, as a share of it; 0 or more, below 1. The start stays in place;
        after the end of a squeezed picture, pixels get its lowest level.
    pitch : float
        The largest move up or down, as a share of the height; 0 or more, below 1. The lowest or
        highest band fills the gap.

    Raises
    ------
    ConfigError
        If a value is out of range, or both are 0.

    References
    ----------
    J. Salamon, J. P. Bello, "Deep Convolutional Neural Networks and Data Augmentation for
    Environmental Sound Classification", IEEE Signal Processing Letters 24 (3), 2017: changes of
    pitch helped most. They changed the sound; changing the picture takes far less time.
    """

    def __init__(self, stretch: float, pitch: float) -> None:
        if not (0 <= stretch < 1 and 0 <= pitch < 1 and stretch + pitch):
            raise ConfigError(
                f"stretch is {stretch} and pitch {pitch}: shares are at least 0 and below 1, and "
                "one must be above 0"
            )
        self.stretch, self.pitch = stretch, pitch

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Warp each picture."""
        pace, rise = 2 * torch.rand(2, len(x), device=x.device, dtype=x.dtype) - 1
        pace = 1 + self.stretch * pace
        # An affine map from each pixel to its source, in coordinates from -1 to 1.
        theta = x.new_zeros(len(x), 2, 3)
        theta[:, 0, 0], theta[:, 0, 2] = pace, pace - 1
        theta[:, 1, 1], theta[:, 1, 2] = 1, 2 * self.pitch * rise
        places = functional.affine_grid(theta, list(x.shape), align_corners=False)
        warped = functional.grid_sample(x, places, padding_mode="border", align_corners=False)
        ended = places[:, None, :, :, 0] > 1
        return torch.where(ended, x.amin(dim=(2, 3), keepdim=True), warped)

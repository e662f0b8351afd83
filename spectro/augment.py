"""Augmentation: changes to a batch of pictures after which their labels are still true.

All work on whole batches, on whichever device they lie, with a draw of its own for each picture,
and but for :class:`BandGain` on channels of any scale: before or after normalisation is the same.
None flips or turns a picture: a spectrogram upside down is another sound.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod

import torch
from torch.nn import functional

from spectro.colors import palette
from spectro.config import SpectrogramConfig, TrainConfig
from spectro.errors import ConfigError

__all__ = ["BandGain", "Masks", "Shift", "Transform", "Warp", "transforms"]

# Of red, green and blue: in whole steps of 8 bits, no two colours of magma are as bright.
_BRIGHTNESS = (2.0, 3.0, 1.0)
_KNOTS = 6  # of a filter, from the lowest band to the highest: broad, as rooms and microphones are


class Transform(ABC):
    """A change of a batch of pictures."""

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Change pictures.

        Parameters
        ----------
        x : torch.Tensor [shape=(n, channels, n_mels, n_frames)]
            Floating point; left as it is.

        Returns
        -------
        changed : torch.Tensor [shape as `x`]
        """

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"{type(self).__name__}({told})"


class Shift(Transform):
    """Roll pictures in time: what leaves at one end comes in at the other.

    When a sound happens within its clip says nothing of what it is.

    Parameters
    ----------
    share : float
        The farthest, as a share of the width, either way; above 0, at most 1.

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
        self.share = _share("shift", share)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Roll them."""
        width = x.shape[3]
        farthest = round(self.share * width)
        by = torch.randint(-farthest, farthest + 1, (len(x), 1), device=x.device)
        frames = (torch.arange(width, device=x.device) - by) % width  # (n, width)
        return x.gather(3, frames[:, None, None, :].expand_as(x))


class Warp(Transform):
    """Stretch or squeeze pictures in time, and move them in frequency.

    Quicker or slower, higher or lower, a dog is a dog. Recordings of the same thing differ in just
    that. On the mel scale a move is nearly a change of pitch.

    Parameters
    ----------
    stretch : float
        The most that the pace changes, as a share of it; 0 or more, below 1. The start stays where
        it is; what comes after the end of a squeezed picture is as dark as its darkest pixel.
    pitch : float
        The farthest that a picture moves up or down, as a share of its height; 0 or more, below 1.
        The lowest or highest band fills the gap.

    Raises
    ------
    ConfigError
        If a value is out of range, or both are 0.

    References
    ----------
    J. Salamon, J. P. Bello, "Deep Convolutional Neural Networks and Data Augmentation for
    Environmental Sound Classification", IEEE Signal Processing Letters 24 (3), 2017: of what they
    tried, changes of pitch did most. They changed the sound; the picture costs next to nothing.
    """

    def __init__(self, stretch: float, pitch: float) -> None:
        if not (0 <= stretch < 1 and 0 <= pitch < 1 and stretch + pitch):
            raise ConfigError(
                f"stretch is {stretch} and pitch {pitch}: shares are at least 0 and below 1, and "
                "one must be above 0"
            )
        self.stretch, self.pitch = stretch, pitch

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Warp them."""
        pace, rise = 2 * torch.rand(2, len(x), device=x.device, dtype=x.dtype) - 1
        pace = 1 + self.stretch * pace
        # Where each pixel comes from, by an affine map of coordinates that go from -1 to 1.
        theta = x.new_zeros(len(x), 2, 3)
        theta[:, 0, 0], theta[:, 0, 2] = pace, pace - 1
        theta[:, 1, 1], theta[:, 1, 2] = 1, 2 * self.pitch * rise
        places = functional.affine_grid(theta, list(x.shape), align_corners=False)
        warped = functional.grid_sample(x, places, padding_mode="border", align_corners=False)
        ended = places[:, None, :, :, 0] > 1
        return torch.where(ended, x.amin(dim=(2, 3), keepdim=True), warped)


class BandGain(Transform):
    """Make bands louder or softer, smoothly over frequency, as another microphone or room would.

    Frames of silence stay silent.

    Parameters
    ----------
    share : float
        The most, up or down, as a share of the picture's range (of 80 dB, 0.1 is 8 dB); above 0, at
        most 1.
    cmap : "magma" or "gray"
        Colours of the pictures: what tells a level from a pixel. Where each channel holds levels
        of its own, "gray" as well.

    Raises
    ------
    ConfigError
        If `share` is out of range.

    References
    ----------
    H. Nam, S.-H. Kim, Y.-H. Park, "FilterAugment: An Acoustic Environmental Data Augmentation
    Method", ICASSP 2022; its linear kind, with knots at even places.
    """

    def __init__(self, share: float, cmap: str = "magma") -> None:
        self.share, self.cmap = _share("band_gain", share), cmap

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Filter them; `x` holds what the picture does, from 0 to 1, not yet normalised."""
        levels = x if self.cmap == "gray" else _levels(x, self.cmap)
        knots = self.share * (2 * torch.rand(len(x), 1, _KNOTS, device=x.device, dtype=x.dtype) - 1)
        gains = functional.interpolate(knots, x.shape[2], mode="linear", align_corners=True)
        sounding = levels.amax(dim=2, keepdim=True) > 0
        levels = torch.where(sounding, (levels + gains[..., None]).clamp(0, 1), levels)
        return levels if self.cmap == "gray" else _colours(levels, self.cmap)


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
        self.time, self.freq, self.share = time, freq, _share("mask_share", share)

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


def transforms(config: TrainConfig, spectrogram: SpectrogramConfig | None) -> list[Transform]:
    """List what a training batch goes through under these settings, in order.

    Parameters
    ----------
    config : TrainConfig
        Says what.
    spectrogram : SpectrogramConfig or None
        Says what the pictures' colours mean, which `band_gain` needs to know.

    Raises
    ------
    ConfigError
        If it is needed and not given.
    """
    chosen: list[Transform] = []
    if config.band_gain:
        if spectrogram is None:
            raise ConfigError("band_gain needs the settings that the pictures were drawn with")
        levels = spectrogram.channels == "both" or spectrogram.cmap == "gray"
        chosen.append(BandGain(config.band_gain, "gray" if levels else spectrogram.cmap))
    if config.stretch or config.pitch:
        chosen.append(Warp(config.stretch, config.pitch))
    if config.shift:
        chosen.append(Shift(config.shift))
    if config.time_masks or config.freq_masks:
        chosen.append(Masks(config.time_masks, config.freq_masks, config.mask_share))
    return chosen


@functools.cache
def _palette(cmap: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Give the colours of all levels from 0 to 1, shape (256, 3)."""
    table = torch.frombuffer(bytearray(palette(cmap)), dtype=torch.uint8).view(256, 3)
    return table.to(device, dtype) / 255


def _levels(x: torch.Tensor, cmap: str) -> torch.Tensor:
    """Find the level of each pixel, shape (n, 1, height, width).

    Of a pixel that is no colour of the palette, as resizing makes them, one about as bright.
    """
    weights = torch.tensor(_BRIGHTNESS).to(x)
    steps = _palette(cmap, x.dtype, x.device) @ weights
    brightness = torch.einsum("nchw,c->nhw", x, weights)[:, None]
    return torch.bucketize(brightness, (steps[1:] + steps[:-1]) / 2).to(x) / 255


def _colours(levels: torch.Tensor, cmap: str) -> torch.Tensor:
    """Colour levels, shape (n, 1, height, width), as pictures are, shape (n, 3, height, width)."""
    colours = _palette(cmap, levels.dtype, levels.device)
    return colours[(levels[:, 0] * 255).round().long()].permute(0, 3, 1, 2)


def _share(name: str, value: float) -> float:
    if not 0 < value <= 1:
        raise ConfigError(f"{name} is {value}: a share must be above 0 and at most 1")
    return value

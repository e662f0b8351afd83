"""From grey levels, as pictures are kept, to the pixels that a network takes.

A picture is one byte a pixel in memory, its level, and two where it has both channels of a sound.
Levels are augmented; colours and normalisation come last, a batch at a time, on its device.
"""

from __future__ import annotations

from typing import Any

import torch
from fastai.torch_core import TensorBase, TensorImage
from fastai.vision.augment import DisplayedTransform

from spectro.pictures.colors import palette
from spectro.training.resample import resized

__all__ = ["Colour", "TensorLevels"]

_Triple = tuple[float, float, float]
_PLAIN: tuple[_Triple, _Triple] = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # colours from 0 to 1


class TensorLevels(TensorBase):  # type: ignore[misc]
    """Grey levels of pictures, uint8, of shape (..., channels, height, width)."""


class Colour(DisplayedTransform):  # type: ignore[misc]
    """The batch transform from levels to normalised colours.

    What comes out is, to the bit, what fastai makes of the PNG: its colours, resized by Pillow,
    divided by 255 and normalised.

    Parameters
    ----------
    drawn : "magma", "gray" or "both"
        How pixels stand for levels: by the palette, for one channel of sound; or "both" channels,
        with levels in red and green and their mean in blue.
    size : int or None
        Side of the square that pictures are resized to; None leaves them.
    mean, std : tuple of float
        Of red, green and blue, as the network expects.
    frames : int or None
        Width of a whole picture before it is resized. Narrower ones, which were cropped, keep their
        share of `size`, so that a second is as wide in them as in a whole one. None: all are whole.
    """

    order = 30  # after the levels were augmented

    def __init__(
        self,
        drawn: str,
        size: int | None = None,
        mean: _Triple = _PLAIN[0],
        std: _Triple = _PLAIN[1],
        frames: int | None = None,
    ) -> None:
        super().__init__()
        self.drawn, self.size, self.mean, self.std, self.frames = drawn, size, mean, std, frames
        self._tables: dict[torch.device, torch.Tensor] = {}

    def leave_plain(self) -> None:
        """Normalise no more: colours come out from 0 to 1."""
        (self.mean, self.std), self._tables = _PLAIN, {}

    def encodes(self, x: TensorLevels) -> TensorImage:
        """Map levels (n, channels, height, width) to pixels (n, 3, height, width)."""
        levels = x.as_subclass(torch.Tensor)
        if self.drawn != "both" and self.size is None:  # one look-up for all
            pixels = self._coloured(levels, self._table(levels.device))
        else:
            pixels = self._normalised(self.colours(levels))
        return TensorImage(pixels.permute(0, 3, 1, 2))

    def decodes(self, x: TensorImage) -> TensorImage:
        """Give the colours back, from 0 to 1, to be shown."""
        mean, std = (x.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (x * std + mean).clamp(0, 1)

    def colours(self, levels: torch.Tensor) -> torch.Tensor:
        """Give the colours of levels as bytes, shape (n, height, width, 3)."""
        if self.drawn == "both":
            mean = (levels.sum(dim=1, keepdim=True, dtype=torch.int16) + 1) // 2
            colours = torch.cat([levels, mean.byte()], dim=1).permute(0, 2, 3, 1).contiguous()
        else:
            colours = self._coloured(levels, _bytes(self.drawn).to(levels.device))
        if self.size is None:
            return colours
        share = levels.shape[-1] / (self.frames or levels.shape[-1])
        return resized(colours, self.size, max(1, round(share * self.size)))

    def _table(self, device: torch.device) -> torch.Tensor:
        """Return the normalised colours of all levels, shape (256, 3)."""
        if device not in self._tables:
            self._tables[device] = self._normalised(_bytes(self.drawn).to(device))
        return self._tables[device]

    def _normalised(self, colours: torch.Tensor) -> torch.Tensor:
        mean, std = (torch.tensor(x, device=colours.device) for x in (self.mean, self.std))
        return (colours.float().div_(255) - mean) / std

    @staticmethod
    def _coloured(levels: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        n, _, height, width = levels.shape
        return table.index_select(0, levels.flatten().int()).view(n, height, width, 3)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the tables out: they are made anew where they are needed."""
        return {**self.__dict__, "_tables": {}}


def _bytes(drawn: str) -> torch.Tensor:
    """Return the colours of all levels as bytes, shape (256, 3)."""
    return torch.frombuffer(bytearray(palette(drawn)), dtype=torch.uint8).view(256, 3)

"""Batches without Python for each picture: all are read once, then a batch is one indexing.

What fastai's own loader does for each picture in each epoch takes a millisecond, of which decoding
is a fifth. Pictures of a dataset are small enough to stay: UrbanSound8K's take 0.6 GB.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from fastai.data.core import TfmdDL
from fastai.torch_core import TensorCategory, TensorImage

from spectro.pictures.read import n_bytes, read_levels

__all__ = ["KeptDL", "fits"]

_SHARE = 4  # of the memory that there is, pictures take at most one part in so many


class KeptDL(TfmdDL):  # type: ignore[misc]
    """A fastai DataLoader that reads its pictures once and keeps them where training is.

    Order, batches and what they hold are those of `TfmdDL`, bit for bit; item transforms must be
    none but a `Resize` that squishes. Keyword arguments are `TfmdDL`'s.

    Parameters
    ----------
    size : int or None
        Side of the square that pictures are resized to.
    """

    def __init__(self, *args: Any, size: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.size = size
        self._kept: tuple[torch.Tensor, ...] | None = None

    def new(self, dataset: Any = None, cls: Any = None, **kwargs: Any) -> TfmdDL:
        """Make another of the same kind, for other clips."""
        return super().new(dataset, cls, **{"size": self.size, **kwargs})

    def create_batches(self, samps: Iterable[int]) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield batches of the clips that `samps` numbers."""
        if self._kept is None:
            self._kept = self._read()
        order = torch.tensor(list(samps), device=self.device)
        for at in torch.split(order, self.bs):
            if len(at) == self.bs or not self.drop_last:
                yield tuple(tensor[at] for tensor in self._kept)

    def _read(self) -> tuple[torch.Tensor, ...]:
        """Read all pictures, and their labels unless they are to be predicted."""
        levels = torch.from_numpy(read_levels([clip.image for clip in self.items], self.size))
        pixels = TensorImage(levels.to(self.device).permute(0, 3, 1, 2))  # channels_last in memory
        if len(self.dataset.tls) == 1:
            return (pixels,)
        labels = torch.stack([self.dataset.tls[1][number] for number in range(self.n)])
        return pixels, TensorCategory(labels.to(self.device))


def fits(images: list[str], size: int | None, device: torch.device) -> bool:
    """Tell whether pictures may all stay in the memory of the device that trains.

    Parameters
    ----------
    images : list of str
        All that are kept at one time.
    size : int or None
        Side of the square that they are resized to.
    device : torch.device
        Where they would lie.
    """
    if device.type == "cuda":
        room = torch.cuda.mem_get_info(device)[0]
    else:
        room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return len(images) * n_bytes(images[0], size) * _SHARE <= room

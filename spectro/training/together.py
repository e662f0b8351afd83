"""fastai's distributed training on any device, in the batches of one; importing needs accelerate.

fastai's own agrees on the order of clips on CUDA alone, and cuts it in as many stretches as there
are processes, so that a batch, or an epoch's last, may be one that a single process never saw.
"""

from __future__ import annotations

from typing import Any

import torch
from fastai.distributed import DistributedDL, DistributedTrainer

__all__ = ["PartDL", "Together"]


class PartDL(DistributedDL):  # type: ignore[misc]
    """One process's part of the batches of all.

    Where the last, smaller batch is dropped, as in training, all processes together see the very
    batches of one. Otherwise, when watching, fastai repeats a clip or two until all have as many.
    """

    def __len__(self) -> int:
        batches: int = self.dl.n // self._shared if self.drop_last else super().__len__()
        return batches

    def get_idxs(self) -> list[int]:
        """List this process's clips."""
        if not self.drop_last:
            mine: list[int] = super().get_idxs()
            return mine
        order = self._broadcast(list(self.dl.get_idxs()), 0)
        self.n = self.n_padded = len(order) // self._shared * self._shared
        starts = range(self.rank * self.bs, self.n, self._shared)
        return [clip for start in starts for clip in order[start : start + self.bs]]

    @property
    def _shared(self) -> int:
        """Clips in a batch of all."""
        return int(self.bs * self.world_size)

    def _broadcast(self, t: list[int], rank: int) -> list[int]:
        order = torch.tensor(t, device=self.device)
        torch.distributed.broadcast(order, rank)
        agreed: list[int] = order.tolist()
        return agreed


class Together(DistributedTrainer):  # type: ignore[misc]
    """Trains as one with the other processes: the first one's weights, the mean of all gradients.

    Arguments are those of fastai's `DistributedTrainer`.
    """

    def _wrap_dl(self, dl: Any) -> Any:
        return dl if isinstance(dl, PartDL) else PartDL(dl, device=self.dls.device)

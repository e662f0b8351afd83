"""fastai's distributed training on any device; importing this needs accelerate.

fastai agrees on the order of clips on CUDA alone.
"""

from __future__ import annotations

from typing import Any

import torch
from fastai.distributed import DistributedDL, DistributedTrainer

__all__ = ["PartDL", "Together"]


class PartDL(DistributedDL):  # type: ignore[misc]
    """One process's part of the batches of all."""

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

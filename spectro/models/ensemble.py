"""Networks that judge together."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """The mean of what several networks hold likely, in the form of one network.

    Its softmax is the mean of theirs. Networks that learned the same clips from other seeds agree
    where they know and differ where they guess, so that the mean is right more often than any.

    Parameters
    ----------
    members : iterable of torch.nn.Module
        Each maps pictures to logits (n, n_classes) of the same classes.

    References
    ----------
    B. Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles", NIPS 2017.

    Examples
    --------
    >>> one, other = nn.Linear(4, 3), nn.Linear(4, 3)
    >>> x = torch.rand(5, 4)
    >>> mean = (one(x).softmax(1) + other(x).softmax(1)) / 2
    >>> torch.allclose(Ensemble([one, other])(x).softmax(1), mean)
    True
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give the logarithm of the mean probability, shape (n, n_classes)."""
        each = torch.stack([member(x) for member in self.members])
        return each.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(self.members))

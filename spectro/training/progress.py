"""Whom training tells how it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Listener"]


@dataclass(frozen=True)
class Listener:
    """Two functions to call while training; the defaults do nothing.

    Attributes
    ----------
    batch : callable
        Called after each training batch with the batches done and the batches of the whole fit.
    epoch : callable
        Called after each epoch with a dict, the row of ``history.csv``.
    """

    batch: Callable[[int, int], None] = lambda done, total: None
    epoch: Callable[[dict[str, Any]], None] = lambda row: None

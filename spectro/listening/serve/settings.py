"""What a service allows: sizes, lengths, how much at once, how long it waits."""

from __future__ import annotations

import os
from typing import ClassVar

from pydantic import Field

from spectro.plumbing.settings import Settings

__all__ = ["ServeSettings"]


class ServeSettings(Settings):
    """The bounds of a service.

    Parameters
    ----------
    max_mb : float
        Largest sound that /predict takes, in MB.
    max_seconds : float
        Longest sound that /predict takes, in seconds, whatever its size.
    max_scan_mb : float
        Largest recording that /scan takes, in MB.
    max_scan_hours : float
        Longest recording that /scan takes, in hours, whatever its size.
    disk_mb : float
        Room for all uploads together, in MB.
    max_requests : int
        Uploads taken in at once; of more, each is told to come again (503).
    max_scans : int
        Scans that wait or run; of more, each is told to come again (429).
    keep_minutes : float
        Minutes for which a finished scan can be asked for.
    patience : float
        Seconds without a byte after which an upload is given up (408).
    drain : float
        Seconds that requests have to end when the service is told to.
    workers : int
        Threads that predict.
    """

    table: ClassVar[str] = "serve"

    max_mb: float = Field(50, gt=0, le=1e6)
    max_seconds: float = Field(600, gt=0, le=86_400)
    max_scan_mb: float = Field(2_000, gt=0, le=1e6)
    max_scan_hours: float = Field(24, gt=0, le=1_000)
    disk_mb: float = Field(8_000, gt=0, le=1e8)
    max_requests: int = Field(256, ge=1, le=10_000)
    max_scans: int = Field(8, ge=1, le=1_000)
    keep_minutes: float = Field(60, gt=0, le=1e6)
    patience: float = Field(20, gt=0, le=3_600)
    drain: float = Field(30, ge=0, le=3_600)
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=1_000)

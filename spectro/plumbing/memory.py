"""How much memory this machine has."""

from __future__ import annotations

import os

__all__ = ["installed"]


def installed() -> int | None:
    """Count the bytes of memory; None where the system does not tell, as Windows."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

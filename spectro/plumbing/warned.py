"""Warnings of libraries that are theirs to mend, and that nobody who uses us can act on."""

from __future__ import annotations

import warnings

__all__ = ["ignore_known"]


def ignore_known() -> None:
    """Ignore them, here and nowhere else; call it before what warns is imported."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")  # of fastai's calls
    warnings.filterwarnings("ignore", message="IProgress not found")  # no bars of ipywidgets

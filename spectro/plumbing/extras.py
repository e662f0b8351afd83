"""Which extra brings a package that is not installed: ``pip install spectro`` is for listening."""

from __future__ import annotations

import importlib.util

from spectro.errors import MissingExtraError

__all__ = ["PACKAGES", "explained", "is_installed"]

# What is imported where it is needed, and answered for here if it is not there. Packages that one
# option alone needs are answered for where that option is read.
PACKAGES = {
    "train": (
        "fastai",
        "fastcore",
        "librosa",
        "matplotlib",
        "pandas",
        "requests",
        "safetensors",
        "scipy",
        "sklearn",
        "tomli_w",
        "torch",
        "torchvision",
        "urllib3",
    ),
}


def explained(error: ModuleNotFoundError, purpose: str) -> MissingExtraError | ModuleNotFoundError:
    """Say which extra is missing; of a package that no extra brings, return the error itself.

    Parameters
    ----------
    error : ModuleNotFoundError
        Of an import.
    purpose : str
        What was asked for, as the subject of a sentence.
    """
    package = (error.name or "").partition(".")[0]
    for extra, packages in PACKAGES.items():
        if package in packages:
            return MissingExtraError(extra, purpose)
    return error


def is_installed(package: str) -> bool:
    """Tell whether a package can be imported, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:  # an import hook refuses it
        return False

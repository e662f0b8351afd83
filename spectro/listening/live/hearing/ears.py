"""What every session of a listener has in common: the model, and the settings of a site."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from spectro.listening.backends import Backend
from spectro.listening.event_settings import EventSettings

__all__ = ["Ears", "Site", "model_hash"]


class Site(NamedTuple):
    """What holds at a site.

    Parameters
    ----------
    name : str
        "" for none.
    events : EventSettings
    hop : float or None
        Seconds from one window to the next; None means a window's length.
    budget : float or None
        False events an hour that each class may cost; None: there is no contract.
    """

    name: str
    events: EventSettings
    hop: float | None = None
    budget: float | None = None


class Ears(NamedTuple):
    """A model, and what it is called in events.

    Parameters
    ----------
    backend : Backend
    model : str
        Hash of the model.
    """

    backend: Backend
    model: str


_FILES = ("model.safetensors", "model.onnx", "model.int8.onnx")


def model_hash(folder: str | Path) -> str:
    """Name a model by its content: 16 hexadecimal digits of its first file's SHA-256."""
    path = next((Path(folder) / name for name in _FILES if (Path(folder) / name).is_file()), None)
    if path is None:
        return ""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]

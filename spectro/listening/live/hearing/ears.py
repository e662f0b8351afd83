"""What every session of a listener has in common: the model, and the settings of a site."""

from __future__ import annotations

from typing import NamedTuple

from spectro.listening.backends import Backend
from spectro.listening.events.settings import EventSettings

__all__ = ["Ears", "Site"]


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
    runs : "torch", "onnx", "int8" or ""
        What runs it; "" where nobody says.
    """

    backend: Backend
    model: str
    runs: str = ""

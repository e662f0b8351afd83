"""The words that settings of sound choose from; no numpy, so that a help text can name them."""

from __future__ import annotations

from typing import Literal

__all__ = ["Channels", "PadPolicy"]

PadPolicy = Literal["zero", "loop", "center", "random"]
Channels = Literal["mean", "first", "both"]

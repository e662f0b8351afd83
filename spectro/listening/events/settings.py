"""The settings that make events of windows: thresholds, smoothing, merging, level gate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from spectro.errors import ConfigError
from spectro.plumbing.settings import Settings

if TYPE_CHECKING:  # the command line asks for the settings, and does not wait for numpy
    import numpy as np
    import numpy.typing as npt

__all__ = ["ClassThresholds", "EventSettings", "Levels"]

_ON, _OFF, _EXTENT = 0.5, 0.3, 0.3


class Levels(NamedTuple):
    """The thresholds that hold for each class: arrays of shape (n_classes,)."""

    on: npt.NDArray[np.float64]
    off: npt.NDArray[np.float64]
    extent: npt.NDArray[np.float64]


class ClassThresholds(Settings):
    """Thresholds of one class.

    Parameters
    ----------
    on : float
        Probability, above 0 up to 1, that raises an event.
    off, extent : float or None
        As in :class:`EventSettings`; None means the common value, or `on` if that is lower.
    """

    on: float = Field(gt=0, le=1)
    off: float | None = Field(None, gt=0, le=1)
    extent: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> ClassThresholds:
        _check_order(self.on, self.off, self.extent)
        return self


class EventSettings(Settings):
    """How windows become events.

    Parameters
    ----------
    on : float
        An event is raised where the smoothed probability reaches this. Above 0, up to 1.
    off : float
        A raised event ends where the probability falls below this (hysteresis): at most `on`.
    extent : float
        An event's reported extent are the windows at or above this, before it was raised too, so
        that raising `on` makes fewer events, not shorter ones (sound event bounding boxes,
        arXiv 2406.04212). At most `on`; below `off`, it takes the part of `off`.
    classes : dict of str to ClassThresholds
        Classes with thresholds of their own: in TOML ``classes.siren = {on = 0.8, off = 0.5}``.
    ignore : tuple of str
        Classes that are never raised: background.
    smoothing : "median" or "mean"
        What becomes of each window and its neighbours.
    smooth_windows : int
        How many windows that takes, an odd number; 1 smooths nothing. Live, an event comes
        ``(smooth_windows - 1) / 2`` hops later.
    min_length : float
        Events shorter than this many seconds are dropped, after merging.
    merge_gap : float
        Events of a class that are at most this many seconds apart become one.
    level_gate : float or None
        Level in dBFS below which a window counts as silence, whatever the network says; None: no
        gate.
    """

    table: ClassVar[str] = "events"

    on: float = Field(_ON, gt=0, le=1)
    off: float = Field(_OFF, gt=0, le=1)
    extent: float = Field(_EXTENT, gt=0, le=1)
    classes: dict[str, ClassThresholds] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    smoothing: Literal["median", "mean"] = "median"
    smooth_windows: int = Field(1, ge=1, le=999)
    min_length: float = Field(0, ge=0)
    merge_gap: float = Field(1, ge=0)
    level_gate: float | None = -80

    @field_validator("classes")
    @classmethod
    def _sorted(cls, classes: dict[str, ClassThresholds]) -> dict[str, ClassThresholds]:
        return dict(sorted(classes.items()))  # one identity, however they were given

    @model_validator(mode="after")
    def _consistent(self) -> EventSettings:
        _check_order(self.on, self.off, self.extent)
        if self.smooth_windows % 2 == 0:
            raise ValueError(
                f"smooth_windows is {self.smooth_windows}: choose an odd number, "
                "so that a window has as many neighbours before as behind"
            )
        return self

    def ignoring(self, names: Iterable[str]) -> EventSettings:
        """Return the same settings with more classes that are never raised."""
        return self.replace(ignore=tuple(dict.fromkeys([*self.ignore, *names])))

    def levels(self, labels: Sequence[str]) -> Levels:
        """Return the thresholds of each of `labels`.

        Raises
        ------
        ConfigError
            If `classes` or `ignore` names a class that the model does not know.
        """
        unknown = [name for name in (*self.classes, *self.ignore) if name not in labels]
        if unknown:
            raise ConfigError(
                f"thresholds, or --ignore, name the class {unknown[0]!r}, which the model does not "
                f"know; it knows {', '.join(labels)}"
            )
        import numpy as np

        rows = [self._class_levels(label) for label in labels]
        on, off, extent = np.array(rows, dtype=np.float64).reshape(-1, 3).T
        return Levels(on, off, extent)

    def _class_levels(self, label: str) -> tuple[float, float, float]:
        if label in self.ignore:
            return math.inf, math.inf, math.inf
        own = self.classes.get(label)
        if own is None:
            return self.on, self.off, self.extent
        off = min(self.off, own.on) if own.off is None else own.off
        extent = min(self.extent, own.on) if own.extent is None else own.extent
        return own.on, off, extent


def _check_order(on: float, off: float | None, extent: float | None) -> None:
    for name, value in (("off", off), ("extent", extent)):
        if value is not None and value > on:
            raise ValueError(f"{name} is {value:g}, above on, {on:g}: choose at most that")

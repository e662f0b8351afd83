"""Thresholds of a site with their evidence: ``thresholds/SITE.json`` in the model folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from spectro.errors import ConfigError, ModelError
from spectro.listening.events.settings import EventSettings
from spectro.plumbing.files import write_text
from spectro.plumbing.settings import Settings

__all__ = [
    "AtSite",
    "ClassEvidence",
    "CurvePoint",
    "SiteThresholds",
    "at_site",
    "known_sites",
    "site_path",
]

_SITE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_-])?")
_DEVICES = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # no file names on Windows
_MOST_BYTES = 1 << 24
_SHOWN = 1_000  # characters of sites that a message names


class CurvePoint(Settings):
    """What an on-threshold of one class costs and keeps.

    Parameters
    ----------
    on : float
        Threshold.
    events : int
        False events on the background.
    per_hour, bound : float
        Their rate, and the bound of it at the stated confidence.
    kept : float or None
        Share of the class's out-of-fold clips at or above the threshold, 0 to 1; None if not known.
    """

    on: float = Field(gt=0, le=1)
    events: int = Field(ge=0)
    per_hour: float = Field(ge=0)
    bound: float = Field(ge=0)
    kept: float | None = Field(None, ge=0, le=1)


class ClassEvidence(Settings):
    """The threshold of one class, and why.

    Parameters
    ----------
    chosen : CurvePoint or None
        None: no threshold holds this class within the budget, and it is never raised.
    curve : tuple of CurvePoint
        From low to high thresholds.
    """

    chosen: CurvePoint | None
    curve: tuple[CurvePoint, ...] = Field((), max_length=1000)


class SiteThresholds(Settings):
    """Thresholds for one site.

    Parameters
    ----------
    site : str
        Letters, digits, ``_``, ``-`` and ``.``.
    model : str
        Hash of the model they hold for.
    backend : "torch", "onnx", "int8" or ""
        What ran it: eight bits give other probabilities than 32. "" where that is not known.
    budget : float
        False events an hour that each class may cost.
    confidence : float
        Of the bounds.
    supported : bool
        Whether the background is long enough to claim the budget.
    hop : float
        Seconds between two windows: another hop gives other events.
    hours : float
        Length of the background.
    recordings : dict of str to float
        Its recordings, and their hours.
    settings : EventSettings
        What to scan with.
    classes : dict of str to ClassEvidence
        By class.
    """

    table: ClassVar[str] = "thresholds"

    format: int = Field(1, ge=1, le=1)
    site: str
    model: str = Field("", max_length=200)
    backend: Literal["", "torch", "onnx", "int8"] = ""
    budget: float = Field(gt=0)
    confidence: float = Field(gt=0.5, lt=1)
    supported: bool
    hop: float = Field(gt=0)
    hours: float = Field(gt=0)
    recordings: dict[str, float] = Field(max_length=100_000)
    settings: EventSettings
    classes: dict[str, ClassEvidence]

    def save(self, folder: str | Path) -> Path:
        """Write ``thresholds/SITE.json`` into a model folder, in one step; return its path.

        Raises
        ------
        ConfigError
            If the site's name cannot be a file's.
        """
        path = site_path(folder, self.site)
        write_text(path, self.to_json())
        return path

    @classmethod
    def load(cls, folder: str | Path, site: str, labels: Sequence[str]) -> SiteThresholds:
        """Read the thresholds of a site from a model folder.

        Parameters
        ----------
        folder : str or Path
            Model folder.
        site : str
        labels : sequence of str
            The model's classes.

        Raises
        ------
        ConfigError
            If the site's name cannot be a file's.
        ModelError
            If there are none (the message names the sites that there are), or they are damaged, of
            another site, or of other classes.
        """
        path = site_path(folder, site)
        text = _read(path, folder)
        try:
            found = cls.from_json(text)
            found.settings.levels(labels)
        except ConfigError as error:
            raise ModelError(f"{path}: {error}; run spectro thresholds anew") from None
        if found.site != site or sorted(found.classes) != sorted(labels):
            raise ModelError(
                f"{path}: is of the site {found.site!r} and the classes "
                f"{', '.join(found.classes)[:200]}; run spectro thresholds anew"
            )
        return found


def site_path(folder: str | Path, site: str) -> Path:
    """Return where the thresholds of a site lie in a model folder.

    Raises
    ------
    ConfigError
        If the site's name cannot be a file's on every system.
    """
    if not _SITE.fullmatch(site) or _DEVICES.fullmatch(site):
        raise ConfigError(
            f"the site {site[:80]!r} cannot be a file's name: "
            "use up to 64 letters, digits, '_', '-' and '.', such as north-ridge"
        )
    return Path(folder) / "thresholds" / f"{site}.json"


def known_sites(folder: str | Path) -> list[str]:
    """Return the sites that a model folder has thresholds for."""
    return sorted(path.stem for path in (Path(folder) / "thresholds").glob("*.json"))


class AtSite(NamedTuple):
    """How recordings of a site are scanned.

    Parameters
    ----------
    settings : EventSettings
    hop : float
        Seconds from window to window.
    budget : float or None
        False events an hour that each class may cost; None where another hop, model or arithmetic
        voids it.
    doubts : list of str
        Why the alarms an hour that the thresholds promise may not hold, each in words.
    """

    settings: EventSettings
    hop: float
    budget: float | None
    doubts: list[str]


def at_site(
    folder: str | Path,
    site: str,
    labels: Sequence[str],
    *,
    model: str,
    hop: float | None = None,
    backend: str = "",
) -> AtSite:
    """Read how recordings of a site are scanned.

    Parameters
    ----------
    folder, site, labels
        As for :meth:`SiteThresholds.load`, which says what is raised.
    model : str
        Hash of the model that scans.
    hop : float or None
        Seconds from window to window; None takes those that the thresholds were found with.
    backend : str
        What runs the model; "" where that does not matter.
    """
    found = SiteThresholds.load(folder, site, labels)
    again = "its alarms an hour do not hold; run spectro thresholds anew"
    doubts = []
    if hop is not None and abs(hop - found.hop) > 1e-9:
        doubts.append(f"{site}'s thresholds are for a hop of {found.hop:g} s, not {hop:g}: {again}")
    if found.model != model:
        doubts.append(f"{site}'s thresholds are of another model: {again}")
    if found.backend and backend and (found.backend == "int8") != (backend == "int8"):
        bits = ("eight bits", "32") if found.backend == "int8" else ("32 bits", "eight")
        doubts.append(f"{site}'s thresholds are of the model in {bits[0]}, not {bits[1]}: {again}")
    budget = None if doubts else found.budget
    if not found.supported:
        doubts.append(
            f"nothing is claimed of {site}'s alarms an hour: there was too little background"
        )
    return AtSite(found.settings, found.hop if hop is None else hop, budget, doubts)


def _read(path: Path, folder: str | Path) -> str:
    """Read a regular file of a sane size, through no link."""
    if path.is_symlink() or path.parent.is_symlink():
        raise ModelError(f"{path}: is a symbolic link, which is not followed here; remove the link")
    if not path.is_file():
        known = ", ".join(known_sites(folder))[:_SHOWN] or "none"
        raise ModelError(f"{folder}: has no thresholds for {path.stem}; it has {known}")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{path}: is too big to be thresholds; run spectro thresholds anew")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); run spectro thresholds anew") from None

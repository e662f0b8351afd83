"""How a service scans: by default, and at each site that its model has thresholds for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from spectro.errors import ConfigError, ModelError
from spectro.listening.events.settings import EventSettings
from spectro.listening.scan import ScanSettings
from spectro.listening.serve.requests.refusals import RefusedError
from spectro.listening.thresholds.site import at_site, known_sites
from spectro.listening.windower import check_hop
from spectro.models.card import ModelCard

__all__ = ["How", "Sites"]

_SHOWN = 300  # characters of the known sites that a refusal names


class How(NamedTuple):
    """How a recording is scanned, and why what its thresholds promise may not hold."""

    settings: ScanSettings
    warnings: list[str]


class Sites:
    """The sites of a model.

    Parameters
    ----------
    folder : Path
        Model folder, or run.
    card : ModelCard
    model : str
        Hash of the model.
    site : str
        Where recordings come from unless told; "" for nowhere in particular.
    events : EventSettings or None
        How they are scanned that come from nowhere in particular; None takes the defaults.
    hop : float or None
        Seconds between windows; None takes a site's, or a window's length.

    Raises
    ------
    ConfigError, ModelError
        If the site is not known, a threshold is of no class, or the hop cannot be.
    """

    def __init__(
        self,
        folder: Path,
        card: ModelCard,
        model: str,
        *,
        site: str = "",
        events: EventSettings | None = None,
        hop: float | None = None,
        backend: str = "",
    ) -> None:
        self.folder, self.site = folder, site
        self._card, self._model, self._hop, self._backend = card, model, hop, backend
        self.default = self._read(site) if site else self._how("", events or EventSettings(), hop)

    @property
    def known(self) -> list[str]:
        """Those that there are thresholds for."""
        return known_sites(self.folder)

    def at(self, site: str) -> How:
        """Say how a recording of a site is scanned, as ``spectro scan --site`` does it.

        Raises
        ------
        RefusedError
            If there are no thresholds for the site.
        """
        if site in ("", self.site):
            return self.default
        if site not in self.known:
            known = ", ".join(self.known)[:_SHOWN] or "none"
            raise RefusedError(
                404, f"site: there are no thresholds for {site!r}; there are {known}"
            )
        try:
            return self._read(site)
        except (ConfigError, ModelError) as error:
            told = str(error).replace(str(self.folder), "the model")
            raise RefusedError(500, told) from None

    def _read(self, site: str) -> How:
        found = at_site(
            self.folder, site, self._card.labels, model=self._model, hop=self._hop,
            backend=self._backend,
        )  # fmt: skip
        return self._how(site, found.settings, found.hop, found.doubts)

    def _how(
        self, site: str, events: EventSettings, hop: float | None, warnings: list[str] | None = None
    ) -> How:
        config = self._card.spectrogram
        step = check_hop(hop, config)
        events.levels(self._card.labels)  # thresholds of unknown classes are told at the start
        settings = ScanSettings(model=self._model, hop=step, site=site, events=events)
        return How(settings, warnings or [])

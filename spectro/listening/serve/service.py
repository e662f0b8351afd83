"""A model that is served: what answers need, opened once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from spectro import __version__
from spectro.listening.backends import Backend
from spectro.listening.classifier import Classifier
from spectro.listening.serve.answers import Limits, Model
from spectro.listening.serve.metrics import Metrics
from spectro.listening.serve.requests.uploads import Uploads
from spectro.listening.serve.scans import Scans
from spectro.listening.serve.settings import ServeSettings
from spectro.listening.serve.sites import Sites

__all__ = ["Service"]


class Service:
    """A model, its settings, and what is in hand.

    Parameters
    ----------
    listener : Backend
        The model.
    name : str
        Of the model, for people.
    folder : Path
        For uploads; who made it removes it.
    settings : ServeSettings
    sites : Sites
        How recordings are scanned.
    """

    def __init__(
        self,
        listener: Backend,
        name: str,
        folder: Path,
        settings: ServeSettings,
        sites: Sites,
    ) -> None:
        self.name, self.settings, self.sites = name, settings, sites
        self.classifier = Classifier(listener)
        self.uploads = Uploads(folder, settings)
        self.scans = Scans(listener, settings)
        self.threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="predict")
        queues = {"requests": lambda: self.uploads.in_flight, "scans": lambda: self.scans.waiting}
        self.metrics = Metrics(sites.default.settings.model, queues)
        self._backend = type(listener).__name__

    def about(self) -> Model:
        """Describe the model, and how it is used here."""
        card, settings = self.classifier.card, self.settings
        told: dict[str, Any] = card.to_dict()
        how = self.sites.default.settings
        kept = ("arch", "members", "labels", "spectrogram", "training", "scores", "licence")
        return Model(
            name=self.name,
            hash=how.model,
            backend=self._backend.removesuffix("Backend").lower(),
            seconds=card.spectrogram.duration,
            hop=how.hop or card.spectrogram.duration,
            events=how.events.to_dict(),
            site=how.site,
            sites=self.sites.known,
            limits=Limits(**{name: getattr(settings, name) for name in Limits.model_fields}),
            version=__version__,
            **{field: told[field] for field in kept},
        )

    def close(self) -> None:
        """End all work: what predicts is waited for, scans are given up."""
        self.scans.close()
        self.threads.shutdown(wait=True)

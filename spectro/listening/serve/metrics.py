"""What a service tells Prometheus; no label is unbounded."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from spectro import __version__

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one service, in a registry of its own.

    Parameters
    ----------
    model : str
        Hash of the model.
    queues : dict of str to callable
        What is being waited for, and how many now.
    """

    def __init__(self, model: str, queues: dict[str, Callable[[], int]]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "spectro_requests",
            "Requests answered, by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self.predicting = Histogram(
            "spectro_inference_duration_seconds",
            "From a whole sound to its probabilities, waiting for a thread included.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.audio = Counter(
            "spectro_audio_seconds",
            "Sound that the model heard, in seconds.",
            registry=self._registry,
        )
        depth = Gauge("spectro_queue_depth", "What is in hand.", ["queue"], registry=self._registry)
        for name, count in queues.items():
            depth.labels(name).set_function(count)
        about = Gauge(
            "spectro_build_info", "1, always.", ["version", "model"], registry=self._registry
        )
        about.labels(__version__, model).set(1)

    def answered(self, route: str, status: int) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)

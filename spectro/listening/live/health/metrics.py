"""The numbers as Prometheus reads them. prometheus-client is imported when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spectro import __version__
from spectro.errors import MissingExtraError
from spectro.listening.live.stats import ListenerStats

__all__ = ["Metrics"]


class Metrics:
    """Writes the counts of a listener in Prometheus' text format.

    Every label is a class, a source, a channel or a word of ours: none is unbounded.

    Parameters
    ----------
    stats : ListenerStats
    model : str
        Hash of the model.

    Raises
    ------
    MissingExtraError
        If prometheus-client is not installed.
    """

    def __init__(self, stats: ListenerStats, model: str) -> None:
        try:
            from prometheus_client import CollectorRegistry
        except ImportError:
            raise MissingExtraError("metrics", "/metrics") from None
        self._stats, self._model = stats, model
        self._registry = CollectorRegistry()
        self._registry.register(self)  # one with collect() is a collector

    def text(self) -> bytes:
        """Return the numbers as they are now."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def collect(self) -> Iterator[Any]:
        """Give each metric; prometheus-client calls this."""
        yield from self._sound()
        yield from self._events()
        yield from self._messages()
        yield from self._watches()

    def _sound(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counters = (
            ("audio_seconds", "Sound that came in, in seconds.", "seconds"),
            ("audio_dropped_seconds", "Sound that was dropped unheard, in seconds.", "dropped"),
            ("source_opened", "How often a source was opened.", "opened"),
            ("source_overflows", "How often a source's driver dropped samples.", "overflows"),
        )
        gauges = (
            ("last_audio_timestamp_seconds", "When sound came last.", "last_audio"),
            ("queue_depth", "Seconds of sound that wait.", "queued"),
            ("source_level_dbfs", "Level of the last second.", "level"),
        )
        for kind, table in ((CounterMetricFamily, counters), (GaugeMetricFamily, gauges)):
            for name, text, attribute in table:
                family = kind(f"spectro_{name}", text, labels=["source"])
                for source, one in self._sources():
                    family.add_metric([source], float(getattr(one, attribute)))
                yield family
        up = GaugeMetricFamily("spectro_source_up", "1 where sound comes.", labels=["source"])
        for source, one in self._sources():
            up.add_metric([source], float(one.up and not one.fault))
        yield up

    def _events(self) -> Iterator[Any]:
        from prometheus_client.core import (
            CounterMetricFamily,
            HistogramMetricFamily,
            InfoMetricFamily,
        )

        events = CounterMetricFamily("spectro_events", "Events raised.", labels=["class"])
        for label, number in list(self._stats.events.items()):
            events.add_metric([label], number)
        yield events
        timings = self._stats.inference
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip([*timings.bounds, float("inf")], timings.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        text = "The network, a window."
        inference = HistogramMetricFamily("spectro_inference_duration_seconds", text)
        inference.add_metric([], buckets, timings.total)
        yield inference
        about = {"version": __version__, "model": self._model}
        yield InfoMetricFamily("spectro_build", "What this is.", value=about)

    def _messages(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        stats = self._stats
        table = (
            (CounterMetricFamily, "messages_delivered", "Messages delivered.", stats.delivered),
            (CounterMetricFamily, "delivery_failures", "Attempts that failed.", stats.failures),
            (GaugeMetricFamily, "messages_waiting", "Messages in the outbox.", stats.waiting),
            (GaugeMetricFamily, "messages_aside", "Messages refused, kept.", stats.aside),
        )
        for kind, name, text, counts in table:
            family = kind(f"spectro_{name}", text, labels=["channel"])
            for channel, number in list(counts.items()):
                family.add_metric([channel], number)
            yield family
        skipped = CounterMetricFamily("spectro_evidence_skipped", "Events without evidence.")
        skipped.add_metric([], stats.evidence_skipped)
        yield skipped

    def _watches(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        stats = self._stats
        counts = CounterMetricFamily(
            "spectro_hearing_proofs", "Proofs of hearing.", labels=["class", "result"]
        )
        for (label, result), number in list(stats.proof_counts.items()):
            counts.add_metric([label, result], number)
        yield counts
        last = GaugeMetricFamily(
            "spectro_hearing_proof_timestamp_seconds",
            "When a known clip was heard last.",
            labels=["source", "class"],
        )
        heard = GaugeMetricFamily(
            "spectro_hearing", "1 where the last proof was heard.", labels=["source", "class"]
        )
        for key, when in list(stats.proofs.items()):
            last.add_metric(list(key), when)
        for key in [*stats.proofs, *(key for key in stats.unheard if key not in stats.proofs)]:
            heard.add_metric(list(key), float(key not in stats.unheard))
        yield from (last, heard)
        drifting = GaugeMetricFamily("spectro_contracts_broken", "Classes over their contract.")
        drifting.add_metric([], len(stats.drifting))
        jumps = CounterMetricFamily("spectro_clock_corrections", "Times that were put right.")
        jumps.add_metric([], stats.clock_jumps)
        yield from (drifting, jumps)

    def _sources(self) -> list[tuple[str, Any]]:
        return list(self._stats.sources.items())

"""Put a listener together from its settings."""

from __future__ import annotations

import platform
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from spectro.errors import ConfigError
from spectro.listening.backends import Backend
from spectro.listening.choice import name_of
from spectro.listening.events.finding import Event
from spectro.listening.events.settings import EventSettings
from spectro.listening.events.store import EventStore
from spectro.listening.live.clock import Clock
from spectro.listening.live.delivery.alerts import Alerts
from spectro.listening.live.delivery.courier import Channel, Courier
from spectro.listening.live.delivery.outbox import Outbox
from spectro.listening.live.diary import Diary
from spectro.listening.live.evidence.store import EvidenceStore
from spectro.listening.live.evidence.writer import EvidenceWriter
from spectro.listening.live.health.metrics import Metrics
from spectro.listening.live.health.server import HealthServer
from spectro.listening.live.hearing.ears import Ears, Site
from spectro.listening.live.hearing.place import Place
from spectro.listening.live.listener import Listener
from spectro.listening.live.runner import Runner
from spectro.listening.live.settings import (
    AlertSettings,
    EvidenceSettings,
    ListenSettings,
    ProofSettings,
    SourceSettings,
)
from spectro.listening.live.sources.backlog import Backlog
from spectro.listening.live.sources.microphone import Microphone
from spectro.listening.live.sources.pipe import Source, StandardInput
from spectro.listening.live.sources.process import Ffmpeg
from spectro.listening.live.sources.recording import Recording
from spectro.listening.live.sources.supervisor import Supervisor
from spectro.listening.live.stats import ListenerStats, SourceStats
from spectro.listening.live.watch.proof import Proof
from spectro.listening.thresholds.site import at_site, site_path

__all__ = ["OUTBOX", "Outlets", "Plan", "build", "site_of"]

OUTBOX = "outbox.sqlite"


class Outlets(NamedTuple):
    """Where what is heard goes.

    Parameters
    ----------
    channels : callable
        Given the counts, returns the channels.
    say : callable
        Told in words what goes on: of (source, text).
    happened : callable
        Told of each event: of (state, source, event).
    """

    channels: Callable[[Backend, Sequence[str]], list[Channel]]
    say: Callable[[str, str], None]
    happened: Callable[[str, str, Event], None]


class Plan(NamedTuple):
    """All settings of a listener."""

    sources: list[SourceSettings]
    listen: ListenSettings
    events: EventSettings
    alerts: AlertSettings
    evidence: EvidenceSettings
    proofs: list[ProofSettings]


def build(
    folder: str | Path,
    backend: Backend,
    plan: Plan,
    outlets: Outlets,
    clock: Clock,
    *,
    runs: str = "",
) -> Runner:
    """Put a listener together; nothing is opened yet but the outbox and the health page.

    Parameters
    ----------
    folder : str or Path
        Model folder; the thresholds of the sites are taken from it.
    backend : Backend
        Opened from it.
    plan : Plan
    outlets : Outlets
    clock : Clock
    runs : "torch", "onnx", "int8" or ""
        What runs the model; thresholds that were found in other bits are told.

    Raises
    ------
    SpectroError
        If something cannot be: a class that the model does not know, a clip that is not there.
    """
    ears, stats = Ears(backend, name_of(folder), runs), ListenerStats()
    bell = threading.Condition()
    _check_proofs(plan, ears)
    sources = [_open_source(one) for one in plan.sources]
    places = [
        _place(one, site_of(folder, one.site, plan, ears, outlets.say), ears, plan, stats, clock)
        for one in plan.sources
    ]
    outbox = Outbox(Path(plan.listen.state) / OUTBOX)
    channels = outlets.channels(backend, [one.name for one in plan.sources])
    alerts = Alerts([one.name for one in channels], plan.alerts, outbox, clock)
    notices: list[Runner] = []

    def tell(name: str) -> Callable[[str, str], None]:
        return lambda what, text: notices[0].tell(name, what, text)

    evidence = _evidence(plan.evidence, backend, stats, tell("evidence"))
    listener = Listener(
        places, alerts, outbox, evidence, clock, stats, outlets.say, outlets.happened,
        _diary(plan, tell("store")),
    )  # fmt: skip
    first = backend.card.spectrogram.channels == "first"
    supervisors = [
        Supervisor(
            source, own, Backlog(own.buffer, bell), clock, stats.sources[own.name], tell(own.name),
            first_only=first,
        )
        for own, source in zip(plan.sources, sources, strict=True)
    ]  # fmt: skip
    couriers = [Courier(one, outbox, clock, stats, tell(one.name)) for one in channels]
    runner = Runner(
        listener, supervisors, couriers, evidence, bell, clock, stats, plan.listen.heartbeat,
        outlets.say,
    )  # fmt: skip
    notices.append(runner)
    runner.beats += [one.show for one in channels if hasattr(one, "show")]
    _open_health(plan, stats, ears, clock, outlets.say)
    return runner


def _evidence(
    own: EvidenceSettings, backend: Backend, stats: ListenerStats, say: Callable[[str, str], None]
) -> EvidenceWriter | None:
    if own.evidence is None:
        return None
    store = EvidenceStore(own.evidence, own.quota, own.free)
    return EvidenceWriter(store, backend.card, stats, say)


def _diary(plan: Plan, say: Callable[[str, str], None]) -> Diary | None:
    if plan.listen.store is None:
        return None
    store = EventStore(plan.listen.store)
    store.prepare()
    return Diary(store, say)


def site_of(
    folder: str | Path, site: str, plan: Plan, ears: Ears, say: Callable[[str, str], None]
) -> Site:
    """Return what holds at a site: its thresholds if the model has some, else the common settings.

    Raises
    ------
    ConfigError
        If a class is not known.
    ModelError
        If the thresholds are damaged, or of other classes.
    """
    labels = ears.backend.card.labels
    if not site or not site_path(folder, site).exists():
        if site:
            say("", f"the model has no thresholds for {site}: events are raised at "
                    f"{plan.events.on:g}; spectro thresholds finds those of a site")  # fmt: skip
        plan.events.levels(labels)
        return Site(site, plan.events, plan.listen.hop)
    found = at_site(folder, site, labels, model=ears.model, hop=plan.listen.hop, backend=ears.runs)
    for doubt in found.doubts:
        say("", doubt)
    events = found.settings.ignoring(plan.events.ignore)
    if plan.events.replace(ignore=()) != EventSettings():
        say("", f"the thresholds of {site} hold there, and not what [events] says of them")
    return Site(site, events, found.hop, found.budget)


def _place(
    settings: SourceSettings,
    site: Site,
    ears: Ears,
    plan: Plan,
    stats: ListenerStats,
    clock: Clock,
) -> Place:
    stats.sources[settings.name] = SourceStats(since=clock.time())

    def timed(seconds: float, windows: int) -> None:
        stats.inference.add(seconds / windows, windows)

    proofs = [
        Proof(proof, clock.time(), clock.monotonic())
        for proof in plan.proofs
        if proof.source in ("", settings.name)
    ]
    return Place(settings, site, ears, proofs, margin=plan.evidence.margin, timed=timed)


def _open_source(settings: SourceSettings) -> Source:
    if settings.kind == "pipe":
        raw = sys.stdin.buffer.raw  # type: ignore[union-attr]
        return StandardInput(settings, raw)
    if settings.kind == "microphone":
        return Microphone(settings)
    return Recording(settings) if settings.kind == "file" else Ffmpeg(settings)


def _check_proofs(plan: Plan, ears: Ears) -> None:
    labels, names = ears.backend.card.labels, [one.name for one in plan.sources]
    for proof in plan.proofs:
        if proof.label not in labels:
            raise ConfigError(
                f"the proof's label is {proof.label!r}, which the model does not know; it knows "
                f"{', '.join(labels)[:300]}"
            )
        if proof.source and proof.source not in names:
            raise ConfigError(f"the proof's source is {proof.source!r}; there is {names}")


def _open_health(
    plan: Plan, stats: ListenerStats, ears: Ears, clock: Clock, say: Callable[[str, str], None]
) -> None:
    if plan.listen.address is not None:
        server = HealthServer(plan.listen.address, stats, Metrics(stats, ears.model), clock)
        host, port = server.address
        say("", f"http://{host}:{port}/healthz and /metrics say how it goes")


def node_name() -> str:
    """Return the name of this machine, for topics."""
    return platform.node().partition(".")[0] or "listener"

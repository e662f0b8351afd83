"""All sources together: what is heard goes to the outbox first, then to everything else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from spectro.listening.events.finding import Event
from spectro.listening.live.clock import Clock, local_time, utc_stamp
from spectro.listening.live.delivery import messages
from spectro.listening.live.delivery.alerts import Alerts
from spectro.listening.live.delivery.outbox import Batch, Outbox
from spectro.listening.live.diary import Diary
from spectro.listening.live.evidence.writer import EvidenceWriter, Job
from spectro.listening.live.hearing.place import Place
from spectro.listening.live.hearing.session import Heard, Sound
from spectro.listening.live.sources.backlog import Block
from spectro.listening.live.stats import ListenerStats
from spectro.listening.live.watch.proof import Proof, Result

__all__ = ["Listener"]

_OPEN, _BUDGET = "open", "budget"
_UNWRITTEN = "unwritten"  # events that are over and not in the file of months yet
_GRACE = 60.0  # s that a source may be lost, or must be back, before people are told
_SAVE = 600.0  # s between two times that the counts of the budget are written


class Listener:
    """Turns sound into messages.

    Parameters
    ----------
    places : sequence of Place
    alerts : Alerts
    outbox : Outbox
    evidence : EvidenceWriter or None
    clock : Clock
    stats : ListenerStats
    say : callable
        Told in words what goes on: of (source, text).
    happened : callable
        Told of each event, after it is in the outbox: of (state, source, event).
    diary : Diary or None
        Keeps events and times of listening.
    """

    def __init__(
        self,
        places: Sequence[Place],
        alerts: Alerts,
        outbox: Outbox,
        evidence: EvidenceWriter | None,
        clock: Clock,
        stats: ListenerStats,
        say: Callable[[str, str], None],
        happened: Callable[[str, str, Event], None],
        diary: Diary | None = None,
    ) -> None:
        self.diary = diary
        self.places = {place.name: place for place in places}
        self.alerts, self.outbox, self.evidence = alerts, outbox, evidence
        self.clock, self.stats, self._say, self._happened = clock, stats, say, happened
        self._deaf: set[str] = set()  # sources of which that was told
        self._behind: set[str] = set()
        self._disk, self._lost = "", 0
        self._save_due = clock.monotonic() + _SAVE
        self._take_up()

    def hear(self, name: str, block: Block) -> None:
        """Take in a block of a source's sound."""
        place = self.places[name]
        told = place.hear(block)
        self._note_listening(place, block.seconds)
        if told.moved:
            self.stats.clock_jumps += 1
            self._say(name, f"times move by {told.moved:+.1f} s: the clock was set, or runs apart")
        for heard in told.heard:
            self._event(place, heard)
        for proof, result in told.proofs:
            self._proof(place, proof, result)

    def _note_listening(self, place: Place, seconds: float) -> None:
        """Keep that this was listened to, unless it is what a dead microphone gives."""
        heard = place.listened
        if self.diary is None or heard is None:
            return
        if self.stats.sources[place.name].fault:
            self.diary.deaf(place.name)
            return
        number, origin, last = heard
        self.diary.heard(place.name, number, origin, max(0.0, last - seconds), last)

    def step(self) -> None:
        """Do what time alone asks for: digest, proofs, and what is wrong for too long."""
        now, monotonic = self.clock.time(), self.clock.monotonic()
        self.alerts.step()
        self._look_after_outbox()
        self.settle()
        for place in self.places.values():
            self._look_after(place, now)
            for proof in place.proofs:
                proof.start_if_due(now, monotonic)
                result = proof.given_up(monotonic)
                if result is not None:
                    self._proof(place, proof, result)
        if monotonic >= self._save_due:
            self._save_due = monotonic + _SAVE
            self._save()

    def settle(self) -> None:
        """Keep events no longer that the file of months has by now."""
        batch = Batch()
        for name in self.diary.settled() if self.diary is not None else ():
            batch.drop(_UNWRITTEN, name)
        if batch.changes:
            self.outbox.commit(batch)

    def finish(self) -> None:
        """End all that goes on: events are over where the sound ends."""
        for place in self.places.values():
            for heard in place.finish():
                self._event(place, heard)
        self._save()

    def notice(self, what: str, source: str, text: str) -> None:
        """Say that something is wrong, or right again, and send it to all channels."""
        self.stats.alarms[what] += 1
        self._say(source, text)
        batch = Batch()
        self.alerts.send(batch, messages.notice(what, source, text, self.clock.time()))
        self.outbox.commit(batch)

    def _event(self, place: Place, heard: Heard) -> None:
        """Put an event in the outbox; all else comes after."""
        state, raised, sound = heard
        batch, now = Batch(), self.clock.time()
        message = messages.event(raised.id, state, place.name, raised.event, now)
        stem = f"{utc_stamp(_moment(raised.event, now))}-{raised.id}"
        if self.evidence is not None:
            message["evidence"] = str(self.evidence.store.place(raised.event.label, stem))
        if state == "raised":
            batch.keep(_OPEN, raised.id, messages.written(message))
            self.stats.events[raised.event.label] += 1
        else:
            batch.drop(_OPEN, raised.id)
            self._write_down(batch, message)
        self.alerts.add(batch, message)
        self.outbox.commit(batch)
        self._happened(state, place.name, raised.event)
        if sound is not None:
            self._over(place, message, stem, sound)

    def _write_down(self, batch: Batch, message: dict[str, Any]) -> None:
        """Give an event that is over to the file of months, and keep it until it is there."""
        if self.diary is not None:
            batch.keep(_UNWRITTEN, message["id"], messages.written(message))
            self.diary.over(message["id"], _event_of(message))

    def _over(self, place: Place, message: dict[str, Any], stem: str, sound: Sound) -> None:
        if self.evidence is not None:
            clock = self._clock_facts()
            self.evidence.add(Job(stem, message, sound, place.site.events, clock))
        if place.budget is not None:
            y = sound.samples.mean(axis=1)
            profile = place.band.excess(y) if place.band.sr == sound.form.sr else None
            if profile is not None:
                self._count(place, message, profile)

    def _count(self, place: Place, message: dict[str, Any], profile: Any) -> None:
        assert place.budget is not None
        label, clip = message["label"], message.get("evidence", "")
        sr, now = place.band.sr, self.clock.time()
        drift = place.budget.count(label, profile, sr, clip, now)
        batch = Batch()
        batch.keep(_BUDGET, place.name, place.budget.state())
        self.outbox.commit(batch)
        if drift is not None:
            self.stats.drifting[f"{place.name} {label}"] = str(drift)
            self.notice("drift", place.name, str(drift))

    def _clock_facts(self) -> dict[str, Any]:
        now = self.clock.time()
        return {
            "written": local_time(now).isoformat(timespec="milliseconds"),
            "unix": round(now, 3),
            "corrections": self.stats.clock_jumps,
        }

    def _proof(self, place: Place, proof: Proof, result: Result) -> None:
        label = proof.settings.label
        key = (place.name, label)
        fault = self.stats.sources[place.name].fault
        if result.heard and fault:
            result = proof.failed(fault)
        self.stats.proof_counts[label, "heard" if result.heard else "missed"] += 1
        if result.heard:
            self.stats.proofs[key] = self.clock.time()
            was_deaf = self.stats.unheard.pop(key, None)
            if was_deaf is None:
                self._say(place.name, result.text)
            else:
                self.notice("heard", place.name, result.text)
            return
        self.stats.unheard[key] = result.text
        self.notice("unheard", place.name, result.text)

    def _look_after(self, place: Place, now: float) -> None:
        """Tell people of a source that is lost or faulty for a while, once, and when it is back."""
        name, stats = place.name, self.stats.sources[place.name]
        long = abs(now - stats.since) >= _GRACE
        if stats.deaf and name not in self._deaf and (long or stats.up):
            self._deaf.add(name)
            self.notice("fault" if stats.up else "lost", name, f"hears nothing: {stats.deaf}")
        elif not stats.deaf and stats.up and long and name in self._deaf:
            self._deaf.remove(name)
            self.notice("back", name, "hears again")
        behind = stats.behind(now)
        if behind and name not in self._behind:
            self._behind.add(name)
            self.notice("behind", name, behind)
        elif not behind and name in self._behind:
            self._behind.remove(name)
            self.notice("back", name, "keeps up again")
        for label in place.budget.over() if place.budget is not None else ():
            if self.stats.drifting.pop(f"{name} {label}", None) is not None:
                self.notice("contract kept", name, f"{label}: within its contract again")

    def _look_after_outbox(self) -> None:
        """Say once when the disk takes no messages, and when it does again."""
        self.outbox.flush()
        now = self.outbox.trouble
        if bool(now) != bool(self._disk):
            told = f"messages wait in memory: {now}" if now else "messages are on disk again"
            self._say("outbox", told)
        if self.outbox.lost > self._lost:
            number = self.outbox.lost - self._lost
            self._say("outbox", f"{number} of the oldest messages were dropped: too many wait")
        self._disk, self._lost = now, self.outbox.lost
        self.stats.disk = now

    def _take_up(self) -> None:
        """Go on from what an earlier process left: its events broke off, its counts hold."""
        batch = Batch()
        if self.diary is not None:
            for name, body in self.outbox.kept(_UNWRITTEN).items():
                self.diary.over(name, _event_of(json.loads(body)))
        for name, body in self.outbox.kept(_OPEN).items():
            message = {**json.loads(body), "state": "broken off"}
            self.alerts.add(batch, message)
            batch.drop(_OPEN, name)
            self._write_down(batch, message)
            self._say(message["source"], f"{message['label']} broke off when listening ended")
        self.outbox.commit(batch)
        for name, text in self.outbox.kept(_BUDGET).items():
            place = self.places.get(name)
            if place is not None and place.budget is not None:
                place.budget.restore(text)

    def _save(self) -> None:
        batch = Batch()
        for place in self.places.values():
            if place.budget is not None:
                batch.keep(_BUDGET, place.name, place.budget.state())
        if batch.changes:
            self.outbox.commit(batch)


def _event_of(message: dict[str, Any]) -> Event:
    return Event(**{column: message[column] for column in Event._fields})


def _moment(event: Event, now: float) -> float:
    """Return when an event began, in seconds since 1970, as far as is known."""
    if not event.begin_time:
        return now
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(event.begin_time).timestamp()
    except (ValueError, OverflowError):
        return now
    return moment if math.isfinite(moment) else now

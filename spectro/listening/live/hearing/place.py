"""One source as the listener sees it: stretches of sound, one session after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from spectro.errors import SpectroError
from spectro.listening.events.finding import Origin
from spectro.listening.live.clock import local_time, utc_stamp
from spectro.listening.live.hearing.ears import Ears, Site
from spectro.listening.live.hearing.session import Heard, Session
from spectro.listening.live.hearing.timeline import Timeline
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources.backlog import Block
from spectro.listening.live.watch.band import BandWatch
from spectro.listening.live.watch.budget import BudgetWatch
from spectro.listening.live.watch.proof import Proof, Result
from spectro.listening.recorders import beginning, parse_start_time

__all__ = ["Place", "Told"]


class Told(NamedTuple):
    """What a block of sound brought.

    Parameters
    ----------
    heard : list of Heard
    proofs : list of (Proof, Result)
    moved : float
        By how many seconds the time of the stretch was put right.
    """

    heard: list[Heard]
    proofs: list[tuple[Proof, Result]]
    moved: float = 0.0


class Place:
    """A source with its site, its watches and its proofs.

    Parameters
    ----------
    settings : SourceSettings
    site : Site
    ears : Ears
    proofs : sequence of Proof
    margin : float
        See :class:`~spectro.listening.live.hearing.session.Session`.
    timed : callable or None
        See there.
    """

    def __init__(
        self,
        settings: SourceSettings,
        site: Site,
        ears: Ears,
        proofs: Sequence[Proof] = (),
        *,
        margin: float = 2.0,
        timed: Callable[[float, int], None] | None = None,
    ) -> None:
        self.settings, self.site, self.ears = settings, site, ears
        self.proofs = list(proofs)
        self.budget: BudgetWatch | None = None
        if site.budget is not None:
            raised = [name for name in ears.backend.card.labels if name not in site.events.ignore]
            self.budget = BudgetWatch(site.budget, raised)
        self.band = BandWatch(1)
        self.ended = False
        self._margin, self._timed = margin, timed
        self._session: Session | None = None
        self._timeline: Timeline | None = None
        self._stretch = -1

    @property
    def name(self) -> str:
        """Of the source."""
        return self.settings.name

    @property
    def listened(self) -> tuple[int, Origin, float] | None:
        """Which stretch goes on, when and where it began, and how many seconds it was heard for."""
        session = self._session
        return None if session is None else (self._stretch, session.origin, session.seconds)

    def hear(self, block: Block) -> Told:
        """Take in a block.

        Raises
        ------
        ModelError
            If the network gives no numbers.
        AudioError
            If the sound cannot be brought to the model's rate.
        """
        told = Told([], [])
        if block.stretch != self._stretch or block.last:
            told.heard.extend(self.finish())
            self._stretch, self.ended = block.stretch, block.last
        if not len(block.samples):
            return told
        session = self._session or self._begin(block)
        told = told._replace(moved=self._put_right(session, block))
        told.heard.extend(session.push(block.samples))
        if self.budget is not None:
            self.budget.passed(block.seconds)
        if session.quiet:
            self.band.quiet(block.samples.mean(axis=1), block.seconds)
        for proof in self.proofs:
            result = proof.push(block.samples, block.form, self.ears, self.site)
            if result is not None:
                told.proofs.append((proof, result))
        return told

    def finish(self) -> list[Heard]:
        """End the stretch; return what happened last."""
        session, self._session = self._session, None
        for proof in self.proofs:
            proof.broken()
        return [] if session is None else session.finish()

    def _begin(self, block: Block) -> Session:
        self._timeline = Timeline(block.began, self.settings.buffer)
        session = Session(
            self.ears,
            self.site,
            block.form,
            self._origin(block),
            margin=self._margin,
            timed=self._timed,
        )
        if self.band.sr != block.form.sr:
            self.band = BandWatch(block.form.sr)
        self._session = session
        return session

    def _origin(self, block: Block) -> Origin:
        own, model = self.settings, self.ears.model
        if own.start_time is not None:
            return Origin(own.name, parse_start_time(own.start_time), self.site.name, model)
        if own.kind == "file":
            return Origin(own.input, _began(own.input), self.site.name, model)
        recording = own.name if own.kind == "pipe" else f"{own.name}-{utc_stamp(block.began)}"
        return Origin(recording, local_time(block.began), self.site.name, model, here=True)

    def _put_right(self, session: Session, block: Block) -> float:
        if not block.live or self.settings.kind == "file" or self.settings.start_time is not None:
            return 0.0
        assert self._timeline is not None
        moved = self._timeline.moved(session.seconds, block.began)
        if moved:
            session.move(moved)
        return moved


def _began(path: str) -> datetime | None:
    try:
        return beginning(path).time
    except SpectroError:
        return None

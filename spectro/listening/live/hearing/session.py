"""One stretch of one source's sound: windows, what the network makes of them, and events.

The windows are those of a scan (:class:`~spectro.listening.windower.Windower`), and so are the
events (:class:`~spectro.listening.events.finding.EventTracker`): a recording heard through here
gives the events of its scan.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spectro.errors import ModelError
from spectro.listening.events.finding import EventTracker, Origin, ScoredWindow
from spectro.listening.live.evidence.tape import Tape
from spectro.listening.live.hearing.ears import Ears, Site
from spectro.listening.live.hearing.raised import Happening, Raised, RaisedEvents
from spectro.listening.live.sources.pcm import Format, Samples
from spectro.listening.windower import Picture, Windower

__all__ = ["Heard", "Session", "Sound"]

_BATCH = 32
_TAPE = 20.0  # s beyond a window and its margins, for windows that are decided later


class Sound(NamedTuple):
    """The sound in which an event was surest.

    Parameters
    ----------
    samples : np.ndarray [shape=(n, channels)], float32
    form : Format
    start : float
        When it starts, in seconds from the start of the stretch.
    window : ScoredWindow
        The window that was judged; it lies in it.
    """

    samples: Samples
    form: Format
    start: float
    window: ScoredWindow


class Heard(NamedTuple):
    """Something happened to an event.

    Parameters
    ----------
    state : "raised" or "over"
    raised : Raised
    sound : Sound or None
        Of an event that is over, what it was surest of.
    """

    state: str
    raised: Raised
    sound: Sound | None


class Session:
    """Hears a stretch of sound without holes.

    Parameters
    ----------
    ears : Ears
    site : Site
    form : Format
        Of the samples that come.
    origin : Origin
        When and where it began.
    margin : float
        Seconds of sound kept around the surest window of an event.
    timed : callable or None
        Told how long a batch of windows took, and how many they were.
    """

    def __init__(
        self,
        ears: Ears,
        site: Site,
        form: Format,
        origin: Origin,
        *,
        margin: float = 2.0,
        timed: Callable[[float, int], None] | None = None,
    ) -> None:
        card = ears.backend.card
        self.ears, self.form, self.margin, self._timed = ears, form, margin, timed
        self._windower = Windower(
            card.spectrogram, form.sr, hop=site.hop, size=card.size, name=origin.recording
        )
        self._tracker = EventTracker(card.labels, site.events, origin)
        hop = card.spectrogram.duration if site.hop is None else site.hop
        self._raised = RaisedEvents(self._tracker, hop)
        self._tape = Tape(form, card.spectrogram.duration + 2 * margin + _TAPE)
        self._sounds: dict[str, Sound] = {}

    @property
    def seconds(self) -> float:
        """How much came in."""
        return self._tape.end

    @property
    def origin(self) -> Origin:
        """When and where it began."""
        return self._tracker.origin

    @property
    def quiet(self) -> bool:
        """Whether no event goes on."""
        return not list(self._raised.open())

    def move(self, seconds: float) -> None:
        """Say that it began so many seconds later: the clock was wrong, or the sound card's is."""
        moved = self.origin.at(seconds)
        if moved is not None:
            self._tracker.origin = self.origin._replace(begin=moved)

    def push(self, samples: Samples) -> list[Heard]:
        """Take in samples; return what happened.

        Raises
        ------
        ModelError
            If the network gives no numbers.
        """
        self._tape.push(samples)
        found = self._hear(self._windower.push(samples))
        self._keep_sounds(late=False)
        return found

    def finish(self) -> list[Heard]:
        """End the stretch; return what happened last. The session is used up."""
        found = self._hear(self._windower.finish())
        self._keep_sounds(late=True)
        return found + self._told(self._raised.finish())

    def _hear(self, pictures: list[Picture]) -> list[Heard]:
        found = []
        for first in range(0, len(pictures), _BATCH):
            batch = pictures[first : first + _BATCH]
            for window in self._scored(batch):
                happened = self._raised.push(window)
                found += self._told(happened)
        return found

    def _scored(self, batch: list[Picture]) -> list[ScoredWindow]:
        began = time.perf_counter()
        p, known = self.ears.backend(np.stack([picture.levels for picture in batch]))
        if self._timed is not None:
            self._timed(time.perf_counter() - began, len(batch))
        _check(p)
        return [
            ScoredWindow(one.start, one.end, row, one.level, bool(is_known))
            for one, row, is_known in zip(batch, p, known, strict=True)
        ]

    def _told(self, happened: list[Happening]) -> list[Heard]:
        found = []
        for state, raised in happened:
            sound = None
            if state == "over":
                sound = self._sounds.pop(raised.id, None) or self._cut(raised.window)
            found.append(Heard(state, raised, sound))
        return found

    def _keep_sounds(self, *, late: bool) -> None:
        """Take the sound of surest windows off the tape when their margin is there."""
        for raised in self._raised.open():
            kept = self._sounds.get(raised.id)
            if kept is not None and kept.window is raised.window:
                continue
            if late or self._tape.end >= raised.window.end + self.margin:
                self._sounds[raised.id] = self._cut(raised.window)

    def _cut(self, window: ScoredWindow) -> Sound:
        start, samples = self._tape.cut(window.start - self.margin, window.end + self.margin)
        return Sound(samples, self.form, start, window)


def _check(p: npt.NDArray[np.float32]) -> None:
    if not np.isfinite(p).all():
        raise ModelError(
            "the network gives no numbers: the model is damaged; take another copy, or train it "
            "anew"
        )

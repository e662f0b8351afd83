"""A review in hand: what comes next, what was said, and back again."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field

from spectro.errors import ConfigError, SpectroError
from spectro.listening.review.detections import Detection
from spectro.listening.review.evidence import span
from spectro.listening.review.verdicts import Verdicts
from spectro.listening.serve.answers import EventAnswer, Tick

__all__ = ["Given", "Item", "Session", "State"]

_AHEAD = 4  # events that the page loads before they are asked for


class Item(BaseModel):
    """An event to judge: its number, the seconds that are shown, the frequencies of the picture.

    `error` says why it can be neither seen nor heard; "" if it can.
    """

    number: int
    event: EventAnswer
    start: float
    end: float
    frequencies: list[Tick]
    error: str


class State(BaseModel):
    """How far a review is, and what comes next."""

    total: int
    left: int
    yes: int
    no: int
    other: int
    labels: list[str]
    negative: str
    out: str
    next: list[Item]


class Given(BaseModel):
    """A verdict: on which event, what, and for "other" which class."""

    number: int = Field(ge=0)
    verdict: Literal["yes", "no", "other", "skip"]
    label: str = Field("", max_length=200)


class Session:
    """A review in hand.

    Parameters
    ----------
    detections : list of Detection
        In order.
    verdicts : Verdicts
        What was said already is not asked again.
    negative : str
        Label of what is none of the model's sounds.
    classes : iterable of str
        Classes to choose from besides those of the events: the model's, of which it may have missed
        some.
    """

    def __init__(
        self,
        detections: list[Detection],
        verdicts: Verdicts,
        negative: str,
        classes: Iterable[str] = (),
    ) -> None:
        self.detections, self.verdicts, self.negative = detections, verdicts, negative
        self._classes = {*classes, *(one.event.label for one in detections), negative}
        self._numbers = {one.key: i for i, one in enumerate(detections)}
        known = (i for key, i in self._numbers.items() if key not in verdicts)
        self._queue = sorted(known)
        self._steps: list[int] = []  # of this session; a skip too can be undone
        self._lock = threading.Lock()

    def state(self) -> State:
        """Say how far it is, and what comes next."""
        return State(
            total=len(self.detections),
            left=len(self._queue),
            yes=self.verdicts.count("yes"),
            no=self.verdicts.count("no"),
            other=self.verdicts.count("other"),
            labels=sorted(self._classes | self.verdicts.labels),
            negative=self.negative,
            out=self.verdicts.path.name,
            next=[self._item(number) for number in self._queue[:_AHEAD]],
        )

    def _item(self, number: int) -> Item:
        one, error = self.detections[number], ""
        start, end, ticks = one.event.start, one.event.end, list[Tick]()
        try:
            start, end, _, ticks = span(one)
        except SpectroError as problem:
            error = str(problem)
        about = EventAnswer.of(one.event)
        return Item(
            number=number, event=about, start=start, end=end, frequencies=ticks, error=error
        )

    def give(self, given: Given) -> None:
        """Take a verdict in; once this returns, it is on disk.

        Raises
        ------
        ConfigError
            If the event is none that waits, or "other" has no label.
        OSError
            If it cannot be written.
        """
        with self._lock:
            if given.number not in self._queue:
                raise ConfigError("this event does not wait for a verdict; load the page again")
            label = " ".join(given.label.split())
            if given.verdict == "other" and not label:
                raise ConfigError("name the class that it is")
            one = self.detections[given.number]
            if given.verdict != "skip":
                labels = {"yes": one.event.label, "no": self.negative, "other": label}
                self.verdicts.give(one.event, one.file, given.verdict, labels[given.verdict])
            self._queue.remove(given.number)
            self._steps.append(given.number)

    def undo(self) -> None:
        """Take the last verdict or skip back, and ask about that event next.

        Raises
        ------
        ConfigError
            If there is none.
        """
        with self._lock:
            number = self._steps[-1] if self._steps else None
            if number is None or self.detections[number].key in self.verdicts:
                number = self._undo_verdict()
            del self._steps[-1:]
            self._queue.insert(0, number)

    def _undo_verdict(self) -> int:
        """Take the last verdict back, if it is on one of these events."""
        last = self.verdicts.last
        if last is None:
            raise ConfigError("there is nothing to take back")
        if last not in self._numbers:
            raise ConfigError(
                f"the last verdict is on an event of {last[0]} that is not among these; nothing "
                "was taken back"
            )
        self.verdicts.undo()
        return self._numbers[last]

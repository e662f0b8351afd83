"""A courier a channel: takes the first message in line until it has arrived, then the next."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from spectro.listening.live.clock import Clock
from spectro.listening.live.delivery.outbox import Message, Outbox
from spectro.listening.live.stats import ListenerStats

__all__ = ["Channel", "Courier", "DeliveryError"]

_IDLE = 0.5  # s between two looks into an empty line; a new message rings before
_LONGEST_WAIT = 300.0  # s between two attempts, unless the other side asks for more
_MOST_ASKED = 3_600.0  # s that it may ask for
_MOST_WAIT = _MOST_ASKED + 1  # s that an attempt is put off, and a bit
_REFUSALS = 8  # of one message, after which the others may pass


class DeliveryError(Exception):
    """A message did not arrive.

    Parameters
    ----------
    why : str
    refused : bool
        The other side is there and does not want this message; another might do.
    after : float
        Seconds that the other side asks to wait; 0 if it does not.
    """

    def __init__(self, why: str, *, refused: bool = False, after: float = 0.0) -> None:
        super().__init__(why)
        self.refused, self.after = refused, after


class Channel(Protocol):
    """A way out.

    Attributes
    ----------
    name : str
        As it stands in the outbox.
    """

    name: str

    def deliver(self, message: Message) -> None:
        """Deliver a message; return when it has arrived.

        Raises
        ------
        DeliveryError
            If it did not, or that is not known.
        """
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Courier:
    """Delivers one channel's messages in their order, each at least once.

    Parameters
    ----------
    channel : Channel
    outbox : Outbox
    clock : Clock
    stats : ListenerStats
        Counts of this channel are written.
    tell : callable
        Told, in words, of trouble and of its end: of (what, text).
    """

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        clock: Clock,
        stats: ListenerStats,
        tell: Callable[[str, str], None],
    ) -> None:
        self.channel, self.outbox, self.clock, self.stats = channel, outbox, clock, stats
        self._tell = tell
        self._trouble = False

    def step(self) -> float:
        """Try the message that is due; return how many seconds to wait before the next step."""
        name = self.channel.name
        message = self.outbox.head(name)
        self.stats.waiting[name] = self.outbox.waiting(name)
        self.stats.oldest[name] = message.made if message else 0.0
        if message is None:
            return _IDLE
        wait = message.due - self.clock.time()
        if message.attempts and 0 < wait <= _MOST_WAIT:  # more, and the clock was set back
            return wait
        try:
            self.channel.deliver(message)
        except DeliveryError as error:
            return self._failed(message, error)
        self._arrived(message)
        return 0.0

    def _arrived(self, message: Message) -> None:
        name = self.channel.name
        self.outbox.done(name, message)
        self.stats.delivered[name] += 1
        self.stats.waiting[name] = self.outbox.waiting(name)
        self.stats.refused.pop(name, None)
        if self._trouble:
            self._trouble = False
            self._tell("delivered", f"{name} takes messages again")

    def _failed(self, message: Message, error: DeliveryError) -> float:
        name = self.channel.name
        wait = min(_LONGEST_WAIT, 2.0 ** min(message.attempts, 12)) * random.uniform(0.8, 1.2)
        wait = max(wait, min(error.after, _MOST_ASKED))
        aside = error.refused and message.attempts + 1 >= _REFUSALS
        self.outbox.failed(name, message, self.clock.time() + wait, aside=aside)
        self.stats.failures[name] += 1
        if aside:
            self.stats.aside[name] = self.outbox.aside(name)
            self.stats.refused[name] = str(error)
            self._tell("aside", f"{name} refused message {message.id} {_REFUSALS} times: {error}")
            return 0.0
        if not self._trouble:
            self._trouble = True
            self._tell("undelivered", f"{name} does not take messages: {error}")
        return wait

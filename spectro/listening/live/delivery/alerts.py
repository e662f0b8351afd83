"""Which events are told at once and which wait for the digest; none is left out."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from spectro.listening.live.clock import Clock
from spectro.listening.live.delivery import messages
from spectro.listening.live.delivery.outbox import Batch, Outbox
from spectro.listening.live.settings import AlertSettings

__all__ = ["Alerts"]

_HELD = "held"
_MOST_HELD = 5_000  # events; then the digest comes early
_HOUR = 3_600.0


class Alerts:
    """Puts messages into the outbox, for all channels.

    Parameters
    ----------
    channels : sequence of str
        Names of the channels.
    settings : AlertSettings
    outbox : Outbox
        Holds what waits for the digest, too; what an earlier process left there is taken up.
    clock : Clock
    """

    def __init__(
        self, channels: Sequence[str], settings: AlertSettings, outbox: Outbox, clock: Clock
    ) -> None:
        self.channels, self.settings, self.outbox, self.clock = channels, settings, outbox, clock
        self._held: dict[str, dict[str, Any]] = {
            key: json.loads(body) for key, body in outbox.kept(_HELD).items()
        }
        self._told: dict[tuple[str, str], float] = {}
        self._recent: deque[float] = deque(maxlen=settings.most)
        self._digest_due = clock.monotonic() + settings.digest

    def add(self, batch: Batch, message: dict[str, Any]) -> bool:
        """Tell of an event, at once or in the digest; return whether at once."""
        wanted = self.settings.tell
        if wanted not in ("both", "over" if message["state"] != "raised" else "raised"):
            return False
        now = self.clock.monotonic()
        key = (message["source"], message["label"])
        pressing = message["state"] == "raised" or wanted == "over"
        if self._cools_down(key, now) if pressing else self._is_held(message["id"]):
            name = message["id"]  # the later state of an event takes the place of the earlier
            self._held[name] = message
            batch.keep(_HELD, name, messages.written(message))
            return False
        if pressing:
            self._told[key] = now
            self._recent.append(now)
        self.send(batch, message)
        return True

    def send(self, batch: Batch, message: dict[str, Any]) -> None:
        """Put a message into all lines."""
        body, now = messages.written(message), self.clock.time()
        for channel in self.channels:
            batch.send(channel, message["id"], body, now)

    def step(self) -> None:
        """Send the digest, if one is due and anything waits for it."""
        now = self.clock.monotonic()
        if not self._held:
            self._digest_due = max(self._digest_due, now)
            return
        if now >= self._digest_due or len(self._held) >= _MOST_HELD:
            self.flush()
            self._digest_due = now + self.settings.digest

    def flush(self) -> None:
        """Send what waits for the digest."""
        if not self._held:
            return
        batch = Batch()
        for message in messages.digest(list(self._held.values()), self.clock.time()):
            self.send(batch, message)
        self._drop(batch, self._held)
        self.outbox.commit(batch)
        self._held.clear()

    @property
    def held(self) -> int:
        """How many events wait for the digest."""
        return len(self._held)

    def _drop(self, batch: Batch, names: Iterable[str]) -> None:
        for name in names:
            batch.drop(_HELD, name)

    def _is_held(self, id: str) -> bool:
        return id in self._held

    def _cools_down(self, key: tuple[str, str], now: float) -> bool:
        """Tell whether another alert of it comes too soon, or too many of all came."""
        told = self._told.get(key)
        if told is not None and now - told < self.settings.cooldown:
            return True
        many = len(self._recent) == self.settings.most
        return many and now - self._recent[0] < _HOUR

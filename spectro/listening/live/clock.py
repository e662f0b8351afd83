"""The clock: what time it is, and waiting. A test gives another one."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "local_time", "utc_stamp"]


class Clock(Protocol):
    """Two clocks: that of the wall, which may jump, and one that only goes on."""

    def time(self) -> float:
        """Return the seconds since 1970 as the wall clock has them."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        ...

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Wait so long or until `stop` is set; return whether it is."""
        ...


class SystemClock:
    """The clock of this machine."""

    def time(self) -> float:
        """See :class:`Clock`."""
        return time.time()

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """See :class:`Clock`."""
        return stop.wait(seconds)


def local_time(seconds: float) -> datetime:
    """Return a time since 1970 as the date and time here, with its zone."""
    return datetime.fromtimestamp(seconds).astimezone()


def utc_stamp(seconds: float) -> str:
    """Write a time since 1970 so that it sorts and can be in a file's name.

    Examples
    --------
    >>> utc_stamp(0)
    '19700101T000000Z'
    """
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))

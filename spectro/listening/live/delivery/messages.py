"""What a message says: JSON objects, each with an id, a kind and the time."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

from spectro.listening.events.finding import Event
from spectro.listening.events.tables import json_line
from spectro.listening.live.clock import local_time

__all__ = ["digest", "event", "new_id", "notice", "written"]

_MOST_IN_DIGEST = 500
_BRIEF = ("id", "source", "state", "label", "begin_time", "start", "end", "probability", "peak")


def new_id() -> str:
    """Return an id that no other message has."""
    return uuid.uuid4().hex


def event(id: str, state: str, source: str, about: Event, now: float) -> dict[str, Any]:
    """Make the message of an event.

    Parameters
    ----------
    id : str
        The event's; the same when it is raised and when it is over.
    state : str
        "raised": it goes on, `end` is how far it goes by now; "over"; or "broken off": listening
        ended before the event did, and its end is not known.
    source : str
        Name of the source.
    about : Event
    now : float
        Seconds since 1970.
    """
    head = {"kind": "event", "id": id, "state": state, "source": source, "time": _iso(now)}
    return {**head, **json.loads(json_line(about))}


def notice(what: str, source: str, text: str, now: float) -> dict[str, Any]:
    """Make the message that something is wrong, or right again.

    Parameters
    ----------
    what : str
        As "lost", "fault", "back", "unheard", "drift".
    source : str
        Name of the source; "" for the listener itself.
    text : str
        In words.
    now : float
        Seconds since 1970.
    """
    head = {"kind": "notice", "id": new_id(), "what": what, "source": source}
    return {**head, "text": text, "time": _iso(now)}


def digest(events: Sequence[dict[str, Any]], now: float) -> list[dict[str, Any]]:
    """Make the messages that tell of events that were held back, all of them, 500 a message."""
    found = []
    for first in range(0, len(events), _MOST_IN_DIGEST):
        part = events[first : first + _MOST_IN_DIGEST]
        counts = Counter(one["label"] for one in part)
        head = {"kind": "digest", "id": new_id(), "time": _iso(now), "count": len(part)}
        brief = [{name: one[name] for name in _BRIEF} for one in part]
        found.append({**head, "classes": dict(counts.most_common()), "events": brief})
    return found


def written(message: dict[str, Any]) -> str:
    """Return a message as JSON on one line, all of it ASCII."""
    return json.dumps(message, allow_nan=False)


def _iso(now: float) -> str:
    return local_time(now).isoformat(timespec="milliseconds")

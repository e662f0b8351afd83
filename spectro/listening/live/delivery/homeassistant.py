"""What Home Assistant is told so that it finds us: topics and configurations (MQTT discovery)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from spectro import __version__

__all__ = ["Topics", "configurations", "identifier"]

_OFF_DELAY = 30  # s after which Home Assistant takes a sound for over


def identifier(text: str) -> str:
    """Return an id of ``[A-Za-z0-9_-]`` for a name; no two names have the same.

    Examples
    --------
    >>> identifier("car_horn"), identifier("Säge")[:5]
    ('car_horn', 'S_ge-')
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", text)
    if plain == text:
        return plain
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


class Topics(NamedTuple):
    """The topics of one listener.

    Parameters
    ----------
    base : str
        As "spectro/NODE".
    prefix : str
        Under which Home Assistant looks for configurations.
    """

    base: str
    prefix: str = "homeassistant"

    @property
    def status(self) -> str:
        """``online`` or ``offline``; the last is our will."""
        return f"{self.base}/status"

    @property
    def messages(self) -> str:
        """Every message, as JSON."""
        return f"{self.base}/messages"

    def heard(self, label: str) -> str:
        """``ON`` when a class is heard, ``OFF`` when it is over."""
        return f"{self.base}/class/{identifier(label)}"

    def source(self, name: str) -> str:
        """Level and state of a source, as JSON."""
        return f"{self.base}/source/{identifier(name)}"


def configurations(
    topics: Topics, node: str, labels: Sequence[str], sources: Iterable[str]
) -> dict[str, str]:
    """Return what is published, retained, on every connection: payloads by topic."""
    shared = _shared(topics, node)
    found: dict[str, dict[str, Any]] = {}
    for label in labels:
        found[f"binary_sensor/{node}/{identifier(label)}"] = {
            "name": label,
            "state_topic": topics.heard(label),
            "device_class": "sound",
            "off_delay": _OFF_DELAY,
        }
    for source in sources:
        name, topic = identifier(source), topics.source(source)
        found[f"sensor/{node}/{name}_level"] = {
            "name": f"{source} level",
            "state_topic": topic,
            "value_template": "{{ value_json.level }}",
            "unit_of_measurement": "dB",
            "state_class": "measurement",
        }
        found[f"binary_sensor/{node}/{name}_up"] = {
            "name": f"{source} hears",
            "state_topic": topic,
            "value_template": "{{ value_json.up }}",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
        }
    return {
        f"{topics.prefix}/{place}/config": json.dumps(
            {**about, "unique_id": f"spectro_{place.replace('/', '_')}", **shared}
        )
        for place, about in found.items()
    }


def _shared(topics: Topics, node: str) -> dict[str, Any]:
    """Return what stands in every configuration."""
    device = {
        "identifiers": [node],
        "name": f"spectro {node}",
        "manufacturer": "spectro",
        "model": "sound listener",
        "sw_version": __version__,
    }
    return {
        "availability_topic": topics.status,
        "device": device,
        "origin": {"name": "spectro", "sw_version": __version__},
    }

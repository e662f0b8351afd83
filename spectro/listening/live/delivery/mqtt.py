"""Messages to an MQTT broker, and states for Home Assistant. Needs paho-mqtt (extra ``mqtt``)."""

from __future__ import annotations

import json
import math
import os
import secrets
import ssl
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from spectro.errors import ConfigError, MissingExtraError
from spectro.listening.live.delivery.courier import DeliveryError
from spectro.listening.live.delivery.homeassistant import Topics, configurations, identifier
from spectro.listening.live.delivery.outbox import Message
from spectro.listening.live.sources.process import hidden
from spectro.listening.live.stats import ListenerStats

__all__ = ["Mqtt"]

_PATIENCE = 15.0  # s for a broker to say that it has a message
_PASSWORD = "SPECTRO_MQTT_PASSWORD"  # the name of a variable


class Mqtt:
    """Publishes messages with QoS 1: one has arrived when the broker says so.

    Parameters
    ----------
    url : str
        ``mqtt://HOST`` or ``mqtts://HOST``, with user, port and, as its path, the base topic if
        they are not the common ones: two listeners of one name need two of them. The password is
        taken from ``SPECTRO_MQTT_PASSWORD`` if the
        URL has none.
    node : str
        Name of this listener.
    labels, sources : sequence of str
        Classes, and names of sources.

    Raises
    ------
    ConfigError
        If the URL is none.
    MissingExtraError
        If paho-mqtt is not installed.
    """

    name = "mqtt"

    def __init__(self, url: str, node: str, labels: Sequence[str], sources: Sequence[str]) -> None:
        mqtt = _paho()
        try:
            parts = urlsplit(url)
            port = parts.port or (8_883 if parts.scheme == "mqtts" else 1_883)
        except ValueError as error:
            raise ConfigError(f"--mqtt {hidden(url)}: is no URL ({error})") from None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ConfigError(f"--mqtt {hidden(url)}: write mqtt://HOST or mqtts://HOST")
        self._host = parts.hostname
        base = parts.path.strip("/")
        node = identifier(base.replace("/", "-") or node)
        self.topics = Topics(base or f"spectro/{node}")
        self._labels = list(labels)
        self._configurations = configurations(self.topics, node, labels, sources)
        self._connected = threading.Event()
        self._refused = ""  # why the broker wants none of us
        self._client: Any = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            # Two of one id would throw each other out for ever. No session is missed: what has not
            # arrived waits in the outbox.
            client_id=f"spectro-{node}-{secrets.token_hex(4)}",
        )
        if parts.username:
            password = unquote(parts.password or "") or os.environ.get(_PASSWORD)
            self._client.username_pw_set(unquote(parts.username), password)
        if parts.scheme == "mqtts":
            self._client.tls_set_context(ssl.create_default_context())
        self._client.will_set(self.topics.status, "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(1, 60)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_birth
        self._client.connect_async(self._host, port, keepalive=30)
        self._client.loop_start()

    def deliver(self, message: Message) -> None:
        """Publish it; see :class:`.courier.Channel`."""
        if not self._connected.wait(_PATIENCE):
            raise DeliveryError(f"{self._host}: not connected{self._refused}")
        self._publish(self.topics.messages, message.body)
        about = json.loads(message.body)
        if about["kind"] == "event" and about["label"] in self._labels:
            state = "ON" if about["state"] == "raised" else "OFF"
            self._publish(self.topics.heard(about["label"]), state)

    def show(self, stats: ListenerStats) -> None:
        """Publish how the sources do; lost where there is no connection, as the next one comes."""
        if not self._connected.is_set():
            return
        for name, one in stats.sources.items():
            level = round(one.level, 1) if math.isfinite(one.level) else None
            up = "ON" if one.up and not one.fault else "OFF"
            state = json.dumps({"level": level, "up": up, "fault": one.fault})
            self._client.publish(self.topics.source(name), state, qos=0, retain=True)

    def close(self) -> None:
        """Say that we are offline, and go."""
        if self._connected.is_set():
            self._client.publish(self.topics.status, "offline", qos=1, retain=True)
        self._client.disconnect()
        self._client.loop_stop()

    def _publish(self, topic: str, payload: str) -> None:
        """Publish, and wait until the broker has it."""
        info = self._client.publish(topic, payload, qos=1)
        try:
            info.wait_for_publish(_PATIENCE)
            arrived = info.is_published()
        except (RuntimeError, ValueError) as error:  # not connected; the queue is full
            raise DeliveryError(f"{self._host}: {error}") from None
        if not arrived:
            raise DeliveryError(f"{self._host}: did not confirm within {_PATIENCE:g} s")

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        """Say what there is, and that we are there: after every connection."""
        if reason.is_failure:
            self._refused = f", the broker says: {reason}; its login is user and password in --mqtt"
            self._refused += f", or the password in {_PASSWORD}"
            return
        self._refused = ""
        client.subscribe(f"{self.topics.prefix}/status")
        self._announce()
        self._connected.set()

    def _announce(self) -> None:
        for topic, payload in self._configurations.items():
            self._client.publish(topic, payload, qos=1, retain=True)
        self._client.publish(self.topics.status, "online", qos=1, retain=True)

    def _on_birth(self, client: Any, userdata: Any, message: Any) -> None:
        """Announce ourselves again when Home Assistant has started."""
        if message.payload == b"online":
            self._announce()

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        self._connected.clear()


def _paho() -> Any:
    try:
        import paho.mqtt.client as mqtt
    except ImportError:
        raise MissingExtraError("mqtt", "--mqtt") from None
    return mqtt

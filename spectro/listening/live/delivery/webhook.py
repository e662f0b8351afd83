"""A webhook: each message is posted as JSON, signed as standardwebhooks.com has it.

Headers ``webhook-id``, the message's id; ``webhook-timestamp``, seconds since 1970; and
``webhook-signature``, ``v1,`` and the base64 of HMAC-SHA256 over ``ID.TIMESTAMP.BODY``. A receiver
knows by the id what it has had before.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
from urllib.parse import quote, unquote, urlsplit

from spectro import __version__
from spectro.errors import ConfigError
from spectro.listening.live.clock import Clock
from spectro.listening.live.delivery.courier import DeliveryError
from spectro.listening.live.delivery.outbox import Message
from spectro.listening.live.sources.process import hidden

__all__ = ["Webhook", "read_secret", "sign"]

_PATIENCE = 10.0  # s, to connect and between two bytes
_IN_PATH = "/%:@!$&'()*+,;=~"  # stay as they are, percent signs too: a URL may be quoted already
_IN_QUERY = _IN_PATH + "?"
_LONGEST = 30.0  # s, of a whole exchange
_ABOUT_IT = (400, 413, 415, 422)  # of this message; all else is of the receiver, and may pass


def read_secret(text: str) -> bytes:
    """Read a secret: ``whsec_`` and base64, or any other text as it is.

    Raises
    ------
    ConfigError
        If it is empty, or is no base64 after ``whsec_``.
    """
    text = text.strip()
    if not text:
        raise ConfigError("the secret of the webhook is empty: write one, 24 bytes or longer")
    if not text.startswith("whsec_"):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ConfigError("the secret of the webhook has no base64 after whsec_") from None


def sign(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """Return the header ``webhook-signature``.

    Examples
    --------
    >>> sign(b"secret", "a", 1, b"{}")
    'v1,DH9+vItb05LF5AmGVxmIk2XJE76uu57Vhud93LDFWM4='
    """
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class Webhook:
    """Posts messages to a URL.

    Parameters
    ----------
    url : str
        http or https; letters beyond ASCII are encoded, and of user and password what is encoded is
        decoded. No redirect is followed, and no proxy is asked.
    secret : bytes or None
        Signs; None leaves the signature out.
    clock : Clock

    Raises
    ------
    ConfigError
        If the URL is none.
    """

    name = "webhook"

    def __init__(self, url: str, secret: bytes | None, clock: Clock) -> None:
        try:
            parts = urlsplit(url)
            self._port = parts.port
            host = (parts.hostname or "").encode("idna").decode()
        except ValueError as error:
            raise ConfigError(f"--webhook {hidden(url)}: is no URL ({error})") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(f"--webhook {hidden(url)}: write http://HOST/PATH, or https")
        self._host, self._secure = host, parts.scheme == "https"
        query = f"?{quote(parts.query, safe=_IN_QUERY)}" if parts.query else ""
        self._path = quote(parts.path or "/", safe=_IN_PATH) + query
        self._secret, self._clock = secret, clock
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"spectro/{__version__}",
        }
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(user).decode()}"

    def deliver(self, message: Message) -> None:
        """Post it; see :class:`.courier.Channel`."""
        connection = self._connection()
        watch = threading.Timer(_LONGEST, _cut, [connection])
        watch.daemon = True
        watch.start()
        try:
            connection.request("POST", self._path, *self._signed(message))
            answer = connection.getresponse()
            answer.read(1 << 16)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise DeliveryError(f"{self._host}: {error or type(error).__name__}") from None
        finally:
            watch.cancel()
            connection.close()
        self._check(answer)

    def close(self) -> None:
        """See :class:`.courier.Channel`."""

    def _connection(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=_PATIENCE)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=_PATIENCE, context=context
        )

    def _signed(self, message: Message) -> tuple[bytes, dict[str, str]]:
        body, now = message.body.encode(), int(self._clock.time())
        headers = {**self._headers, "webhook-id": message.id, "webhook-timestamp": str(now)}
        if self._secret is not None:
            headers["webhook-signature"] = sign(self._secret, message.id, now, body)
        return body, headers

    def _check(self, answer: http.client.HTTPResponse) -> None:
        if 200 <= answer.status < 300:
            return
        asked = answer.getheader("Retry-After", "")
        raise DeliveryError(
            f"{self._host}: answered {answer.status}",
            refused=answer.status in _ABOUT_IT,
            after=float(asked) if asked.isdecimal() and len(asked) < 7 else 0.0,
        )


def _cut(connection: http.client.HTTPConnection) -> None:
    """End an exchange that drips."""
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

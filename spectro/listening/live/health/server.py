"""/healthz and /metrics over HTTP: a few threads, each for a few seconds at most."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from spectro.errors import ConfigError
from spectro.listening.live.clock import Clock
from spectro.listening.live.health.metrics import Metrics
from spectro.listening.live.health.state import health
from spectro.listening.live.stats import ListenerStats

__all__ = ["HealthServer"]

_AT_ONCE = 8
_PATIENCE = 5.0  # s between two bytes of a request
_LONGEST = 10.0  # s, of a whole request
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class HealthServer:
    """Answers GET /healthz, with 200 or 503, and GET /metrics.

    Parameters
    ----------
    address : (str, int)
        Host and port; port 0 takes a free one.
    stats : ListenerStats
    metrics : Metrics
    clock : Clock

    Raises
    ------
    ConfigError
        If the address cannot be had.

    Attributes
    ----------
    address : (str, int)
        Where it listens.
    """

    def __init__(
        self, address: tuple[str, int], stats: ListenerStats, metrics: Metrics, clock: Clock
    ) -> None:
        def healthz() -> tuple[int, str, bytes]:
            told = health(stats, clock.time())
            status = 200 if told["status"] == "ok" else 503
            return status, "application/json", json.dumps(told, indent=2).encode() + b"\n"

        pages = {"/healthz": healthz, "/metrics": lambda: (200, _METRICS, metrics.text())}
        try:
            self._server = _Server(address, pages)
        except OSError as error:
            where = f"{address[0]}:{address[1]}"
            raise ConfigError(
                f"--http {where}: {error.strerror or error}; choose another"
            ) from None
        host, port = self._server.server_address[:2]
        self.address = (str(host), int(port))
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def __init__(
        self, address: tuple[str, int], pages: dict[str, Callable[[], tuple[int, str, bytes]]]
    ) -> None:
        self.pages = pages
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a request, if not too many have one."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, in that thread, within a bounded time, however slowly the client writes."""
        watch = threading.Timer(_LONGEST, _cut, [request])
        watch.daemon = True
        watch.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            watch.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


def _cut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE
    server_version = "spectro"
    sys_version = ""

    def do_GET(self) -> None:  # http.server's name
        """Answer a page, or 404."""
        assert isinstance(self.server, _Server)
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self._answer(404, "text/plain", b"there are /healthz and /metrics\n")
        else:
            self._answer(*page())

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep silent: a probe asks every few seconds."""

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

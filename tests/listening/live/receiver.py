"""A webhook's receiver: a real server on loopback that fails when it is told to."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Keeps what it took; `answer` says the status of each request, 0 for none at all."""

    def __init__(self, answer: Callable[[], int] = lambda: 204) -> None:
        self.taken: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.asked = 0
        self.answer = answer
        self.more: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked += 1
                outer.paths.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.answer()
                if status == 0:
                    return
                if status < 300 or status == 599:  # 599: taken, and the answer is lost
                    outer.taken.append(json.loads(body))
                    outer.bodies.append(body)
                    outer.headers.append(dict(self.headers))
                if status == 599:
                    return
                self.send_response(status)
                for name, value in outer.more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Keep silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook?a=b"
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def ids(self) -> list[str]:
        return [one["id"] for one in self.taken]

    def events(self) -> Counter[str]:
        """How often each event was told, at once or in a digest, by its id."""
        single = (one["id"] for one in self.taken if one["kind"] == "event")
        many = (e["id"] for one in self.taken if one["kind"] == "digest" for e in one["events"])
        return Counter([*single, *many])

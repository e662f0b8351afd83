"""A service as a process of its own, and ways to ask it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_PATIENCE = 120  # s


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.port = urlsplit(url).port

    def ask(
        self, path: str, body: bytes | None = None, method: str | None = None, **headers: str
    ) -> Answer:
        """Ask, whatever the answer is; ``content_type`` becomes ``Content-Type``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named.setdefault("content-type", "audio/wav")
        asked = urllib.request.Request(self.url + path, body, named, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=_PATIENCE) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def scanned(self, body: bytes, query: str = "") -> Any:
        """Scan a recording, and wait for the end of it."""
        started = self.ask(f"scan?{query}", body)
        assert started.status == 202, started
        return self.wait(started.json["id"])

    def wait(self, number: str) -> Any:
        last = time.monotonic() + _PATIENCE
        while (state := self.ask(f"scan/{number}").json)["state"] not in ("done", "failed"):
            assert time.monotonic() < last, state
            time.sleep(0.02)
        return state

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(_PATIENCE)


@contextmanager
def started(command: list[str | Path], temporary: Path) -> Iterator[Service]:
    """Start a command that prints its address, with a folder for its temporary files."""
    temporary.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "spectro", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
    )
    guard = threading.Timer(3 * _PATIENCE, process.kill)
    guard.start()
    try:
        yield Service(process, _address(process))
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        words = [word for word in line.split() if word.startswith("http://")]
        if words:
            return words[0]
    raise AssertionError(f"it ended: {said}")


@contextmanager
def serving(model: Path, temporary: Path, *options: str) -> Iterator[Service]:
    """Start ``spectro serve`` on a free port."""
    words = ["serve", model, "--backend", "onnx", "--port", "0", *options]
    with started(words, temporary) as service:
        yield service

"""A headless Chromium for tests, spoken to over a pipe: no driver, no port, no library."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PATIENCE = 300  # seconds until a Chromium that hangs is ended, and the test with it
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
)

# Chromium reads commands from descriptor 3 and answers on 4.
_START = """
import fcntl, os, sys
pair = [fcntl.fcntl(int(given), fcntl.F_DUPFD, 10) for given in sys.argv[1:3]]
os.dup2(pair[0], 3)
os.dup2(pair[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

# Text whose contrast with what lies behind it is below that of WCAG 2 AA, 4.5.
PALE = """
(() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * under[i]);
  const behind = (part) => {
    if (!part) return [255, 255, 255];
    const style = getComputedStyle(part);
    return over(parse(style.backgroundColor), behind(part.parentElement));
  };
  const light = (color) => color.map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const pale = [];
  for (const part of document.querySelectorAll("body *")) {
    const text = [...part.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data).join("");
    if (!text.trim() || !part.checkVisibility() || part.closest("script, style, option")) continue;
    const style = getComputedStyle(part);
    const color = parse(part.closest("svg") ? style.fill : style.color);
    for (let up = part; up; up = up.parentElement) color[3] *= getComputedStyle(up).opacity;
    const under = behind(part);
    const [a, b] = [light(over(color, under)), light(under)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) pale.push(`${contrast.toFixed(2)} ${part.className} ${text.trim()}`);
  }
  return pale;
})()
"""


class Page:
    """One tab; what it writes to its console, and what it asks of a network, is kept."""

    def __init__(self, requests: int, replies: int) -> None:
        self._requests, self._replies = os.fdopen(requests, "wb"), os.fdopen(replies, "rb")
        self._rest, self._number, self._session = b"", 0, ""
        self.console: list[str] = []
        self.asked_for: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its reply."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._requests.write(json.dumps(message).encode() + b"\0")
        self._requests.flush()
        while True:
            reply = self._read()
            if reply.get("id") == self._number:
                assert "error" not in reply, reply["error"]
                result: dict[str, Any] = reply["result"]
                return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = self._replies.read1(1 << 16)
            assert chunk, "Chromium has gone"
            self._rest += chunk
        message, self._rest = self._rest.split(b"\0", 1)
        reply: dict[str, Any] = json.loads(message)
        self._hear(reply.get("method", ""), reply.get("params", {}))
        return reply

    def _hear(self, event: str, about: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        if event == "Runtime.consoleAPICalled":
            self.console.append(f"{about['type']}: {about['args']}")
        if event == "Runtime.exceptionThrown":
            self.console.append(f"exception: {about['exceptionDetails']}")
        if event == "Log.entryAdded":
            self.console.append(f"{about['entry']['level']}: {about['entry']['text']}")
        if event == "Network.requestWillBeSent":
            self.asked_for.append(about["request"]["url"])

    def open(self, path: Path | str) -> None:
        """Open a file or an address and wait until it is loaded."""
        self._loaded = False
        url = path if isinstance(path, str) else path.absolute().as_uri()
        self.call("Page.navigate", url=url)
        while not self._loaded:
            self._read()

    def run(self, script: str) -> Any:
        """Evaluate JavaScript, wait for its promise, and give its value."""
        reply = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def click(self, selector: str) -> None:
        """Press the mouse where an element is, once it has been scrolled into view."""
        x, y = self.run(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            "found.scrollIntoView({ behavior: 'instant', block: 'center' });"
            "const box = found.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            about = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", **about)

    def press(self, key: str, code: int = 0) -> None:
        """Press a key and let it go: a letter, or a name such as "ArrowRight" with its code."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        about = {"key": key, "windowsVirtualKeyCode": code or ord(key[0].upper())}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def give(self, selector: str, path: Path) -> None:
        """Choose a file, as in the dialog of a file input."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def until(self, condition: str, seconds: float = 30) -> Any:
        """Wait until a JavaScript expression is true; give its value."""
        last = time.monotonic() + seconds
        while not (value := self.run(condition)):
            assert time.monotonic() < last, (
                condition,
                self.console,
                self.run("document.body.innerText"),
            )
            time.sleep(0.05)
        return value

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Set the window's size and whether the system is dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.prefer("dark" if dark else "light")

    def prefer(self, scheme: str, media: str = "") -> None:
        """Set what the user likes: colours, and no smooth scrolling, which tests outrun."""
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def screenshot(self, path: Path, **options: Any) -> None:
        """Write what is seen as PNG."""
        reply = self.call("Page.captureScreenshot", format="png", **options)
        path.write_bytes(base64.b64decode(reply["data"]))


@contextmanager
def browser(*flags: str) -> Iterator[Page]:
    """Give a tab of a Chromium that ends with the block; skip the test where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"no Chromium is installed (looked for {', '.join(_NAMES)})")
    (read_there, requests), (replies, write_there) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [program, *_FLAGS, *flags, f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            [sys.executable, "-c", _START, str(read_there), str(write_there), *words],
            pass_fds=(read_there, write_there),
            env={**os.environ, "TMPDIR": profile},
            stderr=subprocess.DEVNULL,
        )
        os.close(read_there)
        os.close(write_there)
        guard = threading.Timer(_PATIENCE, process.kill)
        guard.start()
        try:
            yield Page(requests, replies)
        finally:
            guard.cancel()
            process.kill()
            process.wait()


def check_can_be_read(page: Page, *, dark: bool, width: int = 1280) -> None:
    """Check that a page follows the reader's light or dark, and that no text is too pale."""
    page.look(width, dark=dark)
    paper = page.run("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, paper[4:-1].split(","))) < 60) == dark
    assert page.run(PALE) == []


_AXES = """
[...document.querySelectorAll(".plot")].filter((plot) => plot.checkVisibility()).map((plot) => {
  const box = plot.getBoundingClientRect();
  const texts = [...plot.querySelectorAll(".hz, .time")].filter((mark) => !mark.hidden);
  const places = texts.map((mark) => mark.getBoundingClientRect());
  const out = places.filter((place) => place.left < box.left || place.right > box.right
    || place.top < box.top || place.bottom > box.bottom);
  const times = [...plot.querySelectorAll(".time")].map((mark) => mark.getBoundingClientRect());
  const over = times.filter((place, i) => i && place.left < times[i - 1].right + 4);
  return { many: times.length, out: out.length, over: over.length };
})
"""


def check_can_be_turned(page: Page, *, plots: int) -> None:
    """Check that a page loaded 800 px wide fits 360 px and back, its axes within their pictures."""
    shown = []
    for width in (360, 800):
        page.look(width)
        page.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))")
        assert page.run("document.documentElement.scrollWidth") <= width
        axes = page.run(_AXES)
        assert [(one["out"], one["over"]) for one in axes] == [(0, 0)] * plots
        assert all(one["many"] >= 2 for one in axes)
        shown.append(sum(one["many"] for one in axes))
    assert shown[0] <= shown[1]  # more room, more times

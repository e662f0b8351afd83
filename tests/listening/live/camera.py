"""A camera's sound over RTSP, as much of it as a listener asks for (RFC 2326, RTP within TCP)."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile as sf

_KIND = 97  # of payload, named in the description
_SAMPLES = 480  # in a packet: 10 ms


@contextmanager
def camera(sound: Path) -> Iterator[str]:
    """Serve a mono sound of 48 kHz in real time, over and over, to whoever comes; yield its URL."""
    y, sr = sf.read(sound, dtype="int16")
    assert sr == 48_000 and y.ndim == 1
    server = socket.create_server(("127.0.0.1", 0))
    url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=_talk, args=(client, url, y, ended), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield url
    finally:
        ended.set()
        server.close()


def _talk(client: socket.socket, url: str, y, ended: threading.Event) -> None:
    """Answer requests until the one to play, then send packets until nobody takes them."""
    description = (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio 0 RTP/AVP {_KIND}\r\na=rtpmap:{_KIND} L16/48000/1\r\na=control:sound\r\n"
    )
    more = {
        "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
        "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Base: {url}/\r\n"
        f"Content-Length: {len(description)}\r\n",
        "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
        "PLAY": "Session: 1\r\n",
    }
    with client, client.makefile("rb") as asked:
        method = ""
        while method != "PLAY" and not ended.is_set():
            lines = [line.decode() for line in iter(lambda: asked.readline().strip(), b"")]
            if not lines:
                return
            method = lines[0].split()[0]
            number = next(line for line in lines if line.lower().startswith("cseq:"))
            answer = f"RTSP/1.0 200 OK\r\n{number}\r\n{more.get(method, '')}\r\n"
            client.sendall((answer + description * (method == "DESCRIBE")).encode())
        start, sent = time.monotonic(), 0
        try:
            while not ended.is_set():
                at = sent * _SAMPLES % (len(y) - _SAMPLES)
                sound = y[at : at + _SAMPLES].astype(">i2").tobytes()
                stamp = sent * _SAMPLES & 0xFFFF_FFFF
                head = struct.pack(">BBHII", 0x80, _KIND, sent & 0xFFFF, stamp, 7)
                packet = head + sound
                client.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
                sent += 1
                time.sleep(max(0.0, start + sent * _SAMPLES / 48_000 - time.monotonic()))
        except OSError:
            return

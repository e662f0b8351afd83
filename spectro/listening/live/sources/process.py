"""What ffmpeg reads behind a URL, through a process that can be killed.

A library that opens streams can hang within itself; a process cannot keep us from ending it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import threading
from collections import deque
from io import RawIOBase
from typing import IO, cast

from spectro.errors import AudioError
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources.pcm import Format, Samples
from spectro.listening.live.sources.pipe import PcmReader

__all__ = ["Ffmpeg", "hidden"]

_INSTALL = "apt install ffmpeg, brew install ffmpeg or winget install ffmpeg"
_SCHEMES = {  # the protocols that each may use: a playlist must not open our files
    "http": "http,tcp",
    "https": "https,tls,tcp",
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsps,rtsp,rtp,udp,tcp,tls",
    "rtmp": "rtmp,tcp",
    "icecast": "icecast,http,tcp",
    "srt": "srt",
    "udp": "udp",
    "tcp": "tcp",
    "rtp": "rtp,udp",
}
_KILL_AFTER = 2.0  # s
_ERROR = re.compile(r"(?:\[[^\]]* @ [^\]]*\] )?\[(?:error|fatal|panic)\] ")
# ffmpeg's own line, not one of the server's metadata; of a stream it is N/A, or 0.
_LENGTH = re.compile(r"\[info\]\s+Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_SHORT = 0.9  # of its length: what ends before broke off


def hidden(url: str) -> str:
    """Write a URL without the password in it.

    Examples
    --------
    >>> hidden("rtsp://me:secret@camera/live")
    'rtsp://***@camera/live'
    """
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", url)


class Ffmpeg:
    """A stream, or a recording on a server, that ffmpeg decodes.

    Parameters
    ----------
    settings : SourceSettings

    Raises
    ------
    AudioError
        If ffmpeg is missing, or the URL's scheme is none that is listened to.
    """

    again = True
    overflows = 0

    def __init__(self, settings: SourceSettings) -> None:
        self._settings, self._name = settings, hidden(settings.input)
        self._length = self._came = 0.0  # s, of a recording; and of what came of it
        self._command = _command(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: PcmReader | None = None
        self._said: deque[str] = deque(maxlen=3)

    @property
    def live(self) -> bool | None:
        """A recording that a server has says how long it is, a stream does not."""
        return False if self._length else None

    def open(self) -> Format:
        """See :class:`~spectro.listening.live.sources.pipe.Source`."""
        self.close()
        self._length = self._came = 0.0
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us; we end it
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self._ear = threading.Thread(
            target=self._listen_to, args=[self._process.stderr], daemon=True
        )
        self._ear.start()
        self._reader = PcmReader(cast(RawIOBase, self._process.stdout), self._name)
        try:
            self._form = self._reader.start(None)
            return self._form
        except AudioError:
            self.close()
            raise AudioError(f"{self._name}: gives no sound ({self._why()})") from None

    def read(self, timeout: float) -> Samples | None:
        """See :class:`~spectro.listening.live.sources.pipe.Source`."""
        assert self._reader is not None and self._process is not None
        samples = self._reader.read(timeout)
        if samples is not None:
            self._came += len(samples) / self._form.sr
            return samples
        status = self._process.wait(_KILL_AFTER)
        self._ear.join(_KILL_AFTER)  # it has said all by now
        if status:
            raise AudioError(f"{self._name}: broke off ({self._why()})")
        if self._came < _SHORT * self._length:
            raise AudioError(
                f"{self._name}: broke off after {self._came:.0f} of {self._length:.0f} s "
                f"({self._why()})"
            )
        return None

    def close(self) -> None:
        """See :class:`~spectro.listening.live.sources.pipe.Source`."""
        process, self._process = self._process, None
        if self._reader is not None:
            self._reader.stop()
        if process is None:
            return
        if process.poll() is None:
            process.kill()  # it may hang in a read of its own; there is nothing to save
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_KILL_AFTER)

    def _listen_to(self, stream: IO[bytes]) -> None:
        """Keep the last errors that it says; a full pipe would stop it."""
        with contextlib.suppress(OSError, ValueError), stream:
            for line in iter(lambda: stream.readline(4_096), b""):
                text = line.decode("utf-8", "replace").strip()
                if error := _ERROR.match(text):
                    self._said.append(hidden(text[error.end() :])[:200])
                elif length := _LENGTH.match(text):
                    hours, minutes, seconds = map(float, length.groups())
                    self._length = 3_600 * hours + 60 * minutes + seconds

    def _why(self) -> str:
        return "; ".join(self._said) or "ffmpeg does not say why"


def _command(settings: SourceSettings) -> list[str]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(f"{hidden(settings.input)}: needs ffmpeg; install it ({_INSTALL})")
    quiet = [program, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info"]
    to_wav = ["-vn", "-sn", "-dn", "-map", "0:a:0", "-c:a", "pcm_s16le", "-bitexact"]
    out = ["-flush_packets", "1", "-f", "wav", "pipe:1"]
    return [*quiet, *_input(settings), *to_wav, *out]


def _input(settings: SourceSettings) -> list[str]:
    scheme = settings.input.partition("://")[0].lower()
    allowed = _SCHEMES.get(scheme)
    if allowed is None:
        raise AudioError(
            f"{hidden(settings.input)}: {scheme} is no kind of stream that is listened to; "
            f"there are {', '.join(_SCHEMES)}"
        )
    stall = str(round(settings.stall * 1e6))
    patience = {"rtsp": ["-rtsp_transport", "tcp", "-timeout", stall]}
    patience |= {"http": ["-rw_timeout", stall], "https": ["-rw_timeout", stall]}
    soon = ["-analyzeduration", "2000000"]
    if scheme not in ("http", "https"):  # where it may be a recording, whose beginning counts
        soon += ["-fflags", "nobuffer"]
    allow = ["-protocol_whitelist", allowed]
    return [*allow, *patience.get(scheme, []), *soon, "-i", settings.input]

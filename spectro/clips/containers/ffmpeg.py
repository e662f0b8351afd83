"""Sound that libsndfile does not know, through one process of ffmpeg's.

ffmpeg is not a part of this package: where it is on the machine it is used, and where it is not,
the message says how to get it. It is told which demuxer to take, may open nothing but that one
file, and is ended as soon as no more is wanted of it.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, NoReturn, cast

import numpy as np
import numpy.typing as npt

from spectro.clips.containers import phone
from spectro.errors import AudioError
from spectro.plumbing.paths import is_url

__all__ = ["Ffmpeg"]

_PATIENCE = 120.0  # s without a sample, after which it hangs
_MOST_AT_ONCE = 1 << 28  # bytes that ffmpeg may ask for at a time
_MOST_SAID = 300  # characters of its message that are told
_MOST_CHANNELS = 1_024
_INSTALL = "apt install ffmpeg, brew install ffmpeg or winget install ffmpeg"


class Ffmpeg:
    """A sound file that ffmpeg decodes while it is read.

    Parameters
    ----------
    path : Path
        A regular file on a disk.
    name : str
        The demuxer to take; see :func:`spectro.clips.containers.phone.demuxer`.

    Attributes
    ----------
    samplerate, channels : int
        Sampling rate in Hz, and number of channels.
    container, codec : str
        What it is called.
    frames : int or None
        None: how long it is is known at its end.

    Raises
    ------
    AudioError
        If ffmpeg is missing, or cannot decode the file in full.
    """

    frames: int | None = None
    slack = 0

    def __init__(self, path: Path, name: str) -> None:
        program = shutil.which("ffmpeg")
        if program is None or is_url(path):
            way = "copy it to a disk" if program else f"install it ({_INSTALL})"
            raise AudioError(f"{path}: cannot be decoded without ffmpeg; {way}, or export WAV")
        phone.check_whole(path, name)
        self._path = path
        self._said = cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115
        self._process = subprocess.Popen(
            _command(program, path, name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=-1,
        )
        self.container, self.codec = name.upper(), "FFMPEG"
        self._left = b""
        self._ended = False
        try:
            self.samplerate, self.channels = self._header()
        except BaseException:
            self.close()
            raise

    def read(self, n: int) -> npt.NDArray[np.float32]:
        """Decode the next `n` frames, or as many as there are."""
        width = 4 * self.channels
        data = self._bytes(n * width)
        if len(data) < n * width:
            self._check_end()
        data = data[: len(data) // width * width]
        return np.frombuffer(data, "<f4").astype(np.float32, copy=False).reshape(-1, self.channels)

    def seek(self, first: int) -> int:
        """Stay at the start, from where all must be decoded; return 0."""
        return 0

    def close(self) -> None:
        """End the process, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
        self._said.close()

    def _header(self) -> tuple[int, int]:
        """Read the WAV header that comes in front of the samples."""
        if self._bytes(12)[8:] != b"WAVE":
            self._refuse()
        rate = channels = 0
        while True:
            head = self._bytes(8)
            if len(head) < 8:
                self._refuse()
            if head[:4] == b"data":
                break
            content = self._bytes(struct.unpack("<I", head[4:])[0])
            if head[:4] == b"fmt ":
                channels, rate = struct.unpack_from("<HI", content, 2)
        if not 0 < channels <= _MOST_CHANNELS or not rate:
            self._refuse()
        return rate, channels

    def _bytes(self, n: int) -> bytes:
        """Read `n` bytes, or as many as there are, or give up when none come."""
        assert self._process.stdout is not None
        watch = threading.Timer(_PATIENCE, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            return self._process.stdout.read(n)
        finally:
            watch.cancel()

    def _check_end(self) -> None:
        """Refuse a file of which ffmpeg did not decode all."""
        if not self._ended and (self._process.wait() or self._said.seek(0, os.SEEK_END)):
            self._refuse()
        self._ended = True

    def _refuse(self) -> NoReturn:
        self._process.kill()
        self._process.wait()
        self._said.seek(0)
        lines = self._said.read(10_000).decode("utf-8", "replace").replace("\r", "\n").split("\n")
        why = "; ".join(filter(None, map(_plain, lines)))
        why = (
            why.replace(f"file:{self._path.absolute()}: ", "")[:_MOST_SAID] or "it gave no samples"
        )
        raise AudioError(f"{self._path}: cannot be decoded in full (ffmpeg: {why})")


def _plain(line: str) -> str:
    """Drop the part of ffmpeg that speaks, with its address; and what is not printable."""
    if line.startswith("[") and "] " in line:
        line = line.split("] ", 1)[1]
    return "".join(letter for letter in line if letter.isprintable()).strip()


def _command(program: str, path: Path, name: str) -> list[str]:
    return [
        program,
        *("-nostdin", "-hide_banner", "-v", "error", "-xerror"),
        *("-max_alloc", str(_MOST_AT_ONCE), "-threads", "1"),
        *("-protocol_whitelist", "file,pipe", "-f", name),
        *("-i", f"file:{path.absolute()}"),
        *("-map", "0:a:0", "-map_metadata", "-1", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"),
    ]

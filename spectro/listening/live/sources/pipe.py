"""Bytes from a pipe, read by a thread that waits for them so that nobody else has to."""

from __future__ import annotations

import queue
import threading
from io import RawIOBase
from typing import Protocol

from spectro.errors import AudioError
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources.pcm import Format, Samples, decode, read_header

__all__ = ["PcmReader", "Source", "StandardInput"]

_WAITING = 16  # pieces read ahead; then the pipe fills, and who writes to it waits
_PIECE = 1 << 16  # bytes at most
_HEADER_PATIENCE = 30.0  # s


class Source(Protocol):
    """Something that can be opened, read and closed, and opened again.

    Attributes
    ----------
    live : bool or None
        Whether its sound is lost unless it is taken in time; None: how fast it comes will tell.
    again : bool
        Whether it can be opened again after it ended.
    overflows : int
        How often its driver dropped samples.
    """

    @property
    def live(self) -> bool | None:
        """As it is known so far."""
        ...

    again: bool
    overflows: int

    def open(self) -> Format:
        """Open it; raise AudioError or OSError if that cannot be."""
        ...

    def read(self, timeout: float) -> Samples | None:
        """Return what came, at latest after `timeout` seconds; None when it has ended."""
        ...

    def close(self) -> None:
        """Close it, whatever state it is in."""
        ...


class PcmReader:
    """A stream of samples, with or without a WAV header.

    Parameters
    ----------
    stream : raw binary file
        Unbuffered: a read gives what there is, and holds no lock when the interpreter ends.
    where : str
        Its name, for messages.
    """

    def __init__(self, stream: RawIOBase, where: str) -> None:
        self._where, self._stream = where, stream
        self._pieces: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._left = b""
        self._ended = False
        self._form: Format | None = None
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name=f"read {where}", daemon=True).start()

    def start(self, form: Format | None) -> Format:
        """Say what the samples are; None reads a WAV header.

        Raises
        ------
        AudioError
            If there is none, or nothing comes.
        """
        self._form = form or read_header(self._exactly, self._where)
        return self._form

    def read(self, timeout: float) -> Samples | None:
        """Return the samples that came, perhaps none; None when all is read."""
        assert self._form is not None
        self._take(timeout)
        whole = len(self._left) // self._form.frame * self._form.frame
        if whole == 0 and self._ended:
            return None
        data, self._left = self._left[:whole], self._left[whole:]
        return decode(data, self._form)

    def stop(self) -> None:
        """Take no more; the thread ends with its pipe."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                piece = self._stream.read(_PIECE) or b""
                self._put(piece)
                if not piece:
                    return
        except (OSError, ValueError):  # closed under our hands
            self._put(b"")

    def _put(self, piece: bytes) -> None:
        while not self._stopped.is_set():
            try:
                return self._pieces.put(piece, timeout=1)
            except queue.Full:
                continue

    def _take(self, timeout: float) -> None:
        """Add all that came, or wait for the first of it."""
        try:
            piece = self._pieces.get(timeout=timeout) if not self._ended else b""
            while piece:
                self._left += piece
                if len(self._left) > _PIECE:
                    return
                piece = self._pieces.get_nowait()
            self._ended = True
        except queue.Empty:
            return

    def _exactly(self, n: int) -> bytes:
        while len(self._left) < n and not self._ended:
            before = len(self._left)
            self._take(_HEADER_PATIENCE)
            if len(self._left) == before and not self._ended:
                raise AudioError(f"{self._where}: nothing came within {_HEADER_PATIENCE:g} s")
        data, self._left = self._left[:n], self._left[n:]
        return data


class StandardInput:
    """Samples that another program sends: ``arecord -f S16_LE -r 48000 | spectro listen MODEL -``.

    Parameters
    ----------
    settings : SourceSettings
    stream : raw binary file
        Standard input: ``sys.stdin.buffer.raw``.
    """

    live: bool | None = None  # a recorder's, or a file's: how fast it comes will tell
    again = False
    overflows = 0

    def __init__(self, settings: SourceSettings, stream: RawIOBase) -> None:
        self._settings = settings
        self._reader = PcmReader(stream, "standard input")

    def open(self) -> Format:
        """See :class:`Source`."""
        own = self._settings
        if own.format == "wav":
            return self._reader.start(None)
        assert own.rate is not None
        return self._reader.start(Format(own.format, own.rate, own.channels))

    def read(self, timeout: float) -> Samples | None:
        """See :class:`Source`."""
        return self._reader.read(timeout)

    def close(self) -> None:
        """See :class:`Source`."""
        self._reader.stop()

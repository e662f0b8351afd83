"""A program that is started for each message, which it reads as JSON from its standard input."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from typing import IO

from spectro.errors import ConfigError
from spectro.listening.live.delivery.courier import DeliveryError
from spectro.listening.live.delivery.outbox import Message

__all__ = ["Command"]

_PATIENCE = 60.0  # s that it may take
_TOLD = 4_096  # bytes at the end of what it says when it fails


class Command:
    """Starts a program, without a shell, for each message.

    Parameters
    ----------
    line : str
        The program and its arguments, quoted as in a shell.

    Raises
    ------
    ConfigError
        If there is no such program.
    """

    name = "command"

    def __init__(self, line: str) -> None:
        try:
            self._arguments = shlex.split(line)
        except ValueError as error:
            raise ConfigError(f"--on-event {line!r}: cannot be split in words ({error})") from None
        if not self._arguments or shutil.which(self._arguments[0]) is None:
            raise ConfigError(f"--on-event {line!r}: there is no such program")

    def deliver(self, message: Message) -> None:
        """Start it, and wait until it has ended well; see :class:`.courier.Channel`."""
        try:
            # Files, not pipes: what it leaves running may hold on to them, and is not waited for.
            with tempfile.TemporaryFile() as body, tempfile.TemporaryFile() as said:
                body.write(message.body.encode())
                body.seek(0)
                self._run(body, said)
        except OSError as error:
            raise DeliveryError(f"cannot be started ({error.strerror or error})") from None

    def _run(self, body: IO[bytes], said: IO[bytes]) -> None:
        process = subprocess.Popen(
            self._arguments,
            stdin=body,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            _end(process)
            raise DeliveryError(f"did not end within {_PATIENCE:g} s", refused=True) from None
        if status:
            said.seek(max(0, said.seek(0, os.SEEK_END) - _TOLD))
            last = (said.read().decode("utf-8", "replace").strip().splitlines() or [""])[-1][:200]
            told = f"ended with status {status}"
            raise DeliveryError(f"{told}: {last}" if last else told, refused=True)

    def close(self) -> None:
        """See :class:`.courier.Channel`."""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program with all that it started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)

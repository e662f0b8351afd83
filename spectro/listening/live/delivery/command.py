"""A program that is started for each message, which it reads as JSON from its standard input."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections import deque

from spectro.errors import ConfigError
from spectro.listening.live.delivery.courier import DeliveryError
from spectro.listening.live.delivery.outbox import Message

__all__ = ["Command"]

_PATIENCE = 60.0  # s that it may take
_TOLD, _LINE = 3, 4_096  # lines that are kept of what it says, and their bytes


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
            process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise DeliveryError(f"cannot be started ({error.strerror or error})") from None
        # The end of the program is waited for, not that of its pipes: what it leaves running may
        # hold on to them.
        said: deque[bytes] = deque(maxlen=_TOLD)
        talk = threading.Thread(target=_talk, args=(process, message.body, said), daemon=True)
        talk.start()
        try:
            status = process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            _end(process)
            raise DeliveryError(f"did not end within {_PATIENCE:g} s", refused=True) from None
        if status:
            talk.join(timeout=1)
            last = next(filter(None, reversed(said)), b"").decode("utf-8", "replace")[:200]
            told = f"ended with status {status}"
            raise DeliveryError(f"{told}: {last}" if last else told, refused=True)

    def close(self) -> None:
        """See :class:`.courier.Channel`."""


def _talk(process: subprocess.Popen[bytes], body: str, said: deque[bytes]) -> None:
    """Give a program its message, and keep the last lines that it, or what it started, says."""
    asks, tells = process.stdin, process.stderr
    assert asks is not None and tells is not None
    with contextlib.suppress(OSError), asks:
        asks.write(body.encode())
    with contextlib.suppress(OSError), tells:
        while line := tells.readline(_LINE):
            said.append(line.strip())


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program with all that it started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)

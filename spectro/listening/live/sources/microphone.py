"""A microphone through PortAudio. Its callback only copies; the rest is done by others."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Any, NamedTuple

import numpy as np

from spectro.errors import AudioError, MissingExtraError
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources.pcm import Format, Samples, decode

__all__ = ["Device", "Microphone", "check_there", "find_device", "list_devices"]

_BLOCK = 0.1  # s
_WAITING = 100  # blocks that the callback may put down before they are taken
_PORTAUDIO = threading.RLock()  # one for the process, and so are its devices
_open: set[Microphone] = set()


def check_there(wanted: str) -> None:
    """Raise, with the ways on, if there is no such microphone now.

    Parameters
    ----------
    wanted : str
        ``mic`` or ``mic:PART OF ITS NAME``.

    Raises
    ------
    AudioError
        If there is none, or several fit.
    MissingExtraError
        If sounddevice is not installed.
    """
    try:
        find_device(wanted.partition(":")[2].strip())
    except AudioError as error:
        raise AudioError(
            f"{error}; or name a file, the URL of a stream, or - for standard input "
            "(spectro listen --list names the microphones)"
        ) from None


class Device(NamedTuple):
    """An input that PortAudio knows.

    Parameters
    ----------
    number : int
        Its number now; it may be another one after a reboot.
    name, host : str
        Of the hardware, and of the system that it is reached through.
    channels, sr : int
        How many it has, and its own sampling rate in Hz.
    default : bool
    """

    number: int
    name: str
    host: str
    channels: int
    sr: int
    default: bool


class Microphone:
    """A microphone, found by its name each time that it is opened.

    Parameters
    ----------
    settings : SourceSettings
    """

    live: bool | None = True
    again = True

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._wanted = settings.input.partition(":")[2].strip()
        self._blocks: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._stream: Any = None
        self._form = Format("s16le", settings.rate or 1, settings.channels)
        self.overflows = 0

    def open(self) -> Format:
        """See :class:`~spectro.listening.live.sources.pipe.Source`."""
        with _PORTAUDIO:
            self.close()
            sounddevice = _sounddevice()
            try:
                device = self._found(sounddevice)
                self._start(sounddevice, device)
            except sounddevice.PortAudioError as error:
                self.close()
                which = f"microphone {self._wanted}".strip()
                raise AudioError(f"{which}: cannot be opened ({error})") from None
        return self._form

    def _found(self, sounddevice: Any) -> Device:
        """Find the device, among those that are plugged in now."""
        if not _open:  # PortAudio lists devices once; to list them anew it closes all streams
            with contextlib.suppress(sounddevice.PortAudioError):  # it may be at an end already
                sounddevice._terminate()
            sounddevice._initialize()
        try:
            return find_device(self._wanted)
        except AudioError as error:
            others = " once no other microphone is heard" if _open else ""
            raise AudioError(f"{error}; it is looked for again{others}") from None

    def _start(self, sounddevice: Any, device: Device) -> None:
        sr = self._settings.rate or device.sr
        self._form = Format("s16le", sr, self._settings.channels)
        self._blocks = queue.Queue(_WAITING)
        self._stream = sounddevice.RawInputStream(
            samplerate=sr,
            blocksize=round(_BLOCK * sr),
            device=device.number,
            channels=self._form.channels,
            dtype="int16",
            callback=self._callback,
        )
        _open.add(self)
        self._stream.start()

    def read(self, timeout: float) -> Samples | None:
        """See :class:`~spectro.listening.live.sources.pipe.Source`."""
        try:
            data = self._blocks.get(timeout=timeout)
        except queue.Empty:
            if not self._is_active():
                raise AudioError("the microphone stopped; is it plugged in?") from None
            return np.zeros((0, self._form.channels), np.float32)
        return decode(data, self._form)

    def _is_active(self) -> bool:
        try:
            return self._stream is None or bool(self._stream.active)
        except _sounddevice().PortAudioError:
            return False

    def close(self) -> None:
        """See :class:`~spectro.listening.live.sources.pipe.Source`."""
        with _PORTAUDIO:
            _open.discard(self)
            stream, self._stream = self._stream, None
            if stream is None:
                return
            try:
                stream.abort(ignore_errors=True)
                stream.close(ignore_errors=True)
            except Exception:  # of a device that is gone; PortAudio's own errors
                return

    def _callback(self, data: Any, frames: int, time: Any, status: Any) -> None:
        """Copy; count what PortAudio or we had to drop."""
        if status.input_overflow:
            self.overflows += 1
        try:
            self._blocks.put_nowait(bytes(data))
        except queue.Full:
            self.overflows += 1


def list_devices() -> list[Device]:
    """Return the inputs that there are.

    Raises
    ------
    MissingExtraError
        If sounddevice is not installed.
    AudioError
        If PortAudio is not.
    """
    sounddevice = _sounddevice()
    hosts = sounddevice.query_hostapis()
    default = sounddevice.default.device[0]
    found = []
    for index, one in enumerate(sounddevice.query_devices()):
        if one["max_input_channels"] > 0:
            host = hosts[one["hostapi"]]["name"]
            rate = round(one["default_samplerate"])
            about = (index, one["name"], host, one["max_input_channels"], rate, index == default)
            found.append(Device(*about))
    return found


def find_device(wanted: str) -> Device:
    """Return the input whose name holds `wanted`; "" is the default one.

    Raises
    ------
    AudioError
        If there is none, or several.
    """
    devices = list_devices()
    if not wanted:
        found = [one for one in devices if one.default] or devices[:1]
    else:
        found = [one for one in devices if wanted.lower() in one.name.lower()]
        found = [one for one in found if one.name == wanted] or found
    if not found:
        if not devices:
            raise AudioError("there is no microphone; plug one in")
        names = "; ".join(one.name for one in devices)
        raise AudioError(f"no microphone's name holds {wanted!r}; there are {names}")
    if len(found) > 1 and len({one.name for one in found}) > 1:
        names = "; ".join(one.name for one in found)
        raise AudioError(f"several microphones' names hold {wanted!r}: {names}; say more of it")
    return found[0]


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise MissingExtraError("mic", "a microphone") from None
    except OSError:
        raise AudioError(
            "a microphone needs PortAudio; install it (apt install libportaudio2)"
        ) from None
    return sounddevice

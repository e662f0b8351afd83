"""Microphones of one process, which share one PortAudio: pretended here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from spectro.errors import AudioError
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources import microphone
from spectro.listening.live.sources.microphone import Microphone


class PortAudioError(Exception):
    """As sounddevice's."""


class Stream:
    def __init__(self, there: Pretended) -> None:
        self.there, self.open = there, True
        there.streams.append(self)

    def start(self) -> None: ...

    @property
    def active(self) -> bool:
        if not self.open:
            raise PortAudioError("Invalid stream pointer [PaErrorCode -9988]")
        return True

    def abort(self, **_: Any) -> None:
        self.open = False

    close = abort


class Pretended:
    """Closes all streams when it is ended, as PortAudio does."""

    PortAudioError = PortAudioError
    default = SimpleNamespace(device=(0, 0))

    def __init__(self) -> None:
        self.names, self.listed = ["gate", "roof"], list[str]()
        self.streams: list[Stream] = []
        self.broken, self.begun = False, True

    def _terminate(self) -> None:
        if not self.begun:
            raise PortAudioError("PortAudio not initialized")
        self.begun = False
        for stream in self.streams:
            stream.open = False

    def _initialize(self) -> None:
        if self.broken:
            raise PortAudioError("Error initializing PortAudio")
        self.begun = True
        self.listed = list(self.names)

    def query_hostapis(self) -> list[dict[str, str]]:
        return [{"name": "ALSA"}]

    def query_devices(self) -> list[dict[str, Any]]:
        about = {"max_input_channels": 1, "hostapi": 0, "default_samplerate": 48_000.0}
        return [{"name": name, **about} for name in self.listed]

    def RawInputStream(self, **_: Any) -> Stream:  # noqa: N802
        return Stream(self)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    found = Pretended()
    monkeypatch.setattr(microphone, "_sounddevice", lambda: found)
    monkeypatch.setattr(microphone, "_open", set())
    return found


def make(name: str) -> Microphone:
    return Microphone(SourceSettings(name=name, input=f"mic:{name}"))


def test_a_second_microphone_leaves_the_first_open(there: Pretended) -> None:
    gate, roof = make("gate"), make("roof")
    gate.open()
    roof.open()
    assert [stream.open for stream in there.streams] == [True, True]
    assert len(gate.read(0.01)) == len(roof.read(0.01)) == 0  # type: ignore[arg-type]
    roof.close()
    roof.open()
    assert there.streams[0].open


def test_what_is_plugged_in_later_is_found_where_no_other_is_open(there: Pretended) -> None:
    there.names = []
    gate = make("gate")
    with pytest.raises(AudioError, match=r"plug one in; it is looked for again$"):
        gate.open()
    there.names = ["gate"]
    gate.open()
    with pytest.raises(AudioError, match="again once no other microphone is heard"):
        make("roof").open()
    there.names = ["gate", "roof"]
    gate.close()
    make("roof").open()


def test_what_portaudio_says_is_an_error_of_the_sound(there: Pretended) -> None:
    """Else the listener would end, and with it all that it hears."""
    gate = make("gate")
    gate.open()
    there.streams[0].open = False
    with pytest.raises(AudioError, match="the microphone stopped; is it plugged in"):
        gate.read(0.01)
    gate.close()
    there.broken = True
    with pytest.raises(AudioError, match=r"microphone gate: cannot be opened .*initializing"):
        gate.open()
    there.broken = False
    gate.open()  # it is looked for again, and heard

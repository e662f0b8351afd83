"""A file that is listened to is heard as a scan hears it, once, and to its end or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from spectro.clips.decode import Part, decode
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources.backlog import Backlog
from spectro.listening.live.sources.recording import Recording
from spectro.listening.live.sources.supervisor import Supervisor
from spectro.listening.live.stats import SourceStats
from tests.listening.live.clocks import FakeClock

SR = 8_000
NOISE = np.random.default_rng(0).normal(0, 1e-4, (10 * SR, 2)).astype(np.float32)


def source(path: Path) -> Recording:
    return Recording(SourceSettings(name="a", input=str(path)))


@pytest.mark.parametrize(
    ("subtype", "loud", "bits"), [("PCM_16", 1.0, 16), ("PCM_24", 1.0, 24), ("FLOAT", 2e4, 24)]
)
def test_samples_are_those_of_a_scan(tmp_path: Path, subtype: str, loud: float, bits: int) -> None:
    """Quiet ones of 24 bits, and those above full scale, too."""
    sf.write(tmp_path / "a.wav", loud * NOISE, SR, subtype=subtype)
    one = source(tmp_path / "a.wav")
    form = one.open()
    assert (form.sr, form.channels, form.bits) == (SR, 2, bits)
    blocks = []
    while (block := one.read(0.0)) is not None:
        blocks.append(block)
    one.close()
    assert max(map(len, blocks)) <= SR // 4
    np.testing.assert_array_equal(np.concatenate(blocks), decode(tmp_path / "a.wav")[0])
    assert not one.again and one.live is False


def test_it_can_be_closed_while_another_thread_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by Ctrl-C while a network disk keeps a read waiting."""
    sf.write(tmp_path / "a.wav", NOISE, SR)
    reading, goes_on = threading.Event(), threading.Event()
    real = Part.blocks

    def slowly(part: Part, longest: int) -> Iterator[np.ndarray]:
        for block in real(part, longest):
            reading.set()
            goes_on.wait(10)
            yield block

    monkeypatch.setattr(Part, "blocks", slowly)
    one = source(tmp_path / "a.wav")
    one.open()
    thread = threading.Thread(target=one.read, args=[0.0])
    thread.start()
    assert reading.wait(10)
    one.close()
    goes_on.set()
    thread.join(10)
    assert not thread.is_alive() and one.read(0.0) is None


def test_a_damaged_file_is_told_and_not_begun_again(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.flac", 1e3 * NOISE, SR)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4_000] = bytes(4_000)
    (tmp_path / "a.flac").write_bytes(data)
    clock, told = FakeClock(), []
    own = SourceSettings(name="a", input=str(tmp_path / "a.flac"))
    backlog = Backlog(60, threading.Condition())
    one = Supervisor(source(tmp_path / "a.flac"), own, backlog, clock, SourceStats(),
                     lambda what, text: told.append((what, text)))  # fmt: skip
    for _ in range(1_000):
        clock.advance(one.step() or 0.01)
    assert one.stats.finished and one.stats.opened == 1
    assert told[-1][0] == "lost" and "a.flac" in one.stats.fault
    assert one.stats.seconds < 10

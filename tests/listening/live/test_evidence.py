"""Evidence: under its quota, beside nobody else's files, and never in the way of an event."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.listening.events.finding import ScoredWindow
from spectro.listening.events.settings import EventSettings
from spectro.listening.live.delivery.messages import new_id
from spectro.listening.live.evidence.store import EvidenceStore, FullError, class_folder
from spectro.listening.live.evidence.tape import Tape
from spectro.listening.live.evidence.writer import EvidenceWriter, Job
from spectro.listening.live.hearing.session import Sound
from spectro.listening.live.sources.pcm import Format
from spectro.listening.live.stats import ListenerStats
from tests.listening.live.hearing import CARD_OF_EARS, SR

FORM = Format("s16le", SR, 1)
ABOUT = {"label": "high", "peak": 0.5, "start": 0.4, "end": 1.6}


def stem() -> str:
    return f"20260501T000000Z-{new_id()}"


def write(store: EvidenceStore, peak: float, label: str = "high") -> str:
    name = stem()
    store.write({"label": label, "peak": peak}, name, b"flac", b"png")
    return name


def peaks(folder: Path, label: str = "high") -> list[float]:
    found = (folder / class_folder(label)).glob("*.json")
    return sorted(json.loads(path.read_text())["peak"] for path in found)


def test_the_surest_and_the_most_doubtful_stay(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 4, 0)
    rng = np.random.default_rng(0)
    given_peaks = [round(float(p), 4) for p in rng.uniform(0.3, 1, 30)]
    for half in (given_peaks[:15], given_peaks[15:]):
        for peak in half:
            write(store, peak)
        store = EvidenceStore(tmp_path, 4, 0)  # a restart
    ordered = sorted(given_peaks)
    assert peaks(tmp_path) == ordered[:2] + ordered[-2:]
    assert len(list((tmp_path / "high").iterdir())) == 3 * 4


def test_classes_have_quotas_of_their_own_and_any_name(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path / "e", 2, 0)
    labels = ["a", "A/../../b", "..", "con", "ä" * 300, "a/b", "a_b"]
    for label in labels:
        for peak in (0.5, 0.6, 0.7):
            write(store, peak, label)
    assert len(list((tmp_path / "e").iterdir())) == len(labels)
    assert [path.name for path in tmp_path.iterdir()] == ["e"]
    assert all(peaks(tmp_path / "e", label) == [0.5, 0.7] for label in labels)


def test_other_files_are_let_alone(tmp_path: Path) -> None:
    folder = tmp_path / "high"
    folder.mkdir()
    (folder / "mine.json").write_text('{"peak": 0.1}')
    (folder / f"{stem()}.json").write_text("[no json")
    (tmp_path / "canary").write_text("x")
    (folder / f"{stem()}.json").symlink_to(tmp_path / "canary")
    store = EvidenceStore(tmp_path, 2, 0)
    for peak in (0.5, 0.6, 0.7, 0.8):
        write(store, peak)
    assert (folder / "mine.json").read_text() == '{"peak": 0.1}'
    assert (tmp_path / "canary").read_text() == "x"
    assert len(list(folder.glob("*.json"))) == 3 + 2


def test_a_full_disk_skips_evidence_and_says_it_once(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    stats = ListenerStats()
    store = EvidenceStore(tmp_path, 10, 1e9)  # more than any disk has
    writer = EvidenceWriter(store, CARD_OF_EARS, stats, lambda *t: told.append(t))
    y = np.zeros((2 * SR, 1), np.float32)
    sound = Sound(y, FORM, 0.0, ScoredWindow(0.5, 1.5, np.float32([0.5, 0.1])))
    for _ in range(3):
        writer.add(Job(stem(), ABOUT, sound, EventSettings(), {}))
        writer.step(0)
    assert stats.evidence_skipped == 3 and stats.evidence_kept == 0
    assert len(told) == 1 and "less than" in told[0][1]
    assert not list(tmp_path.rglob("*.*"))
    with pytest.raises(FullError):
        write(store, 0.5)
    writer.store = EvidenceStore(tmp_path, 10, 0)
    writer.add(Job(stem(), ABOUT, sound, EventSettings(), {}))
    writer.step(0)
    assert stats.evidence_kept == 1 and len(told) == 2
    assert sorted(path.suffix for path in (tmp_path / "high").iterdir()) == [
        ".flac", ".json", ".png",
    ]  # fmt: skip


def test_a_slow_disk_skips_evidence_and_keeps_nobody(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    stats = ListenerStats()
    store = EvidenceStore(tmp_path, 100, 0)
    writer = EvidenceWriter(store, CARD_OF_EARS, stats, lambda *t: told.append(t))
    sound = Sound(np.zeros((SR, 1), np.float32), FORM, 0.0, ScoredWindow(0, 1, np.float32([1, 0])))
    for _ in range(40):  # nobody takes them
        writer.add(Job(stem(), ABOUT, sound, EventSettings(), {}))
    assert stats.evidence_skipped == 40 - 16
    assert told == [("no evidence", "evidence is skipped, events are still told: "
                     "the disk is too slow")]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=30), st.floats(0, 3), st.floats(0, 3))
def test_the_tape_has_what_came_in_last(sizes: list[int], a: float, b: float) -> None:
    form = Format("s16le", 100, 1)
    tape, whole = Tape(form, 2.0), np.arange(sum(sizes), dtype=np.float32)[:, np.newaxis]
    at = 0
    for size in sizes:
        tape.push(whole[at : at + size])
        at += size
    end = at / 100
    start, y = tape.cut(end - a, end - a + b)
    first = round(start * 100)
    assert np.array_equal(y, whole[first : first + len(y)])
    held_from = max(0, at - 200)
    wanted = max(0, min(at, round((end - a + b) * 100)) - max(held_from, round((end - a) * 100)))
    assert len(y) >= wanted

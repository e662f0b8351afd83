"""What is heard live is what a scan finds, to the byte, however the sound comes in."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.listening.events.finding import Origin, ScoredWindow
from spectro.listening.events.settings import EventSettings
from spectro.listening.events.tables import json_line
from spectro.listening.live.build import Plan, site_of
from spectro.listening.live.evidence.make import facts, flac, png
from spectro.listening.live.hearing.ears import Ears, Site
from spectro.listening.live.hearing.raised import RaisedEvents
from spectro.listening.live.hearing.session import Heard, Session
from spectro.listening.live.hearing.timeline import Timeline
from spectro.listening.live.settings import AlertSettings, EvidenceSettings, ListenSettings
from spectro.listening.live.sources.pcm import Format
from spectro.listening.scan import ScanSettings, scan_recording
from spectro.listening.thresholds import Background, choose_thresholds
from spectro.listening.windower import Windower
from tests.listening.live.hearing import EVENTS, SR, FakeEars, sound

EARS = Ears(FakeEars(), "ears")
SITE = Site("here", EventSettings(**EVENTS), 0.5)
FORM = Format("s16le", SR, 1)
TONES = ((3000, 2, 5), (200, 4, 10), (3000, 20.2, 20.9), (3000, 22, 26))
SOUND = sound((3000, 2, 5), (200, 4, 10), seconds=12)[:, np.newaxis]


def heard(y: np.ndarray, sizes: list[int], form: Format = FORM, site: Site = SITE) -> list[Heard]:
    session = Session(EARS, site, form, Origin("night.wav", datetime(2026, 5, 1), "here", "ears"))
    found, at, i = [], 0, 0
    while at < len(y):
        n = sizes[i % len(sizes)]
        found += session.push(y[at : at + n])
        at, i = at + n, i + 1
    return found + session.finish()


def lines(found: list[Heard]) -> list[str]:
    events = [one.raised.event for one in found if one.state == "over"]
    return [json_line(e) for e in sorted(events, key=lambda e: (e.start, e.end, e.label))]


@pytest.mark.parametrize(
    ("model", "hop", "words", "budget"),
    [
        ("ears", None, [], 2),
        ("ears", 0.5, ["hop of 1 s, not 0.5"], None),
        ("others", None, ["of another model"], None),
    ],
)
def test_thresholds_of_a_site_hold_and_what_voids_them_is_said(
    model: str, hop: float | None, words: list[str], budget: float | None, tmp_path: Path
) -> None:
    labels = EARS.backend.card.labels
    silence = [Background("r.wav", 10.0, [ScoredWindow(i, i + 1, [0.1, 0.1]) for i in range(9)])]
    thresholds = choose_thresholds(silence, labels, site="ridge", budget=2, hop=1, model=model)
    thresholds.save(tmp_path)
    plan = Plan(
        [], ListenSettings(hop=hop), EventSettings(), AlertSettings(), EvidenceSettings(), []
    )
    said: list[str] = []
    site = site_of(tmp_path, "ridge", plan, EARS, lambda _, text: said.append(text))
    assert (site.events, site.hop, site.budget) == (thresholds.settings, hop or 1, budget)
    assert len(said) == len(words)
    assert all(word in text for word, text in zip(words, said, strict=True))


@pytest.mark.parametrize(("sr", "channels"), [(SR, 1), (44_100, 2)])
def test_the_events_of_a_scan(sr: int, channels: int, tmp_path: Path) -> None:
    y = np.tile(sound(*TONES, seconds=30, sr=sr)[:, np.newaxis], channels)
    sf.write(tmp_path / "night.wav", y, sr, subtype="PCM_16")
    scanning = ScanSettings(
        model="ears", hop=0.5, site="here", start_time="2026-05-01 00:00", events=SITE.events
    )
    truth = scan_recording(tmp_path / "night.wav", EARS.backend, scanning).events
    assert len(truth) == 3
    whole = sf.read(tmp_path / "night.wav", dtype="float32", always_2d=True)[0]
    found = lines(heard(whole, [sr // 10, 1, 777], Format("s16le", sr, channels)))
    assert found == [json_line(event._replace(recording="night.wav")) for event in truth]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(300, 30_000), min_size=1, max_size=5))
def test_however_it_is_cut(sizes: list[int]) -> None:
    assert lines(heard(SOUND, sizes)) == lines(heard(SOUND, [len(SOUND)])) != []


def test_an_event_is_raised_while_it_goes_on_and_over_under_the_same_id() -> None:
    session = Session(EARS, SITE, FORM, Origin("mic"))
    when: dict[str, list[float]] = {}
    y = sound((3000, 5, 15), seconds=25)[:, np.newaxis]
    for at in range(0, len(y), 400):
        for state, raised, _ in session.push(y[at : at + 400]):
            when.setdefault(raised.id, []).append((at + 400) / SR)
            assert state == ("raised" if len(when[raised.id]) == 1 else "over")
    [(began, ended)] = when.values()
    # The first window that is more than half full ends within it: hop, and the resampler's delay.
    assert 5 < began < 5 + 1 + SITE.hop  # type: ignore[operator]
    assert ended > 15


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.4, 0.9]), min_size=1, max_size=40),
    st.sampled_from([0.0, 1.0, 2.5]),
    st.sampled_from([0.0, 1.0, 3.0]),
    st.sampled_from([1, 3]),
)
def test_what_is_raised_is_over_once_and_is_an_event(
    p: list[float], least: float, gap: float, smooth: int
) -> None:
    from spectro.listening.events.finding import EventTracker, find_events

    own = EventSettings(
        **EVENTS, min_length=least, merge_gap=gap, smooth_windows=smooth, level_gate=None
    )
    windows = [ScoredWindow(i * 0.5, i * 0.5 + 1, [x, 0.9 - x]) for i, x in enumerate(p)]
    raised = RaisedEvents(EventTracker(["a", "b"], own, Origin("x")), 0.5)
    states: dict[str, list[str]] = {}
    events = []
    for happening in [*(h for w in windows for h in raised.push(w)), *raised.finish()]:
        states.setdefault(happening.raised.id, []).append(happening.state)
        events += [happening.raised.event] if happening.state == "over" else []
    assert all(each == ["raised", "over"] for each in states.values())
    assert events == list(find_events(windows, ["a", "b"], own, Origin("x")))


def test_evidence_replays_to_the_same_probability(tmp_path: Path) -> None:
    y = sound((3000, 5, 7), seconds=12)
    y = (np.rint(y * 32_768) / 32_768).astype(np.float32)[:, np.newaxis]
    [over] = [one for one in heard(y, [800]) if one.state == "over"]
    assert over.sound is not None
    (tmp_path / "a.flac").write_bytes(flac(over.sound))
    clip, sr = sf.read(tmp_path / "a.flac", dtype="float32", always_2d=True)
    assert sr == SR and np.array_equal(clip, over.sound.samples)
    message = over.raised.event._asdict()
    about = facts(message, over.sound, EARS.backend.card, SITE.events, {})
    window = about["window"]
    first, last = (round(window[name] * sr) for name in ("start_in_clip", "end_in_clip"))
    assert last - first == SR and len(clip) > 3 * SR
    config = EARS.backend.card.spectrogram
    [picture] = Windower(config, sr).push(clip[first:last])
    again = EARS.backend(picture.levels[np.newaxis]).probabilities[0]
    assert again.tolist() == list(window["probabilities"].values())
    first, last = (round(about["event"][name] * sr) for name in ("start_in_clip", "end_in_clip"))
    event = over.raised.event
    assert np.array_equal(clip[first:last], y[round(event.start * SR) : round(event.end * SR)])
    assert about["class_thresholds"] == EVENTS
    assert png(over.sound, EARS.backend.card).startswith(b"\x89PNG")


@pytest.mark.parametrize("encoding", ["s24le", "f32le"])
def test_other_samples_are_kept_to_24_bits(encoding: str) -> None:
    y = sound((3000, 5, 7), seconds=12)[:, np.newaxis]
    [over] = [one for one in heard(y, [800], Format(encoding, SR, 1)) if one.state == "over"]
    assert over.sound is not None
    import io

    clip = sf.read(io.BytesIO(flac(over.sound)), dtype="float64", always_2d=True)[0]
    assert np.abs(clip - over.sound.samples).max() <= 2**-24


def test_times_follow_a_clock_that_is_set_and_a_card_that_runs_apart() -> None:
    line = Timeline(1_000.0, buffer=5)
    assert not any(
        line.moved(t, 1_000.0 + t + late) for t, late in ((10, 0.3), (61, 3), (122, 0.2))
    )
    moves = [line.moved(t, 4_600.0 + t) for t in range(130, 300)]
    assert [move for move in moves if move] == [3_600.0]
    slow = [line.moved(t, 4_600.0 + t * 1.0001) for t in range(300, 60_000)]
    assert sum(slow) == pytest.approx(6, abs=1.1) and sum(1 for move in slow if move) > 3

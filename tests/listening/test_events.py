"""Events: the state machine against whole arrays, fed in any chunks, and what each setting does."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spectro.errors import ConfigError
from spectro.listening.events.finding import (
    Event,
    EventTracker,
    Origin,
    ScoredWindow,
    find_events,
    level_dbfs,
)
from spectro.listening.events.settings import ClassThresholds, EventSettings

LABELS = ["saw", "bird"]
HERE = Origin("night.wav")


def scored(
    probabilities: Sequence[float], *, duration: float = 1, hop: float = 1
) -> list[ScoredWindow]:
    return [ScoredWindow(i * hop, i * hop + duration, [p]) for i, p in enumerate(probabilities)]


def heard(probabilities: Sequence[float], **settings: object) -> list[tuple[float, float]]:
    """Give start and end of what one class raises in windows of one second."""
    settings = {"merge_gap": 0, **settings}
    found = find_events(scored(probabilities), ["saw"], EventSettings(**settings), HERE)
    return [(event.start, event.end) for event in found]


# A naive implementation over whole arrays, class by class and pass by pass.


def naive_smoothed(windows: list[ScoredWindow], c: int, settings: EventSettings) -> list[float]:
    gate = -math.inf if settings.level_gate is None else settings.level_gate
    quiet = [w.level < gate for w in windows]
    p = [
        0.0 if q else float(np.asarray(w.probabilities)[c])
        for w, q in zip(windows, quiet, strict=True)
    ]
    half = settings.smooth_windows // 2
    smooth = np.median if settings.smoothing == "median" else np.mean
    smoothed = [float(smooth(p[max(0, i - half) : i + half + 1])) for i in range(len(p))]
    return [0.0 if q else s for s, q in zip(smoothed, quiet, strict=True)]


def naive_edges(windows: list[ScoredWindow]) -> list[float]:
    middles = [(w.start + w.end) / 2 for w in windows]
    between = [(a + b) / 2 for a, b in itertools.pairwise(middles)]
    return [windows[0].start, *between, windows[-1].end]


def naive_runs(p: list[float], on: float, off: float, extent: float) -> list[tuple[int, int]]:
    """Give the windows of each event: from the first, to before the last."""
    raised = [False] * len(p)
    for i, value in enumerate(p):  # hysteresis
        raised[i] = value >= on or (i > 0 and raised[i - 1] and value >= min(off, extent))
    for i in reversed(range(len(p) - 1)):  # backwards over the extent
        raised[i] = raised[i] or (raised[i + 1] and p[i] >= extent and p[i + 1] >= extent)
    runs, i = [], 0
    while i < len(p):
        j = i
        while j < len(p) and raised[j]:
            j += 1
        if j > i:
            inside = [k for k in range(i, j) if p[k] >= extent]
            runs.append((inside[0], inside[-1] + 1))
        i = max(j, i + 1)
    return runs


def naive_stretches(windows: list[ScoredWindow]) -> list[list[ScoredWindow]]:
    stretches: list[list[ScoredWindow]] = []
    for window in windows:
        if not stretches or window.start > stretches[-1][-1].end + 1e-6:
            stretches.append([])
        stretches[-1].append(window)
    return stretches


def naive_class(windows: list[ScoredWindow], c: int, settings: EventSettings) -> list[tuple]:
    label = LABELS[c]
    if label in settings.ignore:
        return []
    own = settings.classes.get(label, ClassThresholds(on=settings.on))
    off = min(settings.off, own.on) if own.off is None else own.off
    extent = min(settings.extent, own.on) if own.extent is None else own.extent
    pieces: list[tuple[float, float, list[float]]] = []
    for stretch in naive_stretches(windows):
        p, edges = naive_smoothed(stretch, c, settings), naive_edges(stretch)
        for i, j in naive_runs(p, own.on, off, extent):
            pieces.append((edges[i], edges[j], p[i:j]))
    merged: list[tuple[float, float, list[float]]] = []
    for start, end, p in pieces:
        if merged and start - merged[-1][1] <= settings.merge_gap + 1e-9:
            merged[-1] = (merged[-1][0], end, merged[-1][2] + p)
        else:
            merged.append((start, end, p))
    return [
        (label, start, end, float(np.mean(p)), max(p))
        for start, end, p in merged
        if end - start >= settings.min_length - 1e-9
    ]


def naive(windows: list[ScoredWindow], settings: EventSettings) -> list[tuple]:
    return sorted(row for c in range(len(LABELS)) for row in naive_class(windows, c, settings))


PROBABILITY = st.sampled_from([i / 20 for i in range(21)])  # ties with thresholds are common


@st.composite
def recordings(draw: st.DrawFn) -> list[ScoredWindow]:
    hop = draw(st.sampled_from([0.25, 0.5, 1.0, 2.0]))
    duration = draw(st.sampled_from([0.5, 1.0, 2.0]))  # a hop above it leaves unheard gaps
    at, windows = 0.0, []
    for _ in range(draw(st.integers(0, 30))):
        level = draw(st.sampled_from([-math.inf, -85.0, -80.0, -20.0]))
        p = [draw(PROBABILITY) for _ in LABELS]
        windows.append(ScoredWindow(at, at + duration, p, level))
        at += hop if draw(st.integers(0, 9)) else hop + duration + 1
    return windows


@st.composite
def event_settings(draw: st.DrawFn) -> EventSettings:
    on, off, extent = draw(st.tuples(*[st.integers(1, 20)] * 3))
    values = {"on": on / 20, "off": min(off, on) / 20, "extent": min(extent, on) / 20}
    own = draw(st.none() | st.integers(1, 20))
    return EventSettings(
        **values,
        classes={} if own is None else {"bird": ClassThresholds(on=own / 20)},
        ignore=draw(st.sampled_from([(), (), ("saw",)])),
        smoothing=draw(st.sampled_from(["median", "mean"])),
        smooth_windows=draw(st.sampled_from([1, 1, 3, 5])),
        min_length=draw(st.sampled_from([0, 1.0, 2.5])),
        merge_gap=draw(st.sampled_from([0, 0.5, 1.0, 3.0])),
        level_gate=draw(st.sampled_from([None, -80.0])),
    )


@pytest.mark.slow
@given(recordings(), event_settings())
@hypothesis_settings(max_examples=300, deadline=None)
def test_the_state_machine_is_the_naive_one(
    windows: list[ScoredWindow], settings: EventSettings
) -> None:
    found = sorted(
        (e.label, e.start, e.end, e.probability, e.peak)
        for e in find_events(windows, LABELS, settings, HERE)
    )
    expected = naive(windows, settings)
    assert [row[0] for row in found] == [row[0] for row in expected]
    assert np.allclose([r[1:] for r in found], [r[1:] for r in expected], rtol=0, atol=1e-12)


@given(recordings(), event_settings(), st.lists(st.integers(0, 9)))
@hypothesis_settings(max_examples=100, deadline=None)
def test_any_chunking_gives_the_same_events(
    windows: list[ScoredWindow], settings: EventSettings, sizes: list[int]
) -> None:
    whole = list(find_events(windows, LABELS, settings, HERE))
    tracker, left, events = EventTracker(LABELS, settings, HERE), list(windows), []
    for size in [*sizes, len(windows)]:
        events += tracker.feed(left[:size])
        left = left[size:]
    assert [*events, *tracker.finish()] == whole
    assert [*tracker.feed(windows), *tracker.finish()] == whole  # and again, from the start


@given(recordings(), event_settings())
@hypothesis_settings(max_examples=100, deadline=None)
def test_what_goes_on_grows_into_the_event(
    windows: list[ScoredWindow], settings: EventSettings
) -> None:
    tracker, over, told = EventTracker(LABELS, settings, HERE), [], []
    for window in windows:
        over += tracker.push(window)
        told += tracker.ongoing()
    over += tracker.finish()
    for event in told:
        if settings.min_length == 0:
            assert any(
                e.label == event.label and e.start <= event.start and event.start < e.end
                for e in over
            )


def test_hysteresis_keeps_an_event_between_the_thresholds() -> None:
    p = [0.1, 0.9, 0.5, 0.9, 0.1, 0.5, 0.1]
    assert heard(p, on=0.8, off=0.8, extent=0.8) == [(1, 2), (3, 4)]
    assert heard(p, on=0.8, off=0.4, extent=0.4) == [(1, 4)]


def test_the_extent_does_not_depend_on_the_threshold_that_raised_it() -> None:
    p = [0.1, 0.5, 0.7, 0.9, 0.6, 0.5, 0.1]
    for on in (0.5, 0.6, 0.7, 0.8, 0.9):
        assert heard(p, on=on, off=0.4, extent=0.4) == [(1, 6)]
    assert heard(p, on=0.91, off=0.4, extent=0.4) == []


def test_an_extent_above_off_leaves_the_tail_out() -> None:
    p = [0.9, 0.5, 0.9, 0.5, 0.5, 0.1]
    assert heard(p, on=0.8, off=0.4, extent=0.8) == [(0, 3)]


def test_gaps_up_to_the_merge_gap_are_bridged() -> None:
    p = [0.9, 0, 0.9, 0, 0, 0.9]
    assert heard(p, merge_gap=0) == [(0, 1), (2, 3), (5, 6)]
    assert heard(p, merge_gap=1) == [(0, 3), (5, 6)]
    assert heard(p, merge_gap=2) == [(0, 6)]


def test_what_is_too_faint_to_be_an_event_holds_one_open_for_a_minute_at_most() -> None:
    """It may yet be raised, and join the one before; but an alert must not wait for hours."""
    tracker = EventTracker(
        ["saw"], EventSettings(on=0.8, off=0.3, extent=0.3, merge_gap=1), Origin("a")
    )
    p = [0.9, 0.1, *[0.4] * 200]
    told = []
    for n, value in enumerate(p):
        told += [(n, event) for event in tracker.push(ScoredWindow(n, n + 1, [value]))]
    [(when, event)] = told
    assert (event.start, event.end) == (0, 1) and 60 < when < 65
    assert tracker.finish() == []
    again = [0.9, 0.1, *[0.4] * 40, 0.9]  # raised within the minute
    assert heard(again, on=0.8, off=0.3, extent=0.3, merge_gap=1) == [(0, len(again))]


def test_short_events_are_dropped_after_merging() -> None:
    p = [0.9, 0, 0.9, 0, 0, 0, 0.9, 0.9]
    assert heard(p, merge_gap=1, min_length=3) == [(0, 3)]
    assert heard(p, merge_gap=0, min_length=2) == [(6, 8)]


def test_smoothing_removes_a_single_window() -> None:
    assert heard([0, 0, 1, 0, 0, 1, 1, 1, 0, 0], smooth_windows=3) == [(5, 8)]
    assert heard([0, 0, 0.9, 0, 0], smooth_windows=3, smoothing="mean", on=0.3) == [(1, 4)]


def test_overlapping_windows_count_around_their_middles() -> None:
    """A sound from 10 to 20 s fills by half the windows of 4 s that start from 8 to 18 s."""
    p = [float(8 <= start <= 17) for start in range(30)]
    [event] = find_events(scored(p, duration=4), ["saw"], EventSettings(), HERE)
    assert (event.start, event.end) == (9.5, 19.5)


def test_the_first_and_last_windows_count_to_the_recordings_edges() -> None:
    [event] = find_events(scored([1, 1, 1], duration=4), ["saw"], EventSettings(), HERE)
    assert (event.start, event.end) == (0, 6)


def test_nothing_is_raised_below_the_level_gate() -> None:
    loud, silent = ScoredWindow(0, 1, [0.99], -79.9), ScoredWindow(0, 1, [0.99], -math.inf)
    for settings, windows, n in [
        (EventSettings(), [loud], 1),
        (EventSettings(), [silent], 0),
        (EventSettings(level_gate=None), [silent], 1),
        (EventSettings(level_gate=-50), [loud], 0),
        (EventSettings(), [loud._replace(level=math.nan)], 0),
    ]:
        assert len(list(find_events(windows, ["saw"], settings, HERE))) == n


def test_a_silent_window_between_loud_ones_is_not_smoothed_into_an_event() -> None:
    windows = scored([1, 1, 1, 1, 1])
    windows[2] = windows[2]._replace(level=-100)
    settings = EventSettings(smooth_windows=3, smoothing="mean", merge_gap=0)
    found = list(find_events(windows, ["saw"], settings, HERE))
    assert [(event.start, event.end) for event in found] == [(0, 2), (3, 5)]


def test_an_event_does_not_bridge_what_nobody_heard() -> None:
    windows = [ScoredWindow(0, 4, [1]), ScoredWindow(10, 14, [1])]
    assert len(list(find_events(windows, ["saw"], EventSettings(), HERE))) == 2
    assert len(list(find_events(windows, ["saw"], EventSettings(merge_gap=6), HERE))) == 1


def test_the_columns_tell_where_the_event_comes_from() -> None:
    zone = timezone(timedelta(hours=-5))
    origin = Origin("a/night.wav", datetime(2026, 3, 1, 23, 59, 59, tzinfo=zone), "north", "abc123")
    settings = EventSettings()
    [event] = find_events(scored([0, 0.6, 0.8, 0]), ["saw"], settings, origin)
    assert event == Event(
        "a/night.wav", 1, 3, "2026-03-02T00:00:00.000-05:00", "saw", pytest.approx(0.7), 0.8,
        "north", "abc123", settings.identity,
    )  # fmt: skip
    assert Event._fields == (
        "recording", "start", "end", "begin_time", "label", "probability", "peak", "site", "model",
        "thresholds",
    )  # fmt: skip


@pytest.mark.long
def test_memory_does_not_grow_with_the_recording() -> None:
    tracker = EventTracker(LABELS, EventSettings(smooth_windows=5), HERE)

    def peak(n: int) -> int:
        tracemalloc.start()
        for i in range(n):
            tracker.push(ScoredWindow(i, i + 4, [0.9, i % 7 / 7]))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(500)
    tracker.finish()
    assert peak(8000) < 200_000  # of which a hundred bytes a window would be four times as many


def test_times_of_what_is_heard_live_follow_the_clock_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Summer time began at two in the night; a recording keeps the zone that it began in."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        begin = datetime(2026, 3, 29, 1, 30).astimezone()
        live, kept = Origin("mic", begin, here=True), Origin("night.wav", begin)
        written = [str(one.at(3_600)) for one in (live, kept)]
        assert written == ["2026-03-29 03:30:00+02:00", "2026-03-29 02:30:00+01:00"]
        assert live.at(3_600) == kept.at(3_600)
        assert Origin("mic", here=True).at(1) is None
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"on": 0}, "on is 0"),
        ({"on": 0.2}, "off is 0.3, above on, 0.2"),
        ({"extent": 0.9}, "extent is 0.9, above on"),
        ({"smooth_windows": 4}, "choose an odd number"),
        ({"classes": {"saw": {"on": 0.5, "off": 0.6}}}, "off is 0.6, above on"),
        ({"gap": 1}, "unknown setting gap"),
        ({"merge_gap": math.inf}, "merge_gap is inf"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EventSettings(**values)


def test_thresholds_of_an_unknown_class_are_refused() -> None:
    for settings in (EventSettings(classes={"owl": {"on": 0.5}}), EventSettings(ignore=("owl",))):
        with pytest.raises(ConfigError, match="'owl', which the model does not know"):
            EventTracker(LABELS, settings, HERE)


def test_the_identity_does_not_depend_on_the_order_of_classes() -> None:
    own = {"saw": {"on": 0.9}, "bird": {"on": 0.8}}
    turned = dict(reversed(own.items()))
    assert EventSettings(classes=own).identity == EventSettings(classes=turned).identity
    assert EventSettings(classes=own).identity != EventSettings().identity
    assert EventSettings.from_json(EventSettings(classes=own).to_json()).classes["saw"].on == 0.9


@pytest.mark.parametrize(
    "window",
    [
        ScoredWindow(5, 6, [0.5]),
        ScoredWindow(5, 6, [0.5, math.nan]),
        ScoredWindow(5, 6, [0.5, 1.5]),
        ScoredWindow(0, 1, [0.5, 0.5]),
    ],
)
def test_windows_that_cannot_be_are_refused(window: ScoredWindow) -> None:
    tracker = EventTracker(LABELS, EventSettings(), HERE)
    tracker.push(ScoredWindow(4, 5, [0, 0]))
    with pytest.raises(ValueError, match="window"):
        tracker.push(window)


def test_levels() -> None:
    assert level_dbfs(np.sin(np.arange(8000) * 0.1)) == pytest.approx(-3.01, abs=0.01)
    assert level_dbfs(np.zeros(10, np.float32)) == -math.inf
    assert level_dbfs(np.empty(0)) == -math.inf
    assert level_dbfs([np.zeros(4), [0.1, -0.1, 0.1, -0.1]]) == pytest.approx(-20)
    assert level_dbfs(np.full(8000, 0.1)) < -200  # a converter's offset is no sound
    assert level_dbfs(np.sin(np.arange(8000) * 0.1) + 0.3) == pytest.approx(-3.01, abs=0.01)


MODULES = (
    *("events.finding", "events.tables", "events.annotations", "events.scoring"),
    *("recorders", "thresholds", "scan"),
)
HEAVY = ("torch", "fastai", "pandas", "matplotlib", "sklearn", "scipy.stats", "pyarrow", "librosa")


def test_importing_stays_light() -> None:
    imports = "; ".join(f"import spectro.listening.{module}" for module in MODULES)
    code = f"import sys; {imports}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

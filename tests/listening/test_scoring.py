"""Scores of events: against trying every pairing, against sed_eval, and by hand."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spectro.errors import ConfigError, DatasetError
from spectro.listening.events import scoring
from spectro.listening.events.labels import Labelled
from spectro.listening.events.scoring import by_stem, match, score_events


def marked(*spans: tuple[float, float], label: str = "saw", recording: str = "a") -> list[Labelled]:
    return [Labelled(recording, start, end, label) for start, end in spans]


def naive_pairable(a: Labelled, b: Labelled, collar: float | None, share: float) -> bool:
    if collar is None:
        if a.start == a.end or b.start == b.end:
            return a.start <= b.end and b.start <= a.end
        return a.start < b.end and b.start < a.end
    if abs(a.start - b.start) > collar + 1e-9:
        return False
    return abs(a.end - b.end) <= max(collar, share * (a.end - a.start)) + 1e-9


def most_pairs(
    truth: list[Labelled], found: list[Labelled], collar: float | None, share: float
) -> int:
    """Try all ways to give each marked event a detected one, or none."""
    best = 0
    for chosen in itertools.product(range(-1, len(found)), repeat=len(truth)):
        used = [j for j in chosen if j >= 0]
        if len(set(used)) == len(used) and all(
            j < 0 or naive_pairable(event, found[j], collar, share)
            for event, j in zip(truth, chosen, strict=True)
        ):
            best = max(best, len(used))
    return best


TIMES = st.integers(0, 12).map(lambda n: n / 2)
EVENTS = st.lists(
    st.tuples(TIMES, st.integers(0, 6).map(lambda n: n / 2)).map(
        lambda t: Labelled("a", t[0], t[0] + t[1], "saw")
    ),
    max_size=4,
)


@given(EVENTS, EVENTS, st.none() | st.sampled_from([0, 0.5, 1.0]), st.sampled_from([0, 0.5]))
@hypothesis_settings(max_examples=200, deadline=None)
def test_as_many_are_paired_as_can_be(
    truth: list[Labelled], found: list[Labelled], collar: float | None, share: float
) -> None:
    pairs = match(truth, found, collar, share)
    assert len(pairs) == most_pairs(truth, found, collar, share)
    assert all(naive_pairable(truth[i], found[j], collar, share) for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)


def test_greedy_pairing_would_lose_one() -> None:
    """The first marked event would take the detected one that alone fits the second."""
    truth, found = marked((0, 10), (4, 6)), marked((5, 6), (9, 11))
    assert match(truth, found, None) == [(0, 1), (1, 0)]


def test_a_chain_of_thousands_is_paired_without_a_stack() -> None:
    n = 5000
    truth = marked(*[(i, i + 1.5) for i in range(n)])
    found = marked(*[(i + 0.9, i + 1.1) for i in reversed(range(n))])
    assert len(match(truth, found, None)) == n


def test_one_long_event_does_not_make_all_before_it_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n, tried = 1_000, []
    truth = [Labelled("a", 10.0 * k, 10.0 * k + 1, "saw") for k in range(n)]
    found = [*truth, Labelled("a", 0.0, 10.0 * n, "saw")]  # of a detector that got stuck
    real = scoring._pairable
    monkeypatch.setattr(scoring, "_pairable", lambda *pair: tried.append(1) or real(*pair))
    assert len(match(truth, found, None)) == n
    assert len(tried) <= 4 * n


def test_counts_by_class_and_over_all() -> None:
    truth = marked((0, 1), (5, 6)) + marked((0, 1), label="bird", recording="b")
    found = marked((0.5, 1.5), (0.6, 1.0), (8, 9)) + marked((0, 1), label="dog", recording="b")
    scores = score_events(truth, found, durations={"a": 1800, "b": 1800, "c": 3600})
    assert list(scores.classes) == ["bird", "dog", "saw"]
    saw = scores.classes["saw"]
    assert (saw.found, saw.marked, saw.detected, saw.false_alarms) == (1, 2, 3, 2)
    assert (saw.precision, saw.recall, saw.f1) == (1 / 3, 1 / 2, 0.4)
    assert saw.alarms_per_hour == 1.0
    assert (scores.classes["bird"].precision, scores.classes["bird"].recall) == (None, 0)
    assert (scores.classes["dog"].precision, scores.classes["dog"].recall) == (0, None)
    assert (scores.overall.found, scores.overall.marked, scores.overall.detected) == (1, 3, 4)
    assert scores.macro_f1 == pytest.approx((0 + 0.4) / 2)
    assert saw.row()["alarms_per_hour"] == 1.0
    assert scores.rule == "any overlap"


def test_one_long_detection_finds_one_event() -> None:
    scores = score_events(marked((0, 1), (2, 3), (4, 5)), marked((0, 5)))
    assert (scores.overall.found, scores.overall.recall, scores.overall.precision) == (1, 1 / 3, 1)
    assert scores.overall.alarms_per_hour is None


def test_events_of_other_recordings_and_classes_are_not_paired() -> None:
    truth = marked((0, 1))
    assert score_events(truth, marked((0, 1), recording="b")).overall.found == 0
    assert score_events(truth, marked((0, 1), label="bird")).overall.found == 0


def test_events_that_only_touch_do_not_overlap() -> None:
    assert score_events(marked((0, 1)), marked((1, 2))).overall.found == 0
    assert score_events(marked((1, 1)), marked((1, 2))).overall.found == 1


def test_the_collar() -> None:
    truth = marked((10, 20))
    rule = "starts within 0.2 s, ends within 0.2 s or 50% of the length"
    assert score_events(truth, marked((10.2, 25)), collar=0.2).overall.found == 1
    assert score_events(truth, marked((10.2, 25)), collar=0.2).rule == rule
    assert score_events(truth, marked((10.2, 25.1)), collar=0.2).overall.found == 0
    assert score_events(truth, marked((9.7, 20)), collar=0.2).overall.found == 0
    assert score_events(truth, marked((10, 20.3)), collar=0.2, end_share=0).overall.found == 0


def test_nothing_at_all() -> None:
    scores = score_events([], [], durations={"a": 10})
    assert scores.classes == {}
    assert scores.macro_f1 is None
    assert (scores.overall.f1, scores.overall.alarms_per_hour) == (None, 0)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(DatasetError, match="a: has events, and is not among the recordings"):
        score_events(marked((0, 1)), [], durations={"b": 10})
    with pytest.raises(ConfigError, match="collar is -1 s"):
        score_events([], [], collar=-1)
    with pytest.raises(ConfigError, match="end_share is 2"):
        score_events([], [], end_share=2)
    assert by_stem(["x/a.wav", Path("x/b.wav")]) == {"a": "x/a.wav", "b": "x/b.wav"}
    with pytest.raises(DatasetError, match=r"has the stem of x/a\.wav"):
        by_stem(["x/a.wav", "y/a.wav"])


@pytest.mark.parametrize(("collar", "share"), [(0.2, 0.5), (0.5, 0.0), (1.0, 0.2)])
def test_sed_eval_counts_the_same(collar: float, share: float) -> None:
    sound_event = pytest.importorskip("sed_eval.sound_event")
    rng = random.Random(7)
    truth, found, at = [], [], 0.0
    for _ in range(300):
        at += rng.uniform(0.2, 2)
        label, length = rng.choice(["saw", "bird"]), rng.uniform(0.1, 3)
        truth.append(Labelled("a", at, at + length, label))
        for _ in range(rng.choice([0, 1, 1, 2])):
            start = max(0.0, at + rng.gauss(0, 0.4))
            found.append(Labelled("a", start, start + length * rng.uniform(0.6, 1.5), label))
    metric = sound_event.EventBasedMetrics(
        ["saw", "bird"], t_collar=collar, percentage_of_length=share,
        event_matching_type="optimal",
    )  # fmt: skip
    metric.evaluate(*[
        [{"event_label": e.label, "onset": e.start, "offset": e.end, "file": "a"} for e in events]
        for events in (truth, found)
    ])  # fmt: skip
    scores = score_events(truth, found, collar=collar, end_share=share)
    theirs = metric.results_class_wise_metrics()
    assert scores.overall.f1 == pytest.approx(
        metric.results_overall_metrics()["f_measure"]["f_measure"]
    )
    for label, score in scores.classes.items():
        assert score.precision == pytest.approx(theirs[label]["f_measure"]["precision"])
        assert score.recall == pytest.approx(theirs[label]["f_measure"]["recall"])


def test_sed_scores_eval_counts_the_same() -> None:
    collar_based = pytest.importorskip("sed_scores_eval.collar_based")
    pd = pytest.importorskip("pandas")
    if int(pd.__version__.split(".")[0]) > 2:
        pytest.skip("sed_scores_eval writes into what pandas 3 gives it to read")
    rng = random.Random(11)
    truth, columns = {}, {"onset": [], "offset": [], "saw": []}
    spans = [(2 * i, 2 * i + rng.uniform(0.5, 1.9)) for i in range(200)]
    truth["a"] = [(s, e, "saw") for s, e in spans if rng.random() < 0.7]
    found = []
    for start, end in spans:  # a score of 1 where something is detected
        shifted = (start + rng.choice([0, 0.1, 0.3]), end)
        columns["onset"] += [start, shifted[0]] if shifted[0] > start else [start]
        columns["offset"] += [shifted[0], end] if shifted[0] > start else [end]
        loud = rng.random() < 0.6
        columns["saw"] += [0.0, float(loud)] if shifted[0] > start else [float(loud)]
        if loud:
            found.append(Labelled("a", *shifted, "saw"))
        columns["onset"].append(end)
        columns["offset"].append(start + 2)
        columns["saw"].append(0.0)
    f, p, r, counts = collar_based.fscore(
        scores={"a": pd.DataFrame(columns)}, ground_truth=truth, threshold=0.5,
        onset_collar=0.2, offset_collar=0.2, offset_collar_rate=0.5,
    )  # fmt: skip
    marked_events = [Labelled("a", s, e, label) for s, e, label in truth["a"]]
    saw = score_events(marked_events, found, collar=0.2).classes["saw"]
    assert (saw.precision, saw.recall) == pytest.approx((p["saw"], r["saw"]))
    assert saw.f1 == pytest.approx(f["saw"])
    assert saw.found == counts["saw"]["tps"]

"""Thresholds from a budget of false events: bounds against scipy, choices against all others."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spectro.errors import ConfigError, DatasetError, ModelError
from spectro.listening.events.finding import Origin, ScoredWindow, find_events
from spectro.listening.events.settings import ClassThresholds, EventSettings
from spectro.listening.thresholds import Background, check_budget, choose_thresholds
from spectro.listening.thresholds.bounds import bootstrap_upper, hours_needed, poisson_upper
from spectro.listening.thresholds.site import SiteThresholds, at_site, site_path

LABELS = ["saw", "bird"]
# So that a background of minutes stands for one of hours.
HOURS = 10.0


def background(*recordings: list[list[float]], hours: float = HOURS) -> list[Background]:
    """Make recordings of windows of a second from a row of probabilities a window."""
    return [
        Background(
            f"{n}.wav",
            hours / len(recordings),
            [ScoredWindow(i, i + 1, row) for i, row in enumerate(rows)],
        )
        for n, rows in enumerate(recordings)
    ]


def choose(recordings: list[Background], budget: float = 1.0, **values: object) -> SiteThresholds:
    return choose_thresholds(recordings, LABELS, site="here", budget=budget, hop=1, **values)


def false_events(recordings: list[Background], settings: EventSettings, label: str) -> int:
    return sum(
        event.label == label
        for one in recordings
        for event in find_events(one.windows, LABELS, settings, Origin(""))
    )


# Bounds


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
@pytest.mark.parametrize("events", [0, 1, 2, 3, 10, 100, 5000])
def test_the_bound_of_a_count_is_scipys(events: int, confidence: float) -> None:
    chi2 = pytest.importorskip("scipy.stats").chi2
    expected = chi2.ppf(confidence, 2 * (events + 1)) / 2
    assert poisson_upper(events, confidence) == pytest.approx(expected, rel=1e-9)


def test_no_event_in_t_hours_bounds_the_rate_at_three_over_t() -> None:
    assert poisson_upper(0) == pytest.approx(-math.log(0.05))
    assert hours_needed(0.5) == pytest.approx(5.991, abs=1e-3)
    assert hours_needed(0.1) == pytest.approx(29.957, abs=1e-3)


def test_the_bootstrap_draws_recordings() -> None:
    assert bootstrap_upper([3], [1]) is None
    assert bootstrap_upper([0, 0, 0], [1, 1, 1]) == 0
    even = bootstrap_upper([3] * 20, [1] * 20)
    burst = bootstrap_upper([60] + [0] * 19, [1] * 20)
    assert even == pytest.approx(3)
    assert burst is not None
    assert burst > 2 * poisson_upper(60) / 20  # the same count, in one burst
    assert burst == bootstrap_upper([60] + [0] * 19, [1] * 20)


def test_a_windy_night_in_many_short_files_is_one_night() -> None:
    """Sixty alarms in one night of ten: drawing the files alone would call them independent."""
    alarm = [[0.9, 0.0], [0.0, 0.0], [0.0, 0.0]]
    files = [
        Background(f"{night} {n}.wav", 1 / 6, [ScoredWindow(i, i + 1, p) for i, p in
                   enumerate(alarm if night == 3 else [[0.0, 0.0]] * 3)], f"2026-05-{night:02}")
        for night in range(1, 11) for n in range(60)
    ]  # fmt: skip
    (point,) = choose(files, 100.0).classes["saw"].curve[:1]
    apart = choose([one._replace(night="") for one in files], 100.0).classes["saw"].curve[0]
    assert point.events == apart.events == 60
    by_hand = bootstrap_upper([0, 0, 60] + [0] * 7, [10] * 10)
    assert point.bound == pytest.approx(by_hand)
    assert point.bound > 1.5 * apart.bound
    drawn = bootstrap_upper([0] * 120 + [1] * 60 + [0] * 420, [1 / 6] * 600)
    assert drawn is not None
    assert apart.bound == pytest.approx(max(poisson_upper(60) / 100, drawn))


# Refusal


def test_a_budget_that_the_hours_cannot_support_is_refused() -> None:
    with pytest.raises(ConfigError) as told:
        check_budget(59 / 60, 0.5)
    assert str(told.value) == (
        "0.983 h of background cannot support a budget of 0.5 an hour: without a single alarm "
        "they bound the rate at 3.05 an hour; give at least 6 h, --unsupported to "
        "claim nothing, or a budget of 3.05"
    )
    check_budget(59 / 60, 3.05)
    check_budget(6, 0.5)
    for budget in (0, -1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="choose one above 0"):
            check_budget(100, budget)


@given(st.floats(0.01, 1000), st.floats(0.01, 100))
@hypothesis_settings(max_examples=50, deadline=None)
def test_what_a_refusal_offers_is_taken(hours: float, budget: float) -> None:
    try:
        check_budget(hours, budget)
    except ConfigError as error:
        offered = str(error).split("give at least ")[1]
        check_budget(float(offered.split(" h")[0]), budget)
        check_budget(hours, float(offered.rsplit(" ", 1)[1]))


def test_too_few_hours_claim_nothing_when_told_to_go_on() -> None:
    recordings = background([[0.6, 0.1], [0.1, 0.1]], hours=1)
    with pytest.raises(ConfigError, match="cannot support"):
        choose(recordings, 0.5)
    found = choose(recordings, 0.5, unsupported=True)
    assert not found.supported
    saw = found.classes["saw"].chosen
    assert saw is not None
    assert (saw.on, saw.events) == (0.600001, 0)
    assert saw.bound == pytest.approx(3, abs=0.01)


# Choice


def test_the_lowest_threshold_within_the_budget_is_chosen() -> None:
    """Ten hours bound no event at 0.3, one at 0.47, two at 0.63 an hour."""
    peaks = [0.5, 0.6, 0.7, 0.8, 0.9]
    rows = [row for p in peaks for row in ([p, 0.1], *[[0.0, 0.1]] * 3)]
    for budget, on, events in [(0.3, 0.900001, 0), (0.5, 0.800001, 1), (0.7, 0.700001, 2)]:
        found = choose(background(rows), budget)
        saw, bird = (found.classes[label].chosen for label in LABELS)
        assert saw is not None
        assert bird is not None
        assert (saw.on, saw.events, saw.per_hour) == (on, events, events / HOURS)
        assert saw.bound == pytest.approx(poisson_upper(events) / HOURS)
        assert found.settings.classes["saw"].on == on
        assert (bird.on, bird.events) == (0.3, 0)  # not below off and extent
        assert found.supported


def test_events_are_counted_not_windows() -> None:
    """Twenty windows that are one event cost what one window does."""
    rows = [[0.9, 0.0]] * 20 + [[0.0, 0.0]] * 5
    found = choose(background(rows), 0.5)
    saw = found.classes["saw"].chosen
    assert saw is not None
    assert (saw.on, saw.events) == (0.3, 1)


@given(st.data())
@hypothesis_settings(max_examples=40, deadline=None)
def test_no_lower_threshold_is_within_the_budget(data: st.DataObject) -> None:
    rows = st.lists(
        st.lists(st.integers(0, 20).map(lambda n: n / 20), min_size=2, max_size=2), max_size=25
    )
    recordings = background(*data.draw(st.lists(rows, min_size=1, max_size=3)))
    budget = data.draw(st.sampled_from([0.3, 0.5, 1.0]))
    base = EventSettings(merge_gap=0)  # merging may make more events of a higher threshold
    found = choose(recordings, budget, settings=base)
    for label in LABELS:
        chosen = found.classes[label].chosen
        assert false_events(recordings, found.settings, label) == (chosen.events if chosen else 0)
        for on in [n / 20 + 1e-4 for n in range(6, 20)] + [0.3]:
            own = base.replace(classes={label: ClassThresholds(on=on)})
            counts = [false_events([one], own, label) for one in recordings]
            drawn = bootstrap_upper(counts, [one.hours for one in recordings]) or 0
            bound = max(poisson_upper(sum(counts)) / HOURS, drawn)
            within = not any(counts) or bound <= budget
            if chosen is None or on < chosen.on:
                assert not within, (label, on)
            else:
                assert within, (label, on)


def test_a_burst_in_one_recording_costs_more_than_its_count() -> None:
    burst = [row for _ in range(3) for row in ([0.7, 0.0], *[[0.0, 0.0]] * 3)]
    alone = choose(background(burst), 0.8).classes["saw"].chosen
    split = choose(background(burst, *[[[0.0, 0.0]]] * 4), 0.8).classes["saw"].chosen
    assert alone is not None
    assert split is not None
    assert (alone.on, alone.events) == (0.3, 3)  # a Poisson bound of 0.78
    assert (split.on, split.events) == (0.700001, 0)


def test_a_class_that_no_threshold_holds_is_never_raised() -> None:
    rows = [row for _ in range(30) for row in ([1.0, 0.0], *[[0.0, 0.0]] * 3)]
    found = choose(background(rows), 0.5)
    assert found.classes["saw"].chosen is None
    assert found.settings.ignore == ("saw",)
    assert false_events(background(rows), found.settings, "saw") == 0


def test_ignored_classes_stay_ignored_and_settings_are_kept() -> None:
    base = EventSettings(ignore=("bird",), smooth_windows=3, min_length=2, off=0.2, extent=0.25)
    found = choose(background([[0.9, 0.9]] * 5), 0.5, settings=base)
    assert found.classes["bird"].chosen is None
    assert found.settings.ignore == ("bird",)
    assert (found.settings.smooth_windows, found.settings.min_length) == (3, 2)
    own = found.settings.classes["saw"]
    assert (own.on, own.off, own.extent) == (0.25, 0.2, 0.25)


def test_the_curve_tells_what_a_threshold_keeps() -> None:
    peaks = [i / 100 for i in range(35, 95)]
    rows = [row for p in peaks for row in ([p, 0.0], *[[0.0, 0.0]] * 3)]
    found = choose(background(rows), 0.5, detections={"saw": [0.2, 0.5, 0.95, 0.99]})
    curve, chosen = found.classes["saw"].curve, found.classes["saw"].chosen
    assert chosen in curve
    assert 20 <= len(curve) <= 21
    assert [point.on for point in curve] == sorted({point.on for point in curve})
    assert [point.events for point in curve] == sorted((p.events for p in curve), reverse=True)
    assert (curve[0].events, curve[-1].events) == (60, 0)
    for point in curve:
        own = found.settings.replace(classes={"saw": ClassThresholds(on=point.on)})
        assert false_events(background(rows), own, "saw") == point.events
        assert point.kept == np.mean(np.array([0.2, 0.5, 0.95, 0.99]) >= point.on)
    assert found.classes["bird"].curve[0].kept is None


def test_backgrounds_that_are_none() -> None:
    with pytest.raises(DatasetError, match="there is no background"):
        choose([], unsupported=True)
    one = background([[0.0, 0.0]])
    with pytest.raises(DatasetError, match="two recordings of the background have one name"):
        choose(one * 2)


# Kept in the model folder


@pytest.fixture
def chosen() -> SiteThresholds:
    return choose(background([[0.9, 0.1]]), 0.3, model="abc", detections={"saw": [0.5]})


def test_thresholds_are_kept_with_their_evidence(tmp_path: Path, chosen: SiteThresholds) -> None:
    path = chosen.save(tmp_path)
    assert path == tmp_path / "thresholds" / "here.json"
    again = SiteThresholds.load(tmp_path, "here", LABELS)
    assert again == chosen
    assert again.settings.identity == chosen.settings.identity
    assert again.recordings == {"0.wav": HOURS}


@pytest.mark.parametrize(
    "site",
    ["", ".", "..", "../x", "a/b", "a\\b", "a b", "-a", ".a", "a.", "con", "NUL.x", "com1", "é",
     "a\n", "a" * 65, "a:b", "a\0"],
)  # fmt: skip
def test_sites_that_are_no_file_names(site: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be a file's name"):
        site_path(tmp_path, site)


def test_sites_that_are_not_there(tmp_path: Path, chosen: SiteThresholds) -> None:
    with pytest.raises(ModelError, match="has no thresholds for north; it has none"):
        SiteThresholds.load(tmp_path, "north", LABELS)
    chosen.save(tmp_path)
    with pytest.raises(ModelError, match="has no thresholds for north; it has here"):
        SiteThresholds.load(tmp_path, "north", LABELS)


@pytest.mark.parametrize(
    ("model", "hop", "words", "budget"),
    [
        ("abc", None, [], 0.3),
        ("abc", 1.0, [], 0.3),
        ("abc", 0.5, ["hop of 1 s, not 0.5"], None),
        ("xyz", None, ["of another model"], None),
        ("xyz", 0.5, ["hop of 1 s, not 0.5", "of another model"], None),
    ],
)
def test_what_voids_a_budget_is_told(
    model: str,
    hop: float | None,
    words: list[str],
    budget: float | None,
    tmp_path: Path,
    chosen: SiteThresholds,
) -> None:
    chosen.save(tmp_path)
    found = at_site(tmp_path, "here", LABELS, model=model, hop=hop)
    assert (found.settings, found.hop, found.budget) == (chosen.settings, hop or 1, budget)
    assert len(found.doubts) == len(words) + (not chosen.supported)
    assert all(word in told for word, told in zip(words, found.doubts, strict=False))


def test_damaged_thresholds_are_refused(tmp_path: Path, chosen: SiteThresholds) -> None:
    path = chosen.save(tmp_path)
    whole = json.loads(path.read_text())
    for change, words in [
        ({"budget": -1}, "budget is -1"),
        ({"budget": math.nan}, "no settings|budget"),
        ({"site": "there"}, "is of the site 'there'"),
        ({"classes": {}}, "is of the site 'here' and the classes"),
        ({"format": 2}, "format is 2"),
        ({"more": 1}, "unknown setting more"),
        ({"settings": {**whole["settings"], "on": 2}}, "on is 2"),
        ({"settings": {**whole["settings"], "ignore": ["owl"]}}, "the class 'owl'"),
    ]:
        path.write_text(json.dumps({**whole, **change}))
        with pytest.raises(ModelError, match=words) as told:
            SiteThresholds.load(tmp_path, "here", LABELS)
        assert str(told.value).startswith(str(path))
        assert "\n" not in str(told.value)
    for content in (b"{", b"\xff", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="run spectro thresholds anew"):
            SiteThresholds.load(tmp_path, "here", LABELS)


def test_thresholds_are_read_through_no_link(tmp_path: Path, chosen: SiteThresholds) -> None:
    elsewhere = chosen.save(tmp_path / "elsewhere")
    link = site_path(tmp_path, "here")
    link.parent.mkdir()
    link.symlink_to(elsewhere)
    with pytest.raises(ModelError, match="is a symbolic link"):
        SiteThresholds.load(tmp_path, "here", LABELS)

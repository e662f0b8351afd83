"""What listening tells of itself is true: that it hears, and that alarms keep to their contract."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.errors import AudioError, ConfigError
from spectro.listening.events.settings import EventSettings
from spectro.listening.live.delivery.outbox import Batch, Outbox
from spectro.listening.live.hearing.ears import Ears, Site
from spectro.listening.live.hearing.place import Place
from spectro.listening.live.listener import Listener
from spectro.listening.live.settings import ProofSettings, SourceSettings
from spectro.listening.live.sources.pcm import Format
from spectro.listening.live.stats import ListenerStats, SourceStats
from spectro.listening.live.watch.band import BandWatch, band_power, narrowest
from spectro.listening.live.watch.budget import BudgetWatch
from spectro.listening.live.watch.cusum import Cusum
from spectro.listening.live.watch.proof import Proof, Result, mixed_in, next_time
from tests.listening.live.clocks import FakeClock
from tests.listening.live.hearing import EVENTS, SR, FakeEars, recording, sound

EARS = Ears(FakeEars(), "ears")
SITE = Site("here", EventSettings(**EVENTS), 0.5)
FORM = Format("s16le", SR, 1)
NOISE = np.random.default_rng(2).normal(0, 0.01, (60 * SR, 1)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.floats(0.05, 2))
def test_the_cusum_is_the_largest_likelihood_ratio(gaps: list[float], rate: float) -> None:
    """The recursion against the definition: the maximum over all events as the first after it."""
    watch, times, cut = Cusum(rate), np.cumsum(gaps), False
    for last, gap in enumerate(gaps):
        watch.passed(gap)
        watch.count()
        n = np.arange(last + 1, 0, -1)
        truth = np.max(n * math.log(3) - 2 * rate * (times[last] - times[: last + 1]))
        cut |= truth > 2 * watch.threshold  # held there, so that it comes down again
        assert cut or watch.value == pytest.approx(truth, abs=1e-6)


def simulated(rate: float, contract: float, events: int, seed: int) -> int | None:
    """Return at which event it alarms."""
    watch, rng = Cusum(contract), np.random.default_rng(seed)
    for number in range(1, events + 1):
        watch.passed(float(rng.exponential(1 / rate)))
        watch.count()
        if watch.alarms:
            return number
    return None


def test_a_kept_contract_seldom_alarms_and_a_broken_one_soon() -> None:
    kept = [simulated(0.5, 0.5, 300, seed) for seed in range(60)]
    assert sum(found is not None for found in kept) <= 18  # at most 300 / 1000 of them
    broken = [simulated(1.5, 0.5, 300, seed) for seed in range(60)]
    assert all(broken) and float(np.median(broken)) < 25  # type: ignore[arg-type]
    assert all((simulated(4.5, 0.5, 300, seed) or 99) < 20 for seed in range(60))


@pytest.mark.parametrize(("low", "high"), [(300, 340), (1_000, 1_100), (4_400, 5_200)])
def test_a_band_is_found_over_the_background(low: float, high: float) -> None:
    sr = 16_000
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.normal(size=4 * sr))
    f = np.fft.rfftfreq(4 * sr, 1 / sr)
    burst = np.fft.irfft(np.where((f > low) & (f < high), spectrum, 0)).astype(np.float32)
    hum = (5 * np.sin(2 * np.pi * 100 * np.arange(4 * sr) / sr)).astype(np.float32)
    watch = BandWatch(sr)
    for _ in range(30):
        watch.quiet(hum, 4.0)
    found = narrowest(watch.excess(hum + burst), sr)
    assert found[0] == pytest.approx(low, rel=0.16) and found[1] == pytest.approx(high, rel=0.16)
    assert found[2] >= 0.9 and "% of it at" in str(found)
    assert narrowest(band_power(hum, sr), sr)[0] < 110  # without the background it is the hum


def test_drift_is_told_once_with_class_band_time_and_clips() -> None:
    watch = BudgetWatch(0.5, ["saw", "shot"])
    sr, now = 8_000, 1.8e9
    profile = band_power(np.sin(2 * np.pi * 1000 * np.arange(sr) / sr).astype(np.float32), sr)
    drifts = []
    for hour in range(200):
        watch.passed(3_600)
        now += 3_600
        if hour % 2 == 0 and hour < 100:
            assert watch.count("shot", profile, sr, "", now) is None
        for k in range(5 if 100 <= hour < 110 else 0):
            drift = watch.count("saw", profile, sr, f"saw/{hour}-{k}", now)
            drifts += [drift] if drift else []
        watch = restored(watch)
    [drift] = drifts
    assert drift.label == "saw" and 8 < drift.times < 16
    assert abs(drift.since - (1.8e9 + 100 * 3_600)) <= 2 * 3_600
    assert len(drift.clips) == 6
    assert "x its contract since" in str(drift) and "kHz; listen to saw/10" in str(drift)
    assert watch.over() == ["saw"] and watch.over() == []


def restored(watch: BudgetWatch) -> BudgetWatch:
    """Go on in another process; the clips and profiles of before are not needed for the count."""
    again = BudgetWatch(0.5, ["saw", "shot"])
    again.restore(watch.state())
    assert again.state() == watch.state()
    again._sr = watch._sr
    for name, one in watch._classes.items():
        again._classes[name].clips, again._classes[name].profiles = one.clips, one.profiles
    return again


@pytest.mark.parametrize("text", ["", "[]", '{"saw": 3}', '{"saw": ["a", 1, 2, 3]}'])
def test_damaged_counts_are_passed_over(text: str) -> None:
    BudgetWatch(0.5, ["saw"]).restore(text)


def proof(tmp_path: Path, frequency: float = 3_000, **values: object) -> Proof:
    clip = recording(tmp_path / "clip.wav", (frequency, 0, 1.5), seconds=1.5)
    own = ProofSettings(clip=clip, **{"label": "high", **values})  # type: ignore[arg-type]
    return Proof(own, 1.8e9, 0.0)


def result(one: Proof, y: np.ndarray, form: Format = FORM, site: Site = SITE) -> Result:
    for at in range(0, len(y), 800):
        found = one.push(y[at : at + 800], form, EARS, site)
        if found is not None:
            return found
    raise AssertionError("not enough sound")


def test_a_known_clip_is_heard_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    faint = NOISE / 100
    yes = result(proof(tmp_path, snr=50), faint)
    assert yes.heard and yes.text.startswith("would have heard high at +50 dB: yes")
    other = result(proof(tmp_path, frequency=200, snr=50), faint)
    assert (other.heard, other.text) == (False, "would have heard high at +50 dB: no; low instead")
    deaf = result(proof(tmp_path, snr=-40), faint)
    assert (deaf.heard, deaf.text) == (False, "would have heard high at -40 dB: no")


def test_an_event_of_its_own_class_elsewhere_is_no_proof(tmp_path: Path) -> None:
    y = sound((3000, 0, 0.4), seconds=20)[:, np.newaxis]
    assert not result(proof(tmp_path, snr=-60), y).heard


@pytest.mark.parametrize("snr", [-6.0, 0.0, 3.0])
def test_the_snr_is_what_was_asked_for(snr: float) -> None:
    clip = np.sin(np.arange(SR)).astype(np.float32) * 0.3
    mix = mixed_in(NOISE[: 5 * SR], clip, 2 * SR, snr)
    added = (mix - NOISE[: 5 * SR])[2 * SR : 3 * SR]
    under = NOISE[2 * SR : 3 * SR]
    assert 10 * np.log10(np.mean(added**2) / np.mean(under**2)) == pytest.approx(snr, abs=0.05)
    assert np.array_equal(mix[: 2 * SR], NOISE[: 2 * SR])


def test_a_constant_is_no_sound_and_loud_ones_are_cut() -> None:
    clip = np.sin(np.arange(SR)).astype(np.float32)
    added = mixed_in(NOISE[: 3 * SR] + 0.1, clip, SR, 3) - NOISE[: 3 * SR] - 0.1
    under = NOISE[SR : 2 * SR]
    ratio = np.mean(added[SR : 2 * SR] ** 2) / np.var(under)
    assert 10 * np.log10(ratio) == pytest.approx(3, abs=0.05)
    assert np.abs(mixed_in(NOISE[: 3 * SR], clip, SR, 60)).max() == 1


@pytest.mark.parametrize(
    ("constants", "first"), [([0.0], False), ([0.1], False), ([0.3, -0.7], False), ([0.0], True)]
)
def test_nothing_is_proved_where_no_sound_is(
    tmp_path: Path, constants: list[float], first: bool
) -> None:
    """Of a model that hears the first channel alone, the others count for nothing."""
    one = proof(tmp_path)
    dead = np.full((30 * SR, len(constants)), constants, np.float32)
    card = EARS.backend.card
    if first:
        dead = np.hstack([dead, NOISE[: len(dead)]])
        card = card.replace(spectrogram=card.spectrogram.replace(channels="first"))
    ears, form = EARS._replace(backend=FakeEars(card)), FORM._replace(channels=dead.shape[1])
    for at in range(0, len(dead), SR):
        assert one.push(dead[at : at + SR], form, ears, SITE) is None
    found = one.given_up(64.0)
    assert found is not None and not found.heard and "gave no sound" in found.text


def test_a_source_without_sound_fails_its_proof(tmp_path: Path) -> None:
    one = proof(tmp_path)
    assert one.given_up(10.0) is None
    found = one.given_up(64.0)
    assert found is not None and not found.heard and "gave no sound" in found.text
    assert one.given_up(1e9) is None


def test_it_comes_at_its_times_even_if_the_clock_is_set(tmp_path: Path) -> None:
    one = proof(tmp_path, at=("06:00", "18:30"))
    result(one, NOISE)  # that of the start
    noon = datetime(2026, 5, 1, 12).timestamp()
    one.due = next_time(one.settings.at, noon)
    assert datetime.fromtimestamp(one.due) == datetime(2026, 5, 1, 18, 30)
    one.start_if_due(noon + 60, 0.0)
    assert one.push(NOISE, FORM, EARS, SITE) is None
    one.start_if_due(one.due, 0.0)
    assert datetime.fromtimestamp(one.due) == datetime(2026, 5, 2, 6)
    assert one.push(NOISE, FORM, EARS, SITE) is not None
    one.start_if_due(noon - 1e8, 0.0)
    assert one.due - (noon - 1e8) <= 86_400


def test_a_hole_in_the_sound_begins_the_proof_anew(tmp_path: Path) -> None:
    one = proof(tmp_path)
    assert one.push(NOISE[: 2 * SR], FORM, EARS, SITE) is None
    one.broken()
    assert one.push(NOISE[: 3 * SR], FORM, EARS, SITE) is None
    assert one.push(NOISE[: 3 * SR], FORM, EARS, SITE) is not None


def test_clips_and_times_that_prove_nothing(tmp_path: Path) -> None:
    silent = recording(tmp_path / "s.wav", seconds=70)
    with pytest.raises(AudioError, match="longer than 60 s"):
        Proof(ProofSettings(clip=silent, label="high"), 0.0, 0.0)
    import soundfile as sf

    sf.write(tmp_path / "z.wav", np.zeros(8_000), SR)
    with pytest.raises(AudioError, match="is silent"):
        Proof(ProofSettings(clip=tmp_path / "z.wav", label="high"), 0.0, 0.0)
    with pytest.raises(ConfigError, match="06:00"):
        ProofSettings(clip=silent, label="high", at=("6 o'clock",))


class Channel:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, batch: Batch, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def add(self, batch: Batch, message: dict[str, Any]) -> None:
        """Events are not looked at here."""

    def step(self) -> None:
        """No digest is due."""


def test_deafness_and_drift_are_sent_like_alerts(tmp_path: Path) -> None:
    """To all channels, once each, and again when it hears and keeps its contract."""
    clock, stats, channel = FakeClock(), ListenerStats(), Channel()
    stats.sources["gate"] = SourceStats(up=True, fault="", since=clock.time())
    one = proof(tmp_path, snr=50)
    place = Place(SourceSettings(name="gate"), SITE._replace(budget=0.5), EARS, [one])
    place.band = BandWatch(SR)
    outbox = Outbox(tmp_path / "outbox.sqlite")
    listener = Listener(
        [place], channel, outbox, None, clock, stats, lambda *_: None, lambda *_: None
    )  # type: ignore[arg-type]
    for heard, text in ((False, "no"), (True, "yes"), (True, "yes")):
        listener._proof(place, one, Result(heard, f"would have heard high: {text}"))
    sent = [(message["what"], message["source"], message["text"]) for message in channel.sent]
    assert sent == [
        ("unheard", "gate", "would have heard high: no"),
        ("heard", "gate", "would have heard high: yes"),
    ]
    stats.sources["gate"].fault = "a level that does not move for 20 s"
    listener._proof(place, one, Result(True, "would have heard high: yes"))
    stats.sources["gate"].fault = ""
    listener._proof(place, one, Result(True, "would have heard high: yes"))
    told = [message["text"] for message in channel.sent[2:]]
    assert "high at +50 dB: no: a level that does not move for 20 s" in told[0] and len(told) == 2
    channel.sent.clear()
    profile = band_power(np.sin(np.arange(SR, dtype=np.float32)), SR)
    for number in range(12):
        listener._count(place, {"label": "high", "evidence": f"high/{number}"}, profile)
    assert place.budget is not None
    for _ in range(500):
        place.budget.passed(3_600)
    for _ in range(2):
        listener.step()
    kinds = [message["what"] for message in channel.sent]
    assert kinds == ["drift", "contract kept"]
    assert "high" in channel.sent[0]["text"] and "x its contract" in channel.sent[0]["text"]
    assert stats.alarms == {"unheard": 2, "heard": 2, "drift": 1, "contract kept": 1}


def test_who_is_behind_or_gone_for_good_is_told(tmp_path: Path) -> None:
    clock, stats, channel = FakeClock(), ListenerStats(), Channel()
    slow = stats.sources["slow"] = SourceStats(up=True, fault="", since=clock.time())
    gone = stats.sources["gone"] = SourceStats(
        up=False, fault="no such file", since=clock.time(), finished=True
    )
    ended = stats.sources["ended"] = SourceStats(
        up=False, fault="", since=clock.time(), finished=True, ended="its sound ended"
    )
    whole = stats.sources["whole"] = SourceStats(
        up=False, fault="", since=clock.time(), finished=True
    )
    assert not whole.deaf and ended.deaf and gone.deaf
    places = [Place(SourceSettings(name=name), SITE, EARS) for name in stats.sources]
    outbox = Outbox(tmp_path / "outbox.sqlite")
    listener = Listener(
        places, channel, outbox, None, clock, stats, lambda *_: None, lambda *_: None
    )  # type: ignore[arg-type]
    clock.advance(61)
    slow.dropped, slow.dropped_at = 15.0, clock.time()
    for _ in range(3):
        listener.step()
        clock.advance(400)
    sent = [(message["what"], message["source"], message["text"]) for message in channel.sent]
    assert sent == [
        ("behind", "slow", "this machine does not keep up: 15 s were dropped unheard"),
        ("lost", "gone", "hears nothing: no such file"),
        ("lost", "ended", "hears nothing: its sound ended"),
        ("back", "slow", "keeps up again"),
    ]
    channel.sent.clear()
    slow.dropped_at = clock.time()
    listener.step()
    slow.up, slow.fault, slow.since = False, "unplugged", clock.time()  # while it is behind
    for _ in range(2):
        clock.advance(61)
        listener.step()
    slow.up, slow.fault, slow.since = True, "", clock.time()
    clock.advance(1_000)
    listener.step()
    assert [(message["what"], message["text"][:14]) for message in channel.sent] == [
        ("behind", "this machine d"),
        ("lost", "hears nothing:"),
        ("back", "hears again"),
        ("back", "keeps up again"),
    ]

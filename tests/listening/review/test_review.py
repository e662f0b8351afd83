"""A review as a process of its own: by keys in a browser, by HTTP, killed, and read by render."""

from __future__ import annotations

import csv
import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from spectro.cli.app import app
from spectro.clips import datasets
from spectro.errors import ConfigError, DatasetError
from spectro.listening.events.finding import Event
from spectro.listening.events.tables import write_csv
from spectro.listening.review import evidence
from spectro.listening.review.detections import Detection, find_recording, read_detections
from spectro.listening.review.session import Given, Session
from spectro.listening.review.verdicts import Verdict, Verdicts
from tests.listening.ears import SR, tones
from tests.listening.serve.service import Service, started
from tests.report.browser import browser, check_can_be_read, check_can_be_turned

PEAKS = (0.97, 0.55, 0.8, 0.52, 0.7, 0.99)


def event(recording: str, start: float, peak: float, label: str = "high") -> Event:
    return Event(recording, start, start + 2, "", label, peak - 0.01, peak, "ridge", "m", "t")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six events in two recordings."""
    return make_table(tmp_path)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A review in which nothing is said."""
    with reviewing(make_table(tmp_path_factory.mktemp("looking"))) as started_once:
        yield started_once


def make_table(tmp_path: Path) -> Path:
    (tmp_path / "recs").mkdir()
    for name in ("a.wav", "b.wav"):
        tones(tmp_path / "recs" / name, (3000, 2, 4), seconds=20)
    events = [event(f"recs/{'ab'[i % 2]}.wav", 2.0 * i + 2, p) for i, p in enumerate(PEAKS)]
    write_csv(tmp_path / "events.csv", events)
    return tmp_path / "events.csv"


SHOWN = (  # keys wait for it
    "document.querySelector('#item').ariaBusy !== 'true' && !player.paused"
    " && document.querySelector('#plot img')?.complete"
)


@contextmanager
def reviewing(table: Path, *options: str) -> Iterator[Service]:
    with started(["review", table, *options], table.parent / "serving") as service:
        yield service


def written(table: Path) -> list[dict[str, str]]:
    with table.with_suffix(".verdicts.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def give(service: Service, verdict: str, label: str = "") -> None:
    number = service.ask("state").json["next"][0]["number"]
    body = Given(number=number, verdict=verdict, label=label).model_dump_json().encode()  # type: ignore[arg-type]
    answer = service.ask("verdict", body, content_type="application/json")
    assert answer.status == 200, answer


@pytest.mark.slow
def test_keys_become_clips_that_render_reads(table: Path) -> None:
    with reviewing(table) as service, browser("--autoplay-policy=no-user-gesture-required") as page:
        page.look(1_200)
        page.open(service.url)
        page.until("!document.querySelector('#start').hidden")
        check_can_be_read(page, dark=True)
        page.press("Enter", 13)
        page.until(SHOWN)
        for dark in (True, False):
            check_can_be_read(page, dark=dark)
        for key, left in (("y", 5), ("n", 4), ("s", 3)):
            page.until(SHOWN)
            page.press(key)
            page.until(f"document.querySelector('#counts').textContent.startsWith('{left} left')")
        page.until(SHOWN)
        page.press("o")
        page.until("document.activeElement.id === 'name'")
        for letter in "jay":
            page.press(letter)
        page.press("Enter", 13)
        page.until("document.querySelector('#counts').textContent.startsWith('2 left')")
        page.until(SHOWN)
        page.press("n")
        page.until("document.querySelector('#counts').textContent.startsWith('1 left')")
        page.until(SHOWN)
        page.press("u")
        page.until("document.querySelector('#counts').textContent.startsWith('2 left')")
        page.until(SHOWN)
        page.press("1")  # jay, which is known now
        page.until("document.querySelector('#counts').textContent.startsWith('1 left')")
        page.until(SHOWN)
        page.press("y")
        page.until("!document.querySelector('#end').hidden")
        assert page.console == []
        assert all(url.startswith((service.url, "data:", "blob:")) for url in page.asked_for)
        assert service.end() == 0
    rows = written(table)
    assert [(row["verdict"], row["label"], row["peak"]) for row in rows] == [
        ("yes", "high", "0.52"),
        ("no", "background", "0.55"),
        ("other", "jay", "0.8"),
        ("other", "jay", "0.97"),
        ("yes", "high", "0.99"),
    ]
    dataset = datasets.load(table.with_suffix(".verdicts.csv"), n_folds=2)
    assert dataset.labels == ["background", "high", "jay"]
    assert set(dataset.clips["group"]) == {"recs/a.wav", "recs/b.wav"}
    assert sorted(dataset.clips["start"]) == sorted(float(row["start"]) for row in rows)
    assert all(Path(path).is_file() for path in dataset.clips["path"])


@pytest.mark.slow
def test_a_phone_can_be_turned(service: Service) -> None:
    with browser() as page:
        page.look(800)
        page.open(service.url)
        page.until("!document.querySelector('#start').hidden")
        page.press("Enter", 13)
        page.until("document.querySelector('#plot img')?.complete")
        check_can_be_turned(page, plots=1)


@pytest.mark.long
def test_render_draws_the_verdicts(table: Path, tmp_path: Path) -> None:
    with reviewing(table) as service:
        for verdict in ("yes", "no", "yes", "no", "yes", "no"):
            give(service, verdict)
    out = tmp_path / "pictures"
    words = ["render", table.with_suffix(".verdicts.csv"), "--out", out, "--n-folds", "2"]
    subprocess.run([sys.executable, "-m", "spectro", *words], check=True)
    assert len(list(out.glob("fold*/*.png"))) == 6


def test_every_verdict_is_on_disk_at_once_and_a_killed_review_goes_on(table: Path) -> None:
    with reviewing(table) as service:
        give(service, "yes")
        give(service, "skip")
        assert len(written(table)) == 1
        give(service, "no")
        service.end(signal.SIGKILL)
    assert [row["peak"] for row in written(table)] == ["0.52", "0.7"]
    with reviewing(table) as service:
        state = service.ask("state").json
        assert (state["left"], state["yes"], state["no"]) == (4, 1, 1)
        assert state["next"][0]["event"]["peak"] == 0.55  # that was skipped
        assert service.ask("undo", b"{}", content_type="application/json").status == 200
        assert service.ask("state").json["next"][0]["event"]["peak"] == 0.7
    assert [row["peak"] for row in written(table)] == ["0.52"]


def test_picture_and_sound_show_the_event(service: Service) -> None:
    state = service.ask("state").json
    item = next(one for one in state["next"] if one["event"]["peak"] == 0.7)  # 10 s to 12 s
    assert (item["start"], item["end"]) == (9, 13)
    picture = Image.open(io.BytesIO(service.ask(f"events/{item['number']}/picture").body))
    assert picture.height == 128
    y, sr = sf.read(io.BytesIO(service.ask(f"events/{item['number']}/sound").body))
    assert (len(y) / sr, sr) == (4, SR)
    assert np.abs(y).max() == pytest.approx(0.9, abs=1e-3)
    assert service.ask("events/99/picture").status == 404


def test_only_who_knows_the_address_gets_in(service: Service) -> None:
    host, _, word = service.url.rstrip("/").rpartition("/")
    assert len(word) >= 32
    outside = Service(service.process, f"{host}/")
    for path in ("", "state", "events/0/sound", "x/state"):
        assert outside.ask(path).status == 404
    assert service.ask("state", host="evil.example").status == 421
    refused = service.ask("verdict", b"{}", content_type="text/plain", sec_fetch_site="cross-site")
    assert refused.status == 403
    assert "unsafe" not in service.ask("").headers["content-security-policy"]


# ------------------------------------------------------------------------------- without a process


def test_recordings_outside_the_folder_are_not_opened(tmp_path: Path) -> None:
    home, canary = tmp_path / "home", tmp_path / "canary.wav"
    home.mkdir()
    tones(canary, seconds=1)
    tones(home / "a.wav", seconds=1)
    (home / "link.wav").symlink_to(canary)
    for name in (str(canary), "../canary.wav", "x/../../canary.wav", "link.wav", "\0", "x" * 5_000):
        assert find_recording(name, home) is None
    for name in ("a.wav", str(home / "a.wav"), "elsewhere/a.wav", "C:\\night\\a.wav"):
        match = find_recording(name, home)
        assert match is not None
        assert match.path == home / "a.wav"
    found = read_detections([event("a.wav", 0, 0.9), event("gone.wav", 0, 0.9)], home)
    assert ([one.file for one in found.found], found.absent) == ([home / "a.wav"], ["gone.wav"])


def test_one_site_is_not_judged_by_the_sound_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorders at two sites give the same names, and only one site's recordings are here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site2").mkdir()
    tones(tmp_path / "site2" / "night.wav", seconds=1)
    events = [event(f"site{n}/night.wav", 0, 0.9) for n in (1, 2)]
    found = read_detections(events, Path("site2"))
    assert [one.event.recording for one in found.found] == ["site2/night.wav"]
    assert found.absent == ["site1/night.wav"]
    elsewhere = [event(f"/mnt/site{n}/night.wav", 0, 0.9) for n in (1, 2)]
    neither = read_detections(elsewhere, Path("site2"))
    assert (neither.found, neither.absent) == ([], [one.recording for one in elsewhere])
    alone = read_detections(elsewhere[1:], Path("site2"))
    assert len(alone.found) == 1


def test_the_most_uncertain_comes_first_and_twins_once(tmp_path: Path) -> None:
    tones(tmp_path / "a.wav", seconds=1)
    events = [event("a.wav", i, p) for i, p in enumerate((0.9, 0.45, 0.6, 0.1))]
    found = read_detections([*events, *events], tmp_path).found
    assert [one.event.peak for one in found] == [0.45, 0.6, 0.9, 0.1]


def test_undo_goes_back_through_skips_and_verdicts(table: Path) -> None:
    events = [event("recs/a.wav", i, 0.5 + i / 10) for i in range(3)]
    found = read_detections(events, table.parent).found
    verdicts = Verdicts(table.parent / "v.csv")
    session = Session(found, verdicts, "background")
    first, second, third = (item.number for item in session.state().next)
    session.give(Given(number=first, verdict="yes"))
    session.give(Given(number=second, verdict="skip"))
    session.give(Given(number=third, verdict="other", label=" great  tit "))
    assert verdicts.labels == {"high", "great tit"}
    for expected, left in ((third, 1), (second, 2), (first, 3)):
        session.undo()
        state = session.state()
        assert (state.next[0].number, state.left) == (expected, left)
    assert len(verdicts) == 0
    with pytest.raises(Exception, match="nothing to take back"):
        session.undo()


def test_a_class_that_the_model_missed_can_be_chosen(table: Path) -> None:
    found = read_detections([event("recs/a.wav", 0, 0.9)], table.parent).found
    session = Session(found, Verdicts(table.parent / "v.csv"), "background", ("chainsaw", "high"))
    assert session.state().labels == ["background", "chainsaw", "high"]


def test_undo_takes_back_no_verdict_on_what_is_not_there(table: Path) -> None:
    """The scan was made again with other thresholds, and one event is gone."""
    events = [event("recs/a.wav", i, 0.5 + i / 10) for i in range(2)]
    found = read_detections(events, table.parent).found
    path = table.parent / "v.csv"
    first = Verdicts(path)
    session = Session(found, first, "background")
    for number in (1, 0):
        session.give(Given(number=number, verdict="yes"))
    before = path.read_bytes()
    first.close()
    fewer = Session(found[1:], Verdicts(path), "background")
    with pytest.raises(ConfigError, match=r"an event of .*a\.wav that is not among these"):
        fewer.undo()
    assert path.read_bytes() == before


def test_a_table_that_another_process_reviews_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from spectro.listening.review.verdicts import Verdicts\n"
        "kept = Verdicts(Path(sys.argv[1]))\nprint('held', flush=True)\nsys.stdin.read()"
    )
    path = tmp_path / "v.csv"
    other = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None and other.stdout.readline() == b"held\n"
    with pytest.raises(DatasetError, match=r"v\.csv: another review writes to it; end that one"):
        Verdicts(path)
    other.kill()  # for real: what it held is free again
    other.wait()
    Verdicts(path).close()


HEADER = ",".join(Verdict._fields)


@pytest.mark.parametrize("content", ["path,label\na,b\n", "\0", f"{HEADER}\na,b\n"])
def test_a_table_that_is_none_is_not_written_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "v.csv").write_text(content)
    with pytest.raises(DatasetError, match=r"v\.csv"):
        Verdicts(tmp_path / "v.csv")
    assert (tmp_path / "v.csv").read_text() == content


def test_a_table_without_its_recordings_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(tmp_path / "events.csv", [event("gone.wav", 0, 0.9)])
    with pytest.raises(DatasetError, match="give --recordings FOLDER"):
        app(["review", str(tmp_path / "events.csv")], standalone_mode=False)
    assert "gone.wav: is not below" in capsys.readouterr().err


def test_infrasound_can_be_judged_too(tmp_path: Path) -> None:
    """A picture has at least 1,000 samples a second, whatever the recording has."""
    y = np.sin(2 * np.pi * 20 * np.arange(800 * 10) / 800)
    sf.write(tmp_path / "low.wav", 0.5 * y, 800)
    one = Detection(event("low.wav", 2, 0.9), tmp_path / "low.wav")
    shown = evidence.span(one)
    assert shown.sr == 1_000 and shown.start == 1
    assert Image.open(io.BytesIO(evidence.picture(one))).width > 100
    samples, sr = sf.read(io.BytesIO(evidence.sound(one)))
    assert sr == 1_000 and len(samples) == round((shown.end - shown.start) * sr)

"""The page in a real browser: a file, the microphone, a long recording, an error, the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.listening.ears import tones
from tests.listening.serve.service import Service, serving
from tests.report.browser import Page, browser, check_can_be_read, check_can_be_turned

pytestmark = pytest.mark.slow

DONE = "document.querySelector('#status').textContent.startsWith('Done')"
ARROW_RIGHT, TAB = 39, 9


@pytest.fixture
def page(service: Service, tmp_path: Path) -> Iterator[Page]:
    heard = tones(tmp_path / "microphone.wav", (200, 0, 20), seconds=20, sr=48_000)
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    with browser(*flags, f"--use-file-for-fake-audio-capture={heard}") as opened:
        opened.look(1_200)
        opened.open(service.url)
        opened.until("!document.querySelector('#give').hidden")
        yield opened


def text(page: Page, selector: str) -> str:
    return page.run(f"document.querySelector({selector!r}).textContent")


def hidden(page: Page, selector: str) -> bool:
    return page.run(f"document.querySelector({selector!r}).hidden")


def check_quiet(page: Page, service: Service) -> None:
    """Nothing was complained about, and nobody else was asked."""
    assert page.console == []
    assert all(url.startswith((service.url, "data:", "blob:")) for url in page.asked_for)


def test_a_sound_a_recording_an_error_and_the_keyboard(
    page: Page, service: Service, clip: Path, night: Path, tmp_path: Path
) -> None:
    page.give("#file", clip)
    page.until("!document.querySelector('#result').hidden")
    heard = service.ask("predict", clip.read_bytes()).json
    assert text(page, "#heard") == f"high, {100 * heard['probability']:.1f}\u00a0%"
    assert page.run("[...document.querySelectorAll('#bars li')].map((li) => li.innerText)")[0] == (
        f"high\n{100 * heard['probability']:.1f}\u00a0%"
    )
    width, height = page.run(
        "(async () => { const i = document.querySelector('#clip-picture img'); await i.decode();"
        "return [i.naturalWidth, i.naturalHeight]; })()"
    )
    assert (height, width) == (32, 63)
    ticks = "[...document.querySelectorAll('#clip-picture .hz:not([hidden])')].map(e=>e.innerText)"
    assert page.run(ticks) == ["100 Hz", "500 Hz", "1 kHz", "2 kHz"]
    assert hidden(page, "#recording")

    page.give("#file", night)
    page.until(DONE)
    events = service.scanned(night.read_bytes(), f"name={night.name}")["events"]
    rows = "[...document.querySelectorAll('#events tbody tr')].map((r) => r.cells[0].innerText)"
    assert page.run(rows) == [event["label"] for event in events]
    page.until("document.querySelectorAll('#whole .event').length")
    lefts = page.run(
        "[...document.querySelectorAll('#whole .event')].map((e) => parseFloat(e.style.left))"
    )
    expected = [100 * event["start"] / 40 for event in events]
    assert lefts == pytest.approx(expected, abs=1e-3)

    page.run("document.querySelector('#scrub').focus()")
    page.press("ArrowRight", ARROW_RIGHT)
    page.press("ArrowRight", ARROW_RIGHT)
    assert page.run("document.querySelector('#scrub').value") == "2"
    page.press("n")
    following = min(event["start"] for event in events if event["start"] > 2.06)
    assert float(page.run("document.querySelector('#scrub').value")) == following
    page.until(f"Math.abs(document.querySelector('#player').currentTime - {following}) < 0.1")
    check_quiet(page, service)

    (tmp_path / "letter.wav").write_text("no sound")
    page.give("#file", tmp_path / "letter.wav")
    page.until("!document.querySelector('#problem').hidden")
    assert text(page, "#problem").startswith(
        "letter.wav: cannot be decoded (Format not recognised): it is text, not sound"
    )
    assert hidden(page, "#result")
    assert hidden(page, "#recording")


def test_the_microphone(page: Page, service: Service) -> None:
    page.click("#record")
    page.until("parseFloat(document.querySelector('#clock').textContent) > 1.5")
    assert page.run("parseFloat(document.querySelector('#meter b').style.width)") > 50
    page.click("#record")
    page.until(DONE)
    assert text(page, "#heard").startswith("low")
    assert page.run("document.querySelector('#events tbody td').innerText") == "low"
    seconds = float(text(page, "#extent").split(", ")[1].split(" ")[0])
    assert 1.5 <= seconds < 15
    check_quiet(page, service)


@pytest.mark.long
def test_everything_can_be_reached_by_keyboard(page: Page, night: Path) -> None:
    page.give("#file", night)
    page.until(DONE)
    page.run("document.activeElement.blur(); scrollTo(0, 0)")
    reached = []
    for _ in range(40):
        page.press("Tab", TAB)
        reached.append(page.run("document.activeElement.id || document.activeElement.tagName"))
    for wanted in ("file", "record", "scrub", "before", "after", "table", "player", "SUMMARY"):
        assert wanted in reached
    named = (
        "[...document.querySelectorAll('button, input, a, audio')].filter((e) => !e.hidden &&"
        "e.offsetParent && !(e.innerText || e.labels?.length || e.ariaLabel || e.controls)).length"
    )
    assert page.run(named) == 0


def test_every_text_can_be_read_by_day_and_night(page: Page, clip: Path, night: Path) -> None:
    check_can_be_read(page, dark=False)
    page.give("#file", clip)
    page.until("!document.querySelector('#result').hidden")
    for dark in (True, False):
        check_can_be_read(page, dark=dark)
    page.give("#file", night)
    page.until(DONE)
    page.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    for dark in (True, False):
        check_can_be_read(page, dark=dark)


@pytest.mark.long
@pytest.mark.parametrize("width", [320, 390, 1_200])
def test_it_fits_the_window(page: Page, night: Path, width: int) -> None:
    page.look(width)
    page.give("#file", night)
    page.until(DONE)
    page.until("document.querySelectorAll('#part .event').length")
    assert page.run("document.documentElement.scrollWidth") <= width


def test_a_phone_can_be_turned(page: Page, clip: Path, night: Path) -> None:
    page.look(800)
    page.give("#file", night)
    page.until(DONE)
    page.until("document.querySelectorAll('#part .event').length")
    check_can_be_turned(page, plots=3)
    page.run("document.querySelector('main').hidden = true")  # as in a tab behind another
    page.give("#file", clip)
    page.until(
        "document.querySelector('#recording').hidden && !document.querySelector('#result').hidden"
    )
    page.until("document.querySelector('#heard').textContent.startsWith('high')")
    page.run("document.querySelector('main').hidden = false")
    check_can_be_turned(page, plots=1)


def test_a_file_that_is_gone_is_told(page: Page, tmp_path: Path) -> None:
    gone = tones(tmp_path / "gone.wav", (3000, 0, 1), seconds=2)
    page.run(
        "addEventListener('change', (event) => { event.stopPropagation();"
        "[window.kept] = event.target.files; }, { capture: true, once: true })"
    )
    page.give("#file", gone)
    page.until("Boolean(window.kept)")
    gone.unlink()
    page.run(
        "(() => { const dataTransfer = new DataTransfer(); dataTransfer.items.add(window.kept);"
        "dispatchEvent(new DragEvent('drop', { dataTransfer })); })()"
    )
    page.until("!document.querySelector('#problem').hidden")
    assert text(page, "#problem").startswith("gone.wav cannot be read: ")
    assert "answer" not in text(page, "#problem")


@pytest.mark.long
def test_a_scan_can_be_stopped(page: Page, service: Service, tmp_path: Path) -> None:
    page.give("#file", tones(tmp_path / "long.flac", (3000, 2, 5), seconds=3_600))
    page.until("!document.querySelector('#wait').hidden")
    page.click("#stop")
    page.until("document.querySelector('#status').textContent === 'Stopped.'")
    while service.ask("healthz").json["scans"]:
        pass
    assert hidden(page, "#recording")


@pytest.mark.long
def test_the_token_is_asked_for(ears: Path, tmp_path: Path, clip: Path) -> None:
    (tmp_path / "token").write_text("abcdefghijklmnopqrst")
    options = ("--token-file", str(tmp_path / "token"))
    with serving(ears, tmp_path / "serving", *options) as service, browser() as page:
        page.open(service.url)
        page.until("!document.querySelector('#door').hidden")
        assert hidden(page, "#give")
        page.until("document.activeElement.id === 'token'")
        for letter in "abcdefghijklmnopqrst":
            page.press(letter)
        page.press("Enter", 13)
        page.until("!document.querySelector('#give').hidden")
        page.give("#file", clip)
        page.until("!document.querySelector('#result').hidden")
        assert text(page, "#heard").startswith("high")


@pytest.mark.long
def test_names_are_text(page: Page, service: Service, tmp_path: Path) -> None:
    """A file may be called anything."""
    odd = tones(tmp_path / "<img src=x onerror=alert(1)>&'.wav", (200, 0, 2), seconds=3)
    page.give("#file", odd)
    page.until(DONE)
    assert odd.name in text(page, "#scanned")
    assert page.run("document.querySelectorAll('img[src=x]').length") == 0
    check_quiet(page, service)

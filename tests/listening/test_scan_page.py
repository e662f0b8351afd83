"""The page of a recording in a real browser: it asks no network, and answers to keys and mouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.listening.outputs.tracks import Halving
from tests.listening.ears import make_ears, tones
from tests.report.browser import Page, browser, check_can_be_read, check_can_be_turned

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as page:
        yield page


@pytest.fixture(scope="module")
def written(tab: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    night = tones(folder / "<b>20260501_230000.wav", (3000, 2, 5), (200, 30, 34), seconds=60)
    words = ["scan", make_ears(folder / "model"), night, "--out", folder / "out", "--page"]
    words += ["--hop", "0.5", "--ignore", "quiet"]
    for _ in range(2):  # the second time from what was kept
        result = CliRunner().invoke(app, [*map(str, words)])
        assert result.exit_code == 0, result.output
    return folder / "out" / "page.html"


@pytest.fixture
def page(tab: Page, written: Path) -> Page:
    tab.look(1280)
    tab.open(written)
    return tab


def press(page: Page, key: str) -> None:
    page.run(f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: {key!r}}}))")


def test_it_shows_the_events_and_asks_no_network(page: Page) -> None:
    assert page.run("document.querySelector('h1').textContent").startswith("<b>2026")
    assert page.run("document.getElementById('count').textContent").startswith("2 events")
    rows = page.run("[...document.querySelectorAll('#rows tr')].map((r) => r.innerText)")
    assert "high" in rows[0]
    assert "low" in rows[1]
    assert page.console == []
    assert all(url.startswith(("data:", "file:")) for url in page.asked_for)
    painted = "(() => { const c = document.getElementById('line').getContext('2d');" \
        "return new Set(c.getImageData(0, 0, 1000, 160).data).size; })()"  # fmt: skip
    page.run("new Promise((done) => setTimeout(done, 200))")
    assert page.run(painted) > 20


def test_keys_go_from_event_to_event_and_the_sound_is_there(page: Page) -> None:
    press(page, "n")
    assert page.run("document.getElementById('what').textContent").startswith("high")
    press(page, "n")
    assert page.run("document.getElementById('what').textContent").startswith("low")
    press(page, "p")
    assert page.run("document.getElementById('what').textContent").startswith("high")
    assert page.run("!document.getElementById('picture').hidden")
    press(page, "Enter")
    ready = "new Promise((done) => { const a = document.getElementById('audio');" \
        "const look = () => a.readyState >= 1 ? done(a.duration) : setTimeout(look, 20);" \
        "look(); })"  # fmt: skip
    assert page.run(ready) == pytest.approx(4, abs=1.2)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read(page: Page, dark: bool) -> None:
    check_can_be_read(page, dark=dark)


def test_a_phone_can_be_turned(page: Page) -> None:
    for width in (800, 360):
        page.look(width)
        page.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))")
        for canvas in ("line", "map"):  # drawn anew, pixel by pixel
            drawn, shown = page.run(f"[{canvas}.width, {canvas}.clientWidth]")
            assert drawn == shown < width
    check_can_be_turned(page, plots=0)


def test_a_class_can_be_hidden(page: Page) -> None:
    for rows in (1, 2):  # the page moves when rows go: a click at a place may miss
        page.run("document.querySelector('.chip').click()")
        assert page.run("document.querySelectorAll('#rows tr').length") == rows


def test_columns_are_joined_as_a_whole_array_would_be() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 7, 8, 9, 100, 129):
        values, kept = rng.random((3, n), dtype=np.float32), Halving(3, np.maximum, 8)
        for column in values.T:
            kept.add(column)
        found = kept.columns()
        assert found.shape[1] <= 9
        joined = [values[:, at : at + kept.each].max(axis=1) for at in range(0, n, kept.each)]
        np.testing.assert_array_equal(found, np.column_stack(joined))

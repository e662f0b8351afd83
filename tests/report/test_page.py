"""A report in a real browser: it opens from disk, asks no network, and answers to the mouse."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from spectro.crossval.run import Run
from spectro.report.write import write_report
from tests.report.browser import Page, browser, check_can_be_read
from tests.report.reports import make_predictions, make_run

pytestmark = pytest.mark.slow

LABELS = ["a_label_without_a_space_that_is_as_long_as_labels_of_species_come", "dog", "siren"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 60 short sounds, a third of which is gone."""
    root = tmp_path_factory.mktemp("page")
    table = make_predictions(60, LABELS)
    (root / "audio").mkdir()
    for number, path in enumerate(table["path"]):
        y = np.sin(np.arange(2205) * (0.1 + 0.01 * number))
        if number % 3:
            sf.write(root / path, y, 22050)
    return make_run(root / "run", table, LABELS, root)


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as page:
        yield page


@pytest.fixture(scope="module")
def report(run: Run, tab: Page) -> Path:
    return write_report(run)  # after `tab`: not made where there is no browser


@pytest.fixture
def page(tab: Page, report: Path) -> Page:
    tab.look(1280)
    tab.open(report)
    return tab


@pytest.fixture(scope="module")
def table(run: Run) -> pd.DataFrame:
    found = run.predictions()
    found["name"] = [f"audio/{Path(path).name}" for path in found["path"]]
    return found


def listed(page: Page) -> list[str]:
    """Unfold the list of clips, and read the names in it."""
    while not page.run("document.querySelector('#more-clips').hidden"):
        page.click("#more-clips")
    return page.run("[...document.querySelectorAll('#clip-table td.name')].map(c => c.textContent)")


def choose(page: Page, form: str, **values: str) -> None:
    """Set fields of a form as a person does: each tells the page that it changed."""
    for name, value in values.items():
        page.run(
            f"(field => {{ field.value = {value!r};"
            "field.dispatchEvent(new Event('input', { bubbles: true })); })"
            f"(document.querySelector({form!r}).elements.{name})"
        )


def test_it_opens_from_disk_and_asks_no_network(page: Page, report: Path) -> None:
    page.asked_for.clear()
    page.open(report)
    page.run("new Promise(done => setTimeout(done, 300))")
    assert page.console == []
    own = report.absolute().as_uri()
    assert [url for url in page.asked_for if url != own and not url.startswith("data:")] == []
    assert own in page.asked_for  # so that asking would be noticed
    blocked = "fetch('file:///etc/hostname').then(() => 'read', () => 'blocked')"
    assert page.run(blocked) == "blocked"
    page.console.clear()


def test_every_sound_plays(page: Page) -> None:
    listed(page)
    lengths = page.run(
        "Promise.all([...document.querySelectorAll('audio')].map(player =>"
        "  new Promise((done, fail) => {"
        "    player.oncanplaythrough = () => done([player.readyState, player.duration]);"
        "    player.onerror = () => fail(player.error.message);"
        "    player.preload = 'auto'; player.load();"
        "  })))"
    )
    told = page.run("document.querySelector('#clips').textContent").split(" of 60 clips have")[0]
    on_cards = page.run("document.querySelectorAll('.card audio').length")
    assert len(lengths) - on_cards == int(told.split()[-1]) > 10  # cards' sounds are listed too
    for ready, duration in lengths:
        assert ready == 4
        assert duration == pytest.approx(4, abs=0.1)  # as the network hears it: padded
    pictures = page.run("[...document.images].map(image => image.complete && image.naturalWidth)")
    assert set(pictures) == {173}


def test_one_sound_at_a_time(page: Page) -> None:
    playing = page.call(
        "Runtime.evaluate",
        expression="(async () => { const [a, b] = document.querySelectorAll('.card audio');"
        "await a.play(); await b.play(); return [a.paused, b.paused]; })()",
        awaitPromise=True,
        returnByValue=True,
        userGesture=True,
    )
    assert playing["result"]["value"] == [True, False]


def test_a_cell_of_the_matrix_lists_the_clips_behind_it(page: Page, table: pd.DataFrame) -> None:
    cells = table.groupby(["label", "predicted"])["name"].apply(set)
    assert page.run("document.querySelectorAll('#matrix button').length") == len(cells)
    for (label, predicted), names in cells.items():
        selector = f"[data-cell='{LABELS.index(label)},{LABELS.index(predicted)}']"
        page.click(selector)
        top = page.run("document.querySelector('#clips').getBoundingClientRect().top")
        assert 0 <= top < 450  # the list is in sight
        found = listed(page)
        assert len(found) == len(names)
        assert set(found) == names
        assert page.run(f"document.querySelector({selector!r}).ariaPressed") == "true"
        wrong = "document.querySelectorAll('#clip-table tr.wrong').length"
        assert page.run(wrong) == (len(names) if label != predicted else 0)
        paths = table.loc[table["name"].isin(names), "path"]
        there = sum(Path(path).is_file() for path in paths)
        heard = page.run("document.querySelectorAll('#clip-table audio').length")
        assert heard >= min(there, 1)


def test_filters_of_the_list(page: Page, table: pd.DataFrame) -> None:
    assert set(listed(page)) == set(table["name"])
    wrong = table["label"] != table["predicted"]
    playable = page.run("document.querySelectorAll('#clip-table tr:has(audio)').length")
    playable_wrong = page.run("document.querySelectorAll('#clip-table tr.wrong:has(audio)').length")
    assert 0 < playable_wrong < playable
    first = (
        f"[...document.querySelectorAll('#clip-table tr:has(audio)')].slice(0, {playable_wrong})"
    )
    assert page.run(f"{first}.every(row => row.className === 'wrong')")  # mistakes come first
    choose(page, "#clip-filters", fold="2", outcome="wrong", sort="sure")
    asked = table[wrong & (table["fold"] == 2)].sort_values("probability", ascending=False)
    assert listed(page) == asked["name"].tolist()
    output = page.run("document.querySelector('#clip-filters output').textContent")
    assert output == f"{len(asked)} clips, {len(asked)} wrong"
    choose(page, "#clip-filters", fold="", outcome="right", sort="unsure", truth="1")
    asked = table[~wrong & (table["label"] == LABELS[1])].sort_values("probability")
    assert listed(page) == asked["name"].tolist()
    page.click("#clip-filters button[type=reset]")
    page.run("new Promise(done => setTimeout(done, 50))")
    assert len(listed(page)) == len(table)
    choose(page, "#clip-filters", text="REC3", sort="name")
    asked = table[table["group"].str.contains("rec3") | table["name"].str.contains("rec3")]
    assert listed(page) == sorted(asked["name"])


def test_a_recording_lists_its_clips(page: Page, table: pd.DataFrame) -> None:
    group = page.run("document.querySelector('#source-table button').dataset.source")
    page.run("document.querySelector('#recordings details').open = true")
    page.click("#source-table button")
    assert set(listed(page)) == set(table.loc[table["group"] == group, "name"])


def test_filters_of_the_cards(page: Page) -> None:
    cards = (
        "[...document.querySelectorAll('#wrong-cards .card')].filter(c => !c.hidden)"
        ".map(c => [c.dataset.fold, c.dataset.truth, c.dataset.id])"
    )
    every = page.run(cards)
    folds = [fold for fold, _, _ in every]
    assert len(set(folds)) > 1
    choose(page, "[data-cards=wrong-cards]", fold=folds[0])
    assert page.run(cards) == [card for card in every if card[0] == folds[0]]
    output = page.run("document.querySelector('[data-cards=wrong-cards] output').textContent")
    assert output == f"{folds.count(folds[0])} of {len(every)}"
    choose(page, "[data-cards=wrong-cards]", fold="", sort="truth")
    assert page.run(cards) == sorted(every, key=lambda card: card[1])
    choose(page, "[data-cards=wrong-cards]", sort="")
    assert page.run(cards) == every


# --------------------------------------------------------------------------- where it is looked at


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read(page: Page, dark: bool) -> None:
    page.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    check_can_be_read(page, dark=dark)


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_has_to_be_scrolled_sideways(page: Page, report: Path, width: int) -> None:
    page.look(width)
    page.open(report)
    page.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert page.run("innerWidth") == width
    assert page.run("document.documentElement.scrollWidth") == width
    cut_off = page.run(
        "[...document.querySelectorAll('main *')].filter(part => part.checkVisibility()"
        "  && !part.closest('.scroll, pre')"  # these scroll by themselves
        "  && part.getBoundingClientRect().right > innerWidth + 0.5)"
        ".map(part => part.outerHTML.slice(0, 80))"
    )
    assert cut_off == []


def test_without_scripts_every_number_is_there(tab: Page, report: Path) -> None:
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(report)
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)
    shown = tab.run(
        "['#accuracy', '#matrix', '#class-table', '#clip-filters', '#clip-table', '.card-filters']"
        ".map(name => Boolean(document.querySelector(name)?.checkVisibility()))"
    )
    assert shown == [True, True, True, False, False, False]


def test_it_prints(page: Page) -> None:
    page.look(1280, dark=True)
    page.prefer("dark", media="print")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for name in ("nav", "audio", ".filters", "#clips"):
        assert not page.run(f"document.querySelector({name!r}).checkVisibility()")
    for name in ("#matrix", ".card img", "#class-table"):
        assert page.run(f"document.querySelector({name!r}).checkVisibility()")
    folded = page.run("document.querySelectorAll('details:not([open])').length")
    assert folded > 0
    page.run(
        "addEventListener('afterprint', () => { window.unfolded = window.before === 0; });"
        "addEventListener('beforeprint', () => {"
        "  window.before = document.querySelectorAll('details:not([open])').length; });"
    )
    pdf: Any = page.call("Page.printToPDF", printBackground=True)["data"]
    assert base64.b64decode(pdf).startswith(b"%PDF")
    assert page.run("window.unfolded")
    assert page.run("document.querySelectorAll('details:not([open])').length") == folded

"""What a reader's eye meets: dark players, words that agree, padding, curves of one epoch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spectro.crossval.run import Run
from spectro.pictures.settings import SpectrogramConfig
from spectro.report import charts, evidence
from spectro.report.write import write_report
from spectro.scores import plots
from tests.report.browser import browser
from tests.report.reports import make_predictions, make_run

LABELS = ["cat", "dog"]


@pytest.fixture(scope="module")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("looks")
    run = make_run(root / "run", make_predictions(24, LABELS), LABELS, root)
    return write_report(run).read_text()


def test_navigation_and_headings_use_the_same_words(page_of: str) -> None:
    links = dict(re.findall(r'<a href="#(\w+)">([^<]+)</a>', page_of))
    headings = dict(re.findall(r'<section id="(\w+)">\s*<h2>([^<]+)</h2>', page_of))
    assert links == headings
    assert len(links) == 11


def test_too_large_is_said_only_where_it_is(page_of: str) -> None:
    """No sound of this run is on disk."""
    assert "too large" not in page_of
    empty: Any = type("Empty", (), {"thumbnail": lambda self, row: {"s": "x" * 100}})()
    from spectro.report.write import _cell_media

    table = make_predictions(24, LABELS)
    assert _cell_media(table, empty, set(range(24)), evidence.Budget(500))[1]
    assert not _cell_media(table, empty, set(range(24)), evidence.Budget(50_000))[1]


def test_the_browser_s_own_parts_follow_the_dark(page_of: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page_of)
    with browser() as page:
        for dark in (False, True):
            page.look(1280, dark=dark)
            page.open(file)
            used = "getComputedStyle(document.querySelector('select')).backgroundColor"
            assert page.run("getComputedStyle(document.documentElement).colorScheme") == (
                "light dark"
            )
            seen = page.run(used)
            assert (sum(map(int, re.findall(r"\d+", seen)[:3])) < 300) == dark
        # a small matrix and the list of mistakes stand side by side
        tops = page.run(
            "['#matrix', '#confusions'].map(s => document.querySelector(s)"
            ".getBoundingClientRect().left)"
        )
        assert tops[1] > tops[0] + 100
        around = "document.querySelector('#confusions').parentElement"
        assert page.run(f"{around}.scrollWidth <= {around}.clientWidth")  # no column is cut


@pytest.mark.parametrize(
    ("pad", "seconds", "spans"),
    [
        ("zero", 1.0, [(0.25, 0.75)]),
        ("center", 2.0, [(0.0, 0.25), (0.75, 0.25)]),
        ("loop", 1.0, []),
        ("random", 1.0, []),
        ("zero", 4.0, []),
        ("zero", 9.0, []),
    ],
)
def test_padding_is_where_the_picture_has_no_sound(
    pad: str, seconds: float, spans: list[tuple[float, float]]
) -> None:
    config = SpectrogramConfig(pad=pad, hop_length=441, sr=22_050)
    assert evidence.padded(seconds, config) == spans
    from spectro.clips.waveform import fit
    from spectro.pictures.spectrogram import spectrogram_image

    y = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * config.sr)).astype(np.float32)
    rng = np.random.default_rng(0)
    levels = np.asarray(
        spectrogram_image(fit(y, config.n_samples, pad=config.pad, rng=rng), config)
    )
    silent = (levels == levels.min()).all(axis=0)
    at = (np.arange(silent.size) + 0.5) / silent.size
    inside = sum(((at > a) & (at < a + w) for a, w in spans), np.zeros(silent.size, dtype=bool))
    if pad != "random":
        assert np.mean(inside != silent) < 0.04  # windows reach over the edge


def test_the_share_of_a_map_in_padding() -> None:
    heat = np.array([[1.0, 0.0, 0.0, 3.0]])
    assert evidence._within(heat, [(0.75, 0.25)]) == pytest.approx(0.75)
    assert evidence._within(heat, [(0.0, 0.25), (0.75, 0.25)]) == pytest.approx(1)
    assert evidence._within(heat, []) == 0


def test_a_map_on_padding_is_remarked_on_and_padding_is_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = run.predictions()
    row = int(predictions.index[0])
    import torch

    from spectro.models.networks import gradcam

    def looks_right(network: Any, pixels: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        heat = torch.zeros(1, *pixels.shape[2:])
        heat[..., -10:] = 1
        return heat

    monkeypatch.setattr(gradcam, "gradcam", looks_right)
    showcase = evidence.Showcase(run, predictions)
    monkeypatch.setattr(evidence, "file_seconds", lambda path: 1.0)
    card = showcase.card(row)
    assert card["padding"] == [(0.25, 0.75)]
    assert card["overlay"]
    assert card["remark"].startswith("100 % of what speaks for")
    monkeypatch.setattr(evidence, "file_seconds", lambda path: 4.0)
    assert (showcase.card(row)["padding"], showcase.card(row)["remark"]) == ([], "")


def test_curves_of_one_epoch_are_points_over_whole_numbers() -> None:
    one = {"epoch": [1], "train_loss": [2.0], "valid_loss": [1.0], "accuracy": [0.5]}
    svg = str(charts.curves([{"fold": 1, **one}], ["accuracy"], "accuracy", share=True))
    assert "polyline" not in svg
    (x,) = re.findall(r'<circle class="line c0 point" cx="([\d.]+)"', svg)
    ticks = re.findall(
        r'<text class="tick" x="([\d.]+)"[^>]*text-anchor="middle">(\d+)</text>', svg
    )
    assert ticks == [(x, "1")]
    figure = plots.history({1: pd.DataFrame(one)}, "the scored fold")
    figure.canvas.draw()
    for axis in figure.axes:
        assert [text.get_text() for text in axis.get_xticklabels()] == ["1"]
        assert all(line.get_marker() == "o" for line in axis.lines)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_without_a_browser_the_path_is_said_and_nothing_else(tmp_path: Path) -> None:
    make_run(tmp_path / "run", make_predictions(24, LABELS), LABELS, tmp_path)
    bare = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "spectro", "report", "run", "--open"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=bare,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"report: {Path('run') / 'report.html'}"]

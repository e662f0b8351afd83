"""The curve of pretraining: its line and interval against chance itself, and runs end to end."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectro.pictures.rendered import RenderedSet
from spectro.training import recipes
from spectro.training.pretraining.pretrain import WEIGHTS, Pretraining
from spectro.training.pretraining.settings import PretrainConfig
from spectro.training.recipes import recipe
from spectro.training.settings import Phase

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("pretraining")


def test_a_line_without_scatter_is_found_again(bench: Any) -> None:
    slope, value, half = bench.line([1e4, 1e5, 3e5, 1e6], 40 + 5 * np.log10([1, 10, 30, 100]), 1e7)
    assert (slope, value, half) == pytest.approx((5, 55, 0), abs=1e-6)
    assert np.isnan(bench.line([1e4, 1e5], [40, 45], 1e6)[2])


def test_one_more_score_lies_in_the_interval_as_often_as_it_says(bench: Any) -> None:
    rng, sounds = np.random.default_rng(0), np.array([1e4, 3e4, 1e5, 3e5, 1e6])
    inside = 0
    for _ in range(1_000):
        scores = 40 + 5 * np.log10(sounds) + rng.normal(0, 2, 5)
        _, value, half = bench.line(sounds, scores, 1e7)
        inside += abs(40 + 5 * 7 + rng.normal(0, 2) - value) < half
    assert 930 < inside < 970  # 950 +- 3 standard deviations of a binomial


def row(name: str, sounds: int, measure: str, accuracy: float) -> dict[str, Any]:
    return {
        "name": name,
        "sounds": sounds,
        "weights": name,
        "measure": measure,
        "accuracy": accuracy,
    }


def test_rounds_are_averaged_once_all_are_there(bench: Any) -> None:
    rounds = [f"inner plain pics fold {fold} part 0" for fold in (1, 2)]
    rows = [row("a", 100, rounds[0], 0.5), row("a", 100, rounds[1], 0.7)]
    rows += [row("b", 1_000, rounds[0], 0.9), row("b", 1_000, "probe pics:1,2", 0.4)]
    found = bench.table(rows).set_index("name")
    assert found.loc["a", "inner plain pics"] == pytest.approx(60)
    assert np.isnan(found.loc["b", "inner plain pics"])
    assert found.loc["b", "probe pics:1,2"] == pytest.approx(40)


def test_networks_that_heard_nothing_are_no_points_of_the_line(bench: Any) -> None:
    rows = [row(f"{n}", n, "probe p:1,2", score) for n, score in ((0, 0.1), (10, 0.2), (100, 0.3))]
    (told,) = bench.lines(bench.table(rows), 1e3)
    assert told == ("probe p:1,2: +10.0 points for ten times the sounds; 40.0 % at 1,000")


def test_runs_are_probed_and_tuned_once_each(
    bench: Any,
    rendered: RenderedSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = []
    for sounds in (8, 16, 32):
        config = PretrainConfig(arch="cnn4", sounds=sounds, batch_size=8, precision="fp32")
        assert Pretraining(tmp_path / f"{sounds}", config, rendered.config).run()
        runs.append(str(tmp_path / f"{sounds}"))
    at, out = rendered.folder, tmp_path / "curve.jsonl"
    words = ["pretraining.py", *runs, "0=none", "--arch", "cnn4", "--out", str(out)]
    words += ["--probe", f"{at}:1,2", "--inner", str(at), "--recipe", "plain", "--parts", "1"]
    one = recipe("plain").replace(phases=(Phase(epochs=1),))
    monkeypatch.setitem(recipes.RECIPES, "plain", one)
    for share in ("0/2", "0/1", "0/1"):
        monkeypatch.setattr(sys, "argv", [*words, "--precision", "fp32", "--share", share])
        bench.main()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 4 + 4 * len(rendered.folds)  # none twice
    assert {row["weights"] for row in rows} == {*(f"{run}/{WEIGHTS}" for run in runs), "none"}
    told = capsys.readouterr().out.splitlines()[-2:]
    assert told[0].startswith(f"inner plain {at}: ")
    assert told[1].startswith(f"probe {at}:1,2: ")


def test_a_run_on_its_way_is_no_point(bench: Any, tmp_path: Path, rendered: RenderedSet) -> None:
    config = PretrainConfig(arch="cnn4", sounds=64, batch_size=8, precision="fp32")
    assert not Pretraining(tmp_path / "run", config, rendered.config).run(seconds=0)
    with pytest.raises(SystemExit, match="is not at its end; go on with it by spectro pretrain"):
        bench.start_of(str(tmp_path / "run"), "cnn4")

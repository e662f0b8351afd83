"""The screenings on inner folds: a fair lot, effects that are found again, a run end to end."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from spectro.pictures.read import read_levels
from spectro.pictures.rendered import RenderedSet
from spectro.training import train as training
from spectro.training.recipes import recipe
from spectro.training.settings import Phase

ROUNDS = list(itertools.product((1, 2, 10), range(4)))
LEVELS = {"mixup": [0, 0.4], "epochs": [8, 20], "size": [0, 64, 96]}


def opened(name: str) -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench() -> Any:
    return opened("ingredients")


def table(bench: Any, noise: float, runs: int = 72) -> pd.DataFrame:
    """Accuracies made of known changes: a round's own level, and some points an ingredient."""
    rng = np.random.default_rng(0)
    rows = []
    for drawn in bench.design(LEVELS, ROUNDS, runs):
        scored, part = drawn.pop("round")
        points = 40 + 3 * ROUNDS.index((scored, part)) + rng.normal(0, noise)
        points += 2 * (drawn["mixup"] == 0.4) - 5 * (drawn["size"] == 64)
        scores = {"accuracy": points / 100, "loss": 2 - points / 50}
        rows.append({"scored": scored, "part": part, **drawn, **scores})
    return pd.DataFrame(rows)


def test_every_value_is_drawn_as_often_and_the_lot_falls_alike_each_time(bench: Any) -> None:
    drawn = bench.design(LEVELS, ROUNDS, 72)
    assert drawn == bench.design(LEVELS, ROUNDS, 72)
    for name, values in {**LEVELS, "round": ROUNDS}.items():
        assert Counter(row[name] for row in drawn) == dict.fromkeys(values, 72 // len(values))
    both = Counter((row["mixup"], row["epochs"]) for row in drawn)
    assert min(both.values()) > 9  # not one with the other


def test_known_changes_are_found_again(bench: Any) -> None:
    found = bench.effects(table(bench, noise=0), LEVELS)
    assert found["ingredient"].tolist() == ["mixup", "epochs", "size", "size"]
    assert found["value"].tolist() == [0.4, 20, 64, 96]
    assert found["against"].tolist() == [0, 8, 0, 0]
    np.testing.assert_allclose(found["change"], [2, 0, -5, 0], atol=1e-9)
    np.testing.assert_allclose(found["loss"], [-0.04, 0, 0.1, 0], atol=1e-9)
    assert found["trainings"].tolist() == [36, 36, 24, 24]


def test_intervals_are_those_of_ordinary_least_squares(bench: Any) -> None:
    """Against the textbook: error = s * sqrt of the diagonal of (X'X)^-1, t with n - p freedom."""
    from scipy import stats

    results = table(bench, noise=3)
    x = np.array(
        [
            [*(float((r.scored, r.part) == p) for p in ROUNDS), r.mixup == 0.4, r.epochs == 20,
             r.size_ == 64, r.size_ == 96]
            for r in results.rename(columns={"size": "size_"}).itertuples()
        ],
        dtype=float,
    )  # fmt: skip
    y = 100 * results["accuracy"].to_numpy()
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ y
    variance = ((y - x @ beta) ** 2).sum() / (72 - 16)
    half = stats.t.ppf(0.975, 56) * np.sqrt(variance * np.diag(inverse))
    found = bench.effects(results, LEVELS)
    np.testing.assert_allclose(found["change"], beta[12:])
    np.testing.assert_allclose(found["interval"], half[12:])
    np.testing.assert_allclose(found["loss_interval"], half[12:] / 50)
    assert bench.effects(results.head(5), LEVELS)["interval"].isna().all()


@pytest.mark.parametrize(
    ("asked", "values"),
    [
        ("0,0.4", [0, 0.4]),
        ("1e-3,[1e-4,1e-3]", [1e-3, [1e-4, 1e-3]]),
        ("resnet18,cnn4", ["resnet18", "cnn4"]),
        ("auto,96", ["auto", 96]),
        ("cnn4", ["cnn4"]),
    ],
)
def test_values_are_numbers_lists_or_words(bench: Any, asked: str, values: list[Any]) -> None:
    assert bench.levels_of([f"name={asked}"]) == {"name": values}


def test_what_is_drawn_is_what_is_trained(bench: Any) -> None:
    drawn = {"epochs": 2, "lr": [1e-4, 1e-3], "frozen": 1, "mixup": 0.4, "weights": "none"}
    config = bench.settings_of("blog", drawn)
    assert [(p.epochs, p.frozen, p.lr) for p in config.phases[:2]] == [
        (1, True, 1e-3),
        (3, True, 1e-3),
    ]
    assert config.phases[-1] == Phase(epochs=2, lr=(1e-4, 1e-3))
    assert (config.mixup, config.weights, config.arch) == (0.4, "none", "resnet34")
    assert bench.settings_of("blog", {"frozen": 0}) == recipe("blog")
    assert bench.settings_of("plain", {"schedule": "flat"}).phases[-1].schedule == "flat"


def test_teachers_tell_their_mean_and_the_loss_is_against_it(bench: Any) -> None:
    """Against the sum over classes, written out."""
    torch.manual_seed(0)
    heads = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)) for _ in range(2)]
    x = torch.rand(5, 3, 2, 2)
    taught = bench.Taught(heads, temperature=2.0)
    with torch.no_grad():
        each = [torch.softmax(head(x).double() / 2, 1) for head in heads]
    np.testing.assert_allclose(taught.told(x), (each[0] + each[1]) / 2, atol=5e-3)  # bf16
    logits = torch.rand(5, 3, requires_grad=True)
    learn = SimpleNamespace(training=True, pred=logits, xb=(x,), loss=None, loss_grad=None)
    taught.learn = learn
    taught.after_loss()
    by_hand = -(taught.told(x) * torch.log_softmax(logits / 2, 1)).sum(1).mean() * 4
    assert learn.loss.item() == pytest.approx(by_hand.item())
    learn.loss_grad.backward()
    assert logits.grad is not None and logits.grad.abs().sum() > 0


@pytest.mark.slow
def test_teachers_are_trained_first_and_with_seeds_of_their_own(
    bench: Any, rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds, told = [], []
    real, ours = training.train, bench.Taught.after_loss

    def train(parts: Any, labels: Any, config: Any, *rest: Any, **more: Any) -> Any:
        seeds.append(config.seed)
        return real(parts, labels, config, *rest, **more)

    def after_loss(self: Any) -> None:
        told.append(len(self.teachers))
        ours(self)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(bench.Taught, "after_loss", after_loss)
    measure = bench.scores_of(rendered, "plain", {"arch": "cnn4", "weights": "none", "size": 32})
    found = measure(1, 0, {"teachers": 2, "epochs": 1, "seed": 3})
    assert seeds == [1_003, 2_003, 3]
    assert set(told) == {2}
    assert 0 <= found["accuracy"] <= 1


def test_batch_norm_of_the_body_is_kept(
    bench: Any, rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def predict(learn: Any, clips: pd.DataFrame) -> np.ndarray:
        trained.append(learn.model.state_dict())
        return np.full((len(clips), len(rendered.labels)), 1 / len(rendered.labels))

    monkeypatch.setattr("spectro.training.loop.learner.predict_clips", predict)
    measure = bench.scores_of(
        rendered, "plain", {"arch": "resnet18", "size": 32, "weights": "none"}
    )
    for norms in ("learned", "kept"):
        measure(1, 0, {"norms": norms, "epochs": 1})
    names = [n for n in trained[0] if n.startswith("0.") and n.endswith("bn1.running_mean")]
    assert len(names) > 4
    for name in names:
        weight = name.replace("running_mean", "weight")
        assert trained[0][name].any()
        assert (trained[0][weight] != 1).any()
        assert not trained[1][name].any()  # as torch makes them
        assert (trained[1][weight] == 1).all()


def test_another_rendering_must_have_the_same_clips(
    bench: Any, rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.drawn_as(rendered, None) is rendered
    assert bench.drawn_as(rendered, str(rendered.folder)).identity == rendered.identity
    fewer = replace(rendered, clips=rendered.clips.iloc[1:].reset_index(drop=True))
    with pytest.raises(SystemExit, match="has other clips than"):
        bench.drawn_as(fewer, str(rendered.folder))


def test_the_scored_fold_is_not_there_and_no_recording_is_on_both_sides(
    bench: Any, rendered: RenderedSet
) -> None:
    clips = rendered.clips
    watched = []
    for part in range(4):
        train, watch = bench.inner(clips, 2, part)
        assert set(train["fold"]) | set(watch["fold"]) <= {1, 3}
        assert not set(train["group"]) & set(watch["group"])
        assert len(train) + len(watch) == (clips["fold"] != 2).sum()
        watched += watch["path"].tolist()
    assert sorted(watched) == sorted(clips.loc[clips["fold"] != 2, "path"])


def test_it_trains_resumes_and_tells(
    bench: Any,
    rendered: RenderedSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "results.jsonl"
    words = ["ingredients.py", str(rendered.folder), "--try", "mixup=0,0.4", "--try", "epochs=1,2"]
    words += ["--try", "lr=1e-3,[1e-4,1e-3]", "--try", "frozen=0,1", "--parts", "2"]
    words += ["--try", "arch=cnn4", "--runs", "2", "--scored", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*words, "--share", "0/2"])
    bench.main()
    monkeypatch.setattr(sys, "argv", words)
    bench.main()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["number"] for row in rows] == [0, 1]
    assert {row["epochs"] for row in rows} == {1, 2}
    assert {row["scored"] for row in rows} == {2}  # the one that was asked for
    assert {row["part"] for row in rows} <= {0, 1}
    assert {row["frozen"] for row in rows} == {0, 1}
    assert sorted(str(row["lr"]) for row in rows) == ["0.001", "[0.0001, 0.001]"]
    assert all(0 <= row["accuracy"] <= 1 and row["loss"] > 0 for row in rows)
    assert "2 trainings" in capsys.readouterr().out
    for other in (["--recipe", "default"], ["--try", "mixup=0,0.2"], ["--runs", "3"]):
        monkeypatch.setattr(sys, "argv", [*words, *other])
        with pytest.raises(SystemExit, match="holds results of other settings; name another --out"):
            bench.main()


def test_frozen_networks_are_held_against_the_first(
    bench: Any,
    rendered: RenderedSet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "ingredients", bench)  # which it imports from its own folder
    frozen, at = opened("frozen"), rendered.folder
    words = ["frozen.py", "--weights", "none", f"one={at}:cnn4", f"three={at},{at},{at}:cnn4:32"]
    monkeypatch.setattr(sys, "argv", words)
    frozen.main()
    one, three = capsys.readouterr().out.splitlines()
    assert one.startswith("one: ")
    assert "points" not in one
    assert three.startswith("three: ")
    assert three.endswith(" points")


def test_three_renderings_are_red_green_and_blue(
    bench: Any, rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ingredients", bench)
    images = rendered.clips["image"].tolist()[:3]
    rows = list(zip(images, images[::-1], [images[0]] * 3, strict=True))
    pixels = opened("frozen")._reader(None)(rows).numpy()
    for column, drawn in enumerate(zip(*rows, strict=True)):
        np.testing.assert_array_equal(pixels[:, column], read_levels(list(drawn), None)[..., 0])

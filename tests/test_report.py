"""A run as a report: its numbers against scikit-learn, its size, what it does without media."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import typer
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)
from typer.testing import CliRunner

from spectro import gradcam
from spectro.cli.report import report as report_command
from spectro.config import SpectrogramConfig, TrainConfig
from spectro.errors import ModelError
from spectro.rendered import RenderedSet
from spectro.report import evidence, health
from spectro.report.write import write_report
from spectro.run import Run, probability_columns

LABELS = ["car horn", "dog_bark", "siren", "street music"]
MEGABYTE = 1_000_000


# ------------------------------------------------------------------------- runs, written by hand


def make_run(
    folder: Path, predictions: pd.DataFrame, labels: list[str], root: Path, **about: Any
) -> Run:
    """Write a run folder that holds these predictions, but no models."""
    folder.mkdir(parents=True)
    folds = sorted(int(fold) for fold in predictions["fold"].unique())
    record = {
        "train": TrainConfig(weights="none").to_dict(),
        "weights": {"source": "random", "detail": "random weights, as asked"},
        "precision": "fp32",
        "spectrogram": SpectrogramConfig().to_dict(),
        "dataset": {
            "name": "birds", "root": str(root), "folds": folds, "notes": [], "absent": [],
            "licence": "", "citation": "", "clips": len(predictions),
        },
        "rendered": {"folder": str(root / "pictures"), "identity": "0123456789abcdef"},
        "labels": labels,
        "environment": {"versions": {"python": "3"}, "platform": "any", "git_commit": None},
    }  # fmt: skip
    record["dataset"] |= about
    (folder / "run.json").write_text(json.dumps(record))
    for fold, part in predictions.groupby("fold"):
        place = folder / f"fold{fold}"
        place.mkdir()
        part.to_csv(place / "predictions.csv", index=False)
        (place / "fold.json").write_text(json.dumps({"fold": fold, "train_clips": 7}))
        history = {"epoch": [1, 2], "train_loss": [2.0, 1.0], "valid_loss": [2.5, 1.5]}
        pd.DataFrame({**history, "accuracy": [0.3, 0.5]}).to_csv(place / "history.csv", index=False)
    return Run.load(folder)


def make_predictions(clips: int, labels: list[str], *, folds: int = 3, seed: int = 0) -> Any:
    """Make up predictions: recordings of some clips each, well or badly recognised as a whole."""
    rng = np.random.default_rng(seed)
    source = np.sort(rng.integers(max(2, clips // 6), size=clips))
    truth = source % len(labels)
    logits = rng.normal(size=(clips, len(labels)))
    logits[np.arange(clips), truth] += 3.0 * (source % 5 > 1)
    probabilities = np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame(
        {
            "path": [f"audio/{s}-{i}.wav" for i, s in enumerate(source)],
            "label": [labels[t] for t in truth],
            "fold": 1 + source % folds,
            "group": [f"rec{s}" for s in source],
            "start": np.nan,
            "end": np.nan,
            "image": [f"fold1/{i}.png" for i in range(clips)],
            "predicted": [labels[p] for p in probabilities.argmax(axis=1)],
            "probability": probabilities.max(axis=1),
        }
    )
    columns = pd.DataFrame(probabilities, columns=probability_columns(labels))
    return pd.concat([table, columns], axis=1)


class Reading(HTMLParser):
    """Reads a page as a machine would: numbers by the elements they stand in, text, scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.numbers: dict[str, list[float]] = defaultdict(list)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._open: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = {name: value or "" for name, value in attrs}
        self.tags.append((tag, about))
        if tag == "data":
            for key in {key for _, key in self._open if key}:
                self.numbers[key].append(float(about["value"]))
        names = ("id", "data-class", "data-cell", *(("data-fold",) if tag == "tr" else ()))
        key = next((f"{n}={about[n]}" for n in names if n in about), "")
        if tag not in ("meta", "link", "img", "input", "br"):
            self._open.append((tag, key))

    def handle_endtag(self, tag: str) -> None:
        if any(name == tag for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        tag, key = self._open[-1] if self._open else ("", "")
        if tag == "script":
            self.scripts[key] = data
        elif tag != "style":
            self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 400 clips in three folds, whose sounds are gone."""
    root = tmp_path_factory.mktemp("made")
    return make_run(root / "run", make_predictions(400, LABELS), LABELS, root / "gone")


@pytest.fixture(scope="module")
def page(made: Run, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    out = tmp_path_factory.mktemp("page") / "report.html"
    return Reading(write_report(made, out).read_text(encoding="utf-8"))


@pytest.fixture
def trained(run: Run, tmp_path: Path) -> Run:
    """A copy of the run that was trained for the tests: with sounds, pictures and a model."""
    return Run.load(shutil.copytree(run.folder, tmp_path / "trained"))


# --------------------------------------------------------------------------------------- numbers


def test_the_headline_is_that_of_scikit_learn(made: Run, page: Reading) -> None:
    table = made.predictions()
    truth, predicted = table["label"], table["predicted"]
    assert page.numbers["id=accuracy"] == [pytest.approx(accuracy_score(truth, predicted))]
    macro = f1_score(truth, predicted, average="macro")
    assert page.numbers["id=macro-f1"] == [pytest.approx(macro)]
    by_fold = [accuracy_score(p["label"], p["predicted"]) for _, p in table.groupby("fold")]
    assert page.numbers["id=fold-mean"] == [pytest.approx(np.mean(by_fold))]
    assert page.numbers["id=fold-std"] == [pytest.approx(np.std(by_fold, ddof=1))]


def test_the_interval_is_that_of_recordings_drawn_one_by_one(made: Run, page: Reading) -> None:
    table = made.predictions()
    right = (table["label"] == table["predicted"]).groupby(table["group"]).agg(["sum", "size"])
    rng = np.random.default_rng(123)
    drawn = [right.sample(frac=1, replace=True, random_state=rng).sum() for _ in range(1000)]
    ends = np.percentile([draw["sum"] / draw["size"] for draw in drawn], [2.5, 97.5])
    assert page.numbers["id=accuracy-interval"] == pytest.approx(ends, abs=0.015)


def test_each_fold_is_scored_as_by_scikit_learn(made: Run, page: Reading) -> None:
    for fold, part in made.predictions().groupby("fold"):
        clips, sources, accuracy, low, high, macro, _, _, trained_on = page.numbers[
            f"data-fold={fold}"
        ]
        assert (clips, sources, trained_on) == (len(part), part["group"].nunique(), 7)
        assert accuracy == pytest.approx(accuracy_score(part["label"], part["predicted"]))
        assert macro == pytest.approx(f1_score(part["label"], part["predicted"], average="macro"))
        assert low < accuracy < high


def test_each_class_is_scored_as_by_scikit_learn(made: Run, page: Reading) -> None:
    table = made.predictions()
    expected = precision_recall_fscore_support(table["label"], table["predicted"], labels=LABELS)
    for place, label in enumerate(LABELS):
        clips, _, *scores = page.numbers[f"data-class={label}"]
        assert clips == expected[3][place]
        assert scores[::3] == pytest.approx([expected[i][place] for i in range(3)])
        for value, low, high in zip(scores[::3], scores[1::3], scores[2::3], strict=True):
            assert low <= value <= high


def test_the_matrix_is_that_of_scikit_learn(made: Run, page: Reading) -> None:
    table = made.predictions()
    counts = confusion_matrix(table["label"], table["predicted"], labels=LABELS)
    for (i, j), count in np.ndenumerate(counts):
        shown = page.numbers.get(f"data-cell={i},{j}", [0, 0])
        assert shown == [count, pytest.approx(count / counts[i].sum())]


def test_calibration_is_that_of_a_naive_count(made: Run, page: Reading) -> None:
    table = made.predictions()
    probabilities = table[probability_columns(LABELS)].to_numpy()
    right, sure = (table["label"] == table["predicted"]).to_numpy(), probabilities.max(axis=1)
    places = np.ceil(sure * 15).astype(int)
    ece = sum(
        abs(right[places == b].sum() - sure[places == b].sum()) for b in np.unique(places)
    ) / len(table)
    shown = page.numbers["id=calibration-table"]
    assert shown[0] == pytest.approx(ece)
    assert shown[1:3] == pytest.approx([sure.mean(), right.mean()])
    truth = np.eye(4)[[LABELS.index(label) for label in table["label"]]]
    assert shown[3] == pytest.approx(np.square(probabilities - truth).sum(axis=1).mean())
    assert shown[4] == pytest.approx(log_loss(table["label"], probabilities, labels=LABELS))
    assert page.numbers["id=tile-ece"] == shown[:1]


def test_the_page_holds_every_clip_as_the_csv_has_it(made: Run, page: Reading) -> None:
    clips, table = json.loads(page.scripts["id=clips-data"]), made.predictions()
    assert clips["all"] == len(table)
    told = pd.DataFrame({key: clips[key] for key in ("name", "fold", "p", "p_truth")})
    told["label"] = [clips["labels"][i] for i in clips["truth"]]
    told["predicted"] = [clips["labels"][i] for i in clips["predicted"]]
    told["group"] = [clips["sources"][i] for i in clips["source"]]
    for column in ("fold", "label", "predicted", "group"):
        assert told[column].tolist() == table[column].tolist()
    np.testing.assert_allclose(told["p"], table["probability"], atol=1e-6)
    expected = [row[f"p_{row['label']}"] for row in table.to_dict("records")]
    np.testing.assert_allclose(told["p_truth"], expected, atol=1e-6)
    assert [f"{made.record['dataset']['root']}/{name}" for name in told["name"]] == list(
        table["path"]
    )


def test_a_recording_that_fails_whole_is_one_finding(made: Run, page: Reading) -> None:
    table = made.predictions()
    right = (table["label"] == table["predicted"]).groupby(table["group"]).agg(["sum", "size"])
    failed = right[(right["sum"] == 0) & (right["size"] > 1)]
    count, clips, wrong = page.numbers["id=recordings"][:3]
    assert (count, clips) == (len(failed), failed["size"].sum())
    assert wrong == (table["label"] != table["predicted"]).sum()


# ------------------------------------------------------------------- which clips, and what of them


def test_no_recording_fills_the_list_of_mistakes(made: Run, page: Reading) -> None:
    cards = [about for tag, about in page.tags if tag == "article"]
    table = made.predictions()
    wrong = [int(card["data-id"]) for card in cards if "wrong" in card["class"]]
    assert len(wrong) == 24
    assert table.loc[wrong, "group"].value_counts().max() <= 2
    assert (table.loc[wrong, "label"] != table.loc[wrong, "predicted"]).all()
    assert table.loc[wrong, "probability"].is_monotonic_decreasing
    right = [int(card["data-id"]) for card in cards if "right" in card["class"]]
    assert (table.loc[right, "label"] == table.loc[right, "predicted"]).all()
    assert table.loc[right, "group"].is_unique


def test_sounds_pictures_and_maps_are_in_the_page(trained: Run, tmp_path: Path) -> None:
    page = Reading(write_report(trained, tmp_path / "r.html").read_text(encoding="utf-8"))
    cards = sum(tag == "article" for tag, _ in page.tags)
    pictures = [about["src"] for tag, about in page.tags if tag == "img"]
    sounds = [about["src"] for tag, about in page.tags if tag == "audio"]
    assert len(sounds) == cards > 0
    assert sum(uri.startswith("data:image/png") for uri in pictures) == cards  # spectrograms
    assert len(pictures) + page.text.count("Grad-CAM is empty here") == 2 * cards
    addresses = [value for _, about in page.tags for name, value in about.items() if name == "src"]
    assert all(address.startswith("data:") for address in addresses)
    media = json.loads(page.scripts["id=media-data"])
    assert len(media) + cards == len(trained.predictions())  # so few that all of them fit


def test_an_empty_map_is_explained(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradcam, "gradcam", lambda _, pixels, *__, **___: 0 * pixels[:, 0])
    text = write_report(trained).read_text(encoding="utf-8")
    assert "no part of the picture speaks for" in text
    assert "maps could not be made" not in text


def heard_in(uri: str) -> tuple[Any, int]:
    return sf.read(io.BytesIO(base64.b64decode(uri.split(",")[1])))


@pytest.mark.parametrize("pitch", [440, 3000, 7018])
def test_a_sound_is_mono_short_and_of_one_loudness(pitch: float) -> None:
    quiet = 0.001 * np.sin(2 * np.pi * pitch / 44100 * np.arange(44100 * 20)).astype(np.float32)
    y, sr = heard_in(evidence.mp3(quiet, 44100))
    assert (sr, y.ndim) == (22050, 1)
    assert len(y) / sr == pytest.approx(15, abs=0.1)
    assert 0.7 < np.abs(y).max() <= 1


def test_no_sound_is_clipped_in_the_player() -> None:
    """What MP3 leaves out of a square wave lets the rest overshoot by two fifths."""
    square = np.sign(np.sin(2 * np.pi * 3000 / 22050 * np.arange(22050))).astype(np.float32)
    noise = np.random.default_rng(0).choice(np.float32([-1, 1]), 22050)  # by more than threefold
    for sound in (square, noise):
        y, _ = heard_in(evidence.mp3(sound, 22050))
        assert 0.5 < np.abs(y).max() <= 1


def test_without_mp3_there_is_wav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sf, "available_formats", dict)
    assert evidence.mp3(np.zeros(100, dtype=np.float32), 8000).startswith("data:audio/wav;base64,")


# ------------------------------------------------------------------------------ what may be missing


def test_what_is_gone_is_told(page: Reading) -> None:
    assert "pictures could not be had" in page.text
    assert "sounds could not be had" in page.text
    assert "maps could not be made" in page.text
    assert "The sounds were not examined: the sounds are no longer where" in page.text
    assert not any(tag in ("img", "audio") for tag, _ in page.tags)


def test_pictures_are_drawn_again_from_the_sounds(trained: Run, tmp_path: Path) -> None:
    record = json.loads((trained.folder / "run.json").read_text())
    record["rendered"]["folder"] = str(tmp_path / "gone")
    (trained.folder / "run.json").write_text(json.dumps(record))
    shutil.rmtree(trained.folder / "fold1" / "model")
    text = write_report(Run.load(trained.folder)).read_text(encoding="utf-8")
    assert "data:image/png" in text
    assert "pictures could not be had" not in text
    assert "maps could not be made: the picture or the model of the fold" in text


def test_an_unfinished_cross_validation_is_not_the_whole_number(tmp_path: Path) -> None:
    one = make_predictions(30, LABELS, folds=1)
    run = make_run(tmp_path / "run", one, LABELS, tmp_path, folds=[1, 2, 3])
    page = Reading(write_report(run).read_text(encoding="utf-8"))
    assert "This is not the 3-fold number" in page.text
    assert "one fold has no spread" in page.text
    assert "spectro train-fold pictures --fold 1" in page.text


@pytest.mark.parametrize("skill", [0.0, 1.0])
def test_all_wrong_or_all_right_is_a_report(tmp_path: Path, skill: float) -> None:
    table = make_predictions(20, LABELS)
    table["group"], table["label"] = "one", LABELS[0]  # a single class and recording
    table["predicted"] = LABELS[0] if skill else LABELS[1]
    run = make_run(tmp_path / "run", table, LABELS, tmp_path)
    page = Reading(write_report(run).read_text(encoding="utf-8"))
    assert page.numbers["id=accuracy"] == [skill]
    assert page.numbers["id=accuracy-interval"] == []
    assert "There is none" in page.text


def test_a_run_without_a_fold_has_no_report(made: Run, tmp_path: Path) -> None:
    shutil.copy(made.folder / "run.json", tmp_path)
    with pytest.raises(ModelError, match="no fold is finished"):
        write_report(Run.load(tmp_path))


def test_the_leaking_split_says_what_it_is(tmp_path: Path) -> None:
    table = make_predictions(40, LABELS)
    outer = make_run(tmp_path / "run", table, LABELS, tmp_path)
    inner = make_run(outer.folder / "random-split", table, LABELS, tmp_path)
    text = write_report(outer).read_text(encoding="utf-8")
    assert "A split at random would claim" in text
    assert "--compare-random-split" in text
    assert "This is not an honest score" in write_report(inner).read_text(encoding="utf-8")


# ------------------------------------------------------------------------- names, size, sameness


def test_hostile_names_are_only_names(tmp_path: Path) -> None:
    labels = [
        "</script><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7*7 }} & 🐦",
    ]
    table = make_predictions(60, labels)
    names = [f"<b onclick=x>{i}&amp;\"'\u2028é🦉.wav" for i in range(60)]
    table["path"], table["group"] = names, [f"<i>{g}</i>'\"" for g in table["group"]]
    for name in names:
        sf.write(tmp_path / name, np.zeros(2205), 22050)
    run = make_run(tmp_path / "run", table, sorted(labels), tmp_path, name="<u>birds</u>")
    page = Reading(write_report(run).read_text(encoding="utf-8"))
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    assert not any(tag == "u" for tag, _ in page.tags)
    assert all(about.get("src", "data:").startswith("data:") for _, about in page.tags)
    assert not {"onerror", "onclick"} & {name for _, about in page.tags for name in about}
    clips = json.loads(page.scripts["id=clips-data"])
    assert sorted(clips["name"]) == sorted(names)
    assert clips["labels"] == sorted(labels)
    assert "49 & " not in page.text
    assert any(name in page.text for name in names)  # on a card
    assert sum(tag == "audio" for tag, _ in page.tags) > 0


def test_a_large_run_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many clips as UrbanSound8K has, of 50 classes, with media of 60 kB each."""
    labels = [f"class {i:02} with a name that is not short" for i in range(50)]
    table = make_predictions(8732, labels, folds=10)
    run = make_run(tmp_path / "run", table, labels, tmp_path)
    card = {"picture": 20_000 * "p", "overlay": 10_000 * "o", "sound": 30_000 * "s", "remark": ""}
    monkeypatch.setattr(evidence.Showcase, "card", lambda *_: dict(card))
    monkeypatch.setattr(evidence.Showcase, "thumbnail", lambda *_: {"p": card["sound"] * 2})
    path = write_report(run)
    assert path.stat().st_size < 15 * MEGABYTE
    page = Reading(path.read_text(encoding="utf-8"))
    assert len(json.loads(page.scripts["id=clips-data"])["id"]) == 8732
    assert sum(about.get("scope") == "row" for _, about in page.tags) > 100  # matrix, classes
    shown = [int(row) for row in json.loads(page.scripts["id=media-data"])]
    table = run.predictions()
    assert 50 < len(shown) < 110
    assert (table.loc[shown, "label"] != table.loc[shown, "predicted"]).all()  # mistakes first
    assert len(table.loc[shown].value_counts(["label", "predicted"])) == len(shown)  # cell by cell


def test_names_that_do_not_fit_are_left_out_and_told(tmp_path: Path) -> None:
    table = make_predictions(2000, LABELS)
    table["path"] = [f"{i}-" + 4000 * "x" for i in range(len(table))]
    run = make_run(tmp_path / "run", table, LABELS, tmp_path)
    path = write_report(run)
    assert path.stat().st_size < 15 * MEGABYTE
    page = Reading(path.read_text(encoding="utf-8"))
    clips = json.loads(page.scripts["id=clips-data"])
    assert 0 < len(clips["id"]) < 2000 == clips["all"]
    assert "of 2,000 clips are listed" in page.text
    wrong = (table["label"] != table["predicted"]).sum()
    listed = np.array(clips["truth"]) != np.array(clips["predicted"])
    assert listed.sum() == min(wrong, len(listed))  # mistakes are the last to go


def test_the_same_run_gives_the_same_bytes(trained: Run, tmp_path: Path) -> None:
    first, second = (write_report(trained, tmp_path / f"{i}.html") for i in range(2))
    assert first.read_bytes() == second.read_bytes()


def test_no_folder_of_this_machine_is_in_the_page(trained: Run, rendered: RenderedSet) -> None:
    record = {**trained.record, "weights": {"source": "file", "detail": "start.safetensors, sha256"}}
    record["train"] = {**record["train"], "weights": "/home/me/start.safetensors"}
    text = write_report(Run(trained.folder, record)).read_text(encoding="utf-8")
    assert "weights = &#34;start.safetensors&#34;" in text
    assert "/home/me" not in text
    for folder in (trained.folder, rendered.folder, Path(rendered.dataset["root"])):
        assert str(folder.parent) not in text


# ------------------------------------------------------------------------ the data, and the command


def test_the_doctor_is_asked_once(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = trained.predictions()
    first = health.examine(trained, predictions)
    assert first["clips"] == 36  # of all folds, not only the scored one
    assert not first["absence"]
    monkeypatch.setattr(health, "check", None)
    assert health.examine(trained, predictions) == first
    record = {**trained.record, "rendered": {**trained.record["rendered"], "identity": "other"}}
    with pytest.raises(TypeError):  # other clips are examined anew
        health.examine(Run(trained.folder, record), predictions)


def test_a_damaged_memory_of_the_doctor_is_examined_anew(trained: Run) -> None:
    (trained.folder / "doctor.json").write_text("{")
    assert health.examine(trained, trained.predictions())["clips"] == 36
    assert json.loads((trained.folder / "doctor.json").read_text())["clips"] == 36


def test_the_settings_on_the_page_are_those_of_the_run(trained: Run, tmp_path: Path) -> None:
    page = Reading(write_report(trained).read_text(encoding="utf-8"))
    toml = page.text[page.text.index("[spectrogram]") : page.text.index("Versions\n")]
    (tmp_path / "settings.toml").write_text(toml)
    assert TrainConfig.from_toml(tmp_path / "settings.toml") == trained.config
    spectrogram = SpectrogramConfig.from_toml(tmp_path / "settings.toml")
    assert spectrogram.to_dict() == trained.record["spectrogram"]


def test_the_command_writes_the_report(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()
    app.command()(report_command)
    done = CliRunner().invoke(app, [str(trained.folder)])
    assert done.exit_code == 0, done.output
    assert (trained.folder / "report.html").is_file()
    assert done.output == f"report: {trained.folder / 'report.html'}\n"
    (tmp_path / "runs").mkdir()
    (trained.folder / "scores.json").touch()
    shutil.move(trained.folder, tmp_path / "runs" / "last")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["--out", "other.html"])
    assert done.output == "report: other.html\n"
    assert "report of the run last" in (tmp_path / "other.html").read_text(encoding="utf-8")

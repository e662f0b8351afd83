"""A run as a report: which clips it shows, its size, what it does without media."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import typer
from typer.testing import CliRunner

from spectro.cli.results import report as report_command
from spectro.crossval.records import Origin
from spectro.crossval.run import Run
from spectro.errors import ModelError
from spectro.models.networks import gradcam
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.report import evidence, health
from spectro.report.write import write_report
from spectro.scores.metrics import probability_columns
from spectro.training.settings import TrainConfig
from tests.report.reports import LABELS, Reading, make_predictions, make_run

pytestmark = pytest.mark.slow

MEGABYTE = 1_000_000


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
    columns = probability_columns(LABELS)
    table[columns] = 0.0
    table[columns[0 if skill else 1]] = table["probability"] = 1.0
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


@pytest.mark.long
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


@pytest.mark.long
def test_the_same_run_gives_the_same_bytes(trained: Run, tmp_path: Path) -> None:
    first, second = (write_report(trained, tmp_path / f"{i}.html") for i in range(2))
    assert first.read_bytes() == second.read_bytes()


def test_no_folder_of_this_machine_is_in_the_page(trained: Run, rendered: RenderedSet) -> None:
    origin = Origin(source="file", detail="start.safetensors, sha256")
    config = trained.config.replace(weights="/home/me/start.safetensors")
    record = trained.record.model_copy(update={"weights": origin, "train": config})
    text = write_report(Run(trained.folder, record)).read_text(encoding="utf-8")
    assert "weights = &#34;start.safetensors&#34;" in text
    assert "/home/me" not in text
    for folder in (trained.folder, rendered.folder, Path(rendered.dataset.root)):
        assert str(folder.parent) not in text


# ------------------------------------------------------------------------ the data, and the command


def test_the_doctor_is_asked_once(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = trained.predictions()
    first = health.examine(trained, predictions)
    assert first.clips == 36  # of all folds, not only the scored one
    assert not first.absence
    monkeypatch.setattr(health, "check", None)
    assert health.examine(trained, predictions) == first
    other = trained.record.rendered.model_copy(update={"identity": "other"})
    record = trained.record.model_copy(update={"rendered": other})
    with pytest.raises(TypeError):  # other clips are examined anew
        health.examine(Run(trained.folder, record), predictions)


def test_a_damaged_memory_of_the_doctor_is_examined_anew(trained: Run) -> None:
    (trained.folder / "doctor.json").write_text("{")
    assert health.examine(trained, trained.predictions()).clips == 36
    assert json.loads((trained.folder / "doctor.json").read_text())["clips"] == 36


def test_the_settings_on_the_page_are_those_of_the_run(trained: Run, tmp_path: Path) -> None:
    page = Reading(write_report(trained).read_text(encoding="utf-8"))
    toml = page.text[page.text.index("[spectrogram]") : page.text.index("Versions\n")]
    (tmp_path / "settings.toml").write_text(toml)
    assert TrainConfig.from_toml(tmp_path / "settings.toml") == trained.config
    spectrogram = SpectrogramConfig.from_toml(tmp_path / "settings.toml")
    assert spectrogram == trained.spectrogram


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

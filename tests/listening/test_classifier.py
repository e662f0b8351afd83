"""Prediction from a model folder alone: any container, any rate, and what cannot be loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import librosa
import numpy as np
import pytest
import safetensors.torch
import soundfile as sf
import torch

from spectro.crossval.run import Run
from spectro.errors import AudioError, ModelError
from spectro.listening.classifier import Classifier
from spectro.models.folder import load_model


@pytest.fixture(scope="module")
def classifier(run: Run) -> Classifier:
    return Classifier.load(run.folder / "fold1" / "model")


@pytest.fixture(scope="module")
def sure(run: Run) -> tuple[Path, str]:
    """A clip that the network is sure of, and what it said."""
    best = run.predictions().sort_values("probability").iloc[-1]
    return Path(best["path"]), best["predicted"]


@pytest.mark.parametrize("sr", [16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("container", ["wav", "flac", "ogg", "mp3"])
def test_one_sound_has_one_label_in_every_container(
    classifier: Classifier,
    sure: tuple[Path, str],
    tmp_path: Path,
    container: str,
    channels: int,
    sr: int,
) -> None:
    path, label = sure
    y, _ = librosa.load(path, sr=sr)
    copy = tmp_path / f"copy.{container}"
    sf.write(copy, 0.9 * np.repeat(y[:, np.newaxis], channels, axis=1), sr)
    heard = classifier.predict([copy])
    assert heard["label"].tolist() == [label]


def test_probabilities_do_not_depend_on_company(classifier: Classifier, run: Run) -> None:
    paths = run.predictions()["path"].tolist() * 4  # more than a batch
    together = classifier.predict(paths)
    alone = classifier.predict(paths[:1])
    assert together["path"].tolist() == paths
    np.testing.assert_allclose(together["probability"][0], alone["probability"][0], atol=1e-5)
    columns = [f"p_{label}" for label in classifier.labels]
    np.testing.assert_allclose(together[columns].sum(axis=1), 1, atol=1e-5)


def test_a_broken_file_is_told_and_the_others_are_heard(
    classifier: Classifier, sure: tuple[Path, str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("not sound")
    with pytest.raises(AudioError, match=r"broken\.wav"):
        classifier.predict([sure[0], broken])
    failures: list[AudioError] = []
    heard = classifier.predict([broken, sure[0], broken], failed=failures.append)
    assert heard["label"].tolist() == [sure[1]]
    assert len(failures) == 2


def test_nothing_to_hear_gives_an_empty_table(classifier: Classifier) -> None:
    heard = classifier.predict([])
    assert len(heard) == 0
    columns = ["path", "label", "probability", "known", "trained_on"]
    assert heard.columns[:5].tolist() == columns


def test_tables_tell_what_is_unknown(run: Run, tmp_path: Path) -> None:
    """A loop over windows must not take silence for the class that it resembles."""
    folder = tmp_path / "model"
    shutil.copytree(run.folder / "fold1" / "model", folder)
    card = json.loads((folder / "model.json").read_text())
    card["unknown"] = {"method": "probability", "threshold": 1.1, "auroc": 0.9}
    (folder / "model.json").write_text(json.dumps(card))
    sf.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    classifier = Classifier.load(folder)
    assert classifier.predict([tmp_path / "silence.wav"])["known"].tolist() == [False]
    assert not classifier.predict_long(tmp_path / "silence.wav")["known"].any()
    assert "trained_on" not in classifier.predict_long(tmp_path / "silence.wav")


def test_spectrogram_settings_come_from_the_model_folder(
    run: Run, sure: tuple[Path, str], tmp_path: Path
) -> None:
    other = tmp_path / "model"
    shutil.copytree(run.folder / "fold1" / "model", other)
    card = json.loads((other / "model.json").read_text())
    card["spectrogram"]["top_db"] = 40
    (other / "model.json").write_text(json.dumps(card))
    paths = run.predictions()["path"]
    here = Classifier.load(run.folder / "fold1" / "model").predict(paths)
    there = Classifier.load(other).predict(paths)
    assert np.abs(here["probability"] - there["probability"]).max() > 1e-3


def test_a_model_folder_can_be_moved_and_needs_nothing_else(
    run: Run, sure: tuple[Path, str], tmp_path: Path
) -> None:
    shutil.copytree(run.folder / "fold1" / "model", tmp_path / "elsewhere")
    assert Classifier.load(tmp_path / "elsewhere").predict([sure[0]])["label"][0] == sure[1]


def damage(folder: Path, how: str) -> None:
    tensors = folder / "model.safetensors"
    if how == "no folder":
        shutil.rmtree(folder)
    elif how == "no tensors":
        tensors.unlink()
    elif how == "cut tensors":
        tensors.write_bytes(tensors.read_bytes()[:5000])
    elif how == "other tensors":
        safetensors.torch.save_file({"weight": torch.zeros(3)}, tensors)
    elif how == "card is no JSON":
        (folder / "model.json").write_text("{")
    elif how == "card of the future":
        card = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps({**card, "format": 2}))


@pytest.mark.parametrize("how", ["no folder", "no tensors", "cut tensors", "other tensors",
                                 "card is no JSON", "card of the future"])  # fmt: skip
def test_a_damaged_model_folder_is_named_in_one_line(run: Run, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(run.folder / "fold1" / "model", folder)
    damage(folder, how)
    with pytest.raises(ModelError) as error:
        load_model(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)

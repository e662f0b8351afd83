"""The spoken-digits pipeline from files to a score, on tones that stand for digits and speakers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from PIL import Image
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval.run import Run
from spectro.errors import ConfigError
from spectro.models.folder import load_model
from spectro.pictures.rendered import RenderedSet
from spectro.scores import breakdown
from spectro.training import splits
from spectro.training.recipes import RECIPES, SPECTROGRAMS, recipe, recipe_spectrogram

SPEAKERS = {"ada": 1.0, "ben": 1.1, "cleo": 0.9}  # how high each speaks
SR = 8_000
QUICK = ("--recipe", "digits", "--epochs", "2", "--batch-size", "8")


def spectro(*words: str | Path | float, status: int = 0, warned: str = "") -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == status, (done.output, done.exception)
    assert warned in " ".join(done.stderr.split())
    return done.stdout


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 clips: 3 digits, each a chord, of 3 speakers, 4 takes, as the real ones are named."""
    folder = tmp_path_factory.mktemp("digits") / "recordings"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for digit in range(3):
        for speaker, pitch in SPEAKERS.items():
            for take in range(4):
                time = np.arange(int(SR * rng.uniform(0.2, 0.4))) / SR
                y = sum(np.sin(2 * np.pi * pitch * (400 + 500 * digit) * k * time) for k in (1, 2))
                y = 0.2 * y + 0.01 * rng.standard_normal(len(time))
                sf.write(folder / f"{digit}_{speaker}_{take}.wav", y, SR)
    return folder


@pytest.fixture(scope="module")
def pictures(recordings: Path) -> Path:
    out = recordings.parent / "pictures"
    words = ("--recipe", "digits", "--sr", SR, "--duration", 1, "--workers", 1)
    spectro("render", recordings, "--out", out, *words)
    return out


@pytest.fixture(scope="module")
def random_run(pictures: Path) -> Path:
    run = pictures.parent / "random"
    words = (*QUICK, "--random-share", 0.25, "--run", run)
    spectro("train-fold", pictures, *words, warned="not an honest score")
    return run


def test_the_recipe_brings_its_pictures_and_flags_change_them(pictures: Path) -> None:
    config = RenderedSet.load(pictures).config
    assert config == SPECTROGRAMS["digits"].replace(sr=SR, duration=1)
    with Image.open(next(pictures.glob("fold1/*.png"))) as picture:
        assert (picture.mode, picture.size) == ("RGB", (16, 64))


@pytest.mark.slow
def test_a_settings_file_goes_over_the_recipe(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[spectrogram]\nsr = 8000\nduration = 0.25\nn_mels = 32\n")
    words = ("--recipe", "digits", "--config", tmp_path / "a.toml", "--n-mels", 16)
    spectro("render", recordings, "--out", tmp_path / "out", *words, "--workers", 1)
    expected = SPECTROGRAMS["digits"].replace(sr=8_000, duration=0.25, n_mels=16)
    assert RenderedSet.load(tmp_path / "out").config == expected


def test_the_recipe_is_the_articles() -> None:
    digits = recipe("digits")
    assert (digits.arch, digits.weights, digits.batch_size, digits.epochs) == (
        "cnn4",
        "none",
        16,
        5,
    )
    assert (digits.phases[0].lr, digits.weight_decay) == (1e-2, 0)
    assert digits.shift > 0
    assert digits.time_masks >= 1
    assert digits.freq_masks >= 1
    pictures = recipe_spectrogram("digits")
    assert (pictures.n_mels, pictures.n_fft, pictures.sr, pictures.duration) == (
        64, 1_024, 44_100, 4.0)  # fmt: skip
    assert (pictures.channels, pictures.top_db, pictures.pad) == ("both", 80, "random")
    assert set(SPECTROGRAMS) <= set(RECIPES)
    with pytest.raises(ConfigError, match="unknown recipe 'digit'"):
        recipe_spectrogram("digit")


def test_a_random_share_is_scored_and_said_to_be_no_honest_score(random_run: Path) -> None:
    run = Run.load(random_run)
    scores = run.scores()
    assert scores.clips == 9  # 3 of each digit
    assert scores.protocol[0].startswith("A RANDOM SPLIT, NOT AN HONEST SCORE: 3 of 3")
    assert "25 % of the clips" in scores.protocol[1]
    assert run.record.dataset.random_share == 0.25
    assert run.finished_folds == [1]
    predictions = run.predictions()
    assert predictions["label"].value_counts().tolist() == [3, 3, 3]
    accuracy = (predictions["label"] == predictions["predicted"]).mean()
    assert scores.accuracy == pytest.approx(accuracy)


def test_each_speaker_has_a_row(random_run: Path) -> None:
    predictions = Run.load(random_run).predictions()
    groups = pd.DataFrame(Run.load(random_run).scores().groups)
    assert groups["group"].tolist() == sorted(predictions["group"].unique())
    for row in groups.itertuples():
        part = predictions[predictions["group"] == row.group]
        assert row.clips == len(part)
        assert row.accuracy == pytest.approx((part["label"] == part["predicted"]).mean())


def test_groups_of_one_class_have_no_table() -> None:
    table = pd.DataFrame({"label": list("aabb"), "predicted": list("aaba"), "group": list("wxyz")})
    assert breakdown.by_group(table).empty
    assert len(breakdown.by_group(table.assign(group=list("wxwx")))) == 2
    assert breakdown.by_group(table.assign(group="w")).empty


def test_the_training_log_says_it_all(random_run: Path) -> None:
    log = (random_run / "fold1" / "training.log").read_text()
    history = pd.read_csv(random_run / "fold1" / "history.csv")
    model, _ = load_model(random_run / "fold1" / "model")
    total = sum(p.numel() for p in model.parameters())
    assert f"cnn4, {total:,} parameters" in log
    assert "trained on: 27 clips of 3 recordings (0 9, 1 9, 2 9)" in log
    assert "scored: 9 clips of 3 recordings (0 3, 1 3, 2 3)" in log
    assert "Adam, no weight decay; batches of 8; seed 0" in log
    assert "phase 1: 2 epochs of the whole network, rate 0.01, one_cycle" in log
    layers = re.findall(r"^(\S+) +([\d,]+)  (Conv2d|BatchNorm2d|Linear)\(", log, re.MULTILINE)
    assert sum(int(count.replace(",", "")) for _, count, _ in layers) == total
    assert len(layers) == 9
    *_, header, first, last = log.splitlines()
    assert header.split() == list(history.columns)
    for line, row in ((first, history.iloc[0]), (last, history.iloc[1])):
        np.testing.assert_allclose([float(x) for x in line.split()], row, rtol=1e-4, atol=1e-6)


def test_the_model_predicts_the_files_that_it_was_scored_on(random_run: Path) -> None:
    predictions = Run.load(random_run).predictions()
    told = spectro("predict", random_run / "fold1" / "model", *predictions["path"], "--json")
    heard = [json.loads(line) for line in told.splitlines()]
    assert [row["label"] for row in heard] == predictions["predicted"].tolist()
    np.testing.assert_allclose(
        [row["probability"] for row in heard], predictions["probability"], atol=1e-4
    )


@pytest.mark.slow
def test_speakers_are_the_folds_of_the_honest_score(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        '[train]\nsource = "sounds"\nplace = true\nwave_shift = 0.2\nweight_decay = 0.0\n'
    )
    words = (*QUICK, "--config", tmp_path / "a.toml", "--run", tmp_path / "run")
    told = spectro("cross-validate", pictures, *words)
    scores = Run.load(tmp_path / "run").scores()
    assert [row["group"] for row in scores.groups] == ["ada", "ben", "cleo"]
    assert [row["accuracy"] for row in scores.groups] == [
        pytest.approx(fold["accuracy"]) for fold in scores.folds
    ]
    assert "RANDOM" not in " ".join(scores.protocol)
    assert re.search(r"group +clips +accuracy", told)


def test_either_a_fold_or_a_random_share_is_scored(pictures: Path) -> None:
    spectro("train-fold", pictures, *QUICK, status=2)
    spectro("train-fold", pictures, *QUICK, "--fold", 1, "--random-share", 0.2, status=2)


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5, 0.01])
def test_a_share_that_cannot_be_drawn_is_refused(pictures: Path, share: float) -> None:
    with pytest.raises(ConfigError, match="random share"):
        splits.random_share(RenderedSet.load(pictures), share, seed=0)


def test_another_seed_draws_another_share(pictures: Path) -> None:
    rendered = RenderedSet.load(pictures)
    folds = [splits.random_share(rendered, 0.25, seed=seed).clips["fold"] for seed in (0, 0, 1)]
    assert folds[0].equals(folds[1])
    assert not folds[0].equals(folds[2])
    assert rendered.clips["fold"].nunique() == 3, "the folds of the dataset stay"
    identities = {splits.random_share(rendered, 0.25, seed=s).identity for s in (0, 1)}
    assert len(identities | {rendered.identity}) == 3

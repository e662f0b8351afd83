"""A clip that a model was trained on is known again, whatever its file is called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval.run import Run
from spectro.errors import ModelError
from spectro.listening.classifier import Classifier
from spectro.models.trained_on import TRAINED_ON, mark_of, marks_of, read_marks
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image


def model_of(run: Run) -> Path:
    return run.folder / "fold1" / "model"


def test_clips_of_the_training_folds_are_marked_and_those_of_the_scored_one_are_not(
    run: Run, rendered: RenderedSet
) -> None:
    classifier = Classifier.load(model_of(run))
    told = {answer.path: answer.trained_on for answer in classifier.classify(rendered.clips.path)}
    assert [told[path] for path in rendered.clips.path] == [*(rendered.clips.fold != 1)]


def test_the_file_may_have_another_name_and_form(
    run: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    clips = rendered.clips.set_index("fold").path
    heard, new = tmp_path / "heard.flac", tmp_path / "new.wav"
    y, sr = sf.read(clips.loc[2].iloc[0], dtype="int16")
    sf.write(heard, y, sr)
    shutil.copy(clips.loc[1].iloc[0], new)
    words = ["predict", str(model_of(run)), str(heard), str(new), "--format", "jsonl"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0
    assert [json.loads(line)["trained_on"] for line in said.stdout.splitlines()] == [True, False]
    assert f"1 of 2 files trained this model ({heard})" in said.stderr.replace("\n", "")


def test_of_new_sounds_alone_nothing_is_said(run: Run, rendered: RenderedSet) -> None:
    new = rendered.clips.path[rendered.clips.fold == 1]
    said = CliRunner().invoke(app, ["predict", str(model_of(run)), *new])
    assert "trained" not in said.stderr


def test_silence_is_like_any_other(tmp_path: Path) -> None:
    config = SpectrogramConfig(n_mels=16, duration=0.5)
    y = np.zeros(11_025)
    sf.write(tmp_path / "silent.wav", y, 22_050)
    y[3_000:3_050] = 0.5
    sf.write(tmp_path / "click.wav", y, 22_050)
    names = [f"{tmp_path}/{name}.png" for name in ("silent", "click")]
    for name in names:
        clip_image(name.replace("png", "wav"), config).save(name)
    click = mark_of(clip_image(tmp_path / "click.wav", config), config)
    assert marks_of(names, config) == [click]


@pytest.mark.parametrize("channels", ["mean", "both"])
def test_marks_are_those_of_the_pictures_as_drawn(channels: str, tmp_path: Path) -> None:
    config = SpectrogramConfig(n_mels=16, duration=0.5, channels=channels)
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "noise.wav", 0.1 * rng.standard_normal((11_025, 2)), 22_050)
    image = clip_image(tmp_path / "noise.wav", config)
    image.save(tmp_path / "noise.png")
    assert marks_of([f"{tmp_path}/noise.png"] * 2, config) == [mark_of(image, config)]


@pytest.mark.parametrize("text", ["0123456789abcdeg\n", "0123456789abcde\n", "\n", "\xff" * 16])
def test_a_list_of_something_else_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / TRAINED_ON).write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match="line 1 is no mark"):
        read_marks(tmp_path)


def test_a_model_without_a_list_has_no_marks_and_a_link_is_not_followed(tmp_path: Path) -> None:
    assert read_marks(tmp_path) == frozenset()
    (tmp_path / "elsewhere").write_text("0123456789abcdef\n")
    (tmp_path / TRAINED_ON).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="symbolic link"):
        read_marks(tmp_path)

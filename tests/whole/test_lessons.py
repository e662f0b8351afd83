"""What the notebooks work on: small parts, made once, and cards to see and hear."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import lessons
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from lessons import BACKGROUND, write_folder, write_recording

from spectro import notebook as jupyter
from spectro.clips import datasets
from spectro.clips import waveform as audio
from spectro.clips.sample.write import write_sample
from spectro.errors import ConfigError


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECTRO_LESSONS", "tiny")


def test_an_unknown_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECTRO_LESSONS", "huge")
    with pytest.raises(ConfigError, match=r"SPECTRO_LESSONS=huge: there are small, tiny"):
        lessons.size()


def test_without_urbansound8k_the_sample_is_made_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = lessons.dataset(tmp_path)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    assert first.name == "sample"
    assert len(first.clips) == len(made) == 36
    lessons.dataset(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")} == made
    assert "sample: 36 clips, 3 classes, folds 1, 2, 3" in capsys.readouterr().out


@pytest.mark.slow
def test_of_urbansound8k_a_part_is_taken_and_said_to_be_one(tmp_path: Path) -> None:
    root = write_sample(tmp_path / "data", sources=3, slices=3, folds=4,
                        classes=("dog_bark", "siren", "street_music"))  # fmt: skip
    (root / "sample.json").unlink()  # what tells the two apart
    part = lessons.dataset(tmp_path)
    assert part.name == "urbansound8k"
    assert set(part.clips["fold"]) == {1, 2, 3}
    assert set(part.clips["label"]) == {"dog_bark", "siren"}
    recordings = part.clips.groupby(["fold", "label"])["group"]
    assert (recordings.nunique() == 2).all()
    assert (part.clips.groupby("group").size() == 2).all()
    assert "only 24 of its 108 clips, for the notebooks" in part.notes
    assert part.folds == (1, 2, 3, 4), "the score must say that a fold is missing"


def test_own_sounds_are_the_users_where_there_are_any(tmp_path: Path) -> None:
    mine = tmp_path / "data" / "my-sounds"
    mine.mkdir(parents=True)
    (tmp_path / "data" / "night of 3 May.FLAC").touch()
    assert lessons.own_sounds(tmp_path) == mine
    assert lessons.long_recording(tmp_path) == (tmp_path / "data" / "night of 3 May.FLAC", None)


def test_the_stand_in_folder_reads_as_a_users_with_its_recordings(
    sample_root: Path, tmp_path: Path
) -> None:
    sample = datasets.load(sample_root)
    folder = write_folder(sample, tmp_path / "own")
    own = datasets.load(folder, group_pattern=r"^rec(\d+)", n_folds=3)
    assert own.labels == sorted([*sample.labels, BACKGROUND])
    sounds = own.clips[own.clips["label"] != BACKGROUND]
    assert sorted(sounds["group"]) == sorted(sample.clips["group"])
    (folder / "siren" / "mine.wav").touch()
    write_folder(sample, folder)
    assert (folder / "siren" / "mine.wav").exists(), "a folder that is there is left alone"


def test_the_stand_in_recording_sounds_where_its_table_says(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    truth = write_recording(tmp_path / "scratch", path, ("jackhammer", "siren"))
    assert truth["start"].tolist() == [0, *truth["end"][:-1]]
    assert truth["end"].iloc[-1] == pytest.approx(sf.info(path).duration)
    assert set(truth["label"][1::2]) == {"jackhammer", "siren"}
    loudness = [
        float(np.sqrt(np.square(audio.load(path, sr=22_050, start=start, end=end)).mean()))
        for start, end in zip(truth["start"], truth["end"], strict=True)
    ]
    assert min(loudness[1::2]) > 1.5 * max(loudness[::2])
    before = path.read_bytes()
    write_recording(tmp_path / "scratch", path, ("jackhammer", "siren"))
    assert path.read_bytes() == before


def decoded(html: str, kind: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(rf'{kind};base64,([^"]+)"', html)]


def test_cards_hold_the_very_picture_and_sound(rendered: object, tmp_path: Path) -> None:
    table = rendered.clips.head(2).assign(predicted=["<b>", "siren"], probability=[0.5, 0.25])
    page = jupyter.clips(table).data
    assert decoded(page, "image/png") == [Path(image).read_bytes() for image in table["image"]]
    assert "heard as &lt;b&gt; (50 %)" in page
    for path, wav in zip(table["path"], decoded(page, "audio/wav"), strict=True):
        y, sr = sf.read(io.BytesIO(wav))
        clip = audio.load(path, sr=sr)
        np.testing.assert_allclose(y, clip / np.abs(clip).max(), atol=1e-3)


def test_a_clip_within_a_file_sounds_alone(rendered: object, tmp_path: Path) -> None:
    y = np.linspace(-1, 1, 44_100, dtype=np.float32)
    sf.write(tmp_path / "long.wav", y, 22_050, subtype="FLOAT")
    clip = {"path": str(tmp_path / "long.wav"), "start": 0.5, "end": 0.75, "label": "siren"}
    page = jupyter.clips(pd.DataFrame([{**clip, "image": rendered.clips["image"].iloc[0]}])).data
    (wav,) = decoded(page, "audio/wav")
    assert sf.info(io.BytesIO(wav)).duration == pytest.approx(0.25, abs=1e-3)


def test_sounds_keep_their_level() -> None:
    y = 0.25 * np.sin(np.arange(8_000) / 10).astype(np.float32)
    page = jupyter.sounds({"quiet": y, "too loud": 8 * y}, 8_000).data
    quiet, loud = (sf.read(io.BytesIO(wav))[0] for wav in decoded(page, "audio/wav"))
    np.testing.assert_allclose(quiet, y, atol=1e-3)
    assert np.abs(loud).max() <= 1
    assert jupyter.clips(pd.DataFrame(columns=["path"])).data.count("<audio") == 0

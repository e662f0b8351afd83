"""The synthesised sample: its layout, its variety, its repeatability and its difficulty."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import soundfile

from spectro.clips import datasets
from spectro.clips.sample import formats as synthesis_formats
from spectro.clips.sample import write as sample
from spectro.clips.sample.blocks import Take, harmonic_tone, resonate
from spectro.clips.sample.sounds import SOUNDS
from spectro.clips.sample.write import write_sample
from spectro.errors import ConfigError, DatasetError

COLUMNS = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
NAMES = [
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
]


def small(root: Path, *, seed: int = 0, classes: tuple[str, ...] = ("siren", "dog_bark")) -> Path:
    return write_sample(root, seed=seed, sources=1, slices=2, folds=2, classes=classes)


def hashes(home: Path) -> dict[str, str]:
    return {
        path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.rglob("*")
        if path.is_file()
    }


def read_table(home: Path) -> pd.DataFrame:
    """Read the metadata, and beside each line what its file says of itself."""
    table = pd.read_csv(home / "metadata" / "UrbanSound8K.csv")
    table["path"] = [
        home / "audio" / f"fold{row.fold}" / row.slice_file_name for row in table.itertuples()
    ]
    found = [soundfile.info(path) for path in table["path"]]
    for name in ("samplerate", "channels", "subtype", "frames"):
        table[name] = [getattr(info, name) for info in found]
    return table


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Return the table of two classes often heard briefly: little sound, yet in every format."""
    root = tmp_path_factory.mktemp("varied")
    return read_table(write_sample(root, slices=2, classes=["car_horn", "dog_bark"]))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("full"))


def test_classes_are_urbansound8ks_in_order_of_id() -> None:
    assert list(SOUNDS) == NAMES


def test_layout_and_metadata_agree_with_the_files(home: Path) -> None:
    table = read_table(home)
    on_disk = {path.relative_to(home) for path in home.rglob("*.wav")}
    assert {path.relative_to(home) for path in table["path"]} == on_disk
    assert table.columns.tolist()[:8] == COLUMNS
    assert len(table) == 2 * 2 * 2
    for row in table.to_dict("records"):
        fs_id, class_id, occurrence, number = map(
            int, re.fullmatch(r"(\d+)-(\d)-(\d+)-(\d+)\.wav", row["slice_file_name"]).groups()
        )
        assert (fs_id, class_id) == (row["fsID"], row["classID"])
        assert NAMES[class_id] == row["class"]
        assert 0 in (occurrence, number)
        assert row["salience"] in (1, 2)


def test_it_loads_as_the_sample(home: Path) -> None:
    dataset = datasets.load(home.parent)
    assert dataset.name == "sample"
    assert dataset.folds == (1, 2)
    assert dataset.labels == ["dog_bark", "siren"]
    assert not dataset.notes


def test_the_marker_tells_how_it_was_made(home: Path) -> None:
    made = json.loads((home / sample.MARKER).read_text())
    assert made["generator"] == "spectro.clips.sample.write"
    assert (made["seed"], made["sources"], made["slices"], made["folds"]) == (0, 1, 2, 2)
    assert made["clips"] == len(list(home.rglob("*.wav")))


def test_each_source_is_in_one_fold_and_one_format(varied: pd.DataFrame) -> None:
    by_source = varied.groupby("fsID")
    for column in ("fold", "classID", "salience", "samplerate", "channels", "subtype"):
        assert by_source[column].nunique().eq(1).all(), column
    assert by_source.ngroups == 2 * 10 * 3


def test_start_and_end_agree_with_the_files(varied: pd.DataFrame) -> None:
    lengths = varied["frames"] / varied["samplerate"]
    np.testing.assert_allclose(varied["end"] - varied["start"], lengths, atol=2e-6)
    assert lengths.between(0.05, 4).all()


def test_slices_of_a_source_follow_one_another(varied: pd.DataFrame) -> None:
    for _, source in varied.groupby("fsID"):
        assert (source["start"].iloc[1:].to_numpy() >= source["end"].iloc[:-1].to_numpy()).all()
        assert not source["slice_file_name"].duplicated().any()


def test_rates_channels_and_codecs_vary(varied: pd.DataFrame) -> None:
    rates = varied["samplerate"].value_counts(normalize=True)
    assert set(rates.index) == {8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000}
    assert rates[[44100, 48000]].sum() > 0.6
    assert set(varied["channels"]) == {1, 2}
    pcm = {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"}
    assert set(varied["subtype"]) == pcm | {"ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"}


def test_every_seed_deals_out_every_format() -> None:
    for seed in range(len(synthesis_formats.FORMATS)):
        everything = sample._manifest(seed, 3, 3, 10, None)
        dealt = {source.kind for source in sample._sources(everything)}
        assert dealt == set(synthesis_formats.FORMATS)


@pytest.mark.parametrize("kind", sorted(set(synthesis_formats.FORMATS), key=repr), ids=repr)
def test_every_format_reads_back_at_its_length(
    kind: synthesis_formats.WavFormat, tmp_path: Path
) -> None:
    n = kind.fit(0.3, 4)
    y = np.sin(np.arange(n * kind.channels, dtype=np.float32) / 20).reshape(n, kind.channels) / 2
    synthesis_formats.write_wav(tmp_path / "a.wav", y, kind)
    read, sr = soundfile.read(tmp_path / "a.wav", always_2d=True)
    assert (sr, read.shape) == (kind.sr, y.shape)
    assert np.abs(read - y).mean() < 0.05
    assert b"PEAK" not in (tmp_path / "a.wav").read_bytes()  # it would hold the time of day


def test_the_shortest_clip_lasts_a_twentieth_of_a_second(varied: pd.DataFrame) -> None:
    lengths = varied["frames"] / varied["samplerate"]
    assert lengths.min() == pytest.approx(0.05, abs=1e-4)
    assert lengths.max() == 4


def test_clips_are_heard_and_not_clipped(home: Path) -> None:
    for path in home.rglob("*.wav"):
        y, _ = soundfile.read(path, always_2d=True)
        assert 0.01 < np.abs(y).max() < 1
        assert np.isfinite(y).all()


def test_slices_differ(home: Path) -> None:
    sounds = {name: digest for name, digest in hashes(home).items() if name.endswith(".wav")}
    assert len(set(sounds.values())) == len(sounds)


def test_same_seed_same_bytes(home: Path, tmp_path: Path) -> None:
    assert hashes(small(tmp_path)) == hashes(home)


def test_other_seed_other_bytes(home: Path, tmp_path: Path) -> None:
    ours, others = hashes(home), hashes(small(tmp_path, seed=1))
    assert not set(ours.values()) & set(others.values())


def test_fewer_or_reordered_classes_give_the_same_clips(home: Path, tmp_path: Path) -> None:
    whole = hashes(home)
    part = hashes(small(tmp_path / "part", classes=("siren",)))
    clips = {name for name in part if name.endswith(".wav")}
    assert clips == {name for name in whole if re.search(r"/\d+-8-", name)}
    assert {name: part[name] for name in clips} == {name: whole[name] for name in clips}
    assert hashes(small(tmp_path / "turned", classes=("dog_bark", "siren"))) == whole


def test_fewer_slices_give_the_same_first_ones(home: Path, tmp_path: Path) -> None:
    fewer = write_sample(tmp_path, sources=1, slices=1, folds=1, classes=["siren", "dog_bark"])
    clips = {name: digest for name, digest in hashes(fewer).items() if name.endswith(".wav")}
    assert len(clips) == 2
    assert clips.items() <= hashes(home).items()


def test_second_call_leaves_the_files_alone(tmp_path: Path) -> None:
    made = small(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert small(tmp_path) == made
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_a_sample_of_other_settings_is_refused(tmp_path: Path) -> None:
    before = hashes(small(tmp_path))
    with pytest.raises(DatasetError, match="other settings: remove it"):
        small(tmp_path, seed=1)
    assert hashes(tmp_path / "UrbanSound8K") == before


@pytest.mark.parametrize("content", [None, "not json", "[]"])
def test_a_foreign_folder_is_refused(tmp_path: Path, content: str | None) -> None:
    foreign = tmp_path / "UrbanSound8K"
    foreign.mkdir()
    if content is not None:
        (foreign / sample.MARKER).write_text(content)
    with pytest.raises(DatasetError, match="remove it") as caught:
        small(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(list(foreign.iterdir())) == (content is not None)


def test_a_file_as_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="is a file"):
        small(tmp_path / "file")


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    written = []

    def fail_at_third(path: Path, *_: object) -> None:
        written.append(path)
        path.write_bytes(b"half")
        if len(written) == 3:
            raise error

    monkeypatch.setattr(sample, "write_wav", fail_at_third)
    with pytest.raises(error):
        small(tmp_path)
    assert len(written) == 3
    assert not list(tmp_path.iterdir())


def test_progress_counts_every_clip(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_sample(
        tmp_path,
        sources=1,
        slices=2,
        folds=1,
        classes=["gun_shot"],
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    "wrong",
    [{"folds": 11}, {"folds": 0}, {"sources": 0}, {"slices": 0}, {"seed": -1}, {"classes": ["x"]}],
    ids=str,
)
def test_settings_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        write_sample(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sr", [8000, 44100])
def test_each_sound_lasts_as_asked_and_draws_one_instrument(name: str, sr: int) -> None:
    ends = set()
    for n in (round(0.05 * sr), 2 * sr):
        source = np.random.default_rng(5)
        y = SOUNDS[name](Take(source, np.random.default_rng(n), sr, n))
        assert y.shape == (n,)
        assert y.dtype == np.float32
        assert np.isfinite(y).all()
        assert y.any()
        ends.add(source.uniform())
    assert len(ends) == 1  # the draws of the instrument do not depend on the take


def test_a_harmonic_tone_has_its_harmonics_and_none_folded_back() -> None:
    sr = 8000
    y = harmonic_tone(np.full(sr, 990.0), np.ones(10), sr)  # 4 kHz and above must be left out
    power = np.abs(np.fft.rfft(y)) ** 2
    assert set(np.flatnonzero(power > power.max() / 1000)) == {990, 1980, 2970, 3960}
    assert np.sqrt(np.mean(y**2)) == pytest.approx(1, abs=0.02)


def test_a_resonance_rings_at_its_pitch_and_dies_away() -> None:
    sr = 8000
    y = np.zeros(sr, np.float32)
    y[0] = 1
    rung = resonate(y, sr, [500.0], 20, [0.0])
    assert np.abs(np.fft.rfft(rung)).argmax() == pytest.approx(500, abs=2)
    tau = 20 / (np.pi * 500)  # s; amplitude falls as exp(-t / tau)
    early, late = (np.abs(rung[round(t * sr) :][:32]).max() for t in (0.01, 0.01 + tau))
    assert late / early == pytest.approx(np.exp(-1), rel=0.1)


@pytest.mark.long
def test_the_default_sample_has_its_size(full: Path) -> None:
    table = read_table(full)
    assert len(table) == 900
    assert table.groupby(["classID", "fold"]).size().eq(9).all()
    assert table.groupby("fsID")["fold"].nunique().eq(1).all()
    lengths = table["frames"] / table["samplerate"]
    assert (lengths > 3.9).mean() > 0.6
    assert lengths.min() == pytest.approx(0.05, abs=1e-4)
    assert sum(path.stat().st_size for path in full.rglob("*")) < 200e6


@pytest.mark.long
def test_the_mean_spectrum_does_not_give_the_class_away(full: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table = read_table(full)
    spectra = np.stack([mean_mel_db(path) for path in table["path"]])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    by_fold = cross_val_score(
        model, spectra, table["classID"], groups=table["fold"], cv=LeaveOneGroupOut()
    )
    assert 0.4 < by_fold.mean() < 0.75
    assert by_fold.max() < 0.85


def mean_mel_db(path: Path) -> npt.NDArray[np.float32]:
    """Return the mean over time of a clip's log mel-spectrum, its first 4 s at 22,050 Hz."""
    import librosa

    y, native = soundfile.read(path, dtype="float32", always_2d=True)
    y = librosa.resample(y.mean(axis=1), orig_sr=native, target_sr=22050)
    S = librosa.feature.melspectrogram(y=librosa.util.fix_length(y, size=88200), sr=22050)
    mean: npt.NDArray[np.float32] = librosa.power_to_db(S, ref=np.max, top_db=80).mean(axis=1)
    return mean

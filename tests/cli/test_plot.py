"""One clip for a person: what the file is, and plots whose numbers are the file's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
from PIL import Image
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.pictures import plots as plots_clip
from spectro.pictures.settings import SpectrogramConfig

pytestmark = pytest.mark.slow

SR = 24_000  # a rate that every codec here takes
CONFIG = SpectrogramConfig(sr=SR, duration=0.5, n_fft=512, hop_length=256, n_mels=40)
FORMATS = [("WAV", "PCM_16"), ("WAV", "MS_ADPCM"), ("FLAC", "PCM_24"), ("AIFF", "PCM_U8"),
           ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "ALAC_16"),
           ("AU", "ULAW"), ("RF64", "FLOAT")]  # fmt: skip


def sound(channels: int = 2) -> npt.NDArray[np.float64]:
    time = np.arange(SR // 2) / SR
    tones = [np.sin(2 * np.pi * hz * time) for hz in (400, 1_900)]
    return np.stack([0.25 * tones[0], 0.5 * tones[1]], axis=1)[:, :channels]


def plotted(*words: str | Path) -> str:
    done = CliRunner().invoke(app, ["plot", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(("container", "codec"), FORMATS)
def test_every_format_is_described_and_drawn(container: str, codec: str, tmp_path: Path) -> None:
    clip, out = tmp_path / f"a.{container.lower()}", tmp_path / "a.png"
    sf.write(clip, sound(), SR, format=container, subtype=codec)
    told = dict(line.split(maxsplit=1) for line in plotted(clip, "--out", out).splitlines())
    about = sf.info(clip)
    decoded, sr = sf.read(clip)
    assert (told["container"], told["codec"], told["channels"]) == (about.format, codec, "2")
    assert told["rate"] == f"{sr:,} Hz"
    assert told["length"] == f"{len(decoded) / sr:.3f} s, {len(decoded):,} samples"
    peak = float(told["peak"].removesuffix(" dBFS"))
    assert peak == pytest.approx(20 * np.log10(np.abs(decoded).max()), abs=0.051)
    with Image.open(out) as picture:
        assert min(picture.size) > 300
        assert len(set(picture.convert("L").get_flattened_data())) > 50


@pytest.mark.parametrize("what", ["waveform", "spectrogram", "both"])
def test_what_is_asked_for_is_drawn(what: Any, tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", sound(), SR)
    figure = plots_clip.clip(tmp_path / "a.wav", CONFIG, what)
    labels = [axis.get_ylabel() for axis in figure.axes if "dB" not in axis.get_ylabel()]
    waveforms, spectra = ["channel 1", "channel 2"], ["frequency, Hz"]
    expected = {"waveform": waveforms, "spectrogram": spectra, "both": waveforms + spectra}
    assert labels == expected[what]
    colorbars = [axis.get_ylabel() for axis in figure.axes if "dB" in axis.get_ylabel()]
    assert len(colorbars) == (what != "waveform")
    assert any(axis.get_xlabel() == "time, s" for axis in figure.axes)


def test_the_waveform_is_the_files_samples_against_seconds(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", sound(), SR, subtype="FLOAT")
    figure = plots_clip.clip(tmp_path / "a.wav", CONFIG, "waveform")
    for axis, channel in zip(figure.axes, sound().T, strict=True):
        x, y = axis.lines[0].get_data()
        np.testing.assert_allclose(x, np.arange(len(channel)) / SR)
        np.testing.assert_allclose(y, channel, atol=1e-6)
        assert axis.get_xlim() == (0, 0.5)


def test_of_a_long_file_no_peak_is_lost(tmp_path: Path) -> None:
    y = np.zeros(1_000_000, dtype=np.float32)
    y[654_321], y[123_456] = 0.75, -0.5  # a sample each
    sf.write(tmp_path / "a.wav", y, SR, subtype="FLOAT")
    (axis,) = plots_clip.clip(tmp_path / "a.wav", CONFIG, "waveform").axes
    outline = axis.collections[0].get_paths()[0].vertices
    highest, lowest = outline[outline[:, 1].argmax()], outline[outline[:, 1].argmin()]
    step = 1_000_000 / 2_000 / SR
    assert highest[1] == 0.75
    assert highest[0] == pytest.approx(654_321 / SR, abs=step)
    assert lowest[1] == -0.5
    assert lowest[0] == pytest.approx(123_456 / SR, abs=step)


@pytest.mark.parametrize("channels", ["mean", "both"])
def test_the_spectrogram_is_librosas_with_axes_in_hertz_and_decibels(
    channels: Any, tmp_path: Path
) -> None:
    sf.write(tmp_path / "a.wav", sound(), SR, subtype="FLOAT")
    config = CONFIG.replace(channels=channels)
    figure = plots_clip.clip(tmp_path / "a.wav", config, "spectrogram")
    y = sound().T.astype(np.float32) if channels == "both" else sound().mean(axis=1)[np.newaxis]
    S = librosa.feature.melspectrogram(
        y=y, sr=SR, n_fft=512, hop_length=256, n_mels=40, pad_mode="constant"
    )
    expected = librosa.power_to_db(S, ref=np.max(S), top_db=None)
    drawn = [axis for axis in figure.axes if axis.get_ylabel().endswith("Hz")]
    assert len(drawn) == len(expected)
    for axis, S_db in zip(drawn, expected, strict=True):
        image = axis.images[0]
        np.testing.assert_allclose(image.get_array(), np.maximum(S_db, -80), atol=0.05)
        assert image.get_clim() == (-80, 0)
        assert image.get_extent()[:2] == [0, 0.5]
        bands = librosa.mel_frequencies(42, fmax=SR / 2)[1:-1]
        told = [float(tick.get_text().replace(",", "")) for tick in axis.get_yticklabels()]
        np.testing.assert_allclose(np.interp(axis.get_yticks(), np.arange(40), bands), told)
        assert max(told) == 8_000
    assert "0 is the clip's maximum" in figure.axes[-1].get_ylabel()


def test_without_settings_all_of_the_clip_shows_and_with_them_what_rendering_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[SpectrogramConfig] = []
    draw = plots_clip.clip

    def spy(path: str, config: SpectrogramConfig, what: Any, **options: Any) -> Any:
        seen.append(config)
        return draw(path, config, "waveform", **options)

    monkeypatch.setattr(plots_clip, "clip", spy)
    sf.write(tmp_path / "a.wav", sound(), SR)
    out = ("--out", tmp_path / "a.png")
    plotted(tmp_path / "a.wav", *out)
    plotted(tmp_path / "a.wav", *out, "--recipe", "digits", "--n-mels", "32")
    plotted(tmp_path / "a.wav", *out, "--duration", "2", "--channels", "first")
    assert seen[0] == SpectrogramConfig(duration=0.5)
    assert (seen[1].sr, seen[1].duration, seen[1].n_mels, seen[1].channels) == (
        44_100, 4.0, 32, "both")  # fmt: skip
    assert seen[2] == SpectrogramConfig(duration=2.0, channels="first")


def test_the_picture_lies_here_under_the_clips_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sounds").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    sf.write(tmp_path / "sounds" / "bark.wav", sound(1), SR)
    told = plotted(tmp_path / "sounds" / "bark.wav", "--what", "waveform")
    assert told.splitlines()[-1] == "waveform: bark.png"
    assert [path.name for path in Path().iterdir()] == ["bark.png"]
    assert [path.name for path in (tmp_path / "sounds").iterdir()] == ["bark.wav"]


def test_silence_has_no_peak_and_is_drawn_dark(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(SR), SR)
    assert re.search(r"peak +-inf dBFS", plotted(tmp_path / "a.wav", "--out", tmp_path / "a.png"))
    figure = plots_clip.clip(tmp_path / "a.wav", CONFIG, "spectrogram")
    assert figure.axes[0].images[0].get_array().max() == -CONFIG.top_db


def test_what_is_no_sound_is_told_in_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"not a sound")
    done = subprocess.run(
        [sys.executable, "-c", "from spectro.cli.app import main; main()", "plot", "a.wav"],
        cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(r"spectro: a\.wav: .*\n", done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_name_in_a_title_is_no_formula(tmp_path: Path) -> None:
    sf.write(tmp_path / "$\\fracx$.wav", sound(1), SR)
    out = tmp_path / "a.png"
    plotted(tmp_path / "$\\fracx$.wav", "--what", "waveform", "--out", out)
    assert out.is_file()

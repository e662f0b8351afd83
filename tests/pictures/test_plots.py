"""Plots of signals show the very picture, at the right frequencies and times."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spectro.pictures import plots as plots_signal
from spectro.pictures.mel import band_frequencies
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import spectrogram_image
from spectro.scores import plots

CONFIG = SpectrogramConfig(sr=16_000, duration=1.0, n_mels=64)


def sweep(seconds: float = 1.0, sr: int = 16_000) -> np.ndarray:
    return (0.5 * librosa.chirp(fmin=100, fmax=7_000, sr=sr, duration=seconds)).astype(np.float32)


def titled(figure: Figure, title: str) -> Axes:
    (axis,) = [axis for axis in figure.axes if title in (axis.get_title(), axis.get_title("left"))]
    return axis


@pytest.mark.parametrize(
    "change", [{}, {"db_range": "auto"}, {"ref": 10.0}, {"top_db": 40.0}, {"cmap": "gray"}]
)
def test_the_plot_shows_the_very_picture(change: dict[str, object]) -> None:
    config = CONFIG.replace(**change)
    figure = plots_signal.spectrograms({"one": (sweep(), config), "silent": (sweep() * 0, config)})
    for title, y in (("one", sweep()), ("silent", sweep() * 0)):
        (drawn,) = titled(figure, title).images
        colors = drawn.to_rgba(drawn.get_array(), bytes=True)[::-1, :, :3].astype(int)
        picture = np.asarray(spectrogram_image(y, config).convert("RGB")).astype(int)
        assert np.abs(colors - picture).max() <= 12  # a grey level, at the steepest colour


def test_frequencies_are_written_where_their_bands_are() -> None:
    axis = titled(plots_signal.spectrograms({"one": (sweep(), CONFIG)}), "one")
    bands = librosa.mel_frequencies(CONFIG.n_mels + 2, fmin=0, fmax=8_000)[1:-1]
    np.testing.assert_allclose(band_frequencies(CONFIG), bands)
    written = {label.get_text(): label.get_position()[1] for label in axis.get_yticklabels()}
    assert "1,000" in written
    for text, place in written.items():
        hz = float(text.replace(",", ""))
        assert np.interp(place, np.arange(len(bands)), bands) == pytest.approx(hz)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_any_number_of_pictures_can_be_drawn(n: int, tmp_path: Path) -> None:
    figure = plots_signal.spectrograms({str(i): (sweep(), CONFIG) for i in range(n)})
    assert sum(bool(axis.get_title()) for axis in figure.axes) == n
    assert plots_signal.save(figure, tmp_path / "figure.png").stat().st_size > 1_000


def test_waveforms_lie_on_the_same_axes() -> None:
    figure = plots_signal.waveforms({"loud": sweep(), "short": 0.1 * sweep(0.5)}, 16_000)
    loud, short = (titled(figure, title) for title in ("loud", "short"))
    assert loud.get_ylim() == short.get_ylim()
    assert loud.get_xlim() == short.get_xlim() == (0, 1)
    np.testing.assert_array_equal(short.lines[0].get_ydata(), 0.1 * sweep(0.5))
    assert short.lines[0].get_xdata()[-1] == pytest.approx(0.5, abs=1e-3)


def test_the_timeline_shows_probabilities_and_truth_on_the_recordings_time(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    sf.write(path, sweep(3.3), 16_000)
    heard = pd.DataFrame(
        {"start": [0, 1, 2, 2.3], "end": [1, 2, 3, 3.3], "p_cat": [1, 0.5, 0.2, 0.1],
         "p_dog": [0, 0.5, 0.8, 0.9]}
    )  # fmt: skip
    truth = pd.DataFrame({"start": [0.0, 1.5], "end": [1.0, 3.0], "label": ["cat", "owl"]})
    figure = plots_signal.timeline(path, heard, CONFIG, truth)
    above, below = figure.axes[:2]
    (image,) = above.images
    whole = 1 + 3.3 * 16_000 / CONFIG.hop_length
    assert image.get_array().shape[1] == pytest.approx(whole, abs=4)
    assert above.get_xlim() == below.get_xlim() == (0, 3.3)
    loudest = np.asarray(image.get_array()).argmax(axis=0)
    assert (np.diff(loudest[5:-5]) >= -1).all(), "the sweep rises without a step back"
    (heat,) = [item for item in below.collections if isinstance(item, QuadMesh)]
    np.testing.assert_allclose(heat.get_array(), heard[["p_cat", "p_dog"]].to_numpy().T)
    frames = [patch for patch in below.patches if isinstance(patch, Rectangle)]
    assert [(f.get_x(), f.get_width()) for f in frames] == [(0, 1)], "the model knows no owl"


def test_one_window_has_a_timeline_too(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    sf.write(path, sweep(0.4), 16_000)
    heard = pd.DataFrame({"start": [0.0], "end": [0.4], "p_cat": [1.0], "p_dog": [0.0]})
    plots_signal.save(plots_signal.timeline(path, heard, CONFIG), tmp_path / "figure.png")


def test_curves_are_named_by_fold_or_by_what_else_tells_them_apart() -> None:
    table = pd.DataFrame(
        {"epoch": [1], "train_loss": [1.0], "valid_loss": [1.0], "accuracy": [0.5]}
    )
    for key, name in ((3, "fold 3: 50.0 %"), ("lr 0.1", "lr 0.1: 50.0 %")):
        (text,) = plots.history({key: table}, "x").axes[1].get_legend().get_texts()
        assert text.get_text() == name


@pytest.mark.parametrize(
    ("pad", "picture", "shaded"),
    [
        ("zero", 1.0, [(1, 3)]),
        ("loop", 2.5, [(2.5, 3)]),
        ("center", 1.0, [(0, 1), (2, 3)]),
        ("random", 1.0, []),
        ("zero", 3.0, []),
    ],
)
def test_what_a_picture_leaves_out_of_a_clip_is_shaded(
    tmp_path: Path, pad: str, picture: float, shaded: list[tuple[float, float]]
) -> None:
    sf.write(tmp_path / "a.wav", sweep(3.0), 16_000)
    whole, cut = CONFIG.replace(duration=3.0, pad=pad), CONFIG.replace(duration=picture, pad=pad)
    for config, told in ((whole, 2), (cut, 1)):  # both plots, or the waveform alone
        figure = plots_signal.clip(tmp_path / "a.wav", config, picture=picture)
        for axis in figure.axes[:told]:
            found = [
                (patch.get_x(), patch.get_x() + patch.get_width())
                for patch in axis.patches
                if isinstance(patch, Rectangle)
            ]
            np.testing.assert_allclose(np.ravel(found), np.ravel(shaded))
        right = figure.axes[0].get_title("right")
        assert bool(shaded) == (f"not in a picture of {picture:g} s" in right)

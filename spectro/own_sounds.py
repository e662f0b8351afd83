"""Stand-ins for a user's own sounds, for the notebook about them: clips, and a long recording.

From the synthesised sample, and laid out as someone would who knows nothing of datasets: a folder a
class, the recording in the file's name. One class is background, which the sample does not have: a
network that never heard it takes it for something else.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from spectro.clips import waveform as audio
from spectro.clips.sample import write as sample
from spectro.clips.table import Dataset
from spectro.plumbing.files import replacing, replacing_folder

__all__ = ["BACKGROUND", "write_folder", "write_recording"]

BACKGROUND = "background"
"""Class of noise alone."""

_SR = 22_050
_RECORDINGS, _CLIPS = 6, 3  # of background
_SECONDS = 4.0
_PAUSE = 6.0  # s of background before each sound, and at the end
_LEVELS_DB = (-60.0, -45.0)  # of background, mean square below full scale


def write_folder(dataset: Dataset, folder: str | Path) -> Path:
    """Copy clips to ``FOLDER/{label}/rec{recording}_{number}.wav`` and add some of background.

    A folder that is there is left alone.

    Parameters
    ----------
    dataset : Dataset
        Clips that are whole files.
    folder : str or Path
        Appears whole.
    """
    folder = Path(folder)
    if folder.is_dir():
        return folder
    with replacing_folder(folder) as draft:
        for number, clip in enumerate(dataset.clips.to_dict("records")):
            (draft / clip["label"]).mkdir(parents=True, exist_ok=True)
            name = f"rec{clip['group']}_{number:03d}{Path(clip['path']).suffix}"
            shutil.copyfile(clip["path"], draft / clip["label"] / name)
        _write_background(draft / BACKGROUND)
    return folder


def _write_background(folder: Path) -> None:
    folder.mkdir()
    for recording in range(_RECORDINGS):
        long = _background(np.random.default_rng(recording), round(_CLIPS * _SECONDS * _SR))
        for number, y in enumerate(np.split(long, _CLIPS)):
            sf.write(folder / f"rec{recording}_{number:03d}.wav", y, _SR)


def _background(rng: np.random.Generator, n: int) -> audio.Waveform:
    """Draw noise that falls by 0 to 6 dB an octave above 100 Hz, at a level of its own."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum *= np.maximum(np.fft.rfftfreq(n, 1 / _SR), 100) ** -rng.uniform(0, 1)
    y = np.fft.irfft(spectrum, n)
    level = 10 ** (rng.uniform(*_LEVELS_DB) / 20)
    noise: audio.Waveform = (y * level / np.sqrt(np.square(y).mean())).astype(np.float32)
    return noise


def write_recording(
    scratch: str | Path, path: str | Path, classes: tuple[str, ...], *, seed: int = 1
) -> pd.DataFrame:
    """Write a recording in which one sound after another comes out of background.

    From a sample with another seed than the clips: the same kinds of sound, none of them the same.

    Parameters
    ----------
    scratch : str or Path
        Folder to synthesise the sounds in.
    path : str or Path
        Sound file to write; written anew each time, always the same.
    classes : tuple of str
        Classes of the sample.
    seed : int
        Of sounds, order and background.

    Returns
    -------
    truth : pandas.DataFrame
        A row a sound or pause, in order and without a gap: ``start`` and ``end`` in seconds,
        ``label``.
    """
    root = sample.write_sample(
        Path(scratch), seed=seed, sources=1, slices=1, folds=2, classes=classes
    )
    pause = np.zeros(round(_PAUSE * _SR), dtype=np.float32)
    parts = [(BACKGROUND, pause)]
    for clip in sample.load(root).clips.sample(frac=1, random_state=seed).to_dict("records"):
        y = audio.load(clip["path"], sr=_SR)
        parts += [(clip["label"], y), (BACKGROUND, pause)]
    whole = np.concatenate([y for _, y in parts])
    whole += _background(np.random.default_rng([seed, 0]), len(whole))
    with replacing(path) as temporary:
        sf.write(temporary, np.clip(whole, -1, 1), _SR, format="WAV")
    ends = np.cumsum([len(y) for _, y in parts]) / _SR
    labels = [label for label, _ in parts]
    return pd.DataFrame({"start": [0.0, *ends[:-1]], "end": ends, "label": labels})

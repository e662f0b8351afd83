"""Stand-ins for a user's own sounds, for the notebook about them: clips, and a long recording.

Cut from the synthesised sample, and laid out as someone would who knows nothing of datasets: a
folder a class, the recording in the file's name.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from spectro import audio
from spectro.datasets import sample
from spectro.datasets.table import Dataset
from spectro.files import replacing, replacing_folder

__all__ = ["write_folder", "write_recording"]

_SR = 22_050
_SILENCE = 3.0  # s of background before each event, and at the end
_BACKGROUND_DB = -45.0  # of full scale


def write_folder(dataset: Dataset, folder: str | Path) -> Path:
    """Copy clips to ``FOLDER/{label}/rec{recording}_{number}.wav``, unless the folder is there.

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
    return folder


def write_recording(
    scratch: str | Path, path: str | Path, classes: tuple[str, ...], *, seed: int = 1
) -> pd.DataFrame:
    """Write a recording in which one sound of each class comes after another, over quiet noise.

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
        Of sounds and noise.

    Returns
    -------
    truth : pandas.DataFrame
        A row a sound, in order: ``start`` and ``end`` in seconds, ``label``.
    """
    root = sample.write_sample(
        Path(scratch), seed=seed, sources=1, slices=1, folds=2, classes=classes
    )
    clips = sample.load(root).clips.sample(frac=1, random_state=seed)
    rng = np.random.default_rng(seed)
    rest = round(_SILENCE * _SR)
    parts, events, at = [np.zeros(rest, dtype=np.float32)], [], rest
    for clip in clips.to_dict("records"):
        y = audio.load(clip["path"], sr=_SR)
        events.append({"start": at / _SR, "end": (at + len(y)) / _SR, "label": clip["label"]})
        parts += [y, np.zeros(rest, dtype=np.float32)]
        at += len(y) + rest
    whole = np.concatenate(parts)
    whole += 10 ** (_BACKGROUND_DB / 20) * rng.standard_normal(len(whole), dtype=np.float32)
    with replacing(path) as temporary:
        sf.write(temporary, np.clip(whole, -1, 1), _SR, format="WAV")
    return pd.DataFrame(events)

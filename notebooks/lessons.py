"""What the notebooks work on: a little data, its pictures and runs; made if they are not there.

UrbanSound8K where ``data/UrbanSound8K`` holds it, else a synthesised sample, cut down until a
training takes seconds: enough to see how things go, too little for a score that means anything.
``SPECTRO_LESSONS=tiny`` cuts further, to see whether the notebooks run; the two never share a
folder. All of it lies in ``data/lessons`` and ``runs/lessons`` and may be deleted at any time.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from spectro.plumbing.warned import ignore_known

ignore_known()  # before what warns is imported

from spectro.clips import datasets
from spectro.clips import waveform as audio
from spectro.clips.datasets.listing import is_sound
from spectro.clips.datasets.published import urbansound8k
from spectro.clips.sample import write as sample
from spectro.clips.table import Dataset
from spectro.crossval.folds import Training, score_run
from spectro.crossval.run import Run, latest_run
from spectro.errors import ConfigError, ModelError
from spectro.pictures.render import render
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.files import replacing, replacing_folder
from spectro.training.settings import Phase, TrainConfig

__all__ = [
    "BACKGROUND",
    "a_run",
    "dataset",
    "long_recording",
    "own_sounds",
    "pictures",
    "run_folder",
    "size",
    "write_folder",
    "write_recording",
]


@dataclasses.dataclass(frozen=True)
class Size:
    """How much the notebooks work on.

    Attributes
    ----------
    name : str
        Of its folders.
    classes : tuple of str
        Classes of UrbanSound8K.
    folds, recordings, clips : int
        Folds, recordings of each class in a fold, clips of each recording.
    epochs, steps, rounds : int
        Epochs of a training, batches of a rate test, rounds of Griffin-Lim.
    config : SpectrogramConfig
        How pictures are drawn.
    """

    name: str
    classes: tuple[str, ...]
    folds: int
    recordings: int
    clips: int
    epochs: int
    steps: int
    rounds: int
    config: SpectrogramConfig


_SIZES = {
    "small": Size(
        name="small",
        classes=("car_horn", "dog_bark", "drilling", "engine_idling", "jackhammer", "siren"),
        folds=3,
        recordings=2,
        clips=3,
        epochs=6,
        steps=60,
        rounds=32,
        config=SpectrogramConfig(n_mels=64, hop_length=1024),  # a quarter of the default's pixels
    ),
    "tiny": Size(
        name="tiny",
        classes=("dog_bark", "jackhammer", "siren"),
        folds=3,
        recordings=2,
        clips=2,
        epochs=1,
        steps=10,
        rounds=1,
        config=SpectrogramConfig(n_mels=32, hop_length=2048),
    ),
}


def size() -> Size:
    """Return the size that the environment variable ``SPECTRO_LESSONS`` names; "small" if none.

    Raises
    ------
    ConfigError
        If there is no such size.
    """
    name = os.environ.get("SPECTRO_LESSONS", "small")
    if name not in _SIZES:
        raise ConfigError(f"SPECTRO_LESSONS={name}: there are {', '.join(_SIZES)}")
    return _SIZES[name]


def dataset(project: str | Path) -> Dataset:
    """Give the part of a dataset that the notebooks work on, and print which it is.

    Parameters
    ----------
    project : str or Path
        Folder that ``data`` lies in.

    Returns
    -------
    Dataset
        Its notes say that it is a part.
    """
    real = Path(project) / "data" / "UrbanSound8K"
    if (real / urbansound8k.METADATA).is_file():
        part = _part(datasets.load(real), size())
    else:
        part = datasets.load(_sample(project))
    clips = part.clips
    print(
        f"{part.name}: {len(clips):,} clips, {len(part.labels)} classes, "
        f"folds {', '.join(map(str, sorted(set(clips['fold']))))}"
    )
    return part


def _home(project: str | Path) -> Path:
    return Path(project) / "data" / "lessons" / size().name


def _sample(project: str | Path) -> Path:
    """Synthesise the lessons' sample, once."""
    want = size()
    return sample.write_sample(
        _home(project),
        sources=want.recordings,
        slices=want.clips,
        folds=want.folds,
        classes=want.classes,
    )


def _part(whole: Dataset, want: Size) -> Dataset:
    """Keep the first clips of the first recordings of each class in the first folds."""
    clips = whole.clips
    folds = sorted(set(clips["fold"]))[: want.folds]
    clips = clips[clips["fold"].isin(folds) & clips["label"].isin(want.classes)]
    recording = clips.groupby(["fold", "label"])["group"].transform(lambda g: pd.factorize(g)[0])
    clips = clips[recording < want.recordings]
    number = clips.groupby(["fold", "label", "group"]).cumcount()
    clips = clips[number < want.clips].reset_index(drop=True)
    note = f"only {len(clips):,} of its {len(whole.clips):,} clips, for the notebooks"
    return dataclasses.replace(whole, clips=clips, notes=(*whole.notes, note))


def pictures(project: str | Path) -> RenderedSet:
    """Draw the notebooks' clips, those that are not drawn yet."""
    clips = dataset(project)
    out = _home(project) / f"pictures-{clips.name}"
    render(clips, out, size().config)
    return RenderedSet.load(out)


def run_folder(project: str | Path, name: str, rendered: RenderedSet) -> Path:
    """Name the folder of a run in ``runs/lessons``; each size and dataset has its own.

    Parameters
    ----------
    project : str or Path
        Folder that ``runs`` lies in.
    name : str
        Of the run.
    rendered : RenderedSet
        Of :func:`pictures`.
    """
    label = f"{name}-{size().name}-{rendered.dataset.name}"
    return Path(project) / "runs" / "lessons" / label


def a_run(project: str | Path) -> Run:
    """Open the latest run in ``runs``, or else train one fold of the notebooks' own."""
    try:
        run = latest_run(Path(project) / "runs", trained=True)
    except ModelError:
        print("no run in runs yet (make demo makes one), so this trains a small one")
        rendered = pictures(project)
        few = Phase(epochs=size().epochs, lr=3e-3)  # as in notebook 3, which goes on with this run
        config = TrainConfig(recipe="lesson", weights="none", batch_size=8, phases=(few,))
        training = Training.open(run_folder(project, "first", rendered), rendered, config)
        training.fold(rendered.folds[0])
        score_run(training.run, rendered)
        run = training.run
    print(f"{run.folder}: folds {', '.join(map(str, run.finished_folds))}")
    return run


def own_sounds(project: str | Path) -> Path:
    """Return ``data/my-sounds``, or else a folder of stand-ins in the same form."""
    mine = Path(project) / "data" / "my-sounds"
    if mine.is_dir():
        return mine
    standin = _home(project) / "own-sounds"
    print(f"{mine} is not there, so this is about synthesised sounds, in {standin}")
    return write_folder(datasets.load(_sample(project)), standin)


def long_recording(project: str | Path) -> tuple[Path, pd.DataFrame | None]:
    """Return a recording that lies in ``data``, whatever its name; or else a stand-in.

    Returns
    -------
    recording : Path
        The first by name of the sound files in ``data`` itself.
    truth : pandas.DataFrame or None
        What sounds when in the stand-in; of a recording of one's own nobody knows it.
    """
    data = Path(project) / "data"
    mine = sorted(path for path in data.glob("*.*") if path.is_file() and is_sound(path.name))
    if mine:
        print(f"{mine[0]}: a recording of your own")
        return mine[0], None
    standin = _home(project) / "recording.wav"
    print(f"{data} holds no recording, so this is about a synthesised one, {standin}")
    return standin, write_recording(_home(project) / "unheard", standin, size().classes)


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
    for clip in datasets.load(root).clips.sample(frac=1, random_state=seed).to_dict("records"):
        y = audio.load(clip["path"], sr=_SR)
        parts += [(clip["label"], y), (BACKGROUND, pause)]
    whole = np.concatenate([y for _, y in parts])
    whole += _background(np.random.default_rng([seed, 0]), len(whole))
    with replacing(path) as temporary:
        sf.write(temporary, np.clip(whole, -1, 1), _SR, format="WAV")
    ends = np.cumsum([len(y) for _, y in parts]) / _SR
    labels = [label for label, _ in parts]
    return pd.DataFrame({"start": [0.0, *ends[:-1]], "end": ends, "label": labels})

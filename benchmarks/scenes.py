"""Events in real, labelled scenes, and false events an hour on real background.

    python benchmarks/scenes.py DATA --work WORK

DATA holds ``office-scenes`` (DCASE 2016, task 2: isolated office sounds and scenes of two minutes
with their timelines) and ``ambient`` (background with an ``index.csv``). A network is trained, with
the commands of spectro, on the isolated sounds that no scene uses; it then scans the scenes through
the functions that ``spectro scan`` calls. What is tuned is tuned on the scenes with three events a
class; the others are scored once.

Training is on the sounds as they are ("plain"), or mixed into background at -6 to +15 dB, with a
class of background alone that raises nothing ("mixed"): half of the ambient files go into that
training, and false events are counted on the other half. None of the backgrounds of the scenes is
among them.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import soundfile as sf

from spectro.clips.waveform import load
from spectro.errors import ConfigError
from spectro.listening.annotations import Labelled
from spectro.listening.backends import Answer, open_backend
from spectro.listening.event_settings import EventSettings
from spectro.listening.events import Event, Origin, ScoredWindow, find_events
from spectro.listening.scan import score_windows
from spectro.listening.scoring import EventScores, score_events
from spectro.listening.thresholds import Background, choose_thresholds

SR = 22_050
BACKGROUND = "background"
TUNED_ON = "nec_3"  # in the names of the scenes that settings are chosen on

Waveform = npt.NDArray[np.float32]


class Data(NamedTuple):
    """What lies in the folder of data."""

    scenes: Path
    ambient: Path

    @property
    def timeline(self) -> list[dict[str, str]]:
        with (self.scenes / "scenes.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    @property
    def unused(self) -> list[Path]:
        """Isolated sounds that are in no scene."""
        used = {row["event_file"] for row in self.timeline}
        return [p for p in sorted((self.scenes / "events").glob("*/*.flac")) if p.stem not in used]

    @property
    def backgrounds(self) -> list[tuple[str, float]]:
        """Ambient files that by their names hold no animal, voice or machine, and their seconds."""
        with (self.ambient / "index.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if not row["may_contain"]]
        return [(row["file"], float(row["seconds"])) for row in rows]

    def half(self, which: int) -> list[str]:
        """One half of the ambient files, without those that the scenes are made over."""
        in_scenes = {f"moodist/{row['background']}.ogg" for row in self.timeline}
        names = [name for name, _ in self.backgrounds if name not in in_scenes]
        return [name for name in names if zlib.crc32(name.encode()) % 2 == which]


# Training


def level(y: Waveform) -> float:
    return float(np.sqrt(np.mean(np.square(y, dtype=np.float64))) + 1e-9)


def mixed(y: Waveform, under: Waveform, snr: float, rng: np.random.Generator) -> Waveform:
    """Place a sound, or a part of it, in a window of background, so that it fills half of one."""
    n = len(under)
    if len(y) > n:
        start = rng.integers(0, len(y) - n // 2)
        y = y[start : start + n]
    first = rng.integers(-(len(y) // 3), max(1, n - len(y) + len(y) // 3 + 1))
    heard = y[max(0, -first) : max(0, -first) + n - max(0, first)]
    window = under.copy()
    gain = level(under) / level(y) * 10 ** (snr / 20)
    window[max(0, first) : max(0, first) + len(heard)] += gain * heard
    return window / max(1.0, float(np.abs(window).max()))


def pieces(paths: Iterable[Path], n: int, rng: np.random.Generator) -> Iterator[Waveform]:
    """Give random pieces of sound files, from one file after another, for ever."""
    sounds = [y for y in (load(path, sr=SR) for path in paths) if len(y) >= n]
    while True:
        for k in rng.permutation(len(sounds)):
            start = rng.integers(0, len(sounds[k]) - n + 1)
            yield sounds[k][start : start + n]


def write_plain(data: Data, out: Path, duration: float) -> Path:
    """Write the table of the isolated sounds, long ones in parts."""
    rows = []
    for path in data.unused:
        seconds = sf.info(path).duration
        for start in np.arange(0, max(seconds - duration / 2, 1e-3), duration):
            end = min(seconds, start + duration)
            rows.append((path.resolve(), path.parent.name, path.stem, round(start, 3), end))
    return write_table(out / "clips.csv", rows)


def write_mixed(data: Data, out: Path, duration: float, copies: int, half: int) -> Path:
    """Write windows of sounds over background, and of background alone, with their table."""
    rng, n = np.random.default_rng(half), round(duration * SR)
    under = pieces([data.ambient / name for name in data.half(half)], n, rng)
    rows = []

    def add(y: Waveform, label: str, group: str, name: str) -> None:
        path = out / "sounds" / f"{name}.wav"
        sf.write(path, y, SR)
        rows.append((path.resolve(), label, group, 0, len(y) / SR))

    (out / "sounds").mkdir(parents=True, exist_ok=True)
    for path in data.unused:
        y = load(path, sr=SR)
        for k in range(copies):
            window = mixed(y, next(under), rng.uniform(-6, 15), rng)
            add(window, path.parent.name, path.stem, f"{path.stem}-{k}")
    for k, window in enumerate(itertools.islice(under, 40 * copies)):
        add(window * rng.uniform(0.1, 1), BACKGROUND, f"background{k}", f"background-{k}")
    return write_table(out / "clips.csv", rows)


def write_table(path: Path, rows: Iterable[tuple[object, ...]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group", "start", "end"])
        writer.writerows(rows)
    return path


def spectro(*arguments: object) -> None:
    """Run a command of spectro, or end."""
    print("$ spectro", *arguments, flush=True)
    done = subprocess.run([sys.executable, "-m", "spectro", *map(str, arguments)], check=False)
    if done.returncode not in (0, 3):
        sys.exit(done.returncode)


def train(table: Path, out: Path, args: argparse.Namespace) -> list[Path]:
    """Render and cross-validate; return the model folders of the folds."""
    pictures, run = out / "pictures", out / "run"
    folds = range(1, args.folds + 1)
    if not all((run / f"fold{k}" / "model").is_dir() for k in folds):
        spectro("render", table, "--out", pictures, "--duration", args.duration,
                "--n-folds", args.folds, "--pad", "loop")  # fmt: skip
        spectro("cross-validate", pictures, "--run", run, "--arch", args.arch, "--weights",
                args.weights, "--epochs", args.epochs)  # fmt: skip
    return [run / f"fold{k}" / "model" for k in folds]


# Listening


class Together:
    """The networks of the folds, their probabilities averaged."""

    def __init__(self, folders: list[Path]) -> None:
        self.backends = [open_backend(folder) for folder in folders]
        self.card = self.backends[0].card

    def __call__(self, levels: npt.NDArray[np.uint8]) -> Answer:
        answers = [backend(levels) for backend in self.backends]
        known = np.mean([answer.known for answer in answers], axis=0) >= 0.5
        return Answer(np.mean([answer.probabilities for answer in answers], axis=0), known)


def scored(path: Path, listener: Together, hop: float, cache: Path) -> list[ScoredWindow]:
    """Score the windows of a recording, or read what was scored before."""
    kept = cache / f"{path.parent.name}-{path.stem}-{hop:g}.npy"
    if not kept.is_file():
        rows = [
            [w.start, w.end, w.level, float(w.known), *np.asarray(w.probabilities)]
            for w in score_windows(path, listener, hop)
        ]
        cache.mkdir(parents=True, exist_ok=True)
        np.save(kept, np.array(rows))
    return [ScoredWindow(r[0], r[1], r[4:], r[2], r[3] > 0) for r in np.load(kept)]


Scored = dict[str, list[ScoredWindow]]


def events_of(windows: Scored, labels: tuple[str, ...], settings: EventSettings) -> list[Event]:
    return [
        event
        for name, own in windows.items()
        for event in find_events(own, labels, settings, Origin(name))
    ]


def models(data: Data, args: argparse.Namespace) -> dict[str, list[Path]]:
    """Train what is asked for: on the sounds as they are, and over either half of the ambient."""
    found = {}
    for kind in args.train:
        out = args.work / f"{kind}-{args.arch}-{args.duration:g}"
        out.mkdir(parents=True, exist_ok=True)
        if kind == "plain":
            table = write_plain(data, out, args.duration)
        elif (out / "clips.csv").is_file():
            table = out / "clips.csv"
        else:
            table = write_mixed(data, out, args.duration, args.copies, int(kind[-1]))
        found[kind] = train(table, out, args)
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="Folder for all that is made.")
    parser.add_argument("--train", nargs="+", default=["plain", "mixed0", "mixed1"])
    parser.add_argument("--arch", default="cnn4")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=8, help="Windows made of each sound.")
    parser.add_argument("--duration", type=float, default=1.0, help="Seconds of a window.")
    return parser.parse_args()


def main() -> None:
    args = parse()
    data = Data(args.data / "office-scenes", args.data / "ambient")
    trained = models(data, args)


if __name__ == "__main__":
    main()

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
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import soundfile as sf

from spectro.clips.waveform import load
from spectro.errors import ConfigError
from spectro.listening.backends import Answer, open_backend
from spectro.listening.events.finding import Event, Origin, ScoredWindow, find_events
from spectro.listening.events.labels import Labelled
from spectro.listening.events.scoring import EventScores, match, score_events
from spectro.listening.events.settings import EventSettings
from spectro.listening.scan import score_windows
from spectro.listening.thresholds import Background, check_budget, choose_thresholds
from spectro.listening.thresholds.bounds import hours_needed, poisson_upper

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
        """The events of all scenes."""
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
    # A killed training goes on; what is there is not trained again.
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
        """Ask all of them."""
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


def models(data: Data, args: argparse.Namespace, kind: str) -> list[Path]:
    """Train, unless that is done, and return the folds' model folders."""
    out = args.work / f"{kind}-{args.arch}-{args.duration:g}"
    out.mkdir(parents=True, exist_ok=True)
    table = out / "clips.csv"
    if not table.is_file():
        if kind == "plain":
            write_plain(data, out, args.duration)
        else:
            write_mixed(data, out, args.duration, args.copies, int(kind[-1]))
    return train(table, out, args)


# Scores


def truth_of(data: Data, name: str) -> list[Labelled]:
    return [
        Labelled(name, float(row["onset"]), float(row["offset"]), row["class"])
        for row in data.timeline
        if row["file"] == name
    ]


class Scenes(NamedTuple):
    """Scenes with their marks and scored windows, by name."""

    truth: dict[str, list[Labelled]]
    windows: Scored
    labels: tuple[str, ...]

    def part(self, *words: str) -> Scenes:
        """Take the scenes with any of the words in their names."""
        names = [name for name in self.windows if any(word in name for word in words)]
        return Scenes(
            {n: self.truth[n] for n in names}, {n: self.windows[n] for n in names}, self.labels
        )

    def score(self, settings: EventSettings, collar: float | None = None) -> EventScores:
        """Score the events that these settings make."""
        found = events_of(self.windows, self.labels, settings)
        marks = itertools.chain.from_iterable(self.truth.values())
        durations = {name: own[-1].end for name, own in self.windows.items()}
        return score_events(marks, found, durations=durations, collar=collar)


def candidates(ignore: tuple[str, ...]) -> Iterator[EventSettings]:
    grid = itertools.product(
        (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), (0.1, 0.2, 0.3), (1, 3, 5), (0.0, 0.3, 1.0), (0, 0.3)
    )
    for on, low, smooth, gap, least in grid:
        yield EventSettings(
            on=on, off=low, extent=low, smooth_windows=smooth, merge_gap=gap, min_length=least,
            ignore=ignore,
        )  # fmt: skip


def tell(title: str, scores: EventScores) -> None:
    s = scores.overall
    shares = [f"{100 * (share or 0):5.1f} %" for share in (s.f1, s.precision, s.recall)]
    false = f"{s.false_alarms:4} false"
    print(f"{title:<44} F1 {shares[0]}  precision {shares[1]}  recall {shares[2]}  {false}")


def report(title: str, scenes: Scenes, settings: EventSettings) -> None:
    print(f"\n{title}")
    for collar, rule in ((None, "any overlap"), (0.2, "starts within 200 ms")):
        tell(rule, scenes.score(settings, collar))
    for snr in ("-6", "0", "6"):
        tell(f"  at {snr} dB, any overlap", scenes.part(f"ebr_{snr}_").score(settings))
    for label, score in scenes.score(settings).classes.items():
        one = score._replace(label="")
        tell(f"    {label}", EventScores({}, one, ""))


def overlaying(data: Data, listener: Together, hop: float, work: Path) -> Scenes:
    """Make scenes whose events overlap, of two of the same level added, and hear them."""
    truth: dict[str, list[Labelled]] = {}
    windows: Scored = {}
    for snr in ("-6", "0", "6"):
        pair = [f"dev_1_ebr_{snr}_nec_{n}_poly_0.ogg" for n in (1, 2)]
        sounds = [load(data.scenes / "scenes" / name, sr=44_100) for name in pair]
        n = min(map(len, sounds))
        name = f"sum_ebr_{snr}_.wav"
        work.mkdir(parents=True, exist_ok=True)
        sf.write(work / name, 0.5 * (sounds[0][:n] + sounds[1][:n]), 44_100)
        truth[name] = [
            one._replace(recording=name) for scene in pair for one in truth_of(data, scene)
        ]
        windows[name] = scored(work / name, listener, hop, work)
    return Scenes(truth, windows, listener.card.labels)


def overlap_recall(scenes: Scenes, settings: EventSettings) -> None:
    """Tell the recall of the events that overlap another, apart from that of the others."""
    for name, wanted in (("overlap another", True), ("alone", False)):
        found = marked = 0
        for scene, marks in scenes.truth.items():
            one = Scenes({scene: marks}, {scene: scenes.windows[scene]}, scenes.labels)
            events = events_of(one.windows, scenes.labels, settings)
            for label in {mark.label for mark in marks}:
                own = [mark for mark in marks if mark.label == label]
                heard = [event for event in events if event.label == label]
                hits = {i for i, _ in match(own, heard, None)}
                picked = [i for i, mark in enumerate(own) if overlaps(mark, marks) == wanted]
                found, marked = found + len(hits & set(picked)), marked + len(picked)
        print(f"  recall of events that {name}: {found} of {marked}")


def overlaps(mark: Labelled, marks: list[Labelled]) -> bool:
    return any(m != mark and m.start < mark.end and mark.start < m.end for m in marks)


def hear_scenes(data: Data, listener: Together, hop: float, cache: Path) -> Scenes:
    paths = sorted((data.scenes / "scenes").glob("*.ogg"))
    return Scenes(
        {path.name: truth_of(data, path.name) for path in paths},
        {path.name: scored(path, listener, hop, cache) for path in paths},
        listener.card.labels,
    )


def background_of(
    data: Data, names: list[str], listener: Together, hop: float, cache: Path
) -> list[Background]:
    found = []
    for name in names:
        own = scored(data.ambient / name, listener, hop, cache)
        found.append(Background(name, own[-1].end / 3600, own))
    return found


def false_events(
    background: list[Background], labels: tuple[str, ...], settings: EventSettings
) -> None:
    """Tell the false events an hour, and what the hours can support."""
    hours = sum(one.hours for one in background)
    events = events_of({one.recording: list(one.windows) for one in background}, labels, settings)
    counts = Counter(event.label for event in events)
    bound = poisson_upper(len(events)) / hours
    print(
        f"  {len(events)} false events in {60 * hours:.1f} minutes of background: "
        f"{len(events) / hours:.0f} an hour (at most {bound:.0f}); {dict(counts.most_common())}"
    )
    try:
        check_budget(hours, 0.5)
    except ConfigError as error:
        print(f"  a budget of 0.5 an hour: {error}")


def measure(data: Data, args: argparse.Namespace, kind: str) -> None:
    folders = models(data, args, kind)
    listener = Together(folders)
    cache = args.work / f"{kind}-{args.arch}-{args.duration:g}" / f"scored-{len(folders)}"
    ignore = (BACKGROUND,) if BACKGROUND in listener.card.labels else ()
    print(f"\n=== {kind}, {args.arch}, windows of {args.duration:g} s, {len(folders)} networks")
    heard = {hop: hear_scenes(data, listener, hop, cache) for hop in args.hops}
    rows = []
    for hop, scenes in heard.items():
        tuned = scenes.part(TUNED_ON)
        default = EventSettings(ignore=ignore)
        tell(f"hop {hop:g} s, default settings, tuning half", tuned.score(default))
        rows += [(s.overall.f1 or 0, hop, c) for c in candidates(ignore) for s in [tuned.score(c)]]
    best, hop, chosen = max(rows, key=lambda row: row[0])
    changed = chosen.model_dump(exclude_defaults=True)
    print(f"chosen on the tuning half (F1 {100 * best:.1f} %): hop {hop:g} s, {changed}")
    other = heard[hop].part("nec_1", "nec_2")
    report("other half, default settings", other, EventSettings(ignore=ignore))
    report("other half, chosen settings", other, chosen)
    if args.sums:
        sums = overlaying(data, listener, hop, cache / "sums")
        report("other half, two scenes added, so that events overlap", sums, chosen)
        overlap_recall(sums, chosen)
    names = data.half(1 - int(kind[-1])) if kind != "plain" else [n for n, _ in data.backgrounds]
    background = background_of(data, names, listener, hop, cache)
    print("\nfalse events on background that the network never heard")
    for title, settings in (("default", EventSettings(ignore=ignore)), ("chosen", chosen)):
        print(f" {title} settings")
        false_events(background, listener.card.labels, settings)
    budget(background, other, chosen, hop)


def budget(background: list[Background], other: Scenes, chosen: EventSettings, hop: float) -> None:
    """Choose thresholds by the least budget that the hours support, and score the scenes anew."""
    hours = sum(one.hours for one in background)
    rate = 1.001 * hours_needed(1) / hours
    found = choose_thresholds(
        background, other.labels, site="bench", budget=rate, hop=hop, settings=chosen
    )
    print(f"\nthresholds by a budget of {rate:.2f} an hour and class, on that background")
    report("other half, these thresholds", other, found.settings)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="Folder for all that is made.")
    parser.add_argument("--train", nargs="+", default=["plain", "mixed0", "mixed1"])
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=6, help="Windows made of each sound.")
    parser.add_argument("--duration", type=float, default=1.0, help="Seconds of a window.")
    parser.add_argument("--hops", type=float, nargs="+", default=[0.25, 0.5])
    parser.add_argument("--sums", action="store_true", help="Also scenes with overlapping events.")
    return parser.parse_args()


def main() -> None:
    args = parse()
    data = Data(args.data / "office-scenes", args.data / "ambient")
    for kind in args.train:
        measure(data, args, kind)


if __name__ == "__main__":
    main()

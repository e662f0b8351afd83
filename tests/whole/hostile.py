"""Mutants of every kind of file that the product reads, and a process that watches what they do.

``python tests/whole/hostile.py FOLDER KIND,KIND... FIRST LAST`` makes a small dataset, its
pictures, a run and a model below FOLDER, replaces one file of it by each mutant in turn, calls a
command on it, and prints a JSON line for each finding: a traceback, a wrong exit status, too many
lines, a write outside FOLDER, a socket, too much time or memory.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

SECONDS, MEMORY = 30, 3 << 30  # of one command; bytes above what the imports take
LINES, WIDTH = 45, 4_000  # of what it may print

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 3, 10**9, 10**30, 1e300, -1e300, 0.5, "", "x", "..",
    "/", "http://127.0.0.1:9/x", "s3://bucket/x", "\x1b[31m", "\x00", "é" * 300, "x" * 100_000,
    "nan", "NaN", "../../canary", "inf", "=1+1", "\ud800",
    [], {}, [[]], [1, 2], {"a": {"b": []}}, "fold1/../../canary",
]  # fmt: skip


class Kind(NamedTuple):
    """A file to replace, how to mutate it, and the commands to call then."""

    file: str
    mutate: Callable[[random.Random, bytes], bytes]
    commands: tuple[str, ...]


def any_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip, cut, double, insert or blank some bytes."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 16, 256))
        what = rng.randrange(6)
        if what == 0:
            data[at : at + length] = rng.randbytes(min(length, len(data) - at))
        elif what == 1:
            del data[at:]
        elif what == 2:
            data[at:at] = data[at : at + length]
        elif what == 3:
            data[at:at] = rng.randbytes(length)
        elif what == 4:
            data[at : at + length] = bytes(min(length, len(data) - at))
        else:
            del data[at : at + length]
    return bytes(data)


def json_values(rng: random.Random, data: bytes) -> bytes:
    """Replace, remove or add values anywhere in a JSON text; or mutate its bytes."""
    if rng.random() < 0.2:
        return any_bytes(rng, data)
    if rng.random() < 0.05:
        return rng.choice((b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000, b"[]", b"null", b""))
    whole = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places = list(_places(whole))
        holder, key = rng.choice(places)
        what = rng.randrange(5)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, dict):
            holder[rng.choice(("x", "self", "", "__class__", "label", "é" * 200))] = rng.choice(ODD)
        else:
            holder[key] = rng.choice(ODD)
        if not list(_places(whole)):
            break
    return json.dumps(whole).encode()


def header_values(rng: random.Random, data: bytes) -> bytes:
    """Replace values of the settings in the header of a safetensors file; or mutate its bytes."""
    if rng.random() < 0.4:
        return any_bytes(rng, data)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    about = header["__metadata__"]
    about["spectro"] = json_values(rng, about["spectro"].encode()).decode(errors="replace")
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def cells(rng: random.Random, data: bytes) -> bytes:
    """Replace cells of a CSV, remove or double columns and rows; or mutate its bytes."""
    if rng.random() < 0.25:
        return any_bytes(rng, data)
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", "replace"))))
    for _ in range(rng.choice((1, 1, 2, 5))):
        row = rng.randrange(len(rows)) if rows else 0
        if not rows or not rows[row]:
            break
        column, what = rng.randrange(len(rows[row])), rng.randrange(7)
        if what == 0:
            del rows[row]
        elif what == 1:
            rows.insert(row, list(rows[row]))
        elif what == 2:
            for one in rows:
                del one[column : column + 1]
        elif what == 3:
            for one in rows:
                one.insert(column, one[column] if column < len(one) else "")
        else:
            rows[row][column] = str(rng.choice(ODD)).replace("\ud800", "?")
    text = io.StringIO()
    csv.writer(text, lineterminator=rng.choice(("\n", "\n", "\r\n"))).writerows(rows)
    return text.getvalue().encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")), "replace")


def toml_text(rng: random.Random, data: bytes) -> bytes:
    """Replace values of a TOML file; or mutate its bytes."""
    if rng.random() < 0.3:
        return any_bytes(rng, data)
    lines = data.decode().splitlines()
    at = rng.randrange(len(lines))
    name = lines[at].partition("=")[0].strip() or "x"
    odd = rng.choice(
        ("1e999", "-1", "0", '"x"', "[]", "{}", "nan", "inf", "[" * 5_000, "9" * 5_000)
    )
    lines[at] = rng.choice((f"{name} = {odd}", f"[{name}]", f"[[{name}]]", f"{name}.a = {odd}"))
    return "\n".join(lines).encode()


RUN = ("runs --runs run", "runs --runs run --json", "compare run other", "report run --out r.html")
SET = ("render ds --out pics --duration 1", "train-fold pics --fold 1 --run t " + "{brief}")
MODEL, NEW = "run/fold1/model/", "render ds --out new --duration 1 --group-pattern ^.."
PROBE = "probe pics --run t --weights "
EXPORTED, SCAN = "other/fold1/model/", "scan {exported} {clip} --out "
PRETRAIN = (
    "pretrain --out net --arch mobilenet_v3_small --sounds 8 --batch-size 4 --sr 4000 --fmax 2000 "
    "--duration 0.5 --n-mels 32 --n-fft 256 --precision fp32"
)
KINDS: dict[str, Kind] = {
    "model.json": Kind(MODEL + "model.json", json_values, ("predict {model} {clip} --json",)),
    "model.safetensors": Kind(MODEL + "model.safetensors", any_bytes, ("predict {model} {clip}",)),
    "run.json": Kind("run/run.json", json_values, RUN),
    "fold.json": Kind("run/fold1/fold.json", json_values, RUN[2:]),
    "scores.json": Kind("run/scores.json", json_values, (RUN[0], RUN[1], RUN[3])),
    "predictions.csv": Kind("run/fold1/predictions.csv", cells, RUN[2:]),
    "history.csv": Kind("run/fold1/history.csv", cells, RUN[3:]),
    "clips.csv": Kind("pics/clips.csv", cells, SET),
    "dataset.json": Kind("pics/dataset.json", json_values, SET),
    "spectrogram.json": Kind("pics/spectrogram.json", json_values, SET),
    "folds.csv": Kind("ds/folds.csv", cells, (NEW,)),
    "folds.json": Kind("ds/folds.json", json_values, (NEW,)),
    "quarantine.csv": Kind("q.csv", cells, (f"{NEW} --quarantine q.csv",)),
    "table.csv": Kind("table.csv", cells, ("check table.csv", NEW.replace("ds", "table.csv"))),
    "settings.toml": Kind(
        "settings.toml",
        toml_text,
        ("render ds --out new --config settings.toml --group-pattern ^..",),
    ),
    "train.toml": Kind("train.toml", toml_text, (f"{PROBE}none --config train.toml",)),
    "picture.png": Kind("{picture}", any_bytes, SET[::-1]),
    "weights.safetensors": Kind("w.safetensors", any_bytes, (f"{PROBE}w.safetensors",)),
    "weights.pth": Kind("w.pth", any_bytes, (f"{PROBE}w.pth",)),
    "calibration.json": Kind("run/calibration.json", json_values, ("predict run {clip}",)),
    "trained-on.txt": Kind(MODEL + "trained-on.txt", any_bytes, ("predict {model} {clip}",)),
    "verify.json": Kind(EXPORTED + "verify.json", json_values, ("verify {exported}",)),
    "model.onnx": Kind(EXPORTED + "model.onnx", any_bytes, ("predict {exported} {clip}",)),
    "thresholds.json": Kind(EXPORTED + "thresholds/x.json", json_values, (f"{SCAN}new --site x",)),
    "scan.json": Kind("{record}", json_values, (SCAN + "s",)),
    "events.csv": Kind("events.csv", cells, ("score-events marks.txt events.csv",)),
    "marks.txt": Kind("marks.txt", cells, ("score-events marks.txt events.csv",)),
    "state.safetensors": Kind("net/state.safetensors", header_values, (PRETRAIN,)),
    "log.csv": Kind("net/log.csv", cells, (PRETRAIN,)),
    "store.db": Kind("store.db", any_bytes, ("events store.db", f"{SCAN}new --store store.db")),
}
KEPT = ("pics", "run", "other", "ds", "s", "net")
WRITERS = ("pretrain", "probe", "render", "report", "scan", "train-fold")
BRIEF = "--arch cnn4 --weights none --epochs 1 --size 32"


def call(words: list[str]) -> tuple[int | str, str]:
    """Run a command in this process; return its exit status, or a traceback, and what it said."""
    from spectro.cli.app import main

    said = io.StringIO()
    sys.argv = ["spectro", *words]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            return (
                end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            ), said.getvalue()
        except BaseException:
            return traceback.format_exc(), said.getvalue()
    return 0, said.getvalue()


def build(folder: Path) -> dict[str, str]:
    """Make a dataset of two classes, its pictures, two runs, tables and weights below `folder`."""
    import numpy as np
    import soundfile as sf
    import torch
    from safetensors.torch import save_file

    os.chdir(folder)
    for k, label in enumerate("ab"):
        Path("ds", label).mkdir(parents=True)
        for i in range(4):
            y = 0.3 * np.sin(2 * np.pi * (300 * (k + 1) + 31 * i) * np.arange(8000) / 8000)
            sf.write(f"ds/{label}/{label}{i}.wav", y, 8000)
    expect(
        "render ds --out pics --duration 1 --n-folds 2 --n-mels 32 --hop-length 2048 "
        "--group-pattern ^.."
    )
    expect(f"cross-validate pics --run run {BRIEF}")
    shutil.copytree("run", "other")
    rows = [f"ds/{c}/{c}{i}.wav,{c},{i % 2 + 1},{c}{i},0,1" for c in "ab" for i in range(4)]
    Path("table.csv").write_text("\n".join(["path,label,fold,group,start,end", *rows]) + "\n")
    Path("q.csv").write_text("path,start,end,problem,detail\na/a0.wav,,,silent,quiet\n")
    Path("settings.toml").write_text(
        "[spectrogram]\nduration = 1.0\nn_mels = 32\nhop_length = 2048\n"
    )
    Path("train.toml").write_text(
        '[train]\narch = "resnet18"\nweights = "none"\nsize = 32\nseed = 1\n'
    )
    import torchvision

    state = torchvision.models.resnet18(weights=None).state_dict()
    state = {name: x.half() if x.is_floating_point() else x for name, x in state.items()}
    save_file(state, "w.safetensors")
    torch.save(state, "w.pth")
    names = {
        "model": "run/fold1/model",
        "exported": "other/fold1/model",
        "clip": "ds/a/a0.wav",
        "picture": str(sorted(Path("pics/fold2").glob("*.png"))[0]),
        "brief": BRIEF,
    }
    expect(PRETRAIN)
    listen(names)
    return {**names, "record": str(next(Path("s/.scan").rglob("*.json")))}


def listen(names: dict[str, str]) -> None:
    """Export a model, choose thresholds, scan, and keep what was found in every form."""
    expect(f"export {names['exported']}")
    expect(
        f"thresholds {names['exported']} --background ds/a --budget 9/hour --site x --unsupported"
    )
    expect(f"{SCAN.format(**names)}s --store store.db --on 0.1 --off 0.1 --extent 0.1")
    shutil.copy("s/events.csv", "events.csv")
    Path("marks.txt").write_text(
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tBegin File\tSpecies\n"
        "1\tSpectrogram 1\t1\t0.2\t0.7\ta0.wav\ta\n"
    )


def expect(command: str) -> None:
    status, said = call(command.split())
    assert status == 0, f"{command}: {status}\n{said}"


class Watch:
    """Notes sockets, and writes and removals outside a folder, as an audit hook."""

    WRITES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "shutil.rmtree", "os.truncate",
              "os.symlink", "os.link", "os.chmod")  # fmt: skip

    REACHES = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
               "socket.bind", "urllib.Request")  # fmt: skip

    def __init__(self, folder: Path) -> None:
        self.folder, self.on = os.path.realpath(folder), False
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in self.REACHES:
            self.seen.append(f"{event} {args[1:] if event == 'socket.connect' else args}")
        elif event == "open" and isinstance(args[0], str | bytes):
            flags = args[2] if isinstance(args[2], int) else 0
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
                self._check(event, args[0])
        elif event in self.WRITES:
            for path in args[event == "os.symlink" : 2]:  # from where, and to where
                self._check(event, path)

    def _check(self, event: str, path: Any) -> None:
        whole = (
            os.path.realpath(os.fsdecode(path))
            if isinstance(path, str | bytes | os.PathLike)
            else ""
        )
        inside = (f"{self.folder}{os.sep}", "/dev/", "/proc/", CACHE)
        if whole and whole != self.folder and not whole.startswith(inside):
            self.seen.append(f"{event} {whole}")


CACHE = os.path.realpath(os.environ.get("MPLCONFIGDIR", Path.home() / ".config/matplotlib"))


def watch(folder: Path, kinds: list[str], first: int, last: int) -> Iterator[dict[str, Any]]:
    """Try mutants of each kind; yield a dict for each finding."""
    import resource  # Windows has none

    names = build(folder)
    whole = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-whole"), symlinks=True))
    tempfile.tempdir = str(folder / "tmp")
    Path(tempfile.tempdir).mkdir()
    guard = Watch(folder)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + MEMORY, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _too_long)
    for kind, number in itertools.product(kinds, range(first, last)):
        file, mutate, commands = KINDS[kind]
        path = Path(file.format(**names))
        healthy = (whole / path).read_bytes()
        mutant = mutate(random.Random(f"{kind} {number}"), healthy)
        command = commands[number % len(commands)].format(**names)
        path.write_bytes(mutant)
        guard.seen.clear()
        guard.on = True
        signal.alarm(SECONDS)
        status, said = call(command.split())
        signal.alarm(0)
        guard.on = False
        if command.split()[0] in WRITERS:
            restore(whole, folder)
        path.write_bytes(healthy)
        finding = judge(status, said, guard.seen)
        if finding:
            yield {"kind": kind, "number": number, "command": command, "finding": finding}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - used
    if grown > MEMORY:
        yield {"kind": kinds, "finding": f"memory grew by {grown >> 20} MiB"}


def restore(whole: Path, folder: Path) -> None:
    """Bring the folder back to what it was before a mutant was tried."""
    for name in ("t", "new", *KEPT):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in KEPT:
        shutil.copytree(whole / name, folder / name)
    shutil.copy(whole / "store.db", folder / "store.db")


def _too_long(*_: Any) -> None:
    raise TimeoutError(f"took more than {SECONDS} s")


def judge(status: int | str, said: str, seen: list[str]) -> str:
    """Say what is wrong with the end of a command; nothing where it ended well."""
    if isinstance(status, str):
        return status[-1_500:]
    if status not in (0, 1, 3):
        return f"exit status {status}: {said[-500:]}"
    lines = said.splitlines()
    if status == 1 and (not lines or "Traceback" in said):
        return f"status 1 without a word, or with a traceback: {said[-500:]}"
    if len(lines) > LINES or max(map(len, lines), default=0) > WIDTH:
        return f"{len(lines)} lines, the longest of {max(map(len, lines))} characters: {said[:300]}"
    if seen:
        return f"outside: {seen[:3]}"
    return ""


def main() -> None:
    """Try the mutants that the command line names; print findings, then how many were tried."""
    folder, kinds, first, last = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:5])
    folder.mkdir(parents=True)
    out = sys.stdout
    for finding in watch(folder.resolve(), kinds.split(","), first, last):
        print(json.dumps(finding), file=out, flush=True)
    print(json.dumps({"tried": last - first}), file=out)


if __name__ == "__main__":
    main()

"""Rendering that is killed, interrupted, run twice at once or short of room loses nothing done.

Each run is a process of its own that runs the command line. A server that has imported what the
command imports forks them, so that ten of them start in the time of one.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from spectro.clips import datasets
from spectro.pictures.rendered import RenderedSet

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

CLIPS = 160
OPTIONS = ("--duration", 2, "--n-folds", 3, "--workers", 2)
Snapshot = dict[str, tuple[int, bytes]]


def write_sounds(root: Path, *, clips: int = CLIPS, seconds: float = 0.5) -> Path:
    """Write tones of two classes, each with a time of its own."""
    for i in range(clips):
        path = root / ("low" if i % 2 else "high") / f"{i:03}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        hz = (200 if i % 2 else 2_000) + 7 * i
        sf.write(path, 0.5 * np.sin(np.arange(round(seconds * 8_000)) * hz / 1_273), 8_000)
        os.utime(path, ns=(10**18 + 10**9 * i,) * 2)
    return root


class Command:
    """A running ``spectro``."""

    def __init__(
        self, folder: Path, *words: object, file_limit: int | None = None, pipes: bool = False
    ) -> None:
        self.told = folder / "told.txt"
        self.told.unlink(missing_ok=True)
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            [
                "__main__",
                "spectro.cli.app",
                "spectro.clips.datasets",
                "spectro.scores.plots",
                "spectro.pictures.render",
            ]
        )
        arguments = ([str(word) for word in words], self.told, file_limit, pipes)
        self.process = context.Process(target=run_spectro, args=arguments)
        self.process.start()
        while not self.told.exists() and self.process.is_alive():
            time.sleep(0.001)

    def running(self) -> bool:
        return bool(self.process.is_alive())

    def send(self, number: int, *, group: bool = False) -> None:
        """Send a signal, or send it to all processes of the group, as a terminal does."""
        if self.running():
            (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self, seconds: float = 300) -> tuple[int, list[str]]:
        """Wait; return the exit status and the lines on the error stream."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "does not end"
        return self.process.exitcode, self.told.read_text().splitlines()

    def leave(self, seconds: float = 300) -> None:
        """Wait until what it started has noticed that it is no more."""
        if not Path("/proc/self/stat").exists():
            time.sleep(1)
        until(lambda: not any_runs(self.process.pid), seconds)
        assert not any_runs(self.process.pid)


def any_runs(group: int) -> bool:
    """Tell whether a process of a group runs; zombies do not. False where there is no /proc."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return True
    return False


def run_spectro(words: list[str], told: Path, file_limit: int | None, pipes: bool) -> None:
    """Be the command from here on; `pipes` lets it read from them, which it refuses to do."""
    if pipes:
        from spectro.clips import opening

        opening._check_regular = lambda path: None
    os.setsid()
    errors = os.open(told, os.O_CREAT | os.O_WRONLY)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(errors, 2)
    if file_limit is not None:  # what a full disk is, for one process
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    from spectro.cli.app import main

    sys.argv = ["spectro", *words]
    main()


def pictures(out: Path) -> list[Path]:
    return [path for path in out.glob("fold*/*.png") if not path.name.startswith(".")]


def snapshot(out: Path) -> Snapshot:
    """Return all that is in a folder: of each file the bytes, of a picture the time as well."""
    found = {}
    for path in sorted(out.rglob("*")):
        picture = path.suffix == ".png" and path.parent != out
        time = path.stat().st_mtime_ns if picture else 0
        found[path.relative_to(out).as_posix()] = time, b"" if path.is_dir() else path.read_bytes()
    return found


def assert_same(out: Path, whole: Snapshot) -> None:
    """Compare a folder with that of a run that nothing disturbed."""
    found = snapshot(out)
    assert sorted(found) == sorted(whole)
    assert [name for name in whole if found[name] != whole[name]] == []


def assert_nothing_half(out: Path, whole: Snapshot) -> None:
    """Whatever bears a picture's name is that picture, and a table that is there is true."""
    for path in pictures(out):
        name = path.relative_to(out).as_posix()
        assert (path.stat().st_mtime_ns, path.read_bytes()) == whole[name]
    if (out / "clips.csv").exists():
        assert all(Path(image).exists() for image in RenderedSet.load(out).clips["image"])


def until(condition: Any, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_sounds(tmp_path_factory.mktemp("sounds") / "tones")
    datasets.load(root, n_folds=3)  # makes the folds, and would note that it did
    return root


@pytest.fixture(scope="module")
def whole(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """What a run that nothing disturbs makes of the sounds."""
    folder = tmp_path_factory.mktemp("whole")
    assert Command(folder, "render", sounds, "--out", folder / "out", *OPTIONS).end() == (0, [])
    assert len(pictures(folder / "out")) == CLIPS
    return snapshot(folder / "out")


def kill_often(kills: int, seed: int, sounds: Path, whole: Snapshot, folder: Path) -> None:
    """Kill runs, some while they draw, some while they write what comes last; then let one end."""
    rng = random.Random(seed)
    out = folder / "out"
    killed, progress = 0, []
    while killed < kills:
        command = Command(folder, "render", sounds, "--out", out, *OPTIONS)
        goal = min(len(pictures(out)) + rng.randrange(CLIPS // 5), CLIPS)
        until(lambda goal=goal: len(pictures(out)) >= goal or not command.running())  # noqa: B023
        time.sleep(rng.uniform(0, 0.5 if goal == CLIPS else 0.02))
        command.send(signal.SIGKILL)
        status, _ = command.end()
        assert status in (0, -signal.SIGKILL)  # zero where the signal came too late
        if status:
            killed += 1
            progress.append(len(pictures(out)))
            assert_nothing_half(out, whole)
        if status == 0 or (goal == CLIPS and rng.random() < 0.5):
            shutil.rmtree(out)  # from the start
    assert len(set(progress)) > kills // 3, progress  # the moments were many
    command.leave()
    assert Command(folder, "render", sounds, "--out", out, *OPTIONS).end() == (0, [])
    assert_same(out, whole)


@pytest.mark.long
def test_killed_ten_times_it_ends_as_if_never_killed(
    sounds: Path, whole: Snapshot, tmp_path: Path
) -> None:
    kill_often(10, 1, sounds, whole, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_killed_any_number_of_times_it_ends_as_if_never_killed(
    seed: int, sounds: Path, whole: Snapshot, tmp_path: Path
) -> None:
    kill_often(50, seed, sounds, whole, tmp_path)


def at_once(sounds: Path, folder: Path, delay: float, n: int = 2) -> tuple[Path, list[Command]]:
    """Start two runs into one folder that is not there yet."""
    out = folder / "out"
    commands = []
    for i in range(2):
        (folder / str(i)).mkdir(parents=True)
        commands.append(Command(folder / str(i), "render", sounds, "--out", out, *OPTIONS))
        time.sleep(delay)
    return out, commands


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0, 0.1])
def test_two_at_once_in_one_folder_do_no_harm(
    delay: float, sounds: Path, whole: Snapshot, tmp_path: Path
) -> None:
    out, commands = at_once(sounds, tmp_path, delay)
    for command in commands:
        assert command.end() == (0, [])
    assert_same(out, whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 3, 4))])
def test_of_two_at_once_one_may_be_killed(
    seed: int, sounds: Path, whole: Snapshot, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    out, commands = at_once(sounds, tmp_path, 0.01)
    until(lambda: len(pictures(out)) > rng.randrange(CLIPS // 2))
    commands[seed % 2].send(signal.SIGKILL)
    assert commands[1 - seed % 2].end() == (0, [])
    commands[seed % 2].end()
    commands[seed % 2].leave()
    assert Command(tmp_path, "render", sounds, "--out", out, *OPTIONS).end() == (0, [])
    assert_same(out, whole)


@pytest.fixture
def long_sounds(tmp_path: Path) -> Path:
    """Write a table of 100 long parts of a recording: each takes a while to draw."""
    root = tmp_path / "long"
    root.mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(44_100 * 250, dtype=np.float32)
    sf.write(root / "a.wav", noise, 44_100, subtype="PCM_16")
    rows = [
        {"path": "a.wav", "label": "ab"[i % 2], "fold": 1 + i % 3, "start": i / 2}
        for i in range(100)
    ]
    pd.DataFrame(rows).to_csv(root / "clips.csv", index=False)
    return root / "clips.csv"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_at_once_and_says_what_was_done(
    workers: int, long_sounds: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("render", long_sounds, "--out", out, "--duration", 200, "--workers", workers)
    command = Command(tmp_path, *words)
    until(lambda: len(pictures(out)) >= 2)
    command.send(signal.SIGINT, group=True)
    status, told = command.end()
    command.leave()  # nobody goes on
    done = len(pictures(out))
    assert status == 130, told
    assert 2 <= done < 50
    assert len(told) == 1, told
    assert "interrupted" in told[0]
    counted, total = (int(n) for n in re.findall(r"\d+", told[0])[:2])
    assert total == 100
    assert counted <= done  # those finished since were not counted
    assert not (out / "clips.csv").exists()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("render", "--out", "out"), "what is done is kept, run it again to go on"),
        (("check",), "nothing is written; run it again to check all of them"),
    ],
)
def test_ctrl_c_does_not_wait_for_the_clip_in_hand(
    words: tuple[str, ...], told: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding one clip never ends: it is a pipe into which nobody writes, opened all the same."""
    monkeypatch.chdir(tmp_path)
    root = write_sounds(tmp_path / "tones", clips=6)
    os.mkfifo(root / "never.wav")
    rows = [f"{path.relative_to(root)},{path.parent.name},1" for path in root.glob("*/*.wav")]
    table = root / "clips.csv"
    table.write_text("\n".join(["path,label,fold", *rows, "never.wav,low,2"]) + "\n")
    command = Command(tmp_path, words[0], table, *words[1:], "--workers", workers, pipes=True)
    pipe = written_to(root / "never.wav", command)
    command.send(signal.SIGINT, group=True)
    status, lines = command.end()
    os.close(pipe)
    assert status == 130, lines
    assert len(lines) == 1, lines
    assert re.fullmatch(rf"spectro: interrupted with \d of 7 clips done; {told}", lines[0])


def written_to(pipe: Path, command: Command) -> int:
    """Wait until the command reads from `pipe`; return a handle of the end to write into."""
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads
            assert command.running()
            time.sleep(0.01)


def sizes(whole: Snapshot) -> list[int]:
    return [len(content) for name, (time, content) in whole.items() if time]


def test_no_room_for_a_file_ends_with_one_line_and_the_next_run_goes_on(
    sounds: Path, whole: Snapshot, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("render", sounds, "--out", out, *OPTIONS)
    limit = int(np.quantile(sizes(whole), 0.9))
    status, told = Command(tmp_path, *words, file_limit=limit).end()
    assert status == 1
    assert len(told) == 1, told
    assert "File too large" in told[0]
    assert "run it again to go on" in told[0]
    assert 0 < len(pictures(out)) < CLIPS
    assert_nothing_half(out, whole)
    done = {path: path.stat().st_ino for path in pictures(out)}
    assert Command(tmp_path, *words).end() == (0, [])
    assert_same(out, whole)
    assert {path: path.stat().st_ino for path in done} == done  # not drawn again


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 600 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
def test_full_disk_ends_with_one_line_and_the_next_run_goes_on(
    small_disk: Path, sounds: Path, whole: Snapshot, tmp_path: Path
) -> None:
    out = small_disk / "out"
    words = ("render", sounds, "--out", out, *OPTIONS)
    for _ in range(2):  # a second time it is full from the start
        status, told = Command(tmp_path, *words).end()
        assert status == 1
        assert len(told) == 1, told
        assert "No space left on device" in told[0]
        assert ".spectro-" not in told[0]  # a name that nobody knows
        assert_nothing_half(out, whole)
        assert len(pictures(out)) > 20
    remount = ["mount", "-o", "remount,size=64m", str(small_disk)]
    subprocess.run(remount, check=True)
    assert Command(tmp_path, *words).end() == (0, [])
    assert_same(out, whole)

"""Scratch folders: one's own while one lives, anybody's to clear away after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from spectro.plumbing.files import (
    is_scratch,
    is_taken,
    replacing_folder,
    scratch,
    sweep,
    without_scratch,
    write_text,
)


def scratches(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if is_scratch(path)]


def test_folder_is_there_in_the_block_and_gone_after(tmp_path: Path) -> None:
    with scratch(tmp_path) as own:
        (own / "half.png").write_bytes(b"half")
        assert own.parent == tmp_path
        assert scratches(tmp_path) == [own]
    assert list(tmp_path.iterdir()) == []


def test_the_folder_outside_is_named(tmp_path: Path) -> None:
    with scratch(tmp_path) as own:
        assert without_scratch(str(own)) == without_scratch(str(own / "half.png")) == str(tmp_path)
    assert without_scratch(str(tmp_path / "fold1" / "a.png")) == str(tmp_path / "fold1" / "a.png")


def test_folder_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch(tmp_path) as own:
        (own / "half.png").write_bytes(b"half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_each_has_its_own(tmp_path: Path) -> None:
    with scratch(tmp_path) as one, scratch(tmp_path) as other:
        assert one != other


def test_sweep_leaves_what_is_in_use(tmp_path: Path) -> None:
    with scratch(tmp_path) as own:
        (own / "half.png").write_bytes(b"half")
        thread = threading.Thread(target=sweep, args=(tmp_path,))
        thread.start()
        thread.join()
        assert (own / "half.png").exists()


HOLDER = """
import sys, time
from pathlib import Path
from typing import Any
from spectro.plumbing.files import scratch
with scratch(Path(sys.argv[1])) as own:
    (own / "half.png").write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Start a process that has a scratch folder in `folder`."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    return holder


def test_sweep_takes_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text("mine")
    with hold(tmp_path) as dead, hold(tmp_path) as alive:
        os.kill(dead.pid, signal.SIGKILL)
        dead.wait()
        assert len(scratches(tmp_path)) == 2
        sweep(tmp_path)
        assert len(scratches(tmp_path)) == 1  # that of the other
        assert (scratches(tmp_path)[0] / "half.png").exists()
        os.kill(alive.pid, signal.SIGKILL)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["clips.csv"]


def test_many_at_once_with_sweepers_between(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(20):
                with scratch(tmp_path) as own:
                    (own / "file").write_text(str(number))
                    sweep(tmp_path)
                    assert (own / "file").read_text() == str(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [FileExistsError, FileNotFoundError])
def test_a_folder_swept_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    """filelock makes the folder of a lock, and fails either way if it goes at that moment."""
    acquire = FileLock.acquire
    swept: list[Path] = []

    def first_time_swept(lock: FileLock, **how: Any) -> Any:
        if not swept:
            swept.append(Path(lock.lock_file).parent)
            swept[0].rmdir()
            raise error(17, "File exists")
        return acquire(lock, **how)

    monkeypatch.setattr(FileLock, "acquire", first_time_swept)
    with scratch(tmp_path) as own:
        assert own.is_dir()
        assert own != swept[0]
    assert list(tmp_path.iterdir()) == []


# Processes that are killed while they write

WRITER = """
import os, signal, sys
from pathlib import Path
from spectro.plumbing import files
folder, step = Path(sys.argv[1]), sys.argv[2]
def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
rename = Path.rename
def rename_and_die(path, target):
    if step == "before both renames":
        die()
    rename(path, target)
    if step == "between the renames" or path.name == "new":
        die()
Path.rename = rename_and_die
if step == "in a file":
    with files.replacing(folder / "table.csv") as temporary:
        temporary.write_text("half")
        die()
with files.replacing_folder(folder / "fold2") as temporary:
    (temporary / "scores.txt").write_text("new")
    if step == "in a file of the folder":
        with files.replacing(temporary / "model.json") as part:
            part.write_text("half")
            die()
    if step == "in the folder":
        die()
"""
STEPS = [
    "in a file", "in the folder", "in a file of the folder", "before both renames",
    "between the renames", "after both renames",
]  # fmt: skip


def written(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def killed_while_writing(folder: Path, step: str) -> None:
    done = subprocess.run([sys.executable, "-c", WRITER, str(folder), step], check=False)
    assert done.returncode == -signal.SIGKILL
    assert scratches(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_what_a_killed_writer_left_is_swept_and_nothing_is_lost(
    step: str, existed: bool, tmp_path: Path
) -> None:
    before = {"fold2/scores.txt": "old", "fold2/only.old": "old", "table.csv": "old"}
    if existed:
        (tmp_path / "fold2").mkdir()
        for name, text in before.items():
            (tmp_path / name).write_text(text)
    elif step == "between the renames":
        step = "after both renames"  # there is but one
    killed_while_writing(tmp_path, step)
    assert not is_taken(tmp_path) or existed or step == "after both renames"
    sweep(tmp_path)
    kept = before if existed else {}
    if step == "after both renames":
        kept = {name: text for name, text in kept.items() if not name.startswith("fold2")}
        kept |= {"fold2/scores.txt": "new"}
    assert written(tmp_path) == kept
    assert scratches(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_the_next_writer_sweeps(tmp_path: Path) -> None:
    for step in ("in a file", "in the folder"):
        killed_while_writing(tmp_path, step)
        write_text(tmp_path / "run.json", "{}")
        assert written(tmp_path) == {"run.json": "{}"}
    killed_while_writing(tmp_path, "in the folder")
    with replacing_folder(tmp_path / "fold1") as temporary:
        (temporary / "scores.txt").write_text("new")
    assert written(tmp_path) == {"run.json": "{}", "fold1/scores.txt": "new"}


def test_sweep_restores_nothing_by_links_and_over_nothing(tmp_path: Path) -> None:
    for name in ("victim", "set/fold1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "canary.txt").write_text("precious")
    linked, holding = (tmp_path / "set" / f".spectro-{n:032x}" for n in (1, 2))
    linked.mkdir()
    (linked / "old").symlink_to(tmp_path / "victim", target_is_directory=True)
    (holding / "old" / "fold1").mkdir(parents=True)
    (holding / "old" / "fold2").symlink_to(tmp_path / "victim", target_is_directory=True)
    sweep(tmp_path / "set")
    assert written(tmp_path) == dict.fromkeys(
        ("victim/canary.txt", "set/fold1/canary.txt"), "precious"
    )
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["fold1"]


@pytest.mark.parametrize("name", [".spectro-config", ".spectro-0123", f".spectro-{'A' * 32}"])
def test_sweep_leaves_what_is_not_a_scratch_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine.txt").write_text("mine")
    (tmp_path / f".spectro-{0:032x}").write_text("a file of that name")
    sweep(tmp_path)
    sweep(tmp_path / "not there")
    assert len(written(tmp_path)) == 2


def test_writing_does_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(lock: FileLock, **how: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(FileLock, "acquire", no_locks)
    (tmp_path / f".spectro-{0:032x}").mkdir()
    write_text(tmp_path / "a.txt", "text")
    assert written(tmp_path) == {"a.txt": "text"}
    assert len(scratches(tmp_path)) == 1  # may be in use


def test_a_folder_that_cannot_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, *args: Any, **how: Any) -> None:
        if ".spectro-" in path.name:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refused)
    for path in (tmp_path / "a.txt", tmp_path / "fold1"):
        with pytest.raises(PermissionError) as error:
            write_text(path, "text")
        assert error.value.filename == str(path)
        with pytest.raises(PermissionError) as error, replacing_folder(path):
            pass
        assert error.value.filename == str(path)

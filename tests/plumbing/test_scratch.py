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

from spectro.plumbing.files import is_scratch, outside, scratch, sweep


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
        assert outside(str(own)) == outside(str(own / "half.png")) == str(tmp_path)
    assert outside(str(tmp_path / "fold1" / "a.png")) == str(tmp_path / "fold1" / "a.png")


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

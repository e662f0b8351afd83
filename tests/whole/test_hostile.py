"""Mutants of every kind of file that the product reads end in a line, and touch nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.whole.hostile import KINDS

EACH = ("run.json", "clips.csv", "model.json", "table.csv", "train.toml")  # of every family, one


def findings(folder: Path, kinds: str, count: int) -> list[dict[str, object]]:
    """Try `count` mutants of each kind in a process of its own; return what went wrong."""
    script = Path(__file__).with_name("hostile.py")
    command = [sys.executable, str(script), str(folder), kinds, "0", str(count)]
    clean = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_HOME": str(folder.parent / "torch")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 0, done.stderr[-2_000:]
    *found, last = map(json.loads, done.stdout.splitlines())
    assert last == {"tried": count}
    return found


TRIED = """
import os, socket
from pathlib import Path
from tests.whole.hostile import Watch
inside, beside, outside = (Path({folder!r}) / name for name in ("in", "in-whole", "out"))
for one in (inside, beside, outside):
    one.mkdir()
    (one / "a").write_text("a")
guard = Watch(inside)
guard.on = True
(inside / "a").replace(inside / "b")
assert not guard.seen, guard.seen
(inside / "b").replace(outside / "a")
os.link(outside / "a", inside / "c")
os.symlink("c", inside / "d")
os.link(inside / "c", outside / "e")
(beside / "f").write_text("f")
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("127.0.0.1", 0))
guard.on = False
print("\\n".join(guard.seen))
"""


def test_what_leaves_the_folder_is_seen(tmp_path: Path) -> None:
    """By a rename or a link outward, too, and into a folder whose name begins alike."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", TRIED.format(folder=str(tmp_path))], capture_output=True, text=True,
        check=True, cwd=root,
    )  # fmt: skip
    seen = [line.split()[0] for line in done.stdout.splitlines()]
    assert seen == ["os.rename", "os.link", "os.link", "open", "socket.bind"]


@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory as Linux does")
def test_some_mutants_of_each_family(tmp_path: Path) -> None:
    assert findings(tmp_path / "work", ",".join(EACH), 1) == []


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory as Linux does")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_many_mutants_of_every_kind(kind: str, tmp_path: Path) -> None:
    assert findings(tmp_path / "work", kind, 300) == []

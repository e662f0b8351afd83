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


@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory as Linux does")
def test_some_mutants_of_each_family(tmp_path: Path) -> None:
    assert findings(tmp_path / "work", ",".join(EACH), 1) == []


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory as Linux does")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_many_mutants_of_every_kind(kind: str, tmp_path: Path) -> None:
    assert findings(tmp_path / "work", kind, 300) == []

"""Local workers: processes where forking is safe, threads elsewhere; none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")


def run(code: str) -> str:
    """Run `code` in a fresh process that has not loaded torch; return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@linux
@pytest.mark.parametrize("n", [1, 2])  # one alone too: it keeps the memory that it freed
def test_processes_where_nothing_speaks_against_it(n: int) -> None:
    code = f"""
import os
from spectro.plumbing.workers import pool
with pool({n}) as executor:
    print(executor.submit(os.getpid).result() == os.getpid())
"""
    assert run(code) == "False"


@pytest.mark.slow
@pytest.mark.parametrize(
    "before",
    ["import threading, time; threading.Thread(target=time.sleep, args=(2,)).start()",
     "import sys; sys.modules['torch'] = sys"],
)  # fmt: skip
def test_threads_where_forking_is_not_safe(before: str) -> None:
    code = f"""
import os
from spectro.plumbing.workers import pool
{before}
with pool(2) as executor:
    print(executor.submit(os.getpid).result() == os.getpid())
"""
    assert run(code) == "True"


@linux
def test_as_many_as_the_processors_allowed() -> None:
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from spectro.plumbing.workers import pool
print(pool()._max_workers)
"""
    assert run(code) == "1"


PARENT = """
import os, sys, time
from spectro.plumbing.workers import pool
executor = pool(2)
print(*executor._processes, flush=True)
for future in [executor.submit(time.sleep, 60) for _ in range(int(sys.argv[1]))]:
    future.result()
time.sleep(60)
"""


def gone(pid: int, within: float) -> bool:
    """Tell whether a process ends within so many seconds."""
    for _ in range(round(within * 20)):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@linux
@pytest.mark.parametrize("tasks", [0, 2])
def test_workers_end_when_their_parent_is_killed(tasks: int) -> None:
    command = [sys.executable, "-c", PARENT, str(tasks)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        os.kill(parent.pid, signal.SIGKILL)
    assert all(gone(pid, 30) for pid in pids)


@linux
def test_memory_between_things_that_are_kept_is_returned() -> None:
    code = """
from spectro.plumbing.workers import return_memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
before = resident()
pieces = [bytearray(60_000) for _ in range(2_000)]
kept = pieces[::20]
pieces.clear()
held = resident() - before
return_memory()
print(held > 5e7, resident() - before < 3e7, len(kept))
"""
    assert run(code) == "True True 100"


@linux
def test_kept_memory_is_used_again() -> None:
    code = """
from resource import RUSAGE_SELF, getrusage
from spectro.plumbing.workers import ACTIVATIONS, keep_memory
def faults():
    before = getrusage(RUSAGE_SELF).ru_minflt
    for _ in range(5):
        bytearray(100_000_000)
    return getrusage(RUSAGE_SELF).ru_minflt - before
new = faults()
keep_memory(ACTIVATIONS)
bytearray(100_000_000)
print(faults() < new / 4)
"""
    assert run(code) == "True"

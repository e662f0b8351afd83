"""Look into built packages: the source of spectro and what goes with it, nothing else."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

UNWANTED = ("tests/", "data/", "notebooks/", "benchmarks/", "runs/", ".ci/")
LARGEST = 3_000_000  # bytes unpacked


def members(path: Path) -> dict[str, int]:
    """Give the names in a wheel or sdist, without the sdist's own folder, and their sizes."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return {each.filename: each.file_size for each in wheel.infolist()}
    with tarfile.open(path) as sdist:
        return {each.name.partition("/")[2]: each.size for each in sdist if each.isfile()}


def check(path: Path) -> None:
    """Raise if a package holds what it should not, or lacks a file of the source."""
    found = members(path)
    unwanted = [name for name in found if name.startswith(UNWANTED) or "__pycache__" in name]
    source = {p.as_posix() for p in Path("spectro").rglob("*") if p.is_file()}
    source = {name for name in source if "__pycache__" not in name}
    missing = sorted(source - set(found))
    total = sum(found.values())
    print(f"{path.name}: {len(found)} files, {total:,} bytes unpacked")
    if unwanted or missing or total > LARGEST:
        sys.exit(f"{path.name}: unwanted {unwanted[:5]}, missing {missing[:5]}, {total:,} bytes")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        check(Path(name))

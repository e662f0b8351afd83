"""The folder of evidence: a folder a class, in it a clip, a picture and the facts of each event.

::

    CLASS/20261128T093000Z-ID.flac    the sound in which the event was surest, sample by sample
    CLASS/20261128T093000Z-ID.png     its spectrogram, a pixel a band and frame
    CLASS/20261128T093000Z-ID.json    the facts; written last: without it the others do not count

Of each class so many events are kept: the surest, and those nearest to the threshold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spectro.plumbing.files import replacing, write_text

__all__ = ["LARGEST_FACTS", "STEM", "EvidenceStore", "FullError", "class_folder"]

STEM = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{32}")
_SUFFIXES = (".json", ".png", ".flac")
LARGEST_FACTS = 1 << 20  # bytes of a JSON that is read


class FullError(OSError):
    """There is too little room for evidence."""


def class_folder(label: str) -> str:
    """Return a folder's name for a class, whatever it is called; no two have the same.

    Examples
    --------
    >>> class_folder("car_horn"), class_folder("../x")[:5]
    ('car_horn', '___x-')
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", label)[:64]
    if plain == label and label.lower() not in ("con", "prn", "aux", "nul"):
        return label
    return f"{plain}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


class EvidenceStore:
    """Keeps the evidence of so many events of each class.

    Parameters
    ----------
    folder : Path
        Made where it is not there. Only files of the names above are ever removed from it.
    quota : int
        Events a class.
    free : float
        GB that are left free on the disk.
    """

    def __init__(self, folder: Path, quota: int, free: float) -> None:
        self.folder, self.quota, self._free = folder, quota, free * 1e9
        folder.mkdir(parents=True, exist_ok=True)
        self._peaks: dict[str, dict[str, float]] = {}  # class folder -> stem -> peak

    def place(self, label: str, stem: str) -> Path:
        """Return the path of an event's evidence, without a suffix."""
        return self.folder / class_folder(label) / stem

    def write(self, facts: dict[str, Any], stem: str, flac: bytes, png: bytes) -> bool:
        """Keep an event's evidence, if its class has room, or it is worth more than another.

        Parameters
        ----------
        facts : dict
            With its "label" and "peak".
        stem : str
            Name of its files.
        flac, png : bytes
            Its sound and its picture.

        Returns
        -------
        kept : bool

        Raises
        ------
        OSError
            If there is no room on the disk, or it does not take it.
        """
        name = class_folder(facts["label"])
        peaks = self._known(name)
        peaks[stem] = float(facts["peak"])
        leaving = self._leaving(peaks)
        if stem in leaving:
            del peaks[stem]
            return False
        try:
            for each in leaving:
                self._remove(name, each)
            self._write(self.folder / name / stem, facts, flac, png)
        except OSError:
            self._remove(name, stem)
            raise
        return True

    def _leaving(self, peaks: dict[str, float]) -> list[str]:
        """Choose who must go: of those between the surest and the most doubtful, the middle."""
        order = sorted(peaks, key=lambda stem: (peaks[stem], stem))
        over = len(order) - self.quota
        low = self.quota // 2
        return order[low : low + over] if over > 0 else []

    def _write(self, path: Path, facts: dict[str, Any], flac: bytes, png: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        needed = len(flac) + len(png)
        if shutil.disk_usage(self.folder).free - needed < self._free:
            raise FullError(f"less than {self._free / 1e9:g} GB is free")
        for suffix, data in ((".flac", flac), (".png", png)):
            with replacing(path.with_name(path.name + suffix)) as temporary:
                temporary.write_bytes(data)
        write_text(path.with_name(path.name + ".json"), json.dumps(facts, indent=2) + "\n")

    def _remove(self, name: str, stem: str) -> None:
        self._peaks.get(name, {}).pop(stem, None)
        for suffix in _SUFFIXES:
            with contextlib.suppress(OSError):
                (self.folder / name / (stem + suffix)).unlink(missing_ok=True)

    def _known(self, name: str) -> dict[str, float]:
        """Return the peaks of the events that a class has evidence of; read once."""
        if name not in self._peaks:
            self._peaks[name] = dict(_read_peaks(self.folder / name))
        return self._peaks[name]


def _read_peaks(folder: Path) -> Iterator[tuple[str, float]]:
    """Read what an earlier process kept; what is no evidence is left alone."""
    if folder.is_symlink():
        return
    for path in sorted(folder.glob("*.json")):
        if not STEM.fullmatch(path.stem) or not path.is_file() or path.is_symlink():
            continue
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            if path.stat().st_size <= LARGEST_FACTS:
                yield path.stem, float(json.loads(path.read_text(encoding="utf-8"))["peak"])

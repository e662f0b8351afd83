"""What a published dataset's file says of where it is fetched: its ``SOURCE``.

A host that publishes length and checksum, and answers ranges, lets a broken download go on. GitHub
says neither length nor checksum of its archive of a branch, answers no range, and promises no
bytes: the same commit may be compressed differently next year. A broken download starts over
there, and what is checked is the CRC-32 of each file in the zip and that every clip is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from spectro.errors import DatasetError

__all__ = ["SOURCES", "Source", "find"]

SOURCES = {
    "urbansound8k": "spectro.clips.datasets.published.urbansound8k",
    "esc50": "spectro.clips.datasets.published.esc50",
    "audiomnist": "spectro.clips.datasets.published.spoken_digits",
}
"""What can be fetched, and the module whose ``SOURCE`` says where."""


@dataclass(frozen=True)
class Source:
    """Where a dataset is fetched, and how to tell that all of it came.

    Attributes
    ----------
    name : str
        What the command line calls it.
    url : str
        Of the archive, at its official host.
    archive : str
        Name of the archive's file.
    size : int or None
        Bytes of the archive, where the host publishes them.
    checksum : str or None
        As the host publishes it, with its algorithm: "md5:9aa6...".
    unpacked : int
        About how many bytes it has when unpacked; twice as many are refused.
    folder : str
        What the archive's top folder becomes.
    inside : str
        Where in `folder` the layout begins; empty if at its top.
    layout : str
        Name in `spectro.clips.datasets.LAYOUTS`.
    clips : int
        How many there are.
    licence, citation : str
        Of the sounds.
    """

    name: str
    url: str
    archive: str
    size: int | None
    checksum: str | None
    unpacked: int
    folder: str
    inside: str
    layout: str
    clips: int
    licence: str
    citation: str

    def root(self, to: Path) -> Path:
        """Return the folder to hand to ``spectro render``, for a dataset fetched to `to`."""
        return to / self.folder / self.inside


def find(name: str) -> Source:
    """Look up a dataset that can be fetched, by what the command line calls it.

    Raises
    ------
    DatasetError
        If there is none of that name.
    """
    if name.lower() not in SOURCES:
        raise DatasetError(
            f"{name}: no dataset that can be fetched; there are {', '.join(SOURCES)}"
        )
    source: Source = import_module(SOURCES[name.lower()]).SOURCE
    return source

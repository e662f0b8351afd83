"""Where each dataset is fetched, and how to tell that all of it came.

UrbanSound8K
    Zenodo record 1203745: one tar.gz of 6,023,741,708 bytes with the MD5 that Zenodo publishes; it
    answers ranges and its ETag is that MD5, so a broken download is gone on with. Top folder
    ``UrbanSound8K``: ``audio/fold1`` to ``fold10`` with 8,732 WAVs, ``metadata/UrbanSound8K.csv``,
    a readme and the credits. Unpacked about 7 GB (an estimate: 8.75 h at the clips' own rates).
ESC-50
    GitHub's archive of the repository's branch ``master``, made when asked for. Top folder
    ``ESC-50-master``: ``audio`` with 2,000 WAVs, ``meta/esc50.csv``, the readme and the licence.
    About 650 MB, unpacked about 900 MB (2,000 clips of 5 s, 44.1 kHz, 16 bit).
AudioMNIST
    GitHub's archive likewise. Top folder ``AudioMNIST-master``: ``data/01`` to ``data/60``, a
    folder a speaker with 500 WAVs, beside the authors' code. Unpacked 3.3 GB at the most (9.5 h of
    48 kHz, 16 bit, as the paper says).

GitHub says neither length nor checksum of such an archive, answers no range, and promises no bytes:
the same commit may be compressed differently next year. A broken download starts over there, and
what is checked is the CRC-32 of each file in the zip and that every clip is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spectro.errors import DatasetError

__all__ = ["SOURCES", "Source", "find"]


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


SOURCES = {
    source.name: source
    for source in (
        Source(
            name="urbansound8k",
            url="https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz",
            archive="UrbanSound8K.tar.gz",
            size=6_023_741_708,
            checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
            unpacked=7_000_000_000,
            folder="UrbanSound8K",
            inside="",
            layout="urbansound8k",
            clips=8732,
            licence="CC BY-NC 3.0",
            citation=(
                "J. Salamon, C. Jacoby, J. P. Bello. A Dataset and Taxonomy for Urban Sound "
                "Research. 22nd ACM International Conference on Multimedia, 2014."
            ),
        ),
        Source(
            name="esc50",
            url="https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.zip",
            archive="ESC-50.zip",
            size=None,
            checksum=None,
            unpacked=900_000_000,
            folder="ESC-50",
            inside="",
            layout="esc50",
            clips=2000,
            licence="CC BY-NC 3.0 (its subset ESC-10: CC BY 3.0)",
            citation=(
                "K. J. Piczak. ESC: Dataset for Environmental Sound Classification. "
                "23rd ACM International Conference on Multimedia, 2015."
            ),
        ),
        Source(
            name="audiomnist",
            url="https://github.com/soerenab/AudioMNIST/archive/refs/heads/master.zip",
            archive="AudioMNIST.zip",
            size=None,
            checksum=None,
            unpacked=3_300_000_000,
            folder="AudioMNIST",
            inside="data",
            layout="spoken-digits",
            clips=30_000,
            licence="MIT",
            citation=(
                "S. Becker, J. Vielhaben, M. Ackermann, K.-R. Müller, S. Lapuschkin, W. Samek. "
                "AudioMNIST: Exploring Explainable Artificial Intelligence for Audio Analysis on a "
                "Simple Benchmark. Journal of the Franklin Institute 361(1), 2024."
            ),
        ),
    )
}


def find(name: str) -> Source:
    """Look a dataset up by what the command line calls it.

    Raises
    ------
    DatasetError
        If there is none of that name.
    """
    if name.lower() not in SOURCES:
        raise DatasetError(
            f"{name}: no dataset that can be fetched; there are {', '.join(SOURCES)}"
        )
    return SOURCES[name.lower()]

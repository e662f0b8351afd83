"""Ogg files that hold several sounds one after the other, and FLAC in Ogg.

Recorders and radio streams begin a new stream in the same file, which the format (RFC 3533) calls
chaining; libsndfile reads the first one alone. FLAC in Ogg is FLAC cut into pages.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spectro.clips.containers import flac
from spectro.clips.containers.views import Piece, Plan, View, mapped
from spectro.errors import AudioError

__all__ = ["MARK", "plan"]

MARK = b"OggS"
_FLAC = b"\x7fFLAC"
_HEADERS = 13  # bytes in front of the FLAC stream's own first ones: mark, version, number
_FIRST, _LAST = 2, 4  # flags of a page
_BEGIN = MARK + bytes((0, _FIRST))  # of the first page of a stream
_CODECS = {b"\x01vorbis": "VORBIS", b"OpusHead": "OPUS"}


class _Page(NamedTuple):
    start: int
    body: int
    end: int
    flags: int
    serial: bytes


def plan(path: Path) -> Plan | None:
    """Say how an Ogg file is to be read; None if libsndfile reads it right as it is.

    Raises
    ------
    AudioError
        If it holds streams side by side, or FLAC that is cut.
    """
    with mapped(path) as data:
        links = _links(data)
        if not links or (len(links) == 1 and not _is_flac(data, links[0])):
            return None
        end = links[-1][-1].end
        if data[end : end + 4] == MARK:
            raise AudioError(f"{path}: truncated in the middle of an Ogg page")
        if _is_flac(data, links[0]):
            return _as_flac(path, data, links)
        ends = [
            *(link[-1].end for link in links[:-1]),
            len(data),
        ]  # a cut page is seen by libsndfile
        parts = zip(links, ends, strict=True)
        return Plan(tuple((range(link[0].start, end),) for link, end in parts))


def _links(data: bytes | mmap.mmap) -> list[list[_Page]]:
    """Sort the pages into streams that follow each other: a first page behind another sort."""
    links: list[list[_Page]] = []
    starting = False
    for page in _pages(data):
        first = bool(page.flags & _FIRST)
        if first and not starting:
            links.append([])
        if links:
            links[-1].append(page)
        starting = first
    return links


def _pages(data: bytes | mmap.mmap) -> Iterator[_Page]:
    """Yield whole pages; where one is not in its place, go on with the first of a next stream."""
    at, size = 0, len(data)
    while at + 27 <= size:
        if data[at : at + 4] != MARK:
            at = data.find(_BEGIN, at)
            if at < 0:
                return
            continue
        body = at + 27 + data[at + 26]
        end = body + sum(data[at + 27 : body])
        if end > size:
            return
        yield _Page(at, body, end, data[at + 5], data[at + 14 : at + 18])
        at = end


def _is_flac(data: bytes | mmap.mmap, link: list[_Page]) -> bool:
    return data[link[0].body : link[0].body + 5] == _FLAC


def _as_flac(path: Path, data: bytes | mmap.mmap, links: list[list[_Page]]) -> Plan | None:
    """Take FLAC out of its pages."""
    streams: list[tuple[Piece, ...]] = []
    frames = 0
    for link in links:
        pieces = _payload(data, link)
        with View(path, pieces) as view:
            whole = flac.split(path, view.read())
        if whole is None:  # states its length
            streams.append(pieces)
            return Plan(tuple(streams), container="OGG") if len(links) == 1 else None
        head = whole.streams[0][0]
        streams.append((head, *_behind(pieces, len(head))))
        frames += whole.frames or 0
    return Plan(tuple(streams), frames, container="OGG")


def _payload(data: bytes | mmap.mmap, link: list[_Page]) -> tuple[range, ...]:
    """Return what a stream's pages hold, without Ogg's own bytes in the first one."""
    serial = link[0].serial
    first = range(link[0].body + _HEADERS - 4, link[0].end)
    return (first, *(range(p.body, p.end) for p in link[1:] if p.serial == serial))


def _behind(pieces: tuple[range, ...], n: int) -> Iterator[range]:
    """Yield what is left of some pieces behind their first `n` bytes."""
    for piece in pieces:
        if len(piece) > n:
            yield piece[n:]
        n = max(0, n - len(piece))

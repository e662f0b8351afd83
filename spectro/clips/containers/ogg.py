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
_STEP = 1 << 20  # bytes looked at, at a time
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
        If it holds FLAC that is cut, or other bytes where pages should be.
    """
    with mapped(path) as data:
        links = _links(data)
        if not links:
            return None
        end = links[-1][-1].end
        _check_behind(path, data, links[-1][-1])
        if _is_flac(data, links[0]):
            return _as_flac(path, data, links)
        if len(links) == 1 and end == len(data):
            return None
        return Plan(tuple((range(link[0].start, link[-1].end),) for link in links))


def _check_behind(path: Path, data: bytes | mmap.mmap, last: _Page) -> None:
    """Refuse what is no page behind the last one, but for zeros, with which some disks fill up.

    Anything may follow a page that says that it is the last.
    """
    if data[last.end : last.end + 4] == MARK:
        raise AudioError(f"{path}: truncated in the middle of an Ogg page")
    left = len(data) - last.end
    if _is_zero(data, last.end):
        return
    if data.find(MARK, last.end) >= 0:
        raise AudioError(
            f"{path}: damaged, what follows from byte {last.end:,} on is no page of Ogg, and then "
            "pages follow again; fetch or copy it again"
        )
    if not last.flags & _LAST:
        raise AudioError(
            f"{path}: followed by {left:,} bytes that are no Ogg, and does not say that it ended "
            "before them; fetch or copy it again"
        )


def _is_zero(data: bytes | mmap.mmap, at: int) -> bool:
    """Tell whether nothing but zeros lies from here on."""
    parts = (data[start : start + _STEP] for start in range(at, len(data), _STEP))
    return not any(part.strip(b"\0") for part in parts)


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

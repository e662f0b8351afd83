"""What phones and web pages record: which demuxer of ffmpeg's reads a file, and is it all there.

A demuxer is chosen by what a file begins with, never by its name, and none of those that open other
files (playlists, lists to join) is among them. ffmpeg plays what is left of a file that was cut, so
sizes are checked before where the format states them.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path

from spectro.clips.containers.sizes import UNKNOWN_FROM
from spectro.clips.containers.views import mapped
from spectro.errors import AudioError

__all__ = ["HEAD", "check_whole", "demuxer"]

HEAD = 600  # bytes that tell what a file is
_BY_START = {
    b"\x1aE\xdf\xa3": "matroska",
    b"0&\xb2u\x8ef\xcf\x11": "asf",
    b"#!AMR": "amr",
    b"ADIF": "aac",
    b"FLV\x01": "flv",
    b"\x0bw": "ac3",
    b"\x7f\xfe\x80\x01": "dts",
    b"wvpk": "wv",
    b"TTA1": "tta",
    b"MAC ": "ape",
    b"MPCK": "mpc8",
    b"MP+": "mpc",
    b"tBaK": "tak",
    b"DSD ": "dsf",
    b".RMF": "rm",
    b".ra\xfd": "rm",
    b"\0\0\1\xba": "mpeg",
}
# Codecs that libsndfile decodes: what it refuses of them is damaged, and ffmpeg plays on.
_IN_OGG = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC")
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_TOP = (  # boxes that a file is made of
    *(*_BOXES, b"uuid", b"udta", b"meta", b"moof", b"mfra", b"sidx", b"styp", b"ssix", b"prft"),
    *(b"emsg", b"pdin", b"imda", b"idat"),
)
_TS, _TS_SYNC = 188, 0x47
# Bytes of a frame behind its first, by the type in it (3GPP TS 26.101, 26.201).
_AMR = (12, 13, 15, 17, 19, 20, 26, 31, 5, 6, 5, 5, 0, 0, 0, 0)
_AMR_WB = (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, 0, 0, 0, 0, 0, 0)
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # file properties
_SEGMENT = b"\x18\x53\x80\x67"

Data = bytes | mmap.mmap


def demuxer(head: bytes) -> str:
    """Name the demuxer of ffmpeg's for a file that begins like this; empty if there is none."""
    for start, name in _BY_START.items():
        if head.startswith(start):
            return name
    if head[:4] in _CONTAINERS:
        return _in_container(head)
    if head[4:8] in _BOXES:
        return "mov"
    if head[:1] == b"\xff" and len(head) > 7 and head[1] & 0xF6 == 0xF0:
        return "aac"
    packets = head[::_TS][:3]
    return "mpegts" if len(packets) == 3 and set(packets) == {_TS_SYNC} else ""


_CONTAINERS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"caff", b"OggS")


def _in_container(head: bytes) -> str:
    """Name the demuxer of a file whose container libsndfile knows, and whose codec it does not."""
    kind = head[8:12]
    if head[:4] == b"OggS":
        return "" if any(mark in head for mark in _IN_OGG) else "ogg"
    if head[:4] == b"caff":
        return "" if head[28:32] == b"lpcm" else "caf"
    if head[:4] == b"riff":
        return "w64"
    return {b"AVI ": "avi", b"WAVE": "wav", b"AIFC": "aiff"}.get(kind, "")


def check_whole(path: Path, name: str) -> None:
    """Refuse a file that lacks bytes which its own structure tells of.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        What :func:`demuxer` called it.

    Raises
    ------
    AudioError
        If it is truncated.
    """
    ends_at = _ENDS.get(name)
    if ends_at is None:
        return
    with mapped(path) as data:
        end = ends_at(data)
        if end > len(data):
            raise AudioError(
                f"{path}: truncated, it tells of {end} bytes or more and {len(data)} are there"
            )


def _end_of_boxes(data: Data) -> int:
    """Return where the last box of an MP4 file ends."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        name = data[at + 4 : at + 8]
        if size < 8 or not name.strip(b"\0"):
            break  # 0: the last one, to the end
        if at + size > len(data) and name not in _TOP:
            break  # no box, but what was put behind the last one
        at += size
    return at


def _end_of_segment(data: Data) -> int:
    """Return where the segment of a Matroska file ends, or 0 if that was not known."""
    at = data.find(_SEGMENT, 0, 4_096)
    if at < 0 or not data[at + 4 : at + 5]:
        return 0
    first = data[at + 4]
    width = 9 - first.bit_length()
    size = int.from_bytes(data[at + 4 : at + 4 + width], "big") & (1 << 7 * width) - 1
    return 0 if size == (1 << 7 * width) - 1 else at + 4 + width + size


def _end_of_asf(data: Data) -> int:
    """Return the size that an ASF file states, or 0 if it was streamed."""
    at = data.find(_ASF_FILE, 0, 1 << 16)
    streamed = at < 0 or (data[at + 88 : at + 89] or b"\1")[0] & 1
    return 0 if streamed else int.from_bytes(data[at + 40 : at + 48], "little")


def _end_of_amr(data: Data) -> int:
    """Return where the last frame of an AMR file ends."""
    wide = data[:9] == b"#!AMR-WB\n"
    at, sizes = (9, _AMR_WB) if wide else (6, _AMR)
    while at < len(data):
        at += 1 + sizes[data[at] >> 3 & 15]
    return at


def _end_of_adts(data: Data) -> int:
    """Return where the last frame of AAC ends."""
    at = 0
    while at + 7 <= len(data) and data[at] == 0xFF and data[at + 1] & 0xF6 == 0xF0:
        size = int.from_bytes(data[at + 3 : at + 6], "big") >> 5 & 0x1FFF
        if size < 7:
            break
        at += size
    return at


def _end_of_ogg(data: Data) -> int:
    """Return where the last page of an Ogg file ends."""
    at = 0
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        body = at + 27 + data[at + 26]
        at = body + sum(data[at + 27 : body])
    return at


def _end_of_avi(data: Data) -> int:
    size = int.from_bytes(data[4:8], "little")
    return 0 if size >= UNKNOWN_FROM else size + 8


_ENDS: dict[str, Callable[[Data], int]] = {
    "mov": _end_of_boxes,
    "matroska": _end_of_segment,
    "asf": _end_of_asf,
    "amr": _end_of_amr,
    "aac": _end_of_adts,
    "ogg": _end_of_ogg,
    "avi": _end_of_avi,
}

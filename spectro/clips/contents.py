"""What a file is that bears a suffix of sound and is none: a pointer, a web page, an archive.

Told by its first bytes, so that the message says what happened: a download that failed, large files
of a repository that were not fetched, a file that was renamed.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["no_sound"]

_AGAIN = "download it again"
_BY_START: dict[bytes, str] = {
    b"version https://git-lfs.github.com/spec/": (
        "is a Git LFS pointer, not the sound itself: run git lfs pull in its repository, or "
        "download the file itself"
    ),
    b"PK\x03\x04": "is a zip archive, not sound; unpack it",
    b"PK\x05\x06": "is an empty zip archive, not sound",
    b"\x1f\x8b": "is compressed by gzip, not sound; unpack it (gzip -d)",
    b"BZh": "is compressed by bzip2, not sound; unpack it",
    b"\xfd7zXZ\0": "is compressed by xz, not sound; unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd, not sound; unpack it",
    b"Rar!\x1a\x07": "is a RAR archive, not sound; unpack it",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive, not sound; unpack it",
    b"\x89PNG\r\n\x1a\n": "is a PNG picture, not sound",
    b"\xff\xd8\xff": "is a JPEG picture, not sound",
    b"GIF8": "is a GIF picture, not sound",
    b"%PDF-": "is a PDF, not sound",
    b"\x93NUMPY": "is an array of NumPy, not a sound file; write it as WAV (soundfile.write)",
    b"\x89HDF\r\n": "is HDF5, not a sound file",
    b"PAR1": "is parquet, not a sound file",
    b"SQLite format 3\0": "is an SQLite database, not sound",
    b"\x00\x05\x16\x07": "is what a Mac keeps beside a file (AppleDouble), not sound; remove it",
    b"MThd": "is MIDI, notes and not sound",
}
_HTML = re.compile(r"<(!doctype\s+html|html|head|body|script)\b", re.IGNORECASE)
_ANNEX = re.compile(r"(\.\./)*(\.git)?/?annex/objects/")
# Sound whose header is text: NIST, PVF, XI, AMR, MAT, VOC, Psion's A-law.
_TEXT = re.compile(
    r"NIST_1A|PVF1|Extended Instrument|#!AMR|MATLAB|Creative|ALawSound|\.snd|FORM|RIFF"
)
_SHOWN = 60  # characters of a text


def no_sound(head: bytes) -> str:
    """Say what a file is, in words that follow its name, if it begins as what is no sound.

    Parameters
    ----------
    head : bytes
        The first hundreds of bytes.

    Returns
    -------
    words : str
        Empty where it may be sound.

    Examples
    --------
    >>> no_sound(b"<!DOCTYPE html><html>")
    'is a web page (HTML), not sound: the download failed; download it again'
    >>> no_sound(b"RIFF....WAVEfmt ")
    ''
    """
    for start, words in _BY_START.items():
        if head.startswith(start):
            return words
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "is a WebP picture, not sound"
    text = _text(head)
    return _of_text(text) if text.strip() else ""


def _text(head: bytes) -> str:
    """Return what begins as text, as text; empty where it does not."""
    try:
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = head[: len(head) // 2 * 2].decode("utf-16")
        else:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # a letter may be cut
    except UnicodeDecodeError:
        return ""
    return text if all(c.isprintable() or c in "\t\r\n\f" for c in text) else ""


def _of_text(text: str) -> str:
    """Say what a text is."""
    begin = text.lstrip()
    if _TEXT.match(begin):
        return ""
    if _ANNEX.match(begin):
        return "is a git-annex pointer, not the sound itself: run git annex get in its repository"
    if _HTML.search(begin[:400]) and begin.startswith("<"):
        return f"is a web page (HTML), not sound: the download failed; {_AGAIN}"
    if begin.startswith("<"):
        return f"is XML, not sound: perhaps a host's answer that refused the download; {_AGAIN}"
    if begin.startswith(("{", "[")):
        return f"is JSON, not sound: perhaps a host's answer that refused the download; {_AGAIN}"
    shown = " ".join(begin[:_SHOWN].split())
    return f"is text, not sound, and begins with {shown!r}; {_AGAIN}"

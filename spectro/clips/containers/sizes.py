"""How many bytes of sound a file holds, by what its header states and what is there."""

from __future__ import annotations

from spectro.errors import AudioError

__all__ = ["UNKNOWN_FROM", "sound_bytes"]

# Recorders that stream cannot go back to fill in the length, and leave a huge one instead.
UNKNOWN_FROM = 0x7FFF_0000
_HEADER_SIZES = (4, 8, 12, 36, 44)  # bytes that writers count into the sound by mistake
_WRAP = 1 << 32


def sound_bytes(
    name: object,
    stated: int,
    there: int,
    *,
    header: int,
    whole: bool = False,
    followed: bool = True,
    unknown: int = UNKNOWN_FROM,
    blocks: bool = False,
) -> int:
    """Return how many bytes of sound a file holds.

    Parameters
    ----------
    name : object
        The file, for the message.
    stated : int
        Bytes of sound that the header states.
    there : int
        Bytes from where the sound starts to the end of the file.
    header : int
        Bytes before the sound.
    whole : bool
        Whether another field, the size of the whole file, agrees with the file.
    followed : bool
        Whether what lies behind the stated sound is what may lie there: other chunks, or nothing.
    unknown : int
        From where on a stated size means that it was not known when it was written.
    blocks : bool
        Whether a few missing bytes would be missed: a part of a block of a codec.

    Returns
    -------
    n : int
        `stated`, or `there` where the header is wrong or was never filled in.

    Raises
    ------
    AudioError
        If bytes of sound are missing.
    """
    if stated >= unknown:
        return there
    if stated > there:
        missing = stated - there
        if whole or missing == 1 or (not blocks and missing in (*_HEADER_SIZES, header)):
            return there
        raise AudioError(
            f"{name}: truncated, its header promises {stated} bytes and {there} are there"
        )
    more = there - stated
    wrapped = more >= _WRAP and more % _WRAP <= _WRAP >> 8
    return there if not followed and (stated == 0 or whole or wrapped) else stated

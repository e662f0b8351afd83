"""A sound file, heard once from its first sample to its last, decoded as `spectro scan` does."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

from spectro.clips.decode import open_part
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources.pcm import Format, Samples

__all__ = ["Recording"]

_PIECE = 0.25  # s that are read at a time
_SIXTEEN = {"PCM_16", "PCM_U8", "PCM_S8", "ULAW", "ALAW"}  # which 16 bits hold exactly


class Recording:
    """A source that ends: it waits for whoever listens, and is never opened again.

    Parameters
    ----------
    settings : SourceSettings
    """

    live: bool | None = False
    again = False
    overflows = 0

    def __init__(self, settings: SourceSettings) -> None:
        self._path = Path(settings.input)
        self._pieces: Generator[Format | Samples, None, None] | None = None

    def open(self) -> Format:
        """See :class:`~spectro.listening.live.sources.pipe.Source`."""
        self.close()
        self._pieces = self._decoded()
        form = next(self._pieces)
        assert isinstance(form, Format)
        return form

    def read(self, timeout: float) -> Samples | None:
        """See :class:`~spectro.listening.live.sources.pipe.Source`."""
        samples = None if self._pieces is None else next(self._pieces, None)
        assert not isinstance(samples, Format)
        return samples

    def close(self) -> None:
        """See :class:`~spectro.listening.live.sources.pipe.Source`."""
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            with contextlib.suppress(ValueError):  # another thread reads: it ends with that piece
                pieces.close()

    def _decoded(self) -> Generator[Format | Samples, None, None]:
        """Give the format, then the samples; the file is open meanwhile."""
        with open_part(self._path) as part:
            encoding = "s16le" if part.codec in _SIXTEEN else "f32le"
            yield Format(encoding, part.sr, part.channels)
            yield from part.blocks(max(1, round(_PIECE * part.sr)))

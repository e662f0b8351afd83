"""Long recordings as jobs: drawn, listened to, kept for a while, given up when asked."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from spectro.errors import AudioError, SpectroError
from spectro.listening.backends import Answer, Backend, Levels
from spectro.listening.events.finding import Event
from spectro.listening.scan import Found, scan_recording
from spectro.listening.serve.answers import EventAnswer, ScanAnswer, State
from spectro.listening.serve.overview import Overview, draw_overview, n_bytes
from spectro.listening.serve.requests.refusals import RefusedError
from spectro.listening.serve.requests.uploads import Upload
from spectro.listening.serve.settings import ServeSettings
from spectro.listening.serve.sites import How
from spectro.listening.serve.sounds import frequency_ticks, measured, told_of

__all__ = ["Scan", "Scans"]

_log = logging.getLogger(__name__)

_DRAWN = 0.1  # of the progress; the rest is listening


class _GivenUpError(Exception):
    """Nobody wants the scan any more."""


class Scan:
    """One recording on its way to events.

    Parameters
    ----------
    upload : Upload
        Removed when the scan is.
    how : How
    most_seconds : float
        A recording that turns out to be longer fails.

    Attributes
    ----------
    id : str
        Cannot be guessed.
    state : State
    progress : float
        0 to 1.
    """

    def __init__(self, upload: Upload, how: How, most_seconds: float) -> None:
        self.id = secrets.token_urlsafe(16)
        self.upload, self.how, self._most = upload, how, most_seconds
        self.state: State = "waiting"
        self.progress, self.error = 0.0, ""
        self.seconds: float | None = None
        self.ended = 0.0  # by the monotonic clock
        self.overview: Overview | None = None
        self._found: Found | None = None
        self._wanted = threading.Event()
        self._wanted.set()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("done", "failed")

    @property
    def events(self) -> list[Event]:
        """What was found, under the client's name of the recording."""
        found = [] if self._found is None else self._found.events
        return [event._replace(recording=self.upload.name) for event in found]

    def answer(self) -> ScanAnswer:
        """Say how far it is."""
        drawn = self.overview
        return ScanAnswer(
            id=self.id,
            name=self.upload.name,
            state=self.state,
            progress=round(self.progress, 4),
            seconds=self.seconds,
            began="" if self._found is None else self._found.began,
            error=self.error,
            warnings=self.how.warnings,
            events=[EventAnswer.of(event) for event in self.events],
            frequencies=[] if drawn is None else frequency_ticks(drawn.config),
        )

    def picture(self, start: float, end: float, width: int) -> Image.Image:
        """Draw a part of the recording.

        Raises
        ------
        RefusedError
            If it is not drawn yet.
        """
        if self.overview is None:
            raise RefusedError(409, "the recording is not drawn yet; ask again", retry_after=1)
        return self.overview.picture(start, end, width)

    def give_up(self) -> None:
        """End it as soon as it notices."""
        self._wanted.clear()

    def run(self, listener: Backend) -> None:
        """Draw the recording, and find its events; whatever goes wrong is told by the state."""
        try:
            self._run(listener)
            self.state, self.progress = "done", 1.0
        except _GivenUpError:
            self._fail("given up")
        except AudioError as error:
            self._fail(told_of(error, self.upload).told)
        except (RefusedError, SpectroError, OSError, MemoryError) as error:
            self._fail(str(error))
        except Exception:  # a fault of ours: the client must not wait for ever
            _log.exception("a scan failed")
            self._fail("the service has a fault, which it has written to its log")
        finally:
            self.ended = time.monotonic()
            if not self._wanted.is_set():
                self.upload.remove()

    def _fail(self, why: str) -> None:
        self.state, self.error = "failed", why

    def _run(self, listener: Backend) -> None:
        self._check_wanted()
        self.state = "drawing"
        self.seconds = measured(self.upload.path, self._most)
        config = listener.card.spectrogram
        self.upload.claim(n_bytes(self.seconds))
        self.overview = draw_overview(self.upload.path, self.upload.folder, config, self._drawn)
        self.state = "listening"
        watched = _Watched(listener, self._heard)
        self._found = scan_recording(self.upload.path, watched, self.how.settings)

    def _drawn(self, seconds: float) -> None:
        self._check_wanted()
        self.progress = _DRAWN * min(1.0, seconds / (self.seconds or seconds))

    def _heard(self, windows: int) -> None:
        """Count windows; a scan of `n` of them is a pass over the recording."""
        self._check_wanted()
        hop = self.how.settings.hop
        assert hop is not None
        share = windows * hop / (self.seconds or 1.0)
        self.progress = _DRAWN + (1 - _DRAWN) * min(1.0, share)

    def _check_wanted(self) -> None:
        if not self._wanted.is_set():
            raise _GivenUpError


class _Watched:
    """A listener that tells how many windows it has heard."""

    def __init__(self, listener: Backend, told: Callable[[int], None]) -> None:
        self.card = listener.card
        self._listener, self._told, self._count = listener, told, 0

    def __call__(self, levels: Levels) -> Answer:
        """Ask about pictures; see :class:`~spectro.listening.backends.Backend`."""
        answer = self._listener(levels)
        self._count += len(levels)
        self._told(self._count)
        return answer


class Scans:
    """All scans, of which one runs at a time.

    Parameters
    ----------
    listener : Backend
    settings : ServeSettings
    """

    def __init__(self, listener: Backend, settings: ServeSettings) -> None:
        self._listener, self._settings = listener, settings
        self._scans: dict[str, Scan] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scan")

    @property
    def waiting(self) -> int:
        """How many wait or run."""
        return sum(not scan.is_over for scan in self._scans.values())

    def check_room(self) -> None:
        """Refuse one too many.

        Raises
        ------
        RefusedError
        """
        self.forget_old()
        if self.waiting >= self._settings.max_scans:
            raise RefusedError(429, "too many scans wait; come again", retry_after=30)

    def submit(self, upload: Upload, how: How) -> Scan:
        """Start a scan, or let it wait for those before it.

        Raises
        ------
        RefusedError
            If too many wait.
        """
        self.check_room()
        scan = Scan(upload, how, 3_600 * self._settings.max_scan_hours)
        self._scans[scan.id] = scan
        self._thread.submit(scan.run, self._listener)
        return scan

    def get(self, number: str) -> Scan:
        """Return a scan.

        Raises
        ------
        RefusedError
            If there is none.
        """
        self.forget_old()
        try:
            return self._scans[number]
        except KeyError:
            raise RefusedError(404, "there is no such scan, or it was removed") from None

    def remove(self, number: str) -> None:
        """Give a scan up and forget it, its recording too.

        Raises
        ------
        RefusedError
            If there is none.
        """
        scan = self.get(number)
        scan.give_up()
        del self._scans[number]
        if scan.is_over:
            scan.upload.remove()

    def forget_old(self) -> None:
        """Remove what ended long ago."""
        last = time.monotonic() - 60 * self._settings.keep_minutes
        for scan in [each for each in self._scans.values() if each.is_over and each.ended < last]:
            del self._scans[scan.id]
            scan.upload.remove()

    def close(self) -> None:
        """Give all up, and wait until the one that runs has noticed."""
        for scan in self._scans.values():
            scan.give_up()
        self._thread.shutdown(wait=True)

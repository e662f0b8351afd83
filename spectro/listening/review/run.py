"""The process of a review: a page on loopback, at an address that nobody can guess."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from spectro.listening.review.app import application
from spectro.listening.review.detections import Detection
from spectro.listening.review.session import Session
from spectro.listening.review.verdicts import Verdicts
from spectro.listening.serve.run import LOOPBACK, address, bound, serving

__all__ = ["review"]

_DRAIN = 5.0  # s


def review(
    detections: list[Detection],
    verdicts: Verdicts,
    negative: str,
    classes: Iterable[str] = (),
    *,
    port: int = 0,
    ready: Callable[[str], None],
) -> None:
    """Serve a review on this machine until the process is told to end.

    Parameters
    ----------
    detections, verdicts, negative, classes
        As for :class:`~spectro.listening.review.session.Session`.
    port : int
        0 takes a free one.
    ready : callable
        Told the address of the page, with its word.

    Raises
    ------
    ConfigError
        If the port cannot be listened on.
    """
    word = secrets.token_urlsafe(24)
    app = application(Session(detections, verdicts, negative, classes), word, LOOPBACK)
    with bound("127.0.0.1", port) as opened:
        serving(app, opened, drain=_DRAIN, ready=lambda: ready(f"{address(opened)}{word}/"))

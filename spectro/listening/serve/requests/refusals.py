"""Answers that say no: a status, one line, and what to do."""

from __future__ import annotations

__all__ = ["STATUSES", "RefusedError"]

STATUSES = {
    400: "The request is no HTTP that can be read.",
    401: "The bearer token is missing or wrong.",
    403: "The request comes from another site's page.",
    404: "There is no such thing here.",
    405: "Not this method.",
    408: "The sound came too slowly, or stopped.",
    409: "Not yet: the scan is not that far.",
    413: "The sound is larger or longer than is allowed.",
    415: "The body is not a sound by its content type.",
    421: "The host name is not this service's.",
    422: "The body cannot be decoded as sound, or a parameter has a value it cannot have.",
    429: "Too many scans wait; come again later.",
    500: "The model gives no numbers, or thresholds of it are damaged.",
    503: "Too many requests, or no room on the disk; come again later.",
}


class RefusedError(Exception):
    """A request that is not answered as asked.

    Parameters
    ----------
    status : int
        HTTP status.
    told : str
        One line: what is wrong, and a way on.
    retry_after : int
        Seconds after which it may work; 0 where waiting does not help.
    """

    def __init__(self, status: int, told: str, *, retry_after: int = 0) -> None:
        super().__init__(told)
        self.status, self.told = status, told
        self.headers = {"Retry-After": str(retry_after)} if retry_after else {}

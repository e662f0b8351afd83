"""What a service answers, as JSON: the schemas that its OpenAPI states."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from spectro.listening.events.finding import Event

__all__ = [
    "EventAnswer",
    "Health",
    "Limits",
    "Model",
    "Picture",
    "Prediction",
    "Problem",
    "ScanAnswer",
    "State",
    "Tick",
]

State = Literal["waiting", "drawing", "listening", "done", "failed"]


class Problem(BaseModel):
    """What is wrong, in one line."""

    detail: str


class Health(BaseModel):
    """That the service is there, and how busy it is."""

    status: Literal["ok"]
    requests: int
    scans: int


class Tick(BaseModel):
    """A frequency, and where it stands in a picture: 0 at the lower edge, 1 at the upper."""

    hz: int
    at: float


class Picture(BaseModel):
    """What the network saw: a PNG in base64, its length in seconds, its frequencies."""

    png: str
    seconds: float
    frequencies: list[Tick]


class Prediction(BaseModel):
    """What the model made of a sound.

    `seconds` is the sound's length; `heard` is how much of it the model heard. `known` is false
    where the sound is none that the model was trained on, as far as it can tell.
    """

    name: str
    label: str
    known: bool
    probability: float
    probabilities: dict[str, float]
    seconds: float
    heard: float
    picture: Picture | None = None


class EventAnswer(BaseModel):
    """One event; the columns of the table of events."""

    recording: str
    start: float
    end: float
    begin_time: str
    label: str
    probability: float
    peak: float
    site: str
    model: str
    thresholds: str

    @classmethod
    def of(cls, event: Event) -> EventAnswer:
        """Take an event."""
        return cls(**event._asdict())


class ScanAnswer(BaseModel):
    """How far a scan is, and what it found.

    `progress` is 0 to 1; `seconds` the recording's length as far as it is known; `warnings` say why
    what the site's thresholds promise may not hold.
    """

    id: str
    name: str
    state: State
    progress: float
    seconds: float | None
    began: str
    error: str
    warnings: list[str]
    events: list[EventAnswer]
    frequencies: list[Tick]


class Limits(BaseModel):
    """What the service takes."""

    max_mb: float
    max_seconds: float
    max_scan_mb: float
    max_scan_hours: float


class Model(BaseModel):
    """The model's card, and how it is used here.

    `hop` and `events` are those of `site`, which counts unless a scan names another of `sites`.
    """

    name: str
    hash: str
    backend: str
    arch: str
    members: int
    labels: list[str]
    seconds: float
    hop: float
    spectrogram: dict[str, Any]
    events: dict[str, Any]
    site: str
    sites: list[str]
    training: dict[str, Any]
    scores: dict[str, Any]
    licence: str
    limits: Limits
    version: str

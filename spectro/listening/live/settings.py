"""The settings of listening, from flags or from one TOML file with a table a source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from spectro.errors import ConfigError
from spectro.listening.recorders import parse_start_time
from spectro.plumbing.settings import Settings, read_tables, table_names

__all__ = [
    "AlertSettings",
    "Encoding",
    "EvidenceSettings",
    "ListenSettings",
    "ProofSettings",
    "SourceSettings",
    "check_tables",
    "read_proofs",
    "read_sources",
]

Encoding = Literal["u8", "s16le", "s24le", "s32le", "f32le", "wav"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_AT = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class SourceSettings(Settings):
    """A place that is listened to.

    Parameters
    ----------
    name : str
        Name of the source: letters, digits, "_", "-" and ".".
    input : str
        What to listen to: "mic", "mic:PART OF ITS NAME", "-" for standard input, a file, or a URL
        that ffmpeg reads.
    site : str
        Where it stands; its thresholds are taken if the model has some.
    format : "wav", "s16le", "s24le", "s32le", "f32le" or "u8"
        What standard input carries: "wav", or raw samples.
    rate : int or None
        Sampling rate in Hz, of raw samples and of a microphone; None takes the microphone's own.
    channels : int
        Number of channels, of raw samples and of a microphone.
    start_time : str or None
        When the sound of standard input began; None means now.
    stall : float
        Seconds without a sample after which a source is taken for lost.
    frozen : float
        Seconds of digital zeros, or of a level that does not move, that are a fault.
    buffer : float
        Seconds of sound that may wait to be heard; of a live source, the oldest is dropped then.
    """

    table: ClassVar[str] = "source"

    name: str = "mic"
    input: str = Field("mic", min_length=1, max_length=4_096)
    site: str = ""
    format: Encoding = "wav"
    rate: int | None = Field(None, ge=1_000, le=1_000_000)
    channels: int = Field(1, ge=1, le=64)
    start_time: str | None = None
    stall: float = Field(10, gt=0, le=3_600)
    frozen: float = Field(10, ge=2, le=86_400)
    buffer: float = Field(30, ge=1, le=600)

    @field_validator("format", mode="before")
    @classmethod
    def _as_arecord_says(cls, value: object) -> object:
        """Take arecord's names too: S16_LE, S24_3LE, FLOAT_LE."""
        if not isinstance(value, str):
            return value
        word = value.lower().replace("_3le", "le").replace("_", "")
        return {"floatle": "f32le", "s24": "s24le", "s16": "s16le"}.get(word, word)

    @model_validator(mode="after")
    def _consistent(self) -> SourceSettings:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name is {self.name[:80]!r}: use up to 64 letters, digits, '_', '-' and '.'"
            )
        if self.input == "-" and self.format != "wav" and self.rate is None:
            raise ValueError(f"raw samples, {self.format}, need a rate: say so, as in rate 48000")
        if self.start_time is not None:
            parse_start_time(self.start_time)
        return self

    @property
    def kind(self) -> Literal["pipe", "microphone", "url", "file"]:
        """What sort of source the input is."""
        if self.input == "-":
            return "pipe"
        if self.input == "mic" or self.input.startswith("mic:"):
            return "microphone"
        return "url" if "://" in self.input else "file"


class AlertSettings(Settings):
    """What is told of events, to whom, and how often.

    A program to start for each is not among it: a file of settings must not name one.

    Parameters
    ----------
    webhook : str or None
        URL to post each message to, as JSON.
    webhook_secret : Path or None
        File with the secret that signs them.
    mqtt : str or None
        Broker, mqtt://HOST, for Home Assistant too.
    tell : "raised", "over" or "both"
        When an event is told: as soon as it is "raised", when it is "over", or "both".
    cooldown : float
        Seconds after an alert of a class in which others of it wait for the digest.
    digest : float
        Seconds between two digests of what waited.
    most : int
        Alerts an hour, of all classes, beyond which all wait for the digest.
    """

    table: ClassVar[str] = "alerts"

    webhook: str | None = None
    webhook_secret: Path | None = None
    mqtt: str | None = None
    tell: Literal["raised", "over", "both"] = "raised"
    cooldown: float = Field(60, ge=0, le=86_400)
    digest: float = Field(900, ge=1, le=86_400)
    most: int = Field(60, ge=1, le=100_000)


class EvidenceSettings(Settings):
    """What is kept of events: a clip, its picture and the facts.

    Parameters
    ----------
    evidence : Path or None
        Folder for the evidence of events: a FLAC clip, its spectrogram, JSON; None keeps none.
    quota : int
        Events of each class whose evidence is kept: half the surest, half the most doubtful.
    margin : float
        Seconds of sound before and behind the window in which an event was surest.
    free : float
        GB that evidence leaves free on its disk.
    """

    table: ClassVar[str] = "evidence"

    evidence: Path | None = None
    quota: int = Field(200, ge=2, le=1_000_000)
    margin: float = Field(2, ge=0, le=60)
    free: float = Field(0.5, ge=0, le=100_000)


class ProofSettings(Settings):
    """A known clip that is mixed into the input at set times, to see whether it is heard.

    Parameters
    ----------
    clip : Path
        Sound file.
    label : str
        The class that must be heard.
    snr : float
        Level of the clip over that of the input, in dB.
    at : tuple of str
        Times of day, as "06:00".
    source : str
        Which source; "" means each.
    """

    table: ClassVar[str] = "proof"

    clip: Path
    label: str = Field(min_length=1)
    snr: float = Field(3, ge=-60, le=60)
    at: tuple[str, ...] = Field(("06:00", "18:00"), min_length=1, max_length=1_440)
    source: str = ""

    @field_validator("at")
    @classmethod
    def _times(cls, at: tuple[str, ...]) -> tuple[str, ...]:
        for time in at:
            if not _AT.fullmatch(time):
                raise ValueError(f"at is {time[:20]!r}: write a time of day as 06:00")
        return at


class ListenSettings(Settings):
    """Settings of a whole listener.

    Parameters
    ----------
    hop : float or None
        Seconds from one window to the next; None means that of the thresholds, or a window's
        length.
    state : Path
        Folder in which the outbox lies, and what must outlive a crash.
    heartbeat : float
        Seconds between two lines that say how it goes.
    http : str or None
        Address of /healthz and /metrics, as "9464" or "0.0.0.0:9464"; None opens none.
    store : Path or None
        SQLite file that events and times of listening are kept in, for spectro events; None keeps
        none.
    """

    table: ClassVar[str] = "listen"

    hop: float | None = Field(None, gt=0)
    state: Path = Path("spectro-listen")
    heartbeat: float = Field(60, ge=0.1, le=86_400)
    http: str | None = None
    store: Path | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of :attr:`http`, on loopback unless it names a host."""
        if self.http is None:
            return None
        host, _, port = self.http.rpartition(":")
        if not port.isdecimal() or int(port) > 65_535:
            raise ConfigError(f"http is {self.http[:80]!r}: write a port, 9464, or HOST:PORT")
        return host.strip("[]") or "127.0.0.1", int(port)


def read_sources(path: str | Path) -> list[SourceSettings]:
    """Read the tables ``[[source]]`` of a TOML file.

    Raises
    ------
    ConfigError
        If there is none, one is wrong, or two have the same name.
    """
    found = [_source(table, path, i) for i, table in enumerate(read_tables(path, "source"), 1)]
    names = [source.name for source in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{path}: two sources have the name {twice!r}; give each its own")
    if sum(source.kind == "pipe" for source in found) > 1:
        raise ConfigError(f"{path}: two sources are standard input, which is one; drop one")
    return found


def _source(table: dict[str, Any], path: str | Path, number: int) -> SourceSettings:
    try:
        return SourceSettings(**table)
    except ConfigError as error:
        raise ConfigError(f"{path}: [[source]] {number}: {error}") from None


def read_proofs(path: str | Path) -> list[ProofSettings]:
    """Read the tables ``[[proof]]`` of a TOML file; paths are relative to the file."""
    proofs = []
    for number, table in enumerate(read_tables(path, "proof"), 1):
        try:
            proof = ProofSettings(**table)
        except ConfigError as error:
            raise ConfigError(f"{path}: [[proof]] {number}: {error}") from None
        proofs.append(proof.replace(clip=Path(path).parent / proof.clip))
    return proofs


def check_tables(path: str | Path, known: set[str]) -> None:
    """Refuse a TOML file with a table that nothing reads: a slip of the pen is no default.

    Raises
    ------
    ConfigError
        Naming the table, and those that there are.
    """
    unknown = sorted(set(table_names(path)) - known)
    if unknown:
        raise ConfigError(
            f"{path}: unknown table {unknown[0]!r}; there are {', '.join(sorted(known))}"
        )

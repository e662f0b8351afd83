"""The command that listens for months: ``listen``."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from spectro.cli import console
from spectro.cli.listening.event_flags import Ignore
from spectro.cli.options import flags_of, with_options
from spectro.errors import ConfigError
from spectro.listening.live.settings import (
    AlertSettings,
    EvidenceSettings,
    ListenSettings,
    ProofSettings,
    SourceSettings,
    check_tables,
    read_proofs,
    read_sources,
)
from spectro.plumbing.files import read_bounded
from spectro.plumbing.settings import read_table

if TYPE_CHECKING:
    from spectro.listening.backends import Backend
    from spectro.listening.events.finding import Event
    from spectro.listening.live.build import Plan
    from spectro.listening.live.delivery.courier import Channel

__all__ = ["listen"]

_SOURCE, _OUT, _WATCH = "Source", "Alerts", "Watch"
_LARGEST_SECRET = 4_096  # bytes
_TABLES = {"source", "listen", "events", "alerts", "evidence", "proof"}


@with_options(
    source=flags_of(
        SourceSettings, _SOURCE, "name", "site", "format", "rate", "channels", "start_time"
    ),
    listening=flags_of(ListenSettings, _WATCH, "hop", "state", "heartbeat", "http", "store"),
    alerts=flags_of(AlertSettings, _OUT),
    keeping=flags_of(EvidenceSettings, _OUT, "evidence", "quota"),
)
def listen(
    model: Annotated[
        Optional[Path], typer.Argument(help="Model folder.", show_default=False)
    ] = None,
    what: Annotated[
        Optional[str],
        typer.Argument(
            metavar="[SOURCE]",
            help="mic, mic:PART OF ITS NAME, - for standard input, a file, or a URL that ffmpeg "
            "reads: rtsp, http, Icecast.",
            show_default="mic",
        ),
    ] = None,
    source: Any = None,
    config: Annotated[
        Optional[Path],
        typer.Option(help=r"TOML file with \[listen], \[\[source]] and more, for several sources."),
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, onnx or int8.")] = "auto",
    list_: Annotated[bool, typer.Option("--list", help="List the microphones, and end.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print each event as a line of JSON when it is over.")
    ] = False,
    on_event: Annotated[
        Optional[str],
        typer.Option(
            help="Program to start for each message, JSON on its standard input.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    alerts: Any = None,
    keeping: Any = None,
    ignore: Ignore = None,
    proof: Annotated[
        Optional[Path],
        typer.Option(help="Clip that must be heard at set times.", rich_help_panel=_WATCH),
    ] = None,
    proof_label: Annotated[
        Optional[str], typer.Option(help="Its class.", rich_help_panel=_WATCH)
    ] = None,
    proof_snr: Annotated[
        float, typer.Option(help="dB above the input's level.", rich_help_panel=_WATCH)
    ] = 3,
    proof_at: Annotated[
        Optional[list[str]],
        typer.Option(help="Time of day, 06:00; several may be given.", rich_help_panel=_WATCH),
    ] = None,
    listening: Any = None,
) -> None:
    """Listen for months: events as they come, alerts that arrive, and proof that it hears."""
    if list_:
        _list()
        return
    if model is None:
        raise typer.BadParameter("say which model folder", param_hint="MODEL")
    from spectro.listening.backends import open_backend
    from spectro.listening.choice import choose_backend, remark_on
    from spectro.listening.live.build import Outlets, build
    from spectro.listening.live.clock import SystemClock

    if proof is not None and proof_label is None:
        raise typer.BadParameter("goes with --proof-label", param_hint="--proof")
    if proof is None and (proof_label is not None or proof_at):
        raise typer.BadParameter("goes with --proof CLIP", param_hint="--proof-label, --proof-at")
    proofs = []
    if proof is not None:
        times = {"at": tuple(proof_at)} if proof_at else {}
        proofs = [ProofSettings(clip=proof, label=proof_label, snr=proof_snr, **times)]
    plan = _plan(config, what, source, listening, alerts, keeping, proofs)
    plan = plan._replace(events=plan.events.ignoring(ignore or ()))
    _check_microphone(plan.sources[0], config)
    opened = open_backend(model, backend)  # type: ignore[arg-type]
    if told := remark_on(model):
        console.complain(told)
    clock = SystemClock()

    def channels(using: Backend, names: Sequence[str]) -> list[Channel]:
        return _channels(on_event, plan.alerts, using, names)

    printer = _Printer(json)
    outlets = Outlets(channels, printer.say, printer.happened)
    runner = build(model, opened, plan, outlets, clock, runs=choose_backend(model, backend))
    runner.run()
    failed = runner.failed()
    for why in failed:
        console.complain(why)
    if failed:
        raise typer.Exit(1 if len(failed) == len(plan.sources) else console.SOME_FAILED)


def _plan(
    config: Path | None,
    what: str | None,
    source: dict[str, Any],
    listening: dict[str, Any],
    alerts: dict[str, Any],
    keeping: dict[str, Any],
    proofs: list[ProofSettings],
) -> Plan:
    """Take what the file says, then what the flags say."""
    from spectro.listening.events.settings import EventSettings
    from spectro.listening.live.build import Plan

    def read(cls: Any, flags: dict[str, Any]) -> Any:
        table = read_table(config, cls.table) if config is not None else {}
        try:
            return cls(**{**table, **flags})
        except ConfigError as error:
            raise ConfigError(f"{config}: {error}" if table else str(error)) from None

    if config is not None:
        check_tables(config, _TABLES)
    sources = read_sources(config) if config is not None else []
    if sources and (what is not None or source):
        raise ConfigError(
            f"{config}: names sources; leave out SOURCE and its options, or [[source]]"
        )
    if not sources:
        sources = [_one_source(what or "mic", source)]
    if config is not None:
        proofs = [*read_proofs(config), *proofs]
    told: AlertSettings = read(AlertSettings, alerts)
    if config is not None and told.webhook_secret is not None and "webhook_secret" not in alerts:
        told = told.replace(webhook_secret=config.parent / told.webhook_secret)
    listen_settings: ListenSettings = read(ListenSettings, listening)
    _ = listen_settings.address  # a bad one is told now
    return Plan(
        sources,
        listen_settings,
        read(EventSettings, {}),
        told,
        read(EvidenceSettings, keeping),
        proofs,
    )


def _check_microphone(source: SourceSettings, config: Path | None) -> None:
    """Tell a person at once that there is no microphone.

    One that a file names is looked for again and again: it may be plugged in after the device has
    started.
    """
    named_here = config is None or not read_sources(config)
    if named_here and source.kind == "microphone":
        from spectro.listening.live.sources.microphone import check_there

        check_there(source.input)


def _one_source(what: str, flags: dict[str, Any]) -> SourceSettings:
    """Name a source after what it is, unless it has a name."""
    kind = SourceSettings(input=what).kind
    name = {"pipe": "stdin", "microphone": "mic", "url": "stream", "file": "file"}[kind]
    return SourceSettings(**{"input": what, "name": name, **flags})


def _channels(
    on_event: str | None, alerts: AlertSettings, backend: Backend, names: Sequence[str]
) -> list[Channel]:
    """Open the ways out that were asked for."""
    from spectro.listening.live.build import node_name
    from spectro.listening.live.clock import SystemClock
    from spectro.listening.live.delivery.command import Command
    from spectro.listening.live.delivery.webhook import Webhook

    found: list[Channel] = []
    if on_event is not None:
        found.append(Command(on_event))
    if alerts.webhook is not None:
        found.append(Webhook(alerts.webhook, _secret(alerts.webhook_secret), SystemClock()))
    elif alerts.webhook_secret is not None:
        raise ConfigError("--webhook-secret goes with --webhook")
    if alerts.mqtt is not None:
        from spectro.listening.live.delivery.mqtt import Mqtt

        found.append(Mqtt(alerts.mqtt, node_name(), backend.card.labels, names))
    return found


def _secret(path: Path | None) -> bytes | None:
    from spectro.listening.live.delivery.webhook import read_secret

    if path is None:
        return None
    try:
        return read_secret(read_bounded(path, _LARGEST_SECRET).decode())
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot read the secret ({why})") from None


class _Printer:
    """Prints events on standard output, and all else on standard error."""

    def __init__(self, json: bool) -> None:
        self._json = json
        self._lock = threading.Lock()

    def say(self, source: str, text: str) -> None:
        with self._lock:
            head = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {source}".rstrip()
            console.report(f"{head}: {text}" if source else f"{head} {text}")

    def happened(self, state: str, source: str, event: Event) -> None:
        with self._lock:
            if self._json:
                if state == "over":
                    from spectro.listening.events.tables import json_line

                    sys.stdout.write(json_line(event))
            else:
                console.say(_shown(state, source, event))
            sys.stdout.flush()


def _shown(state: str, source: str, event: Event) -> str:
    when = event.begin_time[:19].replace("T", " ") or f"{event.start:.1f} s"
    length = f", {event.end - event.start:.1f} s" if state == "over" else ""
    return f"{when} {source}: {event.label} {event.peak:.2f} {state}{length}"


def _list() -> None:
    """Print the microphones."""
    from spectro.listening.live.sources.microphone import list_devices

    devices = list_devices()
    for one in devices:
        mark = " (default)" if one.default else ""
        console.say(f"mic:{one.name}  {one.channels} channels, {one.sr} Hz, {one.host}{mark}")
    if not devices:
        console.complain("there is no microphone; is it plugged in?")
        raise typer.Exit(1)

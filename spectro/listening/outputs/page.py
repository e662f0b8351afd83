"""One recording as one HTML page: a timeline to scrub and hear, without a network.

The recording is not in it: its overview has a bounded number of columns, and only the sounds of
events are embedded, as long as there is room. The recording itself is chosen from the disk by who
looks at the page.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr
from PIL import Image

from spectro import __version__
from spectro.clips.waveform import load
from spectro.errors import AudioError
from spectro.listening.events.finding import Event
from spectro.listening.outputs import Results, began_at
from spectro.listening.outputs.evidence import span
from spectro.listening.outputs.tracks import Tracks
from spectro.listening.scan import Found
from spectro.pictures.colors import palette
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import save_png, spectrogram_image
from spectro.plumbing.files import write_bytes

__all__ = ["MOST_EVENTS", "write_page"]

MOST_EVENTS = 5_000
"""Events that a page shows; of more, the surest."""

_MEDIA = 10_000_000  # bytes of the events' sounds and pictures, as text
_MOST_CLIPS = 400  # a sound takes some 20 ms to make
_SECONDS = 12  # s of an event's sound
_WIDE, _TALL = 720, 256  # pixels of an event's picture
_RATE = 22_050  # Hz
_CLASSES = 200  # tracks
_LOUDEST = 0.9
_RANGE = 45.0  # dB that the overview shows at least


def write_page(results: Results, tracks: Tracks) -> Path:
    """Write ``page.html`` of the only recording of a scan.

    Parameters
    ----------
    results : Results
    tracks : Tracks
        Of this recording.

    Returns
    -------
    path : Path
    """
    found = next(results.found())
    events = _shown(found.events)
    about = {
        **_about(found, results, len(events)),
        "classes": _classes(found, results, tracks),
        "overview": _overview(tracks),
        "column": tracks.column,
        "columns": int(tracks.overview.shape[1]),
        "windows": [_floats(row) for row in tracks.windows[:2]],
        "events": _rows(events, results.card.labels),
        "media": _media(events, results.card.spectrogram),
    }
    path = results.out / "page.html"
    write_bytes(path, _render(about, Path(found.heard.recording).name).encode("utf-8", "replace"))
    return path


def _shown(events: Sequence[Event]) -> list[Event]:
    """Return the events in order of time; of very many, the surest."""
    surest = sorted(events, key=lambda event: -event.peak)[:MOST_EVENTS]
    return sorted(surest, key=lambda event: (event.start, event.end, event.label))


def _about(found: Found, results: Results, shown: int) -> dict[str, Any]:
    config, settings = results.card.spectrogram, results.settings
    return {
        "name": Path(found.heard.recording).name,
        "seconds": found.heard.duration,
        "sr": found.heard.sr,
        "began": found.began,
        "begin": began_at(found),
        "hop": settings.hop or config.duration,
        "window": config.duration,
        "low": config.fmin,
        "high": config.fmax or config.sr / 2,
        "site": settings.site,
        "model": settings.model,
        "count": len(found.events),
        "shown": shown,
        "version": __version__,
    }


def _classes(found: Found, results: Results, tracks: Tracks) -> list[dict[str, Any]]:
    """Describe the classes with their tracks, those with most events first."""
    labels, levels = results.card.labels, results.settings.events.levels(results.card.labels)
    counts = dict.fromkeys(labels, 0)
    for event in found.events:
        counts[event.label] += 1
    highest = tracks.windows[2:].max(axis=1, initial=0)
    order = sorted(range(len(labels)), key=lambda i: (-counts[labels[i]], -float(highest[i])))
    return [
        {
            "label": labels[i],
            "id": i,
            "count": counts[labels[i]],
            "on": float(levels.on[i]) if np.isfinite(levels.on[i]) else None,
            "track": _bytes(np.rint(tracks.windows[2 + i] * 255).astype(np.uint8)),
        }
        for i in order[:_CLASSES]
    ]


def _bytes(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _floats(values: npt.NDArray[Any]) -> str:
    return _bytes(values.astype("<f4"))


def _overview(tracks: Tracks) -> str:
    """Draw the overview as a PNG, low frequencies at the bottom."""
    S_db = tracks.overview
    if not S_db.size:
        return ""
    bottom, top = np.percentile(S_db, 10), np.percentile(S_db, 99.9)
    top = max(top, bottom + _RANGE)
    grey = np.clip((S_db - bottom) / (top - bottom), 0, 1)[::-1]
    image = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    image.putpalette(palette("magma"))
    return _png(image)


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    save_png(image, file)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _rows(events: Sequence[Event], labels: Sequence[str]) -> list[list[Any]]:
    place = {label: i for i, label in enumerate(labels)}
    return [
        [round(e.start, 3), round(e.end, 3), place[e.label], round(e.probability, 4),
         round(e.peak, 4)]
        for e in events
    ]  # fmt: skip


def _media(events: Sequence[Event], config: SpectrogramConfig) -> dict[str, dict[str, Any]]:
    """Make sounds and pictures, those of the surest of each class first, while there is room."""
    made, room = dict[str, dict[str, Any]](), _MEDIA
    for number in _in_turn(events)[:_MOST_CLIPS]:
        one = _clip(events[number], config)
        room -= sum(len(text) for text in one.values() if isinstance(text, str))
        if room < 0:
            break
        if one:
            made[str(number)] = one
    return made


def _in_turn(events: Sequence[Event]) -> list[int]:
    """Return the events' numbers: the surest of each class, then the second of each ..."""
    rank: dict[str, int] = {}
    turns = []
    for number in sorted(range(len(events)), key=lambda i: -events[i].peak):
        label = events[number].label
        turns.append((rank.get(label, 0), number))
        rank[label] = rank.get(label, 0) + 1
    return [number for _, number in sorted(turns)]


def _clip(event: Event, config: SpectrogramConfig) -> dict[str, Any]:
    """Make the sound and the picture of an event; nothing if the recording is gone."""
    start, end = span(event)
    end = min(end, start + _SECONDS)
    try:
        y = load(event.recording, sr=config.sr, start=start, end=end, channels=config.channels)
    except (AudioError, OSError):
        return {}
    image = spectrogram_image(y, config)
    sound = _sound(y if y.ndim == 1 else y.mean(axis=0), config.sr)
    return {"s": sound, "p": _jpeg(image), "from": round(start, 3), "to": round(end, 3)}


def _jpeg(image: Image.Image) -> str:
    """Encode a picture for people: a PNG of noise is five times as large."""
    size = min(image.width, _WIDE), min(image.height, _TALL)
    file = io.BytesIO()
    small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    small.save(file, format="jpeg", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _sound(y: npt.NDArray[np.float32], sr: int) -> str:
    """Encode a sound, as loud as it gets: MP3, or FLAC where libsndfile writes no MP3."""
    if sr > _RATE:
        y, sr = soxr.resample(y, sr, _RATE, quality="HQ"), _RATE
    peak = float(np.abs(y).max(initial=0))
    y = y * (_LOUDEST / peak) if peak > 0 else y
    file = io.BytesIO()
    if "MP3" in sf.available_formats() and sr in (8_000, 11_025, 12_000, 16_000, 22_050):
        kind, how = "mpeg", {"format": "MP3", "subtype": "MPEG_LAYER_III"}
    else:
        kind, how = "flac", {"format": "FLAC", "subtype": "PCM_16"}
    sf.write(file, y, sr, **how)
    return f"data:audio/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _render(about: dict[str, Any], name: str) -> str:
    """Fill the template; its policy forbids the page any connection, and any script but ours."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("spectro.listening.outputs"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    assert environment.loader is not None
    style, script = (
        Markup(environment.loader.get_source(environment, f"page.{kind}")[0])
        for kind in ("css", "js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = json.dumps(about, separators=(",", ":"), allow_nan=False)
    data = Markup(text.replace("<", "\\u003c").replace(">", "\\u003e"))
    return environment.get_template("page.html").render(
        name=name, style=style, script=script, script_digest=Markup(digest), data=data,
        version=__version__,
    )  # fmt: skip

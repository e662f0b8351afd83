"""The command that shows one clip: ``plot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from spectro.cli import console
from spectro.cli.options import ConfigFile, Recipe, spectrogram_config
from spectro.cli.picture import (
    Channels,
    Cmap,
    DbRange,
    Duration,
    Fmax,
    Fmin,
    HopLength,
    NFft,
    NMels,
    Pad,
    Ref,
    Sr,
    TopDb,
    WinLength,
)

if TYPE_CHECKING:
    from spectro.clips.measure import Vitals

__all__ = ["plot"]

_LONGEST = 60.0  # seconds of a spectrogram whose length nobody asked for


def plot(
    clip: Annotated[str, typer.Argument(help="Sound file.")],
    what: Annotated[
        Literal["waveform", "spectrogram", "both"], typer.Option(help="What to draw.")
    ] = "both",
    out: Annotated[
        Optional[Path],
        typer.Option(help="Picture to write; by default CLIP's name and .png, here."),
    ] = None,
    config: ConfigFile = None,
    recipe: Recipe = None,
    sr: Sr = None,
    duration: Duration = None,
    n_fft: NFft = None,
    win_length: WinLength = None,
    hop_length: HopLength = None,
    n_mels: NMels = None,
    fmin: Fmin = None,
    fmax: Fmax = None,
    ref: Ref = None,
    top_db: TopDb = None,
    db_range: DbRange = None,
    pad: Pad = None,
    cmap: Cmap = None,
    channels: Channels = None,
) -> None:
    """Print what a sound file is, and draw its waveform and its spectrogram."""
    from spectro.clips.measure import examine
    from spectro.pictures import plots

    found = examine(clip)
    if duration is None and config is None and recipe is None:
        duration = min(found.seconds, _LONGEST)
    settings = spectrogram_config(
        config,
        recipe,
        sr=sr,
        duration=duration,
        n_fft=n_fft,
        win_length=win_length,
        hop_length=hop_length,
        n_mels=n_mels,
        fmin=fmin,
        fmax=fmax,
        ref=ref,
        top_db=top_db,
        db_range=db_range,
        pad=pad,
        cmap=cmap,
        channels=channels,
    )
    for name, value in _parameters(found).items():
        console.say(f"{name:<10} {value}")
    picture = plots.save(plots.clip(clip, settings, what), out or f"{Path(clip).stem}.png")
    console.say(f"{what}: {picture}")


def _parameters(found: Vitals) -> dict[str, Any]:
    """Say what was measured in words and units."""
    return {
        "container": found.container,
        "codec": found.codec,
        "rate": f"{found.sr:,} Hz",
        "channels": found.channels,
        "length": f"{found.seconds:.3f} s, {round(found.seconds * found.sr):,} samples",
        "peak": f"{found.peak_db:.1f} dBFS",
        "level": f"{found.rms_db:.1f} dBFS (RMS of the mean of the channels)",
        "offset": f"{found.dc:.4f} of full scale",
        "clipped": f"{100 * found.clipped:.2f} % of the samples",
    }

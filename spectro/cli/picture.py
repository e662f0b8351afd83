"""Options of the commands that draw spectrograms: the settings of a picture, one by one."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

__all__ = [
    "Channels",
    "Cmap",
    "DbRange",
    "Duration",
    "Fmax",
    "Fmin",
    "HopLength",
    "NFft",
    "NMels",
    "Pad",
    "Ref",
    "Sr",
    "TopDb",
    "WinLength",
]

Sr = Annotated[Optional[int], typer.Option(help="Sampling rate, Hz.")]
Duration = Annotated[Optional[float], typer.Option(help="Length of a picture, s.")]
NFft = Annotated[Optional[int], typer.Option(help="FFT length, samples.")]
WinLength = Annotated[Optional[int], typer.Option(help="Window length, samples.")]
HopLength = Annotated[Optional[int], typer.Option(help="Step of frames, samples.")]
NMels = Annotated[Optional[int], typer.Option(help="Mel bands.")]
Fmin = Annotated[Optional[float], typer.Option(help="Lowest frequency, Hz.")]
Fmax = Annotated[Optional[float], typer.Option(help="Highest frequency, Hz.")]
Ref = Annotated[Optional[str], typer.Option(help="What 0 dB is: max, or a mel power.")]
TopDb = Annotated[Optional[float], typer.Option(help="Range of the picture, dB.")]
DbRange = Annotated[Optional[str], typer.Option(help="fixed, or auto: each clip's own.")]
Pad = Annotated[Optional[str], typer.Option(help="zero, loop, center or random.")]
Cmap = Annotated[Optional[str], typer.Option(help="magma or gray.")]
Channels = Annotated[Optional[str], typer.Option(help="mean, first or both.")]

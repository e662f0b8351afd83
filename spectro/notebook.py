"""Clips in a Jupyter notebook: cards with picture, player and caption."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spectro.clips import waveform as audio
from spectro.clips.clip import Clip
from spectro.errors import MissingExtraError

if TYPE_CHECKING:
    from IPython.display import HTML

__all__ = ["clips", "sounds"]

_SR = 22_050  # Hz; enough to judge by ear, and every browser plays it
_CARD = '<figure style="margin:0 16px 16px 0;width:300px">{}</figure>'
_PICTURE = (
    '<img src="data:image/png;base64,{}" alt="spectrogram" '
    'style="width:300px;height:130px;image-rendering:pixelated">'
)
_CAPTION = '<figcaption style="font-size:13px;line-height:1.35">{}</figcaption>'


def clips(table: pd.DataFrame) -> HTML:
    """Show clips side by side: the picture that the network saw, a player, what was heard.

    Parameters
    ----------
    table : pandas.DataFrame
        ``path``, ``start``, ``end``, ``label`` and ``image``; with ``predicted`` and
        ``probability`` these are told too. Sounds are decoded here, as browsers play few of the
        formats that datasets come in, and brought to the same level.
    """
    return _page([_clip(clip) for clip in table.to_dict("records")])


def sounds(named: Mapping[str, audio.Waveform], sr: int) -> HTML:
    """Show players side by side, each with its caption, at the level that the sounds have.

    Parameters
    ----------
    named : mapping of str to np.ndarray [shape=(n,)], float32
        Sounds with their captions; beyond full scale they are cut.
    sr : int
        Sampling rate in Hz.
    """
    cards = (
        _player(np.clip(y, -1, 1), sr, normalize=False) + _caption(name)
        for name, y in named.items()
    )
    return _page([_CARD.format(card) for card in cards])


def _clip(clip: Mapping[Any, Any]) -> str:
    path, start, end = Clip.of(clip)
    y = audio.load(path, sr=_SR, start=start, end=end)
    picture = base64.b64encode(Path(clip["image"]).read_bytes()).decode()
    told = str(clip["label"])
    if "predicted" in clip:
        told += f", heard as {clip['predicted']} ({100 * clip['probability']:.0f} %)"
    where = f"{Path(clip['path']).name}, {len(y) / _SR:.2f} s"
    player = _player(y, _SR, normalize=True)
    return _CARD.format(_PICTURE.format(picture) + player + _caption(told, where))


def _player(y: audio.Waveform, sr: int, *, normalize: bool) -> str:
    try:
        from IPython.display import Audio
    except ImportError:
        raise MissingExtraError("dev", "showing sounds in a notebook") from None
    player: str = Audio(y, rate=sr, normalize=normalize)._repr_html_()
    return player.replace("<audio ", '<audio style="width:300px;height:36px" ', 1)


def _caption(*lines: str) -> str:
    return _CAPTION.format("<br>".join(escape(line) for line in lines))


def _page(cards: list[str]) -> HTML:
    from IPython.display import HTML

    shown = "".join(cards) or "none"
    return HTML(f'<div style="display:flex;flex-wrap:wrap">{shown}</div>')

"""Pictures and sounds of single clips, small enough to lie inside the page."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile as sf
import soxr
from PIL import Image

from spectro.clips.clip import Clip
from spectro.clips.decode import file_seconds
from spectro.crossval.run import Run
from spectro.errors import ModelError, SpectroError
from spectro.pictures.read import picture_size
from spectro.pictures.spectrogram import clip_image, load_clip, network_pixels
from spectro.plumbing.files import open_regular
from spectro.plumbing.paths import is_url

if TYPE_CHECKING:
    from spectro.clips.waveform import Waveform
    from spectro.models.card import ModelCard
    from spectro.pictures.settings import SpectrogramConfig

__all__ = ["Budget", "Showcase", "mp3", "padded"]

_LONGEST = 15  # seconds in a player
_RATES = (22050, 16000, 11025, 8000)  # Hz; encoders take no others
_LOUDEST = 0.8  # of full scale: without what MP3 leaves out of them, sounds overshoot their peak
_TRIES = 3
_THIN = 0.02  # of a picture's width: padding that nobody sees
_MOSTLY = 0.5  # of a map: then it looks at padding
_FINE = 100
_LARGEST = (640, 320)  # pixels of a picture

Media = dict[str, Any]
Spans = list[tuple[float, float]]  # left end and width, as shares of a picture's width


class Budget:
    """Bytes that may still be spent.

    Parameters
    ----------
    size : int
        How many there are.
    """

    def __init__(self, size: int) -> None:
        self.left = size

    def spend(self, size: int) -> bool:
        """Take `size` bytes, or leave them where there are not so many."""
        if size > self.left:
            return False
        self.left -= size
        return True


class Showcase:
    """Makes media of a run's clips, and counts what could not be had.

    Parameters
    ----------
    run : Run
        Names the settings, and has the models.
    predictions : pandas.DataFrame
        Clips: ``path``, ``start``, ``end``, ``image``, ``fold`` and ``predicted``.

    Attributes
    ----------
    lacking : dict of str to int
        Clips without "picture", "sound" or "overlay", of those asked for.
    """

    def __init__(self, run: Run, predictions: pd.DataFrame) -> None:
        self._run = run
        self._clips = predictions
        self._config = run.spectrogram
        self._network = functools.lru_cache(maxsize=1)(self._load_network)
        self.lacking = {"picture": 0, "sound": 0, "overlay": 0}

    def card(self, row: int) -> Media:
        """Return picture, Grad-CAM overlay and sound of a clip as data URIs.

        Returns
        -------
        media : dict
            ``picture``, ``overlay`` and ``sound``, each empty where it could not be had, and
            ``remark`` on the overlay; and ``padding``, the parts of the picture without sound.
        """
        clip, image = self._clip(row), self._image(row)
        overlay, remark, spans = "", "", self._padding(row)
        if image is not None:
            fold, predicted = int(clip["fold"]), str(clip["predicted"])
            overlay, remark = self._overlay(image, fold, predicted, spans)
        return {
            "picture": self._count("picture", _png(image)),
            "overlay": self._count("overlay", overlay) if overlay or not remark else "",
            "remark": remark,
            "padding": spans,
            "sound": self._count("sound", self._sound(row)),
        }

    def thumbnail(self, row: int) -> Media:
        """Return a smaller picture ``p`` and the sound ``s`` of a clip, those that can be had."""
        media = {"p": _jpeg(self._image(row), 70), "s": self._sound(row)}
        return {name: uri for name, uri in media.items() if uri}

    def _clip(self, row: int) -> dict[Any, Any]:
        return self._clips.loc[row].to_dict()

    def _count(self, kind: str, uri: str) -> str:
        self.lacking[kind] += not uri
        return uri

    def _image(self, row: int) -> Image.Image | None:
        """Open the picture that the network saw, or draw it again."""
        path = str(self._clip(row)["image"])
        with suppress(OSError, SyntaxError, ValueError):
            if not is_url(path):
                with open_regular(path) as file:
                    if picture_size(file) == self._config.shape:  # before anything is decoded
                        image = Image.open(file, formats=("PNG",))
                        image.load()
                        return image
        drawn: Image.Image | None = self._heard(row, clip_image)
        return drawn

    def _sound(self, row: int) -> str:
        y = self._heard(row, load_clip)
        return "" if y is None else mp3(y if y.ndim == 1 else y.mean(axis=0), self._config.sr)

    def _heard(self, row: int, make: Callable[..., Any]) -> Any:
        """Call `make` on a clip's sound; None if it cannot be read."""
        path, start, end = Clip.of(self._clip(row))
        if is_url(path):  # a run from elsewhere must not make this machine ask around
            return None
        try:
            return make(path, self._config, start=start, end=end)
        except (SpectroError, OSError):
            return None

    def _padding(self, row: int) -> Spans:
        """Find which parts of a clip's picture are padding; none where that cannot be told."""
        path, start, end = Clip.of(self._clip(row))
        if is_url(path):
            return []
        try:
            lasts = file_seconds(Path(path))
        except (SpectroError, OSError):
            return []
        if lasts is None:
            return []
        return padded(min(end or lasts, lasts) - (start or 0.0), self._config)

    def _overlay(
        self, image: Image.Image, fold: int, predicted: str, padding: Spans
    ) -> tuple[str, str]:
        """Draw Grad-CAM's map for the predicted class over a picture, and remark on it."""
        if not self._model(fold).is_dir():
            return "", ""
        import torch

        from spectro.models.networks.gradcam import gradcam, overlay

        network, card = self._network(fold)
        if network is None or card is None or predicted not in card.labels:
            return "", ""
        pixels = torch.from_numpy(network_pixels(image, card.size))[None]
        place_ = card.labels.index(predicted)
        (heat,) = gradcam(network, pixels, [place_], mean=card.mean, std=card.std)
        if not float(heat.max()) > 0:
            return "", (
                f"Grad-CAM is empty here: no part of the picture speaks for {predicted}; the other "
                "classes had even less in their favour."
            )
        share = _within(np.asarray(heat), padding)
        remark = (
            f"{100 * share:.0f} % of what speaks for {predicted} here is padding, where there is "
            "no sound: it may go by how long such clips are, not by how they sound."
        )
        return _jpeg(overlay(image, heat), 80), remark if share > _MOSTLY else ""

    def _model(self, fold: int) -> Path:
        return self._run.fold_folder(fold) / "model"

    def _load_network(self, fold: int) -> tuple[Any, ModelCard | None]:
        from spectro.models.folder import load_model

        try:
            return load_model(self._model(fold))
        except (ModelError, OSError):
            return None, None


def padded(seconds: float, config: SpectrogramConfig) -> Spans:
    """Say which parts of the picture of a clip are padding.

    Parameters
    ----------
    seconds : float
        Length of the clip.
    config : SpectrogramConfig
        How it is drawn.

    Returns
    -------
    spans : list of tuple of float
        Left end and width, as shares of the picture's width; none where the clip fills it, is
        repeated, or lies at a random place.

    Examples
    --------
    >>> from spectro.pictures.settings import SpectrogramConfig
    >>> padded(1.0, SpectrogramConfig())
    [(0.25, 0.75)]
    """
    filled = seconds / config.duration
    if config.pad in ("loop", "random") or filled > 1 - _THIN:
        return []
    if config.pad == "center":
        side = (1 - filled) / 2
        return [(0.0, side), (1 - side, side)]
    return [(filled, 1 - filled)]


def _within(heat: npt.NDArray[np.floating[Any]], spans: Spans) -> float:
    """Return the share of a map that lies within parts of its width."""
    columns = np.repeat(heat.sum(axis=0), _FINE)  # a map has few columns
    at = (np.arange(len(columns)) + 0.5) / len(columns)
    inside = np.zeros(len(columns), dtype=bool)
    for left, width in spans:
        inside |= (at >= left) & (at <= left + width)
    return float(columns[inside].sum() / columns.sum())


def mp3(y: Waveform, sr: int) -> str:
    """Encode a sound as a data URI: mono, at most 22,050 Hz and 15 s, as loud as it gets.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)], float32
        Waveform; a quiet one is made as loud as the others, as pictures are.
    sr : int
        Its sampling rate in Hz.

    Returns
    -------
    uri : str
        An MP3, or a WAV where libsndfile cannot write MP3.
    """
    rate = next((rate for rate in _RATES if rate <= sr), _RATES[-1])
    y = y[: _LONGEST * sr]
    heard = np.asarray(y if rate == sr else soxr.resample(y, sr, rate, quality="HQ"))
    peak = float(np.abs(heard).max(initial=0.0))
    heard = heard * (_LOUDEST / peak) if peak > 0 else heard
    if "MP3" in sf.available_formats():
        return _uri("audio/mpeg", _unclipped(heard, rate))
    file = io.BytesIO()
    sf.write(file, heard, rate, format="WAV", subtype="PCM_16")
    return _uri("audio/wav", file)


def _unclipped(heard: npt.NDArray[Any], rate: int) -> io.BytesIO:
    """Encode as MP3, more softly where it would come out of the player above full scale."""
    for _ in range(_TRIES):
        file = io.BytesIO()
        sf.write(file, heard, rate, format="MP3", subtype="MPEG_LAYER_III")
        file.seek(0)
        peak = float(np.abs(sf.read(file, dtype="float32")[0]).max(initial=0.0))
        if peak <= 1:
            break
        heard = heard * (_LOUDEST / peak)
    return file


def _png(image: Image.Image | None) -> str:
    """Encode a picture without loss, or, where it is large, smaller and as JPEG."""
    if image is None:
        return ""
    if image.width > _LARGEST[0] or image.height > _LARGEST[1]:
        return _jpeg(image, 85)
    file = io.BytesIO()
    image.save(file, format="png", optimize=True)
    return _uri("image/png", file)


def _jpeg(image: Image.Image | None, quality: int) -> str:
    if image is None:
        return ""
    small = image.convert("RGB")
    size = tuple(min(have, most) for have, most in zip(image.size, _LARGEST, strict=True))
    if size != image.size:
        small = small.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, format="jpeg", quality=quality)
    return _uri("image/jpeg", file)


def _uri(mime: str, file: io.BytesIO) -> str:
    return f"data:{mime};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"

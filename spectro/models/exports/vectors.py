"""What a model answered where it was exported: ``verify.json``, to compare on other machines.

Three stages are kept, each with what goes in and what came out, so that each can be repeated alone:
short sounds at other rates and what resampling makes of them; waveforms and their pictures; these
pictures and the probabilities that each arithmetic gives them. The sounds are made here: sweeps,
clicks, a tone, silence, noise and hum.
"""

from __future__ import annotations

import base64
import math
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image
from pydantic import Field

from spectro.clips.waveform import load
from spectro.errors import ModelError
from spectro.models.card import TENSORS, VECTORS, ModelCard, read_card, shortened
from spectro.models.exports.probes import PROBES, probe_waveforms
from spectro.pictures.colors import palette
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import network_levels, spectrogram_image
from spectro.plumbing.environment import environment
from spectro.plumbing.files import sha256_of
from spectro.plumbing.paths import check_no_link
from spectro.plumbing.settings import Record

__all__ = [
    "Array",
    "Resampled",
    "Vectors",
    "compare_pictures",
    "compare_resampling",
    "draw",
    "read_vectors",
    "resample",
    "vectors_of",
]

_MAX_BYTES = 1 << 26  # of the file, and of each array in it
_RATES = (16_000, 44_100, 48_000)
_SECONDS = 0.25  # of each sound that is resampled
_BLOCK = 1.0  # seconds of each waveform that is kept; it is repeated to fill a picture

Numbers = npt.NDArray[np.generic]
Levels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Array(Record):
    """An array in a JSON file.

    Parameters
    ----------
    dtype : "int16", "uint8" or "float32"
        Little-endian.
    shape : tuple of int
        At most four dimensions.
    data : str
        Base64 of the bytes, deflated.
    """

    dtype: Literal["int16", "uint8", "float32"]
    shape: tuple[int, ...] = Field(min_length=1, max_length=4)
    data: str = Field(max_length=_MAX_BYTES)

    @classmethod
    def of(cls, values: Numbers) -> Array:
        """Keep an array."""
        little = values.astype(values.dtype.newbyteorder("<"))
        data = base64.b64encode(zlib.compress(little.tobytes(), 9)).decode()
        return cls.model_validate({"dtype": values.dtype.name, "shape": values.shape, "data": data})

    def values(self) -> Numbers:
        """Unpack it.

        Raises
        ------
        ValueError
            If it is too large, or holds more or less than its shape says.
        """
        kind = np.dtype(self.dtype).newbyteorder("<")
        if any(n < 1 for n in self.shape) or math.prod(self.shape) * kind.itemsize > _MAX_BYTES:
            raise ValueError(f"an array of shape {self.shape} is empty or too large")
        wanted = math.prod(self.shape) * kind.itemsize
        try:
            packed = base64.b64decode(self.data, validate=True)
            found = zlib.decompressobj().decompress(packed, wanted + 1)
        except (ValueError, zlib.error) as error:
            raise ValueError(f"an array cannot be unpacked ({error})") from None
        if len(found) != wanted:
            raise ValueError(f"an array of shape {self.shape} holds other bytes than that")
        native = np.frombuffer(found, kind).reshape(self.shape)
        return native.astype(np.dtype(self.dtype))


class Resampled(Record):
    """A sound at another rate, and what it becomes at the model's.

    Parameters
    ----------
    rate : int
        Of the sound, in Hz.
    y : Array
        Shape (n,), int16.
    expected : Array
        Shape (m,), float32.
    """

    rate: int = Field(ge=1_000, le=1_000_000)
    y: Array
    expected: Array


class Vectors(Record):
    """What ``verify.json`` says.

    Parameters
    ----------
    tensors : str
        SHA-256 of the ``model.safetensors`` that it holds for.
    environment : dict of str to str
        Versions of what made it.
    resampled : tuple of Resampled
        For the stage "resampler".
    names : tuple of str
        Of the waveforms.
    waveforms : Array
        Shape (n, samples), int16, at the model's rate; each is repeated to fill a picture.
    pictures : Array
        Shape (n, height, width) or (n, height, width, 3), uint8: grey levels, low frequencies at
        the bottom.
    answers : dict of str to Array
        Probabilities, shape (n, classes), float32, of "float32" and, once it is exported, "int8".
    """

    format: int = Field(1, ge=1, le=1)
    tensors: str = Field(pattern="[0-9a-f]{64}", max_length=64)
    environment: dict[str, str] = Field(default_factory=dict, max_length=100)
    resampled: tuple[Resampled, ...] = Field(max_length=10)
    names: tuple[str, ...] = Field(min_length=1, max_length=100)
    waveforms: Array
    pictures: Array
    answers: dict[Literal["float32", "int8"], Array]

    def levels(self, card: ModelCard) -> Levels:
        """Give the pictures as the network takes them, shape (n, height, width, 3)."""
        return _network_levels(np.asarray(self.pictures.values(), dtype=np.uint8), card)

    def with_int8(self, probabilities: Floats) -> Vectors:
        """Add what the network in eight bits answers."""
        answers = {**self.answers, "int8": Array.of(probabilities)}
        return self.model_copy(update={"answers": answers})


def vectors_of(card: ModelCard, folder: Path, ask: Callable[[Levels], Floats]) -> Vectors:
    """Make the vectors of a model.

    Parameters
    ----------
    card : ModelCard
        Of the model.
    folder : Path
        Model folder with ``model.safetensors``.
    ask : callable
        From levels, shape (n, height, width, 3), to probabilities.
    """
    config = card.spectrogram
    sounds = _sounds(config)
    waves = np.stack([*sounds.values()])
    pictures = draw(waves, config)
    return Vectors(
        tensors=sha256_of(folder / TENSORS),
        environment=environment().versions,
        resampled=tuple(_resampled(rate, config.sr) for rate in _RATES if rate != config.sr),
        names=tuple(sounds),
        waveforms=Array.of(waves),
        pictures=Array.of(pictures),
        answers={"float32": Array.of(ask(_network_levels(pictures, card)))},
    )


def _resampled(rate: int, sr: int) -> Resampled:
    y = _quantized(_sweep(rate, int(_SECONDS * rate)))
    return Resampled(rate=rate, y=Array.of(y), expected=Array.of(resample(y, rate, sr)))


def resample(y: Numbers, rate: int, sr: int) -> Floats:
    """Bring int16 samples from `rate` to `sr` Hz by way of a file, as clips come."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        soundfile.write(path, y, rate, subtype="PCM_16")
        return np.asarray(load(path, sr=sr), dtype=np.float32)


def draw(waves: Numbers, config: SpectrogramConfig) -> Levels:
    """Draw waveforms, each repeated to fill a picture; see :attr:`Vectors.pictures`."""
    drawn = []
    for wave in waves:
        y = np.resize(_floats(wave), config.n_samples)
        y = np.stack([y, y[::-1]]) if config.channels == "both" else y
        drawn.append(np.asarray(spectrogram_image(y, config)))
    return np.stack(drawn)


def _network_levels(pictures: Levels, card: ModelCard) -> Levels:
    """Colour pictures and resize them as the network takes them."""
    images = [Image.fromarray(each) for each in pictures]
    if pictures.ndim == 3:
        for image in images:
            image.putpalette(palette(card.spectrogram.cmap))
    return np.stack([network_levels(image, card.size) for image in images])


def _sounds(config: SpectrogramConfig) -> dict[str, Numbers]:
    """Make the waveforms, as int16."""
    n = min(config.n_samples, int(_BLOCK * config.sr))
    t = np.arange(n) / config.sr
    clicks = np.zeros(n)
    clicks[:: max(1, config.sr // 10)] = 0.8
    tone = 0.2 * np.sin(2 * np.pi * 440 * t) * (1 + np.sin(2 * np.pi * 6 * t))
    own = {"sweep": _sweep(config.sr, n), "clicks": clicks, "tone": tone}
    probes = zip(PROBES, probe_waveforms(config), strict=True)
    own.update({name: y[:n] for name, y in probes})
    return {name: _quantized(y) for name, y in own.items()}


def _sweep(sr: int, n: int) -> npt.NDArray[np.float64]:
    """Sweep from 50 Hz to nearly half the sampling rate, evenly in octaves."""
    t, seconds = np.arange(n) / sr, n / sr
    octaves = math.log(0.45 * sr / 50)
    return 0.5 * np.sin(2 * np.pi * 50 * seconds / octaves * np.expm1(t / seconds * octaves))


def _quantized(y: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    samples: npt.NDArray[np.int16] = np.clip(np.rint(y * 32_768), -32_768, 32_767).astype(np.int16)
    return samples


def _floats(y: Numbers) -> Floats:
    return np.asarray(y, dtype=np.float32) / np.float32(32_768)


def read_vectors(folder: str | Path) -> Vectors:
    """Read the vectors of a model folder, which may come from a stranger.

    Raises
    ------
    ModelError
        If there are none, they are damaged, or of another model than what lies beside them.
    """
    path, tensors = Path(folder) / VECTORS, Path(folder) / TENSORS
    card = read_card(folder)
    check_no_link(path, ModelError)
    if not path.is_file():
        raise ModelError(f"{folder}: has no {VECTORS}; spectro export writes it")
    if path.stat().st_size > _MAX_BYTES:
        raise ModelError(f"{path}: is longer than {_MAX_BYTES:,} bytes; export the model again")
    found = Vectors.read(path, ModelError)
    if tensors.is_file() and sha256_of(tensors) != found.tensors:
        raise ModelError(f"{path}: is of another {TENSORS}; export the model again")
    try:
        _check(found, card)
    except ValueError as error:
        raise ModelError(f"{path}: {shortened(error)}; export the model again") from None
    return found


def _check(found: Vectors, card: ModelCard) -> None:
    """Compare the shapes of all arrays with the card, then unpack each once."""
    n, config = len(found.names), card.spectrogram
    colours = (3,) if config.channels == "both" else ()
    length = min(found.waveforms.shape[-1], config.n_samples)
    arrays: dict[str, tuple[Array, str, tuple[int, ...]]] = {
        "waveforms": (found.waveforms, "int16", (n, length)),
        "pictures": (found.pictures, "uint8", (n, *config.shape, *colours)),
    }
    for kind, answers in found.answers.items():
        arrays[f"answers in {kind}"] = (answers, "float32", (n, len(card.labels)))
    for i, one in enumerate(found.resampled):
        length = one.y.shape[0]
        arrays[f"sound {i}"] = (one.y, "int16", (min(length, one.rate),))
        arrays[f"resampled {i}"] = (one.expected, "float32", (-(-length * config.sr // one.rate),))
    for name, (array, dtype, shape) in arrays.items():
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"{name} are not the model's, but {array.dtype} of {array.shape}")
        array.values()
    if "float32" not in found.answers:
        raise ValueError("it has no answers in float32")


def compare_resampling(found: Vectors, sr: int) -> dict[int, float]:
    """Resample the sounds again; give the largest difference, of full scale, by their rate."""
    return {
        one.rate: _largest(resample(one.y.values(), one.rate, sr), one.expected.values())
        for one in found.resampled
    }


def compare_pictures(found: Vectors, config: SpectrogramConfig) -> dict[str, float]:
    """Draw the waveforms again; give the largest difference, in grey levels, by their name."""
    drawn, expected = draw(found.waveforms.values(), config), found.pictures.values()
    return dict(zip(found.names, map(_largest, drawn, expected), strict=True))


def _largest(one: Numbers, other: Numbers) -> float:
    """Give the largest difference of two arrays; infinity where their shapes differ."""
    if one.shape != other.shape:
        return math.inf
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())

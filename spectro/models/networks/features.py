"""What a frozen body makes of pictures: pooled features, computed once a picture and kept.

A cache file belongs to one body (architecture, every weight, picture size, arithmetic) and knows
each picture by the SHA-256 of its file. So a picture that changed is another picture, one that is
left out takes nothing from the others, and nothing is ever taken for what it was.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from spectro.models.card import IMAGENET_MEAN, IMAGENET_STD
from spectro.models.networks import build as network
from spectro.models.networks.precision import autocast, without_tf32
from spectro.pictures.read import picture_digest, read_levels
from spectro.plumbing.files import write_bytes

__all__ = ["body_identity", "extract", "pooled_features", "reader"]

_BATCH = 32  # always: in a batch of another shape the same sums are made in another order
_FORMAT = 2  # of the cache and of what is in it; raise it when features of a picture change

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]
Floats = npt.NDArray[np.float32]
Reader = Callable[[Sequence[Any]], torch.Tensor]
Job = TypeVar("Job")
Result = TypeVar("Result")


def pooled_features(
    images: Sequence[str],
    body: nn.Sequential,
    identity: dict[str, Any],
    cache: Path,
    *,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Floats, int]:
    """Give the features of pictures, from the cache where it has them; it then has them all.

    Parameters
    ----------
    images : sequence of str
        Picture files.
    body : torch.nn.Sequential
        Of :func:`spectro.models.networks.build.body`.
    identity : dict
        Of :func:`body_identity`, for this `body`.
    cache : Path
        Folder of the caches, a file a body.
    device : torch.device
        Where the body runs.
    progress : callable or None
        Called with the number of pictures computed and of those to compute.

    Returns
    -------
    features : np.ndarray [shape=(n_images, 2 * channels)], float32
        Maximum over time and frequency, then mean, of each channel.
    computed : int
        How many pictures had to be computed.

    Raises
    ------
    RenderError
        If a file is no picture.
    """
    digests = [picture_digest(image) for image in images]
    named = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    file = cache / f"{identity['arch'].replace('/', '-')}-{named}.safetensors"
    known = _read(file, identity)
    wanted = dict(zip(digests, images, strict=True))  # the same picture twice is computed once
    missing = {digest: image for digest, image in wanted.items() if digest not in known}
    if missing:
        read, precision = reader(identity["size"]), identity["precision"]
        stats = network.statistics(identity["arch"])
        rows = extract(list(missing.values()), body, read, precision, device, progress, stats)
        known |= dict(zip(missing, rows, strict=True))
        _write(file, identity, known)
    return np.stack([known[digest] for digest in digests]), len(missing)


def body_identity(
    arch: str, body: nn.Sequential, size: int | None, precision: str
) -> dict[str, Any]:
    """Say all that the features of a picture depend on, but for the picture.

    Parameters
    ----------
    arch : str
        Name of the network.
    body : torch.nn.Sequential
        With its weights, of which every one counts.
    size : int or None
        Side of the square that pictures are resized to.
    precision : "fp32", "bf16" or "fp16"
        Arithmetic.

    Returns
    -------
    identity : dict
        Plain scalars.
    """
    digest = hashlib.sha256()
    for name, tensor in body.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    shown = network.statistics(arch)
    return {
        "format": _FORMAT,
        "arch": arch,
        "weights": digest.hexdigest(),
        "size": size,
        "precision": precision,
        **({} if shown == (IMAGENET_MEAN, IMAGENET_STD) else {"statistics": shown}),
    }


@torch.inference_mode()
def extract(
    images: Sequence[Any],
    body: nn.Sequential,
    read: Reader,
    precision: str,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
    statistics: Statistics = (IMAGENET_MEAN, IMAGENET_STD),
) -> Floats:
    """Run a body over pictures; what it makes of one does not depend on the others.

    The next batch is read while one is in the network; the last is filled up, so that all have
    one shape.

    Parameters
    ----------
    images : sequence
        Picture files, or whatever else `read` takes.
    body : torch.nn.Sequential
        Of :func:`spectro.models.networks.build.body`; left as it is.
    read : callable
        Of :func:`reader`, or another that gives some of `images` as uint8, shape
        (n, 3, height, width), one size for all.
    precision : "fp32", "bf16" or "fp16"
        Arithmetic.
    device : torch.device
        Where the body runs.
    progress : callable or None
        Called with the number of pictures computed and of those to compute.
    statistics : tuple
        Mean and standard deviation, a triple each, of
        :func:`spectro.models.networks.build.statistics`.

    Returns
    -------
    features : np.ndarray [shape=(n_images, 2 * channels)], float32
        Maximum over time and frequency, then mean, of each channel.
    """
    body = copy.deepcopy(body)  # which may be in training, with an optimizer that knows its layout
    body = body.eval().to(device).to(memory_format=torch.channels_last)
    pool, rows = network.ConcatPool(), []
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in statistics)
    batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
    with autocast(device, precision), without_tf32():
        for pixels in _one_ahead(read, batches):
            x = (_filled(pixels).to(device).float() / 255 - mean) / std
            maps = body(x.contiguous(memory_format=torch.channels_last))
            rows.append(pool(maps.float())[: len(pixels)].cpu().numpy())
            if progress is not None:
                progress(min(len(rows) * _BATCH, len(images)), len(images))
    return np.concatenate(rows)


def reader(size: int | None) -> Reader:
    """Make what reads picture files for :func:`extract`.

    Parameters
    ----------
    size : int or None
        Side of the square that pictures are resized to; None for the size that they have.

    Returns
    -------
    read : callable
        From files to uint8 of shape (n, 3, height, width), channels_last in memory.
    """
    return lambda images: torch.from_numpy(read_levels(images, size)).permute(0, 3, 1, 2)


def _one_ahead(work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """Yield the result of each job in order, the next one being worked on meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        waiting = None
        for job in jobs:
            ready, waiting = waiting, thread.submit(work, job)
            if ready is not None:
                yield ready.result()
        if waiting is not None:
            yield waiting.result()


def _filled(batch: torch.Tensor) -> torch.Tensor:
    """Fill a batch up to its full length."""
    return torch.cat([batch, batch[:1].expand(_BATCH - len(batch), *batch.shape[1:])])


def _read(file: Path, identity: dict[str, Any]) -> dict[str, Floats]:
    """Read a cache: the features of each picture by its digest; of another body or broken, none."""
    try:
        with safe_open(file, framework="numpy") as cache:
            if (cache.metadata() or {}).get("body") != json.dumps(identity):
                return {}
            pictures, features = cache.get_tensor("pictures"), cache.get_tensor("features")
    except (OSError, SafetensorError):  # a cache that is gone or damaged is made anew
        return {}
    if len(pictures) != len(features):
        return {}
    return {digest.tobytes().hex(): row for digest, row in zip(pictures, features, strict=True)}


def _write(file: Path, identity: dict[str, Any], known: dict[str, Floats]) -> None:
    digests = np.frombuffer(bytes.fromhex("".join(known)), np.uint8).reshape(len(known), 32)
    tensors: dict[str, npt.NDArray[Any]] = {
        "pictures": digests,
        "features": np.stack(list(known.values())),
    }
    write_bytes(file, safetensors.numpy.save(tensors, metadata={"body": json.dumps(identity)}))

"""One network trained on several GPUs, a process on each, through fastai and accelerate.

The gradients of all processes are averaged, and batch norm counts the whole batch. Folds are
independent: to train several, one fold on each GPU (``cross-validate --scheduler``) wastes less.

What differs from one GPU: fastai gives each process one contiguous part of the shuffled clips, not
one part of every batch. So a batch of all processes together has as many clips as on one GPU, but
other ones. Where the clips cannot be shared evenly, fastai repeats one or more of them. MixUp and
augmentations that need a second clip take it from the same process's part.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from fastai.learner import Learner

from spectro.errors import ConfigError, MissingExtraError
from spectro.models.networks import build as networks
from spectro.models.weights import Weights
from spectro.pictures.settings import SpectrogramConfig
from spectro.training.data import dataloaders
from spectro.training.loop import processes
from spectro.training.loop.learner import fit, new_learner
from spectro.training.loop.processes import Rank, Tell
from spectro.training.loop.progress import Listener
from spectro.training.settings import TrainConfig

__all__ = ["check", "train"]


def check(n: int, batch_size: int) -> None:
    """Refuse what cannot be trained on `n` GPUs, before anything is done.

    Parameters
    ----------
    n : int
        How many are asked for; 1 is never refused.
    batch_size : int
        Pictures in a step.

    Raises
    ------
    ConfigError
        If this machine has fewer, or a batch cannot be shared evenly, two pictures each at least.
    MissingExtraError
        If accelerate is not installed.
    """
    if n == 1:
        return
    processes.check(n, batch_size)  # batch norm needs two pictures each
    try:
        import accelerate  # noqa: F401
    except ImportError:
        raise MissingExtraError("gpus", f"--gpus {n}") from None


def train(
    learned: pd.DataFrame,
    watched: pd.DataFrame,
    labels: list[str],
    config: TrainConfig,
    weights: Weights,
    spectrogram: SpectrogramConfig | None,
    listener: Listener,
    n: int,
) -> tuple[Learner, pd.DataFrame]:
    """Train one network in `n` processes, one on each GPU; without GPUs, on the processor.

    Parameters
    ----------
    learned, watched : pandas.DataFrame
        Clip tables with the column ``image``.
    labels : list of str
        Every class of the dataset.
    config : TrainConfig
        How to train; its batches are shared among the processes.
    weights : Weights
        Where training starts.
    spectrogram : SpectrogramConfig or None
        How sounds become pictures; see :func:`spectro.training.data.data_block`.
    listener : Listener
        Called after every batch and epoch.
    n : int
        Number of processes, two or more.

    Returns
    -------
    learn : Learner
        A learner of this process, with the trained network.
    history : pandas.DataFrame
        Of :func:`spectro.training.loop.learner.fit`.

    Raises
    ------
    ConfigError
        If there are too few clips to give each process two.
    SpectroError
        Whatever a process raised on purpose, or if one was killed; the others are ended.
    torch.multiprocessing.ProcessException
        If a process failed for another reason: a bug.
    """
    share = min(config.batch_size, len(learned)) // n
    if share < 2:
        raise ConfigError(f"{len(learned)} training clips are too few to share among {n} GPUs")
    learn = new_learner(dataloaders(learned, watched, labels, config, spectrogram), config, weights)
    each = config.replace(batch_size=share)

    def told(message: Any) -> None:
        listener.epoch(message) if isinstance(message, dict) else listener.batch(*message)

    given = learned, watched, labels, each, weights, spectrogram
    state, history = processes.shared(n, _train_part, given, told)
    learn.model.load_state_dict(state)
    learn.model.to(learn.dls.device)  # fastai does so before training, which ran elsewhere
    return learn, history


def _train_part(rank: Rank, given: Any, tell: Tell) -> tuple[dict[str, Any], pd.DataFrame]:
    """Train one process's part; return the network's state and the history."""
    from accelerate import DistributedDataParallelKwargs
    from fastai.distributed import DistributedDL  # needs accelerate

    # fastai sends the order of clips from the first process to all through CUDA, which the
    # processor lacks. All draw the same order, since their loaders have the same seed.
    DistributedDL._broadcast = lambda self, order, rank: order
    learned, watched, labels, config, weights, spectrogram = given
    dls = dataloaders(learned, watched, labels, config, spectrogram)
    learn = new_learner(dls, config, weights)
    steps = config.epochs * (-(-len(learned) // rank.n) // config.batch_size)
    told = Listener(lambda done, _: tell((done, steps)), tell)
    own = config.replace(seed=(config.seed + rank.number * 2**16) % 2**32)  # augmentations differ
    cuda = torch.cuda.is_available()
    if cuda:  # fastai would do it by torch alone, which drops the activations in timm's norms
        networks.synchronise_norms(learn.model)
    # Of timm's networks layers behind the feature maps are built that no picture goes through.
    spare = DistributedDataParallelKwargs(find_unused_parameters=networks.is_timms(config.arch))
    with learn.distrib_ctx(sync_bn=False, cpu=not cuda, kwargs_handlers=[spare]):
        history = fit(learn, own, told if rank.number == 0 else None)
    state = {name: x.cpu() for name, x in learn.model.state_dict().items()}
    return state, history

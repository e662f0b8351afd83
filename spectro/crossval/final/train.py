"""Train one network on all folds of a run, with the run's settings, and say what to expect of it.

Each network of several is kept beside the model until all are trained, so that a killed training
loses the one in hand.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from spectro.crossval import folds
from spectro.crossval.cards import bare_card
from spectro.crossval.final.evidence import Evidence, evenly, gather
from spectro.crossval.records import Origin, Scores
from spectro.crossval.run import Run
from spectro.errors import ConfigError, DivergedError, ModelError
from spectro.models.card import CARD, IMAGENET_MEAN, IMAGENET_STD, ModelCard, read_card
from spectro.models.exports.probes import PROBES, probe_pictures
from spectro.models.folder import load_model, predict_levels, save_model
from spectro.models.networks.build import Ensemble, statistics
from spectro.models.trained_on import marks_of
from spectro.models.weights import Weights, resolve
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.files import check_writable, is_taken, sweep
from spectro.plumbing.paths import check_no_link
from spectro.training import train
from spectro.training.data import device
from spectro.training.loop import learner
from spectro.training.loop.progress import Listener
from spectro.training.loop.threads import Threads
from spectro.training.recipes import changes
from spectro.training.settings import TrainConfig
from spectro.training.splits import Split

__all__ = ["Trained", "check", "train_final"]

_WATCHED = 200  # training clips whose accuracy is shown after each epoch
_OPTIONS = ("arch", "weights", "size", "batch_size", "epochs", "members", "lr", "precision")

Watch = Callable[[str, int], AbstractContextManager[Listener]]


class Trained(NamedTuple):
    """The model that is put to work.

    Attributes
    ----------
    folder : Path
        Model folder.
    card : ModelCard
        What to expect of it.
    evidence : Evidence or None
        Behind the card; None where it was trained before.
    """

    folder: Path
    card: ModelCard
    evidence: Evidence | None


def check(run: Run, pictures: RenderedSet) -> None:
    """Refuse a run from which no network can be trained on all folds.

    Raises
    ------
    ConfigError
        If its settings are not those of one network on all clips.
    ModelError
        If folds are missing, or the pictures are not the run's any more.
    """
    record, folder = run.record, run.folder
    if not run.config.phases:
        raise ConfigError(f"{folder}: is a probe, which trains no network; cross-validate instead")
    if run.leaks or run.design.share is not None:
        raise ConfigError(
            f"{folder}: was scored on clips drawn at random or trained on a part, which tells "
            "nothing of a network on all clips; run spectro cross-validate, and train-final on its "
            "run"
        )
    if run.design.learner is not None:
        raise ConfigError(
            f"{folder}: its networks are of a learner of your own ({run.design.learner.name}), "
            "which only your code can build; fit that learner to all clips there"
        )
    if run.design.candidates is not None:
        best = max(run.chosen.values(), key=[*run.chosen.values()].count, default="none")
        raise ConfigError(
            f"{folder}: each fold has settings of its own; cross-validate with one of the "
            f"candidates (chosen most often: {best}), and train-final on that run"
        )
    if pictures.identity != record.rendered.identity:
        raise ModelError(
            f"{pictures.folder}: the rendered set is not what {folder} was trained on any more; "
            "render it as it was, give the run's --quarantine, or cross-validate anew"
        )
    missing = sorted({*pictures.folds} - {*run.finished_folds})
    if missing:
        raise ModelError(
            f"{folder}: fold{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))} not "
            f"trained, so what to expect is not known; finish with {_to_finish(run, pictures)}"
        )


def _to_finish(run: Run, pictures: RenderedSet) -> str:
    """Write the command that trains the folds that are missing."""
    config = run.config
    words = ["spectro", "cross-validate", str(pictures.folder), "--run", str(run.folder)]
    words += ["--recipe", config.recipe]
    different = changes(config)
    for name in _OPTIONS:
        if name in different:
            words += [f"--{name.replace('_', '-')}", str(different.pop(name)[0] or 0)]
    words += ["--seed", str(config.seed)] if config.seed else []
    told = shlex.join(words)
    return f"{told} and a --config with its {', '.join(different)}" if different else told


def train_final(
    run: Run,
    pictures: RenderedSet,
    out: str | Path | None = None,
    *,
    watch: Watch | None = None,
    n_gpus: int = 1,
    n_threads: int | None = None,
) -> Trained:
    """Train on all folds of a run; a model that is there already is not trained again.

    Parameters
    ----------
    run : Run
        With all folds finished.
    pictures : RenderedSet
        Its pictures.
    out : str, Path or None
        Model folder to write; None is ``final`` in the run.
    watch : callable or None
        Called with what is trained and its epochs; gives a context with the listener to tell.
    n_gpus : int
        Share each training among so many.
    n_threads : int or None
        Threads of training; None takes the number that the run's last fold was trained with.

    Raises
    ------
    ConfigError, ModelError
        As :func:`check`; or if the weights cannot be had any more, or `out` holds something else.
    DivergedError
        If training diverged; nothing is kept.
    """
    check(run, pictures)
    out = run.inner("final") if out is None else Path(out)
    weights = _weights(run)
    identity = _identity(run)
    if _is_there(out, identity):
        return Trained(out, read_card(out), None)
    scores, evidence = folds.score_run(run, pictures), gather(run)
    _check_place(out)
    about = {"watch": watch or _silent, "n_gpus": n_gpus, "n_threads": n_threads}
    marks = marks_of([*pictures.clips["image"]], pictures.config)
    network = _networks(run, pictures, weights, out, identity, about)
    card = _card(run, pictures, identity, scores, evidence)
    card = card.replace(scores={**card.scores, "probes": _probes(network, card)})
    save_model(out, network, card, marks)
    _forget_parts(out, run.config.members)
    return Trained(out, card, evidence)


def _silent(what: str, epochs: int) -> AbstractContextManager[Listener]:
    return nullcontext(Listener())


def _weights(run: Run) -> Weights:
    """Find the weights that the run started from, whatever "auto" would find now."""
    config, there = run.config, run.record.weights
    named = {"random": "none", "file": config.weights}.get(there.source, there.source)
    weights = resolve(named, config.arch)
    if not there.same_start(Origin.of(weights)):
        raise ModelError(
            f"{run.folder}: started from {there.detail}, and there is now {weights.detail}; "
            "put that file back, or cross-validate anew"
        )
    return weights


def _identity(run: Run) -> str:
    """Name what is trained: settings, start and pictures."""
    record = run.record
    start = "random" if record.weights.source == "random" else record.weights.detail
    all_of_it: list[Any] = [record.train.to_dict(), record.precision]
    all_of_it += [record.rendered.identity, start]
    shown = statistics(record.train.arch)
    if shown != (IMAGENET_MEAN, IMAGENET_STD):  # cards of an earlier version had these, whatever
        all_of_it.append(shown)
    return hashlib.sha256(json.dumps(all_of_it).encode()).hexdigest()[:16]


def _is_there(out: Path, identity: str) -> bool:
    """Tell whether the model is trained; refuse a folder that holds something else."""
    check_no_link(out, ModelError)
    if (out / CARD).is_file():
        if read_card(out).training.get("identity") == identity:
            return True
        raise ModelError(f"{out}: holds another model; name another --out or remove that folder")
    if is_taken(out):
        raise ModelError(f"{out}: is there and holds something else; name another --out")
    return False


def _check_place(out: Path) -> None:
    """Tell before hours of training that nothing can be written."""
    out.mkdir(parents=True, exist_ok=True)
    sweep(out)
    check_writable(out)


def _networks(
    run: Run,
    pictures: RenderedSet,
    weights: Weights,
    out: Path,
    identity: str,
    about: dict[str, Any],
) -> nn.Module:
    """Train each network that is not trained yet."""
    settings, trained = train.configs(_settings(run)), []
    for number, one in enumerate(settings, start=1):
        what = "all folds" if len(settings) == 1 else f"all folds, network {number}"
        part = _part(out, number)
        network = _kept(part, identity)
        if network is None:
            network = _train(run, pictures, one, weights, what, **about)
            if len(settings) > 1:
                save_model(part, network, _bare_card(run, pictures, identity))
        trained.append(network)
    return trained[0] if len(trained) == 1 else Ensemble(trained).eval()


def _settings(run: Run) -> TrainConfig:
    """Give the run's settings without an inner fold, in the arithmetic that it was trained in."""
    fixed = {"inner_fold": None, "precision": run.record.precision}
    return TrainConfig(**{**run.config.to_dict(), **fixed})


def _part(out: Path, number: int) -> Path:
    """Name the folder of one network of several, which is kept until all are trained."""
    out = Path(os.path.abspath(out))  # "." has no name to put one after
    return out.with_name(f"{out.name}.part{number}")


def _kept(part: Path, identity: str) -> nn.Module | None:
    check_no_link(part, ModelError)
    if not (part / CARD).is_file() or read_card(part).training.get("identity") != identity:
        return None
    return load_model(part)[0]


def _forget_parts(out: Path, members: int) -> None:
    """Remove the networks that are now in the model."""
    for part in (_part(out, number + 1) for number in range(members)):
        if (part / CARD).is_file() and not part.is_symlink():
            shutil.rmtree(part)


def _train(
    run: Run,
    pictures: RenderedSet,
    config: TrainConfig,
    weights: Weights,
    what: str,
    watch: Watch,
    n_gpus: int,
    n_threads: int | None,
) -> nn.Module:
    """Train one network; watch its accuracy on some clips that it trains on."""
    clips = pictures.clips
    places = evenly(len(clips), _WATCHED)
    parts = Split(clips, clips.iloc[places], clips.iloc[:0])
    with watch(what, config.epochs) as listener, Threads(n_threads or _threads(run)) as threads:
        learn, _ = train.train(
            parts, run.labels, config, weights, pictures.config, listener, (), n_gpus, threads
        )
        if not np.isfinite(learner.predict_clips(learn, parts.watch)).all():
            raise DivergedError(f"{what}: training diverged; nothing is kept, try a lower --lr")
    network: nn.Module = learn.model
    return network.cpu().float().eval()


def _threads(run: Run) -> int | None:
    """Return the threads that the last fold was trained with, if this machine has as many."""
    used = run.fold_record(run.finished_folds[-1]).threads
    if not used or device().type != "cpu" or used[-1] > (os.cpu_count() or 1):
        return None
    return used[-1]


def _bare_card(run: Run, pictures: RenderedSet, identity: str) -> ModelCard:
    """Describe one network without its score."""
    clips = len(pictures.clips)
    card = bare_card(run, pictures, pictures.folds, clips, run.record.precision)
    return card.replace(training={**card.training, "identity": identity})


def _card(
    run: Run, pictures: RenderedSet, identity: str, scores: Scores, evidence: Evidence
) -> ModelCard:
    """Describe the model: what the run reached out of fold is what to expect of it."""
    return _bare_card(run, pictures, identity).replace(
        members=run.config.members,
        temperature=evidence.temperature,
        unknown=None if evidence.unknown is None else evidence.unknown.to_dict(),
        steady=evidence.steady.to_dict(),
        detections=evidence.detections,
        scores={
            "expected": True,
            "accuracy": round(scores.accuracy, 4),
            "accuracy_interval": [round(end, 4) for end in scores.accuracy_interval],
            "macro_f1": round(scores.macro_f1, 4),
            "macro_f1_interval": [round(end, 4) for end in scores.macro_f1_interval],
            "clips": scores.clips,
            "measured": "scored by networks that were not trained on their fold",
            "protocol": list(scores.protocol),
        },
    )


def _probes(network: nn.Module, card: ModelCard) -> dict[str, str]:
    """Say in words what the model makes of silence, noise and hum."""
    levels = probe_pictures(card)
    answer = predict_levels(network, card, levels)
    p = answer.probabilities.numpy()
    known = card.known(levels, p, answer.energy.numpy())
    told = [f"{card.labels[row.argmax()]} with {100 * row.max():.0f} %" for row in p]
    return {
        name: f"taken for {best}" if is_known else f"unknown (or else {best})"
        for name, best, is_known in zip(PROBES, told, known, strict=True)
    }

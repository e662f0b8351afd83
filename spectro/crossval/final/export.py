"""Export a model of a run, compared on the run's pictures: what it heard and what it did not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.crossval.final.evidence import evenly
from spectro.crossval.run import Run
from spectro.errors import ConfigError, ModelError
from spectro.models.card import CARD, ModelCard, read_card
from spectro.models.exports.float32 import Change, Exported, export_onnx, float32_graph
from spectro.models.exports.int8 import check_loss, compare, export_int8, quantized
from spectro.models.folder import EXPORTS, load_model
from spectro.models.trained_on import are_heard, read_marks
from spectro.pictures.read import read_levels
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.files import scratch

__all__ = ["Pictures", "export", "pictures_of", "run_beside"]

_COMPARED, _CALIBRATED, _SCORED = 256, 256, 2_000  # clips at most
_UP = 3  # folders between a run and a model in it

Levels = npt.NDArray[np.uint8]


class Pictures(NamedTuple):
    """Clips to export a model with.

    Attributes
    ----------
    heard : pandas.DataFrame
        Clips that eight bits are calibrated on; those of the model's own set it was trained on.
    unheard : pandas.DataFrame
        Clips that the model was not trained on; none for a model of all folds.
    run : Run or None
        The run whose folds' networks stand in where there are none.
    """

    heard: pd.DataFrame
    unheard: pd.DataFrame
    run: Run | None

    @property
    def compared(self) -> pd.DataFrame:
        """Clips to compare on."""
        return self.heard if self.unheard.empty else self.unheard


def run_beside(model: str | Path) -> Run | None:
    """Find the run that a model folder lies in; None if it lies in none."""
    for folder in Path(model).resolve().parents[:_UP]:
        if Run.is_at(folder):
            return Run.load(folder)
    return None


def pictures_of(
    model: str | Path, given: RenderedSet | None = None, run: Run | None = None
) -> Pictures:
    """Find the clips to export a model with.

    Parameters
    ----------
    model : str or Path
        Model folder.
    given : RenderedSet or None
        Pictures to take; None takes those of the run.
    run : Run or None
        The model's run; None looks whether the folder lies in one.

    Raises
    ------
    ModelError
        If there are no pictures, or they are not the model's.
    """
    card, run = read_card(model), run or run_beside(model)
    if given is None and run is None:
        raise ModelError(
            f"{model}: lies in no run, so there are no pictures to compare on; name some with "
            "--pictures, as spectro render wrote them"
        )
    pictures = given or RenderedSet.load(run.record.rendered.folder)  # type: ignore[union-attr]
    if pictures.config != card.spectrogram:
        raise ModelError(
            f"{pictures.folder}: was drawn with other settings than {model} hears with; render it "
            "with the model's"
        )
    own = card.training.get("pictures") or (run.record.rendered.identity if run else None)
    if pictures.identity == own:
        trained = pictures.clips["fold"].isin(_trained_folds(card))
        return Pictures(pictures.clips[trained], pictures.clips[~trained], run)
    if given is None:
        raise ModelError(
            f"{pictures.folder}: is not what {model} was trained on any more; name pictures with "
            "--pictures, or give the run's --quarantine"
        )
    return _foreign(pictures, card, model)


def _trained_folds(card: ModelCard) -> list[int]:
    """Read the folds that a model was trained on from its card."""
    folds = card.training.get("folds")
    if not isinstance(folds, list) or not all(isinstance(fold, int) for fold in folds):
        raise ModelError("the model's card does not say which folds it was trained on")
    return folds


def _foreign(pictures: RenderedSet, card: ModelCard, model: str | Path) -> Pictures:
    """Divide clips of another set, of which the model may have heard some, as of its own set grown.

    The fold with the most clips that it has not heard is compared on; the others calibrate.
    """
    clips = pictures.clips[pictures.clips["label"].isin(card.labels)]
    if clips["fold"].nunique() < 2:
        raise ModelError(
            f"{pictures.folder}: needs clips of the model's classes in two folds or more"
        )
    heard = are_heard([*clips["image"]], pictures.config, read_marks(model))
    unheard = clips[~heard]
    if unheard.empty:
        raise ModelError(
            f"{pictures.folder}: {model} was trained on all of these clips; name others with "
            "--pictures, or its run with --run and the run's --quarantine"
        )
    most = unheard["fold"].value_counts(sort=False).sort_index().idxmax()
    return Pictures(clips[clips["fold"] != most], unheard[unheard["fold"] == most], None)


def export(
    model: str | Path,
    pictures: Pictures,
    *,
    int8: bool = False,
    most_lost: float = 0.01,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Exported]:
    """Write ``model.onnx``, and in eight bits ``model.int8.onnx``, each only if it is as good.

    A model of all folds has no clip left to score it on. Its eight bits are judged by those of the
    folds' networks, each on its held-out fold.

    Parameters
    ----------
    model : str or Path
        Model folder.
    pictures : Pictures
        Of :func:`pictures_of`.
    int8 : bool
        Whether to export in eight bits too.
    most_lost : float
        Most accuracy that eight bits may lose out of fold, 0 to 1.
    progress : callable
        Called with the folds' networks compared and all of them.

    Raises
    ------
    ModelError
        If an export is not as good, which is then not kept.
    MissingExtraError
        If the packages of the extra ``onnx`` are not installed.
    """
    if not 0 <= most_lost <= 1:
        raise ConfigError(f"most_lost is {most_lost:g}: give a share from 0 to 1")
    card = read_card(model)
    compared = _levels(pictures.compared, card, _COMPARED)
    done = [export_onnx(model, compared)]
    if not int8:
        return done
    calibration = _levels(pictures.heard, card, _CALIBRATED)
    if not pictures.unheard.empty:
        clips = _some(pictures.unheard, _SCORED)
        truth = _truth(clips, card)
        asked = _levels(clips, card, _SCORED)
        return [*done, export_int8(model, calibration, asked, truth=truth, most_lost=most_lost)]
    change = _by_folds(Path(model), pictures, most_lost, progress)
    eight = export_int8(model, calibration, compared, most_lost=1.0)
    assert eight.change is not None
    *_, ms_before, ms_after = eight.change
    change = change._replace(ms_before=ms_before, ms_after=ms_after)
    return [*done, eight._replace(change=change)]


def _by_folds(
    model: Path, pictures: Pictures, most_lost: float, progress: Callable[[int, int], None]
) -> Change:
    """Quantize each fold's network and compare it on its held-out fold."""
    run = pictures.run
    kept = [] if run is None else [k for k in run.finished_folds if _model(run, k)]
    if run is None or not kept:
        raise ModelError(
            f"{model}: was trained on all folds, and no fold's network is beside it to judge eight "
            "bits by; name its run with --run, or other pictures with --pictures"
        )
    found = []
    for number, fold in enumerate(kept):
        progress(number, len(kept))
        found.append(_one_fold(run, fold, pictures.heard, -(-_SCORED // len(kept))))
    whole = _together(found)
    check_loss(model / EXPORTS[1], whole, most_lost)
    assert whole.change is not None
    return whole.change


def _model(run: Run, fold: int) -> bool:
    return (run.fold_folder(fold) / "model" / CARD).is_file()


def _one_fold(run: Run, fold: int, clips: pd.DataFrame, most: int) -> Exported:
    folder = run.fold_folder(fold) / "model"
    network, card = load_model(folder)
    trained = clips["fold"].isin(_trained_folds(card))
    held_out = _some(clips[clips["fold"] == fold], most)
    before = float32_graph(network, card)
    with scratch(run.folder) as own:
        after = quantized(before, own, _levels(clips[trained], card, _CALIBRATED))
    return compare(before, after, card, _levels(held_out, card, most), _truth(held_out, card))


def _together(found: list[Exported]) -> Exported:
    """Put the folds' comparisons together, weighted by clips."""
    changes = [each.change for each in found if each.change is not None]
    clips = [each.clips for each in changes]

    def mean(values: list[float]) -> float:
        return float(np.average(values, weights=clips))

    change = Change(
        sum(clips),
        mean([each.before or 0.0 for each in changes]),
        mean([each.after or 0.0 for each in changes]),
        mean([each.ms_before for each in changes]),
        mean([each.ms_after for each in changes]),
    )
    agreement = mean([each.agreement for each in found])
    worst = max(each.difference for each in found)
    return found[0]._replace(
        compared=sum(clips), difference=worst, agreement=agreement, change=change
    )


def _some(clips: pd.DataFrame, most: int) -> pd.DataFrame:
    """Take clips spread evenly over a table."""
    places = evenly(len(clips), most)
    return clips.iloc[places]


def _levels(clips: pd.DataFrame, card: ModelCard, most: int) -> Levels:
    images = _some(clips, most)["image"].tolist()
    return read_levels(images, card.size, card.spectrogram.shape)


def _truth(clips: pd.DataFrame, card: ModelCard) -> npt.NDArray[np.int64]:
    return pd.Index(card.labels).get_indexer(pd.Index(clips["label"])).astype(np.int64)

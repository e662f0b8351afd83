"""A run to its report: one file within a size limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from spectro import __version__
from spectro.clips.clip import Clip
from spectro.crossval.run import Run
from spectro.plumbing.files import write_bytes
from spectro.report import choose, clips, facts, health, origin, page
from spectro.report.evidence import Budget, Showcase
from spectro.scores.breakdown import of_truth

__all__ = ["LIMIT", "write_report"]

LIMIT = 14_000_000
"""Bytes of a page at the most, whatever the size of the run."""

_TABLE = 3_000_000  # of which the clips' names and probabilities
_CARDS = 5_000_000  # pictures and sounds of the surest mistakes and least sure hits
_CELLS = 6_000_000  # those of the confusion matrix

Row = dict[str, Any]


def write_report(
    run: Run,
    out: str | Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a run's report: one HTML file that opens anywhere, without a network.

    The same run gives the same bytes. Sounds, pictures or models that are gone are told on the
    page, which shows what it can.

    Parameters
    ----------
    run : Run
        With at least one finished fold.
    out : str, Path or None
        File to write; by default ``report.html`` in the run's folder.
    progress : callable or None
        Called with the number of sounds examined and the number of all.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    ModelError
        If no fold is finished, or the predictions are not of this run.

    Examples
    --------
    >>> import tempfile
    >>> from spectro import RenderedSet, SpectrogramConfig, TrainConfig, cross_validate
    >>> from spectro import load_dataset, render, write_report, write_sample
    >>> folder = tempfile.mkdtemp()
    >>> sounds = write_sample(folder, sources=1, slices=1, folds=2, classes=("siren", "dog_bark"))
    >>> _ = render(load_dataset(sounds), f"{folder}/pictures", SpectrogramConfig(n_mels=32))
    >>> config = TrainConfig(arch="cnn4", weights="none", batch_size=2, phases=[{"epochs": 1}])
    >>> run = cross_validate(RenderedSet.load(f"{folder}/pictures"), f"{folder}/run", config)
    >>> write_report(run).name
    'report.html'
    """
    path = Path(out) if out is not None else run.folder / "report.html"
    predictions = run.predictions()
    showcase = Showcase(run, predictions)
    cards = _cards(run, predictions, showcase)
    table = clips.columns(run, predictions, _TABLE)
    content = {
        "facts": facts.collect(run, predictions),
        "health": health.examine(run, predictions, progress),
        "origin": origin.tell(run),
        **cards,
        "lacking": showcase.lacking,
        "clips": table,
        "clips_json": page.embed(table),
        "version": __version__,
    }
    bare = page.render(**content, playable=0, full=False, media_json=page.embed({}))
    size = min(_CELLS, LIMIT - len(bare.encode("utf-8", "replace")))
    shown = {card["id"] for card in (*cards["mistakes"], *cards["hits"])}
    media, full = _cell_media(predictions, showcase, {*table["id"]} - shown, Budget(size))
    playable = sum("s" in made for made in media.values())
    playable += sum(bool(card["sound"]) for card in (*cards["mistakes"], *cards["hits"]))
    html = page.render(**content, playable=playable, full=full, media_json=page.embed(media))
    write_bytes(path, html.encode("utf-8", "replace"))  # a name may hold what is no text
    return path


def _cards(run: Run, predictions: pd.DataFrame, showcase: Showcase) -> dict[str, list[Row]]:
    """Describe the clips that are shown large, with their media as long as there is room."""
    chosen = {"mistakes": choose.mistakes(predictions), "hits": choose.hits(predictions)}
    rows = pd.concat(list(chosen.values()))
    order = rows.sort_values("fold", kind="stable").index  # so that each model is read once
    media = {row: showcase.card(row) for row in map(int, order)}
    room = Budget(_CARDS)
    for row in map(int, rows.index):
        if not room.spend(sum(len(v) for v in media[row].values() if isinstance(v, str))):
            media[row] = {name: type(value)() for name, value in media[row].items()}
    described = _described(run, predictions)
    return {
        name: [{**described(row), **media[row]} for row in map(int, part.index)]
        for name, part in chosen.items()
    }


def _described(run: Run, predictions: pd.DataFrame) -> Callable[[int], Row]:
    """Give a function that says in words and numbers which clip a row is."""
    truth = of_truth(predictions)
    right = predictions["label"] == predictions["predicted"]
    sizes, rights = (
        getattr(right.groupby(predictions["group"]), name)().to_dict() for name in ("size", "sum")
    )

    def describe(row: int) -> Row:
        clip: dict[Any, Any] = predictions.loc[row].to_dict()
        group = str(clip["group"])
        return {
            "id": row,
            "name": Clip.of(clip).name_in(run.record.dataset.root),
            "fold": int(clip["fold"]),
            "group": group,
            "label": str(clip["label"]),
            "predicted": str(clip["predicted"]),
            "probability": float(clip["probability"]),
            "p_truth": float(truth[row]),
            "source_clips": int(sizes[group]),
            "source_right": int(rights[group]),
        }

    return describe


def _cell_media(
    predictions: pd.DataFrame, showcase: Showcase, wanted: set[int], room: Budget
) -> tuple[dict[str, Row], bool]:
    """Make pictures and sounds of clips of all cells in turn; tell whether room ran out."""
    media: dict[str, Row] = {}
    for row in choose.by_cell(predictions):
        if row not in wanted:
            continue
        made = showcase.thumbnail(row)
        if not room.spend(sum(map(len, made.values())) + 40):
            return media, True
        if made:
            media[str(row)] = made
    return media, False

"""The tables that the command line prints. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from spectro.cli.console import OUT, note, say, shown, warn
from spectro.plumbing.words import percent

if TYPE_CHECKING:
    from spectro.crossval.records import Scores
    from spectro.scores.comparison import Comparison

__all__ = ["checkup", "comparison", "points", "runs", "scores", "table"]

_MOST_ROWS, _MOST_MOVES = 30, 10
_COUNTS = ("clips", "recordings")


def scores(scores: Scores) -> None:
    """Print scores: a row a fold, class and speaker, the whole, and what it was measured on."""
    OUT.print(_table("fold", scores.folds, ("clips", "accuracy", "macro_f1")))
    OUT.print(_table("label", scores.classes, ("clips", "precision", "recall", "f1")))
    if scores.groups:
        OUT.print(_table("group", scores.groups, ("clips", "accuracy")))
    if scores.fold_std is not None:
        mean, spread = percent(scores.fold_mean), percent(scores.fold_std)
        say(f"mean of {len(scores.folds)} folds: {mean} ± {spread}")
    say(str(scores))
    for line in scores.protocol:
        note(line)
    if scores.random_split is not None:
        _random_split(scores.random_split)


def _random_split(found: Mapping[str, Any]) -> None:
    """Tell what a split at random claims, and whether it can show a leak."""
    claimed = percent(found.get("accuracy", found["fold_mean"]))  # a run of before has the mean
    if found.get("shared", 1):
        warn(f"a random split claims {claimed}: it tests on recordings that it trained on")
    else:
        note(
            f"a random split claims {claimed}: each clip counts as a recording of its own, so this "
            "can show no leak; if several were cut from one, render with --group-pattern"
        )


def table(key: str, rows: Sequence[Mapping[Any, Any]], columns: tuple[str, ...]) -> None:
    """Print a row a `key`: its clips and recordings as counts, everything else as percentages."""
    OUT.print(_table(key, rows, columns))


def runs(found: Any, folder: Path) -> None:
    """Print what :func:`~spectro.crossval.runs.list_runs` found, named below `folder`."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run", "dataset", "recipe", "weights", "folds", "accuracy (95 %)", "date"):
        table.add_column(name, no_wrap=True)
    for row in found.to_dict("records"):
        accuracy, low, high = (row[f"accuracy{end}"] for end in ("", "_low", "_high"))
        known = not isnan(accuracy)
        table.add_row(
            _text(Path(row["run"]).relative_to(folder)),
            _text(row["dataset"]),
            _text(f"{row['recipe']} (RANDOM SPLIT)" if row["leaks"] else row["recipe"]),
            _text(row["weights"]),
            f"{row['folds']}/{row['all_folds']}",
            f"{percent(accuracy)} ({100 * low:.1f} to {100 * high:.1f})" if known else "-",
            row["date"][:16].replace("T", " "),
        )
    _print_whole(table)


def comparison(found: Comparison, names: tuple[str, str]) -> None:
    """Print how two runs differ: scores, classes, clips that changed sides, and the verdict."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for name in (*names, "change", "95 %"):
        table.add_column(_text(name), justify="right")
    for name, score in (("accuracy", found.accuracy), ("macro F1", found.macro_f1)):
        low, high = score.interval
        interval = f"{points(low)} to {points(high)}"
        table.add_row(
            name, percent(score.first), percent(score.second), points(score.change), interval
        )
    for row in found.classes.to_dict("records"):
        cells = tuple(percent(row[f"recall_{run}"]) for run in ("first", "second"))
        interval = f"{points(row['recall_low'])} to {points(row['recall_high'])}"
        table.add_row(
            _text(f"recall of {row['label']}"),
            *cells,
            points(row["recall_change"]),
            interval if row["sources"] > 1 else "-",
        )
    OUT.print(table)
    _moves(found.moves, names)
    say(
        f"{found.clips:,} clips of {found.recordings:,} recordings: {found.gained:,} went from "
        f"wrong to right, {found.lost:,} from right to wrong (McNemar p = {found.p_value:.3g})"
    )
    for line in found.notes:
        note(line)
    say(found.verdict)


def _moves(moves: Any, names: tuple[str, str]) -> None:
    """Print the recordings of which most clips changed sides."""
    if not len(moves):
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("changed", justify="right")
    for name in ("sides", "recording", "is", *names, "for example"):
        table.add_column(_text(name), no_wrap=True)
    for row in moves.head(_MOST_MOVES).to_dict("records"):
        cells = (row[name] for name in ("move", "group", "label", "first", "second", "path"))
        table.add_row(f"{row['clips']:,}", *map(_text, cells))
    say()
    _print_whole(table)
    if len(moves) > _MOST_MOVES:
        say(f"and {len(moves) - _MOST_MOVES:,} more such rows; --csv FILE lists every clip")
    say()


def checkup(
    problems: Sequence[Mapping[str, Any]],
    classes: Sequence[Mapping[str, Any]],
    formats: Sequence[str],
) -> None:
    """Print what is wrong with a dataset, what it has of each class, and in which formats."""
    if problems:
        OUT.print(_symptoms(problems), soft_wrap=False)
    OUT.print(_balance(classes))
    for line in formats[:_MOST_ROWS]:
        say(line)
    if len(formats) > _MOST_ROWS:
        say(f"and {len(formats) - _MOST_ROWS:,} more")


def _symptoms(problems: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("problem", "severity"):
        table.add_column(column, no_wrap=True)
    table.add_column("count", justify="right")
    table.add_column("for example", overflow="fold")
    for row in problems:
        style = "red" if row["severity"] == "error" else "yellow"
        name, example = Text(row["problem"], style=style), _text(row["example"])
        table.add_row(name, row["severity"], f"{row['count']:,}", example)
    return table


def _balance(classes: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("label")
    for name in ("clips", "share", "minutes", "in a fold"):
        table.add_column(name, justify="right")
    for row in classes[:_MOST_ROWS]:
        cells = (f"{row['clips']:,}", percent(row["share"]), f"{row['minutes']:.1f}")
        table.add_row(_text(row["label"]), *cells, row["in_a_fold"])
    if len(classes) > _MOST_ROWS:
        table.add_row(f"and {len(classes) - _MOST_ROWS:,} more")
    return table


def _table(key: str, rows: Sequence[Mapping[Any, Any]], columns: tuple[str, ...]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(key)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        cells = [f"{row[c]:,}" if c.endswith(_COUNTS) else percent(row[c]) for c in columns]
        table.add_row(_text(row[key]), *cells)
    return table


def _print_whole(table: Table) -> None:
    """Print a table, wider than the terminal if need be: no name is cut."""
    table.width = OUT.measure(table, options=OUT.options.update(width=1_000)).maximum
    OUT.print(table)


def _text(words: object) -> Text:
    """Show words from a file as they are, not as markup."""
    return Text(shown(words))


def points(change: float) -> str:
    """Write a change of a share as percentage points, with its sign."""
    return f"{100 * change:+.1f}"

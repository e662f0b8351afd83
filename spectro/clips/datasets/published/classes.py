"""The classes of UrbanSound8K and ESC-50: by name and by number, held against each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from spectro.clips.table import list_some
from spectro.errors import DatasetError

__all__ = ["ESC50", "URBAN", "labels", "named_otherwise"]

URBAN = (
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling"),
    *("engine_idling", "gun_shot", "jackhammer", "siren", "street_music"),
)
"""UrbanSound8K's, in the order of ``classID``."""

ESC50 = (
    *("dog", "rooster", "pig", "cow", "frog", "cat", "hen", "insects", "sheep", "crow"),
    *("rain", "sea_waves", "crackling_fire", "crickets", "chirping_birds", "water_drops"),
    *("wind", "pouring_water", "toilet_flush", "thunderstorm", "crying_baby", "sneezing"),
    *("clapping", "breathing", "coughing", "footsteps", "laughing", "brushing_teeth"),
    *("snoring", "drinking_sipping", "door_wood_knock", "mouse_click", "keyboard_typing"),
    *("door_wood_creaks", "can_opening", "washing_machine", "vacuum_cleaner", "clock_alarm"),
    *("clock_tick", "glass_breaking", "helicopter", "chainsaw", "siren", "car_horn", "engine"),
    *("train", "church_bells", "airplane", "fireworks", "hand_saw"),
)
"""ESC-50's, in the order of ``target``."""

_NUMBER = re.compile(r"(\d{1,6})(?:\.0*)?")


def labels(
    table: pd.DataFrame, column: str, number: str, official: Sequence[str], file: Path
) -> pd.Series[str]:
    """Return the class of each row as the dataset spells it, having held the number against it.

    Parameters
    ----------
    table : pandas.DataFrame
        Of text without blanks around, its rows numbered from 0.
    column, number : str
        Columns with the class by name and by number; the number may be missing.
    official : sequence of str
        The classes in the order of their numbers. A table of some of them may number them anew.
    file : Path
        For messages.

    Raises
    ------
    DatasetError
        If a number is none, or says another class than the name.
    """
    spelled = {_key(name): name for name in official}
    named = table[column].map(lambda name: spelled.get(_key(name), name))
    if number in table:
        _check(named, _numbers(table[number], number, file), (column, number), official, file)
    return named


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", str(name).strip()).casefold()


def _numbers(cells: pd.Series[str], name: str, file: Path) -> dict[int, int]:
    """Read the number of the class of each row, from 0; rows without one are left out."""
    numbers = {}
    for row, cell in enumerate(cells.fillna("").astype(str)):
        match = _NUMBER.fullmatch(cell)
        if match:
            numbers[row] = int(match[1])
        elif cell:
            raise DatasetError(
                f"{file}: row {row + 1}: {name} is not a whole number: {cell[:200]!r}"
            )
    return numbers


def _check(
    named: pd.Series[str],
    numbers: dict[int, int],
    columns: tuple[str, str],
    official: Sequence[str],
    file: Path,
) -> None:
    """Refuse a row whose number says another class than its name."""
    known = {name: i for i, name in enumerate(official)}
    pairs = pd.DataFrame({"name": named[list(numbers)], "number": list(numbers.values())})
    first = pairs.drop_duplicates().reset_index()
    is_map = first["name"].is_unique and first["number"].is_unique
    of_known = first[first["name"].isin(list(known))]
    odd = of_known[of_known["number"] != of_known["name"].map(known)]
    if is_map and (odd.empty or _counts_anew(first, known)):
        return
    if odd.empty:
        odd = first[first["name"].duplicated() | first["number"].duplicated()]
        official = ()
    row, name, number = odd[["index", "name", "number"]].to_numpy().tolist()[0]
    others = first[(first["number"] == number) & (first["name"] != name)]["name"]
    meant = [*official[number : number + 1], *others, "another class"][0]
    raise DatasetError(
        f"{file}: row {row + 1}: {columns[0]} is {name} and {columns[1]} is {number}, which is "
        f"{meant}; mend the row, or take the table as published"
    )


def _counts_anew(first: pd.DataFrame, known: dict[str, int]) -> bool:
    """Tell whether a table of some classes numbers these from 0 or 1, in an order of theirs."""
    by_number = first.sort_values("number")
    names, least = by_number["name"].tolist(), by_number["number"].iloc[0]
    in_a_row = by_number["number"].tolist() == list(range(least, least + len(names)))
    orders = sorted(names), sorted(names, key=lambda name: known.get(name, len(known)))
    return bool(in_a_row and least <= 1 and names in orders)


def named_otherwise(
    names: pd.Series[str], labels: pd.Series[str], pattern: str, official: Sequence[str]
) -> list[str]:
    """Say in a note which clips have another class in the table than in their files' names.

    Parameters
    ----------
    names, labels : pandas.Series of str
        Of the files; and their classes.
    pattern : str
        Regular expression whose group is the number of the class in a name.
    official : sequence of str
        The classes in the order of their numbers.
    """
    number = pd.to_numeric(names.str.extract(pattern, expand=False))
    said = number.map(dict(enumerate(official)))
    odd = said.notna() & labels.isin(list(official)) & (said != labels)
    if not odd.any():
        return []
    told = [f"{names[at]} is {labels[at]}" for at in odd.index[odd]]
    are = "clip has" if len(told) == 1 else "clips have"
    return [
        f"{len(told):,} {are} another class in the table than in the file's name: "
        f"{list_some(told, 3)}; if the table was sorted by one column alone, take it as published"
    ]

"""Numbers with their nouns, as people write them."""

from __future__ import annotations

__all__ = ["counted", "percent"]


def counted(n: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun.

    Parameters
    ----------
    n : int
        The number.
    noun : str
        What it counts, of one.
    plural : str
        Of several, where it is not the noun and an s.

    Examples
    --------
    >>> counted(1, "class", "classes"), counted(2_000, "clip")
    ('1 class', '2,000 clips')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def percent(share: float | None) -> str:
    """Write a share between 0 and 1 as a percentage with one decimal; None as a dash.

    Examples
    --------
    >>> percent(0.7531), percent(None)
    ('75.3 %', '-')
    """
    return "-" if share is None else f"{100 * share:.1f} %"

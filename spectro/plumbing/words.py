"""Numbers with their nouns, as people write them."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

__all__ = ["counted", "first_change", "hundredths", "percent"]

_LONGEST_CHANGE = 120  # characters of a line that is shown


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
    >>> percent(0.7531), percent(None), percent(0.9999)
    ('75.3 %', '-', '>99.9 %')
    """
    return "-" if share is None else f"{hundredths(share)} %"


def hundredths(share: float, digits: int = 1) -> str:
    """Write a share in hundredths, a half rounded up; as 0 or 100 only where it is none or all.

    Examples
    --------
    >>> [hundredths(share, 0) for share in (0, 0.001, 0.005, 0.025, 0.995, 1)]
    ['0', '<1', '1', '3', '>99', '100']
    """
    if not math.isfinite(share):
        return f"{share:g}"
    step = Decimal(1).scaleb(-digits)
    shown = Decimal(f"{100 * share:.9f}").quantize(step, ROUND_HALF_UP)
    if share > 0 == shown:
        return f"<{step}"
    if share < 1 and shown == 100:
        return f">{100 - step}"
    return f"{shown}"


def first_change(before: str, now: str) -> str:
    """Show the first line that differs, as it was and as it is; empty where none does."""
    texts = [before.splitlines(), now.splitlines()]
    longest = max(map(len, texts))
    was, is_now = ([*lines, *[""] * (longest - len(lines))] for lines in texts)
    for one, other in zip(was, is_now, strict=True):
        if one != other:
            return " is now ".join(repr(line.strip()[:_LONGEST_CHANGE]) for line in (one, other))
    return ""

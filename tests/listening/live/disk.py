"""A disk that is full, as a database meets it."""

from __future__ import annotations

import sqlite3
from typing import Any


class FullDisk:
    """A database that takes nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def execute(self, what: str, *values: Any) -> sqlite3.Cursor:
        if what.startswith("BEGIN"):
            raise sqlite3.OperationalError("database or disk is full")
        return self.db.execute(what, *values)

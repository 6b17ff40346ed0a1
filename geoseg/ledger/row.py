"""A scene's row in the ledger."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from geoseg.io.lock import Holder
from geoseg.ledger.key import Key

State = Literal["waiting", "running", "done", "skipped", "failed"]
SETTLED = ("done", "skipped", "failed")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of a scene."""

    name: str
    state: State
    listed: bool
    """In the manifest that was read last."""
    tries: int
    """How often it was begun since it was last settled."""
    why: str
    """Why it is done again; empty: it is done for the first time."""
    reason: str
    """Why it failed, was skipped or waits."""
    exit_code: int
    key: Key | None
    """What the last try began with; None: there was none."""
    redo: bool
    """A result of another key may stand there, and is to be replaced."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What came of it: seconds, pixels, polygons, outputs, …"""
    holder: Holder | None
    """Who works on it."""
    beat: int

    @classmethod
    def of(cls, row: sqlite3.Row) -> Row:
        """From the table."""
        return cls(
            name=row["name"],
            state=cast("State", row["state"]),
            listed=bool(row["listed"]),
            tries=row["tries"],
            why=row["why"],
            reason=row["reason"],
            exit_code=row["exit_code"],
            key=None if row["key"] is None else json.loads(row["key"]),
            redo=bool(row["redo"]),
            facts=json.loads(row["facts"]),
            holder=None if row["holder"] is None else Holder.from_bytes(row["holder"].encode()),
            beat=row["beat"],
        )

    def to_json(self) -> dict[str, Any]:
        """For people and their scripts; without what only the next run wants to know."""
        return {
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "tries": self.tries,
            "done_again_because": self.why,
            "listed": self.listed,
            "inputs": [] if self.key is None else self.key["inputs"],
            "holder": None if self.holder is None else f"process {self.holder.pid} on {self.holder.host}",
            **self.facts,
        }

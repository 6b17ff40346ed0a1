"""The ledger: one small SQLite file, in which processes of one computer or of several share out the scenes of a batch.

It keeps a rollback journal and not a write-ahead log: that one needs memory shared by all processes, which network file
systems do not have (https://www.sqlite.org/wal.html). Locks of files they do have (NFS 4, SMB); where they are broken
the outputs' own locks, made by hard links, still keep two runs from one scene. Every change is one short transaction
on a connection of its own, so that threads, forks and a server's hiccups find nothing half open.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from geoseg.errors import InputError, InputMissingError, OutputError, TemporaryError
from geoseg.io.lock import Holder
from geoseg.ledger.key import Key
from geoseg.ledger.lease import LeaseWatch
from geoseg.ledger.row import SETTLED, Row, State

STATE = "state.sqlite"
VERSION = 1
BUSY_S = 60.0
"""Longest wait for the transactions of others; each takes milliseconds."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS scenes (
    name TEXT PRIMARY KEY, place INTEGER NOT NULL, listed INTEGER NOT NULL DEFAULT 1,
    state TEXT NOT NULL DEFAULT 'waiting', tries INTEGER NOT NULL DEFAULT 0, why TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '', exit_code INTEGER NOT NULL DEFAULT 0, key TEXT, redo INTEGER NOT NULL DEFAULT 0,
    facts TEXT NOT NULL DEFAULT '{}', holder TEXT, run TEXT, beat INTEGER NOT NULL DEFAULT 0, picture BLOB)
"""


class Ledger:
    """The scenes of a batch and what became of them, as this process sees and changes them.

    Args:
        folder: of the batch.
        lease_s: how long a holder may be silent.
        clock: seconds, monotonic.
    """

    def __init__(self, folder: Path, lease_s: float = 120.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder / STATE
        self._me = Holder.current()
        self._watch = LeaseWatch(lease_s, clock)

    def create(self) -> None:
        """Make the file, unless it is there.

        Raises:
            InputError: it is another version's, or no ledger.
            OutputError: it cannot be written.
        """
        with self._changing() as db:
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found not in {0, VERSION}:
                raise InputError(f"{self.path} was made by another version of geoseg ({found}); choose another -o.")
            if found == 0:
                db.execute(_SCHEMA)
                db.execute(f"PRAGMA user_version = {VERSION}")

    def check(self) -> None:
        """See that there is one.

        Raises:
            InputMissingError: no batch was run here.
        """
        if not self.path.is_file():
            raise InputMissingError(f"{self.path.parent} holds no batch ({STATE} is missing); name the -o of one.")

    def enlist(self, names: Sequence[str]) -> None:
        """Let these, in this order, be the scenes of the batch; others are kept as no longer listed."""
        wanted = [(name, place) for place, name in enumerate(names)]
        with self._changing() as db:
            if [
                tuple(row) for row in db.execute("SELECT name, place FROM scenes WHERE listed ORDER BY place")
            ] == wanted:
                return
            db.execute("UPDATE scenes SET listed = 0")
            db.executemany(
                "INSERT INTO scenes (name, place) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET listed = 1, place = excluded.place",
                wanted,
            )

    def rows(self) -> dict[str, Row]:
        """All scenes, in the manifest's order."""
        with self._reading() as db:
            return {row["name"]: Row.of(row) for row in db.execute("SELECT * FROM scenes ORDER BY place, name")}

    def pictures(self) -> dict[str, bytes]:
        """Thumbnails by scene."""
        with self._reading() as db:
            return dict(db.execute("SELECT name, picture FROM scenes WHERE picture IS NOT NULL"))

    def reopen(self, changes: Mapping[str, str]) -> list[str]:
        """Settled scenes are to be done again, with the reason for each; those that others took meanwhile are not.

        Returns:
            the names of those that wait now.
        """
        with self._changing() as db:
            return [name for name, why in changes.items() if _reopen(db, name, why)]

    def take(self, names: Iterable[str], tries: int) -> Row | None:
        """The first of the scenes that nobody works on, which becomes ours; None: there is none at the moment.

        A scene whose last holder died or was silent for too long is taken from it, `tries` times; then it has failed.
        """
        with self._changing() as db:
            rows = {row["name"]: Row.of(row) for row in db.execute("SELECT * FROM scenes")}
            for row in (rows[name] for name in names if name in rows):
                if row.state in SETTLED or (row.state == "running" and not self._lost(row)):
                    continue
                if row.tries >= tries:
                    _settle(db, row.name, "failed", _worn_out(row), 75)
                    continue
                db.execute(
                    "UPDATE scenes SET state = 'running', tries = tries + 1, holder = ?, run = ? WHERE name = ?",
                    (self._me.to_bytes().decode(), self._me.run_id, row.name),
                )
                return Row.of(db.execute("SELECT * FROM scenes WHERE name = ?", (row.name,)).fetchone())
        return None

    def begin(self, name: str, key: Key, why: str) -> None:
        """Note what a scene of ours is made from, and why again."""
        with self._changing() as db:
            db.execute(
                "UPDATE scenes SET key = ?, why = ? WHERE name = ? AND run = ?",
                (json.dumps(key), why, name, self._me.run_id),
            )

    def again(self, name: str, reason: str) -> None:
        """A scene of ours will be tried once more, by us."""
        with self._changing() as db:
            db.execute(
                "UPDATE scenes SET tries = tries + 1, reason = ? WHERE name = ? AND run = ?",
                (reason, name, self._me.run_id),
            )

    def settle(
        self,
        name: str,
        state: State,
        reason: str = "",
        exit_code: int = 0,
        *,
        key: Key | None = None,
        facts: Mapping[str, Any] | None = None,
        picture: bytes | None = None,
    ) -> bool:
        """Write down what became of a scene of ours.

        Returns:
            False when another process has it by now: what it finds counts.
        """
        with self._changing() as db:
            held = db.execute("SELECT 1 FROM scenes WHERE name = ? AND run = ?", (name, self._me.run_id)).fetchone()
            if held is None:
                return False
            _settle(db, name, state, reason, exit_code)
            db.execute(
                "UPDATE scenes SET facts = ?, picture = ?, key = coalesce(?, key) WHERE name = ?",
                (json.dumps(facts or {}), picture, None if key is None else json.dumps(key), name),
            )
            return True

    def release(self, name: str | None = None) -> None:
        """Give back a scene of ours, or all, as if it had not been begun."""
        with self._changing() as db:
            db.execute(
                "UPDATE scenes SET state = 'waiting', tries = tries - 1, holder = NULL, run = NULL"
                " WHERE run = ? AND state = 'running' AND name = coalesce(?, name)",
                (self._me.run_id, name),
            )

    def beat(self) -> None:
        """Show that the holder of our scenes lives."""
        with self._changing() as db:
            db.execute("UPDATE scenes SET beat = beat + 1 WHERE run = ?", (self._me.run_id,))

    def elsewhere(self, names: Iterable[str]) -> bool:
        """Whether others work on some of these scenes."""
        rows = self.rows()
        mine = self._me.run_id
        running = (row for name in names if (row := rows.get(name)) is not None and row.state == "running")
        return any(row.holder is None or row.holder.run_id != mine for row in running)

    def forget(self) -> list[str]:
        """Drop the scenes that the manifest no longer lists, and that nobody works on."""
        with self._changing() as db:
            rows = [Row.of(row) for row in db.execute("SELECT * FROM scenes WHERE listed = 0")]
            gone = [row.name for row in rows if row.state != "running" or self._lost(row)]
            db.executemany("DELETE FROM scenes WHERE name = ?", [(name,) for name in gone])
            return gone

    def _lost(self, row: Row) -> bool:
        mine = row.holder is not None and row.holder.run_id == self._me.run_id
        return not mine and self._watch.expired(row.name, row.holder, row.beat)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that excludes all others."""
        with self._told(), closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        address = f"{self.path.absolute().as_uri()}?mode=ro"
        with self._told(), closing(sqlite3.connect(address, timeout=BUSY_S, isolation_level=None, uri=True)) as db:
            db.row_factory = sqlite3.Row
            yield db

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise TemporaryError(
                    f"{self.path} is locked for more than {BUSY_S:g} s ({error}); run again."
                ) from error
            raise OutputError(f"{self.path}: {error}; see that its folder can be written and has room.") from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self.path} is no ledger of geoseg or damaged ({error}); move it away: finished scenes are found by "
                f"their own records."
            ) from error


def _settle(db: sqlite3.Connection, name: str, state: State, reason: str, exit_code: int) -> None:
    db.execute(
        "UPDATE scenes SET state = ?, reason = ?, exit_code = ?, holder = NULL, run = NULL,"
        " redo = CASE ? WHEN 'done' THEN 0 ELSE redo END WHERE name = ?",
        (state, reason, exit_code, state, name),
    )


def _reopen(db: sqlite3.Connection, name: str, why: str) -> bool:
    changed = db.execute(
        "UPDATE scenes SET redo = redo OR state = 'done', state = 'waiting', tries = 0, why = ?, reason = '',"
        " exit_code = 0 WHERE name = ? AND state IN ('done', 'skipped', 'failed')",
        (why, name),
    )
    return changed.rowcount == 1


def _worn_out(row: Row) -> str:
    who = "" if row.holder is None else f", the last one {row.holder.pid} on {row.holder.host}"
    return f"left alone: {row.tries} processes ended while they worked on it{who}."

"""One writer for each output: a lock file that names its holder.

No decision uses a clock of another host; only a process of this host and this boot is ever declared dead. While it
lives, a holder touches its lock file: whoever is refused is told when it last did, by the file system's own clock.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from geoseg.errors import OutputExistsError, OutputLockedError
from geoseg.io import posix
from geoseg.io.failpoint import failpoint

_log = logging.getLogger(__name__)

START_TOLERANCE_S = 2.0
"""Linux derives a process's start from the wall clock at boot, which time synchronization may shift a little."""
BEAT_S = 15.0
"""Between two signs of life."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    host: str
    pid: int
    started: float
    """Start of the process in seconds since the epoch: tells a reused pid from the old one."""
    boot: str
    namespace: str
    run_id: str
    since: str
    """When the lock was taken, UTC, for people."""

    @classmethod
    def current(cls) -> Holder:
        """This process, now, with a new run id."""
        pid = os.getpid()
        return cls(
            host=platform.node(),
            pid=pid,
            started=psutil.Process(pid).create_time(),
            boot=posix.boot_id(),
            namespace=posix.pid_namespace(),
            run_id=uuid.uuid4().hex,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Holder | None:
        """Read a lock file; None when it is not one (cut off by a crash, written by something else)."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError):
            return None

    def to_bytes(self) -> bytes:
        """Content of the lock file."""
        return json.dumps(asdict(self), indent=1).encode()

    def is_dead(self) -> bool:
        """True when the holder certainly runs no more: this host, and another boot or no such process."""
        if self.host != platform.node():
            return False
        if self.boot != posix.boot_id():
            return True
        return self.namespace == posix.pid_namespace() and not self._runs()

    def _runs(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) <= START_TOLERANCE_S
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True


class OutputLock:
    """A lock file as a context manager; the lock of a dead process is taken over.

    Args:
        path: the lock file, in the folder that it guards.
        break_lock: take the lock even from a holder who may be alive.
    """

    def __init__(self, path: Path, break_lock: bool = False) -> None:
        self.path = path
        self.holder = Holder.current()
        self._break_lock = break_lock
        self._released = threading.Event()

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            OutputLockedError: somebody else holds it.
        """
        content = self.holder.to_bytes()
        break_lock = self._break_lock
        # Every further round means that another process has just released or taken the lock.
        while not posix.create_exclusively(self.path, content):
            found = self._content()
            if found is None:
                continue
            holder = Holder.from_bytes(found)
            if not (break_lock or (holder is not None and holder.is_dead())):
                raise OutputLockedError(self._refusal(holder))
            if self._take_over(found):
                _log.warning("took over lock %s from %s", self.path, _name(holder))
                break
            break_lock = False  # it was meant for the holder found first, not for who was quicker than we
        self._released.clear()
        threading.Thread(target=self._beat, name="lock", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock, unless `--break-lock` of another run has taken it away."""
        self._released.set()
        failpoint("unlock")
        if self.held():
            self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """See that the lock is still ours, before anything is replaced.

        Raises:
            OutputExistsError: another run took it with `--break-lock`.
        """
        if not self.held():
            who = _name(Holder.from_bytes(self._content() or b""))
            raise OutputExistsError(f"lock {self.path} was broken by {who}; nothing was published, run again.")

    def held(self) -> bool:
        """True while the lock is ours: `--break-lock` of another run may take it."""
        return self._content() == self.holder.to_bytes()

    def _beat(self) -> None:
        while not self._released.wait(BEAT_S) and self.held():
            try:
                os.utime(self.path)
            except FileNotFoundError:  # released between look and touch; `touch` would make a new one
                return

    def _content(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def _take_over(self, found: bytes) -> bool:
        """Replace the lock whose content is `found`; False when another process was quicker.

        Removing a dead lock and creating a new one would be a race: the slower of two takers would remove the
        quicker one's living lock. So takers exclude each other by a second lock, and look again inside it. Nobody
        else changes the file meanwhile: creation fails while it exists, and its holder is dead.
        """
        with OutputLock(self.path.with_name(f"{self.path.name}.takeover"), self._break_lock):
            if self._content() != found:
                return False
            draft = self.path.with_name(f"{self.path.name}.{self.holder.run_id[:12]}")
            draft.write_bytes(self.holder.to_bytes())
            draft.replace(self.path)
            return True

    def _refusal(self, holder: Holder | None) -> str:
        who = "an unknown holder (its content is unreadable)" if holder is None else _name(holder)
        return (
            f"output is locked by {who} through {self.path}{self._last_beat()}; wait for that run, "
            f"or pass --break-lock when you know that it is gone."
        )

    def _last_beat(self) -> str:
        """How long ago the holder showed that it lives, in words; a file made now tells the file system's time."""
        now = self.path.with_name(f"{self.path.name}.{self.holder.run_id[:12]}")
        now.touch()
        try:
            ago = now.stat().st_mtime - self.path.stat().st_mtime
        except FileNotFoundError:  # just released
            return ""
        finally:
            now.unlink()
        return f" (last sign of life {max(0, round(ago))} s ago)"


def _name(holder: Holder | None) -> str:
    return "unknown" if holder is None else f"process {holder.pid} on {holder.host} since {holder.since}"

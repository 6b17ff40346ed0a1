"""What differs between operating systems, with its fallback: syncing, exclusive creation, identity, full disks."""

from __future__ import annotations

import _thread
import errno
import os
import select
import shutil
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from geoseg.errors import GeosegError, OutputError, OutputExistsError

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}


def sync_file(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until renames and deletions in a folder are on the disk, where the system can."""
    if os.name == "nt":  # folders cannot be opened there; NTFS journals its renames itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:  # some network file systems sync files only
            raise
    finally:
        os.close(descriptor)


def create_exclusively(path: Path, content: bytes) -> bool:
    """Make a file appear at once and with all its content, unless there already is one.

    Returns:
        False when the path was taken.
    """
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        draft.write_bytes(content)
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_then_write(path, content)
    finally:
        draft.unlink(missing_ok=True)
    return True


def _create_then_write(path: Path, content: bytes) -> bool:
    """For file systems without hard links (FAT, some network shares): exclusive, but empty for a moment."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def boot_id() -> str:
    """Identity of the running kernel since its start; empty where the system has none."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def pid_namespace() -> str:
    """Which set of process ids this process lives in: containers of one host may share its name but not its pids."""
    path = Path("/proc/self/ns/pid")
    return str(path.readlink()) if path.is_symlink() else ""


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write on the folder's file system."""
    return shutil.disk_usage(folder).free


class Wakeup:
    """Where Python leaves the number of each signal, for `signal.set_wakeup_fd`."""

    def __init__(self) -> None:
        self._ear: socket.socket | FileIO
        self._mouth: socket.socket | FileIO
        if os.name == "nt":  # select knows sockets only
            self._ear, self._mouth = socket.socketpair()
            self._mouth.setblocking(False)
        else:
            self._ear, self._mouth = (FileIO(end, mode) for end, mode in zip(os.pipe(), "rw", strict=True))
            os.set_blocking(self._mouth.fileno(), False)

    def fileno(self) -> int:
        """Descriptor to write to; it never blocks."""
        return self._mouth.fileno()

    def hear(self, seconds: float | None) -> bytes | None:
        """The next byte; empty once `hush` was called; None when the time is up.

        Args:
            seconds: how long to wait; None: for ever.
        """
        ready, _, _ = select.select([self._ear], [], [], seconds)
        if not ready:
            return None
        return self._ear.recv(1) if isinstance(self._ear, socket.socket) else self._ear.read(1)

    def hush(self) -> None:
        """Nothing more will be said."""
        self._mouth.close()

    def close(self) -> None:
        """Nobody listens any more."""
        self._ear.close()


def signal_main_thread(number: signal.Signals) -> None:
    """Let the main thread handle a signal, even where it sleeps in a system call."""
    if hasattr(signal, "pthread_kill") and (ident := threading.main_thread().ident) is not None:
        signal.pthread_kill(ident, number)
    else:
        _thread.interrupt_main(number)


@contextmanager
def disk_errors(what: str, path: Path, needed: int | None = None, *, chosen_by: str = "-o") -> Iterator[None]:
    """Turn the system's errors while writing into one line that says what to do.

    Args:
        what: what was being written, for the message.
        path: where.
        needed: bytes that the whole of it takes, if known.
        chosen_by: what names another place, for the message.

    Raises:
        OutputExistsError: the system does not let us create anything there.
        OutputError: any other `OSError` inside the block.
    """
    try:
        yield
    except GeosegError:  # some are OSErrors by birth
        raise
    except OSError as error:
        if error.errno in _REFUSED:
            raise OutputExistsError(f"{what} {path}: {error.strerror}; choose another {chosen_by}.") from error
        remedy = _remedy(error, path, needed, chosen_by)
        # pyarrow's own text is about bytes and details.
        reason = os.strerror(error.errno) if error.errno else error.strerror or error
        raise OutputError(f"{what} {path}: {reason}{remedy}") from error


def is_full(error: BaseException) -> bool:
    """Whether a full disk or quota is at the bottom of an error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL - {errno.EFBIG}:
            return True
        cause = cause.__cause__
    return False


def _remedy(error: OSError, path: Path, needed: int | None, chosen_by: str) -> str:
    size = "" if needed is None else f"; it needs {needed} bytes"
    if error.errno not in _FULL:
        return f"{size}."
    free = free_bytes(path if path.is_dir() else path.parent)
    return f"{size}, {free} are free: make room, raise the quota or file size limit, or choose another {chosen_by}."

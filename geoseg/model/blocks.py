"""Freed memory stays with the process, so that each layer of a network need not ask the kernel for it again."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Names of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
_MALLINFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
_LARGE = 32 * 2**20
_USUAL_MMAP_MAX = 65_536
_kept = threading.Event()
"""Set while somebody in this process predicts."""
_sharing = threading.Lock()
_sharers = 0
_given_back = 0
"""Free bytes after the last time that they were given back: still malloc's, but no longer memory."""


class _MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2` (mallinfo(3))."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO)


def share_one_arena() -> bool:
    """Let all threads of this process allocate from one heap; True when glibc's malloc obeys.

    To be called before threads are started: each keeps the heap that it began with. Where some had heaps of their own
    when `keep_freed_blocks` came, twice to five times as many fresh pages were seen in a run, and 200 MB more memory.
    """
    return _tuned({_M_ARENA_MAX: 1})


def keep_freed_blocks() -> bool:
    """Tell glibc's malloc to reuse large blocks; True when it obeys.

    A chip's activations are blocks of tens of MB. By default glibc maps each of them anew and gives it back after the
    layer; filling fresh pages with zeros was seen to take a third of a forward pass of 1024² pixels.
    `stop_keeping_blocks` is the other half.

    A process-wide setting, for processes that predict on their CPU; results do not depend on it. Variables MALLOC_…
    of the environment win, and other C libraries are left alone.
    """
    _kept.set()
    return _tuned({_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1})


@contextmanager
def sharing_blocks() -> Iterator[None]:
    """Around runs of one process that predict in turns: freed blocks are kept until the last of them has ended.

    What one has freed is what the next one takes; touching it anew costs a fifth of a second for each GB.
    """
    global _sharers  # noqa: PLW0603 (malloc is the process's, too)
    with _sharing:
        _sharers += 1
    try:
        yield
    finally:
        with _sharing:
            _sharers -= 1
            if not _sharers:
                _stop_keeping()


def stop_keeping_blocks() -> None:
    """Give back what is free, and large blocks from now on as soon as they are freed: after the last forward pass.

    Does nothing within `sharing_blocks`, which does it at its end.

    What counts as large is where glibc's own adjustment ends (mallopt(3): 32 MiB, twice that at the end of the heap).
    Kept blocks were seen to take 300 MB more, and a quarter more time, for the polygons of a map of 30 000²; limits of
    4 and 8 MiB to make writing a COG of 8192² five times as slow.
    """
    with _sharing:
        if not _sharers:
            _stop_keeping()


def _stop_keeping() -> None:
    _kept.clear()
    _tuned({_M_MMAP_MAX: _USUAL_MMAP_MAX, _M_MMAP_THRESHOLD: _LARGE, _M_TRIM_THRESHOLD: 2 * _LARGE})
    give_back_freed_blocks()


def give_back_freed_blocks() -> None:
    """Return what is free now to the system."""
    global _given_back  # noqa: PLW0603 (see `_sharers`)
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)
        _given_back = _free_bytes(libc)


def idle_bytes() -> int:
    """Memory of this process that is kept for the next large blocks; rather too little than too much.

    What was free when memory was last given back does not count, though it may have been in use since.
    """
    libc = _glibc()
    return 0 if libc is None else max(0, _free_bytes(libc) - _given_back)


def _free_bytes(libc: ctypes.CDLL) -> int:
    if not hasattr(libc, "mallinfo2"):  # glibc before 2.33
        return 0
    libc.mallinfo2.restype = _MallInfo
    return int(libc.mallinfo2().fordblks)


def _tuned(settings: Mapping[int, int]) -> bool:
    libc = _glibc()
    if libc is None or any(name.startswith("MALLOC_") for name in os.environ):  # the user's own orders
        return False
    return all(libc.mallopt(*pair) for pair in settings.items())


def give_back_idle_blocks() -> None:
    """The same, unless another run of this process predicts: it would have to touch all its blocks again."""
    if not _kept.is_set():
        give_back_freed_blocks()


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt") else None

"""Freed memory stays with the process, so that each layer of a network need not ask the kernel for it again."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Mapping

# Names of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
_LARGE = 32 * 2**20
_USUAL_MMAP_MAX = 65_536
_kept = threading.Event()
"""Set while somebody in this process predicts."""


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


def stop_keeping_blocks() -> None:
    """Give back what is free, and large blocks from now on as soon as they are freed: after the last forward pass.

    What counts as large is where glibc's own adjustment ends (mallopt(3): 32 MiB, twice that at the end of the heap).
    Kept blocks were seen to take 300 MB more, and a quarter more time, for the polygons of a map of 30 000²; limits of
    4 and 8 MiB to make writing a COG of 8192² five times as slow.
    """
    _kept.clear()
    _tuned({_M_MMAP_MAX: _USUAL_MMAP_MAX, _M_MMAP_THRESHOLD: _LARGE, _M_TRIM_THRESHOLD: 2 * _LARGE})
    give_back_freed_blocks()


def give_back_freed_blocks() -> None:
    """Return what is free now to the system."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


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

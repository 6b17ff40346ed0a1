"""What this process may have: processors, open files (shared by our handles and GDAL's pool for VRTs), blocks."""

from __future__ import annotations

import os
import sys

_ELSEWHERE = 40
"""Files and sockets that the rest of a process holds open."""
_PLENTY = 4096


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spare_files() -> int:
    """Files that one of the two may hold open, at least two."""
    if sys.platform == "win32":
        return _PLENTY
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return _PLENTY
    return max(2, (min(allowed, 2 * _PLENTY) - _ELSEWHERE) // 2)


def block_cache_mb() -> int:
    """Megabytes for GDAL's cache of decoded blocks: those under the tile of every thread, of an ordinary scene.

    With less, blocks that chips share are decoded again; with more, new blocks go into fresh pages instead of those of
    old ones, which was seen to take longer than decoding (14 µs a page on a virtual machine).
    """
    return 64 + 96 * (cpu_count() + 1)  # one of them reads while the others compute

"""How many files this process may hold open, shared out between our own handles and GDAL's pool for VRTs."""

from __future__ import annotations

import sys

_ELSEWHERE = 40
"""Files and sockets that the rest of a process holds open."""
_PLENTY = 4096


def spare_files() -> int:
    """Files that one of the two may hold open, at least two."""
    if sys.platform == "win32":
        return _PLENTY
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return _PLENTY
    return max(2, (min(allowed, 2 * _PLENTY) - _ELSEWHERE) // 2)

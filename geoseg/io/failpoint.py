"""Named places where tests kill the process, to see what a crash at that moment leaves behind.

    open                  the scene was opened and the plan laid, nothing is written yet
    plan                  lock and work folder are there, no tile is
    tile:before-rename    a tile file is written under its temporary name
    tile                  a tile file stands
    epoch:before-rename   a training's checkpoint is written under its temporary name
    epoch                 a checkpoint stands
    cog                   GDAL has written a raster that nobody has read back
    vector                a vector file is begun, its writer asks for the next batch
    publish:staged, publish:record-removed, publish:between-renames, publish:before-record

`GEOSEG_FAILPOINT` is a name, or `name:n` for the n-th visit; after a blank, perhaps another signal: `tile:3 SIGTERM`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

# Read once, so that an unarmed failpoint costs one comparison.
_ARMED = os.environ.get("GEOSEG_FAILPOINT", "")
_hits: Counter[str] = Counter()
_counting = threading.Lock()


def failpoint(name: str) -> None:
    """Kill this process, without any cleanup unless another signal is asked for, when this visit is the armed one."""
    if not _ARMED:
        return
    armed, _, told = _ARMED.partition(" ")
    with _counting:  # tiles are written by several threads
        _hits[name] += 1
        fire = armed in {f"{name}:{_hits[name]}", name}
    if fire:
        # Windows has no SIGKILL; its SIGTERM is TerminateProcess, which is as abrupt.
        os.kill(os.getpid(), getattr(signal, told or "SIGKILL", signal.SIGTERM))

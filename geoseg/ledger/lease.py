"""When another process has lost its scene: it is dead for certain, or it has been silent for too long.

No decision compares clocks of two computers: every sign of life counts one up, and who waits sees by its own clock for
how long the count has stood still.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from geoseg.io.lock import Holder


class LeaseWatch:
    """What this process has seen of the others' leases.

    Args:
        lease_s: longest silence.
        clock: seconds, monotonic.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_s, self._clock = lease_s, clock
        self._seen: dict[str, tuple[str, int, float]] = {}

    def expired(self, scene: str, holder: Holder | None, beat: int) -> bool:
        """Whether a scene may be taken from its holder.

        Args:
            scene: its name.
            holder: who has it; None: nobody that could be read.
            beat: count of its signs of life.
        """
        if holder is None or holder.is_dead():
            return True
        now = self._clock()
        run, count, since = self._seen.get(scene, ("", -1, now))
        if (run, count) != (holder.run_id, beat):
            self._seen[scene] = (holder.run_id, beat, now)
            return False
        return now - since >= self._lease_s

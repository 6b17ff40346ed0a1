"""How many work on the tiles at a time, and how much they may leave lying about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Crew:
    """Threads of this process that compute tiles; nothing here changes a result."""

    threads: int
    """Chips that are computed at the same time."""
    waiting: int
    """Finished tiles that may wait to be taken, besides one in the hands of each thread."""
    spare: int = 0
    """Threads more, which read while those compute, so that there is always something to compute."""

    def __post_init__(self) -> None:
        if self.threads < 1 or self.waiting < 1 or self.spare < 0:
            raise ValueError(f"{self} cannot work: it takes a thread and a place for its result.")

    @property
    def hands(self) -> int:
        """All threads."""
        return self.threads + self.spare

"""Who is told how far a run is."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Told how far a run is; the command line draws a bar."""

    def start(self, tiles: int, pixels: int) -> None:
        """Work begins: so many tiles, so many pixels."""

    def advance(self, pixels: int) -> None:
        """A tile of so many pixels is done."""

    def note(self, text: str) -> None:
        """What was assumed or applied."""

    def warn(self, text: str) -> None:
        """Something that the user should know before trusting the result."""


class Silent:
    """A watcher that says nothing."""

    def start(self, tiles: int, pixels: int) -> None:
        """Ignore."""

    def advance(self, pixels: int) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def warn(self, text: str) -> None:
        """Ignore."""

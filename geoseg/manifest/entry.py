"""What every form of manifest is read into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Raw = Mapping[str, Any]
"""Section → key → value, as in a settings file."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A scene as a manifest words it."""

    inputs: tuple[str, ...]
    where: str
    """Its place, for messages: `scene 3`, `line 12`."""
    settings: Raw = field(default_factory=dict)
    """Its own, over the defaults."""
    name: str | None = None
    min_clear: object = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A manifest's entries and what it says of all of them."""

    entries: Sequence[Entry]
    defaults: Raw = field(default_factory=dict)
    name: str = "{stem}"
    """Pattern for the names of entries without one."""
    folder: str = "{name}"
    """Pattern for the folders of their results."""
    min_clear: object = None

"""One scene of a batch, as asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from geoseg.errors import UsageError
from geoseg.settings import RunSettings
from geoseg.spelling import is_stem

RESERVED = frozenset({"status", "state.sqlite", "report.json", "report.html", "metrics.prom"})
"""What a batch itself keeps in its folder."""


@dataclass(frozen=True, kw_only=True)
class BatchScene:
    """Inputs, settings and the place of the results."""

    name: str
    """Stem of all its files, unique in the batch."""
    inputs: tuple[str, ...]
    settings: RunSettings
    folder: str
    """Of its results, relative to the batch's, with `/`."""
    min_clear: float = 0.0
    """Share of the pixels with data that must be unmasked for the scene to be worth its time."""

    def __post_init__(self) -> None:
        if not is_stem(self.name):
            raise UsageError(f"scene {self.name!r}: files cannot be called so; take a name without / \\ : ; ! in it.")
        place = PurePosixPath(self.folder)
        if place.is_absolute() or ".." in place.parts or not place.parts or place.parts[0] in RESERVED:
            raise UsageError(f"scene {self.name}: its folder {self.folder!r} must be its own, inside the batch's.")
        if not self.inputs:
            raise UsageError(f"scene {self.name} has no input.")


def shard_of(scenes: Sequence[BatchScene], shard: tuple[int, int]) -> list[BatchScene]:
    """Every n-th scene from the i-th on: together, shards 1/n … n/n hold every scene once."""
    number, of = shard
    return list(scenes[number - 1 :: of])

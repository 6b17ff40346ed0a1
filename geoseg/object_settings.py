"""Which classes are things, and how they are divided into objects: the options that `VectorSettings` takes over."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.spelling import Strict, words
from geoseg.things import NO_THINGS, Split, parse_split


@dataclass(frozen=True, kw_only=True)
class ObjectSettings(Strict):
    """Objects of a class raster."""

    things: tuple[str, ...] | None = None
    """Classes (name or code) whose regions are objects; ("none",): no class; None: those that the scheme calls so."""
    split: str = "components"
    """How things are divided into objects: components, watershed, scores or boundary:CLASS (see `geoseg.things`)."""
    split_radius: str | None = None
    """Reach of that method, `16px` or `10m`; None: its own."""
    split_depth: str | None = None
    """What divides two maxima, `1px` or `0.6m`, with scores `0.05`; None: the method's own."""

    def __post_init__(self) -> None:
        self._take("things", lambda given: None if given is None else words(given))
        _ = self.splitting

    @property
    def splitting(self) -> Split:
        """`split` and what says more about it, understood."""
        return parse_split(self.split, self.split_radius, self.split_depth)

    @property
    def moves_pixels(self) -> bool:
        """True where objects take pixels of other classes."""
        return self.splitting.moves_pixels and self.things != (NO_THINGS,)

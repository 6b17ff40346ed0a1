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
    """How things are divided into objects: components, watershed, scores, scores:CLASS or boundary:CLASS (see
    `geoseg.things`)."""
    split_radius: str | None = None
    """Reach of that method, `16px` or `10m`; None: its own."""
    split_depth: str | None = None
    """What divides two maxima, `1px` or `0.6m`, with scores `0.05`; None: the method's own."""
    split_apart: str | None = None
    """scores:CLASS: within this distance of a peak, `3px` or `2m`, there is no other; None: 3px."""
    split_smooth: str | None = None
    """scores:CLASS: half the width of the kernel that smooths the score, `2px` or `1m`; None: 2px."""
    split_score: str | None = None
    """scores:CLASS: least smoothed score of a peak, 0 to 1; None: 0.3."""

    def __post_init__(self) -> None:
        self._take("things", lambda given: None if given is None else words(given))
        _ = self.splitting

    @property
    def split_words(self) -> dict[str, str | None]:
        """What says more about `split`, by option."""
        return {
            "--split-radius": self.split_radius,
            "--split-depth": self.split_depth,
            "--split-apart": self.split_apart,
            "--split-smooth": self.split_smooth,
            "--split-score": self.split_score,
        }

    @property
    def splitting(self) -> Split:
        """`split` and what says more about it, understood."""
        return parse_split(self.split, self.split_words)

    @property
    def moves_pixels(self) -> bool:
        """True where objects may take pixels of other classes."""
        method = self.splitting.method
        one_class = self.things is not None and len(self.things) == 1
        return self.things != (NO_THINGS,) and (method == "boundary" or (method == "peaks" and not one_class))

    @property
    def needs_probabilities(self) -> bool:
        """True where objects are made by the score of a class."""
        return self.splitting.method == "peaks" and self.things != (NO_THINGS,)

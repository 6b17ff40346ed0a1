"""What `evaluate` can be asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geoseg.errors import UsageError
from geoseg.spelling import Strict, path

Unsure = Literal["drop", "keep"]

NO_BOUNDARY = "none"
_DISTANCE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(px|m)\s*")
_LARGEST_PX = 1024


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Strict):
    """How a map is compared with a reference."""

    field: str | None = None
    """Attribute with the class of reference polygons or points."""
    layer: str | None = None
    """Layer of a reference file; None: the only one."""
    pairs: str | None = None
    """Which class of the map each class of the reference means, `11=80,forest=10,99=none`; None: the one of the same
    code, for classes given as text the one of exactly that name."""
    legend: str | None = None
    """Legend put onto the map first, a file or a shipped name: renames and merges classes."""
    reference_legend: str | None = None
    """The same for the reference, raster or polygons."""
    aoi: Path | None = None
    """Polygons where the maps are compared: all pixels that these touch."""
    boundary: str = "2px"
    """Distance of the boundary IoU in pixels or ground meters, `3px` or `30m`; `none`: without."""
    scores: Path | None = None
    """Confidence raster; None: the sibling `NAME.confidence.tif`, if any."""
    companion: Path | None = None
    """Reference points: the file with their strata and inclusion probabilities; None: the sibling, if any."""
    level: float = 0.95
    """Reference points: level of the confidence intervals."""
    unsure: Unsure = "drop"
    """Reference points: what becomes of answers that somebody is unsure of."""

    def __post_init__(self) -> None:
        for name in ("aoi", "scores", "companion"):
            self._take(name, path)
        self._check("unsure", Unsure)
        if self.boundary != NO_BOUNDARY:
            self._distance()
        if not 0 < self.level < 1:
            raise UsageError(f"--level {self.level:g} must lie between 0 and 1, such as 0.95.")

    def distance_px(self, gsd_m: float) -> int:
        """The distance of the boundary IoU in whole pixels, at least one; 0: without.

        Args:
            gsd_m: ground meters of a pixel.

        Raises:
            UsageError: it is more than 1024 pixels.
        """
        if self.boundary == NO_BOUNDARY:
            return 0
        amount, unit = self._distance()
        pixels = max(1, round(amount if unit == "px" else amount / gsd_m))
        if pixels > _LARGEST_PX:
            raise UsageError(f"--boundary {self.boundary} is {pixels} pixels; give at most {_LARGEST_PX}.")
        return pixels

    def _distance(self) -> tuple[float, str]:
        found = _DISTANCE.fullmatch(self.boundary)
        if found is None or not float(found[1]):
            raise UsageError(f"--boundary {self.boundary!r} is no distance; write 3px, 30m or {NO_BOUNDARY}.")
        return float(found[1]), found[2]

"""What `evaluate` can be asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geoseg.errors import UsageError
from geoseg.spelling import Strict, numbers, path, words

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
    objects: bool = False
    """Also compare objects: precision, recall and F1 of those found, panoptic quality."""
    things: tuple[str, ...] | None = None
    """Objects: classes of the map whose regions are objects; None: those that its scheme calls so."""
    instances: Path | None = None
    """Objects: raster of their numbers on the map's grid; None: the sibling `NAME.instances.tif`, else the
    4-connected components."""
    reference_instances: Path | None = None
    """The same for a reference raster."""
    iou: tuple[float, ...] = (0.5,)
    """Objects: intersection over union above which two objects are one, at least 0.5 so that no object has two."""
    complete: bool = False
    """Objects: what the reference does not cover has no object; else nobody knows."""

    def __post_init__(self) -> None:
        for name in ("aoi", "scores", "companion", "instances", "reference_instances"):
            self._take(name, path)
        self._take("things", lambda given: None if given is None else words(given))
        self._take("iou", numbers)
        self._check("unsure", Unsure)
        if self.boundary != NO_BOUNDARY:
            self._distance()
        if not self.iou or not all(0.5 <= threshold < 1 for threshold in self.iou):
            raise UsageError(f"--iou {','.join(f'{t:g}' for t in self.iou)} must be 0.5 or more and below 1: 0.5,0.75.")
        self._check_objects()
        if not 0 < self.level < 1:
            raise UsageError(f"--level {self.level:g} must lie between 0 and 1, such as 0.95.")

    def _check_objects(self) -> None:
        for name in ("things", "instances", "reference_instances", "complete"):
            if getattr(self, name) and not self.objects:
                raise UsageError(f"--{name.replace('_', '-')} is about objects: give --objects, too.")

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

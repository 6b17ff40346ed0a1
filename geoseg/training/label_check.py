"""What the labels are worth, told before any training: hectares by class, and everything that is wrong with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.console import aligned, format_hectares
from geoseg.grid import Grid
from geoseg.zones.table import areas_m2

M2_PER_HA = 1e4


@dataclass(frozen=True)
class ClassLabels:
    """Labels of one class; areas in hectares of ground."""

    name: str
    separate: int
    """Polygons and points; patches of a raster."""
    pixels: int
    """Labeled pixels of the images that hold data: what can be learned from."""
    usable_ha: float
    nodata_ha: float
    """Labeled where the image has no data."""
    masked_ha: float
    """Labeled under cloud, shadow and what else masks tell."""
    outside_ha: float
    """Drawn outside the image."""


@dataclass(frozen=True)
class LabelReport:
    """All labels of a training."""

    classes: tuple[ClassLabels, ...]
    remarks: tuple[str, ...] = ()
    """What was found and left out or left as it is."""
    errors: tuple[str, ...] = ()
    """What must be mended or decided before training."""

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists."""
        return {
            "classes": [vars(row) for row in self.classes],
            "remarks": list(self.remarks),
            "errors": list(self.errors),
        }

    def lines(self) -> list[str]:
        """The table, remarks and errors for people."""
        errors = [f"to be mended: {line}" for line in self.errors]
        return [aligned(*self.table()), *self.remarks, *errors]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows for people: columns that are 0 for all classes are left out."""
        columns: dict[str, list[Any]] = {
            "class": [row.name for row in self.classes],
            "separate": [row.separate for row in self.classes],
            "pixels": [row.pixels for row in self.classes],
            "usable ha": [row.usable_ha for row in self.classes],
            "nodata ha": [row.nodata_ha for row in self.classes],
            "masked ha": [row.masked_ha for row in self.classes],
            "outside ha": [row.outside_ha for row in self.classes],
        }
        kept = [name for name, values in columns.items() if any(values) or not name.endswith(" ha")]
        shown = [[_shown(name, value) for value in columns[name]] for name in kept]
        return kept, [list(row) for row in zip(*shown, strict=True)]


def _shown(column: str, value: Any) -> str:
    if column.endswith(" ha"):
        return format_hectares(value)
    return value if isinstance(value, str) else f"{value:,}"


@dataclass
class Tally:
    """Sums that become a report, class by class."""

    names: tuple[str, ...]
    pixels: NDArray[np.int64] = field(init=False)
    areas_m2: dict[str, NDArray[np.float64]] = field(init=False)
    separate: NDArray[np.int64] = field(init=False)
    remarks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = len(self.names)
        self.pixels, self.separate = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.areas_m2 = {kind: np.zeros(n) for kind in ("usable", "nodata", "masked", "outside")}

    def add_pixels(
        self,
        labels: NDArray[np.uint8],
        valid: NDArray[np.bool_],
        masked: NDArray[np.bool_],
        row_m2: NDArray[np.float64],
    ) -> None:
        """A chip: class indices, usable and masked pixels (row, col), and the area of a pixel in each row (row,)."""
        n = len(self.names)
        for kind, chosen in (("usable", valid), ("masked", masked & ~valid), ("nodata", ~masked & ~valid)):
            rows, _ = np.nonzero(counted := chosen & (labels < n))
            classes = labels[counted]
            self.areas_m2[kind] += np.bincount(classes, row_m2[rows], n)
            if kind == "usable":
                self.pixels += np.bincount(classes, minlength=n)

    def report(self) -> LabelReport:
        """The finished report."""
        ha = {kind: np.round(areas / M2_PER_HA, 4) for kind, areas in self.areas_m2.items()}
        rows = [
            ClassLabels(
                name,
                int(self.separate[i]),
                int(self.pixels[i]),
                *(float(ha[kind][i]) for kind in ("usable", "nodata", "masked", "outside")),
            )
            for i, name in enumerate(self.names)
        ]
        return LabelReport(tuple(rows), tuple(self.remarks), tuple(self.errors))


def outside_m2(shapes: NDArray[np.object_], grid: Grid) -> NDArray[np.float64]:
    """(shape,) ground area outside a raster's frame."""
    frame = shapely.Polygon(grid.corners())
    out = np.zeros(len(shapes))
    beyond = ~shapely.covers(frame, shapes)
    out[beyond] = _measured(shapely.difference(shapes[beyond], frame), grid)
    return out


def overlaps(shapes: NDArray[np.object_], names: list[str | None], grid: Grid) -> list[str]:
    """What lies over each other and differs in class: one line for each pair of classes, with the ground area.

    Args:
        shapes: (shape,) valid polygons in the grid's CRS.
        names: (shape,) class of each; None: of none.
        grid: says how areas are measured.
    """
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    named = [(a, b) for a, b in zip(one.tolist(), other.tolist(), strict=True) if a < b]
    pairs = [(a, b) for a, b in named if names[a] and names[b] and names[a] != names[b]]
    if not pairs:
        return []
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    shared = shapely.intersection(shapes[left], shapes[right])
    real = shapely.area(shared) > 0
    sums: Counter[tuple[str, str]] = Counter()
    count: Counter[tuple[str, str]] = Counter()
    for (a, b), area in zip(np.column_stack((left, right))[real].tolist(), _measured(shared[real], grid), strict=True):
        key = tuple(sorted((str(names[a]), str(names[b]))))
        sums[key[0], key[1]] += area
        count[key[0], key[1]] += 1
    return [
        f"{count[key]} times {key[0]!r} and {key[1]!r} overlap, {area / M2_PER_HA:.4g} ha in all: not trained on there"
        for key, area in sums.items()
    ]


def _measured(shapes: NDArray[np.object_], grid: Grid) -> NDArray[np.float64]:
    """(shape,) ground area of what is areal of each."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    areal = shapely.get_dimensions(parts) == 2
    return np.bincount(owner[areal], areas_m2(parts[areal], grid.crs), len(shapes)).astype(np.float64)

"""What `--mmu 0.5ha` means on a grid: sizes of components as exact integers.

planar grids   All pixels have one area: sizes are pixel counts, an area is the number of pixels that reach it.
ground grids   Pixels differ from row to row: each counts its row's area in whole steps. A step is 1 mm², or the
               smallest power of ten above it that keeps the whole raster within 62 bits (an ocean has 3.6e20 mm²).
               A unit in pixels counts pixels here, too.

`AreaModel` says which one a grid is. Sums of integers depend on no order, so neither does the result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassScheme
from geoseg.errors import UsageError
from geoseg.grid import Grid
from geoseg.ground import AreaModel

Ints = NDArray[np.int64]
Measure = Literal["px", "m2"]

_MOST = 1_000_000_000_000  # in whole square millimeters still a 64-bit integer
_SIZE = r"\d+(?:\.\d*)?|\.\d+"
_UNIT = re.compile(rf"\s*({_SIZE})\s*(ha|m2|px)\s*")
_OF_CLASS = re.compile(rf"\s*([^=,\s][^=]*?)\s*=\s*((?:{_SIZE})\s*(?:ha|m2|px))\s*(?:,|$)")
_M2 = {"ha": 10_000, "m2": 1, "px": 1}
_MM2_PER_M2 = 10**6
_LARGEST = 2.0**62
_NOISE = Fraction(1, 10**9)  # a pixel of 899.9999999 m² is one of 30 m × 30 m


@dataclass(frozen=True)
class Size:
    """A size as the user gave it."""

    amount: Fraction
    """Pixels or ground square meters, exactly as written."""
    measure: Measure

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise ValueError(f"a size of {self.amount} {self.measure} is negative.")


@dataclass(frozen=True)
class Scale:
    """How sizes of components are counted on one grid."""

    by_row: Ints | None
    """(row,) size of a pixel in each row, in steps; None: 1, sizes are pixel counts."""
    step_m2: Fraction | None
    """Ground square meters of one step; None where pixels are counted whose areas differ."""

    def steps(self, size: Size) -> int:
        """The smallest size of a component that is not below a given one."""
        if size.measure == "px":
            if self.by_row is not None:
                raise ValueError("sizes are areas here, not pixels.")
            return math.ceil(size.amount)
        if self.step_m2 is None:
            raise ValueError("sizes are counts of pixels that differ in area.")
        steps = size.amount / self.step_m2
        return math.ceil(steps if self.by_row is not None else steps * (1 - _NOISE))


@dataclass(frozen=True)
class Unit:
    """Minimum mapping unit of every class, in the measure of the component sizes."""

    default: int
    """Components below this size go; one of exactly this size stays; 0: all stay."""
    by_code: Mapping[int, int] = field(default_factory=dict)
    """Class code → its own unit."""
    keep: frozenset[int] = frozenset()
    """Codes of classes that are never given away."""
    connect: Literal[4, 8] = 4
    """Whether a component's own size is tested, or that of its 8-connected group."""

    def __post_init__(self) -> None:
        if self.connect not in {4, 8}:
            raise ValueError(f"connect={self.connect!r}: pixels are connected by 4 or 8 neighbors.")
        for size in (self.default, *self.by_code.values()):
            if size < 0:
                raise ValueError(f"a unit of {size} is negative.")

    def of(self, codes: NDArray[np.int32]) -> Ints:
        """(class,) unit of each of these classes, 0 for those kept."""
        units = [0 if code in self.keep else self.by_code.get(code, self.default) for code in codes.tolist()]
        return np.array(units, np.int64)


def parse_size(text: str, option: str = "--mmu") -> Size:
    """Read `0.5ha`, `5000m2` or `9px`.

    Raises:
        UsageError: any other form.
    """
    match = _UNIT.fullmatch(text)
    if match is None:
        raise UsageError(f"{option} {text!r} is no size; write hectares, square meters or pixels: 0.5ha, 5000m2, 9px.")
    amount, unit = match.groups()
    if Fraction(amount) * _M2[unit] > _MOST:
        raise UsageError(f"{option} {text!r} is too large; give at most {_MOST} square meters or pixels.")
    return Size(Fraction(amount) * _M2[unit], "px" if unit == "px" else "m2")


def parse_class_sizes(text: str) -> dict[str, Size]:
    """Read `water=0.1ha,10=9px`: class names or codes; a name may hold commas, but no `=`.

    Raises:
        UsageError: any other form, or a class given twice.
    """
    sizes: dict[str, Size] = {}
    at = 0
    while at < len(text) or not sizes:
        match = _OF_CLASS.match(text, at)
        if match is None:
            raise UsageError(f"--mmu-class {text[at:]!r} is no list of sizes by class; write water=0.1ha,forest=9px.")
        name, size = match.groups()
        if name in sizes:
            raise UsageError(f"--mmu-class gives {name!r} twice; give each class one size.")
        sizes[name] = parse_size(size, "--mmu-class")
        at = match.end()
    return sizes


def size_scale(grid: Grid, model: AreaModel, sizes: Collection[Size]) -> Scale:
    """Decide how components are measured.

    Args:
        grid: the raster's grid.
        model: how areas are measured on it, `area_model(grid)`.
        sizes: all that the user gave.

    Raises:
        UsageError: pixels and areas stand side by side on a grid whose pixels differ in area.
    """
    if model.name == "planar":
        return Scale(None, Fraction(grid.pixel_area * model.unit**2))
    measures = {size.measure for size in sizes}
    if len(measures) > 1:
        raise UsageError(
            "--mmu mixes pixels and areas, but the pixels of this raster differ in area from row to row: "
            "give all sizes in ha or m2, or all in px."
        )
    if measures == {"px"}:
        return Scale(None, None)
    areas_m2 = np.nan_to_num(model.pixel_areas(grid))  # no place on the ground: refused when polygons are measured
    per_m2 = Fraction(_MM2_PER_M2)
    while areas_m2.sum() * grid.width * float(per_m2) >= _LARGEST:
        per_m2 /= 10
    by_row: Ints = np.maximum(np.rint(areas_m2 * float(per_m2)), 1).astype(np.int64)
    return Scale(by_row, 1 / per_m2)


def unit_of(
    default: Size | None,
    by_class: Mapping[str, Size],
    keep: Iterable[str],
    *,
    scheme: ClassScheme,
    scale: Scale,
    connect: Literal[4, 8] = 4,
) -> Unit:
    """The minimum mapping unit of each class on a grid.

    Args:
        default: of classes that have none of their own; None: those stay.
        by_class: class name or code → its own.
        keep: names or codes of classes that are never given away.
        scheme: the raster's classes.
        scale: made for all these sizes.
        connect: see `Unit`.

    Raises:
        UsageError: the raster has no such class.
    """
    by_code = {class_code(name, scheme, "--mmu-class"): scale.steps(size) for name, size in by_class.items()}
    kept = frozenset(class_code(name, scheme, "--keep-class") for name in keep)
    return Unit(0 if default is None else scale.steps(default), by_code, kept, connect)


def class_code(text: str, scheme: ClassScheme, option: str) -> int:
    """Code of a class that an option gives by name or by code.

    Raises:
        UsageError: the scheme has no such class.
    """
    known = {str(c.code): c.code for c in scheme.classes} | {c.name: c.code for c in scheme.classes}
    if text not in known:
        classes = ", ".join(f"{c.code} {c.name}" for c in scheme.classes)
        raise UsageError(f"{option} {text!r} is no class of this raster; it has: {classes}.")
    return known[text]

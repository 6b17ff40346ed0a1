"""The design of a sample: what was drawn, from which strata, with what probability.

Whoever interprets the points must not see it; whoever estimates from them must have it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from geoseg.classes import ClassScheme
from geoseg.errors import InputError, UsageError
from geoseg.grid import Grid
from geoseg.spelling import is_number, nearest

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FORMAT = "geoseg sample design 1"
_COLUMNS = ("point_id", "stratum", "row", "col", "map_class", "inclusion_probability", "pixel_m2")


@dataclass(frozen=True, slots=True)
class Stratum:
    """Pixels that are sampled alike."""

    code: int
    name: str
    pixels: int
    area_m2: float
    """Of the ground, as the raster measures it."""
    points: int
    """Pixels drawn."""
    expected: float | None = None
    """Share of its pixels where the map was expected to be right; None: nobody said."""

    def __post_init__(self) -> None:
        if not 0 <= self.points <= self.pixels:
            raise ValueError(f"stratum {self.name!r} of {self.pixels} pixels cannot have {self.points} points.")


@dataclass(frozen=True)
class Drawn:
    """The sampled pixels, by point_id 1, 2, …, which tells nothing of their strata."""

    stratum: Ints
    """(point,) code of the stratum."""
    row: Ints
    """(point,) pixel row of the map."""
    col: Ints
    map_class: Ints
    """(point,) code that the map has there."""
    pixel_m2: Floats
    """(point,) the pixel's ground."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def point_id(self) -> Ints:
        """Numbers 1, 2, … of the points."""
        return np.arange(1, len(self) + 1)


@dataclass(frozen=True)
class SampleDesign:
    """A stratified random sample of a map's pixels."""

    map: Mapping[str, Any]
    """Fingerprint of the map: name, size, digest."""
    strata_raster: Mapping[str, Any] | None
    """Fingerprint of the raster that gave the strata; None: the map itself, whose classes they are."""
    grid: Grid
    strata: tuple[Stratum, ...]
    points: Drawn
    about: Mapping[str, Any]
    """Seed, allocation, minimum, expectations, version: for people."""

    def __post_init__(self) -> None:
        drawn = [(s.code, int((self.points.stratum == s.code).sum())) for s in self.strata]
        if drawn != [(s.code, s.points) for s in self.strata] or sum(n for _, n in drawn) != len(self.points):
            raise ValueError(f"points by stratum {drawn} are not those of the strata.")

    @property
    def stratum_index(self) -> Ints:
        """(point,) place of each point's stratum among `strata`."""
        place = {s.code: index for index, s in enumerate(self.strata)}
        return np.array([place[code] for code in self.points.stratum.tolist()], np.int64)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, the inverse of `from_json`; inclusion probabilities are written for other readers."""
        probability = np.array([s.points / s.pixels for s in self.strata])[self.stratum_index]
        points = self.points
        columns = (
            points.point_id,
            points.stratum,
            points.row,
            points.col,
            points.map_class,
            probability,
            points.pixel_m2,
        )
        transform = list(self.grid.transform)[:6]
        size = {"width": self.grid.width, "height": self.grid.height}
        return {
            "format": FORMAT,
            **self.about,
            "map": dict(self.map),
            "strata_raster": None if self.strata_raster is None else dict(self.strata_raster),
            "grid": {"crs": self.grid.crs.to_wkt(), "transform": transform, **size},
            "strata": [asdict(stratum) for stratum in self.strata],
            "points": {name: column.tolist() for name, column in zip(_COLUMNS, columns, strict=True)},
        }

    @classmethod
    def from_json(cls, document: Any, name: str) -> SampleDesign:
        """Read what `to_json` wrote.

        Args:
            document: JSON.
            name: of the file, for messages.

        Raises:
            InputError: it is no design, or an incomplete one.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InputError(f"{name} is no sample design of geoseg: it does not say {FORMAT!r}; give the right file.")
        try:
            grid, points = document["grid"], document["points"]
            place = Grid(CRS.from_wkt(grid["crs"]), Affine(*grid["transform"]), grid["width"], grid["height"])
            strata = tuple(Stratum(**row) for row in document["strata"])
            stratum, row, col, map_class = (np.array(points[name], np.int64) for name in _COLUMNS[1:5])
            drawn = Drawn(stratum, row, col, map_class, np.array(points["pixel_m2"], np.float64))
            known = {"format", "map", "strata_raster", "grid", "strata", "points"}
            about = {key: value for key, value in document.items() if key not in known}
            return cls(dict(document["map"]), document["strata_raster"], place, strata, drawn, about)
        except (KeyError, TypeError, ValueError, CRSError) as error:
            raise InputError(f"sample design {name} is damaged ({error}); draw the sample again.") from error


def draw_ranks(seed: int, code: int, population: int, points: int) -> Ints:
    """Ranks of the pixels to take from a stratum, ascending: a simple random sample without replacement.

    They depend on nothing but these numbers: not on the other strata, nor on how the raster is read.
    """
    generator = random.Random(f"{seed}:{code}")  # noqa: S311 (no secret; a text seeds it alike on every machine)
    return np.sort(np.array(generator.sample(range(population), points), np.int64))


def interpreting_order(seed: int, points: int) -> Ints:
    """A permutation of the points, so that their numbers tell nothing of strata and place."""
    order = list(range(points))
    random.Random(f"{seed}:order").shuffle(order)  # noqa: S311
    return np.array(order, np.int64)


def expectations(texts: Sequence[str], strata: ClassScheme, present: Ints) -> Floats | None:
    """Expected accuracies of strata, as `water=0.95,0.8` says them: a bare number is for all that are not named.

    Args:
        texts: NAME=SHARE or CODE=SHARE or SHARE, shares 0…1.
        strata: all strata.
        present: (stratum,) indices of those that are asked for.

    Returns:
        (stratum,) shares of those; None without texts.

    Raises:
        UsageError: a name is unknown, a share is none, or a stratum that is present is left without one.
    """
    if not texts:
        return None
    found: dict[int, float] = {}
    rest = np.nan
    for text in texts:
        name, equals, number = text.rpartition("=")
        if not is_number(number) or not 0 <= float(number) <= 1:
            raise UsageError(f"--expect {text!r} is no accuracy: write water=0.95, or 0.8 for all others.")
        if equals:
            found[class_index(name.strip(), strata, "--expect")] = float(number)
        else:
            rest = float(number)
    out = np.array([found.get(index, rest) for index in present.tolist()], np.float64)
    left = [strata.names[index] for index in present[np.isnan(out)].tolist()]
    if left:
        raise UsageError(f"--expect says nothing of {', '.join(left)}: name them, or add a number for all others.")
    return out


def class_index(text: str, scheme: ClassScheme, where: str) -> int:
    """Index of a class that is given by name or code.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    by_word = {str(code): index for index, code in enumerate(scheme.codes)}
    by_word |= {name: index for index, name in enumerate(scheme.names)}
    if text not in by_word:
        raise UsageError(f"{where} {text!r} is no class of the map{nearest(text, scheme.names)}.")
    return by_word[text]

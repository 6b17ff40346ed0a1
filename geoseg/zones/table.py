"""Zones, and the table of what lies in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import InputError
from geoseg.grid import Grid
from geoseg.ground import area_model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ZoneName = str | int | float
M2_PER_HA = 1e4
_SIDE = 64
"""Pixels of the raster that stands for the extent of polygons."""
_OWN_STEMS = ("zone", "observed", "unobserved")


@dataclass(frozen=True)
class Zones:
    """Named areas. Several features of one name are one zone."""

    names: tuple[ZoneName, ...]
    """Distinct, in the order of the file."""
    polygons: NDArray[np.object_]
    """(zone,) valid Polygon or MultiPolygon."""
    crs: CRS
    """CRS of all geometries, x (east or longitude) first."""
    features: NDArray[np.object_]
    """(feature,) geometries as they were given."""
    zone_of: Ints
    """(feature,) index of the feature's zone."""

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names) or len(self.names) != len(self.polygons):
            raise ValueError(f"{len(self.polygons)} zones have {len(set(self.names))} names.")
        if not len(self.polygons) or not shapely.is_valid(self.polygons).all():
            raise ValueError("zones are at least one, and valid polygons.")
        if len(self.features) != len(self.zone_of):
            raise ValueError(f"{len(self.features)} features belong to {len(self.zone_of)} zones.")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ZoneTable:
    """Ground area of every class in every zone."""

    zones: Zones
    scheme: ClassScheme
    class_m2: Floats
    """(zone, class) m² of pixels with a class, pixels on the zone's border by the part inside."""
    nodata_m2: Floats
    """(zone,) m² of the zone on rasters, but on pixels without a class."""
    outside_m2: Floats
    """(zone,) m² of the zone outside all rasters."""

    def __post_init__(self) -> None:
        shapes = self.class_m2.shape, self.nodata_m2.shape, self.outside_m2.shape
        n = len(self.zones)
        if shapes != ((n, len(self.scheme)), (n,), (n,)):
            raise ValueError(f"a table of {n} zones and {len(self.scheme)} classes cannot hold areas {shapes}.")

    @property
    def observed_m2(self) -> Floats:
        """(zone,) m² of pixels with a class."""
        return np.asarray(self.class_m2.sum(axis=1))

    @property
    def unobserved_m2(self) -> Floats:
        """(zone,) m² of the zone without a class: nodata, and outside all rasters."""
        return self.nodata_m2 + self.outside_m2

    @property
    def totals_m2(self) -> dict[str, float]:
        """Class name → m² in all zones together; ground in two zones counts twice."""
        return dict(zip(self.scheme.names, self.class_m2.sum(axis=0).tolist(), strict=True))

    def columns(self) -> dict[str, list[Any]]:
        """The table as files hold it: one row a zone, columns by name in their order.

        `zone`, `zone_ha`, `observed_ha`, `unobserved_ha`, then `NAME_ha` of every class (hectares of ground), then
        `NAME_pct` (percent of the observed area; None in a zone where nothing was observed). observed + unobserved is
        the zone; the classes add up to observed. A class whose column would take another's name, in upper or lower
        case, is called `NAME_CODE`.
        """
        observed, unobserved = self.observed_m2, self.unobserved_m2
        classes = dict(zip(_stems(self.scheme.classes), self.class_m2.T, strict=True))
        areas = {"zone": observed + unobserved, "observed": observed, "unobserved": unobserved, **classes}
        out: dict[str, list[Any]] = {"zone": list(self.zones.names)}
        out |= {f"{stem}_ha": (m2 / M2_PER_HA).tolist() for stem, m2 in areas.items()}
        for stem, m2 in classes.items():
            pairs = zip(m2.tolist(), observed.tolist(), strict=True)
            out[f"{stem}_pct"] = [100 * part / whole if whole else None for part, whole in pairs]
        return out


def _stems(classes: Iterable[LandClass]) -> list[str]:
    """Column names of classes, without their unit; databases do not tell upper from lower case."""
    taken = set(_OWN_STEMS)
    stems = []
    for c in classes:
        stem = c.name if c.name.casefold() not in taken else f"{c.name}_{c.code}"
        while stem.casefold() in taken:
            stem += "_"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def joined(schemes: Iterable[tuple[str, ClassScheme]]) -> ClassScheme:
    """One scheme for several rasters: classes of equal code and name are one, ordered by code.

    Args:
        schemes: where each comes from, for messages, and the scheme.

    Raises:
        InputError: a code has two names, or a name two codes.
    """
    by_code: dict[int, tuple[str, LandClass]] = {}
    by_name: dict[str, tuple[str, LandClass]] = {}
    for source, scheme in schemes:
        for c in scheme.classes:
            for known, other in (by_code.setdefault(c.code, (source, c)), by_name.setdefault(c.name, (source, c))):
                if (other.code, other.name) != (c.code, c.name):
                    raise InputError(
                        f"class {c.code} {c.name!r} of {source} is {other.code} {other.name!r} in {known}: "
                        f"give both one meaning with --legend."
                    )
    return ClassScheme(tuple(by_code[code][1] for code in sorted(by_code)))


def areas_m2(polygons: NDArray[np.object_], crs: CRS) -> Floats:
    """Ground area of polygons in their own CRS, planar or ground as for a raster of their extent.

    Args:
        polygons: (n,) valid Polygon, MultiPolygon or empty.
        crs: their CRS, x first.

    Raises:
        InputError: a vertex lies outside the CRS's domain.
    """
    parts, owner = shapely.get_parts(polygons, return_index=True)
    there = ~shapely.is_empty(parts)
    parts, owner = parts[there], owner[there]
    if not len(parts):
        return np.zeros(len(polygons))
    rings, part = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    left, bottom, right, top = shapely.total_bounds(parts)
    extent = Grid(crs, Affine((right - left) / _SIDE, 0, left, 0, (bottom - top) / _SIDE, top), _SIDE, _SIDE)
    areas = area_model(extent).areas(xy, np.searchsorted(ring, np.arange(len(rings) + 1)))
    if not np.isfinite(areas).all():
        raise InputError(f"a zone reaches beyond the domain of its own CRS {crs.name!r}: cut it there.")
    hole = np.diff(part, prepend=-1) == 0
    return np.bincount(owner[part], np.where(hole, -areas, areas), len(polygons)).astype(np.float64)

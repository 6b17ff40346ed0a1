"""Labels drawn by people: polygons and points with a class field, brought into the CRS of an image.

Nothing is mended in silence: what is missing, invalid or of no use is counted, for the label check to tell.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely.affinity import affine_transform

from geoseg.errors import InputError, InputMissingError, UsageError
from geoseg.grid import GEOD, Grid
from geoseg.io.ogr import OGR_ERRORS
from geoseg.io.vector_layers import check_field, one_layer

Geometries = NDArray[np.object_]
REVIEWED = "reviewed"
"""Field of corrected polygons of a model: where a file has it, only those that are marked count."""
_PIECES = 64
"""An edge is cut so that none is longer than this part of its shape: straight lines bend in another CRS."""
_TRUE = {"true", "t", "yes", "y", "1", "1.0"}


@dataclass(frozen=True)
class LabelShapes:
    """Labeled areas in the CRS of an image, in file order; points are the pixels or discs that they stand for."""

    path: Path
    shapes: Geometries
    """(shape,) valid 2-D Polygon or MultiPolygon; parts of one feature stay together."""
    values: tuple[int | str | None, ...]
    """(shape,) what the class field holds; None: NULL or blank."""
    invalid: tuple[str, ...] = ()
    """Why polygons were invalid, one each; what they enclose counts."""
    useless: tuple[tuple[str, int], ...] = ()
    """Why features are left out (no geometry, a line, not reviewed, …), and how many are."""
    facts: tuple[tuple[str, str], ...] = ()
    """Metadata of the layer, such as LICENSE."""

    def __post_init__(self) -> None:
        if len(self.shapes) != len(self.values):
            raise ValueError(f"{len(self.shapes)} shapes have {len(self.values)} values.")

    def corners(self, grid: Grid) -> NDArray[np.float64]:
        """(4 · shape, 2) columns and rows of the corners of the shapes' bounds on the image's grid."""
        bounds = shapely.bounds(self.shapes)
        xy = np.concatenate([bounds[:, pair] for pair in ([0, 1], [0, 3], [2, 1], [2, 3])])
        return np.column_stack(~grid.transform @ tuple(xy.T))


def read_label_shapes(
    path: Path, field: str, grid: Grid, *, layer: str | None = None, radius_m: float = 0.0
) -> LabelShapes:
    """Read polygons and points with their classes.

    Args:
        path: any file that OGR reads, or GeoParquet.
        field: attribute that names the class: text or whole numbers.
        grid: the image's.
        layer: layer to read; None: the only one with geometry.
        radius_m: ground metres around points; 0: the pixel that holds the point.

    Raises:
        InputMissingError: there is no such file.
        UsageError: no such layer or field, or several layers and none named.
        InputError: it cannot be read, has no CRS, or no way leads from its CRS to the image's.
    """
    if not path.exists():
        raise InputMissingError(f"labels {path} do not exist.")
    crs, found, columns, facts = _read(path, field, layer)
    if crs is None:
        raise InputError(f"labels {path} have no CRS: set it first, for instance with `ogr2ogr -a_srs`.")
    values = [_value(value) for value in columns[field]]
    left_out: Counter[str] = Counter()
    reviewed = columns.get(REVIEWED)
    shapes: list[Any] = []
    kept: list[int | str | None] = []
    invalid: list[str] = []
    moved = _carried(path, found, crs, grid.crs)
    for number, (geometry, there) in enumerate(zip(found, moved, strict=True)):
        why = _useless(geometry, there)
        if why is None and reviewed is not None and str(reviewed[number]).strip().lower() not in _TRUE:
            why = "not reviewed"
        if why is not None:
            left_out[why] += 1
            continue
        if not shapely.is_valid(geometry):
            invalid.append(f"feature {number + 1}: {shapely.is_valid_reason(geometry)}")
        for area in _areas(there, grid, radius_m):
            shapes.append(area)
            kept.append(values[number])
    areas = np.empty(len(shapes), object)
    areas[:] = shapes
    return LabelShapes(path, areas, tuple(kept), tuple(invalid), tuple(left_out.items()), facts)


def _read(
    path: Path, field: str, layer: str | None
) -> tuple[CRS | None, Geometries, dict[str, Any], tuple[tuple[str, str], ...]]:
    """CRS, geometries (None: missing or unreadable), the wanted columns, the layer's metadata."""
    try:
        if path.suffix.lower() == ".parquet":
            table = geopandas.read_parquet(path)
            check_field(path, field, [name for name in table.columns if name != table.geometry.name], "field")
            columns = {name: table[name].to_list() for name in (field, REVIEWED) if name in table}
            return table.crs and CRS(table.crs), np.asarray(table.geometry.array), columns, ()
        layer = one_layer(path, layer, "layer")
        about = pyogrio.read_info(path, layer=layer)
        fields = [str(name) for name in about["fields"]]
        check_field(path, field, fields, "field")
        wanted = [name for name in (field, REVIEWED) if name in fields]
        meta, _, wkb, data = pyogrio.raw.read(path, layer=layer, columns=wanted)
    except UsageError:
        raise
    except (*OGR_ERRORS, OSError, ValueError) as error:
        raise InputError(f"labels {path} cannot be read: {error}") from error
    columns = dict(zip(map(str, meta["fields"]), data, strict=True))
    facts = tuple((str(k), str(v)) for k, v in (about.get("layer_metadata") or {}).items())
    geometries: Geometries = shapely.from_wkb(wkb, on_invalid="ignore")
    return meta["crs"] and CRS(meta["crs"]), geometries, columns, facts


def vector_fields(path: Path, layer: str | None = None) -> list[str] | None:
    """Names of a vector layer's attributes; None when the file is no vector file."""
    try:
        if path.suffix.lower() == ".parquet":
            return [str(name) for name in geopandas.read_parquet(path).columns]
        return [str(name) for name in pyogrio.read_info(path, layer=one_layer(path, layer, "layer"))["fields"]]
    except (*OGR_ERRORS, OSError, ValueError):
        return None


def _value(value: Any) -> int | str | None:
    """A class as the recipe writes it: whole numbers as such, other things as text; NULL and blank as None."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return None
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, int | np.integer) or (isinstance(value, float | np.floating) and float(value).is_integer()):
        return int(value)
    return str(value) if str(value).strip() else None


def _carried(path: Path, shapes: Geometries, source: CRS, target: CRS) -> Geometries:
    """Shapes in another CRS, 2-D; vertices beyond its domain are infinite."""
    flat: Geometries = shapely.force_2d(shapes)
    if source == target:
        return flat
    try:
        way = Transformer.from_crs(source, target, always_xy=True)
    except ProjError as error:
        raise InputError(
            f"labels {path} are in {source.name!r}, from which no way leads to {target.name!r}: give them in that CRS."
        ) from error
    bounds = shapely.bounds(flat)
    sides = np.fmax(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
    dense = shapely.segmentize(flat, np.where(sides > 0, sides / _PIECES, 1.0))
    moved: Geometries = shapely.transform(dense, lambda xy: np.column_stack(way.transform(*xy.T)))
    return moved


def _useless(geometry: Any, there: Any) -> str | None:
    """Why a feature labels nothing; None: it may."""
    if geometry is None or geometry.is_empty:
        return "without geometry"
    if shapely.get_dimensions(geometry) == 1:
        return "lines"
    if not np.isfinite(shapely.get_coordinates(there)).all():
        return "beyond the image's CRS"
    return None


def _areas(shape: Any, grid: Grid, radius_m: float) -> list[Any]:
    """The areas that a feature labels: its polygonal parts as one, each of its points as one."""
    parts = shapely.get_parts(shape)
    points = [part for part in parts if part.geom_type == "Point"]
    polygons = _polygonal(shape)
    return [_around(point, grid, radius_m) for point in points] + ([] if polygons.is_empty else [polygons])


def _polygonal(shape: Any) -> Any:
    if not shapely.is_valid(shape):
        shape = shapely.make_valid(shape)
    parts = shapely.get_parts(shape)
    while (shapely.get_num_geometries(parts) > 1).any():
        parts = shapely.get_parts(parts)
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2])


def _around(point: Any, grid: Grid, radius_m: float) -> Any:
    """The pixel that holds a point, and the disc around it on the ground."""
    col, row = ~grid.transform @ (point.x, point.y)
    pixel = shapely.box(math.floor(col), math.floor(row), math.floor(col) + 1, math.floor(row) + 1)
    if radius_m:
        width_m, height_m = pixel_sides_m(grid)
        disc = shapely.Point(0, 0).buffer(radius_m)
        pixel = pixel.union(affine_transform(disc, [1 / width_m, 0, 0, 1 / height_m, col, row]))
    t = grid.transform
    return affine_transform(pixel, [t.a, t.b, t.d, t.e, t.c, t.f])


def pixel_sides_m(grid: Grid) -> tuple[float, float]:
    """Ground metres along a row and along a column of the pixel in the raster's middle."""
    if not grid.on_earth:
        return grid.gsd_m, grid.gsd_m
    col, row = grid.width / 2, grid.height / 2
    xs, ys = zip(*(grid.transform @ at for at in ((col, row), (col + 1, row), (col, row + 1))), strict=True)
    lons, lats = grid.to_lonlat.transform(xs, ys)
    _, _, (across, down) = GEOD.inv([lons[0]] * 2, [lats[0]] * 2, lons[1:], lats[1:])
    return float(across), float(down)

"""Reference polygons: what is known of the ground, from any vector file, burned onto a map's pixels.

A pixel takes the class of the polygon that its center lies in (GDAL's rule of centers, on a lattice of blocks fixed to
the grid as in `geoseg.io.burn`). Where polygons of different classes overlap nobody knows which is true.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import geometry_mask

from geoseg.accuracy.confusion import CONTRADICTORY, NONE, label_dtype
from geoseg.accuracy.matching import Reference
from geoseg.classes import MAX_CODE, ClassScheme, LandClass, generated_color, placeholder
from geoseg.errors import GeosegWarning, InputError, InputMissingError, UsageError
from geoseg.grid import Grid, Window
from geoseg.io.ogr import OGR_ERRORS
from geoseg.zones.carry import surroundings, transformer

VECTORS = (".gpkg", ".shp", ".fgb", ".geojson", ".json", ".parquet", ".kml", ".gml", ".csv")
"""Suffixes of references that are no rasters."""
_POLYGONS, _POINTS = {"Polygon", "MultiPolygon"}, {"Point", "MultiPoint"}
_BLOCK = 512
_PIECES = 100
"""An edge is cut so that none is longer than this part of its polygon: straight lines bend in another CRS."""


@dataclass(frozen=True)
class ReferencePolygons:
    """Polygons with a class."""

    polygons: NDArray[np.object_]
    """(polygon,) valid (multi)polygons in the file's CRS."""
    crs: CRS
    code_of: NDArray[np.int64]
    """(polygon,) code of the reference's own classes."""
    classes: Reference


def holds_points(path: Path, layer: str | None = None) -> bool:
    """True for a vector file of points, and for a table.

    Raises:
        InputMissingError: there is no such file.
        UsageError: several layers and none named, or no such layer.
        InputError: the file cannot be read.
    """
    _check_there(path)
    if path.suffix.lower() == ".csv":
        return True
    return bool(_kinds(_table(path, layer, []).geometry) & _POINTS)


def read_reference_polygons(path: Path, field_name: str | None, layer: str | None = None) -> ReferencePolygons:
    """Read polygons and the classes that a field gives them.

    Whole numbers are codes, anything else is a name. Polygons without a class, features that are no polygons and
    polygons that cross themselves (repaired) are told by a `GeosegWarning` that counts them.

    Args:
        path: any file that OGR reads, or GeoParquet.
        field_name: attribute with the class.
        layer: layer to read; None: the only one with geometry.

    Raises:
        InputMissingError: there is no such file.
        UsageError: no field given, no such layer or field, or several layers and none named.
        InputError: the file cannot be read, has no CRS, or no polygon with a class.
    """
    _check_there(path)
    table = _table(path, layer, None)
    fields = [str(name) for name in table.columns if name != table.geometry.name]
    if field_name not in fields:
        asked = "--field names the class of reference polygons" if field_name is None else f"--field {field_name!r}"
        raise UsageError(f"{asked}: {path} has {', '.join(fields) or 'no attributes'}.")
    if table.crs is None:
        raise InputError(f"reference {path} has no CRS: set it first, for instance with `ogr2ogr -a_srs`.")
    shapes = np.asarray(table.geometry.array)
    usable = np.isin([getattr(g, "geom_type", "") for g in shapes], list(_POLYGONS)) & ~shapely.is_empty(shapes)
    named = usable & ~table[field_name].isna().to_numpy()
    _tell(path, int((~usable).sum()), f"of {len(shapes)} features are no polygons")
    _tell(path, int((usable & ~named).sum()), f"polygons have no {field_name!r} and do not count")
    if not named.any():
        raise InputError(f"reference {path} has no polygon with a {field_name!r} among its {len(shapes)} features.")
    codes, classes = _classes(table[field_name][named].tolist(), path, field_name)
    return ReferencePolygons(_valid(path, shapes[named]), CRS(table.crs), codes, classes)


def _classes(values: list[Any], path: Path, field_name: str) -> tuple[NDArray[np.int64], Reference]:
    """Code of each value, and the classes."""
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numeric:
        wrong = [value for value in values if value != int(value) or not 0 <= value <= MAX_CODE]
        if wrong:
            raise InputError(f"reference {path}: {field_name!r} holds {wrong[0]:g}; a class code is 0…{MAX_CODE}.")
        codes = [int(value) for value in values]
        names = {code: placeholder(code) for code in codes}
    else:
        numbers = {text: number for number, text in enumerate(dict.fromkeys(map(str, values)))}
        codes, names = [numbers[str(value)] for value in values], {n: text for text, n in numbers.items()}
        empty = next((text for text in numbers if not text.strip()), None)
        if empty is not None:
            raise InputError(f"reference {path}: {field_name!r} holds {empty!r}, which names no class.")
    scheme = ClassScheme(tuple(LandClass(c, name, generated_color(c)) for c, name in sorted(names.items())))
    return np.array(codes, np.int64), Reference(scheme, frozenset(codes), codes_mean=numeric)


@dataclass
class BurnedClasses:
    """Reference polygons as labels, block by block; for one thread."""

    polygons: NDArray[np.object_]
    """(polygon,) in the grid's CRS."""
    label_of: NDArray[np.int64]
    """(polygon,) its class, 0 … n - 1."""
    grid: Grid
    n: int
    """Number of classes."""
    _blocks: OrderedDict[Window, NDArray[Any]] = field(default_factory=OrderedDict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._tree = shapely.STRtree(self.polygons)

    @property
    def frame(self) -> Window | None:
        """The pixels around all polygons, or None when they lie outside the grid."""
        return frame_of(self.polygons, self.grid)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what `read` gives."""
        return label_dtype(self.n)

    def near(self, left: float, bottom: float, right: float, top: float) -> NDArray[np.int64]:
        """Places of the polygons whose boxes meet a box."""
        found: NDArray[np.int64] = self._tree.query(shapely.box(left, bottom, right, top))
        return found

    def read(self, window: Window) -> NDArray[Any]:
        """Labels (row, col) of a window: n without a polygon, n + 1 where two classes overlap."""
        out = np.empty(window.shape, self.dtype)
        for row in range(window.row_off // _BLOCK * _BLOCK, window.row_end, _BLOCK):
            for col in range(window.col_off // _BLOCK * _BLOCK, window.col_end, _BLOCK):
                block = Window(col, row, min(_BLOCK, self.grid.width - col), min(_BLOCK, self.grid.height - row))
                common = block.intersection(window)
                if common is not None:
                    out[common.relative_to(window).slices] = self._block(block)[common.relative_to(block).slices]
        return out

    def _block(self, block: Window) -> NDArray[Any]:
        """Kept while the windows of a row of blocks may ask for it again."""
        if block in self._blocks:
            self._blocks.move_to_end(block)
            return self._blocks[block]
        labels = self._burn(block)
        self._blocks[block] = labels
        while len(self._blocks) > 2 * (self.grid.width // _BLOCK + 2):
            self._blocks.popitem(last=False)
        return labels

    def _burn(self, block: Window) -> NDArray[Any]:
        labels = np.full(block.shape, self.n + NONE, label_dtype(self.n))
        xs, ys = zip(*self.grid.corners(block), strict=True)
        near = self.near(min(xs), min(ys), max(xs), max(ys))
        transform = self.grid.crop(block).transform
        for label in np.unique(self.label_of[near]):
            shapes = list(self.polygons[near[self.label_of[near] == label]])
            inside = geometry_mask(shapes, block.shape, transform, invert=True)
            labels[inside] = np.where(labels[inside] == self.n + NONE, label, self.n + CONTRADICTORY)
        return labels


def frame_of(polygons: Any, grid: Grid) -> Window | None:
    """The pixels of a grid around polygons in its CRS, and one more on each side; None when they lie outside."""
    corners = shapely.get_coordinates(polygons)
    if not len(corners):
        return None
    cols, rows = ~grid.transform @ tuple(corners.T)
    edges = np.array([cols.min() - 1, rows.min() - 1, cols.max() + 2, rows.max() + 2])
    beyond = (grid.width + 2, grid.height + 2) * 2
    left, top, right, bottom = np.clip(np.floor(edges), -2, beyond).astype(np.int64).tolist()
    if left >= right or top >= bottom:
        return None
    return Window.from_edges(left=left, top=top, right=right, bottom=bottom).intersection(grid.window)


def frame_of_wkb(polygons_wkb: bytes, grid: Grid) -> Window | None:
    """The same, of polygons as WKB."""
    return frame_of(shapely.from_wkb(polygons_wkb), grid)


def on_grid(polygons: NDArray[np.object_], crs: CRS, grid: Grid) -> NDArray[np.object_]:
    """Polygons in the CRS of a grid, as far as they are near it; others are empty.

    Args:
        polygons: (polygon,) valid.
        crs: theirs.
        grid: where they go.

    Raises:
        InputError: no way leads to the grid's CRS, or a polygon leaves its domain.
    """
    if crs.equals(grid.crs, ignore_axis_order=True):
        return polygons
    region = surroundings(grid.bounds, grid.crs, crs)
    near = polygons if region is None else shapely.intersection(polygons, region)
    west, south, east, north = shapely.bounds(near).T
    extent = np.where(shapely.is_empty(near), 1.0, np.maximum(east - west, north - south))
    way = transformer(crs, grid.crs)
    moved = shapely.transform(
        shapely.segmentize(near, extent / _PIECES), lambda xy: np.column_stack(way.transform(*xy.T))
    )
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise InputError(f"reference polygons leave the domain of {grid.crs.name!r}: cut them to the map's region.")
    return _polygonal(moved)


def _check_there(path: Path) -> None:
    if not path.exists():
        raise InputMissingError(f"reference {path} does not exist.")


def _table(path: Path, layer: str | None, columns: list[str] | None) -> Any:
    """A layer as a table; columns None: all."""
    with _read_errors(path):
        if path.suffix.lower() == ".parquet":
            return geopandas.read_parquet(path)
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if layer not in layers and (layer is not None or len(layers) != 1):
        asked = "name one with --layer" if layer is None else f"--layer {layer!r} is none of them"
        raise UsageError(f"reference {path} has the layers {', '.join(layers) or 'none'}: {asked}.")
    with _read_errors(path):
        return pyogrio.read_dataframe(path, layer=layer or layers[0], columns=columns)


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (*OGR_ERRORS, OSError, ValueError) as error:
        raise InputError(f"reference {path} cannot be read: {error}") from error


def _kinds(geometry: Any) -> set[str]:
    return {str(kind) for kind in geometry.geom_type.unique()}


def _valid(path: Path, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    flat = shapely.force_2d(shapes)
    broken = ~shapely.is_valid(flat)
    _tell(path, int(broken.sum()), "polygons cross themselves and were repaired")
    flat[broken] = shapely.make_valid(flat[broken])
    return _polygonal(flat)


def _polygonal(shapes: NDArray[Any]) -> NDArray[np.object_]:
    """The areas of each geometry: repairs and cuts leave lines behind, which would be burned, too."""
    out = np.array(shapes, object)
    mixed = ~np.isin(shapely.get_type_id(out), [3, 6])
    for place in np.flatnonzero(mixed):
        parts = shapely.get_parts(out[place])
        out[place] = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    return out


def _tell(path: Path, count: int, text: str) -> None:
    if count:
        warnings.warn(f"reference {path}: {count} {text}.", GeosegWarning, stacklevel=3)

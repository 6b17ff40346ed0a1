"""Sample points to files for the people who interpret them, and their answers back."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.raw import write_arrow
from pyproj import CRS, Transformer

from geoseg.errors import InputError, InputMissingError, OutputError, UsageError
from geoseg.io import posix
from geoseg.io.ogr import OGR_ERRORS
from geoseg.io.vector import count_features
from geoseg.spelling import nearest

Floats = NDArray[np.float64]

LAYER = "points"
ID, FIELD, SURE, NOTE = "point_id", "ref_class", "sure", "note"
_IDS = (ID, "pl_plotid", "plotid")
"""Columns that hold our numbers: ours, and what Collect Earth Online makes of its PLOTID."""
_LON, _LAT = ("lon", "center_lon", "longitude"), ("lat", "center_lat", "latitude")
_NO, _YES = {"false", "f", "no", "n", "0"}, {"true", "t", "yes", "y", "1"}


@dataclass(frozen=True)
class Answers:
    """Interpreted points of a file, in its order."""

    ids: tuple[int | None, ...]
    """Their numbers; None where the file has no such column."""
    classes: tuple[str, ...]
    """What the interpreter says, as written; empty: nothing."""
    sure: tuple[bool, ...]
    """False: said to be unsure; nothing said is sure."""
    lonlat: Floats
    """(point, 2) WGS 84 degrees; NaN where the file does not tell."""


def write_points(path: Path, xy: Floats, lonlat: Floats, crs: CRS) -> None:
    """Write points 1, 2, … as a GeoPackage with empty `ref_class`, `sure`, `note` for the interpreter.

    Args:
        path: file to create.
        xy: (point, 2) pixel centers in the map's CRS.
        lonlat: (point, 2) the same in WGS 84 degrees.
        crs: the map's.

    Raises:
        OutputExistsError: the file cannot be created.
        OutputError: writing failed.
    """
    n = len(xy)
    table = pa.table(
        {
            "geometry": pa.array(shapely.to_wkb(shapely.points(xy)), pa.binary()),
            ID: pa.array(range(1, n + 1), pa.int32()),
            "lon": pa.array(lonlat[:, 0]),
            "lat": pa.array(lonlat[:, 1]),
            FIELD: pa.nulls(n, pa.string()),
            SURE: pa.nulls(n, pa.bool_()),
            NOTE: pa.nulls(n, pa.string()),
        }
    )
    write_features(table, path, layer=LAYER, geometry_type="Point", crs=crs)


def write_features(table: pa.Table, path: Path, *, layer: str, geometry_type: str, crs: CRS) -> None:
    """Write features as a GeoPackage of one layer, and count what can be read back.

    Args:
        table: `geometry` as WKB, and attributes.
        path: file to create.
        layer: its name.
        geometry_type: as OGR calls it.
        crs: of the coordinates.

    Raises:
        OutputExistsError: the file cannot be created.
        OutputError: writing failed.
    """
    with posix.disk_errors("writing", path):
        try:
            write_arrow(
                table,
                path,
                driver="GPKG",
                layer=layer,
                geometry_name="geometry",
                geometry_type=geometry_type,
                crs=crs.to_wkt(),
                # GDAL writes 1.4 by default, which validators and readers of some years ago do not know.
                dataset_options={"VERSION": "1.3"},
            )
        except OGR_ERRORS as error:
            raise OutputError(f"writing {path} failed: {error}; check free space and permissions.") from error
    found = count_features(path)
    if found != len(table):
        raise OutputError(f"{path} holds {found} of {len(table)} features: is the disk full?")


def write_ceo(path: Path, lonlat: Floats) -> None:
    """Write points 1, 2, … as Collect Earth Online takes plot centers: LON, LAT, PLOTID, in EPSG:4326.

    Format: https://collect-earth-online-doc.readthedocs.io, plot design "CSV File".

    Raises:
        OutputExistsError: the file cannot be created.
        OutputError: writing failed.
    """
    with posix.disk_errors("writing", path), path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("LON", "LAT", "PLOTID"))
        writer.writerows((f"{lon:.9f}", f"{lat:.9f}", n) for n, (lon, lat) in enumerate(lonlat.tolist(), start=1))


def interpreted(path: Path) -> int:
    """Number of points in a file of ours that somebody has already interpreted; 0 for any other file."""
    if not path.is_file():
        return 0
    try:
        return sum(bool(text) for text in read_answers(path, FIELD).classes)
    except (InputError, UsageError):  # somebody's own file, which the publication refuses or replaces as such
        return 0


def read_answers(path: Path, field: str) -> Answers:
    """Read interpreted points.

    Args:
        path: a vector file of points that OGR reads, GeoParquet, or a table (.csv; comma, semicolon or tab).
        field: column with the class, by name or code; upper and lower case do not matter.

    Raises:
        InputMissingError: there is no such file.
        UsageError: it has no such field.
        InputError: it cannot be read, or holds numbers or answers that are none.
    """
    if not path.is_file():
        raise InputMissingError(f"points {path} do not exist.")
    columns, xy = _read_csv(path) if path.suffix.lower() == ".csv" else _read_vector(path)
    chosen = _column(columns, (field,))
    if chosen is None:
        raise UsageError(f"--field {field!r} is not in {path}{nearest(field, list(columns))}.")
    ids, sure = _column(columns, _IDS), _column(columns, (SURE,))
    n = len(columns[chosen])
    return Answers(
        tuple(_whole(path, text) for text in columns[ids]) if ids else (None,) * n,
        tuple(columns[chosen]),
        tuple(_yes(path, text) for text in columns[sure]) if sure else (True,) * n,
        _lonlat(path, columns) if xy is None else xy,
    )


def _read_csv(path: Path) -> tuple[dict[str, list[str]], None]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"points {path} cannot be read ({error}); save the table as CSV in UTF-8.") from error
    head = lines[0] if lines else ""
    rows = list(csv.reader(lines, delimiter=max(",;\t", key=head.count)))
    if len(rows) < 2:
        raise InputError(f"points {path} hold no rows.")
    names = [name.strip() for name in rows[0]]
    full = [row for row in rows[1:] if any(cell.strip() for cell in row)]
    return {name: [row[i].strip() if i < len(row) else "" for row in full] for i, name in enumerate(names)}, None


def _read_vector(path: Path) -> tuple[dict[str, list[str]], Floats]:
    try:
        if path.suffix.lower() == ".parquet":
            table = geopandas.read_parquet(path)
        else:
            names = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
            if not names:
                raise InputError(f"points {path} have no layer with geometry.")
            table = pyogrio.read_dataframe(path, layer=LAYER if LAYER in names else names[0])
    except (*OGR_ERRORS, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"points {path} cannot be read: {error}") from error
    if table.crs is None or set(table.geometry.geom_type.dropna()) - {"Point"}:
        kinds = ", ".join(sorted(set(table.geometry.geom_type.dropna())))
        raise InputError(f"points {path} are {kinds or 'nothing'} in CRS {table.crs}; give points with a CRS.")
    columns = {str(name): _texts(table[name]) for name in table.columns if name != table.geometry.name}
    xy = np.column_stack((table.geometry.x, table.geometry.y))
    return columns, np.column_stack(Transformer.from_crs(table.crs, 4326, always_xy=True).transform(*xy.T))


def _texts(values: Any) -> list[str]:
    """A column as texts; whole numbers that NULLs made floats are whole again."""
    plain = ("" if missing else value for value, missing in zip(values, values.isna(), strict=True))
    return [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v).strip() for v in plain]


def _column(columns: Mapping[str, Any], wanted: Iterable[str]) -> str | None:
    """The first of some columns that is there, else without regard to case."""
    folded = {name.casefold(): name for name in reversed(list(columns))}
    return next(
        (name if name in columns else folded[name.casefold()] for name in wanted if name.casefold() in folded), None
    )


def _whole(path: Path, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"points {path}: {text!r} is no number of a point; keep {ID} as it was written.") from None


def _yes(path: Path, text: str) -> bool:
    if text.casefold() in _NO:
        return False
    if text and text.casefold() not in _YES:
        raise InputError(f"points {path}: {SURE} is {text!r}; write true, false, or nothing.")
    return True


def _lonlat(path: Path, columns: Mapping[str, Sequence[str]]) -> Floats:
    lon, lat = _column(columns, _LON), _column(columns, _LAT)
    if lon is None or lat is None:
        return np.full((len(next(iter(columns.values()))), 2), np.nan)
    try:
        return np.column_stack([np.array(columns[name], np.float64) for name in (lon, lat)])
    except ValueError as error:
        raise InputError(f"points {path}: {lon} and {lat} are not degrees ({error}).") from error

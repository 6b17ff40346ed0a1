"""Zone tables to files: .csv, .xlsx, .gpkg, one row a zone (a feature, in .gpkg)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import geopandas
import pyogrio

from geoseg.errors import InputError, OutputError, UsageError
from geoseg.io import posix
from geoseg.io.ogr import OGR_ERRORS
from geoseg.io.vector import check_path, count_features
from geoseg.zones.table import ZoneTable

SUFFIXES = (".csv", ".xlsx", ".gpkg")
LAYER = "zones"
MAX_XLSX_ROWS = 1_048_576
MAX_XLSX_COLUMNS = 16_384


def table_suffix(path: Path) -> str:
    """The output's suffix in lower case.

    Raises:
        UsageError: the suffix is none that geoseg writes, or the path has a character that GDAL takes apart.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"output {path.name!r} must end in {', '.join(SUFFIXES)}.")
    check_path(path)
    return suffix


def write_zone_table(table: ZoneTable, path: Path) -> None:
    """Write a zone table in the format of the suffix; the columns are those of `ZoneTable.columns`.

    .csv   UTF-8 without a byte order mark, comma, point, all digits (numbers read back equal)
    .xlsx  one sheet; numbers are numbers (16 digits), names are text even when they look like formulas
    .gpkg  layer `zones`: the features as given, in their CRS; several features of one zone each carry its row;
           polygons among multipolygons become multipolygons of one part

    Args:
        table: what to write.
        path: file to create.

    Raises:
        UsageError: the suffix is none that geoseg writes.
        InputError: the table does not fit the format.
        OutputExistsError: the file cannot be created.
        OutputError: writing failed.
    """
    path = Path(path)
    write = {".csv": _write_csv, ".xlsx": _write_xlsx, ".gpkg": _write_gpkg}[table_suffix(path)]
    with posix.disk_errors("table", path):
        write(table, path)


def _rows(columns: dict[str, list[Any]]) -> Iterator[tuple[Any, ...]]:
    return chain([tuple(columns)], zip(*columns.values(), strict=True))


def _write_csv(table: ZoneTable, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(_rows(table.columns()))


def _write_xlsx(table: ZoneTable, path: Path) -> None:
    import openpyxl  # type: ignore[import-untyped]
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE  # type: ignore[import-untyped]

    columns = table.columns()
    if len(table.zones) >= MAX_XLSX_ROWS or len(columns) > MAX_XLSX_COLUMNS:
        raise InputError(
            f"a sheet holds {MAX_XLSX_ROWS - 1} zones and {MAX_XLSX_COLUMNS} columns, the table has "
            f"{len(table.zones)} and {len(columns)}: write .csv."
        )
    rows = list(_rows(columns))
    odd = next((v for row in rows for v in row if isinstance(v, str) and ILLEGAL_CHARACTERS_RE.search(v)), None)
    if odd is not None:
        raise InputError(f"{odd!r} has a control character, which no sheet can hold: write .csv.")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(LAYER)
    sheet.freeze_panes = "B2"
    for row in rows:
        cells = [openpyxl.cell.WriteOnlyCell(sheet, value) for value in row]
        for cell in cells:
            if isinstance(cell.value, str):
                cell.data_type = "s"  # or "=A1" would become a formula and "#N/A" an error
        sheet.append(cells)
    book.save(path)


def _write_gpkg(table: ZoneTable, path: Path) -> None:
    zones = table.zones
    columns = {name: [values[zone] for zone in zones.zone_of] for name, values in table.columns().items()}
    if len({type(name) for name in zones.names}) > 1:
        columns["zone"] = [str(name) for name in columns["zone"]]
    frame = geopandas.GeoDataFrame(columns, geometry=zones.features, crs=zones.crs)
    numeric = [name for name in columns if name != "zone"]
    frame[numeric] = frame[numeric].astype("float64")
    try:
        # GDAL writes version 1.4 by default, which validators and readers of some years ago do not know.
        pyogrio.write_dataframe(frame, path, layer=LAYER, driver="GPKG", dataset_options={"VERSION": "1.3"})
    except OGR_ERRORS as error:
        raise OutputError(f"writing {path} failed: {error}; check free space and permissions.") from error
    found = count_features(path)
    if found != len(frame):
        raise OutputError(f"{path} holds {found} of {len(frame)} zones: is the disk full?")

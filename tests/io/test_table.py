from __future__ import annotations

import csv
from pathlib import Path

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pyogrio
import pytest
import shapely
from pyproj import CRS
from zone_kit import THREE, square

from geoseg.errors import InputError, OutputError, UsageError
from geoseg.io import table as table_module
from geoseg.io.table import write_zone_table
from geoseg.zones.table import Zones, ZoneTable

A, B, C = square(0, 0, 2, 2), square(2, 0, 4, 2), shapely.MultiPolygon([square(5, 5, 6, 6), square(7, 7, 8, 8)])
THIRD = 10_000 / 3


def table(*names: object) -> ZoneTable:
    """Two zones, the second of two features; nothing was observed there."""
    features = np.array([A, B, C], object)
    polygons = np.array([A, B.union(C)], object)
    zones = Zones(tuple(names) or ("=A1", "Лес, 森"), polygons, CRS(32618), features, np.array([0, 1, 1]))
    return ZoneTable(zones, THREE, np.array([[THIRD, 2 * THIRD, 0], [0, 0, 0]]), np.array([0.1, 0]), np.array([0, 7e4]))


def test_csv_reads_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_zone_table(table(), path)
    assert path.read_bytes().startswith(b"zone,zone_ha,observed_ha,unobserved_ha,water_ha,")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name, values in table().columns().items():
        expected = ["" if value is None else value if isinstance(value, str) else repr(value) for value in values]
        assert [row[name] for row in rows] == expected
    frame = pd.read_csv(path)
    assert frame["water_ha"].tolist() == pytest.approx([THIRD / 1e4, 0.0])
    assert frame["water_pct"].isna().tolist() == [False, True]


def test_xlsx_holds_numbers_and_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    write_zone_table(table(), path)
    sheet = openpyxl.load_workbook(path)["zones"]
    head, *rows = ([cell.value for cell in row] for row in sheet.iter_rows())
    columns = table().columns()
    assert head == list(columns)
    for row, expected in zip(rows, zip(*columns.values(), strict=True), strict=True):
        for value, other in zip(row, expected, strict=True):
            assert value == (pytest.approx(other, rel=1e-15, abs=0) if isinstance(other, float) else other)
    assert sheet["A2"].data_type == "s"  # "=A1" is a name, no formula
    assert sheet["B2"].data_type == "n"
    assert sheet.freeze_panes == "B2"


def test_gpkg_holds_the_features_as_given(tmp_path: Path) -> None:
    path = tmp_path / "t.gpkg"
    write_zone_table(table(), path)
    assert pyogrio.list_layers(path)[:, 0].tolist() == ["zones"]
    frame = gpd.read_file(path)
    assert frame.crs == CRS(32618)
    assert [a.equals(b) for a, b in zip(frame.geometry, (A, B, C), strict=True)] == [True] * 3
    assert frame["zone"].tolist() == ["=A1", "Лес, 森", "Лес, 森"]
    assert frame["water_ha"].tolist() == [THIRD / 1e4, 0, 0]
    assert frame["unobserved_ha"].tolist() == [1e-5, 7, 7]
    assert frame["trees_pct"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".gpkg"])
@pytest.mark.parametrize(("names", "kind"), [((12, 7), "iu"), ((1.5, 2.0), "f"), (("7", 8), "OTU")])
def test_numbers_that_name_zones_stay_numbers(suffix: str, names: tuple, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    write_zone_table(table(*names), path)
    if suffix == ".xlsx":
        assert [row[0].value for row in openpyxl.load_workbook(path).active.iter_rows(min_row=2)] == list(names)
        return
    frame = pd.read_csv(path) if suffix == ".csv" else gpd.read_file(path)
    if suffix == ".gpkg":
        assert frame["zone"].dtype.kind in kind
        names = names if kind != "OTU" else tuple(map(str, names))
    assert frame["zone"].drop_duplicates().astype(str).tolist() == [str(name) for name in names]


def test_refusals(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UsageError, match=r"'t\.ods' must end in \.csv, \.xlsx, \.gpkg"):
        write_zone_table(table(), tmp_path / "t.ods")
    with pytest.raises(InputError, match=r"control character.*write \.csv"):
        write_zone_table(table("a\x07", "b"), tmp_path / "t.xlsx")
    with pytest.raises(OutputError, match=r"table .*t\.csv: No such file"):
        write_zone_table(table(), tmp_path / "none" / "t.csv")
    monkeypatch.setattr(table_module, "MAX_XLSX_ROWS", 2)
    with pytest.raises(InputError, match=r"a sheet holds 1 zones .* the table has 2 .* write \.csv"):
        write_zone_table(table(), tmp_path / "u.xlsx")

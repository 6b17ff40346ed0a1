# ruff: noqa: S314 (the XML is our own)
from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from affine import Affine
from polygon_kit import table_of, write_polygons
from pyproj import CRS

from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import InputError, OutputError, OutputExistsError, UsageError
from geoseg.grid import Grid
from geoseg.io import polygon_rows, vector
from geoseg.io.polygon_rows import SCHEMA, store_polygons
from geoseg.io.vector import count_features, sidecars
from geoseg.polygons.table import Polygons
from geoseg.settings import VECTOR_SUFFIXES

SCHEME = ClassScheme(
    (
        LandClass(0, "Wasser & <Meer>", (0, 0, 255)),
        LandClass(5, "森林", (0, 128, 0)),
        LandClass(9, "a 'quoted' \"name\"", (9, 9, 9)),
    )
)
UTM = CRS.from_epsg(32618)
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 4_000_000)
CUSTOM = CRS.from_proj4("+proj=laea +lat_0=37.25 +lon_0=-75.5 +x_0=500000 +y_0=4000000 +ellps=GRS80 +units=m")
CODES = np.array([[0, 0, 0, 5], [0, 5, 0, 5], [0, 0, 0, 255], [9, 9, 0, 9]], np.uint8)
FIELDS = [name for name in SCHEMA.names if name != "geometry"]


def polygons(
    codes: np.ndarray = CODES, crs: CRS = UTM, transform: Affine = NORTH_UP, *, scored: bool = True
) -> Polygons:
    grid = Grid(crs, transform, codes.shape[1], codes.shape[0])
    day = date(2020, 2, 29) if scored else None
    return table_of(codes, grid, SCHEME, score=51 if scored else None, scene_id="Küste", img_date=day)


def read(path: Path) -> gpd.GeoDataFrame:
    if path.suffix == ".parquet":
        table = gpd.read_parquet(path)
    else:
        table = gpd.read_file(path, layer="land" if path.suffix == ".gpkg" else None)
    return table.sort_values("poly_id", ignore_index=True)  # FlatGeobuf orders by place


def write(table: Polygons, path: Path) -> gpd.GeoDataFrame:
    write_polygons(table, path, layer="land")
    return read(path)


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_every_format_gives_back_what_was_written(suffix: str, tmp_path: Path) -> None:
    table = polygons()
    found = write(table, tmp_path / f"o{suffix}")
    assert [c for c in found.columns if c != "geometry"] == FIELDS
    assert found.poly_id.tolist() == table.poly_id.tolist() == [0, 3, 5, 12, 15]
    assert found.class_id.tolist() == [0, 5, 5, 9, 9]
    assert found.class_name.tolist() == table.class_name.tolist()
    assert found.n_pixels.tolist() == [9, 2, 1, 2, 1]
    np.testing.assert_allclose(found.area_m2, np.array([9, 2, 1, 2, 1]) * 100.0, rtol=1e-12)
    np.testing.assert_allclose(found.area_ha, found.area_m2 / 1e4, rtol=1e-12)
    np.testing.assert_allclose(found.perim_m, table.perim_m, rtol=1e-12)
    np.testing.assert_allclose(found.score, 0.2, rtol=1e-12)
    assert set(found.scene_id) == {"Küste"}
    assert {str(day)[:10] for day in found.img_date} == {"2020-02-29"}
    assert (found.geom_type == "Polygon").all()
    if suffix == ".geojson":
        assert found.crs == CRS.from_epsg(4326)
        np.testing.assert_allclose(found.to_crs(UTM).area, table.area_m2, rtol=2e-5)  # 9 decimals of a degree: 0.1 mm
    else:
        assert found.crs == UTM
        assert shapely.equals_exact(found.geometry.array, table.geometry, normalize=True).all()


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_unknown_scores_and_dates_are_null(suffix: str, tmp_path: Path) -> None:
    found = write(polygons(scored=False), tmp_path / f"o{suffix}")
    assert len(found) == 5
    assert found.score.isna().all()
    assert found.img_date.isna().all()


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_no_polygons_make_an_empty_polygon_layer(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"o{suffix}"
    write_polygons(polygons(np.full((3, 3), 255, np.uint8)), path, layer="land")
    assert count_features(path) == 0
    if suffix == ".parquet":
        geo = json.loads(pq.read_schema(path).metadata[b"geo"])
        assert geo["columns"]["geometry"]["geometry_types"] == ["Polygon"]
        assert pq.read_schema(path).names[:-1] == SCHEMA.names
    elif suffix == ".geojson":
        assert json.loads(path.read_text())["features"] == []
    else:
        info = pyogrio.read_info(path, layer="land" if suffix == ".gpkg" else None)
        assert (info["geometry_type"], list(info["fields"])) == ("Polygon", FIELDS)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet"])
@pytest.mark.parametrize("crs", [CUSTOM, CRS.from_epsg(4326), CRS.from_epsg(2180), CRS.from_epsg(2263)])
def test_any_crs_survives(suffix: str, crs: CRS, tmp_path: Path) -> None:
    table = polygons(crs=crs, transform=Affine(1e-3, 0, 20, 0, -1e-3, 50))
    found = write(table, tmp_path / f"o{suffix}")
    assert CRS(found.crs).equals(crs, ignore_axis_order=True)
    np.testing.assert_allclose(found.total_bounds, shapely.total_bounds(table.geometry), rtol=1e-12)


def test_shapefile_keeps_a_custom_crs(tmp_path: Path) -> None:
    """As ESRI's WKT, which renames datum and method: the projection's numbers are what survives."""
    found = write(polygons(crs=CUSTOM), tmp_path / "o.shp")
    ours, theirs = (crs.coordinate_operation for crs in (CUSTOM, CRS(found.crs)))
    assert theirs.method_name == ours.method_name
    assert [p.value for p in theirs.params] == [p.value for p in ours.params]


def test_geopackage_opens_colored_and_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "o.gpkg"
    write_polygons(polygons(), path, layer="land")
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        contents = dict(database.execute("SELECT table_name, data_type FROM gpkg_contents"))
        kind = database.execute("SELECT geometry_type_name FROM gpkg_geometry_columns").fetchall()
        query = (
            "SELECT f_table_catalog, f_table_schema, f_table_name, f_geometry_column, useAsDefault FROM layer_styles"
        )
        styles = database.execute(query).fetchall()
        (qml,) = database.execute("SELECT styleQML FROM layer_styles").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
    database.close()
    assert contents == {"land": "features", "layer_styles": "attributes"}
    assert kind == [("POLYGON",)]
    assert styles == [("", "", "land", "geom", 1)]
    labels = {e.attrib["value"]: e.attrib["label"] for e in ET.fromstring(qml).iter("category")}
    assert labels == {str(c.code): c.name for c in SCHEME.classes}
    assert version == 10300
    assert [file.name for file in tmp_path.iterdir()] == ["o.gpkg"]  # no journal, no wal


def test_geopackage_is_reproducible_under_a_fixed_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OGR_CURRENT_DATE", "2020-01-01T00:00:00.000Z")
    for name in ("a.gpkg", "b.gpkg"):
        write_polygons(polygons(), tmp_path / name, layer="land")
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_sidecars_are_what_lies_beside_the_output(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"o.name{suffix}"
    write_polygons(polygons(), path, layer="land")
    assert {path, *sidecars(path)} == set(tmp_path.iterdir())
    if suffix == ".shp":
        assert path.with_suffix(".cpg").read_text() == "UTF-8"


def test_formats_of_one_stem_share_their_style(tmp_path: Path) -> None:
    for suffix in VECTOR_SUFFIXES:
        write_polygons(polygons(), tmp_path / f"o{suffix}", layer="land")
    style = (tmp_path / "o.qml").read_text(encoding="utf-8")
    assert {e.attrib["label"] for e in ET.fromstring(style).iter("category")} == set(SCHEME.names)


def test_geoparquet_tells_its_version_boxes_and_orientation(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    table = polygons()
    write_polygons(table, path, layer="land")
    file = pq.ParquetFile(path)
    geo = json.loads(file.schema_arrow.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], column["encoding"], column["orientation"]) == ("1.1.0", "WKB", "counterclockwise")
    assert column["bbox"] == shapely.total_bounds(table.geometry).tolist()
    boxes = file.read(["bbox"])["bbox"].to_pylist()
    assert [list(box.values()) for box in boxes] == shapely.bounds(table.geometry).tolist()
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert len(gpd.read_parquet(path, bbox=(500_035, 3_999_990, 500_036, 3_999_995))) == 1


@pytest.mark.parametrize("limit", ["BATCH_ROWS", "BATCH_BYTES"])
def test_large_tables_are_written_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(polygon_rows, limit, {"BATCH_ROWS": 2, "BATCH_BYTES": 250}[limit])
    table = polygons()
    for suffix in (".gpkg", ".parquet"):
        found = write(table, tmp_path / f"o{suffix}")
        assert found.poly_id.tolist() == table.poly_id.tolist()
        assert shapely.equals_exact(found.geometry.array, table.geometry).all()
    groups = pq.ParquetFile(tmp_path / "o.parquet").metadata
    sizes = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
    assert sum(sizes) == 5
    assert len(sizes) >= 2


def test_small_tables_are_put_together(tmp_path: Path) -> None:
    """A map gives a table for each band of rows; a row group for each would be slow to read."""
    tables = [polygons(np.roll(CODES, n)) for n in range(4)] + [polygons(np.full((3, 3), 255, np.uint8))]
    stored = store_polygons(tables, tmp_path / "rows")
    assert len(stored) == sum(map(len, tables))
    (batch,) = stored.batches()
    assert batch["poly_id"].to_pylist() == [poly for table in tables for poly in table.poly_id]
    assert stored.totals.bounds.tolist() == [500_000, 3_999_960, 500_040, 4_000_000]
    assert stored.totals.n_vertices == sum(shapely.get_num_coordinates(table.geometry).sum() for table in tables)
    assert stored.count_by_class == {
        name: sum((table.class_name == name).sum() for table in tables) for name in SCHEME.names
    }


def test_a_polygon_that_no_file_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygon_rows, "LARGEST_GEOMETRY", 200)
    with pytest.raises(OutputError, match=r"polygon 0 has 1\d vertices, more than files hold: simplify"):
        write_polygons(polygons(), tmp_path / "o.gpkg", layer="land")


def test_existing_and_impossible_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "o.dbf").write_text("somebody's")
    with pytest.raises(OutputExistsError, match=r"o\.dbf already exists"):
        write_polygons(polygons(), tmp_path / "o.shp", layer="land")
    assert (tmp_path / "o.dbf").read_text() == "somebody's"
    with pytest.raises(OutputExistsError, match="cannot be created: No such file"):
        write_polygons(polygons(), tmp_path / "missing" / "o.gpkg", layer="land")
    with pytest.raises(UsageError, match=r"'o.kml' must end in .gpkg, .shp"):
        write_polygons(polygons(), tmp_path / "o.kml", layer="land")


def test_features_are_counted_by_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FlatGeobuf cut in its middle still announces all features (fact F3)."""
    path = tmp_path / "o.fgb"
    write_polygons(polygons(np.indices((40, 40)).sum(0).astype(np.uint8) % 2 * 5), path, layer="land")
    assert count_features(path) == pyogrio.read_info(path)["features"] == 1600
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        found = count_features(path)
    except OutputError:
        found = -1
    assert found < 1600
    monkeypatch.setattr(vector, "count_features", lambda _: 4)
    with pytest.raises(OutputError, match="holds 4 of 5 polygons"):
        write_polygons(polygons(), tmp_path / "p.fgb", layer="land")


def test_a_full_disk_is_told_in_every_format(tmp_path: Path) -> None:
    """Facts F2, F3; the limit on file sizes stands in for the disk, in a process of its own."""
    script = f"""
import resource, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
from test_vector import *
from geoseg.io.vector import write_polygons
board = (np.indices((120, 120)).sum(0) % 2 * 5).astype(np.uint8)
table = store_polygons([polygons(board)], Path({str(tmp_path)!r}) / "rows")
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for suffix in VECTOR_SUFFIXES:
    try:
        write_polygons(table, Path({str(tmp_path)!r}) / f"o{{suffix}}", layer="land")
    except OutputError as error:
        print(suffix, str(error).count(chr(10)), "check free space" in str(error))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{suffix} 0 True" for suffix in VECTOR_SUFFIXES]


def test_what_a_shapefile_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "_SHP_LIMIT", 1000)
    with pytest.raises(OutputError, match=r"a Shapefile holds 2: choose .gpkg or .parquet"):
        write_polygons(polygons(), tmp_path / "o.shp", layer="land")
    long = ClassScheme((LandClass(0, "ß" * 128, (0, 0, 0)), *SCHEME.classes[1:]))
    table = polygons()
    object.__setattr__(table, "scheme", long)
    with pytest.raises(InputError, match="has 256 bytes, Shapefile fields 254"):
        write_polygons(table, tmp_path / "o.shp", layer="land")
    assert list(tmp_path.iterdir()) == []

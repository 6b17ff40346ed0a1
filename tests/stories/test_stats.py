"""`geoseg stats` through the command line, and `geoseg.stats`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import openpyxl
import pytest
import shapely
from affine import Affine
from builders import NORTH_UP
from cli_kit import geoseg as command
from cli_kit import names_in, states
from pyproj import Transformer
from zone_kit import PX, class_raster, square, write_zones

import geoseg
from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import GeosegWarning, InputError, OutputExistsError, UsageError
from geoseg.io.record import verify_record

HA = PX * PX / 1e4
CODES = [
    [1, 1, 2, 2],
    [1, 1, 2, 2],
    [1, 255, 7, 7],
    [1, 1, 7, 7],
]
NORTH, SOUTH = square(0, 0, 4, 2), square(0, 2, 6, 4)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    return class_raster(tmp_path / "map.classes.tif", CODES)


@pytest.fixture
def zones(tmp_path: Path) -> Path:
    return write_zones(tmp_path / "zones.gpkg", {"north": NORTH, "south": SOUTH})


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["zone"]: row for row in csv.DictReader(file)}


def test_a_table_by_hand(classes, zones, tmp_path) -> None:
    out = tmp_path / "out" / "table.csv"
    done = command("stats", classes, "--zones", zones, "--field", "name", "-o", out)
    assert done.code == 0, done.err
    assert names_in(out.parent) == {"table.csv", "table.csv.json"}
    assert verify_record(out.parent / "table.csv.json") == []
    north, south = rows_of(out).values()
    assert (north["zone"], south["zone"]) == ("north", "south")
    assert float(north["observed_ha"]) == float(north["zone_ha"]) == 8 * HA
    assert float(north["unobserved_ha"]) == 0
    assert [float(north[f"{name}_pct"]) for name in ("water", "trees", "bare")] == [50, 50, 0]
    assert [float(south[f"{name}_ha"]) for name in ("water", "trees", "bare")] == [3 * HA, 0, 4 * HA]
    assert float(south["unobserved_ha"]) == pytest.approx((1 + 4) * HA, rel=1e-4)
    assert float(south["bare_pct"]) == pytest.approx(400 / 7)
    assert "2 zones in" in done.out
    assert "written" in done.out


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".gpkg"])
def test_every_format_holds_the_same_numbers(classes, zones, tmp_path, suffix) -> None:
    out = tmp_path / f"table{suffix}"
    assert command("stats", classes, "--zones", zones, "--field", "name", "-o", out).code == 0
    if suffix == ".csv":
        water = [float(row["water_ha"]) for row in rows_of(out).values()]
    elif suffix == ".xlsx":
        head, *rows = openpyxl.load_workbook(out).active.iter_rows(values_only=True)
        water = [row[head.index("water_ha")] for row in rows]
    else:
        frame = gpd.read_file(out)
        water = frame["water_ha"].tolist()
        assert frame.geometry[0].equals(NORTH)
    assert water == [4 * HA, 3 * HA]


def test_json_and_the_second_time(classes, zones, tmp_path) -> None:
    out = tmp_path / "table.csv"
    call = ("stats", classes, "--zones", zones, "--field", "name", "-o", out, "--json")
    first = json.loads(command(*call).out)
    before = states(tmp_path)
    second = json.loads(command(*call).out)
    assert states(tmp_path) == before
    assert first == {
        "table": str(out),
        "n_zones": 2,
        "area_m2": {"water": 700, "trees": 400, "bare": 400},
        "nodata_m2": 100,
        "outside_m2": pytest.approx(400, rel=1e-4),
        "up_to_date": False,
    }
    assert second == first | {"up_to_date": True}
    write_zones(zones, {"north": NORTH})
    changed = command(*call)
    assert (changed.code, "--overwrite" in changed.last) == (73, True)
    assert command(*call, "--overwrite").code == 0
    assert list(rows_of(out)) == ["north"]


def test_a_shapefile_with_other_names_is_another_input(classes, tmp_path) -> None:
    """The names are in the .dbf, the .shp stays the same."""
    zones, out = tmp_path / "zones.shp", tmp_path / "table.csv"
    for name in ("a", "b"):
        write_zones(zones, {name: NORTH})
        done = command("stats", classes, "--zones", zones, "--field", "name", "-o", out)
    assert done.code == 73
    assert "zones" in done.last


def test_zones_in_another_crs(classes, zones, tmp_path) -> None:
    to_degrees = Transformer.from_crs(32618, 4326, always_xy=True)
    moved = [
        shapely.transform(shapely.segmentize(zone, 1), lambda xy: np.column_stack(to_degrees.transform(*xy.T)))
        for zone in (NORTH, SOUTH)
    ]
    other = write_zones(tmp_path / "degrees.geojson", {"north": moved[0], "south": moved[1]}, crs=4326)
    tables = []
    for number, file in enumerate((zones, other)):
        out = tmp_path / f"{number}.csv"
        assert command("stats", classes, "--zones", file, "--field", "name", "-o", out).code == 0
        tables.append(rows_of(out))
    for name in ("north", "south"):
        for column in ("water_ha", "trees_ha", "bare_ha"):
            assert float(tables[1][name][column]) == pytest.approx(float(tables[0][name][column]), rel=1e-4, abs=1e-6)


def test_several_rasters_and_their_order(classes, zones, tmp_path) -> None:
    other = class_raster(tmp_path / "other.tif", [[7] * 4] * 4, transform=NORTH_UP @ Affine.translation(2, 2))
    water_first, bare_first = (
        geoseg.stats(files, zones, "name", tmp_path / f"{number}.csv").area_m2
        for number, files in enumerate(([classes, other], [other, classes]))
    )
    assert water_first == {"water": 700, "trees": 400, "bare": 400 + 400}
    assert bare_first == {"water": 700, "trees": 400, "bare": 800}
    lower = class_raster(tmp_path / "lower.tif", [[2] * 4] * 2, transform=NORTH_UP @ Affine.translation(0, 2))
    assert geoseg.stats([lower, classes], zones, "name", tmp_path / "a.csv").area_m2 == {
        "water": 400,
        "trees": 1200,
        "bare": 0,
    }
    assert geoseg.stats([classes, lower], zones, "name", tmp_path / "b.csv").area_m2 == {
        "water": 700,
        "trees": 500,  # only the pixel that the first left open
        "bare": 400,
    }


def test_rasters_of_several_schemes(classes, zones, tmp_path) -> None:
    more = ClassScheme((LandClass(1, "water", (0, 0, 0)), LandClass(300, "ice", (250, 250, 250))))
    beside = class_raster(tmp_path / "beside.tif", [[1] * 2] * 4, more, transform=NORTH_UP @ Affine.translation(4, 0))
    result = geoseg.stats([classes, beside], zones, "name", tmp_path / "t.csv")
    assert result.area_m2 == {"water": 1100, "trees": 400, "bare": 400, "ice": 0}
    other = class_raster(tmp_path / "other.tif", [[1]], ClassScheme((LandClass(1, "rock", (1, 1, 1)),)))
    with pytest.raises(InputError, match=r"class 1 'rock' of .*other\.tif is 1 'water' in .*--legend"):
        geoseg.stats([classes, other], zones, "name", tmp_path / "u.csv")


def test_a_legend_merges_classes(classes, zones, tmp_path) -> None:
    legend = tmp_path / "legend.csv"
    legend.write_text("code,name,from\n10,wet,water\n20,Суша,trees|bare\n", encoding="utf-8")
    out = tmp_path / "t.csv"
    call = ("stats", classes, "--zones", zones, "--field", "name", "-o", out, "--legend", legend)
    assert command(*call).code == 0
    assert float(rows_of(out)["south"]["Суша_ha"]) == 4 * HA
    assert command(*call).code == 0
    legend.write_text("code,name,from\n10,wet,water\n20,dry,trees|bare\n", encoding="utf-8")
    assert command(*call).code == 73
    assert command(*call, "--overwrite").code == 0
    assert float(rows_of(out)["north"]["dry_ha"]) == 4 * HA


def test_refusals_of_the_command(classes, zones, tmp_path) -> None:
    def last(*changes: object, code: int) -> str:
        arguments = {"--zones": zones, "--field": "name", "-o": tmp_path / "t.csv"}
        arguments |= dict(zip(changes[::2], changes[1::2], strict=True))
        done = command("stats", classes, *(part for pair in arguments.items() for part in pair))
        assert done.code == code, done.err
        assert len(done.err.strip().splitlines()) == 1
        return done.last

    assert "it has: name" in last("--field", "title", code=2)
    assert "must end in .csv, .xlsx, .gpkg" in last("-o", tmp_path / "t.ods", code=2)
    assert "does not exist" in last("--zones", tmp_path / "none.gpkg", code=66)
    assert "is an input, too" in last("-o", zones, code=73)
    assert "--layer 'x' is not in" in last("--layer", "x", code=2)
    assert names_in(tmp_path) == {classes.name, zones.name}


def test_refusals_of_the_function(classes, zones, tmp_path) -> None:
    with pytest.raises(UsageError, match="at least one class raster"):
        geoseg.stats([], zones, "name", tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="without a record"):
        geoseg.stats(classes, zones, "name", tmp_path / "t.csv")


def test_warnings_reach_the_terminal(classes, tmp_path) -> None:
    zones = write_zones(tmp_path / "z.gpkg", {"n": NORTH, "bow": shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])})
    done = command("stats", classes, "--zones", zones, "--field", "name", "-o", tmp_path / "t.csv")
    assert done.code == 0
    assert "1 of 2 polygons cross themselves" in done.err
    with pytest.warns(GeosegWarning):
        assert geoseg.stats(str(classes), zones, "name", tmp_path / "t.csv").up_to_date

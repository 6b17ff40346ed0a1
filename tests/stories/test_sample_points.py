"""`geoseg sample`, through the command line and the files that it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from builders import NORTH_UP, write_raster
from cli_kit import Done, names_in, states
from cli_kit import geoseg as command
from zone_kit import class_raster

import geoseg
from geoseg.errors import UsageError
from geoseg.grid import GEOD
from geoseg.io.record import verify_record
from geoseg.io.strata import Strata


def field(folder: Path, **profile: object) -> Path:
    """80 × 60 pixels: water above, trees below with a rim of nodata, 30 pixels of bare ground."""
    codes = np.full((80, 60), 2)
    codes[:30] = 1
    codes[40:45, 10:16] = 7
    codes[-2:] = 255
    return class_raster(folder / "map.tif", codes, **profile)


def draw(folder: Path, *flags: object, code: int = 0) -> Done:
    done = command("sample", folder / "map.tif", "-o", folder / "p.gpkg", *flags)
    assert done.code == code, done.err
    return done


def design_of(folder: Path) -> dict:
    return json.loads((folder / "p.design.json").read_text(encoding="utf-8"))


def test_points_lie_in_their_pixels_and_strata(tmp_path) -> None:
    path = field(tmp_path)
    done = draw(tmp_path, "-n", 200, "--minimum", 20)
    assert names_in(tmp_path) == {"map.tif", "p.gpkg", "p.ceo.csv", "p.design.json", "p.gpkg.json"}
    assert verify_record(tmp_path / "p.gpkg.json") == []
    design, table = design_of(tmp_path), gpd.read_file(tmp_path / "p.gpkg")
    with rasterio.open(path) as dataset:
        seen = [int(v[0]) for v in dataset.sample(zip(table.geometry.x, table.geometry.y, strict=True))]
    assert seen == design["points"]["map_class"] == design["points"]["stratum"]
    assert [(s["name"], s["pixels"], s["area_m2"], s["points"]) for s in design["strata"]] == [
        ("water", 1800, 180_000, 70),
        ("trees", 2850, 285_000, 110),
        ("bare", 30, 3000, 20),
    ]
    places = set(zip(design["points"]["row"], design["points"]["col"], strict=True))
    assert len(places) == len(table) == 200
    assert sorted(set(design["points"]["inclusion_probability"])) == sorted([70 / 1800, 110 / 2850, 20 / 30])
    assert "200 points in" in done.out
    assert "design, not for the interpreter" in done.out


def test_the_interpreters_files_tell_nothing_of_the_map(tmp_path) -> None:
    field(tmp_path)
    draw(tmp_path, "-n", 300, "--allocation", "equal")
    table = gpd.read_file(tmp_path / "p.gpkg")
    assert list(table.columns) == ["point_id", "lon", "lat", "ref_class", "sure", "note", "geometry"]
    assert (tmp_path / "p.ceo.csv").read_text(encoding="utf-8").startswith("LON,LAT,PLOTID\n-")
    # 135, 135 and 30 points: were they in order of their strata, the first third would be of one.
    strata = np.array(design_of(tmp_path)["points"]["stratum"])
    shares = [(part == 1).mean() for part in np.array_split(strata, 5)]
    assert min(shares) > 0.25
    assert max(shares) < 0.65


def test_the_sample_depends_on_seed_and_map_alone(tmp_path, monkeypatch) -> None:
    field(tmp_path)
    draw(tmp_path, "-n", 150, "--minimum", 10)
    first = design_of(tmp_path)["points"]
    before = states(tmp_path)
    assert "up to date" in draw(tmp_path, "-n", 150, "--minimum", 10).out
    assert states(tmp_path) == before
    assert "seed: 0 → 3" in draw(tmp_path, "-n", 150, "--minimum", 10, "--seed", 3, code=73).last
    draw(tmp_path, "-n", 150, "--minimum", 10, "--seed", 3, "--overwrite")
    assert design_of(tmp_path)["points"]["row"] != first["row"]
    count = Strata.count
    thin = [geoseg.grid.Window(0, row, 60, 1) for row in range(80)]
    monkeypatch.setattr(Strata, "count", lambda self: count(self, thin))
    draw(tmp_path, "-n", 150, "--minimum", 10, "--overwrite")
    assert design_of(tmp_path)["points"] == first


def test_strata_of_another_raster(tmp_path) -> None:
    field(tmp_path)
    halves = np.where(np.arange(60) < 15, 2, 7) * np.ones((80, 1), int)
    class_raster(tmp_path / "halves.tif", halves)
    draw(tmp_path, "-n", 60, "--allocation", "equal", "--strata", tmp_path / "halves.tif")
    design = design_of(tmp_path)
    assert [(s["code"], s["pixels"], s["points"]) for s in design["strata"]] == [(2, 78 * 15, 30), (7, 78 * 45, 30)]
    points = design["points"]
    assert [2 if col < 15 else 7 for col in points["col"]] == points["stratum"]
    assert [
        1 if row < 30 else 7 if 40 <= row < 45 and 10 <= col < 16 else 2
        for row, col in zip(points["row"], points["col"], strict=True)
    ] == points["map_class"]
    assert design["strata_raster"]["name"] == "halves.tif"


def test_areas_are_of_the_ground(tmp_path) -> None:
    """Pixels of a lon/lat grid: the strata's square meters are those of their geodesic outline."""
    field(tmp_path, crs="EPSG:4326", transform=NORTH_UP.__class__(0.01, 0, 10, 0, -0.02, 60))
    draw(tmp_path, "-n", 60, "--minimum", 5)
    design = design_of(tmp_path)
    lons, lats = np.r_[np.linspace(10, 10.6, 1000), np.linspace(10.6, 10, 1000)], np.repeat([60.0, 59.4], 1000)
    area = abs(GEOD.polygon_area_perimeter(lons, lats)[0])
    assert design["strata"][0]["area_m2"] == pytest.approx(area, rel=1e-6)
    by_row = dict(zip(design["points"]["row"], design["points"]["pixel_m2"], strict=True))
    assert by_row[min(by_row)] < by_row[max(by_row)]


def test_a_standard_error_asks_for_points(tmp_path) -> None:
    field(tmp_path)
    done = draw(tmp_path, "--se", 0.02, "--expect", "water=0.95,0.8", "--dry-run", "--json")
    told = json.loads(done.out)
    assert names_in(tmp_path) == {"map.tif"}
    w, s = np.array([1800, 2850, 30]) / 4680, np.sqrt([0.95 * 0.05, 0.16, 0.16])
    n = int(np.ceil((w @ s) ** 2 / (0.02**2 + w @ s**2 / 4680)))
    assert sum(stratum["points"] for stratum in told["strata"]) == n
    points = np.array([stratum["points"] for stratum in told["strata"]])
    assert points[2] == 30  # all there are
    variance = w**2 * s**2 / points * (1 - points / [1800, 2850, 30])
    assert told["expected_overall_se"] == pytest.approx(np.sqrt(variance.sum()))
    lines = draw(tmp_path, "--se", 0.02, "--expect", "water=0.95,0.8", "--dry-run").out.splitlines()
    assert lines[0].split() == ["stratum", "hectares", "share", "points", "expected", "±", "se"]
    assert lines[2].startswith("water")
    assert "95.0 %" in lines[2]
    assert "(asked: 2.00 %)" in lines[-2]


def test_a_legend_merges_strata(tmp_path) -> None:
    field(tmp_path)
    (tmp_path / "two.csv").write_text("code,name,from\n1,wet,water\n2,dry,trees|bare\n", encoding="utf-8")
    told = json.loads(draw(tmp_path, "-n", 100, "--legend", tmp_path / "two.csv", "--json").out)
    assert [(s["name"], s["pixels"]) for s in told["strata"]] == [("wet", 1800), ("dry", 2880)]


def test_interpreted_points_are_never_overwritten(tmp_path) -> None:
    field(tmp_path)
    draw(tmp_path, "-n", 150)
    table = gpd.read_file(tmp_path / "p.gpkg")
    table.loc[3, "ref_class"] = "water"
    table.to_file(tmp_path / "p.gpkg", layer="points")
    for flags in ((), ("--overwrite",)):
        draw(tmp_path, "-n", 160, *flags, code=73)
    assert (
        "1 interpreted points, which --overwrite does not replace"
        in draw(tmp_path, "-n", 160, "--overwrite", code=73).last
    )
    assert gpd.read_file(tmp_path / "p.gpkg")["ref_class"].notna().sum() == 1


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ((), 2, "how many points? Give -n 500, or --se 0.01"),
        (("-n", 500, "--se", 0.01, "--expect", "0.8"), 2, "one of them"),
        (("--se", 0.01), 2, "--se needs expected accuracies"),
        (("--se", 2, "--expect", "0.8"), 2, "--se 2.0 is no standard error"),
        (("-n", 0), 2, "-n 0 is less than one point"),
        (("-n", 100), 2, "3 strata × --minimum 50 need (130)"),
        (("-n", 100, "--minimum", 1), 2, "--minimum 1 is less than 2"),
        (("-n", 100, "--allocation", "neyman"), 2, "--allocation neyman needs expected accuracies"),
        (("-n", 200, "--expect", "watr=0.9,0.5"), 2, "did you mean 'water'"),
        (("-n", 9000), 2, "more than the 4680 pixels"),
        (("-n", 200, "--strata", "none.tif"), 66, "none.tif"),
    ],
)
def test_refusals_are_one_line(tmp_path, flags, code, message) -> None:
    field(tmp_path)
    done = draw(tmp_path, *flags, code=code)
    assert len(done.err.strip().splitlines()) == 1
    assert message in done.last
    assert names_in(tmp_path) == {"map.tif"}


def test_maps_and_outputs_that_cannot_be_are_refused(tmp_path) -> None:
    path = field(tmp_path)
    settings = geoseg.SampleSettings(n=150)
    with pytest.raises(UsageError, match=r"'p.shp' must end in \.gpkg"):
        geoseg.sample(path, tmp_path / "p.shp", settings)
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    plan = write_raster(tmp_path / "plan.tif", np.ones((9, 9), np.uint8), crs=local)
    assert "without longitude and latitude" in command("sample", plan, "-n", 5, "-o", tmp_path / "q.gpkg").last


def test_from_python(tmp_path) -> None:
    result = geoseg.sample(field(tmp_path), tmp_path / "p.gpkg", geoseg.SampleSettings(n=150, expect="0.9"))
    assert (result.up_to_date, sum(s.points for s in result.strata)) == (False, 150)
    assert result.expected_se[2] == 0  # all 30 pixels of bare ground
    again = geoseg.sample(tmp_path / "map.tif", tmp_path / "p.gpkg", geoseg.SampleSettings(n=150, expect="0.9"))
    assert again.up_to_date
    assert again.strata == result.strata

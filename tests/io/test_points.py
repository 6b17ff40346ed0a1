"""Points for interpreters, and what comes back from them."""

from __future__ import annotations

import csv
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from builders import UTM
from pyproj import CRS

from geoseg.errors import InputError, InputMissingError, OutputError, UsageError
from geoseg.io import points as points_module
from geoseg.io.points import interpreted, read_answers, write_ceo, write_points

XY = np.array([[500_005.0, 4_199_995.0], [500_015.0, 4_199_985.0]])
LONLAT = np.array([[-75.0, 37.95], [-74.9, 37.96]])


def written(folder: Path) -> Path:
    path = folder / "p.gpkg"
    write_points(path, XY, LONLAT, CRS(UTM))
    return path


def filled(path: Path, classes: list[str | None], sure: list[bool | None]) -> Path:
    """As an interpreter leaves it."""
    table = gpd.read_file(path)
    table["ref_class"], table["sure"] = classes, np.array(sure, object)
    table["sure"] = table["sure"].astype("boolean")
    table.to_file(path, layer="points")
    return path


def test_points_are_empty_for_the_interpreter(tmp_path) -> None:
    path = written(tmp_path)
    table = gpd.read_file(path)
    assert list(table.columns) == ["point_id", "lon", "lat", "ref_class", "sure", "note", "geometry"]
    assert table["point_id"].tolist() == [1, 2]
    assert np.column_stack((table.geometry.x, table.geometry.y)).tolist() == XY.tolist()
    assert table[["lon", "lat"]].to_numpy().tolist() == LONLAT.tolist()
    assert table[["ref_class", "sure", "note"]].isna().all().all()
    assert pyogrio.read_info(path)["ogr_types"][3:] == ["OFTString", "OFTInteger", "OFTString"]
    assert pyogrio.read_info(path)["ogr_subtypes"][4] == "OFSTBoolean"
    assert interpreted(path) == 0


def test_collect_earth_online_gets_its_columns(tmp_path) -> None:
    write_ceo(tmp_path / "p.ceo.csv", LONLAT)
    rows = list(csv.reader((tmp_path / "p.ceo.csv").open(encoding="utf-8")))
    assert rows == [
        ["LON", "LAT", "PLOTID"],
        ["-75.000000000", "37.950000000", "1"],
        ["-74.900000000", "37.960000000", "2"],
    ]


def test_answers_come_back(tmp_path) -> None:
    path = filled(written(tmp_path), ["trees", None], [None, False])
    answers = read_answers(path, "ref_class")
    assert (answers.ids, answers.classes, answers.sure) == ((1, 2), ("trees", ""), (True, False))
    np.testing.assert_allclose(answers.lonlat[0], [-75.0 + 5 / 88_000, 37.947], atol=1e-3)
    assert interpreted(path) == 1


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_tables_come_back(tmp_path, mark) -> None:
    lines = ["PLOTID,Land cover,Sure,LON,LAT", "2, trees ,no,-74.9,37.96", "1,,,-75,37.95", ",,,,"]
    path = tmp_path / "p.csv"
    path.write_text("\ufeff" + "\n".join(lines).replace(",", mark), encoding="utf-8")
    answers = read_answers(path, "land COVER")
    assert (answers.ids, answers.classes, answers.sure) == ((2, 1), ("trees", ""), (False, True))
    assert answers.lonlat.tolist() == LONLAT[::-1].tolist()


def test_collect_earth_onlines_own_numbers_give_way_to_ours(tmp_path) -> None:
    path = tmp_path / "ceo.csv"
    path.write_text("plotid,center_lon,center_lat,pl_plotid,CLASS\n90001,-75,37.9,2,7\n", encoding="utf-8")
    answers = read_answers(path, "CLASS")
    assert (answers.ids, answers.classes, answers.lonlat.tolist()) == ((2,), ("7",), [[-75, 37.9]])


def test_codes_with_nulls_beside_them_stay_whole(tmp_path) -> None:
    frame = gpd.GeoDataFrame({"code": [7.0, np.nan]}, geometry=shapely.points(XY), crs=UTM)
    frame.to_parquet(tmp_path / "p.parquet")
    answers = read_answers(tmp_path / "p.parquet", "code")
    assert (answers.ids, answers.classes, answers.sure) == ((None, None), ("7", ""), (True, True))


def test_files_that_do_not_fit_are_refused(tmp_path) -> None:
    def text(content: str) -> Path:
        (tmp_path / "t.csv").write_text(content, encoding="utf-8")
        return tmp_path / "t.csv"

    with pytest.raises(InputMissingError, match="do not exist"):
        read_answers(tmp_path / "none.gpkg", "ref_class")
    with pytest.raises(UsageError, match=r"--field 'refclass' is not in .*; did you mean 'ref_class'"):
        read_answers(written(tmp_path), "refclass")
    with pytest.raises(InputError, match="hold no rows"):
        read_answers(text("point_id,ref_class\n"), "ref_class")
    with pytest.raises(InputError, match="'1a' is no number of a point"):
        read_answers(text("point_id,ref_class\n1a,water\n"), "ref_class")
    with pytest.raises(InputError, match="sure is 'perhaps'; write true, false, or nothing"):
        read_answers(text("point_id,ref_class,sure\n1,water,perhaps\n"), "ref_class")
    with pytest.raises(InputError, match="are not degrees"):
        read_answers(text("lon,lat,ref_class\nx,3,water\n"), "ref_class")
    gpd.GeoDataFrame({"ref_class": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=UTM).to_file(tmp_path / "b.gpkg")
    with pytest.raises(InputError, match="are Polygon in CRS"):
        read_answers(tmp_path / "b.gpkg", "ref_class")


def test_points_that_do_not_read_back_are_an_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(points_module, "count_features", lambda _: 1)
    with pytest.raises(OutputError, match="holds 1 of 2 features"):
        written(tmp_path)

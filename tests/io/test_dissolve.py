"""`--dissolve`: one valid multipolygon a class, whatever the order in which polygons come."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import OutputError
from geoseg.grid import Grid
from geoseg.ground import area_model
from geoseg.io import dissolve, polygon_rows
from geoseg.io.polygon_rows import StoredPolygons
from geoseg.polygons.assemble import MapFacts, assemble
from geoseg.polygons.coverage import coverage
from geoseg.polygons.survey import survey
from geoseg.polygons.table import Polygons

NODATA = 255
PIXEL_M = 10.0
SCHEME = ClassScheme(tuple(LandClass(code, name, (0, 0, code)) for code, name in ((7, "bog"), (1, "sea"), (2, "tree"))))


def tables_of(codes: NDArray[np.uint8], band_rows: int, *, scored: bool = True) -> list[Polygons]:
    """The tables of a map, band by band; the codes serve as scores, too."""

    def read_rows(first: int, last: int) -> NDArray[np.uint8]:
        return codes[first:last]

    height, width = codes.shape
    grid = Grid(CRS("EPSG:32618"), Affine(PIXEL_M, 0, 0, 0, -PIXEL_M, PIXEL_M * height), width, height)
    facts = MapFacts(grid, SCHEME, area_model(grid), scored, "scene")
    found = survey(read_rows, codes.shape, nodata=NODATA, band_rows=band_rows, read_scores=read_rows)
    return [assemble(batch, facts) for batch in coverage(read_rows, found)]


def rows_of(polygons: StoredPolygons) -> dict[str, list[object]]:
    found: dict[str, list[object]] = pa.Table.from_batches(polygons.batches(), polygon_rows.SCHEMA).to_pydict()
    return found


def dissolved(tables: list[Polygons]) -> tuple[StoredPolygons, dict[str, list[object]]]:
    with tempfile.TemporaryDirectory() as folder:
        found = dissolve.store(tables, Path(folder), dissolve=True)
        assert [path.name for path in Path(folder).iterdir()] == [found.path.name]
        return found, rows_of(found)


codes_of = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).choice(np.array([1, 2, 7, NODATA], np.uint8), (9, 11))
)


@settings(max_examples=20)
@given(codes=codes_of, band_rows=st.integers(1, 9))
def test_classes_are_what_the_raster_says(codes: NDArray[np.uint8], band_rows: int) -> None:
    """Mutation seen red: the rows of a batch left in their own order when they are gathered by class."""
    found, rows = dissolved(tables_of(codes, band_rows))
    assert rows["class_id"] == sorted(set(codes[codes != NODATA].tolist()))
    assert rows["class_name"] == [SCHEME.by_code(code).name for code in rows["class_id"]]
    assert (len(found), found.geometry_type, found.totals.n_pixels.sum()) == (len(rows["class_id"]), "MultiPolygon",
        (codes != NODATA).sum())  # fmt: skip
    for at, code in enumerate(rows["class_id"]):
        mine = codes == code
        geometry = shapely.from_wkb(rows["geometry"][at])
        assert geometry.geom_type == "MultiPolygon"
        assert geometry.is_valid
        n, m = codes.shape[0], PIXEL_M
        squares = [shapely.box(x * m, (n - y - 1) * m, (x + 1) * m, (n - y) * m) for y, x in np.argwhere(mine).tolist()]
        assert geometry.equals(shapely.union_all(squares))
        assert rows["n_pixels"][at] == mine.sum()
        assert rows["score"][at] == codes[mine].sum(dtype=np.int64) / (255 * mine.sum())
        assert rows["poly_id"][at] == np.flatnonzero(mine)[0]
        assert rows["area_ha"][at] * 1e4 == pytest.approx(rows["area_m2"][at], rel=1e-12)
        assert rows["area_m2"][at] == found.area_m2_by_class[SCHEME.by_code(code).name]
    in_one = dissolved(tables_of(codes, 9))[1]
    for column in ("area_m2", "perim_m"):
        assert rows[column] == pytest.approx(in_one[column], rel=1e-12)
    assert sum(map(float, rows["perim_m"])) == pytest.approx(
        sum(table.perim_m.sum() for table in tables_of(codes, band_rows))
    )


def test_many_batches_are_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that come or are written do not show. Mutation seen red: a batch written over the one before."""
    codes = np.random.default_rng(1).choice(np.array([1, 2, 7], np.uint8), (60, 60))
    (whole, expected), tables = dissolved(tables_of(codes, 60)), tables_of(codes, 7)
    monkeypatch.setattr(polygon_rows, "BATCH_ROWS", 13)
    monkeypatch.setattr(polygon_rows, "BATCH_BYTES", 3000)
    found, rows = dissolved(tables)
    assert len(found) == len(whole) == 3
    for ours, theirs in zip(rows["geometry"], expected["geometry"], strict=True):
        assert shapely.normalize(shapely.from_wkb(ours)) == shapely.normalize(shapely.from_wkb(theirs))


def test_pieces_of_a_component_count_its_pixels_once() -> None:
    """Mutation seen red: every row counted: two pieces of one component would have its pixels twice."""
    drawn = ([[1, 1, NODATA, NODATA]], [[NODATA, NODATA, 7, NODATA]], [[NODATA, NODATA, NODATA, 1]])
    tables = [table for codes in drawn for table in tables_of(np.array(codes, np.uint8), 1) if len(table)]
    rows = dissolved([table for table in tables for _ in range(2)])[1]
    once = dissolved(tables)[1]
    assert rows["n_pixels"] == [3, 1]
    for column in ("class_id", "poly_id", "n_pixels", "score"):
        assert rows[column] == once[column]
    assert rows["area_m2"] == pytest.approx([2 * area for area in once["area_m2"]])


def test_without_scores_there_is_none() -> None:
    codes = np.array([[1, 2], [2, 1]], np.uint8)
    rows = dissolved(tables_of(codes, 1, scored=False))[1]
    assert (rows["score"], rows["n_pixels"]) == ([None, None], [2, 2])


def test_nothing_gives_nothing() -> None:
    found, rows = dissolved(tables_of(np.full((2, 2), NODATA, np.uint8), 2))
    assert (len(found), rows["geometry"]) == (0, [])


def test_a_class_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.array([[1, 2, 1]], np.uint8)
    monkeypatch.setattr(dissolve, "LARGEST_GEOMETRY", 150)  # a square takes 93 bytes, the head of several 9
    with pytest.raises(OutputError, match=r"geometry of 195 bytes for class 'sea', files hold at most 150: leave"):
        dissolve.store(tables_of(codes, 1), tmp_path, dissolve=True)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    codes = np.array([[1, 2, 1]], np.uint8)
    stored = dissolve.store(tables_of(codes, 1), tmp_path, dissolve=False)
    assert (len(stored), stored.geometry_type) == (3, "Polygon")
    with pytest.raises(OSError, match="dissolved polygons"):
        dissolve.dissolved(stored, tmp_path / "nowhere" / "classes")


def test_mutation_parts_share_edges() -> None:
    """Components only touch in points; two halves of one would make an invalid multipolygon."""
    tables = tables_of(np.array([[1, 2]], np.uint8), 1)
    rows = dissolved([replace(table, class_id=np.ones(len(table), np.int64)) for table in tables])[1]
    assert not shapely.from_wkb(rows["geometry"][0]).is_valid

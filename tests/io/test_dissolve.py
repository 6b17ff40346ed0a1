"""`--dissolve`: one valid multipolygon a class, whatever the order in which polygons come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.io import dissolve
from geoseg.io.dissolve import Dissolver, Rows
from geoseg.polygons.coverage import coverage
from geoseg.polygons.rings import PolygonBatch
from geoseg.polygons.survey import survey

NODATA = 255


def batches_of(codes: NDArray[np.uint8], band_rows: int) -> list[PolygonBatch]:
    def read_rows(first: int, last: int) -> NDArray[np.uint8]:
        return codes[first:last]

    found = survey(read_rows, codes.shape, nodata=NODATA, band_rows=band_rows, read_scores=read_rows)
    return [batch for batch in coverage(read_rows, found) if len(batch)]


def rows_of(batch: PolygonBatch) -> Rows:
    geometry, table = batch.geometry(), batch.components
    return Rows(
        shapely.to_wkb(geometry, byte_order=1),
        table.code.astype(np.int64),
        table.first,
        table.n_pixels,
        table.score_sum,
        shapely.area(geometry) * 0.1,
        shapely.length(geometry) / 3,
    )


def dissolved(codes: NDArray[np.uint8], path: Path, band_rows: int = 3) -> list[Rows]:
    with Dissolver(path) as dissolver:
        for batch in batches_of(codes, band_rows):
            dissolver.add(rows_of(batch))
        out = list(dissolver.classes())
    assert not path.exists()
    return out


codes_of = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).choice(np.array([1, 2, 7, NODATA], np.uint8), (9, 11))
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(codes=codes_of, band_rows=st.integers(1, 9))
def test_classes_are_what_the_raster_says(codes: NDArray[np.uint8], band_rows: int, tmp_path: Path) -> None:
    classes = dissolved(codes, tmp_path / "spool", band_rows)
    assert [int(row.class_id[0]) for row in classes] == sorted(set(codes[codes != NODATA].tolist()))
    for row in classes:
        mine = codes == row.class_id[0]
        (geometry,) = shapely.from_wkb(row.wkb)
        assert geometry.geom_type == "MultiPolygon"
        assert geometry.is_valid
        pixels = shapely.union_all([shapely.box(x, y, x + 1, y + 1) for y, x in np.argwhere(mine).tolist()])
        assert geometry.equals(pixels)
        assert row.n_pixels[0] == mine.sum()
        assert row.score_sum[0] == codes[mine].sum(dtype=np.int64)
        assert row.poly_id[0] == np.flatnonzero(mine)[0]
        assert row.area_m2[0] == pytest.approx(0.1 * mine.sum(), rel=1e-12)
        assert row.perim_m[0] == pytest.approx(geometry.length / 3, rel=1e-12)
    sums = [(row.area_m2[0], row.perim_m[0]) for row in classes]
    assert sums == [(row.area_m2[0], row.perim_m[0]) for row in dissolved(codes, tmp_path / "spool", 9)]


def test_classes_can_be_given_out_and_added_to_again(tmp_path: Path) -> None:
    one, two = (rows_of(batch) for code in (1, 2) for batch in batches_of(np.full((2, 2), code, np.uint8), 2))
    with Dissolver(tmp_path / "spool") as dissolver:
        dissolver.add(one)
        before = list(dissolver.classes())
        dissolver.add(two)
        assert [row.wkb[0] for row in dissolver.classes()][:1] == [row.wkb[0] for row in before]
        assert [shapely.from_wkb(row.wkb[0]).area for row in dissolver.classes()] == [4, 4]


def test_nothing_gives_nothing(tmp_path: Path) -> None:
    assert dissolved(np.full((2, 2), NODATA, np.uint8), tmp_path / "spool") == []


def test_a_class_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.array([[1, 2, 1]], np.uint8)
    monkeypatch.setattr(dissolve, "MOST_BYTES", 150)  # a square takes 93 bytes, the head of several 9
    with pytest.raises(
        InputError, match=r"--dissolve: class 1 makes one geometry of 195 bytes, formats hold at most 150"
    ):
        dissolved(codes, tmp_path / "spool")
    assert not (tmp_path / "spool").exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="dissolved polygons"), Dissolver(tmp_path / "nowhere" / "spool"):
        pass


def test_rows_that_cannot_be() -> None:
    rows = rows_of(batches_of(np.ones((1, 1), np.uint8), 1)[0])
    with pytest.raises(ValueError, match=r"columns of \[0, 1\] rows"):
        replace(rows, wkb=rows.wkb[:0])
    with pytest.raises(ValueError, match="use the dissolver in a with block"):
        Dissolver(Path("nowhere")).add(rows)


def test_mutation_parts_share_edges(tmp_path: Path) -> None:
    """Components only touch in points; two halves of one would make an invalid multipolygon."""
    (halves,) = (rows_of(batch) for batch in batches_of(np.array([[1, 2]], np.uint8), 1))
    joined = replace(halves, class_id=np.zeros(2, np.int64))
    with Dissolver(tmp_path / "spool") as dissolver:
        dissolver.add(joined)
        (row,) = dissolver.classes()
    assert not shapely.from_wkb(row.wkb[0]).is_valid

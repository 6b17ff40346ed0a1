from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS

from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Grid
from geoseg.io.score_raster import opened_scores

TRANSFORM = Affine(10, 0, 500_000, 0, -10, 4_000_000)
GRID = Grid(CRS.from_epsg(32618), TRANSFORM, 3, 3)
CODES = np.array([[1, 1, 9], [2, 1, 9], [255, 2, 2]], np.uint8)


def write(path: Path, data: np.ndarray, transform: Affine = TRANSFORM, **profile: object) -> Path:
    height, width = data.shape
    options = {"crs": "EPSG:32618", "transform": transform, "dtype": data.dtype, "nodata": 255, **profile}
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, count=1, **options) as dataset:
        dataset.write(data, 1)
    return path


def test_scores_are_read_by_rows(tmp_path: Path) -> None:
    values = np.array([[10, 20, 1], [7, 30, 2], [250, 100, 200]], np.uint8)
    with opened_scores(write(tmp_path / "c.tif", values, nodata=0), GRID) as read_rows:
        np.testing.assert_array_equal(read_rows(1, 3), values[1:])
        np.testing.assert_array_equal(read_rows(0, 1), values[:1])


@pytest.mark.parametrize(
    ("data", "transform", "message"),
    [
        (CODES, TRANSFORM @ Affine.translation(1, 0), r"is not on the class raster's grid \(3 × 3\): name .* --scores"),
        (CODES[:2], TRANSFORM, r"\(3 × 2 pixels\) is not on the class raster's grid"),
        (CODES.astype(np.float32), TRANSFORM, r"has bands \('float32',\).*--scores"),
    ],
)
def test_a_foreign_confidence_raster_is_refused(
    data: np.ndarray, transform: Affine, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "c.tif", data, transform)
    with pytest.raises(InputError, match=message), opened_scores(path, GRID):
        pass


def test_an_unreadable_confidence_raster_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(InputMissingError, match=r"none\.tif does not exist"),
        opened_scores(tmp_path / "none.tif", GRID),
    ):
        pass
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(InputError, match=r"text\.tif cannot be read"), opened_scores(tmp_path / "text.tif", GRID):
        pass
    path = write(tmp_path / "cut.tif", np.ones((3, 3), np.uint8), nodata=0)
    path.write_bytes(path.read_bytes()[:-4])
    with (
        pytest.raises(InputError, match=r"cut\.tif cannot be read"),
        opened_scores(path, GRID) as read_rows,
    ):
        read_rows(0, 3)

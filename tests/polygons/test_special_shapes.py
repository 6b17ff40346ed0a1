"""Special shapes through the command line, whole and cut to four vertices, in bands of any height."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from builders import write_raster
from cli_kit import geoseg, polygons_in
from engine_kit import NODATA, SHAPES, text_codes
from rasterio.features import rasterize
from scipy import ndimage

from geoseg.classes import ClassScheme, LandClass
from geoseg.io.class_raster import CLASSES_TAG
from geoseg.polygons import survey as survey_module

CLASSES = ClassScheme(tuple(LandClass(code, f"class {code}", (40 * code, 90, 90)) for code in range(5)))
PLACE = Affine(10, 0, 500_000, 0, -10, 4_200_000)
SHAPINGS = ("--simplify 500", "--simplify 25 --smooth")


def spiral(turns: int) -> np.ndarray:
    """Class 1 winds inwards in class 2, one pixel wide: each band holds both arms many times."""
    size = 4 * turns + 1
    codes, row, col, step = np.full((size, size), 2, np.uint8), 0, 0, (0, 1)
    codes[0, 0] = 1
    for length in [size - 1, *(n for n in range(size - 1, 0, -2) for _ in "ab")]:
        for _ in range(length):
            row, col = row + step[0], col + step[1]
            codes[row, col] = 1
        step = (step[1], -step[0])
    return codes


def comb(teeth: int, height: int) -> np.ndarray:
    """A back at the bottom: the teeth are one only when the last band is seen."""
    codes = np.full((height, 2 * teeth + 1), 2, np.uint8)
    codes[:, ::2] = codes[-1] = 1
    return codes


def ring() -> np.ndarray:
    """A ring with an island of its class's neighbor, its middle where four blocks of 8 × 8 meet."""
    codes = np.full((16, 16), 1, np.uint8)
    codes[4:12, 4:12], codes[6:10, 6:10], codes[7:9, 7:9] = 2, 1, 3
    return codes


def diagonal() -> np.ndarray:
    """Squares that meet at one corner, which is that of four blocks of 8 × 8."""
    codes = np.full((16, 16), 1, np.uint8)
    codes[4:8, 4:8] = codes[8:12, 8:12] = 2
    return codes


LARGE = {
    "spiral through all bands": spiral(8),
    "comb through all bands": comb(20, 30),
    "ring with island across four blocks": ring(),
    "diagonal touch at a block's corner": diagonal(),
    "large checkerboard": np.indices((24, 24)).sum(axis=0).astype(np.uint8) % 2,
    "long row": np.resize(np.array([1, 1, 2, NODATA, 2], np.uint8), (1, 70)),
    "long column": np.resize(np.array([1, 1, 2, NODATA, 2], np.uint8), (70, 1)),
    "large single class": np.ones((40, 33), np.uint8),
}
MAPS = {name: text_codes(text) for name, text in SHAPES.items()} | LARGE


def polygons(codes: np.ndarray, folder: Path, *flags: str) -> gpd.GeoDataFrame:
    here = Path(tempfile.mkdtemp(dir=folder))  # what is up to date would not be made again
    raster = write_raster(here / "map.tif", codes, nodata=NODATA, transform=PLACE)
    with rasterio.open(raster, "r+") as dataset:
        dataset.update_tags(**{CLASSES_TAG: json.dumps(CLASSES.to_json())})  # or all nodata would hold no class
    done = geoseg("vectorize", raster, "-o", here / "o.fgb", *flags)
    assert done.code == 0, done.err
    return polygons_in(here / "o.fgb").reset_index()


def assert_laws(codes: np.ndarray, table: gpd.GeoDataFrame, most: int | None, *, shaped: bool) -> None:
    """Components are SciPy's, the coverage is valid and covers what is there; unshaped it is the map itself."""
    geometry, there = np.asarray(table.geometry.array), codes != NODATA
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    assert shapely.area(geometry).sum() == pytest.approx(there.sum() * 100, rel=1e-9)
    for code in np.unique(codes[there]).tolist():
        labels, n = ndimage.label(codes == code)
        sizes = {int(np.flatnonzero(labels == k)[0]): int((labels == k).sum()) for k in range(1, n + 1)}
        own = table[table.class_id == code].groupby("poly_id").n_pixels
        assert own.agg(["min", "max"]).to_dict("list") == {"min": list(sizes.values()), "max": list(sizes.values())}
        assert list(own.groups) == list(sizes)
    if most is None:
        assert table.poly_id.is_unique
    else:
        rings = 1 + shapely.get_num_interior_rings(geometry)
        assert (shapely.get_num_coordinates(geometry) - rings).max(initial=0) <= most
    if not shaped:
        back = np.full(codes.shape, NODATA, np.uint8)
        if len(table):
            rasterize(zip(geometry, table.class_id, strict=True), out=back, transform=PLACE)
        np.testing.assert_array_equal(back, codes)


@pytest.mark.parametrize("name", MAPS)
def test_whole_and_cut_in_all_bands(name: str, tmp_path, monkeypatch) -> None:
    """The same polygons from bands of one row and of three."""
    codes = MAPS[name]
    for flags, most in ((), None), (("--max-vertices", "4"), 4):
        found = []
        for rows in (1, 3):
            monkeypatch.setattr(survey_module, "BAND_PX", rows * codes.shape[1])
            table = polygons(codes, tmp_path, *flags)
            assert_laws(codes, table, most, shaped=False)
            found.append(sorted(zip(table.poly_id, shapely.to_wkb(table.geometry.array), strict=True)))
        assert found[0] == found[1]


@pytest.mark.parametrize("setting", SHAPINGS)
@pytest.mark.parametrize("name", MAPS)
def test_shaped_and_cut(name: str, setting: str, tmp_path, monkeypatch) -> None:
    codes, most = MAPS[name], 8 if "--smooth" in setting else 4
    monkeypatch.setattr(survey_module, "BAND_PX", 3 * codes.shape[1])
    assert_laws(codes, polygons(codes, tmp_path, *setting.split()), None, shaped=True)
    cut = polygons(codes, tmp_path, *setting.split(), "--max-vertices", str(most))
    assert_laws(codes, cut, most, shaped=True)

"""Results on a national grid: nothing shifted, nothing that depends on tiles; the same hectares in every CRS."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from builders import linear_model, write_raster
from cli_kit import codes_of, geoseg
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from scipy.ndimage import maximum_filter, minimum_filter

STATE_PLANE = "EPSG:2284,98.425"
"""Virginia South in US survey feet; pixels of 30 m."""
FEET = "EPSG:2227"
"""California zone 3, US survey feet."""


def made(command: str, *args: object) -> dict:
    done = geoseg(command, *args, "--json", "--overwrite")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_nothing_is_shifted(piece, model, tmp_path) -> None:
    """Far enough from a boundary both maps say the same, wherever a pixel's center lies on the ground.

    Mutation: the target's corner off by one pixel.
    """
    made("segment", piece, "-o", tmp_path / "own.tif", "-m", model)
    made("segment", piece, "-o", tmp_path / "grid.tif", "-m", model, "--grid", "EPSG:5070,10")
    own, ours = codes_of(tmp_path / "own.tif"), codes_of(tmp_path / "grid.tif")
    with rasterio.open(tmp_path / "own.tif") as source, rasterio.open(tmp_path / "grid.tif") as target:
        rows, cols = np.indices(ours.shape)
        xs, ys = target.transform @ (cols.ravel() + 0.5, rows.ravel() + 0.5)
        back = Transformer.from_crs(target.crs, source.crs, always_xy=True)
        col, row = ~source.transform @ back.transform(xs, ys)
    inside = (col >= 0) & (row >= 0) & (col < own.shape[1]) & (row < own.shape[0])
    assert np.array_equal((ours.ravel() != 255), inside)
    flat = minimum_filter(own, 3) == maximum_filter(own, 3)
    there = tuple(np.floor(at[inside]).astype(int) for at in (row, col))
    sure = flat[there]
    assert sure.mean() > 0.5
    assert np.array_equal(ours.ravel()[inside][sure], own[there][sure])
    assert len(np.unique(own[there][sure])) == 4


def test_equal_bytes_for_any_tile_size_and_aoi(piece, model, tmp_path) -> None:
    """Law 2 on a grid of another CRS and pixel size, in feet. Mutation: a virtual raster for each tile."""
    flags = ("-m", model, "--grid", STATE_PLANE, "--chip", "32", "--margin", "4")
    made("segment", piece, "-o", tmp_path / "a.tif", *flags, "--tile", "1000")
    made("segment", piece, "-o", tmp_path / "b.tif", *flags, "--tile", "24")
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.crs.to_epsg() == 2284
        assert dataset.transform.a == 98.425
        assert (dataset.transform.c / 98.425) == pytest.approx(round(dataset.transform.c / 98.425), abs=1e-6)
        middle = dataset.transform @ (dataset.width / 2, dataset.height / 2)
        around = gpd.GeoSeries.from_xy([middle[0]], [middle[1]], crs=dataset.crs).buffer(1000)
    around.to_frame("geometry").to_file(tmp_path / "aoi.gpkg")
    made("segment", piece, "-o", tmp_path / "c.tif", *flags, "--aoi", tmp_path / "aoi.gpkg", "--tile", "30")
    whole, part = codes_of(tmp_path / "a.tif"), codes_of(tmp_path / "c.tif")
    seen = part != 255
    assert 300 < seen.sum() < part.size
    assert np.array_equal(part[seen], whole[seen])


def test_another_files_grid_is_taken_as_it_is(piece, model, tmp_path) -> None:
    with rasterio.open(piece) as dataset:
        corner = dataset.transform @ (20.5, 30.5)
    place = Affine(17, 0, corner[0], 0, -17, corner[1])
    like = write_raster(tmp_path / "like.tif", np.zeros((40, 60), "uint8"), transform=place)
    made("segment", piece, "-o", tmp_path / "a.tif", "-m", model, "--grid", like)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert (dataset.transform, dataset.shape) == (place, (40, 60))
        assert (dataset.read(1) != 255).all()


def test_nodata_keeps_its_place_and_size(model, tmp_path) -> None:
    """A hole of 10 × 10 pixels in one of six bands stays one of 20 × 20 half as large, without a rim of interpolation.

    Mutation: presence read bilinearly; or GDAL left to think that one good band makes a good pixel.
    """
    data = np.full((6, 60, 60), 1500, "uint16")
    data[3, 20:30, 40:50] = 0
    names = ("blue", "green", "red", "nir", "swir16", "swir22")
    scene = write_raster(tmp_path / "scene.tif", data, names=names, nodata=0)
    made("segment", scene, "-o", tmp_path / "a.tif", "-m", model, "--scale", "0.0001", "--grid", "EPSG:32618,5")
    expected = np.zeros((120, 120), bool)
    expected[40:60, 80:100] = True
    assert np.array_equal(codes_of(tmp_path / "a.tif") == 255, expected)


@pytest.fixture(scope="module")
def bay(shared, tmp_path_factory) -> dict[str, Path]:
    """San Francisco in Web Mercator, and copies of a piece of it in UTM and in feet."""
    folder = tmp_path_factory.mktemp("bay")
    source = shared / "scale_rasters" / "san_francisco_landsat7_rgb.tif"
    files = {"mercator": folder / "mercator.tif"}
    with rasterio.open(source) as dataset:
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 0, "tiled": True}
        own = {"crs": dataset.crs, "transform": dataset.transform, "width": dataset.width, "height": dataset.height}
        with rasterio.open(files["mercator"], "w", **profile, **own) as copy:
            copy.write(dataset.read(1), 1)
    for name, crs, size in (("utm", "EPSG:32610", 10.0), ("feet", FEET, 10 * 3937 / 1200)):
        files[name] = folder / f"{name}.tif"
        with rasterio.open(files["mercator"]) as dataset:
            transform, width, height = calculate_default_transform(
                dataset.crs, crs, dataset.width, dataset.height, *dataset.bounds, resolution=size
            )
            place = {"crs": crs, "transform": transform, "width": width, "height": height}
            with (
                WarpedVRT(dataset, resampling=Resampling.nearest, tolerance=1e-6, **place) as seen,
                rasterio.open(files[name], "w", **profile, **place) as copy,
            ):
                copy.write(seen.read(1), 1)
    return files


@pytest.mark.slow
def test_the_same_hectares_in_mercator_utm_and_feet(bay, tmp_path) -> None:
    """0.1 % for each class; in Web Mercator the plane would say 60 % more."""
    weight = np.array([0.0, 1.0, 2.0])[:, None, None, None]
    model = linear_model(tmp_path / "m.safetensors", weight, [0, -91.5, -198.0], gsd_m=(1.0, 60.0)).path
    hectares = {}
    for name, path in bay.items():
        result = made("segment", path, "-o", tmp_path / f"{name}.tif", "-m", model, "--bands", "b1=1")
        hectares[name] = np.array(list(result["summary"]["area_m2"].values())) / 1e4
    assert (hectares["mercator"] > 40_000).all()
    assert hectares["utm"] == pytest.approx(hectares["mercator"], rel=1e-3)
    assert hectares["feet"] == pytest.approx(hectares["mercator"], rel=1e-3)
    with rasterio.open(bay["mercator"]) as dataset:
        plane = np.bincount(codes_of(tmp_path / "mercator.tif").ravel())[[10, 20, 30]] * dataset.transform.a**2 / 1e4
    assert (plane > 1.5 * hectares["mercator"]).all()

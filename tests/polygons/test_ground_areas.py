"""The same hectares in every CRS, and the Earth's own in longitude and latitude: areas as the polygons' table says."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from builders import write_raster
from cli_kit import geoseg
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

from geoseg import ground

NODATA = 255
US_FOOT = 1200 / 3937
WGS84_E2 = 0.0066943799901413165


def blobs(height: int, width: int) -> np.ndarray:
    """(row, col) four classes, every pixel valid."""
    field = gaussian_filter(np.random.default_rng(8).standard_normal((height, width)), 3)
    return np.digitize(field, np.quantile(field, [0.3, 0.6, 0.85])).astype(np.uint8)


def areas(raster: Path, output: Path, *flags: str) -> dict[int, float]:
    """Square meters by class code, summed over the polygons as written."""
    done = geoseg("vectorize", raster, "-o", output, *flags)
    assert done.code == 0, done.err
    table = pyogrio.read_dataframe(output, read_geometry=False)
    return {int(code): float(sum(own.area_m2)) for code, own in table.groupby("class_id")}


def authalic(south: float, north: float, width: float) -> float:
    """Area between two parallels, all in degrees, on WGS 84: Snyder, USGS PP 1395, 3-12, written out."""
    e = math.sqrt(WGS84_E2)

    def q(degrees: float) -> float:
        s = math.sin(math.radians(degrees))
        return (1 - e * e) * (s / (1 - e * e * s * s) - math.log((1 - e * s) / (1 + e * s)) / (2 * e))

    return 6378137.0**2 / 2 * (q(north) - q(south)) * math.radians(width)


SETTINGS = ["", "--simplify 900", "--smooth", "--simplify 400 --smooth", "--mmu 9px", "--max-vertices 40"]
CORNERS = {"north": (10.0, 61.0, 1e-3), "south": (140.0, -20.0, 1e-3), "over the equator": (-60.0, 0.7, 0.01)}


@pytest.mark.parametrize("setting", [*SETTINGS, "--out-crs EPSG:3857"], ids=lambda flags: flags or "raw")
@pytest.mark.parametrize("place", CORNERS)
def test_longitude_and_latitude_sum_to_the_authalic_area(place: str, setting: str, tmp_path) -> None:
    """To 1e-9, since lines inside are measured once for both sides. Mutation: the Earth is a sphere, see below."""
    left, top, step = CORNERS[place]
    transform = Affine(step, 0, left, 0, -step, top)
    raster = write_raster(tmp_path / "m.tif", blobs(130, 160), crs="EPSG:4326", transform=transform, nodata=NODATA)
    total = sum(areas(raster, tmp_path / "o.fgb", *setting.split()).values())
    assert total == pytest.approx(authalic(top - 130 * step, top, 160 * step), rel=1e-9)


def test_the_whole_globe(tmp_path) -> None:
    """A step of two degrees from pole to pole: the ellipsoid's surface."""
    raster = write_raster(
        tmp_path / "m.tif", blobs(90, 180), crs="EPSG:4326", transform=Affine(2, 0, -180, 0, -2, 90), nodata=NODATA
    )
    total = sum(areas(raster, tmp_path / "o.fgb").values())
    assert total == pytest.approx(authalic(-90, 90, 360), rel=1e-9)
    assert total == pytest.approx(510_065_621.724e6, rel=1e-9)  # Karney's figure for WGS 84


def test_mutation_the_earth_is_a_sphere(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ground, "_authalic", lambda sin_lat, _: 2 * sin_lat)
    transform = Affine(1e-3, 0, 10, 0, -1e-3, 61)
    raster = write_raster(tmp_path / "m.tif", blobs(130, 160), crs="EPSG:4326", transform=transform, nodata=NODATA)
    total = sum(areas(raster, tmp_path / "o.fgb").values())
    assert total != pytest.approx(authalic(60.87, 61, 0.16), rel=1e-4)


MAPS = {
    "iowa": ("iowa_cdl2016_labels_8000.tif", Window(2500, 2500, 1500, 1500), 1.0, "EPSG:32615", "EPSG:3417"),
    "outer banks": ("nc_outer_banks_ccap_labels.tif", Window(300, 1800, 500, 500), 5.0, "EPSG:32618", "EPSG:2264"),
}


@pytest.fixture(scope="module", params=MAPS)
def copies(request, shared, tmp_path_factory) -> dict[str, Path]:
    """A piece of a real map, and nearest copies with pixels some times finer in Web Mercator, UTM and US survey feet.

    Copies reach beyond the piece, so that none of it is lost; what is outside is nodata.
    """
    name, window, fine_m, utm, feet = MAPS[request.param]
    source = shared / "scale_rasters" / name
    if not source.is_file():
        pytest.skip(f"the class map {name} is not among the shared data")
    folder = tmp_path_factory.mktemp("copies")
    files = {"own": folder / "own.tif"}
    with rasterio.open(source) as dataset:
        corner = dataset.window_transform(window)
        place = {"width": window.width, "height": window.height, "transform": corner}
        with rasterio.open(files["own"], "w", **dataset.profile | place) as target:
            target.write(dataset.read(window=window))
    for way, crs, unit in (("mercator", "EPSG:3857", 1.0), ("utm", utm, 1.0), ("feet", feet, US_FOOT)):
        files[way] = folder / f"{way}.tif"
        with rasterio.open(files["own"]) as dataset:
            left, bottom, right, top = transform_bounds(dataset.crs, crs, *dataset.bounds, densify_pts=50)
            step = fine_m / unit
            place = {
                "crs": crs,
                "transform": Affine(step, 0, left - step, 0, -step, top + step),
                "width": math.ceil((right - left) / step) + 2,
                "height": math.ceil((top - bottom) / step) + 2,
            }
            profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": dataset.nodata, "tiled": True}
            with (
                WarpedVRT(dataset, resampling=Resampling.nearest, tolerance=1e-6, **place) as seen,
                rasterio.open(files[way], "w", **profile, **place) as target,
            ):
                target.write(seen.read(1), 1)
    return files


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_hectares_in_every_crs(copies, tmp_path) -> None:
    """0.1 % for each class of 500 ha and more; smaller ones are noise of the copying.

    Up to 0.08 % of it is UTM's own: planar, and a little small along the central meridian. In the plane of Web
    Mercator all would be 40 % larger and more.
    """
    found = {name: areas(path, tmp_path / f"{name}.fgb") for name, path in copies.items()}
    large = [code for code, area in found["own"].items() if area >= 5e6]
    assert len(large) >= 2
    for name in ("mercator", "utm", "feet"):
        for code in large:
            assert found[name][code] == pytest.approx(found["own"][code], rel=1e-3), (name, code)
            print(
                f"{name} {code}: {found['own'][code] / 1e4:,.1f} ha, {found[name][code] / found['own'][code] - 1:+.5f}"
            )
        assert sum(found[name].values()) == pytest.approx(sum(found["own"].values()), rel=1e-3)
    with rasterio.open(copies["mercator"]) as dataset:
        codes = dataset.read(1)
        plane = (codes != dataset.nodata).sum() * dataset.transform.a**2
    assert plane > 1.4 * sum(found["mercator"].values())


@pytest.mark.parametrize(("crs", "unit"), [("EPSG:3417", US_FOOT), ("EPSG:32615", 1.0)])
def test_planar_areas_are_those_of_the_pixels(crs: str, unit: float, tmp_path) -> None:
    left, top = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(-93.4, 42.1)
    transform = Affine(30, 0, left, 0, -30, top)
    codes = blobs(90, 120)
    raster = write_raster(tmp_path / "m.tif", codes, crs=crs, transform=transform, nodata=NODATA)
    found = areas(raster, tmp_path / "o.fgb")
    pixels = np.bincount(codes.ravel())
    assert found == pytest.approx({code: n * (30 * unit) ** 2 for code, n in enumerate(pixels.tolist())}, rel=1e-9)

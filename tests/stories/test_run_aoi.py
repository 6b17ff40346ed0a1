"""A run on a part of a scene, and on one that holds nothing: what is read, shown and said."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from builders import write_raster
from cli_kit import BANDS, CLASSES, geoseg
from PIL import Image
from shapely import box

from geoseg.io.record import verify_record
from geoseg.picture import render_preview

UNCHECKED = "no valid pixel found: values were not checked; check --nodata, --collar, --mask and --aoi"


def aoi(path: Path, raster: Path, left: int, top: int, right: int, bottom: int) -> Path:
    """A rectangle of pixels as an area of interest."""
    with rasterio.open(raster) as dataset:
        (x0, y0), (x1, y1) = dataset.transform @ (left, top), dataset.transform @ (right, bottom)
        gpd.GeoDataFrame(geometry=[box(x0, y1, x1, y0)], crs=dataset.crs).to_file(path)
    return path


def test_a_scene_without_a_valid_pixel_is_no_silent_success(model, tmp_path) -> None:
    empty = write_raster(tmp_path / "empty.tif", np.zeros((6, 40, 50), "uint16"), names=BANDS, nodata=0)
    done = geoseg("run", empty, "-o", tmp_path / "out", "-m", model, "--json")
    assert (done.code, UNCHECKED in done.err) == (0, True)
    assert UNCHECKED in json.loads(done.out)["summary"]["warnings"]


def test_hopeless_values_in_a_small_area_are_refused(model, tmp_path) -> None:
    """Plausible everywhere but in 20 × 20 pixels, and those are all that is asked for."""
    data = np.full((6, 1500, 1500), 0.1, "float32")
    data[:, 305:325, 405:425] = 2000
    scene = write_raster(tmp_path / "scene.tif", data, names=BANDS)
    where = aoi(tmp_path / "aoi.gpkg", scene, 405, 305, 425, 325)
    done = geoseg("run", scene, "-o", tmp_path / "out", "-m", model, "--aoi", where)
    assert (done.code, "has values around 2000" in done.last) == (65, True)


def damaged(path: Path, col: int, row: int) -> Path:
    """640 × 640 pixels in blocks of 64, one of which cannot be decoded."""
    data = np.random.default_rng(0).integers(100, 3000, (6, 640, 640)).astype("uint16")
    blocks = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "interleave": "pixel"}
    write_raster(path, data, names=BANDS, **blocks)
    with rasterio.open(path) as dataset:
        start = int(dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 8)
    return path


def test_damage_far_from_the_area_of_interest_does_not_matter(model, tmp_path) -> None:
    scene = damaged(tmp_path / "scene.tif", 9, 9)
    where = aoi(tmp_path / "aoi.gpkg", scene, 70, 70, 190, 130)
    call = ("run", scene, "-o", tmp_path / "out", "-m", model, "--scale", "0.0001", "--aoi", where)
    done = geoseg(*call, "--margin", "4", "--tile", "128")
    assert (done.code, "true-color" in done.err) == (0, False), done.err
    with Image.open(tmp_path / "out" / "scene.preview.png") as page:
        seen = {color: count for count, color in page.convert("RGB").getcolors(maxcolors=2**24)}
    # 136 × 74 pixels shown on a panel of 1504 × 550: the AOI's part is the larger one.
    assert sum(seen.get(land.color, 0) for land in CLASSES.classes) > 0.5 * 1000 * 544


def test_a_preview_without_its_image_is_still_a_preview(model, tmp_path, monkeypatch) -> None:
    """The image's overviews are read for nothing but the preview: damage in them costs one panel, no result."""
    data = np.random.default_rng(0).integers(100, 3000, (6, 256, 256)).astype("uint16")
    scene = write_raster(tmp_path / "scene.tif", data, names=BANDS, tiled=True, blockxsize=64, blockysize=64)
    with rasterio.Env(TIFF_USE_OVR=True, COMPRESS_OVERVIEW="DEFLATE"), rasterio.open(scene, "r+") as dataset:
        dataset.build_overviews([2])
    overviews = tmp_path / "scene.tif.ovr"
    raw = bytearray(overviews.read_bytes())
    raw[len(raw) // 4 : 3 * len(raw) // 4] = b"\xff" * (3 * len(raw) // 4 - len(raw) // 4)
    overviews.write_bytes(raw)
    for module in ("photographer", "pictures"):
        monkeypatch.setattr(f"geoseg.stories.{module}.PICTURE_PX", 128)
    done = geoseg("run", scene, "-o", tmp_path / "out", "-m", model, "--scale", "0.0001")
    assert done.code == 0, done.err
    assert "without its true-color panel: scene.tif cannot be decoded for a picture" in done.err
    assert verify_record(tmp_path / "out" / "scene.json") == []


@pytest.mark.filterwarnings("ignore::rasterio.errors.RasterioDeprecationWarning")
def test_a_look_with_another_program_leaves_a_run_up_to_date(piece, model, tmp_path) -> None:
    call = ["run", piece, "-o", tmp_path, "-m", model]
    assert geoseg(*call).code == 0
    with rasterio.open(piece) as dataset:
        dataset.statistics(1, approx=False, clear_cache=False)
    assert piece.with_name("piece.tif.aux.xml").exists()
    assert "up to date" in geoseg(*call).out


@pytest.mark.parametrize(
    ("holes", "part", "legend"),
    [
        (True, None, "no data"),
        (False, (10, 10, 40, 30), "outside the AOI"),
        (True, (10, 10, 40, 30), "outside the AOI / no data"),
    ],
)
def test_the_legend_says_why_pixels_have_no_class(model, tmp_path, monkeypatch, holes, part, legend) -> None:
    data = np.full((6, 50, 60), 0.1, "float32")
    data[:, 20, 20] = np.nan if holes else 0.1
    scene = write_raster(tmp_path / "scene.tif", data, names=BANDS)
    where = ["--aoi", aoi(tmp_path / "aoi.gpkg", scene, *part)] if part else []
    said = []
    monkeypatch.setattr(
        "geoseg.stories.pictures.render_preview", lambda *a, **k: said.append(k["empty"]) or render_preview(*a, **k)
    )
    assert geoseg("run", scene, "-o", tmp_path / "out", "-m", model, *where).code == 0
    assert said == [legend]

"""HLS, folders of one file per band, single files of known and unknown makers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from trees import CORNER, CORNER_30, hls, raster, tarred, zipped

from geoseg.errors import InputError, InputMissingError, UsageError
from geoseg.products.product import Product
from geoseg.products.recognize import recognize

ONE = np.full((4, 4), 700, np.uint16)


def told(path: Path, sensor: str = "auto") -> Product:
    product = recognize([path], sensor)
    assert product is not None
    return product


def test_hls_ids_mean_different_bands(tmp_path: Path) -> None:
    data = dict.fromkeys(("B02", "B04", "B05", "B06", "B07", "B10", "B11"), ONE)
    landsat = told(hls(tmp_path, data, kind="L30", fmask=np.zeros((4, 4))))
    sentinel = told(hls(tmp_path, data | {"B8A": ONE, "B08": ONE}, kind="S30"))
    assert (landsat.sensor, sentinel.sensor) == ("hls-l30", "hls-s30")
    names = [{band.id: band.name for band in product.bands} for product in (landsat, sentinel)]
    assert (names[0]["B05"], names[0]["B06"], names[0]["B11"]) == ("nir", "swir16", "thermal12")
    assert (names[1]["B05"], names[1]["B06"], names[1]["B11"]) == ("rededge071", "rededge075", "swir16")
    assert (names[1]["B08"], names[1]["B8A"]) == ("nir", "nir_narrow")
    assert landsat.acquired == sentinel.acquired == datetime(2021, 7, 4, 15, 46, 9, tzinfo=UTC)  # day 185
    assert landsat.scene_id == "HLS.L30.T18SVG.2021185T154609.v2.0"
    assert [layer.rule for layer in landsat.quality] == ["hls-fmask"]
    assert "no quality layer *.Fmask.tif here: clouds cannot be masked by it" in sentinel.notes
    assert {(band.scale, band.offset) for band in sentinel.bands if band.id != "B10"} == {(0.0001, 0.0)}
    assert {band.nodata for band in landsat.bands} == {-9999}
    assert landsat.radiometry == "preset"


def test_hls_archives(tmp_path: Path) -> None:
    folder = hls(tmp_path, {"B04": ONE, "B05": ONE * 2}, fmask=np.zeros((4, 4)))
    for archive in (zipped(folder), zipped(folder, "flat.zip", bare=True), tarred(folder)):
        product = told(archive)
        assert [replace(band, path="") for band in product.bands] == [
            replace(band, path="") for band in told(folder).bands
        ]
        with rasterio.open(product.bands[1].path) as dataset:
            assert (dataset.read(1) == 1400).all()
    assert recognize([next(folder.glob("*B04.tif"))]) is None  # one band is no scene


def test_a_folder_of_common_names(tmp_path: Path) -> None:
    folder = tmp_path / "field7"
    for word, value in (("red", 1), ("swir1", 2), ("nir08", 3), ("preview", 4)):
        raster(folder / f"field7_{word}.tif", ONE * value, CORNER)
    raster(folder / "sub" / "x_blue.tif", ONE, CORNER)
    (folder / "._field7_green.tif").write_bytes(b"what macOS leaves")
    product = told(folder)
    assert [(band.name, Path(band.path).name) for band in product.bands] == [
        ("red", "field7_red.tif"),
        ("nir", "field7_nir08.tif"),
        ("swir16", "field7_swir1.tif"),
    ]
    assert (product.sensor, product.radiometry, product.scene_id) == ("none", "none", "field7")
    assert {(band.scale, band.offset, band.nodata) for band in product.bands} == {(1.0, 0.0, None)}
    assert [band.gsd_m for band in product.bands] == pytest.approx([10.0] * 3, rel=2e-3)
    raster(folder / "field7_nir.tif", ONE, CORNER)
    names = {Path(band.path).name: band.name for band in told(folder).bands}
    assert (names["field7_nir.tif"], names["field7_nir08.tif"]) == ("nir", "nir_narrow")


def test_files_keep_their_own_scale_and_nodata(tmp_path: Path) -> None:
    path = raster(tmp_path / "a" / "x_red.tif", ONE, CORNER, nodata=65535)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5,), (0.25,)
    (band,) = told(tmp_path / "a").bands
    assert (band.scale, band.offset, band.nodata) == (0.5, 0.25, None)
    (band,) = told(tmp_path / "a", "s2-l2a").bands
    assert (band.id, band.scale, band.nodata) == ("B04", 0.0001, None)


def test_a_folder_with_a_preset_named(tmp_path: Path) -> None:
    for word in ("B2", "B08", "B8A", "x"):
        raster(tmp_path / f"clip.{word}.tif", ONE, CORNER)
    product = told(tmp_path, "s2-l1c")
    assert [(band.id, band.name) for band in product.bands] == [("B02", "blue"), ("B08", "nir"), ("B8A", "nir_narrow")]
    raster(tmp_path / "other_blue.tif", ONE, CORNER)
    with pytest.raises(InputError, match=r"B02 is both band 1 of .*clip\.B2\.tif and band 1 of .*other_blue\.tif"):
        told(tmp_path, "s2-l1c")
    (tmp_path / "other_blue.tif").unlink()
    with pytest.raises(InputError, match=r"is no product of naip: it holds 4 × \.tif"):
        told(tmp_path, "naip")


def test_bare_tiffs(tmp_path: Path) -> None:
    four = np.stack([ONE, ONE * 2, ONE * 3, ONE * 4])
    plain = raster(tmp_path / "quad.tif", four.astype(np.uint8), CORNER, photometric="minisblack")
    assert recognize([plain]) is None
    naip = told(plain, "naip")
    assert [(band.index, band.name) for band in naip.bands] == [(1, "red"), (2, "green"), (3, "blue"), (4, "nir")]
    assert naip.radiometry == "none"
    assert naip.notes == ("the bands have no names; taken by position: red, green, blue, nir",)
    quad = raster(tmp_path / "m_3807612_se_18_1_20140713.tif", four.astype(np.uint8), CORNER, photometric="minisblack")
    assert told(quad).sensor == "naip"
    with pytest.raises(InputError, match=r"quad\.tif: no band is described or named as one of rgb8"):
        told(plain, "rgb8")


def test_descriptions_go_before_positions(tmp_path: Path) -> None:
    path = raster(tmp_path / "stack.tif", np.stack([ONE, ONE, ONE]), CORNER)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("B8A", "ndvi", "B4")
    product = told(path, "s2-l2a")
    assert [(band.index, band.name) for band in product.bands] == [(3, "red"), (1, "nir_narrow")]
    assert (product.needs_offset, product.quality, product.scene_id) == (True, (), "stack")


def test_planet_by_its_name(tmp_path: Path) -> None:
    stem = "20230615_155821_12_24a1"
    path = raster(tmp_path / f"{stem}_3B_AnalyticMS_SR_8b.tif", np.stack([ONE] * 8), CORNER)
    raster(tmp_path / f"{stem}_3B_udm2.tif", np.stack([ONE] * 8).astype(np.uint8), CORNER)
    raster(tmp_path / "20230615_155821_99_24a1_3B_udm2.tif", ONE.astype(np.uint8), CORNER)
    product = told(path)
    assert (product.sensor, product.scene_id) == ("planet", stem)
    assert [band.name for band in product.bands] == [
        "coastal",
        "blue",
        "green_narrow",
        "green",
        "yellow",
        "red",
        "rededge071",
        "nir",
    ]
    assert {(band.scale, band.nodata) for band in product.bands} == {(0.0001, 0)}
    assert [(Path(layer.path).name, layer.rule) for layer in product.quality] == [
        (f"{stem}_3B_udm2.tif", "planet-udm2")
    ]
    four = raster(tmp_path / "b" / f"{stem}_3B_AnalyticMS_SR_clip.tif", np.stack([ONE] * 4), CORNER)
    assert [band.name for band in told(four).bands] == ["blue", "green", "red", "nir"]
    assert told(four.parent).bands == told(four).bands


def test_refusals(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif", ONE, CORNER)
    with pytest.raises(InputError, match=r"is no raster file; leave --sensor none out"):
        recognize([tmp_path], "none")
    assert recognize([path], "none") is None
    with pytest.raises(UsageError, match=r"a scene by itself, but 2 inputs"):
        recognize([path, tmp_path])
    with pytest.raises(InputMissingError, match=r"x\.SAFE\.zip"):
        recognize([tmp_path / "x.SAFE.zip"])
    with pytest.raises(InputMissingError, match="nothing"):
        recognize([tmp_path / "nothing.tif"], "naip")
    with pytest.raises(UsageError, match=r"--sensor 's2' is unknown; use auto, none, hls-l30, .*s2-l2a"):
        recognize([path], "s2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="it holds nothing"):
        recognize([tmp_path / "empty"])


def test_ambiguous_folder(tmp_path: Path) -> None:
    folder = hls(tmp_path, {"B04": ONE}, kind="L30")
    for path in hls(tmp_path, {"B04": ONE}, kind="S30").iterdir():
        path.rename(folder / path.name)
    with pytest.raises(InputError, match=r"could be hls-l30, hls-s30; say which with --sensor"):
        told(folder)
    assert told(folder, "hls-s30").bands[0].name == "red"


def test_a_grid_of_no_crs(tmp_path: Path) -> None:
    path = tmp_path / "r" / "x_red.tif"
    path.parent.mkdir()
    with rasterio.open(path, "w", width=4, height=4, count=1, dtype="uint16", transform=CORNER_30) as dataset:
        dataset.write(ONE, 1)
    with pytest.raises(InputError, match="--assume-crs"):
        recognize([path.parent])
    product = recognize([path.parent], assume_crs="EPSG:32618")
    assert product is not None
    assert product.bands[0].gsd_m == pytest.approx(30, rel=2e-3)

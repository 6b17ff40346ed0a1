"""The first forty rows of the table of inputs: each gives the exact result, or one clear line and its exit code.

Truth is known by hand: the model of most rows answers with the band that holds the largest number.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import odd_rasters as odd
import pytest
import rasterio
import rasterio.shutil
import shapely
import torch
from affine import Affine
from builders import NORTH_UP, UTM, argmax_model, stencil_model, write_raster
from cli_kit import Done, codes_of, geoseg, measured, polygons_in, start
from pyproj import CRS, Geod, Transformer
from rasterio.errors import RasterioIOError
from rasterio.features import rasterize

from geoseg.grid import Window
from geoseg.io import cog
from geoseg.io.compose import open_scene
from geoseg.io.handles import close_all
from geoseg.io.record import read_record, recorded
from geoseg.io.sample import fingerprint
from geoseg.io.spool import RasterSpool
from geoseg.model.file import load_tensors

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

NODATA = 255
Maker = Callable[[Path], Path]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "argmax": argmax_model(folder / "argmax.safetensors", 3).path,
        "coarse": argmax_model(folder / "coarse.safetensors", 3, gsd_m=(20.0, 20.0)).path,
        "stencil": stencil_model(folder / "stencil.safetensors", 4).path,
        "strided": stencil_model(folder / "strided.safetensors", 4, stride=8, margin=8).path,
    }


def row(number: int, words: str, *values: Any) -> Any:
    return pytest.param(*values, id=f"{number} {words}")


def refused(done: Done, code: int, *said: str) -> None:
    """One line on standard error that holds every phrase, and the exit code."""
    assert done.code == code, done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert done.out == ""
    for phrase in said:
        assert phrase in done.err


def run(path: Path | str, out: Path, model: Path, *flags: str) -> Done:
    done = geoseg("run", path, "-o", out, "-m", model, "-q", *flags)
    assert done.code == 0, done.err
    return done


def exact(path: Path, out: Path, truth: np.ndarray) -> None:
    """Class raster and polygons hold the truth, codes (row, col), on the input's own grid."""
    with rasterio.open(out / f"{path.stem}.classes.tif") as ours, rasterio.open(path) as theirs:
        np.testing.assert_array_equal(ours.read(1), truth)
        assert (ours.transform, ours.shape) == (theirs.transform, theirs.shape)
        assert theirs.crs is None or wkt2(ours) == wkt2(theirs)
        transform = ours.transform
    table = polygons_in(out / f"{path.stem}.polygons.gpkg")
    assert shapely.is_valid(table.geometry).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(table.geometry)).all()
    again = rasterize(
        zip(table.geometry, table.class_id, strict=True), truth.shape, fill=NODATA, transform=transform, dtype="uint8"
    )
    np.testing.assert_array_equal(again, truth)
    for code in np.unique(table.class_id):
        part = table[table.class_id == code]
        count = int((truth == code).sum())
        assert part.n_pixels.sum() == count
        assert shapely.area(part.geometry.array).sum() == pytest.approx(count * abs(transform.determinant), rel=1e-9)


def wkt2(dataset: Any) -> str:
    return dataset.crs.to_wkt(version="WKT2_2019")


def largest_band(made: odd.Odd) -> np.ndarray:
    """Codes 10, 20, 30 of the band with the largest number, nodata where invalid."""
    return np.where(made.valid, 10 * (made.data.argmax(0) + 1), NODATA)


def convolved(data: np.ndarray, model: Path, radius: int = 4) -> np.ndarray:
    """Codes by the stencil over the whole raster at once, edges mirrored."""
    tensors = load_tensors(model)
    padded = np.pad(data, [(0, 0), (radius, radius), (radius, radius)], mode="reflect").astype("float32")
    logits = torch.nn.functional.conv2d(torch.from_numpy(padded)[None], tensors["weight"], tensors["bias"])[0]
    return 10 * (logits.argmax(0).numpy() + 1)


def summary(out: Path, stem: str = "scene") -> dict[str, Any]:
    return read_record(out / f"{stem}.json")["geoseg:summary"]


def notes(out: Path, stem: str = "scene") -> list[str]:
    return read_record(out / f"{stem}.json")["properties"]["geoseg:notes"]


# ── rows that are refused ────────────────────────────────────────────────────────────────────────────────────────────


def missing(folder: Path) -> Path:
    return folder / "nowhere.tif"


def is_folder(folder: Path) -> Path:
    (folder / "scene.tif").mkdir()
    return folder / "scene.tif"


def holding(content: bytes) -> Maker:
    def make(folder: Path) -> Path:
        (folder / "scene.tif").write_bytes(content)
        return folder / "scene.tif"

    return make


def stored(**profile: Any) -> Maker:
    return lambda folder: odd.good(**profile)(folder).path


HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
REFUSED = [
    row(1, "missing path", missing, 66, ["nowhere.tif", "No such file"]),
    row(2, "directory", is_folder, 65, ["scene.tif is no product", "name the raster files"]),
    row(3, "zero bytes", holding(b""), 65, ["empty (0 bytes)", "again"]),
    row(4, "text", holding(b"x,y,class\n1,2,3\n"), 65, ["scene.tif cannot be read as a raster"]),
    row(4, "HTML", holding(HTML), 65, ["scene.tif cannot be read as a raster"]),
    row(6, "IFD loop", odd.patched(odd.loop), 65, ["directory 1 leads back", "again"]),
    row(6, "first IFD past EOF", odd.patched(odd.first_beyond), 65, ["100000000", "again"]),
    row(6, "next IFD past EOF", odd.patched(odd.next_beyond), 65, ["100000000", "again"]),
    row(6, "list of strips past EOF", odd.patched(odd.list_beyond), 65, ["field 273", "100000000", "again"]),
    row(6, "tile past EOF", odd.patched(odd.block_beyond, **odd.BLOCKS_16), 65, ["columns 48…63, rows 0…15", "again"]),
    row(10, "device", lambda _: Path("/dev/zero"), 65, ["/dev/zero is a pipe or a device", "save the raster"]),
    row(16, "100 000² of 1-row strips", odd.declared(100_000, 100_000), 65, ["100000 × 100000", "its 122 bytes"]),
    row(16, "2³¹−1 squared", odd.declared(2**31 - 1, 2**31 - 1), 65, ["2147483647", "its 122 bytes"]),
    row(16, "tiles", odd.declared(100_000, 100_000, tile=(512, 512)), 65, ["100000 × 100000", "its 134 bytes"]),
    row(25, "no CRS", stored(crs=None), 65, ["has no CRS", "--assume-crs EPSG:"]),
    row(26, "no transform", stored(crs=None, transform=None), 65, ["no CRS and no transform", "gdal_edit.py"]),
    row(27, "CRS but identity", stored(transform=None), 65, ["a CRS but no transform", "-a_ullr"]),
    row(31, "GCP only", odd.with_gcps, 65, ["4 ground control points", "gdalwarp -tps scene.tif"]),
    row(32, "RPC only", odd.with_rpcs, 65, ["RPCs", "gdalwarp -rpc"]),
]


@pytest.mark.parametrize(("make", "code", "said"), REFUSED)
def test_refused_in_one_line(make, code, said, models, tmp_path, capfd):
    path = make(tmp_path)
    done = (
        geoseg("run", path, "-o", tmp_path / "out", "-m", models["argmax"], "--assume-crs", UTM, "-q")
        if (path.with_suffix(".tfw").exists())
        else geoseg("run", path, "-o", tmp_path / "out", "-m", models["argmax"], "-q")
    )
    refused(done, code, *said)
    assert capfd.readouterr().err == ""  # what GDAL says by itself
    assert not (tmp_path / "out").exists()


STORAGES: list[dict[str, Any]] = [
    {},
    {"compress": "deflate", **odd.BLOCKS_16},
    {"compress": "lzw", "tiled": True, "blockxsize": 32, "blockysize": 32, "interleave": "pixel"},
    {"compress": "deflate", "BIGTIFF": "YES", "ENDIANNESS": "BIG"},
    {"compress": "deflate", "driver": "COG"},
]


@pytest.mark.parametrize("storage", STORAGES, ids=["strips", "tiles", "pixel-interleaved", "big-endian BigTIFF", "COG"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.99], ids=lambda share: f"5 truncated at {share:.0%}")
def test_a_cut_file_names_its_first_missing_block(share, storage, models, tmp_path, capfd):
    path = odd.cut_to(share, **storage)(tmp_path)
    done = geoseg("run", path, "-o", tmp_path / "out", "-m", models["argmax"], "-q")
    refused(done, 65, "copy")
    with rasterio.open(path) as dataset, pytest.raises(RasterioIOError):
        dataset.read(window=window_named(done))


@pytest.mark.parametrize("codec", ["deflate", "lzw"])
def test_7_flipped_bit_names_the_window(codec, models, tmp_path, capfd):
    """The damaged block lies between the windows that are sampled first, so that a worker's thread meets it."""
    path = odd.flip_detected(tmp_path, codec, col=9, row=9)
    done = geoseg("run", path, "-o", tmp_path / "out", "-m", models["argmax"], "-q")
    refused(done, 65, "cannot be decoded", "copy it again")
    window = window_named(done)
    assert window.col_off < 9 * 16 + 16
    assert window.col_off + window.width > 9 * 16
    assert window.row_off < 9 * 16 + 16
    assert window.row_off + window.height > 9 * 16
    assert max(window.width, window.height) <= 32
    assert capfd.readouterr().err == ""
    assert list((tmp_path / "out").iterdir()) == []


def window_named(done: Done) -> Any:
    found = re.search(r"columns (\d+)…(\d+), rows (\d+)…(\d+)", done.err)
    assert found, done.err
    left, right, top, bottom = map(int, found.groups())
    return rasterio.windows.Window(left, top, right - left + 1, bottom - top + 1)


def test_8_a_flip_that_nothing_detects_is_told_by_the_fingerprint(models, tmp_path):
    """ZSTD keeps no checksum here: the pixels are wrong, but the record says of which bytes they were made."""
    intact = write_raster(tmp_path / "a.tif", odd.image(70, 90), compress="zstd", **odd.BLOCKS_16)
    flipped, out = odd.flip_unseen(intact), tmp_path / "a.classes.tif"
    arguments = ("segment", "-o", out, "-m", models["argmax"], "-q")
    assert geoseg(*arguments, flipped).code == 0
    (noted,) = recorded(read_record(out.with_name("a.classes.tif.json")))[0]["input"]
    assert noted == fingerprint(str(flipped))
    assert noted["blake2b"] != fingerprint(str(intact))["blake2b"]
    flipped.write_bytes(intact.read_bytes())
    refused(geoseg(*arguments, flipped), 73, "input", "--overwrite")


def test_9_no_read_permission(models, tmp_path):
    path = odd.good()(tmp_path).path
    path.chmod(0)
    probe = subprocess.run(["cat", path], preexec_fn=drop_rights, capture_output=True, check=False)
    if probe.returncode == 0:
        pytest.skip("this user may read every file and cannot give that right up")
    process = start("run", path, "-o", tmp_path / "out", "-m", models["argmax"], "-q", preexec_fn=drop_rights)
    _, err = process.communicate(timeout=120)
    refused(Done(process.returncode, "", err), 66, str(path), "may not be read", "permissions")


def drop_rights() -> None:
    """Give up what lets root read any file: capabilities 1 and 2, DAC_OVERRIDE and DAC_READ_SEARCH."""
    pr_capbset_drop = 24
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(pr_capbset_drop, capability, 0, 0, 0)


def test_10_a_pipe_does_not_hang(models, tmp_path):
    os.mkfifo(tmp_path / "scene.tif")
    process = start("run", tmp_path / "scene.tif", "-o", tmp_path / "out", "-m", models["argmax"], "-q")
    _, err = process.communicate(timeout=120)
    refused(Done(process.returncode, "", err), 65, "scene.tif is a pipe or a device", "save the raster")


def test_16_a_declared_block_of_2_gib_is_not_allocated(models, tmp_path):
    path = odd.declared(2**17, 2**17, tile=(2**16, 2**15))(tmp_path)
    done, peak = measured("run", path, "-o", tmp_path / "out", "-m", models["argmax"], "--assume-crs", UTM, "-q")
    refused(done, 65, "65536 × 32768", "its 134 bytes")
    assert peak < 1.5 * 2**30  # torch alone takes half a GiB


def test_25_26_the_remedies_help(models, tmp_path):
    made = odd.good(crs=None)(tmp_path)
    run(made.path, tmp_path / "a", models["argmax"], "--assume-crs", UTM)
    exact(made.path, tmp_path / "a", largest_band(made))
    made = odd.good(crs=None, transform=None)(tmp_path)
    made.path.with_suffix(".tfw").write_text("10\n0\n0\n-10\n500005\n4199995\n")
    run(made.path, tmp_path / "b", models["argmax"], "--assume-crs", UTM)
    exact(made.path, tmp_path / "b", largest_band(made))
    with rasterio.open(tmp_path / "b" / "scene.classes.tif") as dataset:
        assert (dataset.crs, dataset.transform) == (UTM, NORTH_UP)
    assert any("carries no CRS" in note for note in notes(tmp_path / "b"))


# ── rows that work ───────────────────────────────────────────────────────────────────────────────────────────────────

SIZES = [
    row(11, "1 × 1", (1, 1), "stencil"),
    row(12, "1 × N", (1, 77), "stencil"),
    row(12, "N × 1", (77, 1), "stencil"),
    row(13, "smaller than a chip", (19, 21), "stencil"),
    row(13, "smaller than the margin", (3, 2), "stencil"),
    row(14, "step + 1", (25, 25), "stencil"),
    row(14, "chip + 1", (33, 33), "stencil"),
    row(15, "prime", (97, 89), "stencil"),
    row(15, "prime, stride 8", (97, 89), "strided"),
]


@pytest.mark.parametrize(("shape", "model"), SIZES)
def test_any_size_equals_one_piece(shape, model, models, tmp_path):
    data = odd.image(*shape, bands=2)
    path = write_raster(tmp_path / "scene.tif", data)
    run(path, tmp_path / "out", models[model])
    exact(path, tmp_path / "out", convolved(data, models[model]))


BLOCKS_BIG = {"tiled": True, "blockxsize": 1024, "blockysize": 1008}
EXACT = [
    row(19, "strips of one row", odd.good(blockysize=1)),
    row(20, "one strip", odd.good(blockysize=41)),
    row(20, "one strip, deflate, pixel", odd.good(blockysize=41, compress="deflate", interleave="pixel")),
    row(21, "blocks 16 × 16", odd.good((70, 90), **odd.BLOCKS_16)),
    row(21, "blocks 1024 × 1008", odd.good(compress="deflate", **BLOCKS_BIG)),
    row(22, "tiled, no overviews", odd.good((300, 280), tiled=True)),
    row(23, "foreign .ovr", odd.beside_overview(odd.foreign_overview)),
    row(23, "junk as .ovr", odd.beside_overview(lambda _: b"junk" * 99)),
    row(24, "sparse", odd.sparse),
    row(28, "engineering CRS", odd.good(crs=odd.ENGINEERING)),
    row(28, "LOCAL_CS", odd.good(crs='LOCAL_CS["site",UNIT["metre",1]]')),
    row(28, "custom WKT2", odd.good(crs=odd.COUNTY, transform=Affine(10, 0, 3000, 0, -10, 5000))),
    row(29, "rotated", odd.good(transform=NORTH_UP @ Affine.rotation(30))),
    row(29, "sheared", odd.good(transform=NORTH_UP @ Affine.shear(20, 5))),
    row(30, "south-up", odd.good(transform=Affine(10, 0, 5e5, 0, 10, 4.2e6))),
    row(30, "mirrored x", odd.good(transform=Affine(-10, 0, 5e5, 0, -10, 4.2e6))),
    row(30, "turned by 180°", odd.good(transform=Affine(-10, 0, 5e5, 0, 10, 4.2e6))),
    row(30, "rows run east", odd.good(transform=Affine(0, 10, 5e5, 10, 0, 4.2e6))),
    row(33, "10 × 20 m", odd.good(transform=Affine(10, 0, 5e5, 0, -20, 4.2e6))),
    row(34, "EPSG:4326", odd.good(**odd.lonlat(-76))),
    row(34, "OGC:CRS84", odd.good(**odd.lonlat(-76, "OGC:CRS84"))),
    row(35, "UTM 1 over 180°", odd.good(crs="EPSG:32601", transform=Affine(20, 0, 165_500, 0, -20, 20_000))),
    row(35, "lon 0–360", odd.good(**odd.lonlat(179.9975))),
    row(36, "EPSG:3031", odd.good(**odd.polar("EPSG:3031"))),
    row(36, "EPSG:3413", odd.good(**odd.polar("EPSG:3413"))),
    row(36, "EPSG:3995", odd.good(**odd.polar("EPSG:3995"))),
    row(37, "nodata 0, uint16", odd.gappy("uint16", 0, nodata=0)),
    row(38, "nodata NaN", odd.gappy("float32", np.nan, nodata=np.nan)),
    row(39, "NaN, nodata unset", odd.gappy("float32", np.nan)),
    row(39, "NaN, float64", odd.gappy("float64", np.nan)),
    row(40, "±inf", odd.infinite),
]


@pytest.mark.parametrize("make", EXACT)
def test_exact(make, models, tmp_path, capfd):
    made = make(tmp_path)
    done = run(made.path, tmp_path / "out", models["argmax"], *made.flags)
    exact(made.path, tmp_path / "out", largest_band(made))
    told = summary(tmp_path / "out")
    assert told["nodata_px"] == int((~made.valid).sum())
    assert sum(told["pixels"].values()) == int(made.valid.sum())
    assert "Traceback" not in done.err
    assert capfd.readouterr().err == ""


def test_20_info_advises_to_retile_one_huge_strip(tmp_path):
    flat = np.zeros((8192, 8200), np.uint8)
    done = geoseg("info", write_raster(tmp_path / "strip.tif", flat, blockysize=8192, compress="deflate"))
    assert done.code == 0
    assert "huge strips; gdal_translate -of COG" in done.out


def test_23_resampling_does_not_look_at_overviews(models, tmp_path):
    made = odd.good((70, 90))(tmp_path)
    run(made.path, tmp_path / "plain", models["coarse"])
    close_all()
    made.path.with_name("scene.tif.ovr").write_bytes(
        write_raster(tmp_path / "o.tif", np.full((3, 35, 45), 7, "uint8")).read_bytes()
    )
    with rasterio.open(made.path) as dataset:
        assert dataset.overviews(1) == [2]
    run(made.path, tmp_path / "with", models["coarse"])
    np.testing.assert_array_equal(*(codes_of(tmp_path / out / "scene.classes.tif") for out in ("plain", "with")))


def test_24_sparse_zeros_are_said(models, tmp_path):
    run(odd.sparse(tmp_path).path, tmp_path / "out", models["argmax"])
    assert any("never written" in note and "valid zeros" in note for note in notes(tmp_path / "out"))
    tagged = odd.good()(tmp_path)
    run(tagged.path, tmp_path / "whole", models["argmax"])
    assert notes(tmp_path / "whole") == []


@pytest.mark.parametrize("crs", [odd.ENGINEERING, odd.COUNTY], ids=["28 engineering", "28 custom"])
def test_wkt2_is_kept_in_vector_files(crs, models, tmp_path):
    made = odd.good(crs=crs, transform=Affine(10, 0, 3000, 0, -10, 5000))(tmp_path)
    run(made.path, tmp_path / "out", models["argmax"], "--format", "gpkg,parquet")
    with rasterio.open(made.path) as dataset:
        theirs = CRS(wkt2(dataset))
    for suffix in ("gpkg", "parquet"):
        assert polygons_in(tmp_path / "out" / f"scene.polygons.{suffix}").crs.equals(theirs)


def test_28_geojson_of_an_engineering_crs_is_refused(models, tmp_path):
    path = odd.good(crs=odd.ENGINEERING)(tmp_path).path
    done = geoseg("run", path, "-o", tmp_path / "out", "-m", models["argmax"], "-q", "--format", "geojson")
    refused(done, 65, "'site grid'", "choose another format")


def frame_area(path: Path) -> float:
    """Geodesic area of a raster's frame, its edges cut fine, on the CRS's own ellipsoid."""
    with rasterio.open(path) as dataset:
        crs, (rows, cols), transform = CRS(wkt2(dataset)), dataset.shape, dataset.transform
    t = np.linspace(0, 1, 2001)[:-1]
    col = np.concatenate([t, np.ones_like(t), 1 - t, np.zeros_like(t)]) * cols
    line = np.concatenate([np.zeros_like(t), t, np.ones_like(t), 1 - t]) * rows
    xs, ys = transform @ (col, line)
    base = crs.geodetic_crs
    assert base is not None
    lons, lats = Transformer.from_crs(crs, base, always_xy=True).transform(xs, ys)
    geod: Geod = base.get_geod()
    return abs(geod.polygon_area_perimeter(lons, lats)[0])


AREAS = [
    row(29, "rotated", {"transform": NORTH_UP @ Affine.rotation(30)}, 1e-3),
    row(33, "10 × 20 m", {"transform": Affine(10, 0, 5e5, 0, -20, 4.2e6)}, 1e-3),
    row(34, "EPSG:4326", odd.lonlat(-76), 1e-7),
    row(35, "UTM 1", {"crs": "EPSG:32601", "transform": Affine(20, 0, 165_500, 0, -20, 20_000)}, 1e-3),
    row(35, "lon 0–360", odd.lonlat(179.9975), 1e-7),
    row(36, "EPSG:3031", odd.polar("EPSG:3031"), 1e-7),
    row(36, "EPSG:3413", odd.polar("EPSG:3413"), 1e-7),
]


@pytest.mark.parametrize(("place", "tolerance"), AREAS)
def test_areas_are_ground_areas(place, tolerance, models, tmp_path):
    """Planar ones may differ by the projection's scale, up to the limit beyond which ground is measured."""
    path = odd.good(**place)(tmp_path).path
    run(path, tmp_path / "out", models["argmax"])
    total = sum(summary(tmp_path / "out")["area_m2"].values())
    assert total == pytest.approx(frame_area(path), rel=tolerance)


WRAPPED = [
    row(35, "UTM 1", {"crs": "EPSG:32601", "transform": Affine(20, 0, 165_500, 0, -20, 20_000)}),
    row(35, "lon 0–360", odd.lonlat(179.9975)),
]


@pytest.mark.parametrize("place", WRAPPED)
def test_geojson_is_split_at_the_antimeridian(place, models, tmp_path):
    made = odd.good(**place)(tmp_path)
    run(made.path, tmp_path / "out", models["argmax"], "--format", "gpkg,geojson")
    whole = polygons_in(tmp_path / "out" / "scene.polygons.gpkg")
    split = polygons_in(tmp_path / "out" / "scene.polygons.geojson")
    assert list(split.index) == list(whole.index)
    parts = split.geometry.explode()
    assert parts.is_valid.all()
    assert (parts.bounds.maxx - parts.bounds.minx).max() < 0.1
    assert parts.bounds.minx.min() == -180
    assert parts.bounds.maxx.max() == 180
    assert (split.geometry.geom_type == "MultiPolygon").any()
    geod = Geod(ellps="WGS84")
    areas = [abs(geod.geometry_area_perimeter(shape)[0]) for shape in split.geometry]
    np.testing.assert_allclose(areas, whole.area_m2, rtol=2e-3)
    west, _, east, _ = read_record(tmp_path / "out" / "scene.json")["bbox"]
    assert west > 179
    assert east < -179


def test_39_any_band_may_suffice_when_asked(models, tmp_path):
    """A band that is NaN enters as 0: the largest of the others wins."""
    made = odd.gappy("float32", np.nan)(tmp_path)
    run(made.path, tmp_path / "out", models["argmax"], "--valid", "any")
    filled = np.nan_to_num(made.data)
    some = np.isfinite(made.data).any(axis=0)
    exact(made.path, tmp_path / "out", np.where(some, 10 * (filled.argmax(0) + 1), NODATA))
    assert (some & ~made.valid).sum() == 1


# ── rows about size ──────────────────────────────────────────────────────────────────────────────────────────────────

BEYOND_31_BITS = 46_400


@pytest.mark.parametrize("view", [lambda path: path, odd.as_vrt], ids=["17 sparse TIFF", "17 sparse VRT"])
def test_more_than_2_to_31_pixels_are_planned_and_read(view, models, tmp_path):
    path, (col, line) = odd.huge_sparse(tmp_path, BEYOND_31_BITS)
    path = view(path)
    done = geoseg("run", path, "-o", tmp_path / "out", "-m", models["argmax"], "--dry-run", "--json")
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    assert plan["grid"]["size"] == [BEYOND_31_BITS, BEYOND_31_BITS]
    assert plan["chips"] == (-(-BEYOND_31_BITS // 24)) ** 2
    assert plan["segment_memory_bytes"] < 4 * 2**30
    chip = open_scene(path).read(Window(col - 5, line - 5, 10, 10))
    expected = np.zeros((10, 10))
    expected[5:, 5:] = 9
    np.testing.assert_array_equal(chip.data[1], expected)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_17_a_small_aoi_of_more_than_2_to_31_pixels_keeps_the_planned_memory(models, tmp_path):
    tif, (col, line) = odd.huge_sparse(tmp_path, BEYOND_31_BITS)
    path, out = odd.as_vrt(tif), tmp_path / "classes.tif"
    left, top = NORTH_UP @ (col - 40, line - 40)
    area = gpd.GeoSeries([shapely.box(left, top - 800, left + 800, top)], crs=UTM)
    area.to_file(tmp_path / "aoi.gpkg")
    planned = json.loads(geoseg("run", path, "-o", tmp_path / "o", "-m", models["argmax"], "--dry-run", "--json").out)[
        "segment_memory_bytes"
    ]
    done, peak = measured("segment", path, "-o", out, "-m", models["argmax"], "--aoi", tmp_path / "aoi.gpkg", "-q")
    assert done.code == 0, done.err
    assert peak < planned
    with rasterio.open(out) as dataset:
        assert dataset.shape == (BEYOND_31_BITS, BEYOND_31_BITS)
        found = dataset.read(1, window=rasterio.windows.Window(col - 50, line - 50, 100, 100))
        assert (dataset.read(1, window=rasterio.windows.Window(0, 0, 600, 600)) == NODATA).all()
    expected = np.full((100, 100), NODATA)
    expected[10:90, 10:90] = 10
    expected[50:90, 50:90] = 20
    np.testing.assert_array_equal(found, expected)


def test_18_outputs_beyond_4_gb_become_bigtiff(monkeypatch, tmp_path):
    """The option that we pass, and what GDAL makes of it where the classic format would overflow."""
    passed: dict[str, Any] = {}
    copy = rasterio.shutil.copy

    def spy(source: Any, target: Any, **options: Any) -> None:
        passed.update(options)
        copy(source, target, **options)

    monkeypatch.setattr(rasterio.shutil, "copy", spy)
    grid = open_scene(odd.good()(tmp_path).path).grid
    with RasterSpool(tmp_path / "spool", grid, "uint8", 0) as spool:
        cog.write_score_cog(spool, tmp_path / "s.tif", bands=["confidence"], tags={})
    assert passed["driver"] == "COG"
    assert [magic_of(tmp_path, 70_000, BIGTIFF=choice) for choice in (passed["BIGTIFF"], "IF_NEEDED")] == [43, 42]
    assert magic_of(tmp_path, 700, BIGTIFF=passed["BIGTIFF"]) == 42


def magic_of(folder: Path, side: int, **options: str) -> int:
    """42 for a classic TIFF of side × side compressed pixels, 43 for a BigTIFF."""
    path = folder / f"{side}.tif"
    profile = {"driver": "GTiff", "tiled": True, "compress": "deflate", "SPARSE_OK": True, **options}
    with rasterio.open(path, "w", width=side, height=side, count=1, dtype="uint8", **profile):
        pass
    return path.read_bytes()[2]


# ── one process, many runs ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_replaced_between_two_runs_is_read_anew(models, tmp_path):
    """Named mutation: a key of the open handles that knows only the path."""
    first = odd.good()(tmp_path)
    everything = Window(0, 0, 53, 41)
    np.testing.assert_array_equal(open_scene(first.path).read(everything).data, first.data)
    run(first.path, tmp_path / "a", models["argmax"])
    data = odd.image(41, 53, seed=5)
    write_raster(first.path, data, compress="deflate", **odd.BLOCKS_16)
    np.testing.assert_array_equal(open_scene(first.path).read(everything).data, data)
    run(first.path, tmp_path / "b", models["argmax"])
    np.testing.assert_array_equal(codes_of(tmp_path / "b" / "scene.classes.tif"), 10 * (data.argmax(0) + 1))


def test_a_changed_source_of_a_vrt_is_another_input(models, tmp_path):
    source = odd.good()(tmp_path)
    path = odd.as_vrt(source.path)
    run(path, tmp_path / "out", models["argmax"])
    assert "up to date" in run(path, tmp_path / "out", models["argmax"]).out
    write_raster(source.path, odd.image(41, 53, seed=5))
    refused(geoseg("run", path, "-o", tmp_path / "out", "-m", models["argmax"], "-q"), 73, "input", "--overwrite")


def test_a_raster_in_an_archive_is_read_there(models, tmp_path):
    made = odd.good()(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(made.path, "inner.tif")
    # A string: Path would fold the two slashes, and GDAL would look in the working directory.
    run(f"/vsizip/{tmp_path}/a.zip/inner.tif", tmp_path / "out", models["argmax"])
    np.testing.assert_array_equal(codes_of(tmp_path / "out" / "inner.classes.tif"), largest_band(made))
    (noted,) = recorded(read_record(tmp_path / "out" / "inner.json"))[0]["segment"]["input"]
    assert noted["bytes"] == (tmp_path / "a.zip").stat().st_size


def test_28_an_aoi_that_cannot_be_brought_there_is_refused(models, tmp_path):
    gpd.GeoSeries([shapely.box(-76, 37, -75, 38)], crs=4326).to_file(tmp_path / "aoi.gpkg")
    path = odd.good(crs=odd.ENGINEERING)(tmp_path).path
    done = geoseg("run", path, "-o", tmp_path / "out", "-m", models["argmax"], "-q", "--aoi", tmp_path / "aoi.gpkg")
    refused(done, 65, "'WGS 84'", "'site grid'", "give it in that CRS")

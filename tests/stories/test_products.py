"""What people really have goes in as it is: products in their providers' layout, with their clouds and offsets."""

from __future__ import annotations

import json
import shutil
import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from builders import write_raster
from cli_kit import codes_of, geoseg, polygons_in
from products.trees import hls, landsat, safe, tarred, zipped
from rasterio.enums import Resampling
from rasterio.windows import Window

S2 = ("B02", "B03", "B04", "B08", "B11", "B12")
PIECE = Window(380, 420, 120, 96)
"""Of the sample scene: coast, all four classes of the toy model."""


@pytest.fixture(scope="module")
def ground(sample) -> dict[str, np.ndarray]:
    """Digital numbers of a piece of the sample scene (reflectance x 10 000, no offset) by band, swir at 20 m."""
    with rasterio.open(sample) as source:
        planes = source.read(window=PIECE, out_shape=(6, 96, 120))
        coarse = source.read([5, 6], window=PIECE, out_shape=(2, 48, 60), resampling=Resampling.average)
        profile = source.transform @ source.transform.translation(PIECE.col_off, PIECE.row_off)
    return dict(zip(S2, [*planes[:4], *coarse], strict=True)) | {"place": profile}


def bands(ground: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: ground[name] for name in S2}


def run(*args: object) -> Path:
    """A run that must succeed; its class raster."""
    done = geoseg("run", *args, "--json")
    assert done.code == 0, done.err
    return Path(json.loads(done.out)["classes"])


def test_safe_zip_and_plain_files_are_one_scene(ground, model, tmp_path) -> None:
    """Folder and zip to the byte; the same numbers as plain TIFFs with flags give the same codes.

    Mutation: the zip's 20 m files taken for the scene's grid.
    """
    folder = safe(tmp_path, bands(ground), level="L1C", offset=None, transform=ground["place"])
    from_folder = run(folder, "-o", tmp_path / "a", "-m", model)
    from_zip = run(zipped(folder), "-o", tmp_path / "b", "-m", model)
    assert from_folder.name == from_zip.name == f"{folder.stem}.classes.tif"
    assert from_folder.read_bytes() == from_zip.read_bytes()
    assert len(np.unique(codes_of(from_folder))) == 4

    plain = []
    for name, data in bands(ground).items():
        place = ground["place"] @ ground["place"].scale(PIECE.width / data.shape[1])
        plain.append(write_raster(tmp_path / f"{name}.tif", data, names=[name], transform=place, nodata=0))
    names = "blue=B02,green=B03,red=B04,nir=B08,swir16=B11,swir22=B12"
    flags = ("--stack", "--bands", names, "--scale", "0.0001", "--name", "plain")
    assert np.array_equal(codes_of(run(*plain, *flags, "-o", tmp_path / "c", "-m", model)), codes_of(from_folder))


def test_the_offset_of_baseline_four_changes_nothing_on_the_ground(ground, model, tmp_path) -> None:
    """The same ground stored with and without the −1000 of processing baseline 04.00.

    Mutation: the offset not read, or applied before the scale.
    """
    old = safe(tmp_path / "old", bands(ground), offset=None, transform=ground["place"])
    shifted = {name: np.where(dn > 0, dn + 1000, 0).astype("uint16") for name, dn in bands(ground).items()}
    new = safe(tmp_path / "new", shifted, offset=-1000, transform=ground["place"])
    before, after = (run(path, "-o", tmp_path / "out" / kind, "-m", model) for path, kind in ((old, "o"), (new, "n")))
    assert np.array_equal(codes_of(before), codes_of(after))
    wrong = run(new, "-o", tmp_path / "out" / "w", "-m", model, "--offset", "0")
    assert not np.array_equal(codes_of(before), codes_of(wrong))


def test_a_bare_tiff_of_sentinel_2_is_refused_until_the_offset_is_said(ground, model, tmp_path) -> None:
    ten = np.stack([ground[name] for name in S2[:4]])
    bare = write_raster(tmp_path / "s2_10m.tif", ten, names=S2[:4], transform=ground["place"], nodata=0)
    asked = geoseg("segment", bare, "--sensor", "s2-l2a", "-m", "landcover", "-o", tmp_path / "x.tif")
    assert asked.code == 65
    assert "--offset 0" in asked.last
    assert "--offset -0.1" in asked.last
    assert len(asked.err.strip().splitlines()) == 1
    said = geoseg("segment", bare, "--sensor", "s2-l2a", "--offset", "0", "-m", "landcover", "-o", tmp_path / "x.tif")
    assert said.code == 0, said.err


def test_a_landsat_tar_needs_no_flag(ground, tmp_path) -> None:
    """With the bundled model; what the run says and records: time, gains, clouds."""
    small = {name: ground[name][::3, ::3] if ground[name].shape[0] == 96 else ground[name][::2, ::2] for name in S2}
    dn = {f"SR_B{number}": data for number, data in zip((2, 3, 4, 5, 6, 7), small.values(), strict=True)}
    shape = min(data.shape for data in dn.values())
    dn = {name: (data[: shape[0], : shape[1]] * 1.6 + 7400).astype("uint16") for name, data in dn.items()}
    qa = np.full(shape, 0b01010101_01000000, "uint16")  # clear, all confidences low
    qa[:5, :5] = 0b01010111_00001000  # cloud, at high confidence
    folder = landsat(tmp_path, dn, level="L2SP", qa=qa)
    done = geoseg("run", tarred(folder), "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "landsat-c2-l2" in done.err
    item = json.loads((tmp_path / "out" / f"{folder.name}.json").read_text(encoding="utf-8"))
    assert item["properties"]["geoseg:datetime_known"] is True
    assert item["properties"]["geoseg:radiometry"]["source"] == "metadata"
    assert item["geoseg:summary"]["masked_px"] == {"cloud": 25}
    codes = codes_of(tmp_path / "out" / f"{folder.name}.classes.tif")
    assert (codes[:5, :5] == 255).all()
    assert (codes == 255).sum() == 25
    by_folder = geoseg("run", folder, "-o", tmp_path / "again", "-q")
    assert by_folder.code == 0, by_folder.err
    assert np.array_equal(codes_of(tmp_path / "again" / f"{folder.name}.classes.tif"), codes)


def test_clouds_shadows_and_cirrus_of_sen2cor(ground, model, tmp_path) -> None:
    """Scene classification at 20 m, drawn by hand: two rows each of shadow, cloud, cirrus, snow, nodata.

    Mutation: SCL read bilinearly, or its 20 m taken for 10 m.
    """
    scl = np.full((48, 60), 4, "uint8")
    for row, value in ((0, 3), (2, 9), (4, 10), (6, 11), (8, 0)):
        scl[row : row + 2] = value
    folder = safe(tmp_path, bands(ground), scl=scl, offset=None, transform=ground["place"])
    codes = codes_of(run(folder, "-o", tmp_path / "a", "-m", model))
    masked = np.zeros((96, 120), bool)
    for first in (0, 4, 8, 16):
        masked[first : first + 4] = True
    assert np.array_equal(codes == 255, masked)
    summary = json.loads((tmp_path / "a" / f"{folder.stem}.json").read_text(encoding="utf-8"))["geoseg:summary"]
    assert summary["masked_px"] == {"cloud": 480, "shadow": 480, "cirrus": 480, "unusable": 480}
    assert summary["masked_m2"]["cloud"] == pytest.approx(48_000, rel=2e-3)

    with_snow = codes_of(run(folder, "-o", tmp_path / "b", "-m", model, "--mask", "auto:snow"))
    assert np.array_equal(np.flatnonzero((with_snow == 255).all(axis=1)), [12, 13, 14, 15])
    nothing = codes_of(run(folder, "-o", tmp_path / "c", "-m", model, "--mask", "none"))
    assert not (nothing == 255).any()
    buffered = codes_of(run(folder, "-o", tmp_path / "d", "-m", model, "--mask", "auto:snow", "--mask-buffer", "20"))
    assert np.array_equal(np.flatnonzero((buffered == 255).all(axis=1)), range(10, 18))


@pytest.mark.parametrize("where", [[], pytest.param(["--workers", "2"], marks=pytest.mark.slow)], ids=str)
def test_masked_pixels_do_not_depend_on_tiles(ground, model, tmp_path, where) -> None:
    """Law 2 with clouds and their buffer; pixels of the network are coarser than the scene's.

    Mutation: the buffer computed from the chip's window alone.
    """
    rng = np.random.default_rng(3)
    scl = np.where(rng.random((48, 60)) < 0.02, 9, 4).astype("uint8")
    folder = safe(tmp_path, bands(ground), scl=scl, offset=None, transform=ground["place"])
    flags = ("-m", model, "--mask-buffer", "35", "--chip", "32", "--margin", "4", "--overwrite")
    whole = run(folder, "-o", tmp_path / "a", *flags, "--tile", "500").read_bytes()
    assert run(folder, "-o", tmp_path / "b", *flags, "--tile", "24").read_bytes() == whole
    assert run(folder, "-o", tmp_path / "c", *flags, "--tile", "48", *where).read_bytes() == whole


def test_harmonized_landsat_sentinel(ground, model, tmp_path) -> None:
    dn = {
        name: ground[band][::2, ::2] if band in S2[:4] else ground[band]
        for name, band in zip(("B02", "B03", "B04", "B05", "B06", "B07"), S2, strict=True)
    }
    fmask = np.zeros((48, 60), "uint8")
    fmask[0, :] = 0b10  # cloud
    fmask[1, :] = 0b1000  # shadow
    fmask[2, :] = 255  # fill
    folder = hls(tmp_path, {name: data.astype("int16") for name, data in dn.items()}, fmask=fmask)
    codes = codes_of(run(folder, "-o", tmp_path / "a", "-m", model))
    assert np.array_equal(np.flatnonzero((codes == 255).all(axis=1)), [0, 1, 2])
    assert (codes == 255).sum() == 180


def test_date_and_scene_are_in_the_polygons(ground, model, tmp_path) -> None:
    folder = safe(tmp_path, bands(ground), offset=None, transform=ground["place"], start="2023-06-15T15:58:21.024Z")
    run(folder, "-o", tmp_path / "a", "-m", model)
    polygons = polygons_in(tmp_path / "a" / f"{folder.stem}.polygons.gpkg")
    assert set(polygons["scene_id"]) == {folder.stem}
    assert {moment.date() for moment in polygons["img_date"]} == {date(2023, 6, 15)}
    run(folder, "-o", tmp_path / "b", "-m", model, "--datetime", "2019-01-02")
    assert {m.date() for m in polygons_in(tmp_path / "b" / f"{folder.stem}.polygons.gpkg")["img_date"]} == {
        date(2019, 1, 2)
    }


def test_what_is_not_known_is_not_made_up(ground, model, tmp_path) -> None:
    """Neither a name full of digits nor the file's own time makes a date; the TIFF's tag does."""
    ten = np.stack([ground[name] for name in S2[:4]] + [ground[name].repeat(2, 0).repeat(2, 1) for name in S2[4:]])
    bare = write_raster(tmp_path / "scene_20200101.tif", ten, names=("blue", "green", "red", "nir", "swir16", "swir22"))
    run(bare, "-o", tmp_path / "a", "-m", model, "--scale", "0.0001")
    assert polygons_in(tmp_path / "a" / "scene_20200101.polygons.gpkg")["img_date"].isna().all()
    with rasterio.open(bare, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2018:08:15 10:00:00")
    run(bare, "-o", tmp_path / "b", "-m", model, "--scale", "0.0001")
    polygons = polygons_in(tmp_path / "b" / "scene_20200101.polygons.gpkg")
    assert {moment.date() for moment in polygons["img_date"]} == {date(2018, 8, 15)}


GULF = ("--sensor", "landsat-pre", "--json")


@pytest.fixture(scope="module")
def gulf(shared, tmp_path_factory) -> Path:
    """A copy, since GDAL may leave statistics beside what it reads."""
    return Path(shutil.copytree(shared / "gulf_coast_landsat8_bands", tmp_path_factory.mktemp("gulf") / "gulf"))


def test_clouds_over_the_gulf_give_no_polygon(gulf, tmp_path) -> None:
    """Every polygon is free of what the pre-collection quality band calls cloud or cirrus (67 … 100 %)."""
    done = geoseg("run", gulf, "-o", tmp_path / "a", *GULF, "--mask", "l8_BQA.tif:landsat-bqa-c0")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    with rasterio.open(gulf / "l8_BQA.tif") as dataset:
        bqa = dataset.read(1)
    cloudy = (bqa >> 14 == 3) | (bqa >> 12 & 3 == 3)
    codes = codes_of(Path(result["classes"]))
    assert (codes[cloudy] == 255).all()
    assert cloudy.sum() > 90_000
    polygons = polygons_in(Path(result["polygons"][0]))
    assert polygons["n_pixels"].sum() == (codes != 255).sum() <= (~cloudy).sum()
    table = geoseg("run", gulf, "-o", tmp_path / "a", *GULF[:2], "--mask", "l8_BQA.tif:landsat-bqa-c0").out
    assert "cloud " in table
    assert "cirrus" in table


@pytest.mark.parametrize("rule", ["landsat-qa", "landsat-bqa-c1"])
def test_the_gulfs_quality_band_is_no_other_collection(gulf, tmp_path, rule) -> None:
    done = geoseg("run", gulf, "-o", tmp_path / "a", *GULF, "--mask", f"l8_BQA.tif:{rule}")
    assert (done.code, rule in done.last, "landsat-bqa-c0" in done.last) == (65, True, True)


def test_without_metadata_the_layout_must_be_named(gulf, tmp_path) -> None:
    done = geoseg("run", gulf, "-o", tmp_path / "a", *GULF)
    assert done.code == 65
    assert "l8_BQA.tif:landsat-bqa-c0" in done.last
    assert "--mask none" in done.last


def test_info_says_what_was_recognized_and_why(ground, tmp_path) -> None:
    folder = safe(tmp_path, bands(ground), scl=np.full((48, 60), 4, "uint8"), transform=ground["place"])
    done = geoseg("info", zipped(folder))
    assert done.code == 0, done.err
    assert "s2-l2a" in done.out
    assert "MTD_MSIL2A.xml" in done.out
    assert "s2-scl" in done.out
    assert "2023-06-15T15:58:21.024" in done.out


def test_a_flipped_bit_in_a_zip_is_no_land_cover(ground, model, tmp_path) -> None:
    """JPEG 2000 decodes it without a word. Mutation: `check_archives` not called."""
    rng = np.random.default_rng(1)
    noisy = {name: rng.integers(100, 4000, data.shape).astype("uint16") for name, data in bands(ground).items()}
    archive = zipped(safe(tmp_path, noisy, offset=None, transform=ground["place"]))
    with zipfile.ZipFile(archive) as opened:
        name = next(name for name in opened.namelist() if "_B04_10m" in name)
        member = opened.getinfo(name)
    data = bytearray(archive.read_bytes())
    at = member.header_offset + 30 + len(name) + member.compress_size // 2
    data[at] ^= 0x10
    archive.write_bytes(data)
    done = geoseg("segment", archive, "-o", tmp_path / "x.tif", "-m", model)
    assert done.code == 65
    assert "_B04_10m.jp2" in done.last
    assert "download" in done.last
    assert not (tmp_path / "x.tif").exists()


def test_a_gzipped_tar_is_checked_as_a_whole(ground, model, tmp_path) -> None:
    dn = {f"SR_B{number}": np.full((40, 40), 9000 + number, "uint16") for number in range(2, 8)}
    archive = tarred(landsat(tmp_path, dn, level="L2SP"), suffix=".tar.gz")
    fine = geoseg("segment", archive, "-o", tmp_path / "x.tif", "-m", model)
    assert fine.code == 0, fine.err
    data = bytearray(archive.read_bytes())
    data[-6] ^= 0xFF  # of the checksum: GDAL reads every band without a word
    archive.write_bytes(data)
    done = geoseg("segment", archive, "-o", tmp_path / "y.tif", "-m", model)
    assert (done.code, "is damaged" in done.last) == (65, True)


def test_a_link_changes_no_name(ground, model, tmp_path) -> None:
    folder = safe(tmp_path, bands(ground), offset=None, transform=ground["place"])
    (tmp_path / "link.SAFE").symlink_to(folder)
    assert run(tmp_path / "link.SAFE", "-o", tmp_path / "a", "-m", model).name == f"{folder.stem}.classes.tif"


def test_another_mask_is_refused_by_its_name(ground, model, tmp_path) -> None:
    scl = np.full((48, 60), 9, "uint8")
    scl[5:] = 4
    folder = safe(tmp_path, bands(ground), scl=scl, offset=None, transform=ground["place"])
    run(folder, "-o", tmp_path / "a", "-m", model)
    done = geoseg("run", folder, "-o", tmp_path / "a", "-m", model, "--mask", "auto:shadow")
    assert done.code == 73
    assert "masks.1.3" in done.last
    assert '["shadow"]' in done.last


@pytest.mark.parametrize(("flags", "code"), [(("--zones", "none.gpkg", "--field", "A"), 66), (("--field", "A"), 2)])
def test_a_dry_run_looks_at_the_zones(piece, model, tmp_path, flags, code) -> None:
    assert geoseg("run", piece, "-o", tmp_path / "a", "-m", model, "--dry-run", *flags).code == code

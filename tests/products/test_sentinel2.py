"""Sentinel-2: SAFE folders and zips, offsets, native pixel sizes, quality layers, damaged products."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from trees import S2_BANDS, raster, s2_mtd, safe, zipped

from geoseg.errors import InputError, PolicyError
from geoseg.products.product import Product
from geoseg.products.recognize import recognize
from geoseg.products.s2_mtd import read_s2_mtd
from geoseg.products.tree import Tree

NAME = "S2A_MSIL2A_20230615T155821_N0509_R097_T18SVG_20230615T221500"


def bands(level: str = "L2A") -> dict[str, np.ndarray]:
    """12 × 12 pixels of 10 m; each band and pixel has a number of its own."""
    sizes = {"B02": 12, "B03": 12, "B04": 12, "B08": 12, "B01": 2, "B09": 2} | ({"B10": 2} if level == "L1C" else {})
    names = [*sizes, *(band for band in S2_BANDS if band not in sizes and band != "B10")]
    return {
        band: (np.arange(sizes.get(band, 6) ** 2).reshape(sizes.get(band, 6), -1) + 1000 * number).astype(np.uint16)
        for number, band in enumerate(names, start=1)
    }


def told(folder: Path | str, sensor: str = "auto") -> Product:
    product = recognize([folder], sensor)
    assert product is not None
    return product


def pixels(path: str) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read(1))


def test_l2a_folder(tmp_path: Path) -> None:
    data = bands()
    root = safe(tmp_path, data, scl=np.full((6, 6), 4))
    product = told(root)
    assert (product.sensor, product.scene_id) == ("s2-l2a", NAME)
    assert product.title == "Sentinel-2 L2A, processing baseline 05.09"
    assert product.acquired == datetime(2023, 6, 15, 15, 58, 21, 24000, tzinfo=UTC)
    assert (product.radiometry, product.needs_offset, product.grid_id) == ("metadata", False, "B02")
    assert product.why == f"MTD_MSIL2A.xml stands in {NAME}"
    assert "offset -1000 of the metadata applied" in product.notes
    assert product.metadata == (str(root / "MTD_MSIL2A.xml"),)
    (layer,) = product.quality
    assert layer.rule == "s2-scl"
    assert (pixels(layer.path) == 4).all()
    names = {band.id: (band.name, band.gsd_m) for band in product.bands}
    assert names == {
        "B01": ("coastal", 60),
        "B02": ("blue", 10),
        "B03": ("green", 10),
        "B04": ("red", 10),
        "B05": ("rededge071", 20),
        "B06": ("rededge075", 20),
        "B07": ("rededge078", 20),
        "B08": ("nir", 10),
        "B8A": ("nir_narrow", 20),
        "B09": ("nir09", 60),
        "B11": ("swir16", 20),
        "B12": ("swir22", 20),
    }
    for band in product.bands:
        assert (band.scale, band.offset, band.nodata, band.index) == (0.0001, -0.1, 0, 1)
        assert (pixels(band.path) == data[band.id]).all()


def test_zip_differs_by_paths_alone(tmp_path: Path) -> None:
    folder = safe(tmp_path, bands(), scl=np.full((6, 6), 4))
    archive = zipped(folder)
    inside = str(folder.parent)
    one, other = told(folder), told(archive)

    def moved(path: str) -> str:
        return path.replace(inside, f"/vsizip/{archive}")

    expected = replace(
        one,
        paths=(str(archive),),
        bands=tuple(replace(band, path=moved(band.path)) for band in one.bands),
        quality=tuple(replace(layer, path=moved(layer.path)) for layer in one.quality),
        metadata=tuple(moved(path) for path in one.metadata),
    )
    assert other == expected
    for here, there in zip(one.bands, other.bands, strict=True):
        assert (pixels(here.path) == pixels(there.path)).all()


def test_names_of_archives_and_of_the_metadata_do_not_matter(tmp_path: Path) -> None:
    folder = safe(tmp_path, bands())
    assert told(zipped(folder, f"{NAME}.zip")).scene_id == NAME
    assert told(zipped(folder, "download.zip", bare=True)).scene_id == NAME  # by PRODUCT_URI
    named = told(folder / "MTD_MSIL2A.xml")
    assert replace(named, paths=()) == replace(told(folder), paths=())


def test_offsets_by_band_and_absent_ones(tmp_path: Path) -> None:
    offsets = {band: -100 * number for number, band in enumerate(S2_BANDS)}
    product = told(safe(tmp_path / "a", bands("L1C"), level="L1C", offset=offsets))
    assert {band.id: band.offset for band in product.bands} == pytest.approx(
        {band: value / 10000 for band, value in offsets.items()}
    )
    assert offsets["B8A"] == -800  # band_id 8 stands between B08 and B09
    assert offsets["B10"] == -1000
    old = told(safe(tmp_path / "b", bands("L1C"), level="L1C", offset=None))
    assert {band.offset for band in old.bands} == {0.0}
    assert old.title == "Sentinel-2 L1C, processing baseline 02.07"
    assert "the metadata list no radiometric offset: 0 applied" in old.notes
    assert any("MSK_CLOUDS_B00.gml" in note for note in old.notes)
    assert old.quality == ()


@given(offset=st.none() | st.integers(-3000, 3000), level=st.sampled_from(["L1C", "L2A"]))
def test_law_reflectance_is_dn_plus_offset_by_quantification(tmp_path: Path, offset: int | None, level: str) -> None:
    file = f"MTD_MSI{level}.xml"
    (tmp_path / file).write_text(s2_mtd(level, offset, "04.00", "2022-02-01T10:00:00.000Z", "X.SAFE"))
    facts = read_s2_mtd(Tree(str(tmp_path), "folder", (file,)), file)
    assert set(facts.gains) == set(S2_BANDS)
    for scale, shift in facts.gains.values():
        assert 4321 * scale + shift == pytest.approx((4321 + (offset or 0)) / 10000, abs=1e-12)


def test_l1c_clouds(tmp_path: Path) -> None:
    classi = np.zeros((3, 2, 2))
    classi[0, 0, 1] = 1
    product = told(safe(tmp_path, bands("L1C"), level="L1C", classi=classi))
    (layer,) = product.quality
    assert layer.rule == "s2-classi"
    with rasterio.open(layer.path) as dataset:
        assert (dataset.read() == classi).all()
    assert {band.name for band in product.bands} >= {"cirrus", "nir09"}


def test_coarser_repeats_are_not_taken_but_stand_in(tmp_path: Path) -> None:
    data = bands()
    repeats = {"B02_20m": data["B02"][:6, :6], "B02_60m": data["B02"][:2, :2], "B01_20m": data["B05"]}
    root = safe(tmp_path, data | repeats)
    by_id = {band.id: band for band in told(root).bands}
    assert (by_id["B02"].gsd_m, by_id["B01"].gsd_m) == (10, 60)  # 20 m B01 is resampled from 60 m
    Path(by_id["B02"].path).unlink()
    left = {band.id: band for band in told(root).bands}
    assert left["B02"].gsd_m == 20
    assert left["B02"].path.endswith("B02_20m.jp2")
    assert told(root).grid_id == "B03"


def test_the_layout_of_before_december_2016(tmp_path: Path) -> None:
    root = safe(tmp_path, bands("L1C"), level="L1C", offset=None)
    for path in root.glob("GRANULE/*/IMG_DATA/*.jp2"):
        path.rename(path.with_name(f"S2A_OPER_MSI_L1C_TL_SGS__20160503T160000_A004501_T18SVG_{path.name[-7:]}"))
    (root / "MTD_MSIL1C.xml").rename(root / "S2A_OPER_MTD_SAFL1C_PDMC_20160504T032102_R097_V20160503T155821.xml")
    old = root.rename(tmp_path / "S2A_OPER_PRD_MSIL1C_PDMC_20160504T032102_R097_V20160503T155821.SAFE")
    product = told(old)
    assert (product.sensor, product.scene_id) == ("s2-l1c", root.stem)  # the metadata's name, whatever the folder's
    assert len(product.bands) == 13
    assert product.metadata == (str(next(old.glob("S2A_OPER_MTD_*"))),)


def test_partly_deleted_products(tmp_path: Path) -> None:
    root = safe(tmp_path, bands())
    images = next(root.glob("GRANULE/*/IMG_DATA"))
    for path in images.rglob("*_B0[2-4]_*"):
        path.unlink()
    product = told(root)
    assert [band.id for band in product.bands if band.gsd_m == 10] == ["B08"]
    assert any("_SCL_20m.jp2" in note for note in product.notes)
    shutil.rmtree(images)
    with pytest.raises(InputError, match=r"holds MTD_MSIL2A.xml, but none of its band files"):
        told(root)
    (root / "MTD_MSIL2A.xml").unlink()
    with pytest.raises(InputError, match=r"is no product that geoseg knows: it holds .*\.xml.*--sensor NAME"):
        told(root)


def test_several_granules_and_several_products_are_named(tmp_path: Path) -> None:
    root = safe(tmp_path, {"B02": np.ones((4, 4), np.uint16)})
    safe(tmp_path, {"B02": np.ones((4, 4), np.uint16)}, level="L1C")
    with pytest.raises(InputError, match=r"could be s2-l1c, s2-l2a; say which"):
        told(tmp_path)
    granule = next((root / "GRANULE").iterdir())
    shutil.copytree(granule, granule.with_name("L2A_T18SVH_A041678_20230615T155821"))
    with pytest.raises(InputError, match=r"2 granules \(L2A_T18SVG_.*, L2A_T18SVH_.*\); one scene is one granule"):
        told(root)
    safe(tmp_path / "more", {"B02": np.ones((4, 4), np.uint16)})
    safe(tmp_path / "more", {"B02": np.ones((4, 4), np.uint16)}, tile="T18SVH")
    with pytest.raises(InputError, match=r"2 scenes of s2-l2a \(S2A_.*T18SVG.*T18SVH"):
        told(tmp_path / "more")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("10000</BOA", "ten</BOA"), InputError, "'ten' is not a number"),
        (("10000</BOA", "0</BOA"), InputError, "quantification 0 is not above 0"),
        (("</n1:General_Info>", ""), InputError, "is no whole XML"),
        (("2023-06-15T15:58:21.024Z</PRODUCT_START", "yesterday</PRODUCT_START"), InputError, "'yesterday' is not a"),
        (('encoding="UTF-8"?>', 'encoding="UTF-8"?><!DOCTYPE x [<!ENTITY a "b">]>'), PolicyError, "XML entities"),
    ],
)
def test_damaged_metadata(tmp_path: Path, change: tuple[str, str], error: type[Exception], message: str) -> None:
    root = safe(tmp_path, {"B02": np.ones((4, 4), np.uint16)})
    file = root / "MTD_MSIL2A.xml"
    text = file.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change))
    with pytest.raises(error, match=message):
        told(root)


def test_a_band_without_offset_among_bands_with_one_is_left_out(tmp_path: Path) -> None:
    data = {band: np.ones((4, 4), np.uint16) for band in ("B02", "B03")}
    product = told(safe(tmp_path, data, offset={"B02": -1000}))
    assert [band.id for band in product.bands] == ["B02"]
    assert "left out, for the metadata have no gain for them: B03" in product.notes


def test_plain_files_leave_the_offset_open(tmp_path: Path) -> None:
    folder = tmp_path / "R10m"
    for band in ("B02", "B03"):
        raster(folder / f"T18SVG_20230615T155821_{band}_10m.jp2", np.ones((4, 4), np.uint16), _grid())
    product = told(folder, "s2-l2a")
    assert [(band.id, band.scale, band.offset, band.nodata) for band in product.bands] == [
        ("B02", 0.0001, 0.0, 0),
        ("B03", 0.0001, 0.0, 0),
    ]
    assert (product.radiometry, product.needs_offset, product.acquired) == ("preset", True, None)
    assert "--offset -0.1" in product.offset_question
    assert "--offset 0 " in product.offset_question
    files = recognize(sorted(folder.iterdir()), "s2-l2a")
    assert files is not None
    assert files.bands == product.bands
    assert recognize(sorted(folder.iterdir())) is None


def _grid() -> rasterio.Affine:
    return rasterio.Affine(10, 0, 400_000, 0, -10, 4_200_000)

"""Landsat: folders and tars of all collections, the right group of the metadata, the sun's height."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from trees import landsat, tarred

from geoseg.errors import InputError, UsageError
from geoseg.products.product import Product
from geoseg.products.recognize import recognize

OLI = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10")
TM = ("B1", "B2", "B3", "B4", "B5", "B6", "B7")


def ones(names: tuple[str, ...], prefix: str = "") -> dict[str, np.ndarray]:
    return {
        f"{prefix}{name}": np.full((8, 8) if name == "B8" else (4, 4), 9000 + n, np.uint16)
        for n, name in enumerate(names)
    }


def told(path: Path, sensor: str = "auto") -> Product:
    product = recognize([path], sensor)
    assert product is not None
    return product


def test_level_2_takes_the_level_2_group(tmp_path: Path) -> None:
    data = ones(OLI[:7], "SR_") | {"ST_B10": np.full((4, 4), 44000, np.uint16)}
    root = landsat(tmp_path, data, qa=np.full((4, 4), 21824))
    product = told(root)
    assert (product.sensor, product.scene_id) == ("landsat-c2-l2", "LC08_L2SP_014034_20210704_20210712_02_T1")
    assert product.title == "Landsat Collection 2 level 2, Landsat 8"
    assert product.acquired == datetime(2021, 7, 4, 15, 46, 9, 345678, tzinfo=UTC)
    assert (product.radiometry, product.grid_id, product.needs_offset) == ("metadata", "SR_B1", False)
    assert product.why.endswith("SR_B1.TIF is named as Landsat Collection 2 level 2 names its files")
    assert product.notes == ()
    assert {band.name: (band.scale, band.offset) for band in product.bands} == {
        **dict.fromkeys(("coastal", "blue", "green", "red", "nir", "swir16", "swir22"), (2.75e-05, -0.2)),
        "thermal": (0.00341802, 149.0),
    }
    assert {band.nodata for band in product.bands} == {0}
    (layer,) = product.quality
    assert (layer.rule, Path(layer.path).name) == ("landsat-qa", f"{product.scene_id}_QA_PIXEL.TIF")
    assert product.metadata == (str(root / f"{product.scene_id}_MTL.txt"),)
    by_metadata = told(root / f"{product.scene_id}_MTL.txt")
    assert by_metadata.bands == product.bands


@pytest.mark.parametrize("collection", ["02", "01", None])
def test_level_1_divides_by_the_sine_of_the_sun(tmp_path: Path, collection: str | None) -> None:
    product = told(landsat(tmp_path, ones(OLI), level="L1TP", collection=collection, sun_elevation=30.0))
    expected = {"02": "landsat-c2-l1", "01": "landsat-c1-l1", None: "landsat-pre"}
    assert product.sensor == expected[collection]
    by_name = {band.name: band for band in product.bands}
    assert (by_name["blue"].scale, by_name["blue"].offset) == pytest.approx((4e-05, -0.2))
    assert (by_name["red"].scale, by_name["red"].offset) == pytest.approx((3.6e-05, -0.18))  # band 4's own numbers
    assert (by_name["swir16"].scale, by_name["swir16"].offset) == pytest.approx((4e-05, -0.2))  # not a thermal band 6
    assert (by_name["thermal"].scale, by_name["thermal"].offset) == (3.342e-04, 0.1)  # radiance knows no sun
    assert by_name["pan"].gsd_m == 15
    assert product.grid_id == "B1"  # though pan is finer
    assert "sun elevation 30.0° applied" in product.notes


@pytest.mark.parametrize("elevation", [-3.0, 0.0, 91.0])
def test_a_night_scene_is_refused(tmp_path: Path, elevation: float) -> None:
    with pytest.raises(InputError, match=r"the sun stands at .*a night scene has no reflectance"):
        told(landsat(tmp_path, ones(OLI), level="L1TP", sun_elevation=elevation))


@pytest.mark.parametrize(("sensor", "level"), [("LT05", "L1TP"), ("LE07", "L1GT"), ("LT04", "L1TP")])
def test_tm_numbers_mean_other_bands(tmp_path: Path, sensor: str, level: str) -> None:
    names = TM if sensor != "LE07" else ("B1", "B2", "B3", "B4", "B5", "B6_VCID_1", "B6_VCID_2", "B7", "B8")
    product = told(landsat(tmp_path, ones(names), level=level, sensor=sensor, sun_elevation=45.0))
    ids = {band.name: band.id for band in product.bands}
    assert " ".join(ids[name] for name in ("blue", "green", "red", "nir", "swir16", "swir22")) == "B1 B2 B3 B4 B5 B7"
    nir = next(band for band in product.bands if band.name == "nir")
    assert nir.scale == pytest.approx(1.8e-05 / math.sin(math.pi / 4))
    assert set(ids) - {"blue", "green", "red", "nir", "swir16", "swir22"} == (
        {"thermal_low", "thermal_high", "pan"} if sensor == "LE07" else {"thermal"}
    )


def test_tar_equals_folder(tmp_path: Path) -> None:
    folder = landsat(tmp_path, ones(OLI[:7], "SR_"), qa=np.full((4, 4), 21824))
    one = told(folder)
    for suffix, slow in ((".tar", False), (".tar.gz", True), (".tgz", True)):
        archive = tarred(folder, suffix)
        other = told(archive)
        assert [replace(band, path="") for band in other.bands] == [replace(band, path="") for band in one.bands]
        assert (other.scene_id, other.acquired) == (one.scene_id, one.acquired)
        assert any("compressed tar" in note for note in other.notes) == slow
        assert other.quality[0].path.startswith(f"/vsitar/{archive}/")
        for here, there in zip(one.bands, other.bands, strict=True):
            with rasterio.open(here.path) as a, rasterio.open(there.path) as b:
                assert (a.read() == b.read()).all()


@pytest.mark.parametrize(
    ("collection", "mtl", "rule"), [("01", True, "landsat-bqa-c1"), (None, True, "landsat-bqa-c0"), (None, False, None)]
)
def test_bqa_layout_is_told_by_metadata_alone(
    tmp_path: Path, collection: str | None, mtl: bool, rule: str | None
) -> None:
    folder = landsat(tmp_path, ones(OLI), level="L1TP", collection=collection, qa=np.full((4, 4), 2720), mtl=mtl)
    (layer,) = told(folder).quality
    assert (layer.rule, layer.choices) == (rule, ("landsat-bqa-c0", "landsat-bqa-c1"))


def test_tm_bqa_has_no_rule(tmp_path: Path) -> None:
    data = ones(TM)
    product = told(landsat(tmp_path, data, level="L1TP", collection="01", sensor="LT05", qa=np.full((4, 4), 672)))
    assert product.quality == ()
    assert "*_BQA.TIF is not used: no rule knows this instrument's bits" in product.notes


def test_without_metadata(tmp_path: Path) -> None:
    oli = told(landsat(tmp_path / "a", ones(OLI), level="L1TP", mtl=False))
    assert (oli.radiometry, oli.acquired) == ("preset", None)
    assert (oli.bands[1].scale, oli.bands[1].offset) == (2e-05, -0.1)
    assert "no MTL: constant gains, sun angle unknown, not corrected" in oli.notes
    tm = told(landsat(tmp_path / "b", ones(TM), level="L1TP", sensor="LT05", mtl=False))
    assert (tm.radiometry, tm.bands[0].scale, tm.bands[0].offset) == ("none", 1.0, 0.0)
    surface = told(landsat(tmp_path / "c", ones(OLI[:7], "SR_"), mtl=False))
    assert (surface.radiometry, surface.bands[0].scale) == ("preset", 2.75e-05)
    assert "no MTL: constant gains" in surface.notes


def test_files_by_themselves_take_the_metadata_beside_them(tmp_path: Path) -> None:
    folder = landsat(tmp_path, ones(OLI), level="L1TP", qa=np.full((4, 4), 21824))
    files = [next(folder.glob(f"*_{band}.TIF")) for band in ("B5", "B4")]
    product = recognize(files, "landsat-c2-l1")
    assert product is not None
    assert [band.name for band in product.bands] == ["red", "nir"]
    assert [band.scale for band in product.bands] == pytest.approx([3.6e-05, 4e-05])
    assert product.radiometry == "metadata"
    assert product.quality[0].rule == "landsat-qa"


def test_renamed_files_need_the_instrument(tmp_path: Path) -> None:
    folder = landsat(tmp_path, ones(TM), level="L1TP", sensor="LT05", mtl=False)
    for path in folder.iterdir():
        path.rename(folder / f"mine_{path.stem.rpartition('_')[2]}.tif")
    with pytest.raises(InputError, match=r"pass --sensor landsat-c2-l1:oli or landsat-c2-l1:tm"):
        told(folder, "landsat-c2-l1")
    by_word = told(folder, "landsat-c2-l1:tm")
    assert {band.id: band.name for band in by_word.bands}["B4"] == "nir"
    assert {band.id: band.name for band in told(folder, "landsat-c2-l1:oli").bands}["B4"] == "red"
    with pytest.raises(UsageError, match=r"no such variant; known: landsat-c2-l1:oli, landsat-c2-l1:tm"):
        told(folder, "landsat-c2-l1:mss")


def test_two_scenes_in_one_folder(tmp_path: Path) -> None:
    folder = landsat(tmp_path, ones(("B4",)), level="L1TP")
    for path in landsat(tmp_path, ones(("B4",)), level="L1TP", sensor="LC09").iterdir():
        path.rename(folder / path.name)
    with pytest.raises(InputError, match=r"2 scenes of landsat-c2-l1 \(LC08_.*, LC09_"):
        told(folder)


def test_metadata_of_another_level_calibrate_nothing(tmp_path: Path) -> None:
    folder = landsat(tmp_path, ones(OLI[:7], "SR_"))
    mtl = next(folder.glob("*_MTL.txt"))
    mtl.write_text(mtl.read_text().replace('PROCESSING_LEVEL = "L2SP"', 'PROCESSING_LEVEL = "L1TP"'))
    with pytest.raises(InputError, match=r"_MTL\.txt holds no gain for any of the bands SR_B1, SR_B2"):
        told(folder)
    mtl.write_text("GROUP = SOMETHING_ELSE\n")
    with pytest.raises(InputError, match="none of the groups of Landsat metadata"):
        told(folder)


def test_the_gulf_coast_sample(shared: Path) -> None:
    product = told(shared / "gulf_coast_landsat8_bands", "landsat-pre")
    assert [band.name for band in product.bands] == ["blue", "green", "red", "nir", "swir16", "swir22"]
    assert Path(product.quality[0].path).name == "l8_BQA.tif"
    assert product.quality[0].rule is None

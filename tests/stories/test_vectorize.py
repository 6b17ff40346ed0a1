from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import InputError, InputMissingError, OutputExistsError, UsageError
from geoseg.io.class_raster import open_class_raster
from geoseg.io.record import verify_record
from geoseg.settings import VECTOR_SUFFIXES, OutputSettings, VectorSettings
from geoseg.stories.regions import find_regions, polygons_of
from geoseg.stories.vector_key import skipped_codes
from geoseg.stories.vectorize import vectorize

SCHEME = ClassScheme(
    (LandClass(1, "water", (0, 0, 255)), LandClass(2, "7", (9, 9, 9)), LandClass(7, "tree", (0, 99, 0)))
)
CODES = np.array([[1, 1, 7], [2, 1, 7], [255, 7, 7]], np.uint8)
SCORES = np.array([[255, 255, 51], [102, 255, 51], [0, 51, 51]], np.uint8)


def write(path: Path, data: np.ndarray, nodata: int, **tags: str) -> Path:
    profile = {"crs": "EPSG:32618", "transform": Affine(10, 0, 5e5, 0, -10, 4e6), "dtype": data.dtype, "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", height=3, width=3, count=1, **profile) as dataset:
        dataset.write(data, 1)
        dataset.update_tags(**tags)
    return path


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    classes = json.dumps(SCHEME.to_json())
    tags = {"GEOSEG_CLASSES": classes, "GEOSEG_DATETIME": "2018-06-01T15:59:01Z", "GEOSEG_MODEL": "toy"}
    return write(tmp_path / "scene.classes.tif", CODES, 255, **tags)


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
def test_the_file_holds_the_polygons_and_a_record_describes_it(suffix: str, raster: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / f"land{suffix}"
    result = vectorize(raster, output)
    assert (result.n_polygons, result.area_model, result.up_to_date) == (3, "planar", False)
    assert result.count == {"water": 1, "7": 1, "tree": 1}
    assert result.area_m2 == {"water": 300.0, "7": 100.0, "tree": 400.0}
    assert result.paths[0] == output
    assert {path.name for path in result.paths} | {f"land{suffix}.json"} == {p.name for p in output.parent.iterdir()}
    assert verify_record(output.with_name(f"land{suffix}.json")) == []
    table = gpd.read_parquet(output) if suffix == ".parquet" else gpd.read_file(output)
    assert set(table.scene_id) == {"scene"}
    assert {str(day)[:10] for day in table.img_date} == {"2018-06-01"}


def test_the_layer_is_named_after_the_model(raster: Path, tmp_path: Path) -> None:
    vectorize(raster, tmp_path / "o.gpkg")
    assert len(gpd.read_file(tmp_path / "o.gpkg", layer="toy")) == 3


def test_a_second_run_is_up_to_date_and_says_the_same(raster: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.gpkg"
    first = vectorize(raster, output)
    before = output.stat().st_mtime_ns
    second = vectorize(raster, output)
    assert output.stat().st_mtime_ns == before
    assert second.up_to_date
    assert (second.count, second.area_m2, second.paths) == (first.count, first.area_m2, first.paths)


def test_other_settings_need_overwrite(raster: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.gpkg"
    vectorize(raster, output)
    fewer = VectorSettings(skip_classes=("water",))
    with pytest.raises(OutputExistsError, match="skip_classes"):
        vectorize(raster, output, fewer)
    result = vectorize(raster, output, fewer, OutputSettings(overwrite=True))
    assert result.count == {"water": 0, "7": 1, "tree": 1}


def test_a_new_confidence_raster_beside_the_map_is_another_result(raster: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.fgb"
    vectorize(raster, output)
    assert gpd.read_file(output).score.isna().all()
    write(tmp_path / "scene.confidence.tif", SCORES, 0)
    with pytest.raises(OutputExistsError, match="scores"):
        vectorize(raster, output)
    vectorize(raster, output, out=OutputSettings(overwrite=True))
    scores = gpd.read_file(output).set_index("class_name").score
    assert scores.to_dict() == pytest.approx({"water": 1.0, "7": 0.4, "tree": 0.2}, rel=1e-15)


def test_a_named_confidence_raster_must_exist(raster: Path, tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=r"none\.tif"):
        vectorize(raster, tmp_path / "o.gpkg", VectorSettings(scores=tmp_path / "none.tif"))
    assert not (tmp_path / "o.gpkg").exists()


def test_the_stage_alone_needs_no_disk_for_its_result(raster: Path) -> None:
    tables = list(polygons_of(find_regions(open_class_raster(raster), None, VectorSettings()), VectorSettings()))
    assert sorted(poly for table in tables for poly in table.poly_id) == [0, 2, 3]
    assert {(table.scene_id, table.img_date, table.score) for table in tables} == {("scene", date(2018, 6, 1), None)}


def test_classes_are_skipped_by_name_before_code() -> None:
    assert skipped_codes(SCHEME, ("tree", "1")) == {7, 1}
    assert skipped_codes(SCHEME, ("7",)) == {2}  # the class that is called 7, not the class of code 7
    with pytest.raises(UsageError, match=r"'snow' is no class of this raster; it has: 1 water, 2 7, 7 tree"):
        skipped_codes(SCHEME, ("snow",))


def test_an_unknown_suffix_is_told_at_once(raster: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'o.kml' must end in .gpkg"):
        vectorize(raster, tmp_path / "o.kml")


@pytest.mark.parametrize("folder", ["a!b", "a;b"])
def test_paths_that_the_writer_takes_apart_are_refused(raster: Path, tmp_path: Path, folder: str) -> None:
    with pytest.raises(UsageError, match="takes apart"):
        vectorize(raster, tmp_path / folder / "out.gpkg")
    assert not (tmp_path / folder).exists()


@pytest.mark.parametrize("crs", ["EPSG:4978", "EPSG:5773"])
def test_heights_and_space_are_no_maps(crs: str, raster: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"--out-crs '{crs}': .* is no CRS of maps"):
        vectorize(raster, tmp_path / "o.gpkg", VectorSettings(out_crs=crs))
    assert not (tmp_path / "o.gpkg").exists()


def test_rows_beyond_the_poles_are_the_inputs_fault(raster: Path, tmp_path: Path) -> None:
    with rasterio.open(raster, "r+") as dataset:
        dataset.crs, dataset.transform = "EPSG:4326", Affine(5, 0, -200, 0, -2.5, 94)
    with pytest.raises(InputError, match="outside the domain of 'WGS 84'"):
        vectorize(raster, tmp_path / "o.gpkg")


@pytest.mark.parametrize("size", ["99999999999999999999999px", "100000001ha"])
def test_sizes_beyond_all_rasters_are_refused(size: str, raster: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--mmu '{size}' is too large; give at most 1000000000000 "):
        vectorize(raster, tmp_path / "o.gpkg", VectorSettings(mmu=size))

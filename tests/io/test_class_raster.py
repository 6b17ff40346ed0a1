"""Class rasters of other people: where their names hide, and values that are no codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Window
from geoseg.io import class_raster
from geoseg.io.class_raster import open_class_raster, read_codes

CODES = np.array([[1, 2, 2], [7, 1, 0]])
ESRI_TABLE = """<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable>
<FieldDefn index="0"><Name>OID</Name><Type>0</Type><Usage>0</Usage></FieldDefn>
<FieldDefn index="1"><Name>Value</Name><Type>1</Type><Usage>0</Usage></FieldDefn>
<FieldDefn index="2"><Name>Class_Name</Name><Type>2</Type><Usage>0</Usage></FieldDefn>
<FieldDefn index="3"><Name>Red</Name><Type>1</Type><Usage>0</Usage></FieldDefn>
<FieldDefn index="4"><Name>Green</Name><Type>1</Type><Usage>0</Usage></FieldDefn>
<FieldDefn index="5"><Name>Blue</Name><Type>1</Type><Usage>0</Usage></FieldDefn>
<Row index="0"><F>0</F><F>0.0</F><F>Background</F><F>0</F><F>0</F><F>0</F></Row>
<Row index="1"><F>1</F><F>2.0</F><F>Crops</F><F>1.0</F><F>0.5</F><F>0.0</F></Row>
<Row index="2"><F>2</F><F>7.0</F><F>Crops</F><F>0.2</F><F>0.0</F><F>1.0</F></Row>
</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"""
CATEGORIES = """<PAMDataset><PAMRasterBand band="1"><CategoryNames>
<Category></Category><Category>Wald</Category><Category>Wiese &amp; Weide</Category><Category>See</Category>
</CategoryNames></PAMRasterBand></PAMDataset>"""


def raster(path: Path, values: np.ndarray, **more: object) -> Path:
    profile = {"crs": "EPSG:32618", "transform": Affine(10, 0, 5e5, 0, -10, 4e6)} | more
    tags, colors = profile.pop("tags", {}), profile.pop("colors", None)
    layers = values if values.ndim == 3 else values[None]
    size = {"count": layers.shape[0], "height": layers.shape[1], "width": layers.shape[2]}
    with rasterio.open(path, "w", driver="GTiff", dtype=layers.dtype, **size, **profile) as dataset:
        dataset.write(layers)
        dataset.update_tags(**tags)
        if colors:
            dataset.write_colormap(1, colors)
    return path


def named(path: Path) -> dict[int, str]:
    return {c.code: c.name for c in open_class_raster(path).scheme.classes}


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "float32", "float64"]
)
def test_every_type_of_whole_numbers_is_read_alike(tmp_path, dtype) -> None:
    found = open_class_raster(raster(tmp_path / "a.tif", CODES.astype(dtype), nodata=0))
    assert found.scheme.names == ("class 1", "class 2", "class 7")
    assert (found.dtype, found.stored_nodata, found.nodata) == (dtype, 0, 255)
    codes = read_codes(found)
    assert codes.dtype == np.uint8
    assert codes.tolist() == [[1, 2, 2], [7, 1, 255]]
    assert read_codes(found, Window(1, 1, 2, 1)).tolist() == [[1, 255]]


def test_whoever_wrote_a_raster_need_not_read_it_again(tmp_path, monkeypatch) -> None:
    path = raster(tmp_path / "a.tif", CODES, nodata=0)
    read = open_class_raster(path)
    monkeypatch.setattr(class_raster, "_values_found", None)
    assert open_class_raster(path, occurring={7, 1, 2}) == read


def test_nan_and_a_mask_are_nodata(tmp_path) -> None:
    values = CODES.astype("float32")
    values[0, 0] = np.nan
    assert read_codes(open_class_raster(raster(tmp_path / "a.tif", values))).tolist() == [[255, 2, 2], [7, 1, 0]]
    path = raster(tmp_path / "b.tif", CODES.astype("uint8"))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(CODES != 2)
    masked = open_class_raster(path)
    assert masked.scheme.codes == (0, 1, 7)
    assert read_codes(masked).tolist() == [[1, 255, 255], [7, 1, 0]]


def test_alpha_is_no_second_band(tmp_path) -> None:
    layers = np.stack([CODES, np.where(CODES == 7, 0, 255)]).astype("uint8")
    path = raster(tmp_path / "a.tif", layers, photometric="minisblack", alpha="yes")
    assert open_class_raster(path).scheme.codes == (0, 1, 2)


def test_an_attribute_table_of_arcgis_names_and_colors_the_classes(tmp_path) -> None:
    path = raster(tmp_path / "a.tif", CODES.astype("uint8"), nodata=0)
    Path(f"{path}.aux.xml").write_text(ESRI_TABLE, "utf-8")
    scheme = open_class_raster(path).scheme
    assert named(path) == {1: "class 1", 2: "Crops (2)", 7: "Crops (7)"}
    assert scheme.by_code(2).color == (255, 128, 0)
    assert scheme.by_code(7).color == (51, 0, 255)


def test_category_names_and_palette_are_used(tmp_path) -> None:
    path = raster(
        tmp_path / "a.tif", CODES.astype("uint8"), colors={1: (1, 2, 3), 2: (9, 9, 9)}, tags={"1": "not this"}
    )
    Path(f"{path}.aux.xml").write_text(CATEGORIES, "utf-8")
    assert named(path) == {0: "class 0", 1: "Wald", 2: "Wiese & Weide", 3: "See", 7: "class 7"}
    scheme = open_class_raster(path).scheme
    assert (scheme.by_code(1).color, scheme.by_code(2).color) == ((1, 2, 3), (9, 9, 9))
    # Entries that nobody set are black in a palette: those classes get colors of their own.
    assert len({c.color for c in scheme.classes}) == len(scheme)


def test_numbered_tags_name_the_classes(tmp_path) -> None:
    path = raster(tmp_path / "a.tif", CODES.astype("uint8"), tags={"0": "bare", "7": "ice", "units": "class"})
    assert named(path) == {0: "bare", 1: "class 1", 2: "class 2", 7: "ice"}


def test_colors_without_a_palette_are_distinct_and_depend_on_the_code_alone(tmp_path) -> None:
    many = open_class_raster(raster(tmp_path / "a.tif", np.arange(200, dtype="uint8").reshape(10, 20))).scheme
    few = open_class_raster(raster(tmp_path / "b.tif", CODES.astype("uint8"))).scheme
    assert len({c.color for c in many.classes}) == 200
    assert few.by_code(7) == many.by_code(7)


def test_a_class_255_makes_room_for_nodata(tmp_path) -> None:
    found = open_class_raster(raster(tmp_path / "a.tif", np.array([[255, 3]], "uint8")))
    assert (found.scheme.codes, found.nodata) == ((3, 255), 65535)
    assert read_codes(found).tolist() == [[255, 3]]


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "float64"])
def test_codes_of_any_size_are_read(tmp_path, dtype) -> None:
    values = np.array([[0, 65534, 65535], [65536, 2**31 - 2, 9]], dtype)
    found = open_class_raster(raster(tmp_path / "a.tif", values, nodata=9))
    assert found.scheme.codes == (0, 65534, 65535, 65536, 2147483646)
    codes = read_codes(found)
    assert (codes.dtype, found.nodata) == (np.int32, 2147483647)
    assert codes.tolist() == [[0, 65534, 65535], [65536, 2147483646, 2147483647]]


def test_too_many_values_are_measurements(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(class_raster, "MAX_UNNAMED", 100)
    values = np.arange(1, 102, dtype="int32")[None] * 70_000
    with pytest.raises(InputError, match=r"more than 100 distinct values: measurements"):
        open_class_raster(raster(tmp_path / "a.tif", values))
    assert len(open_class_raster(raster(tmp_path / "b.tif", values[:, :100])).scheme) == 100


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[1.5, 2]]), "holds 1.5, a measurement"),
        (np.array([[-3, 2]], "int16"), r"holds the value -3; class codes are 0…2147483646: .*-a_nodata -3"),
        (np.array([[65535, 2]], "uint16"), "holds the value 65535; class codes are 0…65534"),
        (np.array([[2**31 - 1, 2]], "int32"), "holds the value 2147483647"),
        (np.array([[2**31, 2]], "uint32"), "holds the value 2147483648"),
        (np.array([[2.0**31, 2]], "float32"), "holds the value 2147483648"),
        (np.array([[1e300, 2]], "float64"), "holds the value 1e"),
        (np.array([[np.inf, 2]]), "holds the value inf"),
        (np.ones((3, 2, 2), "uint8"), "has 3 bands"),
        (np.ones((2, 2), "complex64"), "complex"),
    ],
)
def test_what_is_no_class_raster_is_refused(tmp_path, values, message) -> None:
    with pytest.raises(InputError, match=message):
        open_class_raster(raster(tmp_path / "a.tif", values))


def test_a_raster_without_any_class_place_or_file_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="every pixel is nodata"):
        open_class_raster(raster(tmp_path / "a.tif", np.zeros((2, 2), "uint8"), nodata=0))
    with pytest.raises(InputError, match="has no CRS; if you know it, set it with gdal_edit"):
        open_class_raster(raster(tmp_path / "b.tif", CODES.astype("uint8"), crs=None))
    assert open_class_raster(tmp_path / "b.tif", assume_crs="EPSG:32618").grid.crs.to_epsg() == 32618
    with pytest.raises(InputMissingError, match=r"none\.tif"):
        open_class_raster(tmp_path / "none.tif")


def test_values_that_our_own_tag_does_not_list_are_not_lost(tmp_path) -> None:
    """A class raster edited by another program keeps its tag but may hold new values."""
    tag = '[{"code": 1, "name": "water", "color": "#0000ff"}]'
    path = raster(tmp_path / "a.tif", CODES.astype("uint8"), nodata=0, tags={"GEOSEG_CLASSES": tag})
    assert named(path) == {1: "water", 2: "class 2", 7: "class 7"}
    broken = raster(tmp_path / "b.tif", CODES.astype("uint8"), tags={"GEOSEG_CLASSES": "[{]"})
    with pytest.raises(InputError, match="damaged GEOSEG_CLASSES"):
        open_class_raster(broken)

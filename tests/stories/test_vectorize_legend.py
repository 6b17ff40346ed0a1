"""Class rasters of anyone, renamed and merged by a legend before polygons are made."""

# ruff: noqa: S314 (the XML is our own)
from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from cli_kit import polygons_in
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS
from scipy import ndimage

from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import ConfigError, InputMissingError, OutputExistsError
from geoseg.grid import Grid
from geoseg.io.class_raster import open_class_raster, read_codes
from geoseg.io.cog import write_class_cog
from geoseg.io.legend_file import read_legend_file
from geoseg.io.spool import RasterSpool
from geoseg.legend import Entry, Legend
from geoseg.settings import VECTOR_SUFFIXES, VectorSettings
from geoseg.stories.regions import find_regions, polygons_of
from geoseg.stories.vectorize import vectorize

TRANSFORM = Affine(10, 0, 5e5, 0, -10, 4e6)
UTM = CRS.from_epsg(32618)
NAMES = ("Вода и лёд", "森林・草原", "Prés «é»", "ж" * 127)
"""The last one is as long as a Shapefile's text may be: 254 bytes."""
SCHEME = ClassScheme(tuple(LandClass(code, name, (9 * code, 50, 200)) for code, name in enumerate(NAMES, 1)))
CODES = np.array([[1, 1, 2], [4, 255, 2], [3, 3, 3]], np.uint8)
# WorldCover: trees, crops, built-up, water, mangroves, snow; nodata 0.
WORLDCOVER = np.array([[10, 10, 40, 50], [95, 30, 40, 50], [80, 80, 60, 0], [10, 80, 80, 70]])
CCAP = """code,name,color,from
1,developed,#ff0000,2|3|4|5
2,farmland,#aaaa00,6|7
3,natural,#00aa00,8|9|10|11|12|20
4,wetland,#0000aa,13|14|15|16|17|18|22
5,shore and water,#0000ff,19|21
"""


def write(path: Path, codes: np.ndarray, nodata: float | None, **tags: str) -> Path:
    height, width = codes.shape
    profile: dict[str, Any] = {"crs": "EPSG:32618", "transform": TRANSFORM, "dtype": codes.dtype, "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, count=1, **profile) as dataset:
        dataset.write(codes, 1)
        dataset.update_tags(**tags)
    return path


def class_cog(folder: Path, scheme: ClassScheme, codes: np.ndarray = CODES) -> Path:
    """A class raster as `run` writes it, with its style beside it."""
    grid = Grid(UTM, TRANSFORM, codes.shape[1], codes.shape[0])
    with RasterSpool(folder / "spool", grid, codes.dtype, 255) as spool:
        spool.write(grid.window, codes)
        return write_class_cog(spool, folder / "a.classes.tif", scheme=scheme, tags={})[0]


def style_colors(path: Path) -> dict[int, str]:
    """Code → r,g,b of a GeoPackage's style."""
    root = ET.fromstring(pyogrio.read_dataframe(path, layer="layer_styles").styleQML[0])
    colors = [color.attrib["value"].removesuffix(",255") for color in root.findall(".//symbol//Option[@name='color']")]
    return {int(c.attrib["value"]): colors[int(c.attrib["symbol"])] for c in root.iter("category")}


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_worldcover_drawn_by_hand_becomes_corine(tmp_path: Path, dtype: str) -> None:
    raster = write(tmp_path / "map.tif", WORLDCOVER.astype(dtype), 0)
    output = tmp_path / "map.gpkg"
    result = vectorize(raster, output, VectorSettings(legend="worldcover+corine1"))
    # Forest: the trees with mangroves and grass; the bare pixel alone; the last row's trees; the snow.
    assert result.count == {
        "Artificial surfaces": 1,
        "Agricultural areas": 1,
        "Forest and semi-natural areas": 4,
        "Wetlands": 0,
        "Water bodies": 1,
    }
    assert list(result.area_m2.values()) == [200.0, 200.0, 700.0, 0.0, 400.0]
    found = polygons_in(output)
    assert found.class_id.to_dict() == {0: 3, 2: 2, 3: 1, 8: 5, 10: 3, 12: 3, 15: 3}
    assert found.n_pixels.to_dict() == {0: 4, 2: 2, 3: 2, 8: 4, 10: 1, 12: 1, 15: 1}
    assert found.class_name[8] == "Water bodies"
    assert style_colors(output)[1] == "230,0,77"


@given(st.data())
def test_a_legend_is_recoding_before_vectorizing(tmp_path: Path, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    values = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=6, unique=True))
    outputs = data.draw(st.lists(st.integers(0, 400), min_size=1, max_size=4, unique=True))
    target = {value: data.draw(st.sampled_from(outputs)) for value in values}
    drawn = rng.choice([*values, 65535], (6, 5))
    dtype = data.draw(st.sampled_from(["uint16", "int32", "float64"]))
    entries = [
        Entry(code, f"n{code}", sources=tuple(str(v) for v in values if target[v] == code) or (f"none {code}",))
        for code in outputs
    ]
    legend = Legend.of(entries, "drawn")

    merged = open_class_raster(write(tmp_path / "a.tif", drawn.astype(dtype), 65535), legend=legend)
    recoded = np.vectorize(lambda value: target.get(value, 65535))(drawn).astype(np.uint16)
    tag = json.dumps(legend.scheme.to_json())
    plain = open_class_raster(write(tmp_path / "b.tif", recoded, 65535, GEOSEG_CLASSES=tag))
    assert merged.scheme == plain.scheme
    np.testing.assert_array_equal(read_codes(merged), read_codes(plain))
    settings = VectorSettings()
    one, other = (polygons_of(find_regions(raster, None, settings), settings) for raster in (merged, plain))
    for mine, theirs in zip(one, other, strict=True):
        for column in ("geometry", "poly_id", "class_id", "class_name", "n_pixels", "area_m2", "perim_m"):
            assert getattr(mine, column).tolist() == getattr(theirs, column).tolist()


def test_a_style_edited_in_qgis_comes_back_in_raster_style_and_names(tmp_path: Path) -> None:
    raster = class_cog(tmp_path, SCHEME)
    style = raster.with_suffix(".qml")
    root = ET.fromstring(style.read_text("utf-8"))
    entries = {entry.get("value"): entry for entry in root.iter("paletteEntry")}
    entries["2"].set("color", "#12ab34")
    entries["3"].set("label", "Луг 牧草地")
    edited = tmp_path / "edited.qml"
    edited.write_text(ET.tostring(root, encoding="unicode"), "utf-8")

    output = tmp_path / "out.gpkg"
    vectorize(raster, output, VectorSettings(legend=str(edited)))
    assert polygons_in(output).class_name.to_dict() == {0: NAMES[0], 2: NAMES[1], 3: NAMES[3], 6: "Луг 牧草地"}
    assert style_colors(output) == {1: "9,50,200", 2: "18,171,52", 3: "27,50,200", 4: "36,50,200"}

    (tmp_path / "again").mkdir()
    again = class_cog(tmp_path / "again", read_legend_file(edited).onto(SCHEME).scheme)
    with rasterio.open(again) as dataset:
        palette = dataset.colormap(1)
    assert [palette[code][:3] for code in (1, 2, 3)] == [(9, 50, 200), (0x12, 0xAB, 0x34), (27, 50, 200)]
    assert again.with_suffix(".qml").read_text("utf-8").count("#12ab34") == 1


def test_names_of_every_script_survive_in_every_file(tmp_path: Path) -> None:
    legend = tmp_path / "legend.csv"
    legend.write_text("code,name\n" + "".join(f'{code},"{name}"\n' for code, name in enumerate(NAMES, 1)), "utf-8")
    scheme = read_legend_file(legend).onto(
        ClassScheme.from_json([c | {"name": f"x{c['code']}"} for c in SCHEME.to_json()])
    )
    raster = class_cog(tmp_path, scheme.scheme)
    with rasterio.open(raster) as dataset:
        assert [row["name"] for row in json.loads(dataset.tags()["GEOSEG_CLASSES"])] == list(NAMES)
    beside = ET.fromstring(Path(f"{raster}.aux.xml").read_text("utf-8"))
    assert [c.text for c in beside.iter("Category")][1:] == list(NAMES)

    bare = write(tmp_path / "bare.tif", CODES, 255)
    for suffix in VECTOR_SUFFIXES:
        output = tmp_path / f"out{suffix}"
        vectorize(bare, output, VectorSettings(legend=str(legend)))
        table = gpd.read_parquet(output) if suffix == ".parquet" else gpd.read_file(output)
        assert dict(zip(table.class_id, table.class_name, strict=True)) == dict(enumerate(NAMES, 1)), suffix


def test_a_group_goes_through_the_raster(tmp_path: Path) -> None:
    grouped = ClassScheme((*SCHEME.classes[:3], LandClass(4, "x", (1, 1, 1), group="Группа")))
    assert open_class_raster(class_cog(tmp_path, grouped)).scheme == grouped


def test_a_class_that_only_the_table_lists_needs_no_place_in_the_legend(tmp_path: Path) -> None:
    raster = write(
        tmp_path / "map.tif", CODES, 255, **{"1": "trees", "2": "crops", "3": "water", "4": "bare", "77": "?"}
    )
    assert vectorize(raster, tmp_path / "a.fgb", VectorSettings(legend="ipcc")).count["Forest land"] == 1
    raster = write(tmp_path / "new.tif", np.where(CODES == 3, 77, CODES), 255, **{"1": "trees", "77": "?"})
    with pytest.raises(ConfigError, match=r"legend ipcc takes no class 2 'class 2', 4 'class 4', 77 '\?'"):
        vectorize(raster, tmp_path / "b.fgb", VectorSettings(legend="ipcc"))
    assert not (tmp_path / "b.fgb").exists()


def test_another_legend_is_another_result_and_the_same_classes_are_not(tmp_path: Path) -> None:
    raster, output = write(tmp_path / "map.tif", CODES, 255), tmp_path / "o.gpkg"
    legends = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    for path, last in zip(legends, ("four", "four", "vier"), strict=True):
        path.write_text(f"code,name\n1,a\n2,b\n3,c\n4,{last}\n", "utf-8")
    assert not vectorize(raster, output, VectorSettings(legend=str(legends[0]))).up_to_date
    assert vectorize(raster, output, VectorSettings(legend=str(legends[1]))).up_to_date
    for other in (VectorSettings(legend=str(legends[2])), VectorSettings()):
        with pytest.raises(OutputExistsError, match="legend"):
            vectorize(raster, output, other)
    with pytest.raises(InputMissingError, match=r"none\.csv"):
        vectorize(raster, output, VectorSettings(legend="none.csv"))


def test_classes_are_skipped_by_the_names_of_the_legend(tmp_path: Path) -> None:
    raster = write(tmp_path / "map.tif", WORLDCOVER.astype("uint8"), 0)
    settings = VectorSettings(legend="worldcover+ipcc", skip_classes=("Wetlands", "6"))
    result = vectorize(raster, tmp_path / "o.fgb", settings)
    assert {name for name, n in result.count.items() if n} == {"Forest land", "Cropland", "Grassland", "Settlements"}


@pytest.mark.parametrize(
    ("file", "legend", "merged"),
    [
        (
            "scale_rasters/nc_outer_banks_ccap_labels.tif",
            "ccap.csv",
            {1: [2, 3, 4, 5], 2: [6, 7], 3: [8, 9, 10, 11, 12, 20], 4: [13, 14, 15, 16, 17, 18, 22], 5: [19, 21]},
        ),
        (
            "zion_landsat_nlcd/nlcd2011_aligned.tif",
            "nlcd+ipcc",
            {1: [41, 42, 43, 90], 2: [82], 3: [52, 71, 81], 4: [11, 95], 5: [21, 22, 23], 6: [31]},
        ),
    ],
    ids=["ccap", "nlcd"],
)
def test_real_maps_merge_as_components_of_the_merged_codes(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, legend: str, merged: dict[int, list[int]]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ccap.csv").write_text(CCAP, "utf-8")
    result = vectorize(shared / file, tmp_path / "o.gpkg", VectorSettings(legend=legend))
    with rasterio.open(shared / file) as dataset:
        stored = dataset.read(1)
    masks = [np.isin(stored, values) for values in merged.values()]
    assert list(result.count.values()) == [ndimage.label(mask)[1] for mask in masks]
    if result.area_model == "planar":
        assert list(result.area_m2.values()) == [int(mask.sum()) * 900.0 for mask in masks]

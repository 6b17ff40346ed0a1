"""Class rasters of all types through `vectorize`: large codes, very many classes, palettes, floats."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from builders import write_raster
from cli_kit import FORMATS, codes_of, geoseg, polygons_in

PLACE = Affine(10, 0, 500_000, 0, -10, 4_200_000)
LARGE = (0, 1, 300, 65_535, 70_000, 2**31 - 2)


def labels(n: int, side: int) -> np.ndarray:
    """(row, col) n labels far apart, one for each block of 2 × 2 pixels, in a seeded order; one block of nodata."""
    blocks = np.random.default_rng(5).permutation(side * side).reshape(side, side) % n
    codes = np.kron(blocks, np.ones((2, 2), np.int64)) * 21_001 + 17
    codes[:2, :2] = -9
    return codes.astype("int32")


@pytest.mark.parametrize("side", [120, pytest.param(317, marks=pytest.mark.slow)])
def test_every_label_a_class_of_its_own(tmp_path, side) -> None:
    """Every label its own class, each of one block; and the generalized raster holds them, too."""
    codes = labels(side * side, side)
    raster = write_raster(tmp_path / "labels.tif", codes, nodata=-9, transform=PLACE)
    output, again = tmp_path / "labels.fgb", tmp_path / "again.tif"
    done = geoseg("vectorize", raster, "-o", output, "--mmu", "3px", "--raster-out", again, "--json")
    assert done.code == 0, done.err
    table, told = polygons_in(output), json.loads(done.out)
    assert told["n_polygons"] == len(table) == len(told["count"]) == side * side - 1
    rows, cols = np.divmod(table.index.to_numpy(), codes.shape[1])
    assert (table["class_id"].to_numpy() == codes[rows, cols]).all()
    assert (table["n_pixels"] == 4).all()
    assert table["class_name"].tolist() == [f"class {code}" for code in table["class_id"]]
    expected = shapely.box(5e5 + 10 * cols, 4.2e6 - 10 * rows - 20, 5e5 + 10 * cols + 20, 4.2e6 - 10 * rows)
    assert shapely.equals(table.geometry.values, expected).all()
    assert (codes_of(again)[codes != -9] == codes[codes != -9]).all()
    assert (codes_of(again)[codes == -9] == 2**31 - 1).all()
    text = geoseg("vectorize", raster, "-o", output, "--mmu", "3px", "--raster-out", again).out
    assert f"{side * side - 100:,} others" in text
    assert len(text.splitlines()) < 120
    assert len(output.with_suffix(".qml").read_text("utf-8")) < 5000


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "float64"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_large_codes_in_every_format(tmp_path, suffix, dtype) -> None:
    codes = np.random.default_rng(2).choice(LARGE, (12, 15))
    raster = write_raster(tmp_path / "a.tif", codes.astype(dtype), transform=PLACE)
    done = geoseg("vectorize", raster, "-o", tmp_path / f"a.{suffix}", "--dissolve")
    assert done.code == 0, done.err
    table = polygons_in(tmp_path / f"a.{suffix}")
    found = dict(zip(table["class_id"].tolist(), table["n_pixels"].tolist(), strict=True))
    assert found == {code: int((codes == code).sum()) for code in LARGE}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int16", "uint16", "int64"])
def test_whole_numbers_of_any_type_are_the_same_map(tmp_path, dtype) -> None:
    codes = np.random.default_rng(3).choice([1, 2, 7, 100], (20, 25))
    tables = []
    for name in ("uint8", dtype):
        stored = codes.astype(name)
        if name.startswith("float"):
            stored[4:6, 3:8] = np.nan
        else:
            stored[4:6, 3:8] = 0
        raster = write_raster(tmp_path / f"{name}.tif", stored, nodata=0, transform=PLACE)
        assert geoseg("vectorize", raster, "-o", tmp_path / f"{name}.gpkg").code == 0
        tables.append(polygons_in(tmp_path / f"{name}.gpkg").drop(columns="scene_id"))
    assert tables[0].equals(tables[1])


def test_a_palette_and_category_names_reach_the_polygons(tmp_path) -> None:
    codes = np.array([[1, 2, 2], [3, 1, 3]], "uint8")
    raster = write_raster(tmp_path / "a.tif", codes, transform=PLACE, photometric="palette")
    with rasterio.open(raster, "r+") as dataset:
        dataset.write_colormap(1, {1: (1, 2, 3), 2: (40, 50, 60), 3: (7, 8, 9)})
    names = "".join(f"<Category>{name}</Category>" for name in ("", "Wald", "Wiese", "Öd"))
    Path(f"{raster}.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>',
        "utf-8",
    )
    assert geoseg("vectorize", raster, "-o", tmp_path / "a.gpkg", "--dissolve").code == 0
    table = polygons_in(tmp_path / "a.gpkg").set_index("class_id")
    assert table["class_name"].to_dict() == {1: "Wald", 2: "Wiese", 3: "Öd"}
    styles = pyogrio.read_dataframe(tmp_path / "a.gpkg", layer="layer_styles", read_geometry=False)
    root = ET.fromstring(styles["styleQML"][0])  # noqa: S314 (our own)
    fills = {
        symbol.attrib["name"]: symbol.find(".//Option[@name='color']").attrib["value"] for symbol in root.iter("symbol")
    }
    colors = {c.attrib["label"]: fills[c.attrib["symbol"]] for c in root.iter("category")}
    assert colors == {"Wald": "1,2,3,255", "Wiese": "40,50,60,255", "Öd": "7,8,9,255"}

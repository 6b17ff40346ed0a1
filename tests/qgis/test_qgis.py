"""A run's files in a real QGIS: the classes' colors, pixel by pixel, and their names in its legend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from cli_kit import CLASSES, codes_of, cut, geoseg, reflectance_model
from PIL import Image

pytestmark = pytest.mark.slow
LOOK = Path(__file__).parent / "look.py"
# The Python that a system's QGIS is built for.
PYTHON = "/usr/bin/python3"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GDAL", "PROJ"))}
ENVIRONMENT["QT_QPA_PLATFORM"] = "offscreen"
VECTORS = ("gpkg", "shp", "fgb", "geojson")
CELL = 5
"""Pixels on the screen across a pixel of the map: the middle one lies off the outlines."""
NAMES = {"water": "Wasser & <Meer>", "trees": "Bäume", "built": "bebaut", "bare": "森林 \"'"}


def looked(*words: Any) -> Any:
    done = subprocess.run(
        [PYTHON, LOOK, *map(str, words)], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def made(sample, tmp_path_factory) -> Path:
    """A run with awkward names and a hole, in every format that QGIS reads by itself."""
    if sys.platform == "win32" or subprocess.run([PYTHON, "-c", "import qgis.core"], check=False).returncode:
        pytest.skip("no QGIS on this machine: install the package python3-qgis")
    folder = tmp_path_factory.mktemp("qgis")
    piece = cut(sample, folder / "piece.tif")
    with rasterio.open(piece, "r+") as image:
        data = image.read()
        data[:, 20:40, 30:70] = image.nodata
        image.write(data)
    lines = [
        f'{c.code},{c.name},{c.hex_color},"{NAMES[c.name].replace(chr(34), 2 * chr(34))}"' for c in CLASSES.classes
    ]
    (folder / "legend.csv").write_text("\n".join(["code,from,color,name", *lines]) + "\n", encoding="utf-8")
    model = reflectance_model(folder / "toy.safetensors")
    call = ("run", piece, "-o", folder / "out", "-m", model, "--legend", folder / "legend.csv", "--confidence")
    done = geoseg(*call, "--format", ",".join(VECTORS))
    assert done.code == 0, done.err
    return folder / "out"


@pytest.fixture(scope="module")
def seen(made) -> dict[str, Any]:
    """File name → what QGIS says of it; the pictures lie beside the files."""
    with rasterio.open(made / "piece.classes.tif") as classes:
        frame = (CELL * classes.width, CELL * classes.height, *classes.bounds)
    names = ["classes.tif", *(f"polygons.{suffix}" for suffix in VECTORS if suffix != "geojson"), "confidence.tif"]
    return looked("layers", made, *frame, *(made / f"piece.{name}" for name in names))


def middles(made: Path, name: str) -> np.ndarray:
    """(row, col, 3): what QGIS paints in the middle of each pixel of the map."""
    picture = np.asarray(Image.open(made / f"{name}.png").convert("RGB"))
    return picture[CELL // 2 :: CELL, CELL // 2 :: CELL]


@pytest.mark.parametrize("name", ["classes.tif", "polygons.gpkg", "polygons.shp", "polygons.fgb"])
def test_every_pixel_has_the_color_of_its_class(made, seen, name) -> None:
    codes = codes_of(made / "piece.classes.tif")
    painted = middles(made, f"piece.{name}")
    assert painted.shape[:2] == codes.shape
    for c in CLASSES.classes:
        assert (painted[codes == c.code] == c.color).all(), c.name
    assert (codes == 255).sum() == 800
    assert (painted[codes == 255] == 255).all()


@pytest.mark.parametrize(
    ("name", "renderer"),
    [("classes.tif", "paletted"), ("polygons.gpkg", "categorizedSymbol"), ("polygons.fgb", "categorizedSymbol")],
)
def test_the_legend_has_the_names(seen, name, renderer) -> None:
    found = seen[f"piece.{name}"]
    assert found["renderer"] == renderer
    assert [line for line in found["legend"] if line in NAMES.values()] == list(NAMES.values())
    assert len(found["legend"]) <= len(NAMES) + 1  # a raster's band has a line of its own
    assert found["crs"] == "EPSG:32618"


def test_the_geopackage_has_one_layer_called_after_the_model(seen) -> None:
    """`layer_styles`, which colors it, is not offered as a layer."""
    assert seen["piece.polygons.gpkg"]["layers"] == ["toy"]


def test_a_class_raster_without_its_style_is_colored_by_its_palette(made, tmp_path) -> None:
    for name in ("piece.classes.tif", "piece.classes.tif.aux.xml"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    with rasterio.open(made / "piece.classes.tif") as classes:
        frame = (CELL * classes.width, CELL * classes.height, *classes.bounds)
    found = looked("layers", tmp_path, *frame, tmp_path / "piece.classes.tif")["piece.classes.tif"]
    assert found["renderer"] == "paletted"
    assert [line for line in found["legend"] if line in NAMES.values()] == list(NAMES.values())
    codes, painted = codes_of(made / "piece.classes.tif"), middles(tmp_path, "piece.classes.tif")
    for c in CLASSES.classes:
        assert (painted[codes == c.code] == c.color).all(), c.name


def test_the_attribute_table_is_read(made) -> None:
    rows = looked("table", made / "piece.classes.tif")
    assert [(int(row["Value"]), row["Class_Name"]) for row in rows] == [
        (c.code, NAMES[c.name]) for c in CLASSES.classes
    ]
    assert [(int(r["Red"]), int(r["Green"]), int(r["Blue"])) for r in rows] == [c.color for c in CLASSES.classes]


def test_scores_are_gray_and_scaled(made, seen) -> None:
    assert seen["piece.confidence.tif"]["renderer"] == "singlebandgray"
    scores, painted = codes_of(made / "piece.confidence.tif"), middles(made, "piece.confidence.tif")
    assert (painted[scores == 0] == 255).all()
    low, high = (painted[(scores > least) & (scores <= most)].mean() for least, most in ((0, 90), (170, 255)))
    assert low < high - 50

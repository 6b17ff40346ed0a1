"""Draw the picture of tree crowns in the README: the model's classes, crowns, annotated trees; no image shows through.

python data/make_crowns.py ../shared/data/naip_urban_trees long_beach_2020_10
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from PIL import Image, ImageDraw

import geoseg
from geoseg.config import load_settings

HERE = Path(__file__).parent
ZOOM, GAP = 4, 12
BLACK, RED = (0, 0, 0), (200, 30, 30)


def main(data: Path, name: str) -> None:
    """Left: what wins a pixel, with the annotated trees. Right: crowns, with the same."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(HERE.parent / "configs" / "run" / "tree-crowns.yaml")
        settings = replace(settings, vector=replace(settings.vector, formats=("fgb",)))
        done = geoseg.run(data / "images" / f"{name}.tif", folder, settings)
        if done.raw is None:
            raise ValueError("crowns move pixels, so there is a raster from before.")
        polygons = gpd.read_file(done.polygons[0])
        points = json.loads((data / "tree_points" / f"{name}.geojson").read_text("utf-8"))["features"]
        trees = np.array([point["geometry"]["coordinates"][:2] for point in points])
        panels = [
            panel(done.raw, gpd.GeoDataFrame(geometry=[]), trees),
            panel(done.raw, polygons[polygons.inst_id.notna()], trees),
        ]
    width = panels[0].width
    page = Image.new("RGB", (2 * width + GAP, width), "white")
    for number, drawn in enumerate(panels):
        page.paste(drawn, (number * (width + GAP), 0))
    page.quantize(32).save(HERE / "tree_crowns.png", optimize=True)


def panel(raster: Path, crowns: gpd.GeoDataFrame, trees: np.ndarray) -> Image.Image:
    """Classes in their colors, crowns outlined in black, trees as red dots; trees are (tree, 2) map coordinates."""
    with rasterio.open(raster) as dataset:
        codes, colors, to_pixels = dataset.read(1), dataset.colormap(1), ~dataset.transform
    rgb = np.array([[colors[code][:3] for code in row] for row in codes], np.uint8)
    image = Image.fromarray(rgb).resize((codes.shape[1] * ZOOM, codes.shape[0] * ZOOM), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    for polygon in crowns.geometry:
        for ring in (polygon.exterior, *polygon.interiors):
            cols, rows = to_pixels @ tuple(np.array(ring.coords).T)
            draw.line(list(zip((cols * ZOOM).tolist(), (rows * ZOOM).tolist(), strict=True)), fill=BLACK, width=2)
    cols, rows = to_pixels @ tuple(trees.T)
    for col, row in zip(cols * ZOOM, rows * ZOOM, strict=True):
        draw.ellipse((col - 4, row - 4, col + 4, row + 4), fill=RED)
    return image


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

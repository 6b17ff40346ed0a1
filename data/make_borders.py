"""Draw the picture of borders in the README: raw, simplified, smoothed, over the class map of the sample scene.

python data/make_borders.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from PIL import Image, ImageDraw
from rasterio.windows import Window

from geoseg import OutputSettings, VectorSettings, segment, vectorize

HERE = Path(__file__).parent
WINDOW = Window(430, 560, 100, 100)
ZOOM, GAP = 5, 12
KINDS = (
    VectorSettings(),
    VectorSettings(mmu="9px", simplify=20),
    VectorSettings(mmu="9px", smooth=True),
)


def main() -> None:
    """Segment the sample, vectorize it three ways, draw the three beside each other."""
    with tempfile.TemporaryDirectory() as folder:
        classes = Path(folder) / "sample.classes.tif"
        segment(HERE / "eastern_shore_s2.tif", classes)
        panels = []
        for number, settings in enumerate(KINDS):
            output = Path(folder) / f"{number}.fgb"
            raster = classes if settings.mmu is None else Path(folder) / f"{number}.raster.tif"
            vectorize(classes, output, settings, OutputSettings(), raster_out=None if raster == classes else raster)
            panels.append(panel(raster, gpd.read_file(output)))
    width = panels[0].width
    page = Image.new("RGB", (len(panels) * (width + GAP) - GAP, width), "white")
    for number, drawn in enumerate(panels):
        page.paste(drawn, (number * (width + GAP), 0))
    page.quantize(64).save(HERE / "eastern_shore_s2.borders.png", optimize=True)


def panel(raster: Path, polygons: gpd.GeoDataFrame) -> Image.Image:
    """Class map in pale colors, borders of the polygons in black."""
    with rasterio.open(raster) as dataset:
        codes, colors = dataset.read(1, window=WINDOW), dataset.colormap(1)
        transform = dataset.window_transform(WINDOW)
    size = (WINDOW.width * ZOOM, WINDOW.height * ZOOM)
    rgb = np.array([[colors[code][:3] for code in row] for row in codes], np.uint8)
    image = Image.fromarray(rgb).resize(size, Image.Resampling.NEAREST)
    image = Image.blend(image, Image.new("RGB", size, "white"), 0.5)
    draw = ImageDraw.Draw(image)
    for polygon in polygons.geometry:
        for ring in (polygon.exterior, *polygon.interiors):
            cols, rows = ~transform @ tuple(np.array(ring.coords).T)
            draw.line(list(zip((cols * ZOOM).tolist(), (rows * ZOOM).tolist(), strict=True)), fill="black", width=2)
    return image


if __name__ == "__main__":
    main()

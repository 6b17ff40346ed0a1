"""A VRT of many small files, as gdalbuildvrt writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine
from builders import UTM, write_raster

SIDE = 16


def mosaic(folder: Path, across: int, down: int, *, names: str = "t{}.tif") -> Path:
    """A VRT of small files side by side, as gdalbuildvrt writes it; pixel values count the files."""
    sources = []
    for number in range(across * down):
        row, col = divmod(number, across)
        name = names.format(number)
        place = Affine(10, 0, 5e5 + 10 * SIDE * col, 0, -10, 4.2e6 - 10 * SIDE * row)
        write_raster(folder / name, np.full((SIDE, SIDE), 1 + number % 250, "uint8"), transform=place)
        sources.append(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>1</SourceBand>'
            f'<SourceProperties RasterXSize="{SIDE}" RasterYSize="{SIDE}" DataType="Byte" BlockXSize="{SIDE}" '
            f'BlockYSize="{SIDE}"/><SrcRect xOff="0" yOff="0" xSize="{SIDE}" ySize="{SIDE}"/>'
            f'<DstRect xOff="{col * SIDE}" yOff="{row * SIDE}" xSize="{SIDE}" ySize="{SIDE}"/></SimpleSource>'
        )
    path = folder / "mosaic.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{across * SIDE}" rasterYSize="{down * SIDE}"><SRS>{UTM}</SRS>'
        f'<GeoTransform>500000, 10, 0, 4200000, 0, -10</GeoTransform><VRTRasterBand dataType="Byte" band="1">'
        f"{''.join(sources)}</VRTRasterBand></VRTDataset>"
    )
    return path

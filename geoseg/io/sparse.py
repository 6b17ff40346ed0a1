"""What a file says it has not stored: there is nothing to read there.

GDAL leaves blocks without data out of a TIFF when asked to (`SPARSE_OK`); they read as nodata. In a mosaic of a whole
country most blocks may be of that kind, and making them of nothing would take most of the time.
"""

from __future__ import annotations

from typing import Any

from geoseg.grid import Window
from geoseg.io.handles import dataset_for, trusted
from geoseg.io.scene import BandSource, Scene


def stores_nothing(scene: Scene, window: Window) -> bool:
    """True when it is known without reading that no pixel of a window has data.

    Args:
        scene: whose files are asked.
        window: may reach beyond the raster.
    """
    inner = window.intersection(scene.grid.window)
    if inner is None:
        return False
    if scene.mosaic is not None:
        under = scene.mosaic.under(inner)
        return all(stores_nothing(part.scene, common.relative_to(part.window)) for part, common in under)
    if scene.valid_rule == "all":
        return any(_missing(band, scene, inner) for band in scene.bands)
    return all(_missing(band, scene, inner) for band in scene.bands)


def _missing(band: BandSource, scene: Scene, window: Window) -> bool:
    nodata = band.validity.nodata
    if band.warped or nodata is None:
        return False
    with trusted(band, scene.grid):
        dataset = dataset_for(band, scene.grid)
        if dataset.driver not in {"GTiff", "COG"} or (dataset.nodata or 0.0) != nodata:
            return False
        return not any(_is_stored(dataset, band.index, *block) for block in _blocks(dataset, window))


def _blocks(dataset: Any, window: Window) -> list[tuple[int, int]]:
    """Columns and rows of the blocks under a window."""
    rows, cols = dataset.block_shapes[0]
    return [
        (col, row)
        for row in range(window.row_off // rows, -(-window.row_end // rows))
        for col in range(window.col_off // cols, -(-window.col_end // cols))
    ]


def _is_stored(dataset: Any, index: int, col: int, row: int) -> bool:
    return dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=index) is not None

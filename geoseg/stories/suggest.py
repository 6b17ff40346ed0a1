"""Class raster with scores → boxes where digitizing would teach a model most."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg import __version__
from geoseg.accuracy.spread import spread
from geoseg.errors import InputError, InputMissingError, UsageError
from geoseg.grid import GEOD, Grid, Window
from geoseg.io.boxes import Box, cell_ambiguity, write_boxes
from geoseg.io.class_raster import ClassRaster, open_class_raster, read_codes, scene_name
from geoseg.io.publish import Publication
from geoseg.io.sample import fingerprint
from geoseg.io.vector import check_path
from geoseg.settings import OutputSettings

KEY_VERSION = 1
_SUMMARY = "geoseg:summary"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(m|px)")
_NAMED = 3
_LEAST_SHARE = 0.05
"""Classes of a box that are named: so many, with so much of it each."""


@dataclass(frozen=True)
class SuggestResult:
    """What `suggest` proposed."""

    boxes: Path
    n: int
    """Boxes found."""
    scores: Path
    """Raster that told how ambiguous the map is."""
    pixels: tuple[int, int]
    """(rows, columns) of a box."""
    ambiguity: tuple[float, ...]
    """Mean of each box, by rank."""
    map_ambiguity: float
    """Mean of all cells, to compare with."""
    up_to_date: bool = False


def suggest(
    classes: Path | str,
    output: Path,
    *,
    n: int = 50,
    size: str = "64px",
    scores: Path | None = None,
    out: OutputSettings | None = None,
) -> SuggestResult:
    """Propose boxes to digitize: ambiguous, and spread over the map (`geoseg.accuracy.spread`).

    Writes `output` (GeoPackage: rank, ambiguity, classes) and, last, the commit record `<output name>.json`.

    Args:
        classes: class raster.
        output: file to write, .gpkg.
        n: boxes; fewer where no more fit.
        size: side of a box, `640m` on the ground or `64px`.
        scores: confidence or ambiguity raster; None: the sibling `NAME.ambiguity.tif`, else `NAME.confidence.tif`.
        out: whether to overwrite.

    Raises:
        UsageError: the suffix, size or number is none.
        InputMissingError: a file does not exist, or there is no score raster.
        InputError: the rasters cannot be read, do not fit, or hold no box with scores.
        OutputExistsError: the output is there with other settings.
        OutputError: writing failed.
    """
    classes, output, out = Path(classes), Path(output), out or OutputSettings()
    if output.suffix.lower() != ".gpkg":
        raise UsageError(f"output {output.name!r} must end in .gpkg.")
    if n < 1:
        raise UsageError(f"--n {n} is less than one box.")
    check_path(output)
    raster = open_class_raster(classes)
    scores = _scores(classes) if scores is None else Path(scores)
    height, width = box_pixels(size, raster.grid)
    with Publication(
        output.parent,
        f"{output.name}.json",
        _key(classes, scores, n, (height, width)),
        overwrite=out.overwrite,
        break_lock=out.break_lock,
        names=[output.name],
    ) as publication:
        if publication.up_to_date:
            summary = json.loads((output.parent / f"{output.name}.json").read_text(encoding="utf-8"))[_SUMMARY]
            return _result(output, scores, summary, up_to_date=True)
        cells = cell_ambiguity(scores, raster.grid, height=height, width=width)
        if not np.isfinite(cells).any():
            raise InputError(f"{scores}: no box of {width} × {height} pixels has scores in half of it; lower --size.")
        boxes = [
            Box(window, float(cells[row, col]), main_classes(raster, window))
            for row, col in spread(cells, n).tolist()
            for window in (Window(col * width, row * height, width, height),)
        ]
        write_boxes(publication.stage(output.name), boxes, raster.grid)
        summary = {
            "pixels": [height, width],
            "ambiguity": [box.ambiguity for box in boxes],
            "map_ambiguity": float(np.nanmean(cells)),
        }
        publication.commit(lambda _: {_SUMMARY: summary})
    return _result(output, scores, summary)


def box_pixels(size: str, grid: Grid) -> tuple[int, int]:
    """(rows, columns) of a box, at most the raster's; in meters measured in the raster's middle.

    Raises:
        UsageError: it is no size, or less than a pixel.
    """
    found = _SIZE.fullmatch(size.strip())
    if not found:
        raise UsageError(f"--size {size!r} is no size: write 640m or 64px.")
    across, down = (1.0, 1.0) if found[2] == "px" else pixel_sides_m(grid)
    height, width = (round(float(found[1]) / side) for side in (down, across))
    if min(height, width) < 1:
        raise UsageError(f"--size {size} is less than a pixel ({across:.3g} × {down:.3g} m).")
    return min(height, grid.height), min(width, grid.width)


def pixel_sides_m(grid: Grid) -> tuple[float, float]:
    """Ground meters along a row and along a column of the pixel in the grid's middle."""
    col, row = grid.width / 2, grid.height / 2
    corner, right, below = (grid.transform @ at for at in ((col, row), (col + 1, row), (col, row + 1)))
    if not grid.on_earth:
        unit = grid.crs.axis_info[0].unit_conversion_factor if grid.crs.axis_info else 1.0
        return math.dist(corner, right) * unit, math.dist(corner, below) * unit
    (lon, lat), *others = (grid.to_lonlat.transform(*at) for at in (corner, right, below))
    along, down = (float(GEOD.inv(lon, lat, *other)[2]) for other in others)
    return along, down


def main_classes(raster: ClassRaster, window: Window) -> str:
    """The largest classes of a window with their shares of it: `trees 61 %, water 30 %`."""
    values, counts = np.unique(read_codes(raster, window), return_counts=True)
    by_code = dict(zip(values.tolist(), (counts / window.size).tolist(), strict=True))
    shares = sorted(((by_code.get(c.code, 0.0), c.name) for c in raster.scheme.classes), key=lambda item: -item[0])
    return ", ".join(f"{name} {100 * share:.0f} %" for share, name in shares[:_NAMED] if share >= _LEAST_SHARE)


def _scores(classes: Path) -> Path:
    """The score raster beside a class raster.

    Raises:
        InputMissingError: there is none.
    """
    for layer in ("ambiguity", "confidence"):
        sibling = classes.with_name(f"{scene_name(classes)}.{layer}.tif")
        if sibling != classes and sibling.is_file():
            return sibling
    raise InputMissingError(
        f"{classes} has no {scene_name(classes)}.ambiguity.tif beside it: make it with `geoseg run … --ambiguity`, or "
        f"name a confidence raster with --scores."
    )


def _key(classes: Path, scores: Path, n: int, pixels: tuple[int, int]) -> dict[str, Any]:
    if not scores.exists():
        raise InputMissingError(f"score raster {scores} does not exist: check --scores.")
    inputs = {"input": fingerprint(str(classes)), "scores": fingerprint(str(scores))}
    return {"version": KEY_VERSION, "geoseg": __version__, **inputs, "n": n, "pixels": list(pixels)}


def _result(output: Path, scores: Path, summary: dict[str, Any], *, up_to_date: bool = False) -> SuggestResult:
    height, width = summary["pixels"]
    ambiguity = tuple(summary["ambiguity"])
    return SuggestResult(
        output, len(ambiguity), scores, (height, width), ambiguity, summary["map_ambiguity"], up_to_date
    )

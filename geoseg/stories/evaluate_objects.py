"""Objects of a map against those of a reference, band by band: what was found, and panoptic quality."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.accuracy.confusion import NONE
from geoseg.accuracy.panoptic import panoptic_figures
from geoseg.accuracy.segments import GROUND, PairTally, segment_keys
from geoseg.console import aligned
from geoseg.errors import UsageError
from geoseg.grid import Grid, Window
from geoseg.io.aoi import read_aoi_wkb
from geoseg.io.class_raster import ClassRaster, scene_name
from geoseg.io.instances import BurnedObjects, opened_instances
from geoseg.polygons.survey import bands_of, survey
from geoseg.stories.evaluate_maps import Comparison, opened_labels, within
from geoseg.stories.evaluate_settings import EvaluateSettings
from geoseg.stories.vector_key import thing_codes

BAND_PX = 1 << 21
Labels = NDArray[Any]
Bools = NDArray[np.bool_]
Read = Callable[[Window], Labels]


def compare_objects(comparison: Comparison, settings: EvaluateSettings, *, band_px: int = BAND_PX) -> dict[str, Any]:
    """Count which segments of two maps match.

    Memory: a few bands, some 40 bytes a pair of segments that share pixels, and where objects are components their
    table. Reference polygons are objects as they are; where two overlap nobody knows whose a pixel is.

    Args:
        comparison: the two maps.
        settings: things, rasters of objects, thresholds.
        band_px: pixels read at a time; does not change the result.

    Returns:
        as `geoseg.accuracy.panoptic.panoptic_figures`, and where the objects come from (`map_objects`,
        `reference_objects`).

    Raises:
        UsageError: no class is a thing, or there is no such class.
        InputMissingError: a raster of objects does not exist.
        InputError: a raster cannot be used.
    """
    own, scheme, truth = comparison.map, comparison.matched.scheme, comparison.truth
    codes = thing_codes(own.scheme, settings.things)
    if not codes:
        raise UsageError(f"--objects: no class is a thing; name some with --things ({', '.join(scheme.names)}).")
    things, n, grid = np.isin(scheme.codes, list(codes)), len(scheme), own.grid
    rows = max(1, band_px // grid.width)
    aoi = None if settings.aoi is None else read_aoi_wkb(settings.aoi, grid.crs)
    tally = PairTally()
    with ExitStack() as stack:
        read_own, read_all = (
            stack.enter_context(opened) for opened in (opened_labels(own, comparison.matched), truth.opened())
        )
        read_true = within(read_all, aoi, grid, n)
        mine = instances_beside(own.path, settings.instances)
        ids = _ids(mine, own, grid, rows, read_own, things, stack)
        if isinstance(truth.source, ClassRaster):
            theirs = instances_beside(truth.source.path, settings.reference_instances)
            true_ids = _ids(theirs, truth.source, grid, rows, read_all, things, stack)
        else:
            theirs, source = None, truth.source
            burned = BurnedObjects(source.polygons, source.label_of, grid, n)
            true_ids = (burned.read(window) for window in _bands(grid, rows))
        for window, found, true in zip(_bands(grid, rows), ids, true_ids, strict=True):
            labels = read_true(window)
            reference = segment_keys(labels, true, things)
            if settings.complete:
                reference[labels == n + NONE] = GROUND
            tally.add(reference, segment_keys(read_own(window), found, things))
    figures = panoptic_figures(tally.finished(), scheme.names, things, settings.iou)
    polygons = "polygons" if not isinstance(truth.source, ClassRaster) else None
    return figures | {"map_objects": _told(mine), "reference_objects": polygons or _told(theirs)}


def instances_beside(raster: Path, given: Path | None) -> Path | None:
    """The raster of object numbers of a class raster: as given, else the sibling of `NAME.classes.tif`."""
    if given is not None:
        return given
    sibling = raster.with_name(f"{scene_name(raster)}.instances.tif")
    return sibling if raster.stem.endswith(".classes") and sibling.is_file() else None


def _told(instances: Path | None) -> str:
    return "4-connected components" if instances is None else str(instances)


def _bands(grid: Grid, rows: int) -> Iterator[Window]:
    for first, last in bands_of(grid.height, rows):
        yield Window(0, first, grid.width, last - first)


def _ids(
    instances: Path | None, raster: ClassRaster, grid: Grid, rows: int, read: Read, things: Bools, stack: ExitStack
) -> Iterator[Labels]:
    """(row, col) object numbers of each band."""
    if instances is not None:
        read_ids = stack.enter_context(opened_instances(instances, raster.grid, grid))
        return (read_ids(window) for window in _bands(grid, rows))
    n = len(things)

    def read_things(first: int, last: int) -> Labels:
        labels = read(Window(0, first, grid.width, last - first)).copy()
        labels[~np.append(things, False)[np.minimum(labels, n)]] = n
        return labels

    found = survey(read_things, (grid.height, grid.width), nodata=n, band_rows=rows)
    return (painted[1:, 1:-1] + 1 for _, painted in found.painted_bands(read_things))


def object_lines(figures: dict[str, Any]) -> list[str]:
    """The figures as a table."""
    keys = ("pq", "sq", "rq")
    rows = [
        (name, f"{row['reference']:,}", f"{row['map']:,}", *(_share(row[key]) for key in keys))
        for name, row in figures["classes"].items()
        if row["reference"] or row["map"]
    ]
    groups = [("things", figures["things"]), ("stuff", figures["stuff"]), ("mean", figures)]
    rows += [(name, "", "", *(_share(group[key]) for key in keys)) for name, group in groups]
    lines = ["", aligned(("class", "reference segments", "map segments", "PQ", "SQ", "RQ"), rows), ""]
    for threshold, found in figures["objects"].items():
        lines.append(
            f"objects at IoU > {threshold}: precision {_share(found['precision'])}, recall {_share(found['recall'])}, "
            f"F1 {_share(found['f1'])} ({found['tp']:,} found, {found['fp']:,} false, {found['fn']:,} missed)"
        )
    return [*lines, f"objects of the map: {figures['map_objects']}; of the reference: {figures['reference_objects']}"]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

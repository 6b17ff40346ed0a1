"""Map against map: both read band by band on the map's grid, and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.accuracy.confusion import OUTSIDE, REASONS, label_dtype
from geoseg.accuracy.matching import Matched, Reference, match, read_pairs
from geoseg.accuracy.tally import MapTally, Part
from geoseg.classes import ClassScheme
from geoseg.errors import InputError
from geoseg.grid import Grid, Window
from geoseg.io.ahead import read_ahead
from geoseg.io.aligned import opened_on
from geoseg.io.aoi import read_aoi_wkb
from geoseg.io.burn import area_on
from geoseg.io.class_raster import ClassRaster, open_class_raster, scene_name
from geoseg.io.legend_file import read_legend_file
from geoseg.io.overview import small_shape
from geoseg.io.recode import Recoding
from geoseg.io.reference import (
    VECTORS,
    BurnedClasses,
    ReferencePolygons,
    frame_of_wkb,
    on_grid,
    read_reference_polygons,
)
from geoseg.io.score_raster import opened_layers
from geoseg.legend import Legend
from geoseg.stories.evaluate_settings import EvaluateSettings
from geoseg.stories.watcher import Watcher

BAND_PX = 2**23
BAND_BYTES = 2**28
"""Of all layers of probabilities; two bands are in memory at a time."""
PICTURE_PX = 720
Labels = NDArray[Any]
Job = tuple[Window, Window]
"""Core, and what is read around it."""


@dataclass(frozen=True)
class Comparison:
    """Two maps, compared."""

    tally: MapTally
    map: ClassRaster
    matched: Matched
    kind: str
    """`raster` or `polygons`."""
    aligned: bool
    """True when the reference was on the map's grid already, or is polygons."""
    scores: Path | None
    """The confidence raster that was used."""
    probabilities: Path | None
    truth: Truth
    """The reference."""


@dataclass(frozen=True)
class Truth:
    """A reference as labels on the map's grid."""

    kind: str
    aligned: bool
    frame: Window | None
    """Where it can have a class; None: nowhere."""
    matched: Matched
    opened: Callable[[], Any]
    """Context manager of a function that gives the labels of a window."""
    source: ClassRaster | BurnedClasses
    """What it is made from."""


def compare_maps(
    prediction: Path, reference: Path, settings: EvaluateSettings, watcher: Watcher, *, band_px: int = BAND_PX
) -> Comparison:
    """Count how a map and a reference agree.

    Memory: a few bands of at most `band_px` pixels, whatever the size of the rasters.

    Args:
        prediction: class raster; its grid is the grid of the comparison.
        reference: class raster of any grid and CRS, or polygons.
        settings: see there.
        watcher: told about progress.
        band_px: pixels read at a time; does not change the result.

    Raises:
        UsageError: the field or the layer is unknown, or a value is out of range.
        ConfigError: classes do not match, or a legend cannot be read.
        InputMissingError: a file does not exist.
        InputError: a file cannot be used, or nothing can be compared.
    """
    own = open_class_raster(prediction, legend=_legend(settings.legend))
    truth = _truth(reference, own, settings)
    n = len(truth.matched.scheme)
    aoi = None if settings.aoi is None else read_aoi_wkb(settings.aoi, own.grid.crs)
    frame = _frame(own.grid, truth.frame, aoi)
    scores, probabilities = score_rasters(prediction, settings)
    distance = settings.distance_px(own.grid.gsd_m)
    with ExitStack() as stack:
        names, read_probabilities = _opened(probabilities, own.grid, stack, single=False)
        _, read_scores = _opened(scores, own.grid, stack, single=True)
        layer_of = None if names is None else _layers(names, own.scheme, truth.matched.scheme)
        tally = MapTally(n, frame, small_shape(*frame.shape, PICTURE_PX), distance, layer_of)
        read_own = stack.enter_context(opened_labels(own, truth.matched))
        read_true = within(stack.enter_context(truth.opened()), aoi, own.grid, n)
        readers: list[Callable[[Job], Any]] = [
            lambda job: read_true(job[1]),
            lambda job: read_own(job[1]),
            lambda job: read_scores and read_scores(job[0])[0],
            lambda job: read_probabilities and read_probabilities(job[0]),
        ]
        jobs = list(_jobs(frame, distance, min(band_px, BAND_BYTES // len(names or (None,)))))
        watcher.start(len(jobs), frame.size)
        with closing(read_ahead(readers, jobs)) as parts:
            for (core, around), found in parts:
                tally.add(Part(core, around, *found))
                watcher.advance(core.size)
    if not tally.matrix.sum():
        raise InputError(_nothing_counted(prediction, reference, tally))
    return Comparison(tally, own, truth.matched, truth.kind, truth.aligned, scores, probabilities, truth)


def opened_labels(own: ClassRaster, matched: Matched) -> AbstractContextManager[Callable[[Window], Labels]]:
    """A function that gives the labels of a window of the map, for one thread."""
    n, codes = len(matched.scheme), {code: index for index, code in enumerate(matched.scheme.codes)}
    recoding = Recoding({value: codes[code] for value, code in own.code_of.items()}, n, label_dtype(n))
    return opened_on(own, own.grid, recoding)


def is_vector(reference: Path) -> bool:
    """True for references that hold polygons or points."""
    return reference.suffix.lower() in VECTORS


def _truth(path: Path, own: ClassRaster, settings: EvaluateSettings) -> Truth:
    legend = _legend(settings.reference_legend)
    pairs = None if settings.pairs is None else read_pairs(settings.pairs)
    if is_vector(path):
        polygons = read_reference_polygons(path, settings.field, settings.layer)
        return _of_polygons(polygons, own, legend, pairs)
    raster = open_class_raster(path, legend=legend)
    matched = match(own.scheme, Reference(raster.scheme, raster.occurring), pairs)
    n = len(matched.scheme)
    index_of = {value: matched.index_of[code] for value, code in raster.code_of.items() if code in matched.index_of}
    recoding = Recoding(index_of, n, label_dtype(n))
    aligned = raster.grid.same_as(own.grid)
    return Truth("raster", aligned, own.grid.window, matched, lambda: opened_on(raster, own.grid, recoding), raster)


def _of_polygons(
    given: ReferencePolygons, own: ClassRaster, legend: Legend | None, pairs: dict[str, str] | None
) -> Truth:
    classes, codes = given.classes, given.code_of
    if legend is not None:
        merge = legend.onto(classes.scheme)
        new = {old: merge.scheme.codes[index] for old, index in zip(classes.scheme.codes, merge.index_of, strict=True)}
        codes = np.array([new[code] for code in codes.tolist()], np.int64)
        classes = Reference(merge.scheme, frozenset(new.values()))
    matched = match(own.scheme, classes, pairs)
    labels = np.array([matched.index_of.get(code, -1) for code in codes.tolist()], np.int64)
    kept = labels >= 0
    burned = BurnedClasses(
        on_grid(given.polygons[kept], given.crs, own.grid), labels[kept], own.grid, len(matched.scheme)
    )

    @contextmanager
    def opened() -> Iterator[Callable[[Window], Labels]]:
        yield burned.read

    return Truth("polygons", True, burned.frame, matched, opened, burned)


def _frame(grid: Grid, reference: Window | None, aoi: bytes | None) -> Window:
    """The pixels that can count."""
    area = grid.window if aoi is None else frame_of_wkb(aoi, grid)
    common = None if reference is None or area is None else reference.intersection(area)
    if common is None:
        raise InputError("the reference, or the AOI, lies wholly outside the map: check places and CRSs.")
    return common


def _jobs(frame: Window, distance: int, band_px: int) -> Iterator[Job]:
    rows = max(1, band_px // frame.width)
    for row in range(frame.row_off, frame.row_end, rows):
        core = Window(frame.col_off, row, frame.width, min(rows, frame.row_end - row))
        yield core, core.pad(distance).intersection(frame) or core


def within(read: Callable[[Window], Labels], aoi: bytes | None, grid: Grid, n: int) -> Callable[[Window], Labels]:
    """The same labels, those that an area of interest does not touch marked as outside."""
    if aoi is None:
        return read
    area = area_on(aoi, grid)

    def read_inside(window: Window) -> Labels:
        labels = read(window)
        labels[~area.touched(window)] = n + OUTSIDE
        return labels

    return read_inside


def score_rasters(prediction: Path, settings: EvaluateSettings) -> tuple[Path | None, Path | None]:
    """The confidence raster and that of all classes, where they stand beside the map."""
    found: list[Path | None] = []
    for layer in ("confidence", "probabilities"):
        sibling = prediction.with_name(f"{scene_name(prediction)}.{layer}.tif")
        found.append(sibling if sibling.is_file() and sibling != prediction else None)
    # Summing layers that a legend merges would need the model's own classes.
    return settings.scores or found[0], None if settings.legend else found[1]


def _opened(path: Path | None, grid: Grid, stack: ExitStack, *, single: bool) -> tuple[Any, Any]:
    return (None, None) if path is None else stack.enter_context(opened_layers(path, grid, single=single))


def _layers(names: tuple[str | None, ...], own: ClassScheme, union: ClassScheme) -> NDArray[np.int64] | None:
    """(label,) layer of each class; -1: the model does not know it, -2: no class. None: the layers have other names."""
    layers = [names.index(c.name) if c.name in names else -1 for c in own.classes]
    if max(layers) < 0:
        return None
    return np.array([*layers, *[-1] * (len(union) - len(own)), *[-2] * REASONS], np.int64)


def _legend(text: str | None) -> Legend | None:
    return None if text is None else read_legend_file(text)


def _nothing_counted(prediction: Path, reference: Path, tally: MapTally) -> str:
    if tally.unmapped:
        return f"{prediction} has no class wherever {reference} has one: check places and nodata."
    return f"{reference} has no class on the pixels of {prediction}: check places, CRSs, nodata and --aoi."

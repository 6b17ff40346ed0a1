"""Things become objects: components of thing classes are divided, or grow, and are surveyed anew.

The map of component numbers becomes a map of *cells*: an object's pixels have one cell number, and so has every other
component. Cells are written once, band by band, to wherever the caller keeps them, and from there on they are traced as
codes are: an object is a component of one cell, so all that holds for polygons of components holds for objects, too.

A minimum mapping unit comes first: it weighs pieces of land cover, of which objects are parts. An object below the unit
within a larger canopy stays an object.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.basins import HillTable, Slopes, slopes
from geoseg.polygons.components import Components, Ints
from geoseg.polygons.label import Int32s
from geoseg.polygons.landscape import Bools, Stretch, distance_heights, read_around, score_heights, stretches
from geoseg.polygons.outgrow import outgrown
from geoseg.polygons.peaks import PeakRule, around_peaks
from geoseg.polygons.survey import ReadRows, Survey, run_ahead, survey

WriteRows = Callable[[int, Int32s], None]
"""Takes the first row of a block of full rows and its (row, col) numbers; called in row order."""
BYTES_PER_PIXEL = 40
"""What a stretch of rows and its landscape take while they are worked on."""
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Landcover:
    """The components of a class raster, small ones given away."""

    surveyed: Survey
    table: Components
    """What became of the surveyed components."""
    final: Ints | None
    """(component,) component that each now belongs to; None: its own."""
    read_rows: ReadRows
    """Gives the codes that were surveyed."""

    def are(self, codes: Collection[int]) -> Bools:
        """(component,) whether it is of one of these classes."""
        return np.isin(self.table.code, list(codes)) & (self.table.n_pixels > 0)

    def stretches(self, halo: int) -> Iterator[Stretch]:
        """Its pixels in stretches of rows with a halo."""
        bands = self.surveyed.painted_bands(self.read_rows, self.final)
        return stretches(bands, self.surveyed.shape[0], halo, max(self.surveyed.band_rows, halo))


@dataclass(frozen=True)
class Cells:
    """What the cell numbers that were written mean."""

    cell_of: Int32s
    """(written number,) the cell."""
    code: Int32s
    """(cell,) code of its class."""
    objects: Bools
    """(cell,) whether pieces of it are objects."""

    def reader(self, read_written: ReadRows) -> ReadRows:
        """Gives (row, col) cells, NOTHING where none is, from what was written."""
        table = np.append(self.cell_of, np.int32(NOTHING))
        return lambda first, last: table[read_written(first, last)]


def instance_ids(objects: Bools) -> Int32s:
    """(component,) 1, 2, … for those that are objects, in the order of their first pixels; 0 else.

    Args:
        objects: (component,) which are; components are numbered by first pixel.
    """
    return np.where(objects, np.cumsum(objects), 0).astype(np.int32)


def write_hills(
    cover: Landcover,
    things: Bools,
    radius: int,
    depth: float,
    write: WriteRows,
    *,
    read_scores: ReadRows | None = None,
    most_bytes: int | None = None,
) -> Cells:
    """Divide things into the hills of their landscape.

    Memory: a stretch of rows with its halo for each thread, and the table of hills.

    Args:
        cover: the components.
        things: (component,) which are divided.
        radius: R of the landscape in pixels.
        depth: how far a saddle must lie below the lower of two peaks to divide them: pixels, or a part of 1 of scores.
        write: takes the numbers to be read again.
        read_scores: gives (row, col) 0…255 of any rows; None: the landscape is the distance to the rim.
        most_bytes: what the table may take; None: there is no limit.

    Raises:
        MemoryLimitError: there are too many hills.
        InputError: more cells than 32 bits can count.
    """
    count, (height, width) = len(cover.table), cover.surveyed.shape
    table = HillTable(width, most_bytes)

    def climb(stretch: Stretch, scores: NDArray[np.uint8] | None) -> tuple[Stretch, Slopes]:
        if scores is None:
            heights = distance_heights(stretch, things, radius)
        else:
            heights = score_heights(stretch, things, radius, scores)
        core = stretch.core
        return stretch, slopes(stretch.numbers[core.start - 1 : core.stop + 1], heights)

    halo = cover.stretches(radius + 1)
    arguments = ((s, None if read_scores is None else read_around(read_scores, s, height)) for s in halo)
    for stretch, band in run_ahead(climb, arguments):
        labels = table.add(band)
        if count + int(labels.max(initial=0)) >= _MOST:
            raise InputError(f"the raster has more than {_MOST} components and hills: cut it with --aoi.")
        write(stretch.first, np.where(labels >= 0, labels + count, stretch.numbers[stretch.core, 1:-1]))
    hills = table.finished()
    if read_scores is None:
        wholes = hills.merged(np.sqrt(hills.peak), np.sqrt(hills.saddle), depth)
    else:
        most = 255.0 * (radius + 1) ** 4
        wholes = hills.merged(hills.peak / most, hills.saddle / most, depth)
    own = np.arange(count, dtype=np.int32)
    return Cells(
        np.concatenate([own, count + wholes[hills.number_of]]),
        cover.table.code[np.concatenate([own, hills.owner])],
        np.arange(count + len(hills)) >= count,
    )


def write_outgrown(cover: Landcover, things: Bools, boundary: Bools, radius: int, write: WriteRows) -> Cells:
    """Let things grow over a boundary class.

    Memory: a stretch of rows with its halo for each thread.

    Args:
        cover: the components.
        things: (component,) which grow.
        boundary: (component,) which are handed out.
        radius: steps.
        write: takes the numbers to be read again.
    """
    grow = partial(_grown, things=things, boundary=boundary, radius=radius)
    for first, numbers in run_ahead(grow, ((stretch,) for stretch in cover.stretches(radius))):
        write(first, numbers)
    return Cells(np.arange(len(cover.table), dtype=np.int32), cover.table.code, things)


def write_peaks(
    cover: Landcover, things: Bools, code: int, rule: PeakRule, write: WriteRows, *, read_scores: ReadRows
) -> Cells:
    """Make objects around the peaks of a class's score; all of them are of that class.

    Memory: a stretch of rows with its halo for each thread.

    Args:
        cover: the components.
        things: (component,) of what objects are made.
        code: of the class.
        rule: what is a peak, and what belongs to it.
        write: takes the numbers to be read again.
        read_scores: gives (row, col) 0…255 of any rows: the class's score.

    Raises:
        InputError: more cells than 32 bits can count.
    """
    count, height, lattice = len(cover.table), cover.surveyed.shape[0], rule.period**2
    if count + lattice >= _MOST:
        raise InputError(f"the raster has more than {_MOST} components and places of peaks: cut it with --aoi.")

    def make(stretch: Stretch, scores: NDArray[np.uint8]) -> tuple[int, Int32s]:
        places = around_peaks(stretch, things, scores, rule)
        return stretch.first, np.where(places >= 0, count + places, stretch.numbers[stretch.core, 1:-1])

    arguments = ((s, read_around(read_scores, s, height)) for s in cover.stretches(rule.halo))
    for first, numbers in run_ahead(make, arguments):
        write(first, numbers)
    return Cells(
        np.arange(count + lattice, dtype=np.int32),
        np.append(cover.table.code, np.full(lattice, code, cover.table.code.dtype)),
        np.arange(count + lattice) >= count,
    )


def _grown(stretch: Stretch, things: Bools, boundary: Bools, radius: int) -> tuple[int, Int32s]:
    return stretch.first, outgrown(stretch, things, boundary, radius)


def survey_cells(
    cover: Landcover,
    cells: Cells,
    read_cells: ReadRows,
    *,
    read_scores: ReadRows | None = None,
    keep_runs: bool = False,
    most_bytes: int | None = None,
) -> tuple[Survey, Bools]:
    """The 4-connected pieces of cells as a survey whose table tells their class codes, and which of them are objects.

    Args:
        cover: the components that were divided.
        cells: into what.
        read_cells: `cells.reader` of what was written.
        read_scores: as `survey` takes it.
        keep_runs: likewise.
        most_bytes: likewise.

    Raises:
        InputError: there are more pieces than 32 bits can count.
        MemoryLimitError: their table is too large.
    """
    shape, band_rows = cover.surveyed.shape, cover.surveyed.band_rows
    found = survey(
        read_cells,
        shape,
        nodata=NOTHING,
        band_rows=band_rows,
        read_scores=read_scores,
        keep_runs=keep_runs,
        most_bytes=most_bytes,
    )
    cell = found.components.code
    return replace(found, components=replace(found.components, code=cells.code[cell])), cells.objects[cell]

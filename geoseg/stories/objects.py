"""Objects of a class raster: what `--things` and `--split` ask for, between the regions and their polygons.

Order: components → minimum mapping unit → objects → polygons. An object's class and its number are the panoptic pair:
the class raster holds one, the instance raster the other, on one grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.class_raster import CLASSES_TAG
from geoseg.io.cog import write_instance_cog
from geoseg.io.machine import memory_room
from geoseg.io.score_raster import opened_scores
from geoseg.io.spool import RasterSpool
from geoseg.polygons.adjacency import component_sizes
from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.label import Int32s
from geoseg.polygons.mmu_size import Scale, class_code, size_scale
from geoseg.polygons.objects import Landcover, instance_ids, survey_cells, write_hills, write_outgrown
from geoseg.polygons.survey import ReadRows
from geoseg.settings import VectorSettings
from geoseg.stories.class_changes import ClassChange, joined
from geoseg.stories.regions import KEPT_PX, Regions
from geoseg.stories.vector_key import check_scored, skipped_codes, thing_codes
from geoseg.things import Split


@contextmanager
def objects_of(
    regions: Regions,
    confidence: Path | None,
    settings: VectorSettings,
    scratch: Path | None = None,
    max_memory: str | None = None,
) -> Iterator[Regions]:
    """Divide thing classes into objects, or let objects grow; the result is for use within the block.

    Memory: as for `find_regions`, 40 bytes a pixel of some bands, 32 a hill and 80 a saddle. Disk: 4 bytes a pixel
    where something is divided.

    Args:
        regions: components, small ones given away.
        confidence: raster of winning scores on the same grid, or None.
        settings: which classes are things, how they are divided.
        scratch: folder for a file; None: the system's.
        max_memory: as for `find_regions`.

    Yields:
        the regions with objects numbered 1, 2, … by first pixel; unchanged where there are no things.

    Raises:
        UsageError: a class is unknown, or there are no scores to divide by.
        InputError: a raster cannot be read, or there are more objects than 32 bits can count.
        MemoryLimitError: tables are too large.
        OutputError: the disk refuses.
    """
    things, split = thing_codes(regions.raster.scheme, settings.things), settings.splitting
    check_scored(settings, regions.raster.scheme, scored=confidence is not None)
    with ExitStack() as stack:
        if things and split.method != "components":
            folder = scratch or Path(stack.enter_context(TemporaryDirectory()))
            grid = regions.raster.grid
            cells = stack.enter_context(RasterSpool(folder / "cells", grid, np.int32, NOTHING))
            read_scores = None
            if confidence is not None:
                read_scores = stack.enter_context(opened_scores(confidence, grid))
            skipped = skipped_codes(regions.raster.scheme, settings.skip_classes)
            made = tuple(code for code in regions.raster.scheme.codes if code not in skipped)
            regions = _divided(regions, things, split, cells, read_scores, memory_room(max_memory), made)
        if things:
            ids = instance_ids(regions.table, things)
            regions = replace(regions, facts=replace(regions.facts, instances=ids))
        yield regions


def _divided(
    regions: Regions,
    things: frozenset[int],
    split: Split,
    spool: RasterSpool,
    read_scores: ReadRows | None,
    most_bytes: int,
    made: tuple[int, ...],
) -> Regions:
    """Write cells, survey them; `made` are the codes of classes that get polygons."""
    grid = regions.raster.grid
    radius = split.radius_px(grid.gsd_m)
    between = None
    if split.moves_pixels:
        between = class_code(split.boundary, regions.raster.scheme, "--split boundary:")
    areas, sizes = size_scale(grid, regions.facts.model, ()), dict[int, int]()

    def write(first: int, numbers: Int32s) -> None:
        spool.write(Window(0, first, grid.width, len(numbers)), numbers)

    def read(first: int, last: int) -> NDArray[np.int32]:
        return spool.read(Window(0, first, grid.width, last - first))

    with regions.rows() as read_rows:
        cover = Landcover(regions.surveyed, regions.table, regions.final, read_rows)
        if between is None:
            by_scores = read_scores if split.method == "scores" else None
            depth = split.depth_score if split.depth is None else split.depth.pixels(grid.gsd_m)
            cells = write_hills(
                cover, cover.are(things), radius, depth, write, read_scores=by_scores, most_bytes=most_bytes
            )
        else:
            cells = write_outgrown(cover, cover.are(things), cover.are({between}), radius, write)
            sizes = _class_sizes(cover, areas)
    read_cells = cells.reader(read)
    kept = grid.height * grid.width <= KEPT_PX
    found = survey_cells(cover, cells, read_cells, read_scores=read_scores, keep_runs=kept, most_bytes=most_bytes)
    divided = replace(regions, surveyed=found, table=found.components, final=None, read_cells=read_cells)
    return divided if between is None else _with_areas(divided, sizes, between, areas, made)


def _class_sizes(cover: Landcover, areas: Scale) -> dict[int, int]:
    """Steps of area by class code."""
    bands = cover.surveyed.painted_bands(cover.read_rows, cover.final)
    sizes = component_sizes(bands, len(cover.table), areas.by_row)
    codes, index = np.unique(cover.table.code, return_inverse=True)
    sums = np.zeros(len(codes), np.int64)
    np.add.at(sums, index, sizes)
    return dict(zip(codes.tolist(), sums.tolist(), strict=True))


def _with_areas(regions: Regions, before: dict[int, int], between: int, areas: Scale, made: tuple[int, ...]) -> Regions:
    """Areas of classes after objects grew over the class `between`, and what changed."""
    with regions.rows() as read_rows:
        now = _class_sizes(Landcover(regions.surveyed, regions.table, None, read_rows), areas)
    scheme, step_m2 = regions.raster.scheme, float(areas.step_m2 or 0)
    area_m2 = {scheme.by_code(code).name: now.get(code, 0) * step_m2 for code in made}
    giver = scheme.by_code(between).name
    grown = [
        ClassChange(giver, scheme.by_code(code).name, (size - before[code]) * step_m2)
        for code, size in now.items()
        if size > before[code]
    ]
    return replace(regions, area_m2=area_m2, changed=joined([*regions.changed, *grown]))


def write_instances(regions: Regions, destination: Path) -> int:
    """Write the numbers of objects as a COG of int32, 0 where no object is.

    Args:
        regions: as `objects_of` yields them, with things.
        destination: the `.tif`, in an existing folder.

    Returns:
        The number of objects.

    Raises:
        InputError: the raster cannot be read any more.
        OutputError: the disk refuses, or what was written does not read back.
    """
    grid, ids = regions.raster.grid, regions.facts.instances
    if ids is None:
        raise ValueError("these regions have no objects.")
    number_of = np.append(ids, np.int32(0))
    with (
        RasterSpool(destination.with_suffix(".spool"), grid, np.int32, 0) as spool,
        regions.rows() as read_rows,
    ):
        for first, painted in regions.surveyed.painted_bands(read_rows, regions.final):
            numbers = painted[1:, 1:-1]
            spool.write(Window(0, first, grid.width, len(numbers)), number_of[numbers])
        kept = {
            key: text for key, text in regions.raster.tags.items() if key.startswith("GEOSEG_") and key != CLASSES_TAG
        }
        write_instance_cog(spool, destination, tags=kept)
    return int(ids.max(initial=0))

"""`geoseg vectorize`: a class raster, anyone's, becomes polygons."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.door import show
from geoseg.options import AOI, COMMON, DRY_RUN, LEGEND, MEMORY, OUTPUT, SCORES, VECTOR, settings_from, with_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.settings import RunSettings
    from geoseg.stories.class_changes import ClassChange


@click.command()
@click.argument("classes", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", "output", required=True, type=click.Path(path_type=Path), help=".gpkg .shp .fgb .geojson .parquet"
)
@with_options(AOI, VECTOR, LEGEND, SCORES)
@click.option("--raster-out", type=click.Path(path_type=Path), help="Also write the generalized class raster, .tif.")
@click.option("--instances-out", type=click.Path(path_type=Path), help="Also write the objects' numbers, .tif.")
@with_options(MEMORY, OUTPUT, DRY_RUN, COMMON)
def vectorize(
    classes: Path,
    output: Path,
    raster_out: Path | None,
    instances_out: Path | None,
    as_json: bool,
    quiet: bool,  # noqa: ARG001
    **params: Any,
) -> None:
    """Class raster (anyone's) → polygons; the format follows the suffix."""
    from geoseg.console import summary_table
    from geoseg.stories.vectorize import vectorize as story

    settings = settings_from(params)
    limit = settings.schedule.max_memory
    if params["dry_run"]:
        _plan(classes, settings, as_json=as_json)
        return
    written = (settings.vector, settings.output, raster_out, settings.read.aoi)
    result = story(classes, output, *written, max_memory=limit, instances_out=instances_out)

    def lines() -> list[str]:
        done = "up to date" if result.up_to_date else "written"
        made = {name: area / 1e4 for name, area in result.area_m2.items() if result.count[name]}
        skipped = [f"without polygons: {', '.join(settings.vector.skip_classes)}"] * bool(settings.vector.skip_classes)
        mmu = changed(result.changed, settings)
        return [summary_table(made), *skipped, *mmu, f"{result.n_polygons} polygons in {output} ({done})"]

    show(lambda: asdict(result), lines, as_json=as_json)


def _plan(classes: Path, settings: RunSettings, *, as_json: bool) -> None:
    from geoseg.stories.vector_cost import plan_vectorize

    plan = plan_vectorize(classes, settings.vector, max_memory=settings.schedule.max_memory)
    show(plan.to_json, plan.lines, as_json=as_json)


def changed(changes: Sequence[ClassChange], settings: RunSettings) -> list[str]:
    """What the minimum mapping unit, or objects that grew, did; nothing without them."""
    from geoseg.console import format_hectares

    if not settings.vector.generalizes:
        return []
    return [f"{format_hectares(sum(change.area_m2 for change in changes) / 1e4)} ha changed class"]

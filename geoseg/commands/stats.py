"""`geoseg stats`: hectares and percent of every class in every zone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from geoseg.door import show
from geoseg.options import COMMON, LEGEND, OUTPUT, settings_from, with_options


@click.command()
@click.argument("classes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--zones", required=True, type=click.Path(path_type=Path), help="Polygons, in any CRS.")
@click.option("--field", required=True, help="Attribute that names the zones; equal names are one zone.")
@click.option("--layer", help="Layer of the zones' file.  [default: the only one]")
@click.option("-o", "--out", "output", required=True, type=click.Path(path_type=Path), help=".csv .xlsx .gpkg")
@with_options(LEGEND, OUTPUT, COMMON)
def stats(
    classes: tuple[Path, ...],
    zones: Path,
    field: str,
    layer: str | None,
    output: Path,
    as_json: bool,
    quiet: bool,  # noqa: ARG001
    **params: Any,
) -> None:
    """Class rasters × zones → table, one row a zone.

    \b
    zone_ha        the zone's ground: observed + unobserved
    observed_ha    pixels with a class, on the zone's border by the part inside
    unobserved_ha  nodata, and outside all rasters
    NAME_ha        every class
    NAME_pct       every class in percent of the observed area

    Where CLASSES overlap, the first file that has a class counts. In .gpkg the zones carry the columns.
    """
    from geoseg.console import summary_table
    from geoseg.stories.stats import stats as story

    settings = settings_from(params)
    result = story(classes, zones, field, output, layer=layer, legend=settings.vector.legend, out=settings.output)

    def lines() -> list[str]:
        made = {name: m2 / 1e4 for name, m2 in result.area_m2.items() if m2}
        done = "up to date" if result.up_to_date else "written"
        return [
            summary_table(made, outside_ha=result.outside_m2 / 1e4, nodata_ha=result.nodata_m2 / 1e4),
            f"{result.n_zones} zones in {output} ({done})",
        ]

    show(lambda: asdict(result), lines, as_json=as_json)

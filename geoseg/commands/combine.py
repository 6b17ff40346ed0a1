"""`geoseg combine`: one map of several dates."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from geoseg.comma_lists import Words
from geoseg.door import show
from geoseg.options import COMMON, LEGEND, OUTPUT, settings_from, with_options


@click.command()
@click.argument("classes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", "output", required=True, type=click.Path(path_type=Path), help="Class raster, .tif.")
@click.option("--by", required=True, type=click.Choice(["mode", "score", "latest", "priority"]), help="See above.")
@click.option("--datetimes", type=Words(), help="2018-08-15,2019-07-30: one for each, where the rasters do not say.")
@with_options(LEGEND, OUTPUT, COMMON)
def combine(
    classes: tuple[Path, ...],
    output: Path,
    by: Any,
    datetimes: tuple[str, ...] | None,
    as_json: bool,
    quiet: bool,  # noqa: ARG001
    **params: Any,
) -> None:
    """Class rasters of several dates → one class raster, and how often each pixel was observed.

    \b
    mode      the class of most dates; a tie goes to the one that the raster given last among them has
    score     the class with the highest winning score (NAME.confidence.tif beside each); a tie: given last
    latest    the class of the latest image that has one (by tag, STAC item or --datetimes); a tie: given last
    priority  the class of the first raster given that has one

    OUT.count.tif holds the number of rasters that have a class, 0 where none has; OUT.confidence.tif, where all have
    theirs, the score of the class taken (mode: the mean of those that agree).
    """
    from geoseg.console import format_hectares, summary_table
    from geoseg.stories.combine import combine as story

    settings = settings_from(params)
    legend, out = settings.vector.legend, settings.output
    result = story(classes, output, by, datetimes=datetimes, legend=legend, out=out)

    def lines() -> list[str]:
        observed = ", ".join(f"{n} ×: {format_hectares(m2 / 1e4)} ha" for n, m2 in result.observed_m2.items())
        made = {name: m2 / 1e4 for name, m2 in result.area_m2.items() if m2}
        return [
            summary_table(made, nodata_ha=result.nodata_m2 / 1e4),
            f"observed {observed or 'nowhere'}",
            f"{'up to date' if result.up_to_date else 'written'}: {output}",
        ]

    show(lambda: asdict(result), lines, as_json=as_json)

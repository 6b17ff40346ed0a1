"""`geoseg evaluate`: a map against a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.comma_lists import Numbers, Words
from geoseg.door import Bar, show
from geoseg.options import AOI, COMMON, LEGEND, OUTPUT, SCORES, settings_from, with_options


@click.command()
@click.argument("prediction", type=click.Path(path_type=Path))
@click.argument("reference", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", "output", type=click.Path(path_type=Path), help="Folder for JSON, CSV and HTML, or a .json file."
)
@click.option("--field", help="Attribute with the class of reference polygons or points.")
@click.option("--layer", help="Layer of the reference file.  [default: the only one]")
@click.option(
    "--map",
    "pairs",
    metavar="A=B,…",
    help="Class of the reference = class of the map, for all of them: 11=80,forest=10,99=none.  [default: equal codes]",
)
@click.option("--reference-legend", help="Legend put onto the reference first, as --legend onto the map.")
@click.option("--boundary", metavar="PX|M", help="Distance of the boundary IoU: 3px, 30m or none.  [default: 2px]")
@with_options(AOI, LEGEND, SCORES)
@click.option(
    "--companion",
    type=click.Path(path_type=Path),
    help="Strata and inclusion probabilities of reference points.  [default: the sibling]",
)
@click.option("--level", type=float, help="Level of the confidence intervals of points.  [default: 0.95]")
@click.option(
    "--unsure", type=click.Choice(["drop", "keep"]), help="What becomes of unsure answers of points.  [default: drop]"
)
@click.option("--objects", is_flag=True, default=None, help="Also objects found and missed, and panoptic quality.")
@click.option(
    "--things", type=Words(), help="Classes of the map whose regions are objects.  [default: as the map says]"
)
@click.option(
    "--instances",
    type=click.Path(path_type=Path),
    help="Raster of object numbers.  [default: the sibling NAME.instances.tif, else components]",
)
@click.option("--reference-instances", type=click.Path(path_type=Path), help="The same of a reference raster.")
@click.option("--iou", type=Numbers(), help="Objects match above this overlap, 0.5 or more.  [default: 0.5]")
@click.option("--complete", is_flag=True, default=None, help="Where no reference is, there is no object.")
@with_options(OUTPUT, COMMON)
def evaluate(prediction: Path, reference: Path, output: Path | None, as_json: bool, quiet: bool, **params: Any) -> None:
    """Class raster × reference → how good the map is.

    \b
    REFERENCE  a class raster of any grid and CRS: nearest neighbor onto the map's grid
               polygons, --field names their class: the pixels whose center they hold
               points (vector, .csv), as `geoseg sample` draws them

    Only pixels with a class in both count. Ratios without pixels are left open.
    """
    from geoseg.stories.evaluate import evaluate as story
    from geoseg.stories.evaluate_settings import EvaluateSettings

    shared = settings_from(params)
    own = ("field", "layer", "pairs", "reference_legend", "boundary", "companion", "level", "unsure")
    of_objects = ("objects", "things", "instances", "reference_instances", "iou", "complete")
    settings = EvaluateSettings(
        aoi=shared.read.aoi,
        legend=shared.vector.legend,
        scores=shared.vector.scores,
        **{name: params[name] for name in (*own, *of_objects) if params[name] is not None},
    )
    bar = Bar(quiet=quiet, label="evaluate")
    try:
        result = story(prediction, reference, output, settings, shared.output, bar)
    finally:
        bar.close()

    def lines() -> list[str]:
        done = "up to date" if result.up_to_date else "written"
        return [result.table, *(f"{path} ({done})" for path in result.files)]

    def data() -> dict[str, Any]:
        return result.report | {"files": [str(path) for path in result.files], "up_to_date": result.up_to_date}

    show(data, lines, as_json=as_json)

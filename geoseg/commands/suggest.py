"""`geoseg suggest`: where labels would help most."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from geoseg.door import show
from geoseg.options import COMMON, OUTPUT, settings_from, with_options


@click.command()
@click.argument("classes", type=click.Path(path_type=Path))
@click.option("-o", "--out", "output", required=True, type=click.Path(path_type=Path), help="Boxes, .gpkg.")
@click.option("-n", "--n", "n", type=int, default=50, help="How many.  [default: 50]")
@click.option("--size", default="64px", help="Side of a box: 640m · 64px.  [default: 64px]")
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    help="Confidence or ambiguity raster.  [default: the sibling NAME.ambiguity.tif, else NAME.confidence.tif]",
)
@with_options(OUTPUT, COMMON)
def suggest(
    classes: Path,
    output: Path,
    n: int,
    size: str,
    scores: Path | None,
    as_json: bool,
    quiet: bool,  # noqa: ARG001
    **params: Any,
) -> None:
    """Class raster with scores → boxes to digitize: where the model is most in doubt, spread over the map.

    \b
    rank       1 is the most ambiguous
    ambiguity  mean of the box, 0…1: 1 − (best − second score), or 1 − confidence
    classes    what the map says there
    """
    from geoseg.stories.suggest import suggest as story

    result = story(classes, output, n=n, size=size, scores=scores, out=settings_from(params).output)

    def lines() -> list[str]:
        rows, cols = result.pixels
        done = "up to date" if result.up_to_date else "written"
        fewer = [f"only {result.n} of {n} boxes have scores and fit: a smaller --size gives more"] * (result.n < n)
        mean = sum(result.ambiguity) / result.n
        told = f"mean ambiguity {mean:.2f} in the boxes, {result.map_ambiguity:.2f} over the map ({result.scores.name})"
        return [told, *fewer, f"{result.n} boxes of {cols} × {rows} pixels in {output} ({done})"]

    show(lambda: asdict(result), lines, as_json=as_json)

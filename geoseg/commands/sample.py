"""`geoseg sample`: points to interpret, by a design that accuracy and area can be estimated from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.comma_lists import Words
from geoseg.door import show
from geoseg.options import COMMON, DRY_RUN, LEGEND, OUTPUT, settings_from, with_options

if TYPE_CHECKING:
    from geoseg.stories.sample import SampleResult


@click.command()
@click.argument("classes", type=click.Path(path_type=Path))
@click.option("-o", "--out", "output", required=True, type=click.Path(path_type=Path), help="Points, .gpkg.")
@click.option("-n", "n", type=int, help="Points in all.")
@click.option("--se", type=float, help="As many as this standard error of the overall accuracy takes; needs --expect.")
@click.option(
    "--allocation",
    type=click.Choice(["olofsson", "proportional", "equal", "neyman"]),
    default="olofsson",
    help="Points by stratum: by size, alike, or by size and expected variation; olofsson: by size, but at least 50.",
)
@click.option("--minimum", type=int, help="Points for each stratum at the least.  [default: olofsson 50, others 2]")
@click.option(
    "--expect", type=Words(), default=(), help="Expected user's accuracies: water=0.95,0.8 (0.8: all others)."
)
@click.option("--strata", type=click.Path(path_type=Path), help="Class raster of strata.  [default: the map's classes]")
@click.option("--seed", type=int, default=0, help="Another number, another sample.  [default: 0]")
@with_options(LEGEND, OUTPUT, DRY_RUN, COMMON)
def sample(
    classes: Path,
    output: Path,
    as_json: bool,
    quiet: bool,  # noqa: ARG001
    **params: Any,
) -> None:
    """Class raster → stratified random sample of its pixels, as points to interpret.

    \b
    NAME.gpkg         point_id, lon, lat; for you: ref_class (name or code), sure (true, false), note
    NAME.ceo.csv      the same places for Collect Earth Online
    NAME.design.json  strata and inclusion probabilities: `geoseg evaluate` needs it, interpreters must not see it

    Which class the map has is not in the interpreter's files.
    """
    from geoseg.stories.sample import SampleSettings
    from geoseg.stories.sample import sample as story

    base = settings_from(params)
    names = ("n", "se", "allocation", "minimum", "expect", "strata", "seed")
    settings = SampleSettings(legend=base.vector.legend, **{name: params[name] for name in names})
    result = story(classes, output, settings, base.output, dry=params["dry_run"])
    show(lambda: asdict(result), lambda: _lines(result, settings.se, dry=params["dry_run"]), as_json=as_json)


def _lines(result: SampleResult, asked_se: float | None, *, dry: bool) -> list[str]:
    from geoseg.console import aligned, format_hectares, format_share

    total = sum(s.area_m2 for s in result.strata)
    head = ["stratum", "hectares", "share", "points"]
    rows = [
        [s.name, format_hectares(s.area_m2 / 1e4), format_share(s.area_m2 / total), f"{s.points}"]
        for s in result.strata
    ]
    if result.expected_se is not None:
        head += ["expected", "± se"]
        for row, s, se in zip(rows, result.strata, result.expected_se, strict=True):
            row += [f"{100 * (s.expected or 0):.1f} %", f"{100 * se:.1f} %"]
    lines = [aligned(head, rows)]
    if result.expected_overall_se is not None:
        asked = "" if asked_se is None else f" (asked: {100 * asked_se:.2f} %)"
        lines.append(f"overall accuracy: expected standard error {100 * result.expected_overall_se:.2f} %{asked}")
    n = sum(s.points for s in result.strata)
    done = "would be written" if dry else "up to date" if result.up_to_date else "written"
    return [*lines, f"{n} points in {result.points} ({done}); design, not for the interpreter: {result.design}"]

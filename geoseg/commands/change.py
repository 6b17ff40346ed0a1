"""`geoseg change`: two class rasters of one place, and what became what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.door import show
from geoseg.options import AOI, COMMON, LEGEND, MEMORY, OUTPUT, VECTOR, settings_from, with_options

if TYPE_CHECKING:
    from geoseg.stories.change import ChangeResult
    from geoseg.transitions import TransitionTable

_SHAPING = {"--mmu", "--mmu-connect", "--simplify", "--simplify-outer", "--smooth", "--max-vertices", "--dissolve"}
_WIDEST = 12
"""Classes that a matrix on the screen has; of more only the list is shown."""
_LISTED = 20


def _flag(option: Callable[[Any], Any]) -> str:
    """What an option is called."""
    probe: Any = option(lambda: None)
    return str(probe.__click_params__[0].opts[0])


@click.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", "output", required=True, type=click.Path(path_type=Path), help=".gpkg .shp .fgb .geojson .parquet"
)
@click.option("--all", "unchanged", is_flag=True, help="Polygons of what did not change, too.")
@with_options(AOI, tuple(option for option in VECTOR if _flag(option) in {*_SHAPING, "--out-crs"}))
@with_options(LEGEND, MEMORY, OUTPUT, COMMON)
def change(
    before: Path,
    after: Path,
    output: Path,
    unchanged: bool,
    as_json: bool,
    quiet: bool,  # noqa: ARG001
    **params: Any,
) -> None:
    """Class rasters of two dates → transition matrix in hectares, polygons from → to.

    \b
    OUT.csv     every pair of classes: pixels, hectares, mean scores; unobserved pixels are a class of their own
    from_id, from_name, to_id, to_name   attributes of the polygons besides the usual

    BEFORE and AFTER have one grid and one legend. --mmu gives small changes to a neighbor, mostly to what did not
    change; what did not change stays. The matrix counts pixels, before --mmu; with --aoi those that the AOI touches.
    """
    from geoseg.stories.change import change as story

    settings = settings_from(params)
    result = story(
        before,
        after,
        output,
        settings.vector,
        settings.output,
        settings.read.aoi,
        unchanged=unchanged,
        max_memory=settings.schedule.max_memory,
    )
    show(lambda: _plain(result), lambda: _lines(result, output), as_json=as_json)


def _plain(result: ChangeResult) -> dict[str, Any]:
    totals = {"observed_m2": result.transitions.observed_m2, "changed_m2": result.transitions.changed_m2}
    return asdict(result) | {"transitions": [asdict(row) for row in result.transitions.rows]} | totals


def _lines(result: ChangeResult, output: Path) -> list[str]:
    from geoseg.console import format_hectares, format_share

    table = result.transitions
    share = format_share(table.changed_m2 / table.observed_m2)
    changed, observed, outlined = (
        format_hectares(m2 / 1e4) for m2 in (table.changed_m2, table.observed_m2, result.polygons_m2)
    )
    done = "up to date" if result.up_to_date else "written"
    return [
        *(_matrix(table) if max(len(table.before), len(table.after)) <= _WIDEST else []),
        *_listed(table, scored=result.scored),
        f"{changed} of {observed} ha changed ({share}), polygons show {outlined} ha of it; table: {result.table}",
        f"{result.n_polygons} polygons in {output} ({done})",
    ]


def _matrix(table: TransitionTable) -> list[str]:
    """Hectares, first date down, second date across."""
    from geoseg.console import aligned, format_hectares

    cells = {(row.from_name, row.to_name): row.area_m2 for row in table.rows}

    def line(name: str, values: list[float]) -> list[str]:
        return [name, *(format_hectares(m2 / 1e4) if m2 else "·" for m2 in (*values, sum(values)))]

    rows = [line(name, [cells.get((name, other), 0.0) for other in table.after]) for name in table.before]
    rows.append(line("total", [sum(cells.get((name, other), 0.0) for name in table.before) for other in table.after]))
    return [aligned(["hectares, from ↓ to →", *table.after, "total"], rows), ""]


def _listed(table: TransitionTable, *, scored: bool) -> list[str]:
    """The largest changes, with mean scores where they are known."""
    from geoseg.console import aligned, format_hectares

    rows = [
        [f"{row.from_name} → {row.to_name}", format_hectares(row.area_m2 / 1e4)]
        + [f"{score:.2f}" for score in (row.from_score, row.to_score) if score is not None]
        for row in table.changes[:_LISTED]
    ]
    if not rows:
        return []
    head = ["change", "hectares", *(["score before", "score after"] if scored else [])]
    more = len(table.changes) - len(rows)
    return [aligned(head, rows), *([f"and {more} more in the table"] if more else []), ""]

"""The command line: one function a command. Whatever is heavy is imported inside."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg import __version__
from geoseg.commands.batch import batch
from geoseg.commands.change import change
from geoseg.commands.combine import combine
from geoseg.commands.evaluate import evaluate
from geoseg.commands.models import models
from geoseg.commands.replay import REPLAY, recall
from geoseg.commands.sample import sample
from geoseg.commands.stac_inputs import STAC, named_inputs
from geoseg.commands.stats import stats
from geoseg.commands.suggest import suggest
from geoseg.commands.train import train
from geoseg.commands.vectorize import changed, vectorize
from geoseg.commands.verify import verify
from geoseg.door import SOME_FAILED_EXIT, Bar, Door, one_line, show, tell_error
from geoseg.errors import GeosegError, InputError, UsageError
from geoseg.log import about
from geoseg.options import (
    COMMON,
    CONFIG,
    DRY_RUN,
    FORMATS,
    LEGEND,
    MEMORY,
    MODEL,
    NAME,
    OUTPUT,
    READING,
    RUNNING,
    UPDATE,
    VECTOR,
    ZONES,
    settings_from,
    with_options,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.settings import RunSettings
    from geoseg.stories.dry_run import PlanReport
    from geoseg.stories.inspect import InfoReport
    from geoseg.stories.segment import Summary

INPUTS = click.argument("inputs", nargs=-1)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=Door, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="geoseg")
def main() -> None:
    """Large GeoTIFFs to land-use and vegetation polygons.

    \b
    geoseg run scene.tif -o out      segment and vectorize with the bundled model
    geoseg info scene.tif -m NAME    what is this raster, does it fit the model
    """


@main.command()
@click.argument("inputs", nargs=-1)
@click.option("-o", "--out", "folder", required=True, type=click.Path(path_type=Path), help="Folder for the results.")
@with_options(CONFIG, REPLAY, READING, STAC, MODEL, LEGEND, RUNNING, MEMORY, FORMATS)
@with_options(VECTOR, ZONES, NAME, UPDATE, OUTPUT, DRY_RUN, COMMON)
def run(inputs: tuple[str, ...], folder: Path, as_json: bool, quiet: bool, **params: Any) -> None:
    """Scene → class raster, polygons, preview, report page, STAC item.

    INPUT is a raster that GDAL reads, or a product: a Sentinel-2 .SAFE folder or zip, a Landsat folder or tar, an HLS
    folder, a folder of one file a band, a STAC item. Several need --stack or --each.
    """
    call = recall(inputs, folder, params)
    folder = call.folder
    inputs, settings = named_inputs(call.inputs, call.settings or _settings(params), params, Bar(quiet=quiet).note)
    if params["dry_run"]:
        _plan(inputs, settings, as_json=as_json)
        return
    from geoseg.stories.run import run as story

    results, failed = [], []
    for scene, one in _scenes(inputs, settings):
        bar = Bar(quiet=quiet)
        try:
            with about(scene=_name_of(scene[0])):
                result = story(scene, folder, one, bar, call.past)
        except GeosegError as error:
            if settings.read.together != "each":
                raise
            failed.append({"input": scene[0], "error": one_line(error), "exit_code": error.exit_code})
            tell_error(error, error.exit_code, input=scene[0])
            continue
        finally:
            bar.close()
        replayed = call.compared(result.record)
        results.append(asdict(result) | ({} if replayed is None else {"replay": asdict(replayed)}))
        if not as_json:
            _report(
                result.summary, result.record, bar, changed(result.changed, one), result.up_to_date, result.n_polygons
            )
            click.echo("".join(f"{line}\n" for line in replayed.lines()) if replayed else "", nl=False)
    if as_json:
        show(lambda: _one_or_each(results, settings) | ({"failed": failed} if failed else {}), list, as_json=True)
    if failed:
        raise SystemExit(SOME_FAILED_EXIT)


@main.command()
@INPUTS
@click.option("-o", "--out", "output", required=True, type=click.Path(path_type=Path), help="Class raster, .tif.")
@with_options(CONFIG, READING, STAC, MODEL, LEGEND, RUNNING, UPDATE, MEMORY, OUTPUT, DRY_RUN, COMMON)
def segment(inputs: tuple[str, ...], output: Path, as_json: bool, quiet: bool, **params: Any) -> None:
    """Scene → class raster only."""
    inputs, settings = _named(inputs, params, quiet=quiet)
    if settings.read.together == "each":
        raise UsageError("segment writes one file; call it once for each scene, or use run --each.")
    if params["dry_run"]:
        _plan(inputs, settings, as_json=as_json, polygons=False)
        return
    from geoseg.stories.segment import segment as story

    bar = Bar(quiet=quiet)
    try:
        with about(scene=_name_of(inputs[0])):
            result = story(inputs, output, settings, bar)
    finally:
        bar.close()
    if as_json:
        show(lambda: asdict(result), list, as_json=True)
    else:
        _report(result.summary, result.classes, bar, [], result.up_to_date)


@main.command()
@INPUTS
@click.option("-m", "--model", help="Also say whether this model fits.")
@with_options(READING, STAC, COMMON)
def info(inputs: tuple[str, ...], model: str | None, as_json: bool, quiet: bool, **params: Any) -> None:
    """What is this raster, and does it fit a model?"""
    from geoseg.stories.inspect import info as story

    inputs, settings = _named(inputs, params, quiet=quiet)
    reports = [story(scene, one.read, model) for scene, one in _scenes(inputs, settings)]
    _show_all(reports, settings, as_json=as_json)
    if any(report.fits is False for report in reports):
        raise SystemExit(InputError.exit_code)


@main.command()
@with_options(COMMON)
def doctor(as_json: bool, quiet: bool, debug: bool) -> None:  # noqa: ARG001
    """Versions, drivers, devices, free space."""
    from geoseg.stories.doctor import doctor as story

    report = story()
    show(report.to_json, report.lines, as_json=as_json)
    raise SystemExit(0 if report.ok else 69)


def _named(inputs: tuple[str, ...], params: dict[str, Any], *, quiet: bool) -> tuple[tuple[str, ...], RunSettings]:
    return named_inputs(inputs, _settings(params), params, Bar(quiet=quiet).note)


def _settings(params: dict[str, Any]) -> RunSettings:
    base = None
    if params.get("config") is not None:
        from geoseg.config import load_settings

        base = load_settings(params["config"])
    return settings_from(params, base)


def _scenes(inputs: tuple[str, ...], settings: RunSettings) -> list[tuple[list[str], RunSettings]]:
    """With --each every input is a scene of its own; else all are one."""
    if settings.read.together != "each":
        return [(list(inputs), settings)]
    if settings.output.name is not None:
        raise UsageError("--name names one scene; with --each every scene takes its own file's name.")
    stems = [_name_of(path) for path in inputs]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise UsageError(f"--each: two inputs are called {twice!r}; their results would have one name.")
    one = replace(settings, read=replace(settings.read, together=None))
    return [([path], one) for path in inputs]


def _name_of(path: str) -> str:
    from geoseg.manifest.names import stem_of

    return stem_of(path)


def _plan(inputs: tuple[str, ...], settings: RunSettings, *, as_json: bool, polygons: bool = True) -> None:
    from geoseg.stories.dry_run import plan

    _show_all(
        [plan(scene, one, polygons=polygons) for scene, one in _scenes(inputs, settings)], settings, as_json=as_json
    )


def _show_all(reports: Sequence[InfoReport | PlanReport], settings: RunSettings, *, as_json: bool) -> None:
    show(
        lambda: _one_or_each([report.to_json() for report in reports], settings),
        lambda: [line for report in reports for line in report.lines()],
        as_json=as_json,
    )


def _one_or_each(results: list[dict[str, Any]], settings: RunSettings) -> dict[str, Any]:
    """One JSON document, whose form follows the flags and not the number of inputs."""
    return {"scenes": results} if settings.read.together == "each" else results[0]


def _report(
    summary: Summary, where: Path, bar: Bar, changed: list[str], up_to_date: bool, polygons: int | None = None
) -> None:
    from geoseg.console import NO_SEAM, seam_line, summary_table

    for warning in summary.warnings:
        bar.warn(warning)
    click.echo(
        summary_table(
            {name: area / 1e4 for name, area in summary.area_m2.items()},
            outside_ha=summary.outside_m2 / 1e4,
            nodata_ha=summary.nodata_m2 / 1e4,
            masked_ha={reason: area / 1e4 for reason, area in summary.masked_m2.items()},
        )
    )
    for line in changed:
        click.echo(line)
    if summary.seam is not None:
        click.echo(seam_line(summary.seam))
    elif summary.seam_pairs == 0:
        click.echo(NO_SEAM)
    count = "" if polygons is None else f"{polygons} polygons, "
    click.echo(f"{count}{'up to date' if up_to_date else 'written'}: {where}")


main.add_command(batch)
main.add_command(change)
main.add_command(combine)
main.add_command(evaluate)
main.add_command(models)
main.add_command(sample)
main.add_command(stats)
main.add_command(suggest)
main.add_command(train)
main.add_command(vectorize)
main.add_command(verify)

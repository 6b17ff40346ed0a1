"""`geoseg train`: labels become a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.door import show
from geoseg.errors import InputError, UsageError
from geoseg.options import COMMON, OUTPUT, READING, settings_from, with_options

if TYPE_CHECKING:
    from geoseg.stories.train_labels import Labeled

_YAML = {".yaml", ".yml"}


def _show_keys(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from geoseg.training.recipe_keys import recipe_keys

        click.echo(recipe_keys())
        ctx.exit()


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="RECIPE.yaml | SCENE... LABELS")
@click.option("-o", "--out", "output", type=click.Path(path_type=Path), help="Model file to write.")
@click.option("--field", help="Attribute of polygons or points that names the class.")
@click.option("--from", "start", metavar="MODEL", help="Model to start from.  [default: none]")
@click.option("--merge-names", is_flag=True, help="Names that differ only by case or blanks are one class.")
@click.option("--check-only", is_flag=True, help="Tell what the labels are worth, and train nothing.")
@click.option(
    "--keys", is_flag=True, is_eager=True, expose_value=False, callback=_show_keys, help="Show all keys of a recipe."
)
@with_options(READING, OUTPUT, COMMON)
def train(
    sources: tuple[str, ...], output: Path | None, check_only: bool, as_json: bool, quiet: bool, **params: Any
) -> None:
    """Labels → model file.

    \b
    geoseg train RECIPE.yaml -o m.safetensors                  as a recipe says
    geoseg train SCENE LABELS --field class -o m.safetensors   polygons, points, or a raster of codes without --field

    The second form writes the recipe that it made up beside the model, as m.yaml.
    """
    source = _source(sources, params)
    if check_only:
        _check(source, as_json=as_json)
        return
    if output is None:
        raise UsageError("-o is missing: name the model file to write, or pass --check-only.")
    from geoseg.stories.train import train as from_recipe
    from geoseg.stories.train_labels import train_labels
    from geoseg.training.progress import FitProgress, figures_table

    bar = FitProgress(quiet=quiet)
    how: dict[str, Any] = {name: bool(params[f"output__{name}"]) for name in ("overwrite", "restart", "break_lock")}
    try:
        if isinstance(source, Path):
            result = from_recipe(source, output, watcher=bar, **how)
        else:
            result = train_labels(source, output, watcher=bar, **how)
    finally:
        bar.close()
    ended = "up to date" if result.up_to_date else f"written in {result.seconds:.0f} s"
    show(
        lambda: {"model": str(result.path), "seconds": result.seconds, "metrics": result.spec.metrics},
        lambda: ["held out:", *figures_table(result.spec.metrics["held_out"]), f"{ended}: {result.path}"],
        as_json=as_json,
    )


def _check(source: Path | Labeled, *, as_json: bool) -> None:
    from geoseg.stories.train_labels import check_labels

    report = check_labels(source)
    show(report.to_json, report.lines, as_json=as_json)
    if report.errors:
        raise SystemExit(InputError.exit_code)


def _source(sources: tuple[str, ...], params: dict[str, Any]) -> Path | Labeled:
    """A recipe, or a scene with its labels.

    Raises:
        UsageError: it is neither.
    """
    reading = {key: value for key, value in params.items() if key.startswith("read__")}
    own = {"--field": params["field"], "--from": params["start"], "--merge-names": params["merge_names"]}
    if len(sources) == 1:
        if Path(sources[0]).suffix.lower() not in _YAML:
            raise UsageError(f"{sources[0]} is no recipe (.yaml); a scene needs its labels: SCENE LABELS --field NAME.")
        given = [flag for flag, value in own.items() if value]
        given += [f"--{key.removeprefix('read__').replace('_', '-')}" for key, value in reading.items() if value]
        if given:
            raise UsageError(f"{given[0]} goes with SCENE LABELS; a recipe says it itself.")
        return Path(sources[0])
    read = settings_from(reading).read
    *images, labels = sources
    if read.together == "each":
        raise UsageError("--each: a model of several scenes takes a recipe that lists them (data.scenes).")
    if len(images) > 1 and read.together is None:
        raise UsageError(f"{len(images)} images: pass --stack if they are files of one scene, else write a recipe.")
    from geoseg.stories.train_labels import Labeled

    return Labeled(
        tuple(images),
        Path(labels),
        params["field"],
        read,
        start=params["start"],
        merge_names=params["merge_names"],
    )

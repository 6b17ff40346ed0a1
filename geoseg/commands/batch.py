"""`geoseg batch`: many scenes, unattended; and what became of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from geoseg.batch_settings import BatchSettings, parse_shard, parse_share, parse_span
from geoseg.door import Bar, show
from geoseg.options import (
    COMMON,
    CONFIG,
    FORMATS,
    LEGEND,
    MEMORY,
    MODEL,
    OUTPUT,
    READING,
    RUNNING,
    VECTOR,
    ZONES,
    settings_from,
    with_options,
)

if TYPE_CHECKING:
    from geoseg.ledger.scene import BatchScene
    from geoseg.stories.batch import BatchResult
    from geoseg.stories.merge import MergeResult

MOST_ROWS = 100
"""Finished scenes that the table names."""
FOLDER = click.argument("folder", type=click.Path(path_type=Path))
_DEFAULTS = BatchSettings()

UNATTENDED = (
    click.option("--shard", metavar="I/N", help="Only every N-th scene, from the I-th on: 2/8.  [default: all]"),
    click.option(
        "--max-runtime",
        metavar="SPAN",
        help="8h, 90m; then stop at the next tile (75).  [default: none]",
    ),
    click.option(
        "--min-clear", metavar="SHARE", help="Skip scenes of which less is unmasked: 30%.  [default: the manifest's]"
    ),
    click.option(
        "--tries",
        type=int,
        default=_DEFAULTS.tries,
        show_default=True,
        help="How often a scene is begun, after temporary errors or deaths of its process.",
    ),
    click.option(
        "--backoff",
        type=float,
        default=_DEFAULTS.backoff_s,
        show_default=True,
        metavar="S",
        help="Pause after a temporary error; doubles each time.",
    ),
    click.option(
        "--lease",
        type=float,
        default=_DEFAULTS.lease_s,
        show_default=True,
        metavar="S",
        help="A process on another computer that is silent for so long loses its scene.",
    ),
    click.option("--metrics", type=click.Path(path_type=Path), help="For Prometheus.  [default: metrics.prom in -o]"),
    click.option(
        "--merge",
        type=click.Path(path_type=Path),
        help="Also write the polygons of all finished scenes into this one file, once none is left to do.",
    ),
    click.option("--dry-run", is_flag=True, help="List the scenes and what would be done with each; write nothing."),
)


class RunByDefault(click.Group):
    """A group whose first word may be left out."""

    default: ClassVar[str] = "run"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before anything that is no command."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


@click.group(cls=RunByDefault)
def batch() -> None:
    """Many scenes, unattended; resumable, for schedulers.

    \b
    geoseg batch MANIFEST.yaml -o DIR     run what is not done, redo what changed
    geoseg batch 'scenes/*.tif' -o DIR    the same for a glob, a folder, a .csv, a .json of STAC items
    geoseg batch run --help               all flags
    geoseg batch status DIR               what became of each scene
    """


@batch.command("run")
@click.argument("sources", nargs=-1, required=True, metavar="MANIFEST...")
@click.option("-o", "--out", "folder", required=True, type=click.Path(path_type=Path), help="Folder for the results.")
@with_options(UNATTENDED, CONFIG, READING, MODEL, LEGEND, RUNNING, MEMORY, FORMATS, VECTOR, ZONES, OUTPUT, COMMON)
def batch_run(sources: tuple[str, ...], folder: Path, as_json: bool, quiet: bool, **params: Any) -> None:
    """Run every scene of a manifest that is not done yet, or no longer what would be made now.

    MANIFEST is a .yaml (see configs/batch), a .csv, a .json of STAC items, a quoted glob, a folder of scenes, or a
    scene. Flags win over what a manifest says. Several calls, also on several computers, may share DIR.

    \b
    0   all scenes are done or skipped
    3   some have failed: report.html says why; mend them, then geoseg batch retry DIR
    75  stopped before the end: run the same command again
    """
    settings = BatchSettings(
        tries=params["tries"],
        backoff_s=params["backoff"],
        lease_s=params["lease"],
        shard=(1, 1) if params["shard"] is None else parse_shard(params["shard"]),
        max_runtime_s=None if params["max_runtime"] is None else parse_span(params["max_runtime"]),
        metrics=params["metrics"],
    )
    scenes = _scenes(sources, folder, params)
    if params["dry_run"]:
        from geoseg.stories.batch import plan

        todo = plan(scenes, folder, settings)
        show(lambda: todo, lambda: [f"{name}: {what}" for name, what in todo.items()], as_json=as_json)
        return
    from geoseg.stories.batch import batch as story

    bar = Bar(quiet=quiet, label="batch")
    try:
        result = story(scenes, folder, settings, bar)
        merged = None if params["merge"] is None else _merged(folder, params["merge"], bar)
    finally:
        bar.close()
    layer = {} if merged is None else {"merged": asdict(merged)}
    written = [*_merged_line(merged), f"written: {folder / 'report.html'}"]
    show(lambda: result.to_json() | layer, lambda: [*_lines(result), *written], as_json=as_json)
    raise SystemExit(result.exit_code)


@batch.command("status")
@FOLDER
@with_options(COMMON)
def batch_status(folder: Path, as_json: bool, quiet: bool, debug: bool) -> None:  # noqa: ARG001
    """What became of each scene of a batch; exits as the batch would if it ended now."""
    from geoseg.stories.batch import status

    result = status(folder)
    show(result.to_json, lambda: _lines(result), as_json=as_json)
    raise SystemExit(result.exit_code)


@batch.command("retry")
@FOLDER
@click.argument("names", nargs=-1, metavar="[SCENE]...")
@with_options(COMMON)
def batch_retry(folder: Path, names: tuple[str, ...], as_json: bool, quiet: bool, debug: bool) -> None:  # noqa: ARG001
    """Let the next run do failed scenes again, or the named ones whatever became of them."""
    from geoseg.stories.batch import retry

    found = retry(folder, names)
    show(lambda: {"waiting": found}, lambda: [*found, f"{len(found)} scenes wait for the next run"], as_json=as_json)


@batch.command("clean")
@FOLDER
@with_options(COMMON)
def batch_clean(folder: Path, as_json: bool, quiet: bool, debug: bool) -> None:  # noqa: ARG001
    """Remove finished tiles of interrupted scenes; forget scenes that the manifest no longer lists. Results stay."""
    from geoseg.stories.batch_clean import clean

    result = clean(folder)

    def lines() -> list[str]:
        busy = [f"{name} is under way and was left as it is" for name in result.busy]
        gone = [f"forgotten: {name}" for name in result.forgotten]
        return [*busy, *gone, f"{result.freed / 1e6:.1f} MB freed"]

    show(lambda: asdict(result), lines, as_json=as_json)


def _scenes(sources: tuple[str, ...], folder: Path, params: dict[str, Any]) -> tuple[BatchScene, ...]:
    from geoseg.manifest.read import read_scenes
    from geoseg.strict_yaml import load_yaml

    config, share = params["config"], params["min_clear"]
    return read_scenes(
        sources,
        base=None if config is None else load_yaml(config, "settings"),
        finish=lambda settings: settings_from(params, settings),
        min_clear=None if share is None else parse_share(share),
        results=folder,
    )


def _merged(folder: Path, output: Path, bar: Bar) -> MergeResult | None:
    from geoseg.stories.batch import merged

    found = merged(folder, output)
    if found is None:
        bar.warn(f"{output} is not written: scenes are still to be done, or none is finished")
    return found


def _merged_line(found: MergeResult | None) -> list[str]:
    if found is None:
        return []
    how = "up to date" if found.up_to_date else "written"
    return [f"{found.n_polygons} polygons of {found.n_scenes} scenes, {how}: {found.paths[0]}"]


def _lines(result: BatchResult) -> list[str]:
    """Finished scenes as a table, the others with their reasons, a sum."""
    from geoseg.console import aligned

    done = [row for row in result.rows if row.state == "done"]
    other = [row for row in result.rows if row.state != "done"]
    cells = [
        [r.name, f"{r.facts['mpx']:.2f}", f"{r.facts['polygons']:,}", f"{r.facts['seconds']:.1f}"]
        for r in done[:MOST_ROWS]
    ]
    lines = [aligned(["scene", "Mpx", "polygons", "s"], cells)] if cells else []
    if len(done) > MOST_ROWS:
        lines.append(f"… and {len(done) - MOST_ROWS} more")
    lines += [f"{r.state:<8} {r.name}: {r.reason or r.why or 'not begun'}" for r in other]
    counts = result.to_json()["counts"]
    return [*lines, ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no scene"]

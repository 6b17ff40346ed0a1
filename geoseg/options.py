"""Shared command-line options, each once; their names say where in the settings they go (`read__bands`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from geoseg.comma_lists import Numbers, Words
from geoseg.log_options import LOGGING
from geoseg.object_options import OBJECTS
from geoseg.settings import VECTOR_SUFFIXES, RunSettings

F = TypeVar("F", bound=Callable[..., Any])


def _together(name: str, text: str) -> Callable[[F], F]:
    return click.option(f"--{name}", "read__together", flag_value=name, default=None, help=text)


AOI = (
    click.option(
        "--aoi",
        "read__aoi",
        type=click.Path(path_type=Path),
        help="Where results are wanted: pixels that these polygons touch; polygons are cut exactly.",
    ),
)

READING = (
    _together("stack", "Several inputs are files of one scene."),
    _together("dates", "Several inputs are dates of one place, in the model's order: bands red@1, red@2, …"),
    _together("each", "Several inputs are separate scenes."),
    _together("mosaic", "Several inputs are neighbors: on one grid, or brought onto --grid."),
    click.option(
        "--overlap",
        "read__overlap",
        type=click.Choice(["first", "latest", "clearest"]),
        help="Scene of a mosaic whose usable pixel counts: first given, latest, least masked.  [default: first]",
    ),
    click.option("--grid-of", "read__grid_of", type=click.Path(path_type=Path), help="File whose grid a stack takes."),
    click.option("--bands", "read__bands", type=Words(), help="red=3,green=2 · red=B04 · swir16=s2_20m.tif:5"),
    click.option("--scale", "read__scale", type=Numbers(), help="Reflectance = DN·scale + offset; one, or one a band."),
    click.option("--offset", "read__offset", type=Numbers(), help="See --scale."),
    click.option("--nodata", "read__nodata", help="Stored value without data, or 'none' to ignore the file's tag."),
    click.option(
        "--collar",
        "read__collar",
        type=click.Choice(["auto", "0", "255"]),
        help="Value that means 'no image' where all bands hold it.  [default: none]",
    ),
    click.option(
        "--valid",
        "read__valid",
        type=click.Choice(["all", "any"]),
        help="Pixel counts when all (any) bands are valid.  [default: all]",
    ),
    click.option("--assume-crs", "read__assume_crs", help="CRS of files that carry none, as EPSG:32618."),
    *AOI,
    click.option("--sensor", "read__sensor", help="Preset: a name, a YAML file, auto or none.  [default: auto]"),
    click.option(
        "--mask",
        "read__mask",
        multiple=True,
        default=None,
        callback=lambda _ctx, _param, value: value or None,
        help="auto[:REASONS] · none · FILE[:RULE][:REASONS], REASONS as cloud,shadow,cirrus,snow; "
        "may be repeated.  [default: auto]",
    ),
    click.option("--mask-buffer", "read__mask_buffer", type=float, help="Metres around masked pixels.  [default: 0]"),
    click.option("--grid", "read__grid", help="Grid to work on: a raster FILE that has it, or CRS,RES."),
    click.option("--datetime", "read__datetime", help="When the image was taken: 2018-08-15T15:43:00Z."),
)

NETWORK = (
    click.option(
        "-m", "--model", "predict__model", help="Bundled or pulled model, or a model file.  [default: landcover]"
    ),
    click.option("--device", "predict__device", help="auto, cpu, cuda, cuda:N or mps.  [default: auto]"),
    click.option(
        "--precision",
        "predict__precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        help="Arithmetic of the network.  [default: auto]",
    ),
    click.option(
        "--backend",
        "predict__backend",
        type=click.Choice(["auto", "torch", "openvino"]),
        help="Library that computes the network; openvino: CPU only, an extra.  [default: torch]",
    ),
    click.option("--chip", "predict__chip", type=int, help="Side of a chip in pixels.  [default: the model's]"),
)

MODEL = (
    *NETWORK,
    click.option("--margin", "predict__margin", type=int, help="Pixels trimmed off a chip.  [default: the model's]"),
    click.option("--batch-size", "predict__batch_size", type=int, help="Chips a forward pass.  [default: by device]"),
    click.option(
        "--blend",
        "predict__blend",
        type=click.Choice(["trim", "taper"]),
        help="Where chips overlap: trim them, or taper from one to the next (recomputes chips around each tile: "
        "--dry-run tells the halo factor).  [default: trim]",
    ),
    click.option(
        "--tta",
        "predict__tta",
        type=click.Choice(["none", "flip", "d4"]),
        help="Mean score over mirror images of each chip (4 × the time), d4: and quarter turns (8 ×).  [default: none]",
    ),
    click.option(
        "--confidence", "predict__confidence", is_flag=True, default=None, help="Also write the winning score."
    ),
    click.option(
        "--ambiguity", "predict__ambiguity", is_flag=True, default=None, help="Also write 1 − (best − second score)."
    ),
    click.option(
        "--probabilities", "predict__probabilities", is_flag=True, default=None, help="Also write all classes' scores."
    ),
    click.option(
        "--seam", "predict__seam", metavar="SHARE", help="Forwards that compare chips at seams.  [default: 2%]"
    ),
)

RUNNING = (
    click.option(
        "--tile",
        "schedule__tile",
        type=int,
        help="Side of a tile in pixels; never changes the result.  [default: up to 2048]",
    ),
    click.option(
        "--workers", "schedule__workers", type=int, help="Worker processes on this machine.  [default: threads of one]"
    ),
    click.option("--scheduler", "schedule__scheduler", help="Address of a running Dask scheduler."),
    click.option(
        "--cluster",
        "schedule__cluster",
        type=click.Choice(["slurm", "pbs", "lsf", "sge", "local"]),
        help="Submit --workers jobs to a batch system; its options are in the YAML (configs/cluster).",
    ),
    click.option(
        "--patience",
        "schedule__patience",
        type=float,
        metavar="S",
        help="Longest time without any worker of a cluster.  [default: 300]",
    ),
)

VECTOR = (
    click.option(
        "--skip-classes", "vector__skip_classes", type=Words(), help="Classes (name or code) without polygons."
    ),
    click.option("--mmu", "vector__mmu", help="Smaller areas go to a neighbor: 0.5ha · 5000m2 · 9px.  [default: none]"),
    click.option("--mmu-class", "vector__mmu_class", help="Other units for some classes: water=0.1ha,7=9px"),
    click.option("--keep-class", "vector__keep_class", type=Words(), help="Classes that never go to a neighbor."),
    click.option(
        "--mmu-connect",
        "vector__mmu_connect",
        type=click.Choice(["4", "8"]),
        callback=lambda _ctx, _param, value: value and int(value),
        help="8: pieces that meet at corners are measured together.  [default: 4]",
    ),
    click.option(
        "--simplify",
        "vector__simplify",
        type=float,
        metavar="M",
        help="Drop corners of less than M² ground meters (lon/lat: as in the middle row); neighbors stay matched.",
    ),
    click.option(
        "--simplify-outer",
        "vector__simplify_outer",
        is_flag=True,
        default=None,
        help="Shape lines along nodata, too.",
    ),
    click.option("--smooth", "vector__smooth", is_flag=True, default=None, help="Cut the corners of the staircase."),
    click.option(
        "--max-vertices", "vector__max_vertices", type=int, help="Cut larger polygons into parts of one poly_id."
    ),
    *OBJECTS,
    click.option("--dissolve", "vector__dissolve", is_flag=True, default=None, help="One multipolygon for each class."),
    click.option("--out-crs", "vector__out_crs", help="CRS of polygons; GeoJSON: lon/lat.  [default: the raster's]"),
)

MEMORY = (
    click.option("--max-memory", "schedule__max_memory", help="4GB, 500MB: stay below.  [default: what is available]"),
)

LEGEND = (
    click.option(
        "--legend",
        "vector__legend",
        help="Class → your code, name, color; may merge: FILE (YAML, CSV, QML, .clr, raster) or a shipped name.",
    ),
)

ZONES = (
    click.option("--zones", "vector__zones", type=click.Path(path_type=Path), help="Also write a table by zone."),
    click.option("--field", "vector__zone_field", help="Field of --zones that names them."),
)

FORMATS = (
    click.option(
        "--format",
        "vector__formats",
        type=Words(),
        help=f"{','.join(s.removeprefix('.') for s in VECTOR_SUFFIXES)}  [default: gpkg]",
    ),
)

OUTPUT = (
    click.option("--overwrite", "output__overwrite", is_flag=True, default=None, help="Replace what is there."),
    click.option("--restart", "output__restart", is_flag=True, default=None, help="Discard an interrupted run's work."),
    click.option("--break-lock", "output__break_lock", is_flag=True, default=None, help="Ignore another run's lock."),
)

UPDATE = (
    click.option(
        "--update",
        "output__update",
        is_flag=True,
        default=None,
        help="Inputs changed: predict only what they changed in the finished output.",
    ),
)

NAME = (
    click.option("--name", "output__name", help="Stem of the output names.  [default: the product's or first file's]"),
)

COMMON = (
    click.option("--json", "as_json", is_flag=True, help="Result as JSON on standard output."),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
    *LOGGING,
    click.option("--debug", is_flag=True, help="Show a traceback with errors."),
)

SCORES = (
    click.option(
        "--scores",
        "vector__scores",
        type=click.Path(path_type=Path),
        help="Confidence raster.  [default: the sibling NAME.confidence.tif]",
    ),
)

DRY_RUN = (click.option("--dry-run", is_flag=True, help="Print the plan, its time, memory and disk; write nothing."),)

CONFIG = (
    click.option("--config", type=click.Path(path_type=Path), help="Settings in YAML; flags given here win over them."),
)


def with_options(*groups: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    """Decorate a command with groups of options, shown in this order."""

    def decorate(command: F) -> F:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorate


def settings_from(params: Mapping[str, Any], base: RunSettings | None = None) -> RunSettings:
    """Options that were given → settings, over those of a file.

    Raises:
        UsageError: a value is out of range or two contradict each other.
    """
    settings = base or RunSettings()
    given: dict[str, dict[str, Any]] = {}
    for key, value in params.items():
        section, separator, name = key.partition("__")
        if separator and value is not None:
            given.setdefault(section, {})[name] = value
    for section, changes in given.items():
        settings = replace(settings, **{section: replace(getattr(settings, section), **changes)})
    return settings

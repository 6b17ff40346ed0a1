"""Class rasters × zones → table: hectares and percent of every class in every zone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg import __version__
from geoseg.classes import ClassScheme
from geoseg.errors import OutputExistsError, UsageError
from geoseg.io.class_raster import ClassRaster, open_class_raster
from geoseg.io.legend_file import read_legend_file
from geoseg.io.publish import Publication
from geoseg.io.recode import Recoding
from geoseg.io.sample import fingerprint
from geoseg.io.table import table_suffix, write_zone_table
from geoseg.io.zone_sums import Layer, Mosaic
from geoseg.io.zones import read_zones, zone_files
from geoseg.legend import Legend
from geoseg.settings import OutputSettings, VectorSettings
from geoseg.zones.table import Zones, ZoneTable, joined

KEY_VERSION = 1
_SUMMARY = "geoseg:summary"


@dataclass(frozen=True)
class StatsResult:
    """What `stats` made (or found already made)."""

    table: Path
    n_zones: int
    area_m2: dict[str, float]
    """Ground square meters in all zones by class name; ground in two zones counts twice."""
    nodata_m2: float
    """The same on the rasters without a class."""
    outside_m2: float
    """The same outside all rasters."""
    up_to_date: bool = False
    """True when the table of the same inputs was there already."""


def stats(
    rasters: Path | str | Sequence[Path | str],
    zones: Path,
    field: str,
    output: Path,
    *,
    layer: str | None = None,
    legend: str | None = None,
    out: OutputSettings | None = None,
) -> StatsResult:
    """Measure every class in every zone.

    Writes `output` and, last, the commit record `<output name>.json`. What the columns are: `ZoneTable.columns`.

    Args:
        rasters: class rasters, of any grids and CRSs; where several have a class, the first one counts.
        zones: polygons, in any CRS.
        field: attribute that names the zones; features of one name are one zone.
        output: file to write; .csv, .xlsx or .gpkg.
        layer: layer of the zones' file; None: the only one.
        legend: legend put onto every raster first, a file or a shipped name: it renames and merges classes.
        out: whether to overwrite.

    Raises:
        UsageError: the suffix, the layer or the field is unknown, or no raster is given.
        ConfigError: the legend cannot be read, or leaves a class of a raster out.
        InputMissingError: a file does not exist.
        InputError: a raster is no class raster, classes contradict each other, or the zones are unusable.
        OutputExistsError: the output is there with other settings, is an input, or is locked.
        OutputError: writing failed.
    """
    paths = [Path(rasters)] if isinstance(rasters, (str, Path)) else [Path(raster) for raster in rasters]
    zones, output, out = Path(zones), Path(output), out or OutputSettings()
    suffix = table_suffix(output)
    _check_apart(output, [*paths, *zone_files(zones)])
    rename = None if legend is None else read_legend_file(legend)
    areas = read_zones(zones, field, layer)
    key = {"format": suffix, **_key(paths, zones, field, layer), "legend": None if rename is None else rename.meaning}
    record = f"{output.name}.json"
    with Publication(
        output.parent, record, key, overwrite=out.overwrite, break_lock=out.break_lock, names=[output.name]
    ) as publication:
        if publication.up_to_date:
            summary = json.loads((output.parent / record).read_text(encoding="utf-8"))[_SUMMARY]
            return StatsResult(table=output, **summary, up_to_date=True)
        table = zone_table(paths, areas, rename)
        write_zone_table(table, publication.stage(output.name))
        summary = summarize(table)
        publication.commit(lambda _: {_SUMMARY: summary})
    return StatsResult(table=output, **summary)


def asked_zones(settings: VectorSettings) -> Zones | None:
    """The zones of `run --zones`, read before any work; None when none are asked for.

    Raises:
        UsageError: zones without their field, or the field without zones.
        InputMissingError, InputError: see `geoseg.io.zones.read_zones`.
    """
    if (settings.zones is None) != (settings.zone_field is None):
        raise UsageError("--zones FILE and --field NAME go together: give both.")
    if settings.zones is None or settings.zone_field is None:
        return None
    return read_zones(settings.zones, settings.zone_field)


def zone_table(rasters: Sequence[Path], zones: Zones, legend: Legend | None = None) -> ZoneTable:
    """The table of class rasters and zones.

    Classes of equal code and name are one class. Memory: windows of the rasters, the zones, and their outlines on one
    raster at a time.

    Args:
        rasters: class rasters, of any grids and CRSs; where several have a class, the first one counts.
        zones: named areas.
        legend: put onto every raster first.

    Raises:
        UsageError: no raster.
        ConfigError: the legend leaves a class of a raster out.
        InputMissingError: a raster does not exist.
        InputError: a file is no class raster, classes contradict each other, or a zone cannot be drawn on a raster.
    """
    if not rasters:
        raise UsageError("stats needs at least one class raster.")
    opened = [open_class_raster(path, legend=legend) for path in rasters]
    scheme = joined((str(raster.path), raster.scheme) for raster in opened)
    mosaic = Mosaic(tuple(_layer(raster, scheme) for raster in opened), zones)
    return ZoneTable(zones, scheme, *mosaic.sums())


def summarize(table: ZoneTable) -> dict[str, Any]:
    """Sums over all zones as plain JSON; the fields of `StatsResult` but the path."""
    return {
        "n_zones": len(table.zones),
        "area_m2": table.totals_m2,
        "nodata_m2": float(table.nodata_m2.sum()),
        "outside_m2": float(table.outside_m2.sum()),
    }


def table_key(zones: Path, field: str, layer: str | None = None) -> dict[str, Any]:
    """What a table depends on besides the rasters.

    Raises:
        InputMissingError: there is no such file.
    """
    files = [fingerprint(str(file)) for file in zone_files(zones)]
    return {"version": KEY_VERSION, "zones": files, "field": field, "layer": layer}


def _key(rasters: Sequence[Path], zones: Path, field: str, layer: str | None) -> dict[str, Any]:
    """Everything that the output depends on, except its format."""
    inputs = [fingerprint(str(raster)) for raster in rasters]
    return {"geoseg": __version__, "input": inputs, **table_key(zones, field, layer)}


def _layer(raster: ClassRaster, scheme: ClassScheme) -> Layer:
    places = {code: index for index, code in enumerate(scheme.codes)}
    index_of = {code: places[code] for code in raster.scheme.codes}
    return Layer(raster, Recoding(index_of, len(scheme), np.int64), len(scheme))


def _check_apart(output: Path, inputs: Sequence[Path]) -> None:
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise OutputExistsError(f"output {output} is an input, too; choose another -o.")

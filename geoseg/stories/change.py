"""Two class rasters of one place → what became what: transition matrix in hectares, and polygons from → to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoseg import __version__
from geoseg.classes import ClassScheme
from geoseg.errors import UsageError
from geoseg.ground import AreaModelName, area_model
from geoseg.io.burn import area_on
from geoseg.io.class_dates import taken
from geoseg.io.class_raster import ClassRaster, scene_name
from geoseg.io.dissolve import store
from geoseg.io.legend_file import read_legend_file
from geoseg.io.pair_raster import Dates, write_pairs
from geoseg.io.publish import Publication
from geoseg.io.sample import fingerprint
from geoseg.io.transition_files import TransitionPolygons, write_transitions
from geoseg.io.vector import about_of, check_path, sidecars, vector_suffix, write_polygons
from geoseg.polygons.clip_area import Area
from geoseg.polygons.mmu_size import size_scale
from geoseg.polygons.table import Polygons
from geoseg.settings import OutputSettings, VectorSettings
from geoseg.stories.holes import giving_back
from geoseg.stories.regions import find_regions, polygons_of
from geoseg.stories.same_grid import check_apart, open_dates, scores_of
from geoseg.stories.vector_key import vector_key
from geoseg.stories.vectorize import area_in_crs
from geoseg.things import NO_THINGS
from geoseg.transitions import PairCodes, TransitionTable

KEY_VERSION = 1
LAYER = "change"
_SUMMARY = "geoseg:summary"


@dataclass(frozen=True)
class ChangeResult:
    """What `change` made (or found already made)."""

    paths: tuple[Path, ...]
    """The polygons, their sidecars."""
    table: Path
    """The transition matrix as CSV, a line for each cell that is not empty."""
    transitions: TransitionTable
    """Of the rasters' pixels, before any minimum mapping unit."""
    n_polygons: int
    polygons_m2: float
    """Ground square meters of the polygons that show a change, as written."""
    area_model: AreaModelName
    scored: bool
    """Whether both confidence rasters were beside the class rasters."""
    up_to_date: bool = False
    """True when the output of the same inputs and settings was there already."""


def change(
    before: Path | str,
    after: Path | str,
    output: Path | str,
    settings: VectorSettings | None = None,
    out: OutputSettings | None = None,
    aoi: Path | None = None,
    *,
    unchanged: bool = False,
    max_memory: str | None = None,
) -> ChangeResult:
    """Compare two class rasters of one grid and legend.

    Writes `output` and its sidecars, `<stem>.csv` with the transition matrix and, last, the commit record
    `<output name>.json`. Polygons outline the regions of equal pairs of classes; besides what polygons always carry
    they have `from_id`, `from_name`, `to_id`, `to_name`; `class_id` is both codes in decimal digits, `score` the mean
    of the smaller one of both winning scores where both confidence rasters stand beside the class rasters, `img_date`
    the second date. Pixels without a class at one of the dates belong to no polygon; in the matrix they are a row and
    a column of their own.

    A minimum mapping unit takes small changes back: they go to the neighbor with the longest border, which may be what
    did not change; what did not change is never given away, so that no unit makes a change.

    Args:
        before: class raster of the first date.
        after: class raster of the second date, on the same grid, of the same legend.
        output: file to write; .gpkg, .shp, .fgb, .geojson or .parquet.
        settings: legend put onto both first, mmu, mmu_connect, how lines are shaped, dissolve, out_crs.
        out: whether to overwrite.
        aoi: polygons of any file and CRS: the matrix counts the pixels that these touch, polygons end at their
            boundary.
        unchanged: make polygons of what did not change, too; those of changes are the same ones.
        max_memory: what the process may come to, as `4GB`; None: most of what the machine has left.

    Raises:
        UsageError: the suffix or a size is unknown, or a setting is about single classes.
        ConfigError: the legend cannot be read, or leaves a class out.
        InputMissingError: a file does not exist.
        InputError: a file is no class raster, grids or legends differ, no pixel is observed at both dates, or the AOI
            cannot be read or lies outside.
        MemoryLimitError: components or open polygons need more memory than they may take.
        OutputExistsError: the output is there with other settings, is an input, or locked.
        OutputError: writing failed.
    """
    before, after, output = Path(before), Path(after), Path(output)
    settings, out = _own(settings or VectorSettings()), out or OutputSettings()
    paths, table_path = (output, *sidecars(output)), output.with_suffix(".csv")
    check_path(output)
    rasters, scheme = open_dates([before, after], settings.legend)
    check_apart([*paths, table_path], [before, after])
    aoi_wkb = None if aoi is None else area_in_crs(Path(aoi), rasters[0], [*paths, table_path])
    dates, codes = Dates(rasters[0], rasters[1], _pair(scores_of(rasters))), PairCodes(scheme)
    key = _key(dates, scheme, vector_suffix(output), settings, aoi_wkb, unchanged=unchanged)
    record, names = f"{output.name}.json", [path.name for path in (*paths, table_path)]
    with Publication(
        output.parent, record, key, overwrite=out.overwrite, break_lock=out.break_lock, names=names
    ) as publication:
        if publication.up_to_date:
            return _recorded_result(paths, table_path, output.parent / record)
        area = None if aoi_wkb is None else area_on(aoi_wkb, dates.grid)
        work = _Work(dates, codes, settings, publication.work, area, max_memory)
        polygons, table, about = _compared(work, unchanged=unchanged)
        write_transitions(table, publication.stage(table_path.name))
        write_polygons(polygons, publication.stage(output.name), layer=LAYER, about=about)
        summary = _summary(polygons, table, dates, codes)
        publication.commit(lambda _: {_SUMMARY: summary})
    return _result(paths, table_path, summary)


@dataclass(frozen=True)
class _Work:
    """What the stages share."""

    dates: Dates
    codes: PairCodes
    settings: VectorSettings
    scratch: Path
    area: Area | None
    max_memory: str | None


def _own(settings: VectorSettings) -> VectorSettings:
    """The settings that a comparison knows; pairs of classes are no things.

    Raises:
        UsageError: others are given.
    """
    given: dict[str, Any] = {"--skip-classes": settings.skip_classes, "--mmu-class": settings.mmu_class}
    given |= {"--keep-class": settings.keep_class, "--things": settings.things, "--scores": settings.scores}
    for flag, value in given.items():
        if value:
            raise UsageError(f"{flag} {value} is about single classes or one map: change takes it not; leave it out.")
    return replace(settings, things=(NO_THINGS,))


def _pair(found: list[Path] | None) -> tuple[Path, Path] | None:
    return None if found is None else (found[0], found[1])


def _compared(work: _Work, *, unchanged: bool) -> tuple[TransitionPolygons, TransitionTable, dict[str, str]]:
    """The raster of pairs, then its regions and their polygons; and what their users should know of their origin."""
    dates, settings, scratch = work.dates, work.settings, work.scratch
    scale = size_scale(dates.grid, area_model(dates.grid), ())
    if scale.step_m2 is None:
        raise AssertionError("areas are always counted in steps of some size")
    scores = None if dates.scores is None else scratch / "pairs.scores.tif"
    raster, sums = write_pairs(dates, work.codes, scale, scratch / "pairs.tif", work.area, scores_place=scores)
    table = TransitionTable.of(sums, work.codes.scheme, scale.step_m2, scored=dates.scores is not None)
    stays = {code for code in raster.scheme.codes if len(set(work.codes.pair(code))) == 1}
    if settings.mmu is not None:
        settings = replace(settings, keep_class=tuple(map(str, sorted(stays))))
    regions = find_regions(raster, scores, settings, work.area, work.max_memory)
    second = taken(dates.after)
    facts = replace(regions.facts, scene_id=_scene(dates), img_date=None if second is None else second.day)
    wanted = np.array([code for code in raster.scheme.codes if unchanged or code not in stays], np.int64)

    def tables() -> Iterator[Polygons]:
        made = polygons_of(replace(regions, facts=facts), settings, scratch, work.max_memory)
        # All are traced, so that lines between what changed and what did not are shaped like any other.
        return (found.select(np.isin(found.class_id, wanted)) for found in giving_back(made))

    stored = store(tables(), scratch, dissolve=settings.dissolve)
    return TransitionPolygons.of(stored, work.codes), table, about_of(raster.tags)


def _scene(dates: Dates) -> str:
    return f"{scene_name(dates.before.path)} → {scene_name(dates.after.path)}"


def _key(
    dates: Dates,
    scheme: ClassScheme,
    suffix: str,
    settings: VectorSettings,
    aoi_wkb: bytes | None,
    *,
    unchanged: bool,
) -> dict[str, Any]:
    """Everything that the output depends on."""
    rename = None if settings.legend is None else read_legend_file(settings.legend)
    return {
        "change": KEY_VERSION,
        "geoseg": __version__,
        "input": [_input_key(raster) for raster in (dates.before, dates.after)],
        "scores": None if dates.scores is None else [fingerprint(str(path)) for path in dates.scores],
        "format": suffix,
        "legend": None if rename is None else rename.meaning,
        "unchanged": unchanged,
        **vector_key(settings, scheme, dates.grid, aoi_wkb),
    }


def _input_key(raster: ClassRaster) -> dict[str, Any]:
    when = taken(raster)
    return fingerprint(str(raster.path)) | {"taken": None if when is None else when.text}


def _summary(polygons: TransitionPolygons, table: TransitionTable, dates: Dates, codes: PairCodes) -> dict[str, Any]:
    """The result's fields but for paths, as plain JSON."""
    areas = zip(polygons.scheme.codes, polygons.totals.area_m2.tolist(), strict=True)
    return {
        "transitions": [asdict(row) for row in table.rows],
        "n_polygons": len(polygons),
        "polygons_m2": sum(m2 for code, m2 in areas if len(set(codes.pair(code))) == 2),
        "area_model": polygons.area_model,
        "scored": dates.scores is not None,
    }


def _result(paths: tuple[Path, ...], table: Path, summary: dict[str, Any], *, up_to_date: bool = False) -> ChangeResult:
    found = summary | {"transitions": TransitionTable.from_json(summary["transitions"])}
    return ChangeResult(paths, table, **found, up_to_date=up_to_date)


def _recorded_result(paths: tuple[Path, ...], table: Path, record: Path) -> ChangeResult:
    summary = json.loads(record.read_text(encoding="utf-8"))[_SUMMARY]
    return _result(paths, table, summary, up_to_date=True)

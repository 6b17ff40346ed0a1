"""Class rasters of several dates → one map, and how many dates each pixel was observed at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.classes import ClassScheme
from geoseg.errors import InputError, InputMissingError, UsageError
from geoseg.ground import area_model
from geoseg.io.class_dates import joined_tags, span, taken
from geoseg.io.class_raster import ClassRaster, scene_name
from geoseg.io.cog import class_cog_files, write_class_cog, write_instance_cog, write_score_cog
from geoseg.io.combined import Votes, write_votes
from geoseg.io.legend_file import read_legend_file
from geoseg.io.publish import Publication
from geoseg.io.sample import fingerprint
from geoseg.io.spool import RasterSpool, row_bands
from geoseg.moment import Moment, asked_moment
from geoseg.polygons.mmu_size import size_scale
from geoseg.run_sums import run_sums
from geoseg.settings import OutputSettings
from geoseg.stories.same_grid import check_apart, confidence_beside, open_dates, scores_of
from geoseg.voting import RULES, Rule

KEY_VERSION = 1
_SUMMARY = "geoseg:summary"


@dataclass(frozen=True)
class CombineResult:
    """What `combine` made (or found already made)."""

    classes: Path
    counts: Path
    """How many of the dates have a class, 0: none."""
    confidence: Path | None
    """Score of the class; None where a date lacks its confidence raster."""
    area_m2: dict[str, float]
    """Ground square meters by class name."""
    nodata_m2: float
    """The same of pixels that no date observed."""
    observed_m2: dict[int, float]
    """The same by number of dates that have a class, 1 …"""
    up_to_date: bool = False
    """True when the output of the same inputs and settings was there already."""


@dataclass(frozen=True)
class _Names:
    """Files of one result."""

    classes: Path
    scored: bool

    @property
    def counts(self) -> Path:
        return self.classes.with_name(f"{scene_name(self.classes)}.count.tif")

    @property
    def confidence(self) -> Path | None:
        return confidence_beside(self.classes) if self.scored else None

    @property
    def all(self) -> list[Path]:
        scores = [] if self.confidence is None else [self.confidence]
        return [*class_cog_files(self.classes), self.counts, *scores]


def combine(
    rasters: Sequence[Path | str],
    output: Path | str,
    by: Rule,
    *,
    datetimes: Sequence[str] | None = None,
    legend: str | None = None,
    out: OutputSettings | None = None,
) -> CombineResult:
    """Make one map of class rasters of one grid and legend.

    Writes `output` (a COG), its `.aux.xml` and `.qml`, `NAME.count.tif`, where every raster has its confidence raster
    beside it `NAME.confidence.tif`, and last the commit record `<output name>.json`; NAME is the output's stem without
    `.classes`. What the rules are, and how ties are decided: `geoseg.voting`.

    Args:
        rasters: at least two class rasters; their order decides ties, and everything for `priority`.
        output: class raster to write, `.tif`.
        by: mode, score, latest or priority.
        datetimes: when each image was taken, ISO 8601, in the order of the rasters; None: by their tags or the STAC
            items beside them.
        legend: legend put onto each first, a file or a shipped name.
        out: whether to overwrite.

    Raises:
        UsageError: fewer than two rasters, an unknown rule, no `.tif`, or datetimes that are none or too few.
        ConfigError: the legend cannot be read, or leaves a class out.
        InputMissingError: a file does not exist, or `score` misses a confidence raster.
        InputError: a file is no class raster, grids or legends differ, or `latest` misses a time.
        OutputExistsError: the output is there with other settings, is an input, or locked.
        OutputError: writing failed.
    """
    paths, output, out = [Path(raster) for raster in rasters], Path(output), out or OutputSettings()
    _check_asked(paths, output, by)
    opened, scheme = open_dates(paths, legend)
    moments = _moments(opened, datetimes)
    votes = _votes(opened, scheme, by, moments)
    names = _Names(output, votes.scores is not None)
    check_apart(names.all, [*paths, *(votes.scores or ())])
    key = _key(votes, moments, legend)
    record = f"{output.name}.json"
    with Publication(
        output.parent,
        record,
        key,
        overwrite=out.overwrite,
        break_lock=out.break_lock,
        names=[path.name for path in names.all],
    ) as publication:
        if publication.up_to_date:
            summary = json.loads((output.parent / record).read_text(encoding="utf-8"))[_SUMMARY]
            return _result(names, summary, up_to_date=True)
        summary = _written(votes, names, publication, joined_tags(opened, span(moments)))
        publication.commit(lambda _: {_SUMMARY: summary})
    return _result(names, summary)


def _check_asked(paths: Sequence[Path], output: Path, by: str) -> None:
    if len(paths) < 2:
        raise UsageError(f"combine needs at least two class rasters, {len(paths)} given.")
    if by not in RULES:
        raise UsageError(f"--by {by!r} is not one of {', '.join(RULES)}.")
    if output.suffix.lower() not in {".tif", ".tiff"}:
        raise UsageError(f"-o {output}: a class raster is a GeoTIFF; let the name end in .tif.")


def _moments(rasters: Sequence[ClassRaster], given: Sequence[str] | None) -> list[Moment | None]:
    if given is None:
        return [taken(raster) for raster in rasters]
    if len(given) != len(rasters):
        raise UsageError(f"--datetimes names {len(given)} times for {len(rasters)} rasters; give one for each.")
    return [asked_moment(text) for text in given]


def _votes(rasters: Sequence[ClassRaster], scheme: ClassScheme, by: Rule, moments: Sequence[Moment | None]) -> Votes:
    """What is to be combined.

    Raises:
        InputMissingError: `score` misses a confidence raster.
        InputError: `latest` misses a time.
    """
    scores = scores_of(rasters)
    if by == "score" and scores is None:
        lacking = next(raster.path for raster in rasters if not confidence_beside(raster.path).is_file())
        raise InputMissingError(
            f"--by score needs {confidence_beside(lacking)} beside {lacking}: run that scene again with --confidence, "
            "or take another --by."
        )
    rank = None
    if by == "latest":
        unknown = next((raster.path for raster, when in zip(rasters, moments, strict=True) if when is None), None)
        if unknown is not None:
            raise InputError(
                f"--by latest: neither {unknown} nor an item beside it says when it was taken; give --datetimes, one "
                "for each raster in their order, or --by priority with the latest first."
            )
        times = [(when.last, when.first) for when in moments if when is not None]
        rank = tuple(sorted(set(times)).index(time) for time in times)
    return Votes(tuple(rasters), scheme, by, None if scores is None else tuple(scores), rank)


def _key(votes: Votes, moments: Sequence[Moment | None], legend: str | None) -> dict[str, Any]:
    """Everything that the output depends on."""
    rename = None if legend is None else read_legend_file(legend)
    return {
        "combine": KEY_VERSION,
        "geoseg": __version__,
        "input": [fingerprint(str(raster.path)) for raster in votes.rasters],
        "scores": None if votes.scores is None else [fingerprint(str(path)) for path in votes.scores],
        "by": votes.rule,
        "taken": [None if when is None else when.text for when in moments],
        "legend": None if rename is None else rename.meaning,
    }


def _written(votes: Votes, names: _Names, publication: Publication, tags: dict[str, str]) -> dict[str, Any]:
    """All rasters, staged; the summary as plain JSON."""
    grid, scheme = votes.grid, votes.scheme
    place = publication.stage(names.classes.name)
    with ExitStack() as stack:
        codes = stack.enter_context(RasterSpool(place.with_suffix(".spool"), grid, scheme.dtype, scheme.nodata))
        counts = stack.enter_context(RasterSpool(place.with_suffix(".counts"), grid, votes.count_dtype, 0))
        scores = None
        if names.confidence is not None:
            scores = stack.enter_context(RasterSpool(place.with_suffix(".scores"), grid, "uint8", 0))
        write_votes(votes, codes, counts, scores)
        write_class_cog(codes, place, scheme=scheme, tags=tags)
        write_instance_cog(counts, publication.stage(names.counts.name), tags=tags, name="observations")
        if scores is not None and names.confidence is not None:
            write_score_cog(scores, publication.stage(names.confidence.name), bands=["confidence"], tags=tags)
        by_code, by_count = _areas(codes), _areas(counts)
    return {
        "area_m2": {c.name: by_code.get(c.code, 0.0) for c in scheme.classes},
        "nodata_m2": by_code.get(scheme.nodata, 0.0),
        "observed_m2": {str(n): m2 for n, m2 in sorted(by_count.items()) if n},
    }


def _areas(spool: RasterSpool) -> dict[int, float]:
    """Ground square meters by value; sums of whole steps, so that they depend on no order."""
    scale, steps = size_scale(spool.grid, area_model(spool.grid), ()), dict[int, int]()
    for window in row_bands(spool.grid):
        by_row = None if scale.by_row is None else scale.by_row[window.row_off : window.row_end]
        for value, (_, size) in run_sums(spool.read(window), by_row):
            steps[value] = steps.get(value, 0) + size
    return {value: float(size * (scale.step_m2 or 0)) for value, size in steps.items()}


def _result(names: _Names, summary: dict[str, Any], *, up_to_date: bool = False) -> CombineResult:
    observed = {int(n): m2 for n, m2 in summary["observed_m2"].items()}
    return CombineResult(
        names.classes,
        names.counts,
        names.confidence,
        summary["area_m2"],
        summary["nodata_m2"],
        observed,
        up_to_date=up_to_date,
    )

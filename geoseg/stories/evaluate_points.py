"""A map against interpreted points: accuracy and area by the design that the points were drawn by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from geoseg.accuracy.design import SampleDesign, class_index
from geoseg.accuracy.estimators import StratifiedSample, estimate
from geoseg.classes import ClassScheme
from geoseg.errors import InputError, InputMissingError, UsageError
from geoseg.io.class_raster import ClassRaster, open_class_raster
from geoseg.io.legend_file import read_legend_file
from geoseg.io.points import FIELD, Answers, read_answers
from geoseg.io.sample import fingerprint
from geoseg.io.strata import codes_at
from geoseg.stories.points_report import PointsReport, StratumUse
from geoseg.stories.sample import CEO_SUFFIX, DESIGN_SUFFIX

Ints = NDArray[np.int64]
Unsure = Literal["drop", "keep"]

NO_DESIGN = "no design: figures describe these points only"
_UNUSED = -1


def evaluate_points(
    prediction: Path | str,
    points: Path | str,
    *,
    field: str = FIELD,
    companion: Path | None = None,
    confidence: float = 0.95,
    unsure: Unsure = "drop",
    legend: str | None = None,
) -> PointsReport:
    """Compare a map with points that people have interpreted.

    With the design of `geoseg sample`, accuracy and area are those of the whole map, with standard errors (see
    `geoseg.accuracy.estimators`); the map may be another one on the same grid. Without, plain counts. Points without
    an answer, and unsure ones, are left out; what remains stands for its whole stratum.

    Args:
        prediction: class raster, anyone's.
        points: interpreted points, as `geoseg.io.points.read_answers` takes them.
        field: their column with the class, a name or code of the map's.
        companion: the design; None: `NAME.design.json` beside the points `NAME.gpkg` or `NAME.ceo.csv`, if any.
        confidence: of the intervals, between 0 and 1.
        unsure: `keep`: answers that somebody is unsure of count like others.
        legend: legend put onto the map first.

    Raises:
        UsageError: an option is out of range, or the field is missing.
        ConfigError: the legend cannot be read, or leaves a class out.
        InputMissingError: a file does not exist.
        InputError: a file cannot be used, an answer is no class of the map, the points are not those of the design, or
            a stratum has no usable point.
    """
    prediction, points = Path(prediction), Path(points)
    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence} is not between 0 and 1, such as 0.95.")
    if unsure not in get_args(Unsure):
        raise UsageError(f"--unsure {unsure!r} is not one of {', '.join(get_args(Unsure))}.")
    raster = open_class_raster(prediction, legend=None if legend is None else read_legend_file(legend))
    answers = read_answers(points, field)
    given = _Given(
        _reference(answers, raster.scheme, points, field), np.array(answers.sure) | (unsure == "keep"), answers
    )
    report = PointsReport(str(prediction), str(points), raster.scheme.names, confidence)
    place = find_companion(points, companion)
    if place is None:
        return _counted(report, raster, given, points)
    return _estimated(report, raster, given, _design(place, raster))


def find_companion(points: Path, companion: Path | None) -> Path | None:
    """The design of points: as given, else the one beside them, else None.

    Raises:
        InputMissingError: the given one does not exist.
    """
    if companion is not None:
        if not Path(companion).is_file():
            raise InputMissingError(f"sample design {companion} does not exist.")
        return Path(companion)
    stem = points.name.removesuffix(CEO_SUFFIX) if points.name.endswith(CEO_SUFFIX) else points.stem
    beside = points.with_name(f"{stem}{DESIGN_SUFFIX}")
    return beside if beside.is_file() else None


@dataclass(frozen=True)
class _Given:
    """What people said, row by row of their file."""

    reference: Ints
    """(row,) class index; -1: nothing."""
    counts: NDArray[np.bool_]
    """(row,) False: unsure, and that matters."""
    answers: Answers


def _reference(answers: Answers, scheme: ClassScheme, points: Path, field: str) -> Ints:
    try:
        index = {text: class_index(text, scheme, field) for text in set(answers.classes) if text}
    except UsageError as error:
        raise InputError(f"points {points}: {error} Correct it, or map classes with --legend.") from error
    return np.array([index.get(text, _UNUSED) for text in answers.classes], np.int64)


def _design(place: Path, raster: ClassRaster) -> SampleDesign:
    try:
        document = json.loads(place.read_bytes())
    except (ValueError, OSError) as error:
        raise InputError(f"sample design {place} cannot be read ({error}); draw the sample again.") from error
    design = SampleDesign.from_json(document, str(place))
    if not design.grid.same_as(raster.grid):
        raise InputError(
            f"{raster.path} is not on the grid that the sample was drawn on ({design.grid.width} × "
            f"{design.grid.height} pixels, {design.map.get('name')}): warp it there with nearest neighbors."
        )
    return design


def _estimated(report: PointsReport, raster: ClassRaster, given: _Given, design: SampleDesign) -> PointsReport:
    n, points = len(raster.scheme), design.points
    reference, counts = _by_point(given, len(points), report.points)
    used = (reference >= 0) & counts
    stratum = design.stratum_index
    uses = tuple(
        StratumUse(
            s.name,
            s.pixels,
            s.area_m2,
            s.points,
            *(int((what & (stratum == index)).sum()) for what in (used, reference < 0, (reference >= 0) & ~counts)),
        )
        for index, s in enumerate(design.strata)
    )
    empty = next((use for use in uses if use.used == 0), None)
    if empty is not None:
        raise InputError(
            f"none of the {empty.points} points of stratum {empty.name!r} can be used: interpret some of them "
            f"(their point_id is in the design), or keep unsure ones with --unsure keep."
        )
    codes = codes_at(raster, points.row[used], points.col[used])
    mapped = _indices(codes, raster.scheme)
    pixels, area = np.array([s.pixels for s in design.strata]), np.array([s.area_m2 for s in design.strata])
    drawn = StratifiedSample(stratum[used], pixels, area, points.pixel_m2[used])
    return report.estimated(
        matrix=_confusion(mapped, reference[used], n),
        unmapped=int((mapped < 0).sum()),
        strata=uses,
        estimates=estimate(drawn, mapped, reference[used], n),
        notes=[_about(raster, design, own=bool((codes == points.stratum[used]).all()))],
    )


def _by_point(given: _Given, n: int, name: str) -> tuple[Ints, NDArray[np.bool_]]:
    """(point,) class index and whether it counts, in the order of the design; rows that are missing say nothing."""
    ids = given.answers.ids
    if None in ids:
        raise InputError(f"points {name} have no column point_id (or PLOTID), so nobody knows which point is which.")
    known = [number for number in ids if number is not None]
    strange = next((number for number in known if not 1 <= number <= n), None)
    if strange is not None:
        raise InputError(f"points {name} have a point {strange}, the design has 1…{n}: is it the design of others?")
    if len(set(known)) < len(known):
        twice = next(number for number in known if known.count(number) > 1)
        raise InputError(f"points {name} have point {twice} more than once: leave one row for each.")
    reference, counts = np.full(n, _UNUSED, np.int64), np.ones(n, np.bool_)
    at = np.array(known, np.int64) - 1
    reference[at], counts[at] = given.reference, given.counts
    return reference, counts


def _about(raster: ClassRaster, design: SampleDesign, *, own: bool) -> str:
    """Which estimators these are, in words; own: True when every point's stratum is its class."""
    now = fingerprint(str(raster.path))
    same = all(now.get(part) == design.map.get(part) for part in ("bytes", "blake2b"))
    if not same:
        drawn_on = design.map.get("name")
        return f"the sample was drawn on {drawn_on}, another map on this grid: strata are its design's (Stehman 2014)"
    if own and design.strata_raster is None:
        return "strata are the map's classes (Olofsson et al. 2014)"
    return "strata are not the map's classes (Stehman 2014)"


def _counted(report: PointsReport, raster: ClassRaster, given: _Given, points: Path) -> PointsReport:
    """Plain counts: nobody knows which points of the map these stand for."""
    lonlat = given.answers.lonlat
    if not np.isfinite(lonlat).any():
        raise InputError(f"points {points} have neither a place (lon, lat) nor a design beside them: name it.")
    grid = raster.grid
    if not grid.on_earth:
        raise InputError(f"{raster.path} has a CRS without longitude and latitude: points cannot be found on it.")
    with np.errstate(invalid="ignore"):
        xy = grid.to_lonlat.transform(lonlat[:, 0], lonlat[:, 1], direction="INVERSE")
        col, row = (np.floor(at) for at in ~grid.transform @ tuple(map(np.asarray, xy)))
        inside = (col >= 0) & (col < grid.width) & (row >= 0) & (row < grid.height)
    used = inside & (given.reference >= 0) & given.counts
    mapped = _indices(codes_at(raster, row[used].astype(np.int64), col[used].astype(np.int64)), raster.scheme)
    missing, outside = int((given.reference < 0).sum()), int((~inside & (given.reference >= 0)).sum())
    unsure = int((inside & (given.reference >= 0) & ~given.counts).sum())
    said = {"without an answer": missing, "unsure": unsure, "outside the map": outside}
    left = [f"left out: {', '.join(f'{n} {why}' for why, n in said.items() if n)}"] if any(said.values()) else []
    return report.counted(
        matrix=_confusion(mapped, given.reference[used], len(raster.scheme)),
        unmapped=int((mapped < 0).sum()),
        notes=[NO_DESIGN, *left],
    )


def _indices(codes: Ints, scheme: ClassScheme) -> Ints:
    """Class indices of codes; -1 for none."""
    place = {code: index for index, code in enumerate(scheme.codes)}
    return np.array([place.get(code, _UNUSED) for code in codes.tolist()], np.int64)


def _confusion(mapped: Ints, reference: Ints, n: int) -> Ints:
    """(map class, reference class) points; those without a map class are left out."""
    known = mapped >= 0
    return np.bincount(mapped[known] * n + reference[known], minlength=n * n).reshape(n, n)

"""Class raster → points to interpret, and the design that they were drawn by."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg import __version__
from geoseg.accuracy.allocate import (
    LEAST,
    LEAST_OLOFSSON,
    Allocation,
    allocate,
    expected_se,
    sample_size,
    wanted_shares,
)
from geoseg.accuracy.design import Drawn, SampleDesign, Stratum, draw_ranks, expectations, interpreting_order
from geoseg.errors import InputError, OutputExistsError, UsageError
from geoseg.grid import Grid
from geoseg.ground import corner_xy
from geoseg.io import posix
from geoseg.io.class_raster import open_class_raster
from geoseg.io.legend_file import read_legend_file
from geoseg.io.points import interpreted, write_ceo, write_points
from geoseg.io.publish import Publication
from geoseg.io.sample import fingerprint
from geoseg.io.strata import Strata, StratumCounts
from geoseg.io.vector import check_path
from geoseg.settings import OutputSettings
from geoseg.spelling import Strict, path, words

KEY_VERSION = 1
DESIGN_SUFFIX, CEO_SUFFIX = ".design.json", ".ceo.csv"
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SampleSettings(Strict):
    """How a sample is drawn."""

    n: int | None = None
    """Points in all; None: from `se`."""
    se: float | None = None
    """Standard error of the overall accuracy that is wanted; needs `expect`."""
    allocation: Allocation = "olofsson"
    """`proportional` to size, `equal`, `neyman` (size and expected variation), `olofsson`: proportional, but at least
    50 a stratum."""
    minimum: int | None = None
    """Points for each stratum at the least; None: 50 for `olofsson`, else 2, what a standard error needs."""
    expect: tuple[str, ...] = ()
    """Expected user's accuracies, NAME=0.9, or a bare 0.8 for all others."""
    strata: Path | None = None
    """Raster of strata on the map's grid; None: the map's classes."""
    legend: str | None = None
    """Legend put onto the map first: it merges classes."""
    seed: int = 0

    def __post_init__(self) -> None:
        self._take("expect", words)
        self._take("strata", path)
        self._check("allocation", Allocation)
        if (self.n is None) == (self.se is None):
            raise UsageError("how many points? Give -n 500, or --se 0.01 with --expect; one of them.")
        if self.n is not None and self.n < 1:
            raise UsageError(f"-n {self.n} is less than one point.")
        if self.se is not None and not 0 < self.se < 0.5:
            raise UsageError(f"--se {self.se} is no standard error of a share: write 0.01 for one percent point.")
        if self.se is not None and not self.expect:
            raise UsageError("--se needs expected accuracies: add --expect 0.8 or --expect water=0.95,0.8.")
        if self.minimum is not None and self.minimum < LEAST:
            raise UsageError(f"--minimum {self.minimum} is less than {LEAST}, what a standard error needs.")

    @property
    def least(self) -> int:
        """The minimum that counts."""
        return self.minimum or (LEAST_OLOFSSON if self.allocation == "olofsson" else LEAST)


@dataclass(frozen=True)
class SampleResult:
    """What `sample` drew, or with a dry run would draw."""

    points: Path
    """Points for the interpreter."""
    ceo: Path
    """The same for Collect Earth Online."""
    design: Path
    """What the interpreter must not see."""
    strata: tuple[Stratum, ...]
    expected_se: tuple[float, ...] | None
    """(stratum,) standard error to expect of the accuracy within it; None without expectations."""
    expected_overall_se: float | None
    up_to_date: bool = False


def sample(
    classes: Path | str, output: Path, settings: SampleSettings, out: OutputSettings | None = None, *, dry: bool = False
) -> SampleResult:
    """Draw a stratified random sample of a map's pixels.

    Writes `output` (GeoPackage: point_id, lon, lat, empty ref_class, sure, note; no map class), `NAME.ceo.csv` for
    Collect Earth Online, `NAME.design.json` (stratum, inclusion probability, map class, pixel of each point; sizes and
    ground areas of strata; fingerprint of the map), and last the commit record `<output name>.json`. The population
    are the pixels that have a class (and a stratum).

    Args:
        classes: class raster, anyone's.
        output: file to write, .gpkg.
        settings: how many points, and how they are spread over the strata.
        out: whether to overwrite. Points that somebody has interpreted are never overwritten.
        dry: True: tell what would be drawn, write nothing.

    Raises:
        UsageError: the numbers do not fit the map, or a class is unknown.
        ConfigError: the legend cannot be read, or leaves a class out.
        InputMissingError: a file does not exist.
        InputError: a raster is no class raster, or not on the Earth.
        OutputExistsError: the output is there with other settings, or has been interpreted.
        OutputError: writing failed.
    """
    output, out = Path(output), out or OutputSettings()
    if output.suffix.lower() != ".gpkg":
        raise UsageError(f"output {output.name!r} must end in .gpkg.")
    check_path(output)
    legend = None if settings.legend is None else read_legend_file(settings.legend)
    opened = open_class_raster(Path(classes), legend=legend)
    if not opened.grid.on_earth:
        raise InputError(
            f"{classes} has a CRS without longitude and latitude, so nobody finds the points; give it one."
        )
    strata = Strata(opened, None if settings.strata is None else open_class_raster(settings.strata))
    if dry:
        return _result(output, _planned(strata, strata.count(), settings))
    names = _names(output)
    with Publication(
        output.parent,
        f"{output.name}.json",
        _key(strata, settings),
        overwrite=out.overwrite,
        break_lock=out.break_lock,
        names=names,
    ) as publication:
        if publication.up_to_date:
            document = json.loads((output.parent / names[2]).read_text(encoding="utf-8"))
            design = SampleDesign.from_json(document, names[2])
            return _result(output, design.strata, up_to_date=True)
        _check_untouched(output)
        design = _drawn(strata, settings)
        _write(design, [publication.stage(name) for name in names])
        publication.commit(lambda _: {"geoseg:summary": {"points": len(design.points)}})
    return _result(output, design.strata)


def _names(output: Path) -> list[str]:
    return [output.name, f"{output.stem}{CEO_SUFFIX}", f"{output.stem}{DESIGN_SUFFIX}"]


def _key(strata: Strata, settings: SampleSettings) -> dict[str, Any]:
    """Everything that the sample depends on."""
    said = asdict(settings) | {"strata": None if strata.raster is None else fingerprint(str(strata.raster.path))}
    meaning = [strata.map.scheme.to_json(), sorted(strata.map.code_of.items())]
    return {
        "version": KEY_VERSION,
        "geoseg": __version__,
        "input": fingerprint(str(strata.map.path)),
        "sample": said | {"legend": None if settings.legend is None else meaning},
    }


def _check_untouched(output: Path) -> None:
    done = interpreted(output)
    if done:
        raise OutputExistsError(
            f"output {output} holds {done} interpreted points, which --overwrite does not replace: choose another -o, "
            f"or move the file away."
        )


def _planned(strata: Strata, counts: StratumCounts, settings: SampleSettings) -> tuple[Stratum, ...]:
    """The strata that have pixels, and how many points each gets."""
    there = np.flatnonzero(counts.pixels)
    if not len(there):
        raise InputError(
            f"{strata.map.path} has no pixel with a class, nor with a stratum: there is nothing to sample."
        )
    pixels, expected = counts.pixels[there], expectations(settings.expect, strata.scheme, there)
    total = settings.n or 0
    if settings.se is not None and expected is not None:
        total = max(sample_size(settings.se, pixels, expected), int(np.minimum(pixels, settings.least).sum()))
    points = allocate(total, wanted_shares(settings.allocation, pixels, expected), pixels, settings.least)
    return tuple(
        Stratum(
            strata.scheme.codes[index],
            strata.scheme.names[index],
            int(counts.pixels[index]),
            float(counts.area_m2[index]),
            int(points[place]),
            None if expected is None else float(expected[place]),
        )
        for place, index in enumerate(there.tolist())
    )


def _drawn(strata: Strata, settings: SampleSettings) -> SampleDesign:
    counts = strata.count()
    planned = _planned(strata, counts, settings)
    points = {s.code: draw_ranks(settings.seed, s.code, s.pixels, s.points) for s in planned}
    none = np.zeros(0, np.int64)
    index, row, col, codes = strata.locate(counts, [points.get(code, none) for code in strata.scheme.codes])
    # Row order first: what is shuffled must not depend on how the raster was read.
    place = np.lexsort((col, row))[interpreting_order(settings.seed, len(row))]
    stratum = np.array(strata.scheme.codes, np.int64)[index]
    drawn = Drawn(stratum[place], row[place], col[place], codes[place], strata.row_m2[row[place]])
    about = {"geoseg": __version__, **{name: getattr(settings, name) for name in ("seed", "allocation", "n", "se")}}
    return SampleDesign(
        map=fingerprint(str(strata.map.path)),
        strata_raster=None if strata.raster is None else fingerprint(str(strata.raster.path)),
        grid=strata.grid,
        strata=planned,
        points=drawn,
        about=about | {"minimum": settings.least, "legend": settings.legend},
    )


def _write(design: SampleDesign, files: list[Path]) -> None:
    points, ceo, companion = files
    xy = pixel_centers(design.grid, design.points.row, design.points.col)
    lonlat = np.column_stack(design.grid.to_lonlat.transform(*xy.T))
    if not np.isfinite(lonlat).all():
        raise InputError(f"{design.map['name']}: some pixels have no longitude and latitude; cut the map to its CRS.")
    write_points(points, xy, lonlat, design.grid.crs)
    write_ceo(ceo, lonlat)
    with posix.disk_errors("writing", companion):
        companion.write_text(json.dumps(design.to_json(), indent=1, ensure_ascii=False), "utf-8")


def pixel_centers(grid: Grid, rows: Ints, cols: Ints) -> Floats:
    """(pixel, 2) x, y of pixel centers in the grid's CRS."""
    return corner_xy(grid.transform, np.asarray(cols + 0.5), np.asarray(rows + 0.5))


def _result(output: Path, strata: tuple[Stratum, ...], *, up_to_date: bool = False) -> SampleResult:
    points_file, ceo, design = (output.with_name(name) for name in _names(output))
    accuracy = [s.expected for s in strata if s.expected is not None]
    if len(accuracy) < len(strata):
        return SampleResult(points_file, ceo, design, strata, None, None, up_to_date)
    points, pixels = (np.array([getattr(s, name) for s in strata]) for name in ("points", "pixels"))
    within, overall = expected_se(points, pixels, np.array(accuracy))
    return SampleResult(points_file, ceo, design, strata, tuple(within.tolist()), overall, up_to_date)

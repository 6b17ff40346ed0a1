"""Class raster → polygons: the whole command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.errors import InputError, OutputExistsError, UsageError
from geoseg.ground import AreaModelName
from geoseg.io.burn import area_on
from geoseg.io.class_raster import ClassRaster, open_class_raster
from geoseg.io.cog import class_cog_files
from geoseg.io.dissolve import store
from geoseg.io.early import early_writer, pays
from geoseg.io.legend_file import read_legend_file
from geoseg.io.polygon_rows import StoredPolygons
from geoseg.io.publish import Publication
from geoseg.io.sample import fingerprint
from geoseg.io.vector import about_of, check_path, layer_of, sidecars, vector_suffix, write_polygons
from geoseg.settings import OutputSettings, VectorSettings
from geoseg.stories.class_changes import ClassChange
from geoseg.stories.holes import giving_back
from geoseg.stories.objects import objects_of, write_instances
from geoseg.stories.regions import find_regions, layer_name, polygons_of, write_regions
from geoseg.stories.score_files import ScoreFiles
from geoseg.stories.vector_key import check_scored, thing_codes, vector_key

_SUMMARY = "geoseg:summary"


@dataclass(frozen=True)
class VectorizeResult:
    """What `vectorize` made (or found already made)."""

    paths: tuple[Path, ...]
    """The output, then its sidecars."""
    n_polygons: int
    """Rows of the output."""
    count: dict[str, int]
    """Rows by class name."""
    area_m2: dict[str, float]
    """Ground square meters by class name, of the geometries as written."""
    area_model: AreaModelName
    changed: tuple[ClassChange, ...] = ()
    """What the minimum mapping unit gave to other classes, largest area first."""
    raster: Path | None = None
    """The generalized class raster, if asked for."""
    instances: Path | None = None
    """The raster of object numbers, if asked for."""
    up_to_date: bool = False
    """True when the output of the same input and settings was there already."""


def vectorize(
    raster: Path,
    output: Path,
    settings: VectorSettings | None = None,
    out: OutputSettings | None = None,
    raster_out: Path | None = None,
    aoi: Path | None = None,
    *,
    max_memory: str | None = None,
    instances_out: Path | None = None,
) -> VectorizeResult:
    """Turn anyone's class raster into polygons, one for each 4-connected component or object.

    Writes `output`, its sidecars and, last, the commit record `<output name>.json`. Polygons come in the order in
    which the sweep from north to south finished them; `poly_id` is their key. A vertex stands at every point where
    three or more regions meet, so neighbors share all their vertices. With `dissolve` there is one multipolygon for
    each class, in the order of their codes.

    Args:
        raster: class raster.
        output: file to write; .gpkg, .shp, .fgb, .geojson or .parquet.
        settings: classes to skip, confidence raster, objects, minimum mapping unit, simplification; legend: classes are
            renamed and merged before polygons are made.
        out: whether to overwrite.
        raster_out: also write the class raster that the polygons are the outlines of, as a COG, into the output's
            folder; .tif.
        aoi: polygons of any file and CRS: components are those of the pixels that these touch, and in the end all
            polygons are cut exactly at their boundary, neighbors with the same vertices. The parts of one share
            poly_id, n_pixels and score, which describe the component; area and perimeter are their own.
        max_memory: what the process may come to, as `4GB`; None: most of what the machine has left.
        instances_out: also write the numbers of objects, as a COG of int32, into the output's folder; .tif.

    Raises:
        UsageError: the suffix, a size or a class is unknown, or no class is a thing.
        ConfigError: the legend cannot be read, or leaves a class of the raster out.
        InputMissingError: a file does not exist.
        InputError: the raster is no class raster, the confidence raster does not belong to it, or the AOI cannot be
            read or lies outside the raster.
        MemoryLimitError: components or open polygons need more memory than they may take.
        OutputExistsError: the output is there with other settings, is an input, or locked.
        OutputError: writing failed.
    """
    raster, output = Path(raster), Path(output)
    settings, out = settings or VectorSettings(), out or OutputSettings()
    paths = (output, *sidecars(output))
    check_path(output)
    legend = None if settings.legend is None else read_legend_file(settings.legend)
    classes = open_class_raster(raster, legend=legend)
    scores = ScoreFiles.beside(raster, settings)
    inputs = [raster, scores.confidence, scores.probabilities, aoi]
    names = [path.name for path in paths] + _raster_names(raster_out, output, inputs)
    if instances_out is not None:
        _check_instances(Path(instances_out), names, output, inputs, thing_codes(classes.scheme, settings.things))
        names.append(Path(instances_out).name)
    area_wkb = None if aoi is None else area_in_crs(Path(aoi), classes, paths)
    check_scored(settings, classes.scheme, scores.layers)
    key = _key(classes, vector_suffix(output), scores, settings, area_wkb)
    record = f"{output.name}.json"
    with Publication(
        output.parent, record, key, overwrite=out.overwrite, break_lock=out.break_lock, names=names
    ) as publication:
        if publication.up_to_date:
            return _recorded_result(paths, raster_out, instances_out, output.parent / record)
        area = None if area_wkb is None else area_on(area_wkb, classes.grid)
        found, scratch = find_regions(classes, scores.confidence, settings, area, max_memory), publication.work
        told: dict[str, Any] = {"layer": layer_name(classes), "about": about_of(classes.tags)}
        staged = publication.stage(output.name)
        wanted = pays(classes.grid, dissolve=settings.dissolve, max_memory=max_memory)
        with early_writer([staged], partial(layer_of, **told), wanted=wanted) as early:
            with objects_of(found, scores, settings, scratch, max_memory) as regions:
                if raster_out is not None:
                    write_regions(regions, publication.stage(Path(raster_out).name))
                if instances_out is not None:
                    write_instances(regions, publication.stage(Path(instances_out).name))
                tables = giving_back(polygons_of(regions, settings, scratch, max_memory))
                polygons = store(tables, scratch, dissolve=settings.dissolve, early=early)
            write_polygons(polygons, staged, **told, early=early)
        summary = _summary(polygons)
        changes = [asdict(change) for change in regions.changed]
        publication.commit(lambda _: {_SUMMARY: summary | {"changed": changes}})
    rasters = {"raster": raster_out, "instances": instances_out}
    return VectorizeResult(paths=paths, **summary | rasters, changed=regions.changed)


def _summary(polygons: StoredPolygons) -> dict[str, Any]:
    """Counts and areas by class as plain JSON."""
    return {
        "n_polygons": len(polygons),
        "count": polygons.count_by_class,
        "area_m2": polygons.area_m2_by_class,
        "area_model": polygons.area_model,
    }


def _raster_names(raster_out: Path | None, output: Path, inputs: Sequence[Path | None]) -> list[str]:
    """Names of the generalized raster and its sidecars.

    Raises:
        UsageError: it is no `.tif` beside the output, or both have one style file.
        OutputExistsError: it is an input.
    """
    if raster_out is None:
        return []
    place = Path(raster_out)
    if place.suffix.lower() != ".tif" or place.parent.resolve() != output.parent.resolve():
        raise UsageError(f"--raster-out {place} must be a .tif in the folder of the polygons, {output.parent}.")
    names = [path.name for path in class_cog_files(place)]
    shared = {output.name, *(path.name for path in sidecars(output))} & set(names)
    if shared:
        raise UsageError(f"--raster-out {place} and {output} would both write {min(shared)}: give it another stem.")
    for path in inputs:
        if path is not None and place.exists() and path.exists() and place.samefile(path):
            raise OutputExistsError(f"output {place} is also an input; choose another --raster-out.")
    return names


def _check_instances(
    place: Path, taken: Sequence[str], output: Path, inputs: Sequence[Path | None], things: frozenset[int]
) -> None:
    """Refuse a raster of object numbers that cannot be.

    Raises:
        UsageError: it is no `.tif` beside the output, or another output, or there are no objects.
        OutputExistsError: it is an input.
    """
    if place.suffix.lower() != ".tif" or place.parent.resolve() != output.parent.resolve() or place.name in taken:
        raise UsageError(
            f"--instances-out {place} must be a .tif of its own in the folder of the polygons, {output.parent}."
        )
    if not things:
        raise UsageError(f"--instances-out {place}: no class is a thing; name some with --things.")
    for path in inputs:
        if path is not None and place.exists() and path.exists() and place.samefile(path):
            raise OutputExistsError(f"output {place} is also an input; choose another --instances-out.")


def area_in_crs(aoi: Path, raster: ClassRaster, outputs: Sequence[Path]) -> bytes:
    """An area of interest in the raster's CRS, as WKB.

    Raises:
        OutputExistsError: an output would be written over it.
        InputMissingError: there is no such file.
        InputError: it cannot be read, or lies outside the raster.
    """
    from geoseg.io.aoi import read_aoi_wkb  # brings GeoPandas

    for path in outputs:
        if path.exists() and aoi.exists() and path.samefile(aoi):
            raise OutputExistsError(f"output {path} is also the AOI; choose another -o.")
    found = read_aoi_wkb(aoi, raster.grid.crs)
    if not area_on(found, raster.grid).meets_raster:
        raise InputError(f"AOI {aoi} lies wholly outside the raster; check its place and CRS.")
    return found


def _key(
    raster: ClassRaster, suffix: str, scores: ScoreFiles, settings: VectorSettings, aoi_wkb: bytes | None
) -> dict[str, Any]:
    """Everything that the output depends on."""
    all_scores = {} if scores.probabilities is None else {"probabilities": fingerprint(str(scores.probabilities))}
    return {
        "geoseg": __version__,
        "input": fingerprint(str(raster.path)),
        "scores": None if scores.confidence is None else fingerprint(str(scores.confidence)),
        **all_scores,
        "format": suffix,
        "legend": None if settings.legend is None else _translation(raster),
        **vector_key(settings, raster.scheme, raster.grid, aoi_wkb),
    }


def _translation(raster: ClassRaster) -> dict[str, Any]:
    """What a legend did: two files that say the same are the same."""
    return {
        "classes": raster.scheme.to_json(),
        "codes": {str(value): code for value, code in raster.code_of.items()},
    }


def _recorded_result(
    paths: tuple[Path, ...], raster_out: Path | None, instances_out: Path | None, record: Path
) -> VectorizeResult:
    summary = json.loads(record.read_text(encoding="utf-8"))[_SUMMARY]
    changed = tuple(ClassChange(**change) for change in summary.pop("changed"))
    rasters = {"raster": raster_out, "instances": instances_out}
    return VectorizeResult(paths=paths, **summary | rasters, changed=changed, up_to_date=True)
